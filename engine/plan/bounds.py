"""What a table that is there already would refuse of the documents that the census saw."""

from __future__ import annotations

from collections.abc import Iterator

from engine.mapping.kinds import KIND_NAMES
from engine.mapping.model import Column, Kind, Role
from engine.plan.model import TablePlan
from engine.target.sqlstates import one_line


def table_doubts(table: TablePlan) -> str:
    """Each column that some documents do not fit, in one text for people; empty when all that were seen fit.

    Args:
        table: with the bounds of the table's columns in its mapping.
    """
    found = [doubt for column in table.mapping.columns for doubt in _column_doubts(table, column)]
    if not found:
        return ""
    return f"Table {one_line(table.target)}: {' '.join(found)} Such documents will be rejects."


def _column_doubts(table: TablePlan, column: Column) -> Iterator[str]:
    name = f"Column {one_line(column.name)}"
    longest = table.longest.get(column.name, 0)
    if column.length and longest > column.length:
        yield f"{name} is varchar({column.length}), and values of up to {longest:,} characters were seen."
    if not column.nullable and column.role is Role.FIELD and column.name in table.seen:
        share, kinds = table.seen[column.name]
        if share * (1 - kinds.get(KIND_NAMES[Kind.NULL], 0)) < 1:
            yield f"{name} is NOT NULL, and documents without a value for it were seen."
