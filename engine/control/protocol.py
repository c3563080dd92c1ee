"""The whole vocabulary between front ends and the engine: commands in, replies, events and snapshots out.

One Unix-domain socket a run, JSON lines of at most 32 MiB, each an object::

    -> {"id": 7, "command": {"name": "set", "knob": "cluster_size", "value": 12}}
    <- {"reply": 7, "result": {...}}                    or  {"reply": 7, "error": {"code", "message", "exit_code"}}
    <- {"event": {"kind": "knob", "at": 12.5, ...}}     facts: every client gets each of them, in order
    <- {"snapshot": {...}}                              the state now: a slow client gets only the newest

Times: `at` and `elapsed` are seconds since the run was accepted (monotonic); `*_unix` are seconds since 1970.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_LINE = 32 * 1024 * 1024
"""Bytes in one line."""
SNAPSHOT_HZ = 10
"""Snapshots a second, at most."""


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunState(StrEnum):
    """A run's life."""

    IDLE = "idle"
    PLANNED = "planned"
    SEEDING = "seeding"
    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    FINISHING = "finishing"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_active(self) -> bool:
        """Work is going on, or stands paused."""
        return self in ACTIVE

    @property
    def is_over(self) -> bool:
        """The run has ended, one way or another."""
        return self in OVER


OVER = frozenset({RunState.COMPLETED, RunState.CANCELLED, RunState.FAILED})
ACTIVE = frozenset(set(RunState) - OVER - {RunState.IDLE, RunState.PLANNED})


class Verification(StrEnum):
    """What is known about both sides being equal."""

    NONE = "none"
    RUNNING = "running"
    VERIFIED = "verified"
    MISMATCH = "mismatch"


class WorkerState(StrEnum):
    """What one worker does, as its slot in shared memory says."""

    STARTING = "starting"
    IDLE = "idle"
    READING = "reading"
    CONVERTING = "converting"
    WRITING = "writing"
    SEEDING = "seeding"
    COMPARING = "comparing"
    RETRYING = "retrying"
    THROTTLED = "throttled"
    DRAINING = "draining"
    STALLED = "stalled"
    PAUSED = "paused"


# --- commands ---------------------------------------------------------------------------------------------------------


class Attach(_Wire):
    """First word of a client. The reply is an `Attached`; events and snapshots follow."""

    name: Literal["attach"] = "attach"
    owner: bool = False
    """This client started the engine; when it vanishes, `on_disconnect` decides."""
    on_disconnect: Literal["continue", "cancel"] = "continue"


class Detach(_Wire):
    """The client leaves on purpose: the run goes on."""

    name: Literal["detach"] = "detach"


class Inspect(_Wire):
    """Test the connection to one side; the reply is a `ServerReport` (unreachable servers are in it, not an error)."""

    name: Literal["inspect"] = "inspect"
    side: Literal["source", "target"]
    uri: str = ""
    """Another URI than the settings'; it becomes the engine's when the test succeeds and `keep` is set."""
    keep: bool = False


class ListCollections(_Wire):
    """Collections of the source's database; the reply is {"collections": [CollectionInfo]}."""

    name: Literal["collections"] = "collections"


class MakePlan(_Wire):
    """Census and mapping of the chosen collections; the reply is a `PlanView`. Nothing is written."""

    name: Literal["plan"] = "plan"
    collections: list[str] = []
    plan: str = ""
    """A saved plan's TOML, as in `PlanView.toml` and edited since, to be shown instead of a proposal."""


class Start(_Wire):
    """Start the run (or its seeding). Answered when it is accepted, before work begins; the reply is a `Snapshot`."""

    name: Literal["start"] = "start"
    seed: bool = False
    """Seed first."""
    migrate: bool = True
    """Copy (after seeding, if both)."""
    resume: str | None = None
    """Go on with a run: its id or a unique prefix of it, "" for the newest unfinished one of this plan."""
    plan: str = ""
    """A saved plan's TOML to run: it decides collections, tables, mode and mapping."""
    settings: dict[str, Any] = {}
    """Settings that differ from those the engine was started with, `{"run": {"mode": "append"}}`."""


class Pause(_Wire):
    """End pages early, commit, and stand still. Answered at once."""

    name: Literal["pause"] = "pause"


class Resume(_Wire):
    """Go on after a pause."""

    name: Literal["resume"] = "resume"


class Cancel(_Wire):
    """Stop: commit slices in hand (`now`: roll them back). What is committed stays, and the run can be resumed."""

    name: Literal["cancel"] = "cancel"
    now: bool = False


