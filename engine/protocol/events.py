"""What happens in a run, as facts: one class a kind, the same on the socket, in memory and in the ledger, where they stay.

On the socket an event is `{"kind": "knob", "at": 12.5, "facts": {"knob": "page_size", "old": 5000, "value": 8000}}`, in the
ledger a row of `mongopg.event` with these three. The time of day stands beside them, `"clock": 1764511200.5`, in the ledger
among the facts. A fact that was not given is not written.

Ledgers outlive versions, in both directions, so reading is tolerant: a fact that is not known is passed over, a missing one has
its default, and an event of a kind that is not known, or without what it cannot do without, is an `UnknownEvent`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, cast, get_args

from pydantic import (
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)

from engine.protocol.reports import LessStrictView, RetriedReason, TableCounts
from engine.protocol.wire import ErrorInfo, RunState, Verification, Wire

CALLED_OFF = "called_off"
"""Code of the problem that a cut-over was called off: following goes on."""
RESUME_UNTIL = "resume_until"
"""Code of the news until when a run that followed and was stopped can be resumed."""
VOCABULARY = 1
"""The version of these classes. More kinds and more facts are no new version, readers pass them over; a fact that means
something else than before is."""


class Part(Wire):
    """Facts in a fact: what was not given is not written."""

    model_config = ConfigDict(defer_build=True)  # most commands need no event: starting is quicker

    @model_serializer(mode="wrap")
    def _given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if name in self.model_fields_set}


class Event(Wire):
    """A fact about a run. Each kind has a class of its own."""

    model_config = ConfigDict(defer_build=True)  # most commands need no event: starting is quicker

    only_counts: ClassVar[bool] = False
    """It only moves counters, which the next snapshot has: it is not told, and not kept for clients that attach later."""
    names: ClassVar[Mapping[str, str]] = {}
    """Fields that have another name in the written facts: field -> fact."""

    kind: str
    at: float = 0.0
    """Seconds of the run; the run that emits the event sets it."""
    clock: float = 0.0
    """The time of day, seconds since 1970; 0 where it was not kept."""

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, given: Any) -> Any:
        """Take the written form as well as fields."""
        if not isinstance(given, Mapping) or "facts" not in given:
            return given
        if not isinstance(given["facts"], Mapping):
            raise ValueError("facts are not an object")  # noqa: TRY004 - what pydantic takes for an error of validation
        fields = {fact: name for name, fact in cls.names.items()}
        facts = {fields.get(name, name): value for name, value in given["facts"].items()}
        return facts | {name: value for name, value in given.items() if name != "facts"}

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written = {"kind": self.kind, "at": self.at, "facts": self._facts_in(handler(self))}
        return written | {"clock": self.clock} if self.clock else written

    def _facts_in(self, fields: dict[str, Any]) -> dict[str, Any]:
        given = self.model_fields_set - {"kind", "at", "clock"}
        return {self.names.get(name, name): value for name, value in fields.items() if name in given}

    @property
    def facts(self) -> dict[str, Any]:
        """The facts as they are written."""
        return cast("dict[str, Any]", self.model_dump(mode="json")["facts"])


class StateEntered(Event):
    """The run came to another state, or to another phase of it."""

    kind: Literal["state"] = "state"
    state: RunState
    """One of the states of a run."""
    phase: str = ""
    """A few words: "copying", "building keys"."""
    reason: str = ""
    """Why it pauses: "paused by ctl of ann@db1"."""
    by: str = ""
    """What asked for it: a front end, "ctl of ann@db1", or a signal; empty where the run came to it by itself."""


class KnobChanged(Event):
    """A knob has another value."""

    kind: Literal["knob"] = "knob"
    knob: str
    """Its name, as in `ctl set`."""
    old: int | None = None
    """What it was."""
    value: int
    """What it is."""
    by: str = ""
    """What changed it, when that is known: "cockpit on pts/3 of ann@db1"; "auto" where the run itself did."""
    reason: str = ""
    """Why the run changed it itself: "8 copied 41.2 MB/s"."""


class KnobTuned(Event):
    """The run turns a knob itself, or no longer; or it keeps another value, or says why it does not."""

    kind: Literal["tuned"] = "tuned"
    knob: str
    """Its name, as in `ctl set`."""
    auto: str = ""
    """`"auto"`, or with bounds `"auto:4-16"`; empty: it is turned by hand from now on."""
    old: int | None = None
    """The value that was kept before."""
    stable: int
    """The value that is kept. While the knob has another one, that is probed."""
    reason: str = ""
    """Why: "+18 % (41.2 to 48.6 MB/s)", "set to 12 by ctl of ann@db1"."""


class GuardActed(Event):
    """Guards slow the run down, pause it, or let it go on. Smaller steps of coming back are told by snapshots alone."""

    kind: Literal["guard"] = "guard"
    what: str
    """`"slowed"`, `"paused"`, `"resumed"`, still slowed, or `"lifted"`."""
    guard: str = ""
    """The most severe one, as in section `[guard]`; empty where all is fine."""
    reason: str = ""
    """What it sees: "standby standby1 replays 14 s behind (limit 10 s)"."""
    others: list[str] = []
    """What the others see whose limits are passed."""
    rows_per_s: int | None = None
    """Most rows per second that are let through now; null is no limit."""


class GuardBlind(Event):
    """A guard that is on cannot see what it is to look at, and does nothing."""

    kind: Literal["guard_blind"] = "guard_blind"
    guard: str
    """As in section `[guard]`."""
    why: str = ""
    """A sentence."""
    remedy: str = ""
    """A command for an administrator, with which it could."""


class GuardSet(Event):
    """A setting of section `[guard]` has another value."""

    kind: Literal["guard_set"] = "guard_set"
    setting: str
    """Its name, without the section."""
    old: str = ""
    """What it was."""
    value: str
    """What it is."""
    by: str = ""
    """What changed it: "ctl of ann@db1"."""


class WorkerChanged(Event):
    """A worker process started, retired because the cluster became smaller, or died."""

    kind: Literal["worker"] = "worker"
    id: int
    """Its number, from 1."""
    pid: int = 0
    """Of its process."""
    what: str
    """`"started"`, `"retired"` or `"died"`."""
    exit: int | None = None
    """Its exit code; negative: the signal that ended it; null while it lives."""
    host: str = ""
    """The host that it runs on; empty for that of the engine."""


class HostChanged(Event):
    """A host of a cluster of several joined, left, or takes no workers."""

    kind: Literal["host"] = "host"
    host: str
    """Its name."""
    what: str
    """`"joined"`, `"left"` or `"refused"`."""
    slots: int = 0
    """Workers that it can have at most."""
    message: str = ""
    """Why it takes no workers."""


class ProblemReported(Event):
    """Something went wrong, or is not as it was asked for."""

    kind: Literal["problem"] = "problem"
    code: str = ""
    """What kind of problem: "worker_lost"."""
    message: str
    """What happened, and what is done about it."""
    namespace: str = ""
    """`db.collection`, where it is about one."""
    advice: str = ""
    """What an operator can do."""
    retry: bool = False
    """It is tried again: a `retried` more."""


class PartitionParked(Event):
    """A partition whose workers died again and again is left out; the run ends incomplete."""

    kind: Literal["parked"] = "parked"
    partition: int
    """Its number in the run."""
    namespace: str = ""
    """`db.collection`."""


class PlannedTable(Part):
    """A table that is copied to."""

    task_id: int
    """Number of the table in other events of the run."""
    namespace: str
    """`db.collection`."""
    table: str
    """`schema.table`."""
    total: int = 0
    """Documents expected."""
    order: str = "id"
    """In which the collection is read: `id`, or `natural`, as it lies on disk."""
    order_reason: str = ""
    """Why, in a few words."""


class RunPlanned(Event):
    """It is known what is copied to where."""

    kind: Literal["planned"] = "planned"
    tables: list[PlannedTable]
    """Where to, in the plan's order."""
    knobs: dict[str, int] = {}
    """Name to value, as the run begins."""
    warnings: list[str] = []
    """Of the plan, each with its collection."""


