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


class Start(_Wire):
    """Start the run (or its seeding). Answered when it is accepted, before work begins; the reply is a `Snapshot`."""

    name: Literal["start"] = "start"
    seed: bool = False
    """Seed first."""
    migrate: bool = True
    """Copy (after seeding, if both)."""
    resume: str | None = None
    """Go on with a run: its id or a unique prefix of it, "" for the newest unfinished one of this plan."""
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
    """Compare both sides; the reply is a `VerifyReport`."""

    name: Literal["verify"] = "verify"
    run: str = ""
    """A run from the ledger; empty is the newest."""
    level: Literal["counts", "full"] = "counts"


class ListRejects(_Wire):
    """Rejected documents by reason; the reply is a `RejectsReport`."""

    name: Literal["rejects"] = "rejects"
    run: str = ""
    samples: int = 5


class ListRuns(_Wire):
    """History from the ledger; the reply is {"runs": [RunInfo]}."""

    name: Literal["runs"] = "runs"


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
    | ListRejects | ListRuns | DiscardRun | Shutdown,
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
    """"TLS, verified", "TLS, not verified", "no TLS"."""
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


class TableView(_Wire):
    """What becomes of one collection."""

    namespace: str
    table: str
    """`schema.table`."""
    documents: int
    size_bytes: int
    columns: list[ColumnView]
    primary_key: str = ""
    ddl: str = ""
    warnings: list[str] = []


class PlanView(_Wire):
    """The whole plan, for people; `fingerprint` guards resume."""

    fingerprint: str
    mode: str
    tables: list[TableView]
    warnings: list[str] = []


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
    exit_code: int | None = None
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


class TableCounts(_Wire):
    """Counts of one table's both sides."""

    namespace: str
    table: str
    source: int
    read: int
    written: int
    rejected: int
    target: int
    ok: bool
    message: str = ""


class VerifyReport(_Wire):
    """Outcome of a verification."""

    run_id: str
    level: str
    result: Verification
    tables: list[TableCounts]


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


# --- events -----------------------------------------------------------------------------------------------------------


class Event(_Wire):
    """A fact, at `at` seconds of the run. `kind` says which fields of `facts` there are:

    state {state, reason} - knob {knob, old, value, by} - worker {id, pid, what: started|retired|died, exit} -
    problem {code, message} - parked {partition, namespace} - planned {tables} - table {namespace, table, what} -
    finished {the last JSON line of `run --json`}
    """

    kind: str
    at: float
    facts: dict[str, Any] = {}
