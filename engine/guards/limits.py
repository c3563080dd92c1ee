"""What each guard sees in the vitals of the servers, against its limits. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

from engine.config import GuardSettings
from engine.guards.governor import Level
from engine.plurals import counted
from engine.protocol import (
    BlockedView,
    GuardState,
    GuardView,
    OwnVitals,
    SourceVitals,
    StandbyView,
    TargetVitals,
    Unseen,
    VitalsView,
)

STALE_S = 10.0
"""Vitals that are older tell nothing about now."""
_STATUSES = ("extended", "unreserved")
"""Of a replication slot, the worse one last; what is `lost` has nothing more to lose."""
OF_SOURCE = frozenset({"tickets", "queue", "secondary_lag"})
"""Guards that look at MongoDB."""
_STATES: Mapping[Level, GuardState] = {Level.FINE: "fine", Level.SOFT: "slows", Level.HARD: "pauses"}


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a guard begins to slow the run down, and where to pause it; None is nowhere."""

    soft: float | None = None
    hard: float | None = None

    def above(self, value: float) -> Level:
        """How things are where more is worse."""
        if self.hard is not None and value > self.hard:
            return Level.HARD
        return Level.SOFT if self.soft is not None and value > self.soft else Level.FINE

    def below(self, value: float) -> Level:
        """How things are where less is worse."""
        if self.hard is not None and value < self.hard:
            return Level.HARD
        return Level.SOFT if self.soft is not None and value < self.soft else Level.FINE

    def passed(self, level: Level, unit: Callable[[float], str]) -> str:
        """` (limit 10 s)`: the one that counts at this level."""
        limit = self.hard if level is Level.HARD or self.soft is None else self.soft
        return f" (limit {unit(limit)})" if limit is not None and level is not Level.FINE else ""

    def excess(self, value: float) -> float:
        """How far a value is past the first limit, as a multiple of it."""
        limit = self.soft if self.soft is not None else self.hard
        return value / limit if limit else value


@dataclass(frozen=True, slots=True)
class Seen:
    """What a guard sees."""

    level: Level
    words: str
    """A sentence without its stop."""
    value: float | None = None
    excess: float = 0.0
    """How far it is past its limit; more is worse."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """Why a guard sees nothing."""

    why: str
    """A sentence."""
    remedy: str = ""
    """A command for an administrator."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A guard that is on, and what it sees; None before it was looked for."""

    name: str
    limits: Limits
    found: Seen | Hidden | None

    @property
    def level(self) -> Level | None:
        """How things are; None where that is not known."""
        return self.found.level if isinstance(self.found, Seen) else None

    def view(self) -> GuardView:
        """For front ends."""
        found = self.found
        view = GuardView(name=self.name, state="waiting", limit=self.limits.soft, hard=self.limits.hard)
        if isinstance(found, Seen):
            seen = {"state": _STATES[found.level], "words": found.words, "value": found.value}
            return view.model_copy(update=seen)
        if found is not None:
            return view.model_copy(update={"state": "unseen", "words": found.why, "remedy": found.remedy})
        return view


def findings(guard: GuardSettings, view: VitalsView | None) -> list[Finding]:
    """What the guards see that are on, the most severe first.

    Args:
        view: of both servers; None while they are not looked at.
    """
    found = []
    for name, see in _GUARDS.items():
        limits = _limits(guard, name)
        if guard.on and limits is not None:
            found.append(Finding(name, limits, see(view, limits, guard) if view is not None else None))
    return sorted(found, key=_severity)


def _severity(finding: Finding) -> tuple[int, float]:
    """To sort by: what is past a hard limit first, what cannot be seen last."""
    if isinstance(finding.found, Seen):
        return -finding.found.level, -finding.found.excess if finding.found.level is not Level.FINE else 0.0
    return 1, 0.0


def _limits(guard: GuardSettings, name: str) -> Limits | None:
    """Those of a guard; None where it is off."""
    if name == "slots":
        return Limits() if guard.slots != "off" else None
    if name in ("command", "file"):
        return Limits() if getattr(guard, name).strip() else None
    if name == "query":
        return Limits(guard.query_limit, guard.query_hard or None) if guard.query.strip() else None
    soft, hard = getattr(guard, name), getattr(guard, f"{name}_hard")
    return Limits(soft or None, hard or None) if soft or hard else None


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


_Side = TypeVar("_Side", TargetVitals, SourceVitals)


def _of(
    side: Callable[[VitalsView], _Side | None],
    see: Callable[[_Side, Limits, GuardSettings], Seen | Hidden | None],
    what: str,
) -> _Sees:
    """A guard that reads the vitals of one server.

    Args:
        side: which of the two.
        what: how the vitals call what it needs, where they cannot see that.
    """

    def look(view: VitalsView, limits: Limits, guard: GuardSettings) -> Seen | Hidden | None:
        vitals = side(view)
        if vitals is None or vitals.age_s is None or vitals.age_s > STALE_S:
            return _not_now(vitals)
        return _unseen(vitals.unseen, what) or see(vitals, limits, guard)

    return look


