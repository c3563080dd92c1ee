"""What would become of some documents that the census saw: what a table refuses."""

from __future__ import annotations

from collections.abc import Iterator

from engine.mapping.kinds import KIND_NAMES
from engine.mapping.model import Column, Kind, Role
from engine.mapping.names import TableName, quote_identifier
from engine.plan.model import TablePlan
from engine.postgres.sqlstates import one_line


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
