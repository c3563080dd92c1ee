"""The whole vocabulary between front ends and the engine: commands in, replies, events and snapshots out.

One Unix-domain socket a run, JSON lines of at most 32 MiB, each an object::

    -> {"id": 7, "command": {"name": "set", "knob": "cluster_size", "value": 12}, "protocol": 1, "version": "0.1.0"}
    <- {"reply": 7, "result": {...}, "protocol": ...}   or  {"reply": 7, "error": {"code", "message", "exit_code"}, ...}
    <- {"event": {"kind": "knob", "at": 12.5, ...}}     facts: every client gets each of them, in order
    <- {"snapshot": {...}}                              the state now: a slow client gets only the newest

What the versions at both ends mean for each other is in `handshake`.

Times: `at` and `elapsed` are seconds since the run was accepted (monotonic); `*_unix` are seconds since 1970.
"""

from __future__ import annotations

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
from engine.protocol.plans import (
    CollectionInfo,
    ColumnView,
    DatabaseInfo,
    EstimateView,
    IndexView,
    PlanView,
    PreviewRowView,
    ServerReport,
    TableView,
    ValuesView,
)
from engine.protocol.records import COUNTERS, Attached, Event, Recording, RunInfo
from engine.protocol.reports import (
    DifferenceView,
    LessStrictView,
    RejectGroup,
    RejectsReport,
    RetryReport,
    TableCounts,
    VerifyReport,
)
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
    "COUNTERS",
    "MAX_LINE",
    "OVER",
    "SNAPSHOT_HZ",
    "Attach",
    "Attached",
    "Cancel",
    "CollectionInfo",
    "ColumnView",
    "Command",
    "ComparingView",
    "CountingView",
    "DatabaseInfo",
    "Detach",
    "DifferenceView",
    "DiscardRun",
    "ErrorInfo",
    "EstimateView",
    "Event",
    "IndexView",
    "Inspect",
    "LessStrictView",
    "ListCollections",
    "ListDatabases",
    "ListRejects",
    "ListRuns",
    "MakePlan",
    "Pause",
    "PlanView",
    "PreviewRowView",
    "ProblemView",
    "RangeView",
    "Recording",
    "RejectGroup",
    "RejectsReport",
    "Replay",
    "Resume",
    "RetryRejects",
    "RetryReport",
    "RunInfo",
    "RunState",
    "ServerReport",
    "SetKnob",
    "Shutdown",
    "Snapshot",
    "Start",
    "Status",
    "TableCounts",
    "TableProgress",
    "TableView",
    "ValuesView",
    "Verification",
    "Verify",
    "VerifyReport",
    "Wire",
    "WorkerState",
    "WorkerView",
]