class SetKnob(_Wire):
    """Turn a knob; the reply is {"knob", "value", "applies": "at once" | "from the next page" | ...}."""

    name: Literal["set"] = "set"
    knob: str
    value: int


class Status(_Wire):
    """The reply is a `Snapshot`."""

    name: Literal["status"] = "status"


class Verify(_Wire):
    """Compare both sides; the reply is a `VerifyReport`. Level `full` reads everything again, with progress in
    `Snapshot.comparing`; `cancel` breaks it off."""

    name: Literal["verify"] = "verify"
    run: str = ""
    """A run from the ledger; empty is the newest."""
    level: Literal["counts", "full"] = "counts"
    samples: int = Field(default=100, ge=0, le=10_000)
    """Differences of each kind in each table that are described; all are counted."""
    redact: bool = False
    """Describe them without values."""


class ListRejects(_Wire):
    """Rejected documents by reason; the reply is a `RejectsReport`."""

    name: Literal["rejects"] = "rejects"
    run: str = ""
    samples: int = 5


class RetryRejects(_Wire):
    """Write rejected documents again, under today's policies and into the table as it is; those that succeed are rejects no
    longer. The reply is a `RetryReport`."""

    name: Literal["retry"] = "retry"
    run: str = ""
    plan: str = ""
    """A saved plan's TOML: its columns and policies instead of the run's columns under the settings' policies."""
    samples: int = 5


class ListRuns(_Wire):
    """History from the ledger; the reply is {"runs": [RunInfo]}."""

    name: Literal["runs"] = "runs"


class Replay(_Wire):
    """A recorded run, from its events in the ledger; the reply is a `Recording`."""

    name: Literal["replay"] = "replay"
    run: str = ""
    """A run from the ledger, or a unique prefix of its id; empty is the newest."""
    max_frames: int = Field(default=600, ge=1, le=600)
    """1 is the run's end alone."""


class DiscardRun(_Wire):
    """Drop a run's staging tables and its rows in the ledger; the target tables stay, unless they are to go too."""

    name: Literal["discard"] = "discard"
    run: str
    drop_tables: bool = False
    """Also drop the target tables that the run made itself, with their rows."""


class Shutdown(_Wire):
    """End an engine with no active run now, without waiting for clients to leave."""

    name: Literal["shutdown"] = "shutdown"


Command = Annotated[
    Attach | Detach | Inspect | ListCollections | MakePlan | Start | Pause | Resume | Cancel | SetKnob | Status | Verify
    | ListRejects | RetryRejects | ListRuns | Replay | DiscardRun | Shutdown,
    Field(discriminator="name"),
]  # fmt: skip


# --- replies ----------------------------------------------------------------------------------------------------------


class ErrorInfo(_Wire):
    """What went wrong: `code` as in `engine.errors`, `message` one sentence for people, redacted."""

    code: str
    message: str


class ServerReport(_Wire):
    """One side's connection, as tested."""

    side: str
    uri: str
    """Redacted."""
    ok: bool
    message: str
    """"connected" or the one sentence that says what to do."""
    version: str = ""
    latency_ms: float = 0.0
    detail: str = ""
    """MongoDB: "replica set rs0"; PostgreSQL: "88 of 100 connections free"."""
    tls: str = ""
    """"TLS, verified", "TLS, host not verified", "TLS, not verified" or "no TLS"."""
    tls_is_weak: bool = False
    """Somebody on the network could read or forge what is sent; "no TLS" on this machine itself is not weak."""
    free_connections: int | None = None


class CollectionInfo(_Wire):
    """One collection of the source."""

    namespace: str
    """`db.collection`."""
    kind: str
    """"collection", "view", "timeseries", "capped", "clustered"."""
    documents: int
    """Estimated; -1 when it cannot be known cheaply."""
    size_bytes: int


class ColumnView(_Wire):
    """A column of the plan, for people."""

    field: str
    column: str
    type: str
    seen_percent: float
    kinds: dict[str, float]
    """Kind name -> per cent of the documents that have the field."""
    note: str = ""
    """Why the column has its type."""
    nullable: bool = True


class PreviewRowView(_Wire):
    """A sampled document as it would be written. Foreign text: make it harmless before showing it."""

    id: str
    """As Extended JSON."""
    values: list[str | None] = []
    """As PostgreSQL would show them, in the order of the columns, cut to some length; None is NULL."""
    reject: str = ""
    """Why the document would be rejected; empty for a row."""


class IndexView(_Wire):
    """An index of the collection, as PostgreSQL could have it."""

    name: str
    source_name: str
    """In MongoDB."""
    unique: bool
    sql: str


