"""The words between the engine and its worker processes, sent through one duplex pipe each. Documents never travel here,
only the beginnings of values that a verification found to differ.

::

    engine  -> worker   NewTasks, NewLease, Yield, Abort, Tune, Retire, Probe
    worker  -> engine   Ready, Probed, Connected, Progress, Returned, Failed, Problem

A worker asks for nothing by name: `Ready` and `Returned` mean that it is idle and takes a lease. Which tasks and leases belong
to which kind of work is in `engine.work.kinds`; what a kind reports of its progress is between its two sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from engine.mapping.model import Mapping
from engine.mongo.causal import CausalTime
from engine.mongo.natural import Numbering

APPLY_TASKS = 1_000_000
"""Numbers of tasks from here on are those of tables whose changes are applied."""
CHECK_TASKS = 2_000_000
"""From here on, those of tables whose changes are compared when they are applied."""
COMPARE_TASKS = 3_000_000
"""From here on, those of tables that are compared from their beginning to their end."""
ANOTHER = "another_collection"
"""Code of the failure that a collection is not the one that was copied, or that was chosen since."""
OUT_OF_MEMORY = 12
"""Exit code of a worker that the system gives no more memory."""
TASKS_KEPT = 64
"""Tasks that a worker knows at most: those of thousands of collections are not kept."""

T = TypeVar("T")


class Task(Protocol):
    """What a worker is told of a collection before its first lease of it."""

    @property
    def task_id(self) -> int:
        """Unique in a cluster."""
        ...

    @property
    def database(self) -> str:
        """Name of the database in MongoDB."""
        ...

    @property
    def collection(self) -> str:
        """Name of the collection in the database."""
        ...


class Lease(Protocol):
    """A part of a task that one worker has in hand."""

    @property
    def task_id(self) -> int:
        """The task that it is a part of."""
        ...

    @property
    def key(self) -> int:
        """Tells it from the other leases of its kind; the rest of a lease has the same one."""
        ...


@dataclass(frozen=True, slots=True)
class CopyTask:
    """One collection to one table, told to a worker before its first lease of it."""

    run_id: str
    """In the ledger: an engine that resumes a run has workers before it knows which."""
    task_id: int
    database: str
    collection: str
    schema: str
    table: str
    """The table that COPY writes to: the target, or the staging table of mode `replace`."""
    mapping: Mapping
    mode: str
    has_range_reads: bool
    """False for views and time-series: one partition, one slice, read without `min` and `max`."""
    filter: bytes = b""
    """A query as BSON; empty takes every document."""
    at: int | None = None
    """Documents are read as they were at that time (`engine.mongo.snapshot`); None reads them as they are."""
    has_checksum: bool = True
    """The ledger keeps a checksum of each slice's documents."""
    held: tuple[str, str] = ("", "")
    """Schema and name by which the table is held for the run: those of the target."""
    numbering: Numbering | None = None
    """Whose record ids its bounds have; None reads in the order of `_id`."""
    adds_missing: bool = False
    """The table has its key by now: documents that have a row already are passed over."""
    after: CausalTime | None = None
    """Documents are read as the majority has them, and not as they were before that; None reads them as the URI says."""
    average_bytes: int = 0
    """Size of a document, for the first batch; 0 is not known."""
    generation: int = 1
    """Of the engine that drives the run (`engine.ledger.taking`)."""


@dataclass(frozen=True, slots=True)
class SeedTask:
    """Synthetic users into one collection."""

    task_id: int
    database: str
    collection: str
    seed: int


@dataclass(frozen=True, slots=True)
class VerifyTask:
    """One collection to compare with its table."""

    run_id: str
    """The run that copied it; its slices are what is compared."""
    task_id: int
    database: str
    collection: str
    schema: str
    table: str
    mapping: Mapping
    """As the run wrote."""
    retries: tuple[Mapping, ...] = ()
    """Mappings with which rejects of the run were written later."""
    shows_values: bool = True
    """False keeps values out of what is reported."""
    filter: bytes = b""
    numbering: Numbering | None = None
    """Whose record ids its bounds have; None reads in the order of `_id`."""


@dataclass(frozen=True, slots=True)
class KeysTask:
    """One collection whose `_id`s are written, as its table would have them, to find rows that no document has."""

    run_id: str
    task_id: int
    database: str
    collection: str
    mapping: Mapping
    keys_table: str
    """In schema `mongopg`."""
    filter: bytes = b""