class TotalChanged(Event):
    """So many documents are expected of a collection, now that more is known."""

    only_counts: ClassVar[bool] = True
    kind: Literal["total"] = "total"
    task_id: int
    """The table, as the event `planned` numbers it."""
    total: int
    """Documents."""


class TableStage(Event):
    """A table is copied, and its end has come to this."""

    kind: Literal["table"] = "table"
    task_id: int
    """The table, as the event `planned` numbers it."""
    namespace: str = ""
    """`db.collection`."""
    state: str
    """`"building key"`, `"building indexes"` or `"done"`."""
    indexes: int = 0
    """How many are built."""


class SliceCommitted(Event):
    """A slice of a partition is committed."""

    only_counts: ClassVar[bool] = True
    kind: Literal["slice"] = "slice"
    task_id: int
    """The table, as the event `planned` numbers it."""
    partition: int = -1
    """Number of the partition in the run; -1: not known."""
    slice_no: int = -1
    """Its place in the partition, from 0."""
    read: int
    """Documents in it."""
    written: int
    """Rows in it."""
    rejected: int = 0
    """Documents kept as rejects."""
    bytes: int = 0
    """Of BSON."""
    reasons: dict[str, int] = {}
    """Rejects by the code of their reason."""
    policies: dict[str, int] = {}
    """Values that a policy changed, by policy."""


