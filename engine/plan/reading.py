"""A saved plan's TOML, read and checked; `engine.plan.writing` is the other way."""

from __future__ import annotations

import difflib
import tomllib
from collections import Counter
from collections.abc import Collection
from typing import Any, get_args

from pydantic import ValidationError

from engine.config import Mode
from engine.errors import UsageError
from engine.mapping.kinds import KIND_NAMES, kinds_to_take
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.names import ID_NAME, show_path
from engine.mapping.options import POLICIES, MappingOptions, choices
from engine.mongo.filters import encode_filter
from engine.plan.checks import ID_PATH, check_mapping, check_target, shown, wrong
from engine.plan.saved import SavedPlan, SavedTable

VERSION = 1
"""Of the file's format."""
TOP_NAMES = ("version", "mode", "options", "tables")
TABLE_NAMES = ("collection", "schema", "table", "filter", "ignore", "columns")
COLUMN_NAMES = ("field", "role", "column", "type", "kinds", "nullable", *POLICIES)
DEFAULT_SCHEMA = "public"
OWN_ROLES = (Role.EXTRA, Role.MISSING, Role.DOCUMENT)
"""Roles of columns that have no field."""
_KINDS = {name: kind for kind, name in KIND_NAMES.items()}
_MODES = get_args(Mode)


