"""What an edited plan may hold: every mistake is one sentence with the table, the field and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from engine.mapping.cautions import fate_words
from engine.mapping.kinds import JSON_TYPES, KIND_NAMES, kinds_that_fit
from engine.mapping.limits import MAX_COLUMNS
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.names import ID_NAME, MAX_NAME_BYTES, SYSTEM_COLUMNS, acts, show_path
from engine.mapping.options import POLICIES, MappingOptions
from engine.protocol.saved_plan import column_place, wrong
from engine.validation import shown

OWN_SCHEMA = "mongopg"
"""Where the ledger is."""
ID_PATH = (ID_NAME,)
_OWN_TYPES = {
    Role.EXTRA: frozenset({"jsonb"}),
    Role.MISSING: frozenset({"text[]"}),
    Role.DOCUMENT: frozenset({"jsonb", "json"}),
}
"""The types that columns without a field may have."""


def check_name(where: str, what: str, name: str) -> None:
    """Raise UsageError for a name that PostgreSQL, or a terminal that shows it, would stumble over."""
    if fault := _name_fault(what, name):
        raise wrong(where, fault)


def check_target(where: str, schema: str, table: str) -> None:
    """Raise UsageError for a table that cannot be a target."""
    if fault := target_fault(schema, table):
        raise wrong(where, fault)


def target_fault(schema: str, table: str) -> str:
    """Why a table cannot be a target, wherever it was named, and what to do; empty when it can."""
    return schema_fault(schema) or _name_fault("table", table)


def schema_fault(schema: str) -> str:
    """The same of a schema alone."""
    if fault := _name_fault("schema", schema):
        return fault
    # As they stand: names are quoted, so PG_x is a schema like any other.
    if schema in (OWN_SCHEMA, "information_schema") or schema.startswith("pg_"):
        return f"the schema {shown(schema)} is not for target tables; choose another"
    return ""


def _name_fault(what: str, name: str) -> str:
    if not name:
        return f"{what} is empty; give it a name"
    if len(name.encode(errors="replace")) > MAX_NAME_BYTES:
        return f"{what} {shown(name)} is longer than the {MAX_NAME_BYTES} bytes of PostgreSQL's names; shorten it"
    if any(map(acts, name)):
        return f"{what} {shown(name)} holds control or invisible characters; leave them out"
    return ""


def check_mapping(where: str, mapping: Mapping) -> None:
    """Raise UsageError for the first thing that columns, options and ignored fields contradict each other in."""
    columns = mapping.columns
    if sum(column.role is Role.ID for column in columns) != 1:
        raise wrong(where, 'there must be one column for the field _id, such as { field = "_id", column = "_id", ... }')
    if len(columns) > MAX_COLUMNS:
        raise wrong(
            where, f"{len(columns):,} columns are more than the {MAX_COLUMNS:,} of a PostgreSQL table; remove some"
        )
    for column in columns:
        _check_column(column_place(where, column), column, mapping.options)
    for name, times in Counter(column.name for column in columns).items():
        if times > 1:
            raise wrong(where, f"{times} columns are called {shown(name)}; rename all but one")
    for role, times in Counter(column.role for column in columns).items():
        if times > 1 and role not in (Role.FIELD, Role.NONE):
            raise wrong(where, f"{times} columns have the role {role.value}; remove all but one")
    _check_paths(where, columns, mapping.ignored)
    _check_overflow(where, mapping)


def _check_column(where: str, column: Column, options: MappingOptions) -> None:
    check_name(where, "column", column.name)
    if column.name in SYSTEM_COLUMNS:
        raise wrong(where, f"every table of PostgreSQL has a column {column.name} of its own; choose another name")
    if column.role in _OWN_TYPES:
        if column.sql_type not in _OWN_TYPES[column.role]:
            fitting = " or ".join(sorted(_OWN_TYPES[column.role]))
            raise wrong(where, f"the column of role {column.role.value} has to be {fitting}, not {column.sql_type}")
        return
    if column.role is Role.ID:
        _check_id(where, column)
    if column.array and not column.type.can_be_element:
        whole = column.type if column.type in JSON_TYPES else ColumnType.JSONB
        raise wrong(where, f"there are no arrays of {column.type.value} here; use {whole.value}")
    _check_kinds(where, column, options)


def _check_id(where: str, column: Column) -> None:
    if column.type is ColumnType.JSON or column.array:
        raise wrong(where, f"PostgreSQL has no keys of type {column.sql_type}; use jsonb")
    for policy in POLICIES:
        if getattr(column, policy):
            raise wrong(where, f"{policy} cannot be set, since an altered _id could become another's; remove it")


def _check_kinds(where: str, column: Column, options: MappingOptions) -> None:
    if column.type in JSON_TYPES:
        return
    fitting = kinds_that_fit(column.type, options)
    if not column.kinds:
        raise wrong(
            where, f"kinds is empty, so nothing would fit; leave it out to take all that {column.type.value} can hold"
        )
    misfits = column.kinds - fitting
    if misfits:
        named = ", ".join(KIND_NAMES[kind] for kind in sorted(misfits))
        if column.array and Kind.ARRAY in misfits:
            raise wrong(
                where, f"kinds of {column.sql_type} are those of its elements, not array; name them, or use jsonb"
            )
        if misfits == {Kind.UUID_LEGACY} and column.type is ColumnType.UUID:
            raise wrong(where, "old UUIDs need their byte order: set uuid_legacy in [options], or use bytea")
        other = "jsonb" if column.type is ColumnType.TEXT else "text or jsonb"
        overflow = "reject" if column.role is Role.ID else column.overflow or options.overflow
        raise wrong(
            where,
            f"a column of type {column.sql_type} cannot hold {named}; use {other}, or take {named} out of kinds, "
            f"and such values {fate_words(overflow)}",
        )


def _check_paths(where: str, columns: Iterable[Column], ignored: Iterable[tuple[str, ...]]) -> None:
    """No field has two places: a column, one inside another's column, or a column and being ignored."""
    paths: set[tuple[str, ...]] = set()
    for column in columns:
        if not column.path:
            continue
        if column.path in paths:
            raise wrong(column_place(where, column), "it has two columns; remove one")
        paths.add(column.path)
    left = set()
    for path in ignored:
        if path == ID_PATH:
            raise wrong(where, "_id cannot be excluded; take it out of exclude")
        if path in paths:
            raise wrong(
                f"{where}, field {shown(show_path(path))}", "it is excluded and has a column; remove one of them"
            )
        left.add(path)
    for path in paths | left:
        for depth in range(1, len(path)):
            above = path[:depth]
            place = f"{where}, field {shown(show_path(path))}"
            if above in paths:
                raise wrong(
                    place,
                    f"it lies inside the column of {shown(show_path(above))}; remove that column to flatten the field, "
                    "or remove this",
                )
            if above in left:
                raise wrong(place, f"the field {shown(show_path(above))} above it is excluded; remove one of them")


def _check_overflow(where: str, mapping: Mapping) -> None:
    roles = {column.role for column in mapping.columns}
    if Role.EXTRA in roles or Role.DOCUMENT in roles:
        return
    for column in mapping.columns:
        if column.overflow == "overflow":
            raise wrong(
                column_place(where, column),
                'overflow = "overflow" needs the column of role extra; put it back, or set "reject"',
            )
    if mapping.options.overflow == "overflow":
        raise wrong(
            where,
            'overflow = "overflow" needs the column of role extra; put it back, or set overflow = "reject" in [options]',
        )
