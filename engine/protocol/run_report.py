"""Everything that there is to say of a run when it is over: for an audit."""

from __future__ import annotations

from typing import Any

from engine.protocol.records import RunInfo
from engine.protocol.reports import RejectGroup, RetriedReason, TableCounts
from engine.protocol.wire import Wire


class ReportedColumn(Wire):
    """A field and its column."""

    field: str
    """Dotted path; empty for columns that hold no field of their own, such as `_extra`."""
    column: str
    type: str
    nullable: bool = True
    policies: dict[str, str] = {}
    """Policies of this field alone."""


class ReportedTable(Wire):
    """What became of a collection."""

    namespace: str
    table: str
    filter: str = ""
    """Extended JSON; empty takes every document."""
    columns: list[ReportedColumn]
    excluded: list[str] = []
    """Fields that were left out on purpose."""
    indexes: list[str] = []
    """Names of the secondary indexes of the plan."""
    counts: TableCounts


class ComparedOnce(Wire):
    """A comparison of both sides after the run."""

    result: str
    level: str
    """`full` when the rows of every table were compared."""
    seconds: float
    unix: float = 0.0
    """When, seconds since 1970; 0 when that was not kept."""


class RetriedOnce(Wire):
    """A retry of rejects after the run."""

    tried: int
    written: int
    already_there: int = 0
    left: int
    policies: dict[str, str] = {}
    """Those that were chosen for it."""
    reasons: list[RetriedReason] = []
    """Which documents they were, by the reasons that they were rejects for; empty where that was not kept."""
    unix: float = 0.0


class FollowedReport(Wire):
    """How a run followed its source."""

    phase: str
    """As in `FollowView`; `done` when it was cut over."""
    since_unix: float | None = None
    """From when on all changes are applied, by the source's clock."""
    mark_unix: float | None = None
    """Of the cut-over: the source's last write, likewise."""
    changes: dict[str, int] = {}
    """Changes read: `insert`, `update`, `replace`, `delete`."""
    keys: int = 0
    """Keys applied; several changes of a document may be one."""
    to_compare: int = 0
    """Of these, still to be compared with the source."""
    mended: int = 0
    """Rows that had differed from their documents, and were written again."""
    differences: int = 0
    """Rows that differed though they were written again."""


class WorkedTime(Wire):
    """A time that an engine worked on the run: a run that is stopped and resumed has several."""

    began_unix: float
    """Seconds since 1970."""
    ended_unix: float | None = None
    """Likewise; null where its end was not written."""
    by: str = ""
    """`user@host` of the engine."""
    state: str = ""
    """What it ended as: `completed`, `cancelled` or `failed`; empty where its end was not written."""
    stopped_by: str = ""
    """What stopped it, where it was stopped."""


class CutOverFacts(Wire):
    """The cut-over of a run that followed its source."""

    unix: float = 0.0
    """When, seconds since 1970; 0 when that was not kept."""
    write_stop_s: float | None = None
    """Seconds from the mark to the end, in which the source's writers had to stand still; null when that is not known."""
    writes_blocked: bool = False
    """MongoDB was made to refuse all writes."""
    sequences: list[str] = []
    """Those that were set behind the largest value of their column, each with that."""


class RunReport(Wire):
    """A run for an audit: who, when, where, what became of which field, what was left out, and how it was checked."""

    run: RunInfo
    made_unix: float
    """When this report was made, seconds since 1970."""
    made_by: str
    """`user@host`, likewise `started_by`."""
    made_with: str
    """Version of the program."""
    started_by: str = ""
    """Empty where the run did not keep it; likewise the next three."""
    program: str = ""
    """Version of the program that ran."""
    source_version: str = ""
    """Of MongoDB."""
    target_version: str = ""
    """Of PostgreSQL."""
    error: str = ""
    """Why the run failed."""
    consistency: str = "fuzzy"
    snapshot_unix: float = 0.0
    """The time at which all documents were read, seconds since 1970; 0 without one."""
    options: dict[str, Any] = {}
    """Options and policies of the mapping."""
    plan: str = ""
    """The plan as TOML."""
    plan_sha256: str = ""
    """Of that text: its fingerprint."""
    tables: list[ReportedTable]
    rejects: list[RejectGroup] = []
    """Documents that are left out, by reason."""
    compared: list[ComparedOnce] = []
    """The newest last."""
    retried: list[RetriedOnce] = []
    followed: FollowedReport | None = None
    """Of a run that followed its source."""
    cut_over: CutOverFacts | None = None
    """Of a run that followed its source until it was cut over."""
    times: list[WorkedTime] = []
    """The oldest first; empty where that was not kept."""
    knobs: dict[str, list[int]] = {}
    """What each knob was, one value after the other."""
    samples: list[tuple[float, float]] = []
    """(seconds of the run, rows per second), for the chart."""
