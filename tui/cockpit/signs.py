"""States as a symbol, a word and a colour: the colour is never the only sign."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from engine.protocol import RunInfo, RunState, Snapshot, Verification, WorkerState
from tui.words.run_status import is_interrupted
from tui.words.safe import safe

MUTED = "$foreground 75%"
"""The style of what matters less; `$text-muted` itself only works in stylesheets."""


@dataclass(frozen=True, slots=True)
class Sign:
    """How a state is shown."""

    symbol: str
    """One cell."""
    word: str
    colour: str
    """A theme variable."""

    def __str__(self) -> str:
        return f"{self.symbol} {self.word}"


_RUN = {
    RunState.IDLE: Sign("◌", "idle", MUTED),
    RunState.SEEDING: Sign("●", "seeding", "$success"),
    RunState.STARTING: Sign("●", "starting", "$success"),
    RunState.RUNNING: Sign("●", "running", "$success"),
    RunState.PAUSING: Sign("‖", "pausing", "$warning"),
    RunState.PAUSED: Sign("‖", "paused", "$warning"),
    RunState.FINISHING: Sign("◐", "finishing", "$success"),
    RunState.CANCELLING: Sign("×", "cancelling", "$warning"),
    RunState.COMPLETED: Sign("✓", "completed", "$success"),
    RunState.CANCELLED: Sign("×", "cancelled", "$warning"),
    RunState.FAILED: Sign("!", "failed", "$error"),
}
_VERIFYING = Sign("◐", "verifying", "$success")
_VERIFICATION = {
    Verification.VERIFIED: Sign("✓", "verified", "$success"),
    Verification.MISMATCH: Sign("!", "mismatch", "$error"),
}
INTERRUPTED = Sign("!", "interrupted", "$error")
"""In the ledger as going on, but without an engine."""
LOST = Sign("!", "engine lost", "$error")
NO_RUN = Sign("◌", "no run", MUTED)

WORKER = {
    WorkerState.STARTING: Sign("◌", "starting", MUTED),
    WorkerState.IDLE: Sign("·", "idle", MUTED),
    WorkerState.READING: Sign("↓", "reading", "$success"),
    WorkerState.CONVERTING: Sign("◆", "converting", "$success"),
    WorkerState.WRITING: Sign("↑", "writing", "$success"),
    WorkerState.SEEDING: Sign("+", "seeding", "$success"),
    WorkerState.COMPARING: Sign("=", "comparing", "$success"),
    WorkerState.RETRYING: Sign("↻", "retrying", "$warning"),
    WorkerState.THROTTLED: Sign("≈", "throttled", "$warning"),
    WorkerState.DRAINING: Sign("-", "draining", "$warning"),
    WorkerState.STALLED: Sign("!", "stalled", "$error"),
    WorkerState.PAUSED: Sign("‖", "paused", "$warning"),
}


def sign_of(run: RunInfo, now: Callable[[], float] = time.time) -> Sign:
    """How a run of the ledger ended; or that it goes on, or has lost its engine. A newer version's word stays."""
    if is_interrupted(run, now):
        return INTERRUPTED
    try:
        known, found = RunState(run.state), Verification(run.verification)
    except ValueError:
        return Sign("?", safe(run.state, 20), MUTED)
    return _VERIFICATION.get(found, _RUN[known]) if known is RunState.COMPLETED else _RUN[known]


def run_sign(snapshot: Snapshot, is_lost: bool = False) -> Sign:
    """The run's sign; a run that is over says what the verification found."""
    if is_lost:
        return LOST
    if snapshot.state is RunState.COMPLETED:
        return _VERIFICATION.get(snapshot.verification, _RUN[snapshot.state])
    if snapshot.state is RunState.FINISHING and snapshot.verification is Verification.RUNNING:
        return _VERIFYING
    return _RUN[snapshot.state]
