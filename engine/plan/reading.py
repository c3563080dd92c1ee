"""A saved plan's TOML, read and checked; `engine.plan.writing` is the other way.

The models say what the file may hold, pydantic holds it against them, and `engine.validation` tells what does not fit.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from engine.config import Mode
from engine.errors import UsageError
from engine.mapping.kinds import KIND_NAMES, kinds_to_take
from engine.mapping.model import Column, ColumnType, Kind, Role
from engine.mapping.names import ID_NAME, show_path
from engine.mapping.options import POLICIES, MappingOptions, OfDates, OfMisfits, OfNul, OfText
from engine.mongo.filters import encode_filter
from engine.plan.checks import ID_PATH, check_mapping, check_target
from engine.protocol.plan_edits import PlanEdit, apply_all, sql_type
from engine.protocol.saved_plan import SavedPlan, SavedTable, wrong
from engine.validation import Mistake, first_mistake, meant, must_be, requirement, shown
from engine.validation import choices as words_of

VERSION = 1
"""Of the file's format."""
DEFAULT_SCHEMA = "public"
OWN_ROLES = (Role.EXTRA, Role.MISSING, Role.DOCUMENT)
"""Roles of columns that have no field."""
_KINDS = {name: kind for kind, name in KIND_NAMES.items()}
_NO_TABLES = "there must be a [[tables]] for each collection"


# --- what the file may hold -------------------------------------------------------------------------------------------


def _as_path(found: object) -> tuple[str, ...]:
    """A field's path: text with dots between the keys, or a list of keys, for those that hold dots themselves."""
    keys = found.split(".") if isinstance(found, str) else found
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        raise ValueError(
            f'a field is text such as "{ID_NAME}" or "address.city", or a list of keys, not {shown(repr(found))}'
        )
    if any("\0" in key for key in keys):
        raise ValueError(f"the field {shown(show_path(tuple(keys)))} holds a NUL, which no field of MongoDB has")
    return tuple(keys)


def _as_kind(found: object) -> Kind:
    if not isinstance(found, str) or found not in _KINDS:
        hint = meant(str(found), _KINDS)
        raise ValueError(f"kinds has {shown(repr(found))}, which is not a kind of BSON; {hint}")
    return _KINDS[found]


def _as_type(found: object) -> tuple[ColumnType, bool]:
    if not isinstance(found, str):
        raise ValueError(must_be("type", _TEXT, found))  # noqa: TRY004 -- pydantic tells of ValueErrors
    return sql_type(found)


def _as_namespace(found: object) -> tuple[str, str]:
    if not isinstance(found, str):
        raise ValueError(must_be("collection", _TEXT, found))  # noqa: TRY004
    database, _, collection = found.partition(".")
    if not database or not collection:
        raise ValueError(f'collection must be "database.collection", not {shown(repr(found))}')
    return database, collection


def _as_version(found: object) -> object:
    if found != VERSION:
        raise ValueError(f"it must be {VERSION}; save a new plan with this program, and edit that")
    return found


def _check_filter(found: str) -> str:
    try:
        encode_filter(found)
    except ValueError as error:
        reason = shown(str(error)).rstrip(".")
        raise ValueError(f'it must be Extended JSON such as {{"active": true}}: {reason}') from error
    return found


