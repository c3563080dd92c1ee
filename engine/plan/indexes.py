"""MongoDB's indexes as PostgreSQL could have them: which B-trees serve the same queries, and why others cannot be had."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from bson import Binary, Decimal128, ObjectId

from engine.mapping.kinds import JSON_TYPES, NUMBERS_THAT_FIT
from engine.mapping.model import Column, ColumnType, Kind
from engine.mapping.model import Mapping as TableMapping
from engine.mapping.names import MAX_NAME_BYTES, quote_identifier
from engine.source.indexes import SourceIndex
from engine.target.ddl import TableName, fitted
from engine.target.indexes import Index, IndexKey

NO_COUNTERPART = {
    "text": "full-text search works differently in PostgreSQL (a tsvector column with a GIN index)",
    "2dsphere": "it needs the PostGIS extension",
    "2d": "it needs the PostGIS extension",
    "geoHaystack": "it needs the PostGIS extension",
    "hashed": "it serves sharding; an ordered index on the same field would be carried over",
    "wildcard": "it covers fields that nobody has named; a GIN index on a jsonb column comes close",
}
"""Kinds of indexes that are left, and why."""
MOST_COLUMNS = 32
"""INDEX_MAX_KEYS of PostgreSQL's pg_config_manual.h."""
_COMPARISONS = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_TYPE_NAMES = {
    "double": Kind.DOUBLE, "string": Kind.STRING, "objectId": Kind.OBJECT_ID, "bool": Kind.BOOL, "date": Kind.DATE,
    "int": Kind.INT32, "long": Kind.INT64, "decimal": Kind.DECIMAL128,
}  # fmt: skip
_TYPE_NUMBERS = {int(kind): kind for kind in _TYPE_NAMES.values()}


class _NotExpressibleError(Exception):
    """Why an index cannot be had, in a few words."""


@dataclass(frozen=True, slots=True)
class IndexProposal:
    """What becomes of a collection's indexes."""

    indexes: tuple[Index, ...] = ()
    left: list[str] = field(default_factory=list)
    """Those that are not carried over: a sentence each, with the reason."""
    remarks: list[str] = field(default_factory=list)
    """What is different about those that are."""


def propose_indexes(
    found: Iterable[SourceIndex], table: TableName, mapping: TableMapping, namespace: str
) -> IndexProposal:
    """The indexes that a table should get.

    Unique indexes stay unique, with NULLs distinct as PostgreSQL has it by default; sparse ones become partial.
    """
    columns = {column.path: column for column in mapping.columns if column.path}
    indexes: list[Index] = []
    proposal = IndexProposal()
    taken: set[str] = set()
    for source in found:
        try:
            index = _translated(source, table, columns, taken)
        except _NotExpressibleError as reason:
            proposal.left.append(f"Index {source.name} of {namespace} is not carried over: {reason}.")
            continue
        taken.add(index.name)
        indexes.append(index)
        if source.expires:
            proposal.remarks.append(
                f"Index {source.name} of {namespace} makes MongoDB delete old documents; PostgreSQL keeps the rows."
            )
    return IndexProposal(tuple(indexes), proposal.left, proposal.remarks)


def _translated(
    source: SourceIndex, table: TableName, columns: Mapping[tuple[str, ...], Column], taken: set[str]
) -> Index:
    if source.kind != "ordered":
        raise _NotExpressibleError(NO_COUNTERPART.get(source.kind, f"PostgreSQL has no indexes of kind {source.kind}"))
    if source.hidden:
        raise _NotExpressibleError("it is hidden in MongoDB, so no query uses it")
    if source.has_collation:
        raise _NotExpressibleError("it has a collation, which PostgreSQL's column does not have")
    if len(source.keys) > MOST_COLUMNS:
        raise _NotExpressibleError(f"PostgreSQL's indexes have at most {MOST_COLUMNS} columns")
    chosen = [(_plain_column(path, columns), descending) for path, descending in source.keys]
    conditions = []
    if source.partial:
        conditions.append(_condition(source.partial, columns))
    if source.sparse:
        present = " OR ".join(f"{quote_identifier(column.name)} IS NOT NULL" for column, _ in chosen)
        conditions.append(f"({present})" if conditions and len(chosen) > 1 else present)
    return Index(
        name=_name(table, chosen, is_unique=source.unique, taken=taken),
        source_name=source.name,
        keys=tuple(IndexKey(column=column.name, descending=descending) for column, descending in chosen),
        unique=source.unique,
        where=" AND ".join(conditions),
    )


def _plain_column(path: str, columns: Mapping[tuple[str, ...], Column]) -> Column:
    """The column of a field that a B-tree can be built on."""
    keys = tuple(path.split("."))
    column = columns.get(keys)
    if column is None:
        for depth in range(len(keys) - 1, 0, -1):
            above = columns.get(keys[:depth])
            if above is not None:
                raise _NotExpressibleError(
                    f"its field {path} lies inside the {above.sql_type} column {above.name}; flatten it to carry it over"
                )
        raise _NotExpressibleError(f"its field {path} has no column")
    if column.array:
        raise _NotExpressibleError(
            f"its field {path} holds arrays (a GIN index on {column.name} serves searches in them)"
        )
    if column.type in JSON_TYPES:
        raise _NotExpressibleError(
            f"the column {column.name} of its field {path} is {column.sql_type} (arrays, documents or several kinds)"
        )
    return column