def _target(view: VitalsView) -> TargetVitals | None:
    return view.target


def _source(view: VitalsView) -> SourceVitals | None:
    return view.source


def _standbys(target: TargetVitals, limits: Limits, guard: GuardSettings) -> Seen | Hidden:
    if target.standbys is None:
        return _untold("what standbys there are")
    return _lag(target.standbys, limits, guard, "standby", "replays")


def _disk(target: TargetVitals, limits: Limits, _: GuardSettings) -> Seen | Hidden:
    free = target.disk_free_bytes
    if free is None:
        return _untold("how much of the disk is free")
    level = limits.below(free)
    words = f"PostgreSQL's disk has {size(free)} free{limits.passed(level, size)}"
    return Seen(level, words, free, 1 / limits.excess(free) if free else float("inf"))


def _slots(target: TargetVitals, _: Limits, guard: GuardSettings) -> Seen | Hidden:
    if target.slots is None:
        return _untold("what replication slots there are")
    if target.slots and all(not slot.status for slot in target.slots):
        return _untold("the wal_status of replication slots")
    known = [slot for slot in target.slots if slot.status in _STATUSES]
    worst = max(known, key=lambda slot: _STATUSES.index(slot.status), default=None)
    if worst is None:
        return Seen(Level.FINE, f"no replication slot of {len(target.slots)} is short of WAL")
    is_past = _STATUSES.index(worst.status) >= _STATUSES.index(guard.slots)
    limit = f" (limit {guard.slots})" if is_past else ""
    words = f"replication slot {worst.name} is {worst.status}{limit}"
    return Seen(Level.SOFT if is_past else Level.FINE, words, None, 1.0 + _STATUSES.index(worst.status))


def _slot_wal(target: TargetVitals, limits: Limits, _: GuardSettings) -> Seen | Hidden:
    if target.slots is None:
        return _untold("what replication slots there are")
    held = [(slot.held_bytes, slot.name) for slot in target.slots if slot.held_bytes is not None]
    if not held:
        return Seen(Level.FINE, "no replication slot holds back WAL", 0.0)
    most, name = max(held)
    level = limits.above(most)
    words = f"replication slot {name} holds back {size(most)} of WAL{limits.passed(level, size)}"
    return Seen(level, words, most, limits.excess(most))


def _blocked(target: TargetVitals, limits: Limits, _: GuardSettings) -> Seen | Hidden:
    if target.blocking is None:
        return _untold("which sessions wait for locks")
    if not target.blocking:
        return Seen(Level.FINE, "no session of others waits for the run", 0.0)
    worst = max(target.blocking, key=lambda each: each.waiting_s)
    level = limits.above(worst.waiting_s)
    words = f"{_waiting(worst)}{limits.passed(level, seconds)}"
    return Seen(level, words, worst.waiting_s, limits.excess(worst.waiting_s))


def _waiting(blocked: BlockedView) -> str:
    names = ", ".join(filter(None, [blocked.application, f"user {blocked.user}" if blocked.user else ""]))
    who = f"session {blocked.pid}" + (f" ({names})" if names else "")
    on = f" on {blocked.table}" if blocked.table else ""
    return f"{who} has waited {seconds(blocked.waiting_s)} for a lock of the run{on}"


def _query(target: TargetVitals, limits: Limits, _: GuardSettings) -> Seen | Hidden | None:
    if target.query is None:
        return None
    level = limits.above(target.query)
    words = f"guard.query gives {target.query:g}{limits.passed(level, lambda limit: f'{limit:g}')}"
    return Seen(level, words, target.query, limits.excess(target.query))


# --- MongoDB ----------------------------------------------------------------------------------------------------------


def _tickets(source: SourceVitals, limits: Limits, _: GuardSettings) -> Seen | Hidden:
    used, total = source.read_tickets_used, source.read_tickets
    if used is None or not total:
        return _untold("how many read tickets are in use")
    free = max(0, total - used)
    share = 100 * free / total
    level = limits.below(share)
    words = f"MongoDB has {free} of {total} read tickets free{limits.passed(level, lambda limit: f'{limit:g}%')}"
    return Seen(level, words, round(share, 1), 1 / limits.excess(share) if share else float("inf"))


def _queue(source: SourceVitals, limits: Limits, _: GuardSettings) -> Seen | Hidden:
    if source.reads_queued is None and source.writes_queued is None:
        return _unseen(source.unseen, "read tickets") or _untold("how many operations wait")
    queued = (source.reads_queued or 0) + (source.writes_queued or 0)
    level = limits.above(queued)
    words = f"{counted(queued, 'operation waits', 'operations wait')} in MongoDB's queues"
    return Seen(level, words + limits.passed(level, lambda limit: f"{limit:,.0f}"), queued, limits.excess(queued))


