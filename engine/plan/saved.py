"""A plan as an operator keeps and edits it: everything that was decided, nothing that was only counted."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from engine.config import Mode, Settings
from engine.mapping.model import Column, Mapping, Role
from engine.mapping.options import MappingOptions
from engine.plan.model import Plan


class SavedTable(BaseModel):
    """One collection."""

    model_config = ConfigDict(frozen=True)

    database: str
    collection: str
    schema_name: str
    table: str
    filter: str = ""
    """Extended JSON; empty takes every document."""
    ignored: tuple[tuple[str, ...], ...] = ()
    """Field paths that are left out on purpose."""
    columns: tuple[Column, ...] | None = None
    """In table order; None leaves them to the census."""

    @property
    def namespace(self) -> str:
        """`db.collection`."""
        return f"{self.database}.{self.collection}"

    @property
    def target(self) -> str:
        """`schema.table`."""
        return f"{self.schema_name}.{self.table}"

    def mapping(self, options: MappingOptions) -> Mapping | None:
        """What a converter needs; None when the census is to decide."""
        if self.columns is None:
            return None
        return Mapping(columns=self.columns, options=options, ignored=self.ignored)


class SavedPlan(BaseModel):
    """Every collection, the mode and the options of a run."""

    model_config = ConfigDict(frozen=True)

    mode: Mode = "create"
    options: MappingOptions = MappingOptions()
    tables: tuple[SavedTable, ...]

    def over(self, settings: Settings) -> Settings:
        """The settings with what the plan decides put over them."""
        changed = settings.model_copy(deep=True)
        changed.run.mode = self.mode
        changed.mapping = self.options
        return changed


def saved_of(plan: Plan, mode: Mode, options: MappingOptions) -> SavedPlan:
    """What an operator may edit of a plan. Columns that an earlier run left behind are found anew in the table."""
    shapes = {table.mapping.options for table in plan.tables}
    if len(shapes) == 1:
        [options] = shapes
    elif any(shape.overflow == "reject" for shape in shapes):  # a table that is there may have no _extra
        options = options.model_copy(update={"overflow": "reject"})
    return SavedPlan(
        mode=mode,
        options=options,
        tables=tuple(
            SavedTable(
                database=table.database,
                collection=table.collection,
                schema_name=table.schema_name,
                table=table.table,
                filter=table.filter,
                ignored=table.mapping.ignored,
                columns=tuple(column for column in table.mapping.columns if column.role is not Role.NONE),
            )
            for table in plan.tables
        ),
    )