@dataclass(frozen=True, slots=True)
class CensusTask:
    """One collection to count the fields of."""

    task_id: int
    database: str
    collection: str
    levels: int
    """Of nested documents whose fields are told apart."""
    has_range_reads: bool
    filter: bytes = b""
    numbering: Numbering | None = None
    """Whose record ids its bounds have; None reads in the order of `_id`."""


@dataclass(frozen=True, slots=True)
class ApplyTask:
    """One collection whose changes are applied to its table."""

    run_id: str
    task_id: int
    """From `APPLY_TASKS` on."""
    table_id: int
    """The table's task in the ledger."""
    database: str
    collection: str
    schema: str
    table: str
    mapping: Mapping
    uuid: str
    """Of the collection, in hex; empty where there is none."""
    filter: bytes = b""
    keeps_outside: bool = False
    """Rows of documents that are there but do not match the filter stay as they are (mode `upsert`)."""
    held: tuple[str, str] = ("", "")
    """As in `CopyTask`, likewise the next one."""
    generation: int = 1
    lanes: int = 1
    """Into so many its keys are divided."""
    keys_table: str = ""
    """In schema `mongopg`: where the keys of all its documents go when it is compared from its beginning to its end."""


@dataclass(frozen=True, slots=True)
class CopyLease:
    """A partition, or the rest of one, to read, convert and write."""

    task_id: int
    partition_id: int
    slice_no: int
    """The number of the next slice."""
    lower: bytes | None
    """Where the next slice begins, `{"_id": value}` as BSON; None is the beginning of the collection."""
    lower_inclusive: bool
    """True only for slice 0: later slices begin behind `lower`, the last `_id` of the slice before."""
    upper: bytes | None
    """Exclusive end of the partition; None is the end of the collection."""

    @property
    def key(self) -> int:
        """The number of its partition."""
        return self.partition_id


@dataclass(frozen=True, slots=True)
class ApplyLease:
    """A lane of a collection: keys that changed, up to a generation."""

    task_id: int
    lane: int
    upto: int
    """The newest generation of its keys."""
    not_before: CausalTime
    """Documents are read as they were then, or later."""
    after: bytes = b""
    """Keys whose hash is not above this are applied."""
    since: int = 0
    """None of their changes came before that time."""
    with_blocked: bool = False
    """Keys that a constraint has blocked are tried again."""
    is_final: bool = False
    """The source is still: what a constraint refuses is a reject, no other row will make room for it."""

    @property
    def key(self) -> int:
        """The number of its lane."""
        return self.lane


@dataclass(frozen=True, slots=True)
class CheckLease:
    """A lane of a collection: keys that were applied, to be compared with the source."""

    task_id: int
    lane: int
    upto: int
    """The newest row of theirs in the ledger."""
    not_before: CausalTime
    """Documents are read as they were then, or later."""
    is_brief: bool = False
    """One batch of them, and the worker goes back to what is more urgent."""

    @property
    def key(self) -> int:
        """The number of its lane."""
        return self.lane


@dataclass(frozen=True, slots=True)
class CompareLease:
    """A range of a collection, or the rest of one, to be compared with its table; documents that differ are to be applied."""

    task_id: int
    partition_id: int
    lower: bytes | None
    """As in `CopyLease`; likewise the next two."""
    lower_inclusive: bool
    upper: bytes | None
    not_before: CausalTime
    """Documents are read as they were then, or later."""

    @property
    def key(self) -> int:
        """The number of its range."""
        return self.partition_id


@dataclass(frozen=True, slots=True)
class CopyBundle:
    """Several small partitions, whose slices a worker commits together."""

    parts: tuple[CopyLease, ...]
    """At least one."""

    @property
    def task_id(self) -> int:
        """That of the first one."""
        return self.parts[0].task_id

    @property
    def key(self) -> int:
        """That of the first one."""
        return self.parts[0].key


def parts_of(lease: Lease | None) -> tuple[Lease, ...]:
    """The leases of which one consists: of a bundle its parts, else itself; none of none."""
    if lease is None:
        return ()
    return lease.parts if isinstance(lease, CopyBundle) else (lease,)


