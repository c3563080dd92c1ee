"""Events as text, for the cockpit's log as for headless runs: both tell the same. Every text here is harmless."""

from __future__ import annotations

from functools import singledispatch
from typing import Literal

from engine.protocol import (
    EVENT_CLASSES,
    CensusFinished,
    CensusStarted,
    Event,
    GuardActed,
    GuardBlind,
    GuardSet,
    HostChanged,
    IndexesBuilt,
    KnobChanged,
    KnobTuned,
    PartitionParked,
    PlannedTable,
    ProblemReported,
    RejectsRetried,
    RunCutOver,
    RunEnvironment,
    RunFinished,
    RunHalted,
    RunPlanned,
    RunResolved,
    RunVerified,
    ServersStarted,
    SnapshotTaken,
    StateEntered,
    TableCounted,
    TableStage,
    TableState,
    UnknownEvent,
    VerificationEnded,
    WorkerChanged,
)
from tui.words.follow import LIFT_WORDS, choice_words
from tui.words.format import counted, moment, number
from tui.words.guards import acted_mark, acted_words
from tui.words.knobs import label_of, value_of
from tui.words.run_status import RETRIED_SINCE, state_words, verification_words
from tui.words.safe import safe

WARNINGS_TOLD = 20
"""Warnings of a plan that are told, at most."""
NOTICES = frozenset({"nothing_to_resume", "complete", "written_since", "new_collection"})
"""Codes of problems that are no trouble, only news."""
TOLD_BY_NUMBERS: frozenset[type[Event]] = frozenset({
    *(each for each in EVENT_CLASSES if each.only_counts),
    CensusStarted, CensusFinished,  # the phase names it, a bar shows how far it is
    TableCounted, IndexesBuilt,  # the summary has a line for each table
})  # fmt: skip
"""Events without words: a screen and a summary show the numbers that they move."""
AUTO = "auto"
"""What a run that turns a knob itself is called in its events."""
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
    parts = (state_words(event.state.value), event.phase.removeprefix(f"{event.state.value}: "), event.reason)
    entered = ": ".join(dict.fromkeys(safe(part) for part in parts if part))
    return f"{entered}, by {safe(event.by)}" if event.by and event.by not in event.reason else entered


@words.register
def _(event: KnobChanged) -> str:
    change = f"{label_of(event.knob)} {value_of(event.knob, event.old)} → {value_of(event.knob, event.value)}"
    by = f"{change}, by {safe(event.by)}" if event.by else change
    return f"{by}: {safe(event.reason, _MESSAGE_LIMIT)}" if event.reason else by


@words.register
def _(event: KnobTuned) -> str:
    label, reason = label_of(event.knob), safe(event.reason, _MESSAGE_LIMIT)
    if not event.auto:
        return f"{label} auto off: {reason}"
    stable = value_of(event.knob, event.stable)
    kept = stable if event.old in (None, event.stable) else f"{value_of(event.knob, event.old)} → {stable}"
    return f"{label} {safe(event.auto, 40)}, {kept}: {reason}"


@words.register
def _(event: GuardActed) -> str:
    return acted_words(event)


@words.register
def _(event: GuardBlind) -> str:
    remedy = f" As an administrator, run: {safe(event.remedy, 300)}" if event.remedy else ""
    return f"guard {safe(event.guard, 40)} cannot see and does nothing: {safe(event.why, _MESSAGE_LIMIT)}{remedy}"


@words.register
def _(event: GuardSet) -> str:
    change = f"guard.{safe(event.setting, 40)} {safe(event.old, 100) or 'empty'} → {safe(event.value, 100) or 'empty'}"
    return f"{change}, by {safe(event.by)}" if event.by else change


@words.register
def _(event: WorkerChanged) -> str:
    exit_code = f" with exit code {event.exit}" if event.exit else ""
    place = f"pid {event.pid} on {safe(event.host, 80)}" if event.host else f"pid {event.pid}"
    return f"worker {event.id} ({place}) {safe(event.what)}{exit_code}"


