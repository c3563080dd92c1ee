"""What the servers are doing while a run goes on: what of it limits the run, and what of it cannot be seen."""

from __future__ import annotations

from typing import Literal

from engine.protocol.wire import Wire


class Unseen(Wire):
    """Something that cannot be seen, why, and what would help."""

    what: str
    """Such as "replica lag"."""
    why: str
    """A sentence."""
    remedy: str = ""
    """A command for an administrator; empty where there is none."""


class WaitView(Wire):
    """What some sessions of the run wait for."""

    kind: str
    """PostgreSQL's `wait_event_type`: `IO`, `LWLock`, `Lock`, `Client`; empty is a session that computes."""
    event: str
    """PostgreSQL's `wait_event`, such as `WALWrite`."""
    sessions: int


class Blocker(Wire):
    """A session whose lock another one waits for."""

    pid: int
    """0 is a prepared transaction."""
    user: str = ""
    application: str = ""
    state: str = ""
    """PostgreSQL's `state`, such as `idle in transaction`; empty where it cannot be seen."""
    since_s: float | None = None
    """Seconds since its transaction began."""


class BlockedView(Wire):
    """A session that waits for a lock: one of the run, or one that waits for the run."""

    pid: int
    waiting_s: float
    """Seconds that it was seen to wait."""
    lock: str
    """What kind of lock: `relation`, `transactionid`."""
    table: str = ""
    """`schema.table` that the lock is on, where it is on one."""
    by: list[Blocker] = []
    user: str = ""
    """Of a session that is not the run's; likewise the next one."""
    application: str = ""


class SlotView(Wire):
    """A replication slot."""

    name: str
    status: str = ""
    """PostgreSQL's `wal_status`: `reserved`, `extended`, `unreserved`, `lost`."""
    held_bytes: int | None = None
    """Bytes of WAL that the server keeps for it."""
    safe_bytes: int | None = None
    """Bytes of WAL that can still be written before it may be lost; null where no setting limits that."""
    active: bool = False
    """A connection uses it."""


class StandbyView(Wire):
    """A replica of a server."""

    name: str
    state: str = ""
    """As the server says it: `streaming`, `SECONDARY`."""
    lag_s: float | None = None
    """Seconds that it is behind; null where it is not known."""
    lag_bytes: int | None = None
    """Bytes of WAL that it has not replayed (PostgreSQL)."""


class StepView(Wire):
    """A key or an index that is being built, or statistics that are being gathered."""

    what: Literal["key", "index", "statistics"]
    table: str
    """`schema.table`."""
    namespace: str = ""
    """`db.collection` that the table is filled from."""
    name: str = ""
    """Of the index."""
    phase: str = ""
    """As PostgreSQL says it: `building index: scanning table`."""
    fraction: float | None = None
    """How much of it is done, 0..1; null where there is no telling. An index is half done when its table is read."""


class CopyingView(Wire):
    """COPY statements that are going on."""

    table: str
    sessions: int
    rows: int
    """That they have sent so far, not committed."""
    bytes: int


class TargetVitals(Wire):
    """PostgreSQL, as its statistics views have it. Null is what cannot be seen; `unseen` says why."""

    age_s: float | None = None
    """Seconds since it was looked at; null before the first time."""
    problem: str = ""
    """Why it is not looked at now, a sentence."""
    sessions: int | None = None
    """Of the run."""
    waits: list[WaitView] | None = None
    """What the sessions with a statement are waiting for, the most frequent first."""
    blocked: list[BlockedView] | None = None
    """Sessions that have waited for a lock for a second or more."""
    blocking: list[BlockedView] | None = None
    """Sessions of others that have waited for a lock of the run for a second or more."""
    wal_bytes_per_s: float | None = None
    """WAL that the server writes, for all its sessions."""
    checkpoints: int | None = None
    """Since the run began."""
    checkpoints_requested: int | None = None
    """Those of them that came before their time, mostly since `max_wal_size` was reached."""
    max_wal_size: str = ""
    """The setting."""
    standbys: list[StandbyView] | None = None
    slots: list[SlotView] | None = None
    """Replication slots."""
    query: float | None = None
    """What `guard.query` gave; null where there is none."""
    free_connections: int | None = None
    """How many more the run's role may open."""
    max_connections: int | None = None
    disk_free_bytes: int | None = None
    """Free space of the server's data directory."""
    steps: list[StepView] | None = None
    """Keys and indexes that are being built, and ANALYZE."""
    copying: list[CopyingView] | None = None
    unseen: list[Unseen] = []


class SourceVitals(Wire):
    """MongoDB, as `serverStatus` and `replSetGetStatus` have it. Null is what cannot be seen; `unseen` says why."""

    age_s: float | None = None
    """Seconds since it was looked at; null before the first time."""
    problem: str = ""
    """Why it is not looked at now, a sentence."""
    host: str = ""
    """The member that was asked."""
    read_tickets_used: int | None = None
    """Reads that go on in the storage engine."""
    read_tickets: int | None = None
    """How many may."""
    reads_queued: int | None = None
    """Operations that wait for a turn to read."""
    writes_queued: int | None = None
    """Operations that wait for a turn to write."""
    cache_bytes: int | None = None
    cache_max_bytes: int | None = None
    cache_dirty_bytes: int | None = None
    """What of the cache is not written yet."""
    app_evictions_per_s: float | None = None
    """Pages that operations had to evict themselves: the cache is too small for what goes on."""
    flow_control: bool | None = None
    """The server slows writes down, since its secondaries are behind."""
    members: list[StandbyView] | None = None
    """Secondaries, and how far they are behind."""
    oplog_window_s: float | None = None
    """Seconds from the oldest to the newest entry of the oplog."""
    unseen: list[Unseen] = []


class OwnVitals(Wire):
    """What the operator's own command and file say."""

    exit_code: int | None = None
    """Of `guard.command`; null before it has ended once, and where it cannot be executed."""
    output: str = ""
    """Its first line."""
    has_file: bool | None = None
    """`guard.file` exists; null where that cannot be seen."""
    unseen: list[Unseen] = []


class VitalsView(Wire):
    """What both servers are doing."""

    target: TargetVitals | None = None
    source: SourceVitals | None = None
    own: OwnVitals | None = None
    """Null where the settings name neither command nor file."""