def read_plan(text: str) -> SavedPlan:
    """The plan that a file holds.

    Raises:
        UsageError: it is not TOML, or something in it cannot be: one sentence with the table, the field and what to do.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The plan is not valid TOML: {str(error).rstrip('.')}.") from error
    _check_names("at the top", content, TOP_NAMES)
    if content.get("version") != VERSION:
        raise wrong("version", f"it must be {VERSION}; save a new plan with this program, and edit that")
    mode = content.get("mode", "create")
    if mode not in _MODES:
        raise wrong("mode", f"it must be one of {', '.join(_MODES)}, not {shown(repr(mode))}")
    options = _options(content.get("options", {}))
    entries = content.get("tables", [])
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise wrong("tables", "there must be a [[tables]] for each collection")
    tables = tuple(_table(entry, options) for entry in entries)
    entries_of = Counter((table.namespace, table.schema_name, table.table) for table in tables)
    for (namespace, _, _), times in entries_of.items():
        if times > 1:
            raise wrong(
                shown(namespace),
                f"{times} entries of [[tables]] have this collection and the same table; change or remove all but one",
            )
    for (schema, table), times in Counter((each.schema_name, each.table) for each in tables).items():
        if times > 1:
            raise wrong(
                shown(f"{schema}.{table}"),
                f"{times} entries of [[tables]] have this table; change or remove all but one",
            )
    return SavedPlan(mode=mode, options=options, tables=tables)


def _options(found: Any) -> MappingOptions:
    if not isinstance(found, dict):
        raise wrong("options", "it must be a section, [options], with the settings of [mapping] in config.toml")
    _check_names("options", found, tuple(MappingOptions.model_fields))
    try:
        return MappingOptions.model_validate(found, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        raise wrong(f"options.{name}", f"{first['msg'][0].lower()}{first['msg'][1:].rstrip('.')}") from None


def _table(entry: dict[str, Any], options: MappingOptions) -> SavedTable:
    namespace = _text("tables", entry, "collection")
    database, _, collection = namespace.partition(".")
    if not database or not collection:
        raise wrong("tables", f'collection must be "database.collection", not {shown(repr(namespace))}')
    where = shown(namespace)
    _check_names(where, entry, TABLE_NAMES)
    schema, table = _text(where, entry, "schema", DEFAULT_SCHEMA), _text(where, entry, "table")
    check_target(where, schema, table)
    ignored = tuple(_path(f"{where}, ignore", item) for item in _list(where, entry, "ignore"))
    columns = None
    if "columns" in entry:
        columns = tuple(_column(where, item, options) for item in _list(where, entry, "columns"))
        check_mapping(where, Mapping(columns=columns, options=options, ignored=ignored))
    return SavedTable(
        database=database,
        collection=collection,
        schema_name=schema,
        table=table,
        filter=_filter(where, _text(where, entry, "filter", "")),
        ignored=ignored,
        columns=columns,
    )


def _filter(where: str, text: str) -> str:
    try:
        encode_filter(text)
    except ValueError as error:
        raise wrong(
            f"{where}, filter", f'it must be Extended JSON such as {{"active": true}}: {shown(str(error)).rstrip(".")}'
        ) from error
    return text


def _column(table: str, entry: Any, options: MappingOptions) -> Column:
    if not isinstance(entry, dict):
        raise wrong(
            f"{table}, columns", f'each must be {{ field = "...", column = "...", ... }}, not {shown(repr(entry))}'
        )
    place = f"{table}, columns"
    if ("field" in entry) == ("role" in entry):
        raise wrong(
            f"{place}, {shown(repr(entry.get('column', entry)))}",
            f"a column has either a field or a role ({', '.join(OWN_ROLES)})",
        )
    path: tuple[str, ...] = ()
    if "field" in entry:
        path = _path(place, entry["field"])
        where = f"{table}, field {shown(show_path(path))}"
        role = Role.ID if path == ID_PATH else Role.FIELD
    else:
        where = f"{table}, column {shown(str(entry.get('column')))}"
        role = _role(where, entry["role"])
    _check_names(where, entry, COLUMN_NAMES)
    column_type, is_array = _type(where, _text(where, entry, "type"))
    return Column(
        name=_text(where, entry, "column"),
        type=column_type,
        role=role,
        path=path,
        kinds=_kinds(where, entry, column_type, options) if path else frozenset(),
        array=is_array,
        nullable=_flag(where, entry, "nullable", default=is_nullable(role)),
        **{policy: _policy(where, entry, policy) for policy in POLICIES},
    )


def is_nullable(role: Role) -> bool:
    """Whether a column of this role may be NULL where the plan does not say it."""
    return role not in (Role.ID, Role.MISSING)


def _role(where: str, found: Any) -> Role:
    if found not in [role.value for role in OWN_ROLES]:
        raise wrong(where, f"role must be one of {', '.join(OWN_ROLES)}, not {shown(repr(found))}")
    return Role(found)


def _type(where: str, text: str) -> tuple[ColumnType, bool]:
    if text in _ARRAY_TYPES:
        return ColumnType(text), False
    name = text.removesuffix("[]")
    try:
        return ColumnType(name), name != text
    except ValueError:
        types = ", ".join(ColumnType)
        near = difflib.get_close_matches(name, list(ColumnType), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"The plan, {where}: type must be one of {types}, or an array such as text[], not {shown(repr(text))}"
            f"{hint or '.'}"
        ) from None


_ARRAY_TYPES = frozenset({ColumnType.REAL_ARRAY, ColumnType.SMALLINT_ARRAY})
"""Whose values are arrays as they are."""


def _kinds(where: str, entry: dict[str, Any], column_type: ColumnType, options: MappingOptions) -> frozenset[Kind]:
    if "kinds" not in entry:
        return kinds_to_take(column_type, options)
    names = _list(where, entry, "kinds")
    for name in names:
        if name not in _KINDS:
            near = difflib.get_close_matches(str(name), _KINDS, 1)
            hint = f"did you mean {near[0]}" if near else f"there are {', '.join(_KINDS)}"
            raise wrong(where, f"kinds has {shown(repr(name))}, which is not a kind of BSON; {hint}")
    return frozenset(_KINDS[name] for name in names)


def _policy(where: str, entry: dict[str, Any], policy: str) -> str:
    found = entry.get(policy, "")
    if policy in entry and found not in choices(policy):
        raise wrong(where, f"{policy} must be one of {', '.join(choices(policy))}, not {shown(repr(found))}")
    return str(found)


def _path(where: str, found: Any) -> tuple[str, ...]:
    """A field's path: text with dots between the keys, or a list of keys, for those that hold dots themselves."""
    keys = found.split(".") if isinstance(found, str) else found
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        raise wrong(
            where, f'a field is text such as "{ID_NAME}" or "address.city", or a list of keys, not {shown(repr(found))}'
        )
    if any("\0" in key for key in keys):
        raise wrong(where, f"the field {shown(show_path(tuple(keys)))} holds a NUL, which no field of MongoDB has")
    return tuple(keys)


def _text(where: str, entry: dict[str, Any], name: str, default: str | None = None) -> str:
    found = entry.get(name, default)
    if found is None:
        raise wrong(where, f"{name} is missing; put it in, such as {name} = {_EXAMPLES.get(name, '...')}")
    if not isinstance(found, str):
        raise wrong(where, f"{name} must be text in quotes, not {shown(repr(found))}")
    return found


_EXAMPLES = {"collection": '"shop.orders"', "table": '"orders"', "column": '"total"', "type": '"text"'}


def _list(where: str, entry: dict[str, Any], name: str) -> list[Any]:
    found = entry.get(name, [])
    if not isinstance(found, list):
        raise wrong(where, f"{name} must be a list in brackets, not {shown(repr(found))}")
    return found


def _flag(where: str, entry: dict[str, Any], name: str, *, default: bool) -> bool:
    found = entry.get(name, default)
    if not isinstance(found, bool):
        raise wrong(where, f"{name} must be true or false, not {shown(repr(found))}")
    return found


def _check_names(where: str, found: Collection[str], known: Collection[str]) -> None:
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}" if near else f"there are {', '.join(known)}"
            raise wrong(where, f"there is no {shown(name)} here; {hint}")