def _name(table: TableName, keys: Sequence[tuple[Column, bool]], *, is_unique: bool, taken: set[str]) -> str:
    """As PostgreSQL itself names indexes, with a number where the table has several of one name."""
    parts = [table.table, *(column.name + ("_desc" if descending else "") for column, descending in keys)]
    suffix = "_key" if is_unique else "_idx"
    name, number = fitted("_".join(parts), suffix), 2
    while name in taken:
        name = fitted("_".join(parts), f"_{number}{suffix}")
        number += 1
    assert len(name.encode()) <= MAX_NAME_BYTES
    return name


# --- partial indexes --------------------------------------------------------------------------------------------------


def _condition(query: Mapping[str, Any], columns: Mapping[tuple[str, ...], Column]) -> str:
    """A partial index's filter as SQL over plain columns."""
    parts = []
    for name, wanted in query.items():
        if name in ("$and", "$or"):
            joined = f" {name[1:].upper()} ".join(f"({_condition(each, columns)})" for each in wanted)
            parts.append(f"({joined})")
        elif name.startswith("$"):
            raise _NotExpressibleError(f"its filter uses {name}")
        else:
            column = _plain_column(name, columns)
            parts += _field_conditions(name, column, wanted)
    if not parts:
        raise _NotExpressibleError("its filter is empty")
    return " AND ".join(parts)


def _field_conditions(name: str, column: Column, wanted: Any) -> list[str]:
    if not (isinstance(wanted, Mapping) and all(key.startswith("$") for key in wanted)):
        wanted = {"$eq": wanted}
    quoted = quote_identifier(column.name)
    parts = []
    for operator, value in wanted.items():
        if operator in _COMPARISONS:
            parts.append(f"{_compared(quoted, column)} {_COMPARISONS[operator]} {_literal(name, column, value)}")
        elif operator == "$in":
            parts.append(f"{quoted} IN ({', '.join(_literal(name, column, each) for each in value)})")
        elif (operator == "$exists" and value) or (operator == "$type" and _kinds_of(value) >= column.kinds):
            parts.append(f"{quoted} IS NOT NULL")
        else:
            raise _NotExpressibleError(f"its filter asks {operator} of {name}")
    return parts


def _compared(quoted: str, column: Column) -> str:
    """Text in the order of its bytes, as MongoDB compares it, whatever the database's collation."""
    return f'{quoted} COLLATE "C"' if column.type is ColumnType.TEXT else quoted


def _kinds_of(value: Any) -> frozenset[Kind]:
    """The kinds that `$type` asks for; the number kinds of an integer column count together."""
    kinds: set[Kind] = set()
    for each in value if isinstance(value, list) else [value]:
        if each == "number":
            kinds |= NUMBERS_THAT_FIT[ColumnType.NUMERIC]
        elif isinstance(each, str):
            kinds |= {_TYPE_NAMES[each]} if each in _TYPE_NAMES else set()
        else:
            kinds |= {_TYPE_NUMBERS[int(each)]} if int(each) in _TYPE_NUMBERS else set()
    return frozenset(kinds)


def _literal(name: str, column: Column, value: Any) -> str:
    """A value as SQL of the column's type; only where comparing it means the same on both sides."""
    text: str | None = None
    match column.type:
        case ColumnType.INTEGER | ColumnType.BIGINT | ColumnType.DOUBLE | ColumnType.NUMERIC:
            return _number(name, value)
        case ColumnType.BOOLEAN if isinstance(value, bool):
            return "true" if value else "false"
        case ColumnType.TEXT if isinstance(value, str) and Kind.STRING in column.kinds and "\0" not in value:
            text = value
        case ColumnType.TEXT if isinstance(value, ObjectId) and column.kinds == {Kind.OBJECT_ID}:
            text = str(value)
        case ColumnType.BYTEA if isinstance(value, ObjectId) and column.kinds == {Kind.OBJECT_ID}:
            text = f"\\x{value.binary.hex()}"
        case ColumnType.UUID if isinstance(value, UUID):
            text = str(value)
        case ColumnType.UUID if isinstance(value, Binary) and value.subtype == 4 and len(value) == 16:
            text = str(UUID(bytes=bytes(value)))
        case ColumnType.TIMESTAMPTZ if isinstance(value, datetime):
            text = value.replace(tzinfo=None).isoformat() + "Z"
    if text is None:
        raise _NotExpressibleError(
            f"its filter compares {name} with a value that its {column.sql_type} column cannot hold"
        )
    escaped = text.replace("'", "''")
    if "\\" in escaped:
        # Whether a backslash escapes within plain quotes is a setting of the server's; with E it always does.
        return "E'" + escaped.replace("\\", "\\\\") + f"'::{column.sql_type}"
    return f"'{escaped}'::{column.sql_type}"


def _number(name: str, value: Any) -> str:
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    is_number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise _NotExpressibleError(f"its filter compares {name} with something that is no finite number")
    if isinstance(value, float):
        return f"'{value!r}'::double precision"
    return f"'{value}'::numeric" if isinstance(value, Decimal) else f"({value})" if value < 0 else str(value)