def _secondaries(source: SourceVitals, limits: Limits, guard: GuardSettings) -> Seen | Hidden | None:
    if source.members is None:
        # Whether there is a replica set at all is asked less often; one that says so is seen by its flow control.
        return None if source.flow_control is None else _lagged(source, Seen(Level.FINE, "no secondary is known"))
    seen = _lagged(source, _lag(source.members, limits, guard, "secondary", "is"))
    unknown = next((each for each in _minded(source.members, guard) if each.lag_s is None), None)
    if seen.level is Level.FINE and unknown is not None:  # such as one that recovers, or that is down
        return Hidden(f"{unknown.name} is {unknown.state}: how far it is behind cannot be seen.")
    return seen


def _lagged(source: SourceVitals, seen: Seen) -> Seen:
    """Flow control that slows writes counts as a limit that is passed."""
    if source.flow_control and seen.level is Level.FINE:
        return Seen(Level.SOFT, "MongoDB's flow control slows writes, since secondaries are behind", seen.value, 1.0)
    return seen


# --- an operator's own ------------------------------------------------------------------------------------------------


def _command(view: VitalsView, limits: Limits, guard: GuardSettings) -> Seen | Hidden | None:
    own = view.own or OwnVitals()
    if (hidden := _unseen(own.unseen, "guard.command")) is not None:
        return hidden
    if own.exit_code is None:
        return None
    said = f": {own.output}" if own.output else ""
    level = {0: Level.FINE, 1: Level.SOFT, 2: Level.HARD}.get(own.exit_code)
    if level is None:
        return Hidden(f"guard.command ended with exit code {own.exit_code}{said}.")
    return Seen(level, f"guard.command ended with exit code {own.exit_code}{said}", own.exit_code, own.exit_code)


def _file(view: VitalsView, limits: Limits, guard: GuardSettings) -> Seen | Hidden | None:
    own = view.own or OwnVitals()
    if (hidden := _unseen(own.unseen, "guard.file")) is not None:
        return hidden
    if own.has_file is None:
        return None
    name = guard.file.strip()
    return (
        Seen(Level.HARD, f"file {name} exists", 1.0, 1.0) if own.has_file else Seen(Level.FINE, f"no file {name}", 0.0)
    )


# --- what they have in common -----------------------------------------------------------------------------------------


def _lag(standbys: Sequence[StandbyView], limits: Limits, guard: GuardSettings, word: str, does: str) -> Seen:
    """The one that is furthest behind of those that may not be."""
    known = [(each.lag_s, each.name) for each in _minded(standbys, guard) if each.lag_s is not None]
    if not known:
        return Seen(Level.FINE, f"no {word} is behind", 0.0)
    lag_s, name = max(known)
    level = limits.above(lag_s)
    return Seen(
        level,
        f"{word} {name} {does} {seconds(lag_s)} behind{limits.passed(level, seconds)}",
        lag_s,
        limits.excess(lag_s),
    )


def _minded(standbys: Sequence[StandbyView], guard: GuardSettings) -> list[StandbyView]:
    """Those that may not be behind."""
    return [each for each in standbys if not any(fnmatchcase(each.name, pattern) for pattern in guard.ignore)]


def _not_now(server: TargetVitals | SourceVitals | None) -> Hidden | None:
    """The server is not looked at: not yet, or for a reason."""
    if server is None or (server.age_s is None and not server.problem):
        return None
    return Hidden(server.problem or f"It was not seen for more than {STALE_S:.0f} s.")


def _unseen(unseen: Sequence[Unseen], what: str) -> Hidden | None:
    found = next((each for each in unseen if each.what == what), None)
    return Hidden(found.why, found.remedy) if found is not None else None


def _untold(what: str) -> Hidden:
    return Hidden(f"The server does not tell {what}.")


def seconds(value: float) -> str:
    """`14 s`, `2.5 s`, `12 min`."""
    if value >= 600:
        return f"{value / 60:.0f} min"
    return f"{value:.0f} s" if value >= 10 or value == int(value) else f"{value:.1f} s"


def size(value: float) -> str:
    """`1.5 GB`, as settings count: in thousands."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= factor:
            return f"{value / factor:.1f} {unit}"
    return f"{value:.0f} bytes"


_Sees = Callable[[VitalsView, Limits, GuardSettings], Seen | Hidden | None]
_GUARDS: Mapping[str, _Sees] = {
    "standby_lag": _of(_target, _standbys, "replica lag"),
    "disk_free": _of(_target, _disk, "free disk space"),
    "slots": _of(_target, _slots, "replication slots"),
    "slot_wal": _of(_target, _slot_wal, "replication slots"),
    "blocked": _of(_target, _blocked, "sessions that wait for the run"),
    "tickets": _of(_source, _tickets, "read tickets"),
    "queue": _of(_source, _queue, "operations that wait"),
    "secondary_lag": _of(_source, _secondaries, "replica lag"),
    "query": _of(_target, _query, "guard.query"),
    "command": _command,
    "file": _file,
}
"""Every guard, by the setting that is its limit."""
