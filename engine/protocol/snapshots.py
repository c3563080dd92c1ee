"""The state of a run now."""

from __future__ import annotations

from engine.protocol.wire import ErrorInfo, RunState, Verification, Wire, WorkerState


class TableProgress(Wire):
    """One table of a run."""

    namespace: str
    """`db.collection`."""
    table: str
    """`schema.table`."""
    total: int
    """Documents expected."""
    read: int
    """Documents of committed slices."""
    written: int
    """Committed rows."""
    rejected: int
    """Documents kept as rejects, committed."""
    altered: dict[str, int] = {}
    """Values that a policy changed in committed rows, by policy, such as `{"nul.strip": 3, "overflow": 12}`: no errors, but
    no longer what the source has. Keys that came twice in a document (`duplicate_key`) and values that went into `_extra`
    (`overflow`) are counted too."""
    source_count: int = -1
    """Counted at the end; -1 before."""
    target_count: int = -1
    ok: bool | None = None
    """Counts agree; None before they are compared."""


class RangeView(Wire):
    """How far a worker is with the range in its hands."""

    done: int
    """Documents read of it and received by PostgreSQL (inserted, when seeding), committed or not."""
    total: int
    """Documents in it."""
    is_exact: bool
    """False: `total` is an estimate; the range has its end, not a count."""


class WorkerView(Wire):
    """One worker now."""

    id: int
    """Its number, from 1."""
    pid: int
    """Of its process."""
    state: WorkerState
    """What it does."""
    collection: str = ""
    """`db.collection` that it works on."""
    partition: int = -1
    range: RangeView | None = None
    """None without a range, or when nothing is known of its size."""
    written: int = 0
    """Rows committed (documents inserted, when seeding)."""
    sent: int = 0
    """Rows that PostgreSQL has received, committed or not: for the bar only, never summed into a total."""
    rejected: int = 0
    rows_per_s: float = 0.0
    """Rows per second, from `sent`."""
    idle_s: float = 0.0
    """Age of the last progress, seconds."""
    reading: float = 0.0
    """Share of its time waiting for MongoDB, 0..1, over the last seconds."""
    converting: float = 0.0
    """Share of its time converting, likewise."""
    writing: float = 0.0
    """Share of its time waiting for PostgreSQL, likewise."""
    throttled: float = 0.0
    """Share of its time held back by the throttle, likewise."""


class ProblemView(Wire):
    """Problems of one kind, summed: rejects by reason, retries by cause."""

    code: str
    message: str
    count: int
    collection: str = ""
    advice: str = ""
    last_at: float = 0.0
    """When it happened last, seconds of the run."""


class ComparingView(Wire):
    """A full verification that is going on; `Snapshot.phase` says what it does, `Snapshot.workers` what each worker does."""

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


class CountingView(Wire):
    """A full census that is going on, for a plan or at the beginning of a run."""

    collections: list[str]
    """`db.collection`, each."""
    seen: int
    """Documents counted."""
    total: int
    """Documents expected."""
    rows_per_s: float = 0.0
    eta_s: float | None = None


class Snapshot(Wire):
    """Everything a screen needs to draw the run now."""

    run_id: str
    """Such as `20261123-1402-k3f9`."""
    state: RunState
    """One of the states of a run's life."""
    phase: str
    """A few words: "copying", "building keys", "seeding", "waiting for workers to end their pages"."""
    verification: Verification = Verification.NONE
    """What is known about both sides being equal."""
    error: ErrorInfo | None = None
    """Why it failed."""
    source: str = ""
    """Redacted URI."""
    target: str = ""
    """Redacted URI."""
    mode: str = "create"
    """What is done with an existing table."""
    consistency: str = "fuzzy"
    """"fuzzy", or "snapshot": all documents as they were at one time."""
    snapshot_unix: float = 0.0
    """That time, seconds since 1970; 0 before it is taken."""
    elapsed: float = 0.0
    """Seconds of this run, this time."""
    seconds: float = 0.0
    """`elapsed` without seeding and starting servers, as the last JSON line of `run --json` has it."""
    started_unix: float = 0.0
    """When it was started, seconds since 1970."""
    read: int = 0
    """Documents of committed slices."""
    written: int = 0
    """Committed rows, nothing else."""
    total: int = 0
    """Documents expected; it may move while the run learns. When seeding, the seed count."""
    rejected: int = 0
    """Documents kept as rejects, committed."""
    retried: int = 0
    """Attempts that were made again."""
    rows_per_s: float = 0.0
    """Rows per second, smoothed over a sliding window."""
    rows_per_s_mean: float = 0.0
    """Rows per second over the time that the run moved, this time only."""
    bytes_per_s: float = 0.0
    """BSON bytes per second, smoothed."""
    eta_s: float | None = None
    """Seconds that it will still take."""
    eta_reason: str = ""
    """Why there is no ETA: "measuring", "paused by you", "waiting: target connections"."""
    cluster_size: int = 0
    """Workers, as asked for."""
    workers_alive: int = 0
    """Worker processes that live."""
    draining: int = 0
    """Of these, the ones that end their page and then themselves."""
    page_size: int = 0
    """Documents in one COPY."""
    seed_count: int = 0
    """Documents to be seeded."""
    seeded: int = 0
    """Documents in the seeded collection so far."""
    throttle: int = 0
    """Most rows per second; 0 is off."""
    converter: str = ""
    """`native` or `plain`."""
    bottleneck: str = ""
    """A sentence: "waiting for PostgreSQL 61 % of the time"."""
    partitions_done: int = 0
    partitions_total: int = 0
    workers: list[WorkerView] = []
    tables: list[TableProgress] = []
    problems: list[ProblemView] = []
    comparing: ComparingView | None = None
    """A full verification is going on; the other fields are of the engine's own run."""
    counting: CountingView | None = None
    """A full census is going on."""
    exit_code: int | None = None
    """Set when the run is over."""
    weak_tls: list[str] = []
    """What people must be warned of, such as "source: TLS, not verified"."""
