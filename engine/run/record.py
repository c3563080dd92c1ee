"""What is known of a run, and how facts change it.

`RunRecord.apply(event)` is the only way a record changes, but for the id of a run that is taken up. Live runs, history and
replay all feed it the same events, so they all show the same run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import singledispatch

from engine.knobs import CLUSTER_SIZE
from engine.protocol import (
    DocumentsSeeded,
    ErrorInfo,
    Event,
    FollowedFacts,
    IndexesBuilt,
    KnobChanged,
    KnobTuned,
    PartitionParked,
    ProblemReported,
    ProblemView,
    RejectsRetried,
    ReplacedTables,
    RunCutOver,
    RunFinished,
    RunPlanned,
    RunRecounted,
    RunState,
    RunVerified,
    SliceCommitted,
    SnapshotTaken,
    StateEntered,
    TableCounted,
    TableProgress,
    TableStage,
    TotalChanged,
    TuningView,
    UnknownEvent,
    Verification,
    VerificationEnded,
)
from engine.run.states import ROLLING_BACK

ADVICE = {
    "nul": 'Set mapping.nul to "strip" or "replace", or clean the source; the documents are kept as rejects.',
    "utf8": 'Set mapping.utf8 to "replace", or clean the source; the documents are kept as rejects.',
    "date_range": "Set mapping.date_range to another policy; the documents are kept as rejects.",
    "overflow": 'Set mapping.overflow to "overflow" to keep such values in _extra.',
    "id_kind": "These _ids are of a kind that the plan did not see; plan again.",
    "not_null": "Drop NOT NULL from the column, or give it a value in the source.",
    "too_long": "Widen the column; the documents are kept as rejects.",
    "id_too_long": "PostgreSQL cannot index keys this long; shorten them or choose another key.",
}
"""What to do, by reason code."""

REJECTED = "documents rejected"
"""The message of the problems that are about rejects by reason."""
ALTERED = "values changed as the policy says"
"""The message of the problems that are about these."""


@dataclass(slots=True)
class TableCounters:
    """One table's committed counts."""

    namespace: str
    table: str
    total: int
    read: int = 0
    written: int = 0
    rejected: int = 0
    source_count: int = -1
    target_count: int = -1
    ok: bool | None = None
    indexes_built: int = 0
    """Those that were there already included."""
    indexes_failed: int = 0
    altered: Counter[str] = field(default_factory=Counter)
    """Values that a policy changed in the rows, by policy."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Rejects by the code of their reason."""
    stage: str = ""
    """What its end has come to; empty before that."""
    n_parked: int = 0
    """Partitions that are left out."""


