"""What `runs` does, and what others need to: start an engine, ask it one thing, print the answer, end it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any

from pydantic import BaseModel

from engine.config import Loaded, Settings
from engine.control.client import EngineClient
from engine.control.protocol import (
    DiscardRun,
    ListRuns,
    RunInfo,
)
from engine.errors import EXIT_DONE
from tui.driven import driven_s, outcome_words, rows_per_s
from tui.format import NO_NUMBER, duration, number, rate
from tui.headless import ended, started
from tui.output import say, say_json
from tui.running import require
from tui.safe import safe
from tui.tables import text_table

END_TIMEOUT_S = 2.0

Follow = Callable[[EngineClient], Coroutine[Any, Any, None]]


def show_runs(loaded: Loaded, *, as_json: bool) -> int:
    """Print the runs in the ledger."""
    require(loaded, "target")
    answer = ask(loaded.settings, ListRuns())
    if as_json:
        say_json(answer)
    else:
        say(_runs_text([RunInfo.model_validate(run) for run in answer["runs"]]))
    return EXIT_DONE


def discard_run(loaded: Loaded, run_id: str, *, as_json: bool) -> int:
    """Drop a run's staging tables and its rows in the ledger."""
    require(loaded, "target")
    answer = ask(loaded.settings, DiscardRun(run=run_id))
    if as_json:
        say_json(answer)
    else:
        say(f"Run {safe(str(answer.get('run_id', run_id)))} is discarded; its target tables stay.")
    return EXIT_DONE


def ask(settings: Settings, question: BaseModel, follow: Follow | None = None) -> Any:
    """Start an engine, ask it one thing, end it; returns the answer, or raises the engine's MigrationError.

    Args:
        follow: tells people, while the engine is at it, what its messages say; ended with the answer.
    """
    return asyncio.run(_answer(settings, question, follow))


async def _answer(settings: Settings, question: BaseModel, follow: Follow | None) -> Any:
    process = await started(settings)
    try:
        client = await EngineClient.connect(process.socket, owner=True, on_disconnect="cancel")
        following = asyncio.create_task(follow(client), name="progress") if follow is not None else None
        try:
            return await client.call(question)
        finally:
            if following is not None:
                following.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await following
            await client.close()
    finally:
        await ended(process, END_TIMEOUT_S)


# --- text -------------------------------------------------------------------------------------------------------------


def _runs_text(runs: list[RunInfo]) -> str:
    if not runs:
        return "There are no runs in the ledger of this target."
    rows = [
        [
            run.run_id,
            time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started_unix)),
            ", ".join(run.collections),
            run.mode,
            number(run.written),
            duration(driven_s(run)),
            rate(speed) if (speed := rows_per_s(run)) is not None else NO_NUMBER,
            number(run.rejected),
            number(sum(run.altered.values())),
            outcome_words(run),
        ]
        for run in runs
    ]
    headings = ["run", "when", "collections", "mode", "rows", "time", "rows/s", "rejects", "altered", "outcome"]
    return text_table(headings, rows, right={4, 5, 6, 7, 8})
