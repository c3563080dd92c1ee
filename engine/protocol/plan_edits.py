"""Edits of a saved plan, each with what it makes of the plan. The engine judges the result, as it does a plan from a file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from engine.errors import UsageError
from engine.mapping.kinds import kinds_to_take
from engine.mapping.model import SQL_TYPES, Column, ColumnType
from engine.mapping.options import MappingOptions, OfDates, OfMisfits, OfNul, OfText
from engine.protocol.saved_plan import SavedPlan, SavedTable, column_place, wrong
from engine.protocol.wire import Request
from engine.validation import must_be, shown

TYPE_WORDS = f"one of {', '.join(ColumnType)}, or an array such as text[]"
"""What the type of a column may be."""


class TableEdit(Request):
    """An edit of one table, which is named as the plan names it: no two tables of a plan have the same name."""

    schema_name: str
    table: str

    @abstractmethod
    def edited(self, table: SavedTable, options: MappingOptions) -> SavedTable:
        """The table after the edit.

        Args:
            options: of the plan.

        Raises:
            UsageError: the edit cannot be made.
        """


class ColumnEdit(TableEdit):
    """An edit of one column."""

    column: str
    """Its name before the edit."""

    def edited(self, table: SavedTable, options: MappingOptions) -> SavedTable:
        """The table with this column changed."""
        before = table.column(self.column)
        after = self.changed(before, table, options)
        columns = tuple(after if each is before else each for each in table.columns or ())
        return table.model_copy(update={"columns": columns})

    @abstractmethod
    def changed(self, column: Column, table: SavedTable, options: MappingOptions) -> Column:
        """The column after the edit; arguments and errors as of `edited`."""


class RenameColumn(ColumnEdit):
    """Another name."""

    kind: Literal["rename_column"] = "rename_column"
    new_name: str

    def changed(self, column: Column, table: SavedTable, options: MappingOptions) -> Column:
        """The column under its new name."""
        return column.model_copy(update={"name": self.new_name})


class RetypeColumn(ColumnEdit):
    """Another type, with every kind that fits into it."""

    kind: Literal["retype_column"] = "retype_column"
    type: str
    """As DDL spells it, `text[]` for an array."""

    def changed(self, column: Column, table: SavedTable, options: MappingOptions) -> Column:
        """The column with its new type; as it is when it has that already."""
        if column.sql_type == self.type:
            return column
        try:
            type_, is_array = sql_type(self.type)
        except ValueError as error:
            raise wrong(column_place(shown(table.namespace), column), str(error)) from None
        kinds = kinds_to_take(type_, options) if column.path else frozenset()
        return column.model_copy(update={"type": type_, "array": is_array, "kinds": kinds})


class SetPolicies(ColumnEdit):
    """What becomes of values that the column does not take, where that differs from the plan's options; empty does not."""

    kind: Literal["set_policies"] = "set_policies"
    nul: OfNul | Literal[""] = ""
    date_range: OfDates | Literal[""] = ""
    utf8: OfText | Literal[""] = ""
    overflow: OfMisfits | Literal[""] = ""

    def changed(self, column: Column, table: SavedTable, options: MappingOptions) -> Column:
        """The column with these policies and no others."""
        policies = {"nul": self.nul, "date_range": self.date_range, "utf8": self.utf8, "overflow": self.overflow}
        return column.model_copy(update=policies)


class LeaveOut(TableEdit):
    """The column is removed, and its field is one that is left out on purpose."""

    kind: Literal["leave_out"] = "leave_out"
    column: str

    def edited(self, table: SavedTable, options: MappingOptions) -> SavedTable:
        """The table without the column."""
        column = table.column(self.column)
        if not column.path:
            raise UsageError(f"Column {shown(self.column)} is not made from a field: it cannot be excluded.")
        columns = tuple(each for each in table.columns or () if each is not column)
        return table.model_copy(update={"columns": columns, "ignored": (*table.ignored, column.path)})


class PutBack(TableEdit):
    """A field that is left out on purpose has a column again."""

    kind: Literal["put_back"] = "put_back"
    column: Column
    position: int = Field(ge=0)
    """Columns before it."""

    def edited(self, table: SavedTable, options: MappingOptions) -> SavedTable:
        """The table with the column."""
        columns = table.columns or ()
        ignored = tuple(path for path in table.ignored if path != self.column.path)
        placed = (*columns[: self.position], self.column, *columns[self.position :])
        return table.model_copy(update={"columns": placed, "ignored": ignored})


class Flatten(TableEdit):
    """The column of a document gives way to columns of the document's fields."""

    kind: Literal["flatten"] = "flatten"
    column: str
    columns: tuple[Column, ...] = Field(min_length=1)
    """What stands in its place."""

    def edited(self, table: SavedTable, options: MappingOptions) -> SavedTable:
        """The table with these columns instead."""
        column = table.column(self.column)
        inside = [each for each in self.columns if each.path[: len(column.path)] == column.path != each.path]
        if not column.path or len(inside) < len(self.columns):
            raise UsageError(
                f"Column {shown(self.column)} cannot be flattened: its fields are not what is to take its place."
            )
        columns = table.columns or ()
        place = columns.index(column)
        return table.model_copy(update={"columns": (*columns[:place], *self.columns, *columns[place + 1 :])})


class MoveTable(TableEdit):
    """Another schema, another name, or both."""

    kind: Literal["move_table"] = "move_table"
    new_schema: str
    new_table: str

    def edited(self, table: SavedTable, options: MappingOptions) -> SavedTable:
        """The table where it is to be."""
        return table.model_copy(update={"schema_name": self.new_schema, "table": self.new_table})


class SetFilter(TableEdit):
    """Only some of the documents are copied, or all of them again."""

    kind: Literal["set_filter"] = "set_filter"
    filter: str
    """Extended JSON; empty takes every document."""

    def edited(self, table: SavedTable, options: MappingOptions) -> SavedTable:
        """The table with this filter."""
        return table.model_copy(update={"filter": self.filter})


PlanEdit = Annotated[
    RenameColumn | RetypeColumn | SetPolicies | LeaveOut | PutBack | Flatten | MoveTable | SetFilter,
    Field(discriminator="kind"),
]
"""Any edit."""


def apply(plan: SavedPlan, edit: PlanEdit) -> SavedPlan:
    """The plan after an edit; whether the engine would run it is not said.

    Raises:
        UsageError: the plan has no such table or column, or the edit cannot be made there.
    """
    for number, table in enumerate(plan.tables):
        if (table.schema_name, table.table) == (edit.schema_name, edit.table):
            tables = (*plan.tables[:number], edit.edited(table, plan.options), *plan.tables[number + 1 :])
            return plan.model_copy(update={"tables": tables})
    raise UsageError(f"The plan has no table {shown(f'{edit.schema_name}.{edit.table}')}.")


def apply_all(plan: SavedPlan, edits: Iterable[PlanEdit]) -> SavedPlan:
    """The plan after edits, one after the other; raises as `apply`."""
    for edit in edits:
        plan = apply(plan, edit)
    return plan


def sql_type(text: str) -> tuple[ColumnType, bool]:
    """A column's type, and whether it is an array of it.

    Args:
        text: as DDL spells it.

    Raises:
        ValueError: there is no such type; what it says goes on after the column's place.
    """
    if text not in SQL_TYPES:
        raise ValueError(must_be("type", TYPE_WORDS, text, ColumnType))
    return SQL_TYPES[text]
