"""Events as text, for the cockpit's log as for headless runs: both tell the same. Every text here is harmless."""

from __future__ import annotations

from functools import singledispatch
from typing import Literal

from engine.protocol import (
    EVENT_CLASSES,
    CensusFinished,
    CensusStarted,
    Event,
    IndexesBuilt,
    KnobChanged,
    PartitionParked,
    ProblemReported,
    RejectsRetried,
    RunFinished,
    RunPlanned,
    RunVerified,
    ServersStarted,
    SnapshotTaken,
    StateEntered,
    TableCounted,
    UnknownEvent,
    VerificationEnded,
    WorkerChanged,
)
from tui.words.format import moment, number
from tui.words.knobs import label_of, value_of
from tui.words.safe import safe

WARNINGS_TOLD = 20
"""Warnings of a plan that are told, at most."""
NOTICES = frozenset({"nothing_to_resume", "complete", "written_since"})
"""Codes of problems that are no trouble, only news."""
TOLD_BY_NUMBERS: frozenset[type[Event]] = frozenset({
    *(each for each in EVENT_CLASSES if each.only_counts),
    CensusStarted, CensusFinished,  # the phase names it, a bar shows how far it is
    TableCounted, IndexesBuilt,  # the summary has a line for each table
})  # fmt: skip
"""Events without words: a screen and a summary show the numbers that they move."""
_MESSAGE_LIMIT = 2_000
"""Characters of a message: a server's whole error, not a document."""


class Note(Event):
    """What a front end itself said, kept among the engine's events."""

    kind: Literal["cockpit"] = "cockpit"
    message: str


def told(event: Event) -> list[str]:
    """Everything there is to tell of an event, in lines; none of one that only moves counters."""
    said = words(event)
    return [*([said] if said else []), *plan_warnings(event)]


def plan_warnings(event: Event) -> list[str]:
    """The warnings of the plan that a run has made, when the event is about it."""
    warnings = event.warnings if isinstance(event, RunPlanned) else []
    shown = [f"warning: {safe(text)}" for text in warnings[:WARNINGS_TOLD]]
    if len(warnings) > WARNINGS_TOLD:
        shown.append(f"and {len(warnings) - WARNINGS_TOLD} more warnings: `mongopg-tui plan` shows them")
    return shown


@singledispatch
def words(event: Event) -> str | None:
    """An event in a sentence; None for those that other numbers tell better (`TOLD_BY_NUMBERS`)."""
    if type(event) in TOLD_BY_NUMBERS:
        return None
    raise NotImplementedError(f"{type(event).__name__} has no words, and is not among those that need none")


@words.register
def _(event: StateEntered) -> str:
    parts = (event.state.value, event.phase.removeprefix(f"{event.state.value}: "), event.reason)
    return ": ".join(dict.fromkeys(safe(part) for part in parts if part))


@words.register
def _(event: KnobChanged) -> str:
    change = f"{label_of(event.knob)} {value_of(event.knob, event.old)} → {value_of(event.knob, event.value)}"
    return f"{change}, by {safe(event.by)}" if event.by else change


@words.register
def _(event: WorkerChanged) -> str:
    exit_code = f" with exit code {event.exit}" if event.exit else ""
    return f"worker {event.id} (pid {event.pid}) {safe(event.what)}{exit_code}"


@words.register
def _(event: ProblemReported) -> str:
    message = safe(" ".join(filter(None, (event.message, event.advice))), _MESSAGE_LIMIT)
    return message if event.code in NOTICES else f"problem: {message}"


@words.register
def _(event: PartitionParked) -> str:
    return f"partition {event.partition} of {safe(event.namespace)} is parked"


@words.register
def _(event: RunPlanned) -> str:
    tables = ", ".join(f"{table.namespace} → {table.table}" for table in event.tables)
    return f"planned: {safe(tables)}"


@words.register
def _(event: SnapshotTaken) -> str:
    return f"every document is read as it was at {moment(event.unix)}"


@words.register
def _(event: ServersStarted) -> str:
    return f"embedded servers: {safe(event.source)} and {safe(event.target)}, data in {safe(event.directory)}"


@words.register
def _(event: VerificationEnded) -> str:
    return f"verification: {event.verification.value}"


@words.register
def _(event: RunFinished) -> str:
    return f"finished: {event.state.value}, {number(event.written)} rows"


@words.register
def _(event: RunVerified) -> str:
    return f"verified afterwards, level {safe(event.level)}: {event.result.value}"


@words.register
def _(event: RejectsRetried) -> str:
    return (
        f"rejects tried again: {number(event.tried)}, written {number(event.written)},"
        f" already there {number(event.already_there)}, left {number(event.left)}"
    )


@words.register
def _(event: Note) -> str:
    return safe(event.message, _MESSAGE_LIMIT)


@words.register
def _(event: UnknownEvent) -> str:
    return f"{safe(event.kind, 60)}: an event that this version cannot read"


def knob_mark(event: KnobChanged) -> str:
    """The change of a knob, for the chart: `page size 8,000`."""
    return f"{label_of(event.knob)} {value_of(event.knob, event.value)}"
