"""Runs of the ledger: whether an engine is at them, and how they ended, in words."""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.protocol import RunInfo, RunState

SILENT_S = 30.0
"""An engine that has not said for so long that it lives drives its run no more."""
_ACTIVE = frozenset(state.value for state in RunState if state.is_active)


def is_driven(run: RunInfo, now: Callable[[], float] = time.time) -> bool:
    """An engine is at it."""
    return run.state in _ACTIVE and now() - run.heartbeat_unix <= SILENT_S


def is_interrupted(run: RunInfo, now: Callable[[], float] = time.time) -> bool:
    """Its engine went without a word about the run's end."""
    return run.state in _ACTIVE and not is_driven(run, now)


def driven_s(run: RunInfo, now: Callable[[], float] = time.time) -> float | None:
    """Seconds that engines were at it; None when one is at it again: the ledger is told of that time at its end."""
    if not is_driven(run, now):
        return run.seconds
    return now() - run.started_unix if not run.seconds else None


def rows_per_s(run: RunInfo, now: Callable[[], float] = time.time) -> float | None:
    """Its mean rate; None when it is not known."""
    seconds = driven_s(run, now)
    return run.written / seconds if seconds else None


def outcome_words(run: RunInfo, now: Callable[[], float] = time.time) -> str:
    """`completed, verified`; `interrupted, resumable`; the state alone while an engine is at it."""
    if is_driven(run, now):
        return run.state
    state = "interrupted" if is_interrupted(run, now) else run.state
    return f"{state}, {'resumable' if run.resumable else run.verification}"
