"""A run's states: which follows which, what may be asked of a run in each, and how pauses and stops fit in.

`Lifecycle` is the one place where a run's state changes while it lives; its end is the `finished` event.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.errors import UsageError
from engine.protocol import RunState

ROLLING_BACK = "rolling back"
"""What a stop does that does not wait for pages to be finished."""
_ENDS = frozenset({RunState.COMPLETED, RunState.CANCELLED, RunState.FAILED})
_STOPS = frozenset({RunState.CANCELLING, *_ENDS})
_PAUSES = frozenset({RunState.PAUSING, RunState.PAUSED})
_FOLLOWING = frozenset({RunState.FOLLOWING, RunState.DRAINING})
_WORK = frozenset({
    RunState.STARTING, RunState.SEEDING, RunState.RUNNING, RunState.FINISHING, RunState.HALTED, *_FOLLOWING,
})  # fmt: skip

TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.IDLE: frozenset({RunState.STARTING}),
    RunState.STARTING: frozenset({RunState.SEEDING, RunState.RUNNING, RunState.FINISHING, *_PAUSES, *_STOPS}),
    RunState.SEEDING: frozenset({RunState.STARTING, *_PAUSES, *_STOPS}),
    RunState.RUNNING: frozenset({RunState.FINISHING, RunState.FOLLOWING, RunState.HALTED, *_PAUSES, *_STOPS}),
    # Back to RUNNING where the target has lost what was committed last; pages are not written any more, so it pauses at once.
    RunState.FINISHING: frozenset({RunState.RUNNING, RunState.FOLLOWING, RunState.HALTED, RunState.PAUSED, *_STOPS}),
    # Back to FOLLOWING where a cut-over is called off; to RUNNING where a halt was decided about while the run was paused.
    RunState.FOLLOWING: frozenset({RunState.RUNNING, RunState.DRAINING, RunState.HALTED, *_PAUSES, *_STOPS}),
    RunState.DRAINING: frozenset({RunState.FOLLOWING, RunState.FINISHING, RunState.PAUSED, *_STOPS}),
    # Until an operator has decided about what became of the source.
    RunState.HALTED: frozenset({RunState.RUNNING, RunState.FINISHING, RunState.FOLLOWING, RunState.PAUSED, *_STOPS}),
    RunState.PAUSING: frozenset({RunState.PAUSED, *_WORK, *_STOPS}),
    RunState.PAUSED: frozenset({*_WORK, *_STOPS}),
    RunState.CANCELLING: _ENDS,
    RunState.COMPLETED: frozenset(),
    RunState.CANCELLED: frozenset(),
    RunState.FAILED: frozenset(),
}
"""What may follow each state; a state's phase may change at any time."""

MAY: dict[str, frozenset[RunState]] = {
    "start": frozenset({RunState.IDLE}),
    "pause": frozenset({RunState.SEEDING, RunState.STARTING, RunState.RUNNING, RunState.FOLLOWING}),
    "resume": _PAUSES,
    "cancel": frozenset({*_WORK, *_PAUSES, RunState.CANCELLING}),
    "cutover": frozenset({RunState.RUNNING, RunState.FOLLOWING}),
    "calloff": frozenset({RunState.RUNNING, RunState.FOLLOWING, RunState.DRAINING, RunState.FINISHING, *_PAUSES}),
    "resolve": frozenset(
        {RunState.RUNNING, RunState.FINISHING, RunState.FOLLOWING, RunState.DRAINING, RunState.HALTED, *_PAUSES}
    ),
    "set": frozenset(
        {
            RunState.IDLE,
            RunState.SEEDING,
            RunState.STARTING,
            RunState.RUNNING,
            RunState.FOLLOWING,
            RunState.HALTED,
            *_PAUSES,
        }
    ),
}
"""States in which a command is taken."""

NOW = {
    RunState.IDLE: "has not started",
    RunState.FINISHING: "is building keys and counting",
    RunState.DRAINING: "is being cut over",
    RunState.HALTED: "is halted, until `ctl resolve` says what is done about its source",
    RunState.CANCELLING: "is being cancelled",
    RunState.COMPLETED: "is completed",
    RunState.CANCELLED: "is cancelled",
    RunState.FAILED: "has failed",
}


def require(command: str, state: RunState) -> None:
    """Raise UsageError with the reason when a command is not taken in this state."""
    if state not in MAY[command]:
        now = NOW.get(state, f"is {state.value}")
        raise UsageError(f"The run {now}: there is nothing to {command}.", code="state")


class Lifecycle:
    """The state of a run that lives, and the work that a pause interrupted."""

    def __init__(self, tell: Callable[[RunState, str, str], None]) -> None:
        """Idle.

        Args:
            tell: makes a state known, with its phase and, of a pause, its reason.
        """
        self.state = RunState.IDLE
        self.phase = ""
        self.pause_reason = ""
        """Why it is paused, or was last."""
        self._tell = tell
        self._interrupted = (RunState.RUNNING, "copying")
        """What goes on after the pause."""

    @property
    def is_paused(self) -> bool:
        """Paused, or about to be."""
        return self.state in _PAUSES

    def enter(self, state: RunState, phase: str) -> None:
        """The run's own progress; a pause in force stays in force, and so does a stop."""
        if self.is_paused and state in _WORK:
            self._interrupted = (state, phase)
        elif self.state is not RunState.CANCELLING:
            self._move(state, phase)

    def pause(self, reason: str, phase: str) -> None:
        """Pages in hand are to end; `paused` says that they have."""
        self._interrupt(reason)
        self._move(RunState.PAUSING, phase, reason)

    def stand(self, reason: str) -> None:
        """Paused at once, in any state; one pause holds another up."""
        if not self.is_paused:
            self._interrupt(reason)
            self._move(RunState.PAUSED, "paused")

    def pause_for(self, reason: str) -> None:
        """What is paused already is so for another reason from here on."""
        self.pause_reason = reason
        self._tell(self.state, self.phase, reason)

    def paused(self) -> None:
        """No page is in hand any more."""
        if self.state is RunState.PAUSING:
            self._move(RunState.PAUSED, "paused", self.pause_reason)

    def resume(self) -> None:
        """What was interrupted goes on."""
        self._move(*self._interrupted)

    def cancel(self, *, now: bool) -> None:
        """It is to end as it is."""
        phase = f"cancelling: {ROLLING_BACK}" if now else "cancelling: workers end their pages"
        self._move(RunState.CANCELLING, phase)

    def end(self, state: RunState) -> None:
        """It is over; the `finished` event tells."""
        _check(self.state, state)
        self.state, self.phase = state, state.value

    def _interrupt(self, reason: str) -> None:
        self._interrupted = (self.state, self.phase)
        self.pause_reason = reason

    def _move(self, state: RunState, phase: str, reason: str = "") -> None:
        if (state, phase) == (self.state, self.phase):
            return
        _check(self.state, state)
        self.state, self.phase = state, phase
        self._tell(state, phase, reason)


def _check(before: RunState, state: RunState) -> None:
    if state is not before and state not in TRANSITIONS[before]:
        raise RuntimeError(f"a run cannot become {state.value} when it is {before.value}")