_TEXT, _LIST = "text in quotes", "a list in brackets"
_Path = Annotated[tuple[str, ...], BeforeValidator(_as_path)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Column(_Part):
    """One line of a table's columns."""

    field: _Path | None = None
    role: Literal["extra", "missing", "document"] | None = None
    column: str = Field(description=_TEXT, examples=['"total"'])
    type: Annotated[tuple[ColumnType, bool], BeforeValidator(_as_type)] = Field(examples=['"text"'])
    kinds: list[Annotated[Kind, BeforeValidator(_as_kind)]] | None = Field(default=None, description=_LIST)
    nullable: bool | None = Field(default=None, description="true or false")
    nul: OfNul | None = None
    date_range: OfDates | None = None
    utf8: OfText | None = None
    overflow: OfMisfits | None = None

    @model_validator(mode="before")
    @classmethod
    def _has_one_source(cls, found: Any) -> Any:
        if not isinstance(found, dict):
            raise ValueError(  # noqa: TRY004
                f'each must be {{ field = "...", column = "...", ... }}, not {shown(repr(found))}'
            )
        if ("field" in found) == ("role" in found):
            raise ValueError(f"a column has either a field or a role ({', '.join(OWN_ROLES)})")
        return found

    def read(self, options: MappingOptions) -> Column:
        """The column, with what the file leaves to the type and the role."""
        path, (column_type, is_array) = self.field or (), self.type
        role = Role(self.role) if self.role is not None else Role.ID if path == ID_PATH else Role.FIELD
        kinds = frozenset(self.kinds) if self.kinds is not None else kinds_to_take(column_type, options)
        return Column(
            name=self.column,
            type=column_type,
            role=role,
            path=path,
            kinds=kinds if path else frozenset(),
            array=is_array,
            nullable=is_nullable(role) if self.nullable is None else self.nullable,
            **{policy: getattr(self, policy) or "" for policy in POLICIES},
        )


class _Table(_Part):
    """One `[[tables]]`."""

    collection: Annotated[tuple[str, str], BeforeValidator(_as_namespace)] = Field(examples=['"shop.orders"'])
    schema_name: str = Field(default=DEFAULT_SCHEMA, alias="schema", description=_TEXT)
    table: str = Field(description=_TEXT, examples=['"orders"'])
    filter: Annotated[str, AfterValidator(_check_filter)] = Field(default="", description=_TEXT)
    exclude: list[_Path] = Field(default=[], description=_LIST)
    columns: list[_Column] | None = Field(default=None, description=_LIST)

    @model_validator(mode="before")
    @classmethod
    def _has_older_name(cls, found: Any) -> Any:
        """`exclude` was called `ignore` once."""
        if isinstance(found, dict) and "ignore" in found and "exclude" not in found:
            return {("exclude" if name == "ignore" else name): value for name, value in found.items()}
        return found

    def read(self, options: MappingOptions) -> SavedTable:
        """The table, with its columns."""
        database, collection = self.collection
        return SavedTable(
            database=database,
            collection=collection,
            schema_name=self.schema_name,
            table=self.table,
            filter=self.filter,
            ignored=tuple(self.exclude),
            columns=tuple(column.read(options) for column in self.columns) if self.columns is not None else None,
        )


class _File(_Part):
    """The whole file."""

    version: Annotated[object, BeforeValidator(_as_version)] = Field(default=None, validate_default=True)
    mode: Mode = "create"
    options: MappingOptions = MappingOptions()
    tables: list[_Table] = Field(min_length=1)


def is_nullable(role: Role) -> bool:
    """Whether a column of this role may be NULL where the plan does not say it."""
    return role not in (Role.ID, Role.MISSING)


# --- reading ----------------------------------------------------------------------------------------------------------


def read_plan(text: str, edits: Sequence[PlanEdit] = ()) -> SavedPlan:
    """The plan that a file holds.

    Args:
        text: TOML.
        edits: to be made in it.

    Raises:
        UsageError: it is not TOML, or something in it cannot be: one sentence with the table, the field and what to do.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The plan is not valid TOML: {str(error).rstrip('.')}.") from error
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        raise _told(first_mistake(error, _File), content) from None
    plan = SavedPlan(
        mode=file.mode, options=file.options, tables=tuple(table.read(file.options) for table in file.tables)
    )
    plan = apply_all(plan, edits)
    _check(plan)
    return plan


def asked_plan(text: str, edits: Sequence[PlanEdit]) -> SavedPlan | None:
    """The plan that `MakePlan` asks for; None when it is to be proposed. Arguments and errors as of `read_plan`."""
    if text:
        return read_plan(text, edits)
    if edits:
        raise UsageError("There are edits, but no plan that they are made in.")
    return None


def _check(plan: SavedPlan) -> None:
    """Raise UsageError for the first thing that parts of the plan contradict each other in."""
    for table in plan.tables:
        where = shown(table.namespace)
        check_target(where, table.schema_name, table.table)
        try:
            _check_filter(table.filter)
        except ValueError as error:  # a file's is told of with its place; this is of an edit
            raise wrong(f"{where}, filter", str(error)) from None
        if mapping := table.mapping(plan.options):
            check_mapping(where, mapping)
    entries = Counter((table.namespace, table.schema_name, table.table) for table in plan.tables)
    for (namespace, _, _), times in entries.items():
        if times > 1:
            raise wrong(
                shown(namespace),
                f"{times} entries of [[tables]] have this collection and the same table; change or remove all but one",
            )
    for (schema, table_name), times in Counter((each.schema_name, each.table) for each in plan.tables).items():
        if times > 1:
            raise wrong(
                shown(f"{schema}.{table_name}"),
                f"{times} entries of [[tables]] have this table; change or remove all but one",
            )


# --- what does not fit ------------------------------------------------------------------------------------------------


def _told(mistake: Mistake, content: dict[str, Any]) -> UsageError:
    match mistake.location:
        case ("tables",) | ("tables", int()):
            return wrong("tables", _NO_TABLES)
        case ("options",):
            return wrong("options", "it must be a section, [options], with the settings of [mapping] in config.toml")
        case ("tables", int(number), *inside):
            return wrong(_place(content["tables"][number], inside, mistake), _what(mistake, str(inside[-1])))
        case ("options", str(name)) if mistake.kind != "unknown":
            return wrong(f"options.{shown(name)}", _what(mistake, "it"))
        case ("options", _):
            return wrong("options", _what(mistake, "it"))
        case (str(name),) if mistake.kind != "unknown":
            return wrong(name, _what(mistake, "it"))
        case _:
            return wrong("at the top", _what(mistake, "it"))


def _what(mistake: Mistake, subject: str) -> str:
    """What is wrong, after its place and without a full stop."""
    name = str(mistake.location[-1])
    info = mistake.info
    if mistake.kind == "unknown":
        return f"there is no {shown(name)} here; {meant(name, mistake.known)}"
    if mistake.kind == "refused" or info is None:
        return mistake.words
    if mistake.kind == "missing" and info.examples:
        return f"{name} is missing; put it in, such as {name} = {info.examples[0]}"
    words = requirement(info)
    return must_be(subject, words, mistake.value, words_of(info)) if words else mistake.words


def _place(table: dict[str, Any], inside: Sequence[int | str], mistake: Mistake) -> str:
    """How to speak of a place within an entry of [[tables]], as far as the entry can be understood.

    Args:
        inside: the way to it.
    """
    try:
        where = shown(".".join(_as_namespace(table.get("collection"))))
    except ValueError:
        return "tables"
    match inside:
        case ("columns", int(number), *within):
            return _column_place(where, table["columns"][number], within)
        case ("exclude", int()):
            return f"{where}, exclude"
        case ("filter",) if mistake.kind == "refused":
            return f"{where}, filter"
        case _:
            return where


def _column_place(where: str, entry: Any, within: Sequence[int | str]) -> str:
    if not isinstance(entry, dict):
        return f"{where}, columns"
    if not within:
        return f"{where}, columns, {shown(repr(entry.get('column', entry)))}"
    if "role" in entry:
        return f"{where}, column {shown(str(entry.get('column')))}"
    try:
        return f"{where}, field {shown(show_path(_as_path(entry['field'])))}"
    except ValueError:
        return f"{where}, columns"