@dataclass(slots=True)
class RunRecord:
    """Everything that facts say about a run."""

    run_id: str
    state: RunState = RunState.IDLE
    phase: str = ""
    verification: Verification = Verification.NONE
    verification_level: str = ""
    """How that is known: `counts` or `full`; empty when nothing is known."""
    verified_before_retry: bool = False
    """Every document was compared, and a retry of rejects has written rows since."""
    replaced_since: ReplacedTables | None = None
    """Tables that are not any more what the run wrote, as the ledger had it when it was asked last."""
    error: ErrorInfo | None = None
    knobs: dict[str, int] = field(default_factory=dict)
    auto: str = ""
    """`auto`, or `auto:4-16`: the run turns the cluster size; empty when it does not."""
    stable: int = 0
    """The cluster size that the run keeps, when it turns it."""
    tuned: str = ""
    """Why it is what it is."""
    tables: dict[int, TableCounters] = field(default_factory=dict)
    """By task id, in the plan's order."""
    problems: dict[tuple[str, str], ProblemView] = field(default_factory=dict)
    """By code and collection."""
    n_bytes: int = 0
    n_retried: int = 0
    seeded: int = 0
    """Documents in the seeded collection."""
    exit_code: int | None = None
    rows_per_s_overall: float = 0.0
    """Over all times that the run was driven, at its end; 0 before that."""
    consistency: str = "fuzzy"
    at: float = 0.0
    """Of the newest event."""
    last_commit_at: float = 0.0
    """Of the newest commit of this engine; 0 before the first one."""
    stopped_by: str = ""
    """What asked for the run's end."""
    has_rolled_back: bool = False
    """That was to come at once: pages in hand were not finished."""
    snapshot_unix: float = 0.0
    """The time at which all documents are read; 0 is none."""
    followed: FollowedFacts | None = None
    """What it did after the copy; None for a run that was not cut over."""

    @property
    def tuning(self) -> TuningView | None:
        """How the run turns the cluster size; None when it does not."""
        if not self.auto:
            return None
        size = self.knobs.get(CLUSTER_SIZE.name, 0)
        stable = self.stable or size
        return TuningView(
            auto=self.auto, stable=stable, probing=size if size != stable else None, reason=self.tuned
        )  # fmt: skip

    @property
    def written(self) -> int:
        """Committed rows of all tables."""
        return sum(table.written for table in self.tables.values())

    @property
    def read(self) -> int:
        """Documents of committed slices."""
        return sum(table.read for table in self.tables.values())

    @property
    def rejected(self) -> int:
        """Documents kept as rejects, committed."""
        return sum(table.rejected for table in self.tables.values())

    @property
    def altered(self) -> dict[str, int]:
        """Values that a policy changed in committed rows, by policy."""
        return dict(sum((table.altered for table in self.tables.values()), Counter[str]()))

    @property
    def total(self) -> int:
        """Documents expected, never below what was read."""
        return sum(max(table.total, table.read) for table in self.tables.values())

    def apply(self, event: Event) -> None:
        """Change the record by a fact. One that cannot be read changes nothing (a newer version's event in a replay)."""
        if not isinstance(event, UnknownEvent):
            self.at = event.at
            _apply(event, self)

    def counters(self, task_id: int) -> TableCounters:
        """Of a table; also of one that is not planned, where the event that planned it cannot be read."""
        return self.tables.setdefault(task_id, TableCounters("", f"table {task_id}", 0))

    def table_views(self) -> list[TableProgress]:
        """The tables for a snapshot."""
        return [
            TableProgress(
                namespace=table.namespace, table=table.table, total=max(table.total, table.read), read=table.read,
                written=table.written, rejected=table.rejected, altered=dict(table.altered), source_count=table.source_count,
                target_count=table.target_count, ok=table.ok,
            )
            for table in self.tables.values()
        ]  # fmt: skip


@singledispatch
def _apply(event: Event, record: RunRecord) -> None:
    """Change a record by an event; those without a function of their own change nothing in it."""


@_apply.register
def _(event: StateEntered, record: RunRecord) -> None:
    record.state = event.state
    record.phase = event.phase or record.state.value
    if event.state is RunState.CANCELLING:
        record.stopped_by = event.by
        record.has_rolled_back = event.phase.endswith(ROLLING_BACK)


@_apply.register
def _(event: KnobChanged, record: RunRecord) -> None:
    record.knobs[event.knob] = event.value
    if event.knob == CLUSTER_SIZE.name:
        record.tuned = event.reason or record.tuned


@_apply.register
def _(event: KnobTuned, record: RunRecord) -> None:
    record.auto, record.stable, record.tuned = event.auto, event.stable, event.reason


@_apply.register
def _(event: RunPlanned, record: RunRecord) -> None:
    for table in event.tables:
        record.tables[table.task_id] = TableCounters(table.namespace, table.table, table.total)
    record.knobs |= event.knobs


@_apply.register
def _(event: TotalChanged, record: RunRecord) -> None:
    record.counters(event.task_id).total = event.total


@_apply.register
def _(event: SliceCommitted, record: RunRecord) -> None:
    table = record.counters(event.task_id)
    table.read += event.read
    table.written += event.written
    table.rejected += event.rejected
    record.n_bytes += event.bytes
    record.last_commit_at = event.at
    for code, count in event.reasons.items():
        table.reasons[code] += count
        _count_problem(record, code, REJECTED, table.namespace, count, ADVICE.get(code, ""))
    for code, count in event.policies.items():
        table.altered[code] += count
        _count_problem(record, code, ALTERED, table.namespace, count, "")


