"""Preflight: what a run would meet at both ends, looked at before it is started."""

from __future__ import annotations

from typing import Literal

from engine.protocol.wire import Wire

CheckStatus = Literal["ok", "warning", "stop"]
"""`stop`: a run that is started now would be refused, or fail."""


class CheckView(Wire):
    """One thing that was looked at."""

    what: str
    """"source", "snapshot", "target", "rights", "ledger", "connections", "replace", "event triggers", "guards" or "cluster"."""
    status: CheckStatus
    message: str
    """One sentence or two: what was found and, unless it is ok, what to do."""
    code: str = ""
    """The error that the run would end with; empty unless it would be stopped."""


class TargetTable(Wire):
    """The table that a collection goes to, as the target has it now."""

    namespace: str
    """`db.collection`."""
    table: str
    """`schema.table`, as in `TableView`."""
    state: Literal["new", "exists", "unknown"]
    """`unknown` when the target could not be looked at."""
    rows: int | None = None
    """In it now; null when there is no table, or no telling."""
    rows_are: Literal["exact", "about", "at least"] = "exact"
    """`about`: the server's own estimate, which is taken for large tables."""
    fate: Literal["created", "appended", "upserted", "replaced", "stops", "unknown"] = "unknown"
    """What the run would make of it; `replaced` is loaded anew, and what was there is dropped; `stops` stops the run."""
    stays: bool = False
    """A table that is `replaced` is not dropped: it gets new rows in the place of all that it has."""
    mapped_by: str = ""
    """The newest run that wrote into a table to which rows are added: its mapping is kept. Empty where there is
    none, or a saved plan says what goes where."""
    status: CheckStatus = "ok"
    message: str = ""
    """Why it would stop the run, or what there is to know of it."""
    code: str = ""
    """The error that the run would end with; empty unless it would be stopped."""


class PreflightReport(Wire):
    """Both ends, as a run would find them."""

    status: CheckStatus
    """The worst of all."""
    target: Literal["checked", "unreachable", "not checked"]
    """`not checked` when there is no target to look at."""
    mode: str
    database: str = ""
    """The target's, as the server calls it."""
    checks: list[CheckView] = []
    tables: list[TargetTable] = []
    """One for each collection, in the order of the plan."""
    schemas: list[str] = []
    """That would be created."""

    @property
    def dropped(self) -> list[TargetTable]:
        """Tables whose rows of now would be dropped."""
        return [table for table in self.tables if table.fate == "replaced" and table.state == "exists"]

    @property
    def stopping(self) -> list[TargetTable]:
        """Tables that would stop the run."""
        return [table for table in self.tables if table.status == "stop"]
