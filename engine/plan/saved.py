"""From a plan to what an operator may edit of it."""

from __future__ import annotations

from engine.config import Mode
from engine.mapping.model import Role
from engine.mapping.options import MappingOptions
from engine.plan.model import Plan, TablePlan
from engine.protocol.saved_plan import SavedPlan, SavedTable


def saved_of(plan: Plan, mode: Mode, options: MappingOptions) -> SavedPlan:
    """What an operator may edit of a plan. Columns that an earlier run left behind are found anew in the table."""
    shapes = {table.mapping.options for table in plan.tables}
    if len(shapes) == 1:
        [options] = shapes
    elif any(shape.overflow == "reject" for shape in shapes):  # a table that is there may have no _extra
        options = options.model_copy(update={"overflow": "reject"})
    return SavedPlan(mode=mode, options=options, tables=tuple(map(_saved_table, plan.tables)))


def _saved_table(table: TablePlan) -> SavedTable:
    return SavedTable(
        database=table.database,
        collection=table.collection,
        schema_name=table.schema_name,
        table=table.table,
        filter=table.filter,
        ignored=table.mapping.ignored,
        columns=tuple(column.without_limits for column in table.mapping.columns if column.role is not Role.NONE),
    )
