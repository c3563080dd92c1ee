"""States as a symbol, a word and a colour: the colour is never the only sign."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from engine.protocol import ReplacedTables, RunInfo, RunState, Snapshot, TableState, Verification, WorkerState
from tui.words.format import number
from tui.words.run_status import is_interrupted, verification_words
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
    RunState.FOLLOWING: Sign("»", "following", "$success"),
    RunState.DRAINING: Sign("◐", "draining", "$success"),
    RunState.HALTED: Sign("!", "halted", "$error"),
    RunState.CANCELLING: Sign("×", "stopping", "$warning"),
    RunState.COMPLETED: Sign("✓", "completed", "$success"),
    RunState.CANCELLED: Sign("×", "stopped", "$warning"),
    RunState.FAILED: Sign("!", "failed", "$error"),
}
_VERIFYING = Sign("◐", "verifying", "$success")
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


TABLE = {
    TableState.WAITING: Sign("·", "waiting", MUTED),
    TableState.COPYING: Sign("●", "copying", "$success"),
    TableState.PAUSED: Sign("‖", "paused", "$warning"),
    TableState.COPIED: Sign("·", "copied", "$success"),
    TableState.BUILDING_KEY: Sign("◐", "building key", "$success"),
    TableState.BUILDING_INDEXES: Sign("◐", "indexes", "$success"),
    TableState.FOLLOWING: Sign("»", "following", "$success"),
    TableState.DONE: Sign("✓", "done", "$success"),
    TableState.PARKED: Sign("!", "parked", "$error"),
    TableState.DIFFERS: Sign("!", "mismatch", "$error"),
    TableState.STOPPED: Sign("×", "stopped", "$warning"),
}


def table_sign(state: str) -> Sign:
    """The sign of a table's state; a newer version's word stays."""
    try:
        return TABLE[TableState(state)]
    except ValueError:
        return Sign("?", safe(state, 20), MUTED)


def sign_of(run: RunInfo, now: Callable[[], float] = time.time) -> Sign:
    """How a run of the ledger ended; or that it goes on, or has lost its engine. A newer version's word stays."""
    if is_interrupted(run, now):
        return INTERRUPTED
    try:
        known, found = RunState(run.state), Verification(run.verification)
    except ValueError:
        return Sign("?", safe(run.state, 20), MUTED)
    if known is not RunState.COMPLETED:
        return _RUN[known]
    return verified_sign(
        found, run.verification_level, run.rejected, before_retry=run.verified_before_retry, replaced=run.replaced_since
    )


def verified_sign(
    verification: Verification,
    level: str,
    rejected: int,
    *,
    before_retry: bool = False,
    replaced: ReplacedTables | None = None,
) -> Sign:
    """How a run that is complete was verified, if it was, and how many documents it rejected.

    Args:
        before_retry: every document was compared, and a retry of rejects has written rows since.
        replaced: tables that are not any more what was compared.
    """
    words = verification_words(verification.value, level, rejected, before_retry=before_retry, replaced=replaced)
    if verification is Verification.MISMATCH:
        return Sign("!", words, "$error")
    if verification is Verification.RUNNING:
        return Sign("◐", f"comparing, {number(rejected)} rejected" if rejected else "comparing", "$success")
    if verification is not Verification.VERIFIED:
        return _RUN[RunState.COMPLETED]
    if replaced is not None:
        return Sign("!", words, "$warning")
    return Sign("✓", words, "$warning" if rejected or before_retry else "$success")


def run_sign(snapshot: Snapshot, is_lost: bool = False) -> Sign:
    """The run's sign; a run that is over says what the verification found."""
    if is_lost:
        return LOST
    if snapshot.state is RunState.COMPLETED:
        return verified_sign(
            snapshot.verification,
            snapshot.verification_level,
            snapshot.rejected,
            before_retry=snapshot.verified_before_retry,
            replaced=snapshot.replaced_since,
        )
    if snapshot.state is RunState.FINISHING and snapshot.verification is Verification.RUNNING:
        return _VERIFYING
    return _RUN[snapshot.state]
