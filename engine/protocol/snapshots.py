"""The state of a run now."""

from __future__ import annotations

from engine.protocol.guards import GuardsView
from engine.protocol.replaced import ReplacedTables
from engine.protocol.vitals import VitalsView
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
    """Counts match; None before they are compared."""
    state: str = ""
    """`waiting`, `copying`, `paused`, `copied`, `building key`, `building indexes`, `following`, `done`; `parked`,
    `differs`, `stopped`; empty where that is not known."""
    workers: int = 0
    """Workers that are at it now."""
    rows_per_s: float = 0.0
    """Documents per second read and committed, smoothed over some seconds."""
    eta_s: float | None = None
    """Seconds until it is copied, at this rate; null while there is none, as for one that waits."""


class RangeView(Wire):
    """How far a worker is with the range in its hands."""

    done: int
    """Documents read of it and received by PostgreSQL (inserted, when seeding), committed or not."""
    total: int
    """Documents in it."""
    is_exact: bool
    """False: `total` is an estimate, and `done` may pass it; the range has its end, not a count."""


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
    cpu: float = 0.0
    """Processor time of its process: 1.0 is one core, over the last seconds."""
    memory: int = 0
    """Bytes of its memory that are resident; 0 where that is not known."""
    host: str = ""
    """The host that it runs on; empty for that of the engine."""


class HostView(Wire):
    """One host of a cluster of several, now."""

    name: str
    workers: int = 0
    """Worker processes there."""
    busy: int = 0
    """Of these, the ones that have work in hand."""
    slots: int = 0
    """Workers that it can have at most; 0 where that is not known."""
    rows_per_s: float = 0.0
    """Of its workers together."""
    written: int = 0
    """Rows committed by them."""
    round_trip_ms: float | None = None
    """From the engine to it and back; null before that is known."""
    load: float | None = None
    """Processes that want a processor, an average of a minute; null where that is not known."""
    cores: int = 0
    version: str = ""
    """Of this program, there."""
    problem: str = ""
    """Why it takes no workers."""


class ProblemView(Wire):
    """Problems of one kind, summed: rejects by reason, retries by cause."""

    code: str
    message: str
    count: int
    collection: str = ""
    advice: str = ""
    last_at: float = 0.0
    """When it happened last, seconds of the run."""


class ComparingTable(Wire):
    """How far a full verification is with one table."""

    table: str
    """`schema.table`, as the plan has it."""
    checked: int
    """Documents compared."""
    total: int
    """Documents that the run read; -1 where only the counts are compared."""
    differ: int = 0
    """Documents that differ, or have no row."""


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
    tables: list[ComparingTable] = []
    """Each table, in the order of the plan."""


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


class TuningView(Wire):
    """The cluster size, while the run turns it itself."""

    auto: str
    """`"auto"`, or with bounds `"auto:4-16"`."""
    stable: int
    """The number of workers that is kept."""
    probing: int | None = None
    """The number that is tried just now; null for none."""
    reason: str = ""
    """What was decided last, or why: "+18 % (41.2 to 48.6 MB/s)"."""


class FollowReason(Wire):
    """Why a run is not ready to be cut over, or what to know before it is."""

    code: str
    """`copying`, `comparing`, `halted`, `paused`, `lag`, `unknown_lag`, `unverified`, `differences`, `stream`; `indexes`:
    unique ones are being built, `dependants`: mode `replace` cannot replace a table. Of notes: `blocked`, `index_refused`,
    `indexes_after`, `ttl`."""
    message: str


class SourceHalt(Wire):
    """What became of the source, about which an operator has to decide: nothing is applied until then."""

    namespace: str
    """The collection; empty where it is about the whole source."""
    code: str
    """`drop`, `rename`, `replaced`, `dropDatabase`, `another`; of the whole source `history_lost`, `source_went_back`,
    `source_changed`, `event_too_large`."""
    message: str
    """What happened, in a sentence."""
    choices: list[str]
    """What `ctl resolve` takes: `ignore`, `empty`, `stop`; or `resync`."""


