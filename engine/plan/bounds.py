"""What would become of some documents that the census saw: what a table refuses, and which keys may be one."""

from __future__ import annotations

from collections.abc import Iterator

from engine.mapping.kinds import JSON_STRINGS, JSON_TYPES, KIND_NAMES
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.names import TableName, quote_identifier
from engine.plan.model import TablePlan
from engine.postgres.sqlstates import one_line

_LOSSY_KEYS = (
    (Kind.DOCUMENT, ColumnType.JSONB, "a document, and jsonb keeps no order of its fields"),
    (Kind.BINARY, ColumnType.BYTEA, "binary, and bytea keeps no subtype"),
)
"""What a key column does not keep of a kind although MongoDB tells keys apart by it."""


def table_doubts(table: TablePlan) -> str:
    """Each column that some documents do not fit, in one text for people; empty when all that were seen fit.

    Args:
        table: with the bounds of the table's columns in its mapping.
    """
    found = [
        f"Column {one_line(column.name)} is {doubt}"
        for column in table.mapping.columns
        for doubt in _column_doubts(table, column)
    ]
    if not found:
        return ""
    return f"Table {one_line(table.target)}: {' '.join(found)} Such documents will be rejects."


def key_doubts(mapping: Mapping, mode: str) -> str:
    """That documents of different `_id`s may become one row, in a sentence for people; empty when they cannot, or when a key
    makes rejects of them, as it does in every mode but upsert."""
    if mode != "upsert":
        return ""
    column = mapping.id_column
    found = [
        f"_id may be {what}: where two differ in nothing else, the later document becomes a reject in mode upsert."
        for kind, type_, what in _LOSSY_KEYS
        if kind in column.kinds and column.type is type_
    ]
    kinds = column.kinds
    is_plain = column.type in JSON_TYPES and mapping.options.json_values == "plain"
    if kinds >= {Kind.DOUBLE, Kind.DECIMAL128} and (is_plain or column.type is ColumnType.NUMERIC):
        found.append(
            "_id may be a double and a Decimal128: where two have the same digits, such as 0.1, the later document becomes a "
            "reject in mode upsert."
        )
    if column.type in JSON_TYPES:
        kinds = kinds & JSON_STRINGS if is_plain else frozenset()
    elif column.type is not ColumnType.TEXT:
        kinds = frozenset()
    if len(kinds) > 1:
        remedy = ', and json_values = "extended" keeps them apart' if column.type in JSON_TYPES else ""
        found.insert(
            0,
            f"_id may be of several kinds. Where two become equal as {column.type.value}, such as an objectId and the string "
            f"of its digits, the later document becomes a reject in mode upsert{remedy}.",
        )
    return " ".join(found)


def _column_doubts(table: TablePlan, column: Column) -> Iterator[str]:
    """What follows on "Column c is", each."""
    longest = table.longest.get(column.name, 0)
    if column.length and longest > column.length:
        yield f"varchar({column.length}), and values of up to {longest:,} characters were seen."
    if not column.nullable and column.role is Role.FIELD and column.name in table.seen:
        share, kinds = table.seen[column.name]
        if share * (1 - kinds.get(KIND_NAMES[Kind.NULL], 0)) < 1:
            yield "NOT NULL, and documents without a value for it were seen."
    if not column.nullable and column.role is Role.EXTRA:
        yield (
            f"NOT NULL, and documents of which nothing goes there have no value for it: run ALTER TABLE "
            f"{TableName(table.schema_name, table.table).sql} ALTER COLUMN {quote_identifier(column.name)} DROP NOT NULL."
        )