class EstimateView(_Wire):
    """An estimate of what a table comes to; `basis` says what it rests on."""

    table_bytes: int
    index_bytes: int
    """Of the key, and of the indexes where they are asked for."""
    seconds: float
    rows_per_s: float
    basis: str


class TableView(_Wire):
    """What becomes of one collection."""

    namespace: str
    table: str
    """`schema.table`."""
    kind: str = "collection"
    """As in `CollectionInfo`."""
    documents: int
    """To be copied: estimated, with a filter counted."""
    size_bytes: int
    sampled: int = 0
    """Documents that the census looked at."""
    filter: str = ""
    """Extended JSON; empty takes every document."""
    columns: list[ColumnView]
    ignored: list[str] = []
    """Fields left out on purpose."""
    primary_key: str = ""
    ddl: str = ""
    indexes: list[IndexView] = []
    """Built after the load where they are asked for; why others are left is among the warnings."""
    preview: list[PreviewRowView] = []
    estimate: EstimateView | None = None
    """None when there was nothing to estimate from."""
    warnings: list[str] = []
    """The weightiest first."""


class PlanView(_Wire):
    """The whole plan, for people; `fingerprint` guards resume."""

    fingerprint: str
    mode: str
    tables: list[TableView]
    warnings: list[str] = []
    """Of all tables, the weightiest first."""
    estimated_seconds: float = 0.0
    toml: str = ""
    """The plan to save, edit, and give back with `MakePlan.plan` or `Start.plan`."""


class TableProgress(_Wire):
    """One table of a run."""

    namespace: str
    table: str
    total: int
    read: int
    written: int
    rejected: int
    source_count: int = -1
    """Counted at the end; -1 before."""
    target_count: int = -1
    ok: bool | None = None
    """Counts agree; None before they are compared."""


class WorkerView(_Wire):
    """One worker now."""

    id: int
    pid: int
    state: WorkerState
    collection: str = ""
    partition: int = -1
    written: int = 0
    """Rows committed (documents inserted, when seeding)."""
    sent: int = 0
    """Rows that PostgreSQL has taken in, committed or not: for the bar only, never summed into a total."""
    rejected: int = 0
    rows_per_s: float = 0.0
    """From `sent`."""
    idle_s: float = 0.0
    """Age of the last progress, seconds."""
    reading: float = 0.0
    """Share of its time waiting for MongoDB, 0..1, over the last seconds; likewise the next two."""
    converting: float = 0.0
    writing: float = 0.0


class ProblemView(_Wire):
    """Problems of one kind, summed: rejects by reason, retries by cause."""

    code: str
    message: str
    count: int
    collection: str = ""
    advice: str = ""


class ComparingView(_Wire):
    """A full verification that is going on; `Snapshot.phase` says what it does, `Snapshot.workers` who does it."""

    run_id: str
    """The run that is verified."""
    checked: int
    """Documents compared."""
    total: int
    """Documents that the run read."""
    different: int = 0
    missing: int = 0
    rows_per_s: float = 0.0
    eta_s: float | None = None


class Snapshot(_Wire):
    """Everything a screen needs to draw the run now."""

    run_id: str
    state: RunState
    phase: str
    """A few words: "copying", "building keys", "seeding", "waiting for workers to end their pages"."""
    verification: Verification = Verification.NONE
    error: ErrorInfo | None = None
    source: str = ""
    """Redacted URI."""
    target: str = ""
    mode: str = "create"
    elapsed: float = 0.0
    started_unix: float = 0.0
    read: int = 0
    written: int = 0
    """Committed rows, nothing else."""
    total: int = 0
    """Documents expected; it may move while the run learns. When seeding, the seed count."""
    rejected: int = 0
    retried: int = 0
    rows_per_s: float = 0.0
    """Smoothed over a sliding window."""
    rows_per_s_mean: float = 0.0
    """Over the time that the run moved, this time only."""
    bytes_per_s: float = 0.0
    eta_s: float | None = None
    eta_reason: str = ""
    """Why there is no ETA: "measuring", "paused by you", "waiting: target connections"."""
    cluster_size: int = 0
    """As asked for."""
    workers_alive: int = 0
    draining: int = 0
    page_size: int = 0
    seed_count: int = 0
    seeded: int = 0
    """Documents in the seeded collection so far."""
    throttle: int = 0
    converter: str = ""
    bottleneck: str = ""
    """A sentence: "waiting for PostgreSQL 61 % of the time"."""
    partitions_done: int = 0
    partitions_total: int = 0
    workers: list[WorkerView] = []
    tables: list[TableProgress] = []
    problems: list[ProblemView] = []
    comparing: ComparingView | None = None
    """A full verification is going on; the other fields are of the engine's own run."""
    exit_code: int | None = None
    weak_tls: list[str] = []
    """What people must be warned of, such as "source: TLS, not verified"."""
    """Set when the run is over."""


