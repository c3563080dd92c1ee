"""The whole vocabulary between front ends and the engine: commands in, replies, events and snapshots out.

One Unix-domain socket a run, JSON lines of at most 32 MiB, each an object::

    -> {"id": 7, "command": {"name": "set", "knob": "cluster_size", "value": 12}, "protocol": 1, "version": "0.1.0"}
    <- {"reply": 7, "result": {...}, "protocol": ...}   or  {"reply": 7, "error": {"code", "message", "exit_code"}, ...}
    <- {"event": {"kind": "knob", "at": 12.5, "facts": {...}}}      every client gets each of them, in order
    <- {"snapshot": {...}}                                          a slow client gets only the newest

What the versions at both ends mean for each other is in `handshake`.

::

    wire        what all of it is made of, and the words for states
    handshake   versions at both ends
    commands    what may be asked
    plans, reports, records    the answers
    saved_plan  a plan as it is kept and edited
    plan_edits  edits of it
    events      what happened: a class a kind, kept in the ledger for ever
    snapshots   the state now

Times: `at` and `elapsed` are seconds since the run was accepted (monotonic); `*_unix` are seconds since 1970.
"""

from __future__ import annotations

from engine.mapping.options import POLICIES
from engine.protocol.commands import (
    Attach,
    Cancel,
    Command,
    Detach,
    DiscardRun,
    Inspect,
    ListCollections,
    ListDatabases,
    ListRejects,
    ListRuns,
    MakePlan,
    Pause,
    Replay,
    Resume,
    RetryRejects,
    SetKnob,
    Shutdown,
    Start,
    Status,
    Verify,
)
from engine.protocol.events import (
    EVENT_CLASSES,
    VOCABULARY,
    AnyEvent,
    BuiltIndexes,
    CensusFinished,
    CensusStarted,
    DocumentsSeeded,
    Event,
    FinishedTable,
    IndexesBuilt,
    KnobChanged,
    PartitionParked,
    PlannedTable,
    ProblemReported,
    RecountedTable,
    RejectsRetried,
    RunFinished,
    RunPlanned,
    RunRecounted,
    RunVerified,
    ServersStarted,
    SliceCommitted,
    SnapshotTaken,
    StateEntered,
    TableCounted,
    TotalChanged,
    UnknownEvent,
    VerificationEnded,
    WorkerChanged,
    read_event,
)
from engine.protocol.plan_edits import LeaveOut, PlanEdit, PutBack, RenameColumn, RetypeColumn, SetPolicies, apply
from engine.protocol.plans import (
    CollectionInfo,
    ColumnView,
    DatabaseInfo,
    EditablePlan,
    EstimateView,
    IndexView,
    PlanView,
    PreviewRowView,
    ServerReport,
    TableView,
    ValuesView,
)
from engine.protocol.records import Attached, Recording, RunInfo
from engine.protocol.reports import (
    DifferenceView,
    LessStrictView,
    RejectGroup,
    RejectsReport,
    RetryReport,
    TableCounts,
    VerifyReport,
)
from engine.protocol.saved_plan import SavedPlan, SavedTable
from engine.protocol.snapshots import (
    ComparingView,
    CountingView,
    ProblemView,
    RangeView,
    Snapshot,
    TableProgress,
    WorkerView,
)
from engine.protocol.wire import (
    ACTIVE,
    MAX_LINE,
    OVER,
    SNAPSHOT_HZ,
    ErrorInfo,
    RunState,
    Verification,
    Wire,
    WorkerState,
)

__all__ = [
    "ACTIVE",
    "EVENT_CLASSES",
    "MAX_LINE",
    "OVER",
    "POLICIES",
    "SNAPSHOT_HZ",
    "VOCABULARY",
    "AnyEvent",
    "Attach",
    "Attached",
    "BuiltIndexes",
    "Cancel",
    "CensusFinished",
    "CensusStarted",
    "CollectionInfo",
    "ColumnView",
    "Command",
    "ComparingView",
    "CountingView",
    "DatabaseInfo",
    "Detach",
    "DifferenceView",
    "DiscardRun",
    "DocumentsSeeded",
    "EditablePlan",
    "ErrorInfo",
    "EstimateView",
    "Event",
    "FinishedTable",
    "IndexView",
    "IndexesBuilt",
    "Inspect",
    "KnobChanged",
    "LeaveOut",
    "LessStrictView",
    "ListCollections",
    "ListDatabases",
    "ListRejects",
    "ListRuns",
    "MakePlan",
    "PartitionParked",
    "Pause",
    "PlanEdit",
    "PlanView",
    "PlannedTable",
    "PreviewRowView",
    "ProblemReported",
    "ProblemView",
    "PutBack",
    "RangeView",
    "Recording",
    "RecountedTable",
    "RejectGroup",
    "RejectsReport",
    "RejectsRetried",
    "RenameColumn",
    "Replay",
    "Resume",
    "RetryRejects",
    "RetryReport",
    "RetypeColumn",
    "RunFinished",
    "RunInfo",
    "RunPlanned",
    "RunRecounted",
    "RunState",
    "RunVerified",
    "SavedPlan",
    "SavedTable",
    "ServerReport",
    "ServersStarted",
    "SetKnob",
    "SetPolicies",
    "Shutdown",
    "SliceCommitted",
    "Snapshot",
    "SnapshotTaken",
    "Start",
    "StateEntered",
    "Status",
    "TableCounted",
    "TableCounts",
    "TableProgress",
    "TableView",
    "TotalChanged",
    "UnknownEvent",
    "ValuesView",
    "Verification",
    "VerificationEnded",
    "Verify",
    "VerifyReport",
    "Wire",
    "WorkerChanged",
    "WorkerState",
    "WorkerView",
    "apply",
    "read_event",
]