class RecountedTable(Part):
    """What the ledger has of a table."""

    task_id: int
    """The table, as the event `planned` numbers it."""
    read: int
    """Documents of committed slices."""
    written: int
    """Committed rows."""
    rejected: int = 0
    """Documents kept as rejects."""
    altered: dict[str, int] | None = None
    """Values that a policy changed, by policy; null: not known."""
    reasons: dict[str, int] | None = None
    """Rejects by the code of their reason; null: not known."""


class RunRecounted(Event):
    """The counters are what the ledger says: at a resume, after commits that were lost, and at the end."""

    only_counts: ClassVar[bool] = True
    kind: Literal["recount"] = "recount"
    tables: list[RecountedTable]
    """Each as the ledger has it."""
    bytes: int = 0
    """Of BSON, read by all of them."""


class DocumentsSeeded(Event):
    """So many documents are in the seeded collection. Not kept in the ledger."""

    only_counts: ClassVar[bool] = True
    kind: Literal["seeded"] = "seeded"
    documents: int
    """So many."""


class CensusStarted(Event):
    """All documents are looked through for the plan."""

    kind: Literal["counting"] = "counting"
    collections: list[str]
    """`db.collection`, each."""
    total: int
    """Documents expected."""


class CensusFinished(Event):
    """All documents were looked through."""

    kind: Literal["counted_fields"] = "counted_fields"
    collections: list[str]
    """`db.collection`, each."""
    documents: int
    """Counted."""


class SnapshotTaken(Event):
    """All documents are read as they were at one time."""

    names: ClassVar[Mapping[str, str]] = {"cluster_time": "at"}
    kind: Literal["snapshot"] = "snapshot"
    cluster_time: int = 0
    """MongoDB's cluster time, 32 bits of seconds and 32 of a counter."""
    unix: float
    """The same in seconds since 1970."""
    window_s: int | None = None
    """For so long the server keeps what was at that time; null when it does not say."""


class RunCutOver(Event):
    """A run that followed its source is cut over."""

    kind: Literal["cut_over"] = "cut_over"
    inserted: int = 0
    """Changes of the source that were read, by kind; several of one document may have been applied as one."""
    updated: int = 0
    """Replaced ones, too."""
    deleted: int = 0
    """Likewise."""
    write_stop_s: float | None = None
    """Seconds from the word that the writers are stopped until everything was in the tables; null when that is not known."""
    rejects_open: int = 0
    """Documents that are rejects now."""
    writes_blocked: bool = False
    """MongoDB was made to refuse all writes, and goes on doing so."""
    sequences: list[str] = []
    """Sequences of columns of its tables that were set behind the largest value."""


class RunHalted(Event):
    """Something became of the source, about which an operator has to decide: nothing is applied until then."""

    kind: Literal["halted"] = "halted"
    namespace: str = ""
    """The collection; empty where it is about the whole source."""
    code: str = ""
    """As in `follow.halted_by`."""
    message: str = ""
    """What happened, in a sentence."""


class RunResolved(Event):
    """An operator has decided what is done about it."""

    kind: Literal["resolved"] = "resolved"
    namespace: str = ""
    """The collection; empty where it is about the whole source."""
    choice: str = ""
    """`ignore`, `empty`, `stop`, `resync`."""
    by: str = ""
    """Who."""


class FollowedFacts(Part):
    """What a run that followed its source has done."""

    inserted: int = 0
    """Changes of the source that were read, by kind."""
    updated: int = 0
    """Replaced ones, too."""
    deleted: int = 0
    """Likewise."""
    write_stop_s: float | None = None
    """Seconds for which the source's writers had to be stopped; null when that is not known."""
    rejects_open: int = 0
    """Documents that are rejects now."""
    writes_blocked: bool = False
    """MongoDB was made to refuse all writes, and goes on doing so."""


