"""Runs of the ledger: whether they go on, and how they ended, as text."""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.protocol import RunInfo, RunState

SILENT_S = 30.0
"""Seconds without a sign of life after which an engine counts as gone."""
_ACTIVE = frozenset(state.value for state in RunState if state.is_active)


def goes_on(run: RunInfo, now: Callable[[], float] = time.time) -> bool:
    """An engine is working on it."""
    return run.state in _ACTIVE and now() - run.heartbeat_unix <= SILENT_S


def is_interrupted(run: RunInfo, now: Callable[[], float] = time.time) -> bool:
    """Its engine is gone, and the run had not ended."""
    return run.state in _ACTIVE and not goes_on(run, now)


def run_seconds(run: RunInfo, now: Callable[[], float] = time.time) -> float | None:
    """Seconds that engines have worked on it; None while one does so again: the ledger has that time at the run's end."""
    if not goes_on(run, now):
        return run.seconds
    return now() - run.started_unix if not run.seconds else None


def rows_per_s(run: RunInfo, now: Callable[[], float] = time.time) -> float | None:
    """Its mean rate; None when it is not known."""
    seconds = run_seconds(run, now)
    return run.written / seconds if seconds else None


def outcome_words(run: RunInfo, now: Callable[[], float] = time.time) -> str:
    """`completed, verified`; `interrupted, resumable`; the state alone while it goes on."""
    if goes_on(run, now):
        return run.state
    state = "interrupted" if is_interrupted(run, now) else run.state
    return f"{state}, {'resumable' if run.resumable else run.verification}"
