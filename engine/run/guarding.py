"""Guards at work in a run: what they see of the servers becomes a lower rate, or a pause, and goes away again by itself.

An operator's throttle and pause are never touched: the lower of both rates counts, and a run that is paused for both goes on
when both have ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from engine.config import Settings
from engine.guards.governor import Governor, Level, Step
from engine.guards.limits import Finding, Hidden, Seen, findings
from engine.protocol import Event, GuardActed, GuardBlind, GuardsView, RunState, VitalsView
from engine.run.record import RunRecord

HOLD_S = 30.0
"""What was past its limit and cannot be seen any more still counts for so long; then its guard says that it is blind."""
BLIND_S = 60.0
"""A guard that could see for so long in between says it again when it cannot."""
_SLOWED = frozenset({RunState.STARTING, RunState.RUNNING, RunState.SEEDING, RunState.PAUSING, RunState.PAUSED})
"""States in which slowing down makes sense: a key that is being built goes on, and others wait (`Guarding.hold_builds`)."""
_FOLLOWING = frozenset({RunState.FOLLOWING, RunState.DRAINING})
"""A run that follows its source is never held back: what it waits for too long, the source forgets."""


class Guarded(Protocol):
    """The run, for its guards."""

    @property
    def settings(self) -> Settings:
        """As they are now."""
        ...

    @property
    def record(self) -> RunRecord:
        """What is known of it."""
        ...

    @property
    def is_paused(self) -> bool:
        """Paused, or about to be."""
        ...

    def emit(self, event: Event) -> None:
        """A fact."""
        ...

    def tune(self) -> None:
        """Let workers know the page size and the rate of now."""
        ...

    def hold_back(self, reason: str) -> None:
        """Pause, where that can be; pages end first."""
        ...

    def go_on(self, reason: str) -> None:
        """Resume, unless it is paused for another reason."""
        ...


class Guarding:
    """The guards of one run."""

    def __init__(self, run: Guarded, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is slowed.

        Args:
            clock: seconds that do not jump.
        """
        self._run = run
        self._clock = clock
        self._governor = Governor(run.settings.guard.step_s)
        self._acted_at: float | None = None
        self._found: Sequence[Finding] = ()
        self._reason = ""
        """What the most severe guard sees, or saw last."""
        self._strictest = ""
        self._hold_reason = ""
        """Why the run is paused, as it was told; empty while guards do not pause it."""
        self._failed_at: dict[str, tuple[float, Level]] = {}
        """Guards whose limit was passed when they saw something last."""
        self._blind_at: dict[str, float] = {}
        """When a guard saw nothing last; it is told of once."""
        self._rows_per_s: int | None = None
        """What workers were told."""

    # --- for others ---------------------------------------------------------------------------------------------------

    @property
    def is_acting(self) -> bool:
        """The run is slowed or paused by a guard now."""
        return self._governor.is_acting

    def acted_since(self, at: float) -> bool:
        """The run was slowed or paused by a guard at some time since then: rates of that time tell nothing about the servers.

        Args:
            at: of the same clock, `time.monotonic()` unless a test has another.
        """
        return self.is_acting or (self._acted_at is not None and self._acted_at >= at)

    @property
    def pause_reason(self) -> str:
        """Why guards hold the run; empty while they do not."""
        return f"paused by guard {self._strictest}: {self._reason}" if self._governor.is_paused else ""

    @property
    def hold_reason(self) -> str:
        """Why the run is paused, as it was told when guards paused it; empty while they do not."""
        return self._hold_reason

    def hold(self) -> str:
        """Something else has paused the run, and would let it go now: guards hold it from here on. Returns why."""
        self._hold_reason = self.pause_reason
        return self._hold_reason

    def hold_builds(self) -> str:
        """Why no key or index is to be begun now, and the run is to be paused; empty where no guard is past its hard limit.

        What is begun can be neither slowed nor paused.
        """
        if self._hold_reason and self._run.is_paused:
            return self._hold_reason  # what ends the pause asks for the words with which it began
        now = self._clock()
        if not self._run.settings.guard.on or self._level(now) is not Level.HARD:
            return ""
        step = self._governor.look(now, Level.HARD, 0.0)
        self._remember()
        if step is not None:
            self._tell(step)
        return self.hold()

    def throttled(self, throttle: int) -> int:
        """The lower one of an operator's throttle, where 0 is off, and what guards let through."""
        most = self._governor.rows_per_s
        if most is None:
            return throttle
        allowed = max(1, round(most))
        return min(throttle, allowed) if throttle else allowed

    def view(self, vitals: VitalsView | None) -> GuardsView | None:
        """For front ends; None while the servers are not looked at."""
        if vitals is None:
            return None
        is_paused = bool(self._hold_reason) and self._run.is_paused
        is_slowed = self._governor.is_acting and self._run.record.state in _SLOWED
        most = self._governor.rows_per_s
        return GuardsView(
            on=self._run.settings.guard.on,
            action="paused" if is_paused else "slowed" if is_slowed else "",
            reason=self._reason if is_slowed else "",
            share=round(self._governor.share, 3),
            rows_per_s=max(1, round(most)) if most is not None else None,
            guards=[finding.view() for finding in self._found],
        )

    # --- by the clock -------------------------------------------------------------------------------------------------

    def look(self, vitals: VitalsView | None, rate: float) -> None:
        """Do what is due.

        Args:
            vitals: of the servers; None while they are not looked at.
            rate: rows per second that the run commits.
        """
        run, now, governor = self._run, self._clock(), self._governor
        if governor.is_acting:
            self._acted_at = now
        guard = run.settings.guard
        self._found = findings(guard, vitals)
        if not guard.on or run.record.state in _FOLLOWING:
            governor.release()
        elif vitals is not None and run.record.state in _SLOWED:
            self._tell_blind(now)
            level = self._level(now)
            throttle = run.record.knobs["throttle"]
            governor.step_s = guard.step_s
            step = governor.look(now, level, min(rate, throttle) if rate and throttle else rate or throttle)
            self._remember()
            if step is not None and step is not Step.RAISED:
                self._tell(step)
        self._apply()

    def _level(self, now: float) -> Level | None:
        """How things are with all of them together; None where what was past its limit cannot be seen just now."""
        worst, is_hidden = Level.FINE, False
        for finding in self._found:
            if finding.level is None:
                is_hidden = is_hidden or finding.name in self._failed_at
                continue
            worst = max(worst, finding.level)
            if finding.level is Level.FINE:
                self._failed_at.pop(finding.name, None)
            else:
                self._failed_at[finding.name] = (now, finding.level)
        names = {finding.name for finding in self._found}
        for name, (at, _) in list(self._failed_at.items()):
            if name not in names or now - at > HOLD_S:
                del self._failed_at[name]
        return None if worst is Level.FINE and is_hidden else worst

    def _remember(self) -> None:
        """What the most severe one sees."""
        first = self._found[0] if self._found else None
        if first is not None and isinstance(first.found, Seen) and first.found.level is not Level.FINE:
            self._strictest, self._reason = first.name, first.found.words

    def _tell(self, step: Step) -> None:
        failing = [each for each in self._found if isinstance(each.found, Seen) and each.found.level is not Level.FINE]
        others = [each.found.words for each in failing[1:] if isinstance(each.found, Seen)]
        most = self._governor.rows_per_s
        event = GuardActed(what=step.value, guard=self._strictest, reason=self._reason)
        if step in (Step.RESUMED, Step.LIFTED):
            event = GuardActed(what=step.value)
        if others:
            event = event.model_copy(update={"others": others})
        if most is not None and step is not Step.PAUSED:
            event = event.model_copy(update={"rows_per_s": max(1, round(most))})
        self._run.emit(event)

    def _tell_blind(self, now: float) -> None:
        """Say of each guard once why it sees nothing."""
        for finding in self._found:
            found = finding.found
            if not isinstance(found, Hidden) or finding.name in self._failed_at:
                continue
            before, self._blind_at[finding.name] = self._blind_at.get(finding.name), now
            if before is None or now - before > BLIND_S:
                blind = GuardBlind(guard=finding.name, why=found.why)
                self._run.emit(blind.model_copy(update={"remedy": found.remedy}) if found.remedy else blind)

    def _apply(self) -> None:
        """Let the run be as the governor has it."""
        most = self._governor.rows_per_s
        rows_per_s = max(1, round(most)) if most is not None else None
        if rows_per_s != self._rows_per_s:
            self._rows_per_s = rows_per_s
            self._run.tune()
        if self._governor.is_paused and not self._run.is_paused:
            self._hold_reason = self.pause_reason
            self._run.hold_back(self._hold_reason)
        elif not self._governor.is_paused and self._hold_reason:
            reason, self._hold_reason = self._hold_reason, ""
            self._run.go_on(reason)