class Attached(_Wire):
    """Reply to `attach`."""

    run_id: str
    version: str
    log_path: str
    snapshot: Snapshot
    samples: list[tuple[float, float]] = []
    """The throughput so far, (elapsed, rows/s), newest last, for the chart."""
    events: list[dict[str, Any]] = []
    """The newest events, at most 1,000."""


class DifferenceView(_Wire):
    """One difference between a document and its row. Foreign text: make it harmless before showing it."""

    namespace: str
    table: str
    kind: str
    """`missing` (no row), `different`, or `extra` (a row that no document has)."""
    id: str
    """The document's `_id` as Extended JSON; of an extra row, its key as text."""
    field: str = ""
    """Dotted path; empty for the whole document."""
    column: str = ""
    source: str | None = None
    """The beginning of the value as the document's row should have it; None is NULL, or not shown."""
    target: str | None = None
    """As the table has it."""
    reason: str = ""
    """Why the document cannot have a row now, such as `nul`."""
    source_changed: bool = False
    """The source changed since the run read it; otherwise the difference is ours, or the target was changed."""


class TableCounts(_Wire):
    """Counts of one table's both sides; those from `equal` on are of level `full`."""

    namespace: str
    table: str
    source: int
    read: int
    written: int
    rejected: int
    target: int
    ok: bool
    message: str = ""
    """What does not hold, or why only the counts were compared."""
    equal: int = 0
    """Documents whose row has the same values."""
    different: int = 0
    missing: int = 0
    extra: int = 0
    """Rows that no document has; only looked for in tables that are the run's alone (modes create and replace)."""
    kept: int = 0
    """Documents without a row that are kept as rejects."""
    source_changed: int = 0
    """Of the differences, those in slices whose documents are not the ones that the run read."""
    slices: int = 0
    slices_changed: int = 0
    """Slices that were compared, and those of them whose source checksum is another now."""


class VerifyReport(_Wire):
    """Outcome of a verification."""

    run_id: str
    level: str
    result: Verification
    tables: list[TableCounts]
    differences: list[DifferenceView] = []
    """The first ones of each kind and table."""
    redacted: bool = False
    """Values were asked not to be shown."""
    seconds: float = 0.0


class RejectGroup(_Wire):
    """Rejects of one reason in one field."""

    namespace: str
    reason: str
    field: str
    sqlstate: str = ""
    count: int
    samples: list[str] = []
    """`_id`s as Extended JSON."""


class RejectsReport(_Wire):
    """Rejected documents of a run."""

    run_id: str
    total: int
    groups: list[RejectGroup]


class RetryReport(_Wire):
    """What became of a run's rejects."""

    run_id: str
    tried: int
    written: int
    """Rows written; their rejects are gone."""
    already_there: int
    """The table had their very row; these rejects are gone, too."""
    left: int
    groups: list[RejectGroup]
    """Those that are left, by today's reason."""


class RunInfo(_Wire):
    """One run in the ledger."""

    run_id: str
    state: str
    started_unix: float
    ended_unix: float | None
    source: str
    target: str
    collections: list[str]
    mode: str
    read: int
    written: int
    rejected: int
    seconds: float
    verification: str
    resumable: bool
    heartbeat_unix: float = 0.0
    """When its engine last said that it lives; every two seconds while it does."""


# --- events -----------------------------------------------------------------------------------------------------------


class Event(_Wire):
    """A fact, at `at` seconds of the run. `kind` says which fields of `facts` there are:

    state {state, reason} - knob {knob, old, value, by} - worker {id, pid, what: started|retired|died, exit} -
    problem {code, message} - parked {partition, namespace} - planned {tables, knobs} - table {namespace, table, what} -
    finished {the last JSON line of `run --json`}
    """

    kind: str
    at: float
    facts: dict[str, Any] = {}


class Recording(_Wire):
    """A run as it was, to be shown again."""

    run: RunInfo
    frames: list[Snapshot]
    """The newest last, with its tables; the others have none. `elapsed` runs through all times that the run was driven."""
    events: list[Event]
    """The newest ones, without those that only move counters."""
    settings: dict[str, Any] = {}
    """Sections of settings that ask for the same run again: `Start.settings` of a resume."""
    plan: str = ""
    """The saved plan that it ran, if it did: `Start.plan` of a resume."""