@words.register
def _(event: HostChanged) -> str:
    host = f"host {safe(event.host, 80)}"
    if event.what == "refused":
        return f"{host} takes no workers: {safe(event.message, _MESSAGE_LIMIT)}"
    if event.what == "joined":
        return f"{host} joined with {counted(event.slots, 'slot')}"
    if event.what == "left":
        return f"{host} left: what its workers had in hand goes to others"
    return f"{host} {safe(event.what, 40)}"


@words.register
def _(event: ProblemReported) -> str:
    message = safe(" ".join(filter(None, (event.message, event.advice))), _MESSAGE_LIMIT)
    return message if event.code in NOTICES else f"problem: {message}"


@words.register
def _(event: PartitionParked) -> str:
    return f"partition {event.partition} of {safe(event.namespace)} is parked"


@words.register
def _(event: RunPlanned) -> str:
    tables = ", ".join(f"{table.namespace} → {table.table}{_order(table)}" for table in event.tables)
    return f"planned: {safe(tables)}"


def _order(table: PlannedTable) -> str:
    """That a collection is read as it lies on disk, and why; nothing for the order of `_id`."""
    return f", in natural order, as {table.order_reason}" if table.order == "natural" else ""


@words.register
def _(event: TableStage) -> str:
    what = f"building {number(event.indexes)} indexes" if event.indexes > 1 else safe(event.state)
    what = what if event.state != TableState.DONE else "done"
    return f"{safe(event.namespace)}: {what}"


@words.register
def _(event: RunCutOver) -> str:
    stopped = f", writers stopped for {event.write_stop_s:.1f} s" if event.write_stop_s is not None else ""
    changes = f"{number(event.inserted)} inserted, {number(event.updated)} updated, {number(event.deleted)} deleted"
    blocked = f"; {LIFT_WORDS}" if event.writes_blocked else ""
    return f"cut over{stopped}; changes followed: {changes}{blocked}"


@words.register
def _(event: RunHalted) -> str:
    return f"halted: {safe(event.message, _MESSAGE_LIMIT)}"


@words.register
def _(event: RunResolved) -> str:
    what = safe(event.namespace) or "the whole source"
    by = f", by {safe(event.by)}" if event.by else ""
    return f"resolved: {what}, {choice_words(event.choice)}{by}"


@words.register
def _(event: SnapshotTaken) -> str:
    return f"all documents are read as of {moment(event.unix)}"


@words.register
def _(event: ServersStarted) -> str:
    writes = f"; {event.writes_per_s:,} writes a second to the source until you cut over" if event.writes_per_s else ""
    return f"embedded servers: {safe(event.source)} and {safe(event.target)}, data in {safe(event.directory)}{writes}"


@words.register
def _(event: RunEnvironment) -> str:
    servers = f"MongoDB {safe(event.source_version)} → PostgreSQL {safe(event.target_version)}"
    return f"started by {safe(event.by)} with version {safe(event.program)}: {servers}"


@words.register
def _(event: VerificationEnded) -> str:
    since = f". {RETRIED_SINCE}" if event.before_retry else ""
    return f"verification: {verification_words(event.verification.value, event.level)}{since}"


@words.register
def _(event: RunFinished) -> str:
    return f"finished: {state_words(event.state.value)}, {counted(event.written, 'row')}"


@words.register
def _(event: RunVerified) -> str:
    return f"verified afterwards, level {safe(event.level)}: {event.result.value}"


@words.register
def _(event: RejectsRetried) -> str:
    return (
        f"rejects retried {number(event.tried)}: {number(event.written)} written,"
        f" {number(event.already_there)} already there, {number(event.left)} still rejected"
    )


@words.register
def _(event: Note) -> str:
    return safe(event.message, _MESSAGE_LIMIT)


@words.register
def _(event: UnknownEvent) -> str:
    return f"{safe(event.kind, 60)}: an event that this version cannot read"


def chart_mark(event: Event) -> str:
    """What is marked in the chart: `page size 8,000`, `auto 12` where the run did it, `slowed: standby_lag`; or nothing."""
    match event:
        case KnobChanged():
            if event.by == AUTO:
                return f"{AUTO} {value_of(event.knob, event.value)}"
            return f"{label_of(event.knob)} {value_of(event.knob, event.value)}"
        case GuardActed():
            return acted_mark(event)
    return ""
