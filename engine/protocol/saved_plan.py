"""A plan as an operator keeps and edits it: everything that was decided, nothing that was only counted."""

from __future__ import annotations

from engine.config import Mode, Settings
from engine.errors import UsageError
from engine.mapping.model import Column, Mapping
from engine.mapping.names import show_path
from engine.mapping.options import MappingOptions
from engine.protocol.wire import Wire
from engine.validation import sentence, shown


class SavedTable(Wire):
    """One collection."""

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

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            UsageError: there is none.
        """
        for column in self.columns or ():
            if column.name == name:
                return column
        raise UsageError(f"The plan of {shown(self.namespace)} has no column {shown(name)}.")

    def mapping(self, options: MappingOptions) -> Mapping | None:
        """What a converter needs; None when the census is to decide."""
        if self.columns is None:
            return None
        return Mapping(columns=self.columns, options=options, ignored=self.ignored)


class SavedPlan(Wire):
    """Every collection, the mode and the options of a run."""

    mode: Mode = "create"
    options: MappingOptions = MappingOptions()
    tables: tuple[SavedTable, ...]

    def over(self, settings: Settings) -> Settings:
        """The settings with what the plan decides put over them."""
        run = settings.run.model_copy(update={"mode": self.mode})
        return settings.model_copy(update={"run": run, "mapping": self.options})


def wrong(where: str, what: str) -> UsageError:
    """The error for something at `where` in a plan."""
    return UsageError(sentence(f"The plan, {where}: {what}"))


def column_place(where: str, column: Column) -> str:
    """How to speak of a column: by its field where it has one.

    Args:
        where: its table's collection.
    """
    if column.path:
        return f"{where}, field {shown(show_path(column.path))}"
    return f"{where}, column {shown(column.name)}"