@_apply.register
def _(event: TableStage, record: RunRecord) -> None:
    record.counters(event.task_id).stage = event.state


@_apply.register
def _(event: PartitionParked, record: RunRecord) -> None:
    for table in record.tables.values():
        if table.namespace == event.namespace:
            table.n_parked += 1


@_apply.register
def _(event: RunRecounted, record: RunRecord) -> None:
    altered, rejected = set[str](), set[str]()
    for recounted in event.tables:
        table = record.counters(recounted.task_id)
        table.read, table.written, table.rejected = recounted.read, recounted.written, recounted.rejected
        if recounted.altered is not None:
            table.altered = Counter(recounted.altered)
            altered.add(table.namespace)
        if recounted.reasons is not None:
            table.reasons = Counter(recounted.reasons)
            rejected.add(table.namespace)
    _recount_problems(record, altered, ALTERED)
    _recount_problems(record, rejected, REJECTED)
    record.n_bytes = event.bytes


@_apply.register
def _(event: DocumentsSeeded, record: RunRecord) -> None:
    record.seeded = event.documents


@_apply.register
def _(event: ProblemReported, record: RunRecord) -> None:
    if event.retry:
        record.n_retried += 1
    _count_problem(record, event.code, event.message, event.namespace, 1, event.advice)


@_apply.register
def _(event: TableCounted, record: RunRecord) -> None:
    table = record.counters(event.task_id)
    table.source_count, table.target_count, table.ok = event.source, event.target, event.ok


@_apply.register
def _(event: IndexesBuilt, record: RunRecord) -> None:
    table = record.counters(event.task_id)
    table.indexes_built, table.indexes_failed = event.built, event.failed


@_apply.register
def _(event: SnapshotTaken, record: RunRecord) -> None:
    record.consistency, record.snapshot_unix = "snapshot", event.unix


@_apply.register
def _(event: RunCutOver, record: RunRecord) -> None:
    record.followed = FollowedFacts.model_validate(event.facts)


@_apply.register
def _(event: VerificationEnded, record: RunRecord) -> None:
    record.verification, record.verification_level = event.verification, event.level
    record.verified_before_retry = event.before_retry


@_apply.register
def _(event: RunVerified, record: RunRecord) -> None:
    record.verification, record.verification_level = event.result, event.verification_level
    record.verified_before_retry = False


@_apply.register
def _(event: RejectsRetried, record: RunRecord) -> None:
    if event.written and record.verification_level:  # nothing has compared these rows
        record.verified_before_retry |= record.verification_level == "full"
        record.verification_level = "counts"


@_apply.register
def _(event: RunFinished, record: RunRecord) -> None:
    record.state = event.state
    record.phase = record.state.value
    record.exit_code = event.exit_code
    record.rows_per_s_overall = event.rows_per_s_overall
    record.error = event.error or record.error


def _recount_problems(record: RunRecord, namespaces: Collection[str], message: str) -> None:
    """Let the problems with this message, `ALTERED` or `REJECTED`, say what the tables of these collections do."""
    before = {
        key: problem for key, problem in record.problems.items() if key[1] in namespaces and problem.message == message
    }
    for key in before:
        del record.problems[key]
    for table in record.tables.values():
        if table.namespace in namespaces:
            for code, count in (table.altered if message == ALTERED else table.reasons).items():
                advice = ADVICE.get(code, "") if message == REJECTED else ""
                _count_problem(record, code, message, table.namespace, count, advice)
    for key, problem in before.items():
        if key in record.problems:
            known = record.problems[key]
            record.problems[key] = known.model_copy(update={"last_at": problem.last_at})


def _count_problem(record: RunRecord, code: str, message: str, namespace: str, count: int, advice: str) -> None:
    known = record.problems.get((code, namespace))
    record.problems[(code, namespace)] = ProblemView(
        code=code,
        message=message,
        count=count + (known.count if known else 0),
        collection=namespace,
        advice=advice,
        last_at=record.at,
    )