class ServersStarted(Event):
    """The run has embedded servers of its own."""

    kind: Literal["servers"] = "servers"
    source: str = ""
    """URI."""
    target: str = ""
    """URI."""
    directory: str = ""
    """Where their data is."""
    keep: bool = False
    """They stay when the run has ended."""
    writes_per_s: int = 0
    """The source is written to meanwhile, about so often, until the run is cut over."""


class RunEnvironment(Event):
    """Who started the run, with what, and what is at both ends. A resume tells it again."""

    kind: Literal["environment"] = "environment"
    by: str
    """`user@host` of the engine."""
    program: str
    """Version of this program."""
    source_version: str = ""
    """Of MongoDB."""
    target_version: str = ""
    """Of PostgreSQL."""
    unix: float = 0.0
    """When that engine took the run, seconds since 1970; 0 where that was not kept."""


class IndexesBuilt(Event):
    """The secondary indexes of a table are built, as far as they could be."""

    kind: Literal["indexed"] = "indexed"
    task_id: int
    """The table, as the event `planned` numbers it."""
    built: int
    """Indexes, those that were there included."""
    failed: int
    """Indexes that could not be built."""


class TableCounted(Event):
    """Both sides of a table are counted at the end."""

    kind: Literal["counted"] = "counted"
    task_id: int
    """The table, as the event `planned` numbers it."""
    source: int
    """Documents."""
    target: int
    """Rows."""
    ok: bool
    """They agree."""


class VerificationEnded(Event):
    """It is known whether both sides are equal."""

    kind: Literal["verification"] = "verification"
    verification: Verification
    """Whether they are."""
    level: str = "counts"
    """How that is known: `"counts"` of both sides, or a `"full"` comparison."""
    before_retry: bool = False
    """Every document was compared, and a retry of rejects has written rows since, which nothing has compared."""


class BuiltIndexes(Part):
    """Secondary indexes of a table."""

    built: int
    """Those that were there included."""
    failed: int
    """Those that could not be built."""


class FinishedTable(Part):
    """What became of a table."""

    namespace: str = ""
    """`db.collection`."""
    source: int = -1
    """Documents counted in the source at the end; -1 when it did not come to that."""
    read: int = 0
    """Documents of committed slices."""
    written: int = 0
    """Committed rows."""
    rejected: int = 0
    """Documents kept as rejects, committed."""
    altered: dict[str, int] = {}
    """Values that a policy changed in committed rows, by policy, such as `{"nul.strip": 3, "overflow": 12}`: no errors, but
    no longer what the source has. Keys that came twice in a document (`duplicate_key`) and values that went into `_extra`
    (`overflow`) are counted too."""
    target: int = -1
    """Rows counted in the table at the end; -1 likewise."""
    ok: bool | None = None
    """Counts agree; null before they are compared."""
    indexes: BuiltIndexes | None = None
    """Secondary indexes `built` and `failed`. Left out where none were asked for."""


class RunFinished(Event):
    """The run is over. Its facts are the last JSON line of `run --json`, without `event`."""

    kind: Literal["finished"] = "finished"
    run_id: str = ""
    """Such as `20261123-1402-k3f9`."""
    state: RunState
    """`"completed"`, `"cancelled"` or `"failed"`."""
    verification: Verification = Verification.NONE
    """What is known about both sides being equal."""
    verification_level: str = ""
    """How that is known: `"counts"` of both sides, or a `"full"` comparison; empty when nothing is known."""
    consistency: str = "fuzzy"
    """`"fuzzy"`, or `"snapshot"`: all documents as they were at one time."""
    read: int = 0
    """Documents of committed slices."""
    written: int = 0
    """Committed rows, nothing else."""
    rejected: int = 0
    """Documents kept as rejects, committed."""
    seconds: float = 0.0
    """Seconds from accepting the run to its end: plan, copy, keys, ANALYZE, counts; without seeding."""
    rows_per_s: int = 0
    """Rows per second: those written this time over `seconds`."""
    rows_per_s_overall: float = 0.0
    """Rows per second, overall: all rows of the run over the seconds of all times that it was driven."""
    rows_per_s_copying: float = 0.0
    """Rows per second while copying, in all times that the run was driven: without planning, pauses, keys, ANALYZE and counts;
    0 when that was not measured."""
    copied: int = 0
    """Rows that were written while copying, this time."""
    copying_s: float = 0.0
    """Seconds that they took."""
    tables: dict[str, FinishedTable] = {}
    """`schema.table` to what became of it (below)."""
    altered: dict[str, int] = {}
    """Values that a policy changed in the committed rows of all tables, by policy, such as
    `{"nul.strip": 3, "overflow": 12}`; empty when there are none. They change nothing about the exit code."""
    seeded: int = 0
    """Documents in the seeded collection."""
    exit_code: int | None = None
    """What the command leaves with."""
    snapshot_unix: float = 0.0
    """The time at which all documents were read, seconds since 1970. Left out without one."""
    follow: FollowedFacts | None = None
    """What it did after the copy (below). Left out of runs that were not cut over."""
    error: ErrorInfo | None = None
    """Why it did not end well: its `code`, and a `message` of one sentence. Left out otherwise."""