def touch(known: dict[int, T], lease: Lease) -> list[int]:
    """Of the tasks that a worker knows, in the order in which they were needed last, forget those that are too many.

    Both the engine and the worker do this with each lease, so that both know what the worker knows.

    Args:
        known: what is known of each, by number; those of the lease are among them.
        lease: that is given to the worker.

    Returns:
        The numbers of those that were forgotten.
    """
    for part in parts_of(lease):
        known[part.task_id] = known.pop(part.task_id)
    forgotten = [*known][: max(0, len(known) - TASKS_KEPT)]
    for task_id in forgotten:
        del known[task_id]
    return forgotten


@dataclass(frozen=True, slots=True)
class SeedLease:
    """Indexes low <= i < high to generate and insert."""

    task_id: int
    low: int
    high: int

    @property
    def key(self) -> int:
        """Its first index, which no other lease has."""
        return self.low


@dataclass(frozen=True, slots=True)
class VerifyLease:
    """The slices of a partition, to read again."""

    task_id: int
    partition_id: int
    slice_no: int
    """The first one."""
    upper: bytes | None
    """Exclusive end of the partition, `{"_id": value}` as BSON; None is the end of the collection. In natural order it is a
    record bound, which belongs to the range."""
    lower: bytes | None = None
    """Where it begins, likewise, where it is no partition of the run."""
    is_own: bool = False
    """It is no partition of the run, but a range that is one slice: the run's slices cannot be read again."""
    older: tuple[bytes | None, ...] = ()
    """In natural order, where reading may begin instead when the record of `lower` is gone; the highest first."""

    @property
    def key(self) -> int:
        """The number of its partition."""
        return self.partition_id


@dataclass(frozen=True, slots=True)
class CensusLease:
    """A partition, or the rest of one, to read and count."""

    task_id: int
    partition_id: int
    lower: bytes | None
    """As in `CopyLease`; likewise the next two."""
    lower_inclusive: bool
    upper: bytes | None
    older: tuple[bytes | None, ...] = ()
    """As in `VerifyLease`."""

    @property
    def key(self) -> int:
        """The number of its partition."""
        return self.partition_id


@dataclass(frozen=True, slots=True)
class NewTasks:
    """What leases to come are parts of; in place of those with the same numbers.

    Together, since equal columns of several mappings travel once then.
    """

    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class NewLease:
    """What to work on now."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Yield:
    """End the page at the next raw batch, commit, give the rest of the lease back."""


@dataclass(frozen=True, slots=True)
class Abort:
    """Roll the slice in hand back and give the lease back."""


@dataclass(frozen=True, slots=True)
class Tune:
    """New knob values, from the next page on."""

    page_size: int
    rows_per_s: float
    """This worker's share of the throttle; 0 is no limit."""


@dataclass(frozen=True, slots=True)
class Retire:
    """Close the connections and exit; sent only to an idle worker."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Look at the host and at both servers, before a first lease there; answered with `Probed`."""


@dataclass(frozen=True, slots=True)
class SourceServer:
    """Which MongoDB a connection string leads to."""

    set_name: str = ""
    """Of a replica set."""
    set_id: str = ""
    """Of it, given once; empty where the user may not see it."""
    process: str = ""
    """Of the server, or of the primary: another one since its last start."""

    def is_same(self, other: SourceServer) -> bool:
        """They are one, as far as can be told."""
        if self.set_id and other.set_id:
            return (self.set_name, self.set_id) == (other.set_name, other.set_id)
        return (self.set_name, self.process) == (other.set_name, other.process)