class FollowView(Wire):
    """How far a run is with following its source. Seconds are by the source's clock, at both ends."""

    phase: str
    """`copying`, `comparing`, `closing`, `catching_up`, `following`, `draining`, `done`; `halted`."""
    lag_s: float | None = None
    """How far what is applied is behind the source; null before that is known."""
    events_per_s: float = 0.0
    """Changes read."""
    applied_per_s: float = 0.0
    """Keys applied: several changes of a document are one."""
    applied: int = 0
    """Keys applied since the copy, in all. The rows of a run that follows are those of its copy until it is cut over."""
    waiting: int = 0
    """Keys that changed and are still to be applied."""
    blocked: int = 0
    """Keys whose rows a constraint refuses for the sake of other rows: they are tried again until the cut-over, and are rejects
    then."""
    blocked_by: dict[str, int] = {}
    """The same by constraint or unique index."""
    oldest_s: float | None = None
    """Since when the oldest of them waits."""
    ready: bool = False
    """It can be cut over."""
    reasons: list[FollowReason] = []
    """Why not."""
    notes: list[FollowReason] = []
    """What to know before it is; nothing of it keeps it from being cut over."""
    oplog_left_s: float | None = None
    """How much older the oplog is than what was read of it: a follower that is stopped for longer cannot go on. Null where the
    user may not see it."""
    mark: int | None = None
    """Of a cut-over: the source's last write, a cluster time with the seconds in the upper 32 bits."""
    keys_to_go: int | None = None
    """While it drains: keys still to be applied."""
    read_lag_s: float | None = None
    """How far what is read of the source's changes is behind it; what is read is kept, applied or not."""
    by_kind: dict[str, int] = {}
    """Changes read since the engine began: `insert`, `update`, `replace`, `delete`."""
    kinds_per_s: dict[str, float] = {}
    """Changes read a second, likewise."""
    speed: float | None = None
    """Keys applied for each one that comes; null before that is known, and while none comes."""
    ready_in_s: float | None = None
    """Seconds until no key waits, at this speed; null before that is known, and where it never will be."""
    never: bool = False
    """At this speed there will always be keys that wait."""
    verified_unix: float | None = None
    """All changes up to that time, by the source's clock, are applied and were compared with the source since; null before
    that is known."""
    to_compare: int = 0
    """Keys that were applied and are still to be compared."""
    differences: int = 0
    """Rows that differ from their documents though they were written again."""
    mended: int = 0
    """Rows that had differed from their documents, and do not any more."""
    write_stop_s: float | None = None
    """Of a run that was cut over: seconds from the mark to its end, in which the writers had to stand still."""
    can_block_writes: bool = False
    """MongoDB can be made to refuse all writes in the cut-over, and the source's user may do so."""
    writes_blocked: bool = False
    """It does so, for the cut-over in hand, or since the one that was done."""
    halted_by: list[SourceHalt] = []
    """What became of the source and is not decided yet."""


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
    verification_level: str = ""
    """How that is known: "counts" of both sides, or a "full" comparison; empty when nothing is known."""
    verified_before_retry: bool = False
    """Every document was compared, and a retry of rejects has written rows since, which nothing has compared."""
    replaced_since: ReplacedTables | None = None
    """Of a run that is over: tables that are not any more what it wrote, as far as was looked; null while all are."""
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
    """When it was started, seconds since 1970; of a run that was resumed, this time."""
    first_started_unix: float = 0.0
    """When a run that was resumed was started first; 0 for one that was not."""
    started_by: str = ""
    """What started it: "run on pts/3 of ann@db1"."""
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
    """Rows per second *while copying*: over the time that the run moved, without pauses, planning, keys and counts, with that
    of earlier engines of the run."""
    rows_per_s_overall: float = 0.0
    """Rows per second *overall*: all committed rows over `seconds`, with those of earlier engines of the run."""
    seconds_before: float = 0.0
    """Seconds that earlier engines worked on the run; 0 for a run that was not resumed."""
    written_before: int = 0
    """Rows that they had committed."""
    last_commit_unix: float = 0.0
    """When a slice was committed last, seconds since 1970; 0 before the first one."""
    stopped_by: str = ""
    """What asked for the run's end: "ctl of ann@db1"; empty when nothing did."""
    has_rolled_back: bool = False
    """It asked for that at once: pages in hand were rolled back instead of finished."""
    bytes_per_s: float = 0.0
    """BSON bytes per second, smoothed."""
    eta_s: float | None = None
    """Seconds that it will still take."""
    eta_reason: str = ""
    """Why there is no ETA: "measuring", "paused by ctl of ann@db1", "no rows for 9 s"."""
    cluster_size: int = 0
    """Workers, as asked for."""
    tuning: TuningView | None = None
    """The run looks for the best number of workers; null when the cluster size is set by hand."""
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
    """A sentence: "waiting for PostgreSQL 61% of worker time"."""
    partitions_done: int = 0
    partitions_total: int = 0
    partitions_first: int = 0
    """How many there were when the copy began: waiting ones are cut again for a larger cluster."""
    workers: list[WorkerView] = []
    hosts: list[HostView] = []
    """Of a cluster of several hosts; empty when all workers are on the engine's."""
    hosts_wanted: int = 0
    """How many hosts the Dask cluster was asked to have, where it has too few slots and `dask.scale` is set; else 0."""
    tables: list[TableProgress] = []
    """Progress by table: `namespace`, `table`, `state`, `total`, `read`, `written`, `rejected`, `rows_per_s`, `eta_s` of each.
    States: `waiting`, `copying`, `paused`, `copied`, `building key`, `building indexes`, `following`, `done`, `parked`,
    `differs`, `stopped`."""
    problems: list[ProblemView] = []
    comparing: ComparingView | None = None
    """A full verification is going on; the other fields are of the engine's own run."""
    counting: CountingView | None = None
    """A full census is going on."""
    exit_code: int | None = None
    """Set when the run is over."""
    follow: FollowView | None = None
    """Of a run that follows its source."""
    vitals: VitalsView | None = None
    """What the servers are doing; null while the engine does not look: before the copy, and when the run is over."""
    guards: GuardsView | None = None
    """What is done for their sake; null while the engine does not look."""
    weak_tls: list[str] = []
    """What people must be warned of, such as "source: TLS, not verified"."""