class RunVerified(Event):
    """Every value of both sides was compared, after the run. Only in the ledger."""

    kind: Literal["verified"] = "verified"
    run_id: str = ""
    """Of the run that was verified."""
    level: str = "full"
    """How it was verified."""
    result: Verification
    """Whether both sides are equal."""
    tables: list[TableCounts] = []
    """As `verify --json` has them."""
    less_strict: list[LessStrictView] = []
    """Where a number could not be compared by all its digits, as `verify --json` has it."""
    redacted: bool = False
    """Values were left out of the differences."""
    seconds: float = 0.0
    """How long it took."""
    verification_level: str = "full"
    """`"counts"` when the rows of some table could not be compared."""
    unix: float = 0.0
    """When, seconds since 1970."""


class RejectsRetried(Event):
    """Rejects of the run were converted again, after the run. Only in the ledger."""

    kind: Literal["retried"] = "retried"
    tried: int
    """Rejects."""
    written: int
    """Rows."""
    already_there: int = 0
    """Documents whose row was there."""
    left: int
    """Documents that are still rejects."""
    altered: dict[str, int] = {}
    """Values that a policy changed, by policy."""
    policies: dict[str, str] = {}
    """Policies that were chosen for it."""
    reasons: list[RetriedReason] = []
    """Which documents they were, by the reasons that they were rejects for."""
    unix: float = 0.0
    """When, seconds since 1970."""


class UnknownEvent(Event):
    """Something that this version cannot read: of a newer or an older one."""

    unread: dict[str, Any] = {}
    """The facts as they were written."""

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, given: Any) -> Any:
        """Keep the facts together."""
        if not isinstance(given, Mapping) or "facts" not in given:
            return given
        facts = given["facts"]
        unread = facts if isinstance(facts, Mapping) else {"facts": facts}
        return {name: value for name, value in given.items() if name != "facts"} | {"unread": unread}

    def _facts_in(self, fields: dict[str, Any]) -> dict[str, Any]:
        return dict(fields["unread"])


KnownEvent = Annotated[
    StateEntered
    | KnobChanged
    | KnobTuned
    | GuardActed
    | GuardBlind
    | GuardSet
    | WorkerChanged
    | HostChanged
    | ProblemReported
    | PartitionParked
    | RunPlanned
    | TotalChanged
    | TableStage
    | SliceCommitted
    | RunRecounted
    | DocumentsSeeded
    | CensusStarted
    | CensusFinished
    | SnapshotTaken
    | RunCutOver
    | RunHalted
    | RunResolved
    | ServersStarted
    | RunEnvironment
    | IndexesBuilt
    | TableCounted
    | VerificationEnded
    | RunFinished
    | RunVerified
    | RejectsRetried,
    Field(discriminator="kind"),
]
EVENT_CLASSES: tuple[type[Event], ...] = get_args(get_args(KnownEvent)[0])
"""All of them, in the order in which the reference has them."""

_KNOWN: TypeAdapter[Event] = TypeAdapter(KnownEvent, config=ConfigDict(defer_build=True))


def read_event(written: Mapping[str, Any]) -> Event:
    """An event from its written form: `kind`, `at` and `facts`.

    Raises:
        pydantic.ValidationError: its kind is no text, or its time no number; whatever its facts are, they are no error.
    """
    whole = {"at": 0.0, "facts": {}, **written}
    try:
        return _KNOWN.validate_python(whole)
    except ValidationError:
        return UnknownEvent.model_validate(whole)


def _read(given: Any) -> Event:
    return given if isinstance(given, Event) else read_event(given)


AnyEvent = Annotated[Event, PlainValidator(_read), PlainSerializer(lambda event: event.model_dump(mode="json"))]
"""An event as a field of other models."""