@dataclass(frozen=True, slots=True)
class TargetServer:
    """Which PostgreSQL, and which database there."""

    cluster: str
    """The system identifier; empty where the role may not see it."""
    database: str
    """Its OID."""
    started: str
    """When the server was started: a copy of its files has the same identifier."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What a worker's host has."""

    version: str
    """Of this program."""
    message_format: int
    """As `engine.work.frames.FORMAT`."""
    converter: str
    """`native` or `plain`."""
    python: str
    cores: int
    source: SourceServer | None = None
    """None where it was not looked at, or cannot be reached."""
    target: TargetServer | None = None
    problem: str = ""
    """A sentence: what is missing, or which server cannot be reached and why; redacted."""
    is_away: bool = False
    """The problem is that a server cannot be reached, which may pass."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The process runs and waits for its first lease."""

    pid: int
    converter: str


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection to PostgreSQL was made; its backend can be ended when the worker hangs."""

    backend_pid: int


@dataclass(frozen=True, slots=True)
class Committed:
    """A slice is committed (or a seed range inserted)."""

    task_id: int
    partition_id: int
    slice_no: int
    n_read: int
    n_written: int
    n_rejected: int
    n_bytes: int
    final: bool
    reasons: tuple[tuple[str, int], ...] = ()
    """Rejects by reason code."""
    policy_hits: tuple[tuple[str, int], ...] = ()
    """Values that a policy changed in the rows, by policy."""


@dataclass(frozen=True, slots=True)
class Applied:
    """Changed keys are applied."""

    task_id: int
    lane: int
    n_keys: int
    n_written: int
    """Rows, new ones and those that have new values."""
    n_deleted: int
    n_rejected: int


@dataclass(frozen=True, slots=True)
class Checked:
    """Keys that were applied are compared with the source."""

    task_id: int
    lane: int
    n_keys: int
    n_suspects: int
    """Differ, and are looked at again."""
    n_again: int
    """Differ for the second time, and are written again."""
    n_standing: int
    """Differ though they were written again."""


@dataclass(frozen=True, slots=True)
class RangeCompared:
    """A part of a range is compared with its table."""

    task_id: int
    n_documents: int
    n_differ: int
    """Of them, to be applied."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A document whose row is not as it should be. Values are the beginnings of texts, or nothing."""

    kind: str
    """`missing` or `different`."""
    id: str
    """The document's `_id` as Extended JSON."""
    field: str
    """Dotted path; empty for the whole document."""
    column: str
    expected: str | None
    """As the document says; None is NULL."""
    found: str | None
    """As the table says."""
    reason: str = ""
    """Why there can be no row now, such as `nul`."""


@dataclass(frozen=True, slots=True)
class LessStrict:
    """Values of a field that could only be compared less strictly than the numbers they are in BSON."""

    column: str
    field: str
    """Dotted path; `[]` are elements."""
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Compared:
    """A slice is read again and compared (or its keys are written)."""

    task_id: int
    partition_id: int
    slice_no: int
    n_documents: int
    n_equal: int
    n_different: int
    n_missing: int
    n_rejected: int
    """Kept as rejects: accounted for."""
    n_bytes: int
    n_written_then: int
    """Rows that the run wrote of it."""
    is_changed: bool
    """Its documents are not those that the run read."""
    has_checksum: bool = True
    """The run kept what that is told by."""
    checksum: int = 0
    """Sum mod 2**64 over its documents, for all slices of a table to be judged together."""
    differences: tuple[Difference, ...] = ()
    """The first few."""
    less_strict: tuple[LessStrict, ...] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted of a lease: with its rest, should the engine want it back early, it is the whole lease."""

    lease: CensusLease
    n_documents: int
    census: bytes
    """`Census.to_dict` as JSON."""
    rest: CensusLease | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """A part of the lease in hand is done."""

    task_id: int
    payload: object
    """What the kind of work says of it, to the job on the engine's side; it is pickled."""


@dataclass(frozen=True, slots=True)
class Returned:
    """The lease is over: finished, or given back with its rest."""

    lease: Lease
    finished: bool
    rest: Lease | None = None
    """What is left to do when not finished; slices in between are committed."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The lease could not be worked on; nothing of the slice in hand was committed."""

    lease: Lease
    code: str
    """SQLSTATE, MongoDB code, or our own word; never message text."""
    message: str
    """One sentence, redacted."""
    fatal: bool
    """True when trying again cannot help."""
    is_refused: bool = False
    """A server lets this worker in no more; others, which are connected, may go on."""
    is_away: bool = False
    """What a server is short of, its connections or a lock included, was waited for as long as it is tried."""
    is_unreachable: bool = False
    """No connection of this host's lasted, all of that time; from other hosts it may be reached."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something went wrong and was dealt with: a retry, a reconnect."""

    code: str
    message: str


ToWorker = NewTasks | NewLease | Yield | Abort | Tune | Retire | Probe
FromWorker = Ready | Probed | Connected | Progress | Returned | Failed | Problem
