"""What `runs` does, and what others need to: start an engine, ask it one thing, print the answer, end it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Coroutine
from typing import Any

from pydantic import BaseModel

from engine.config import Loaded, Settings
from engine.errors import EXIT_DONE, Cancelled
from engine.protocol import DiscardRun, ListRuns, RunInfo
from engine.service.client import EngineClient, EngineProcess
from tui.cli.headless import ended, started
from tui.cli.output import note, say, say_json
from tui.cli.run import require
from tui.signals import handling
from tui.words.format import NO_NUMBER, duration, number, rate
from tui.words.run_status import driven_s, outcome_words, rows_per_s
from tui.words.safe import safe
from tui.words.tables import text_table

END_TIMEOUT_S = 2.0
INTERRUPTED_S = 1.0
"""How long an engine that was interrupted may take to end by itself: it may wait for a server that swallows packets."""

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

    An interrupt is answered at once, and the engine ended, whatever it waits for.

    Args:
        follow: tells people, while the engine is at it, what its messages say; ended with the answer.
    """
    return asyncio.run(_ask(settings, question, follow))


async def _ask(settings: Settings, question: BaseModel, follow: Follow | None) -> Any:
    answering = asyncio.create_task(_answer(settings, question, follow), name="answer")
    is_interrupted = False

    def interrupt() -> None:
        nonlocal is_interrupted
        if not is_interrupted:
            note("Interrupted: the engine is being ended.")
        is_interrupted = True
        answering.cancel()

    with handling({signal.SIGINT: interrupt}):
        try:
            return await answering
        except asyncio.CancelledError:
            if is_interrupted:
                raise Cancelled("Interrupted.") from None
            raise


async def _answer(settings: Settings, question: BaseModel, follow: Follow | None) -> Any:
    process = await started(settings)
    try:
        return await _answered(process, question, follow)
    except asyncio.CancelledError:
        await asyncio.shield(asyncio.to_thread(process.end, INTERRUPTED_S))
        raise
    finally:
        await ended(process, END_TIMEOUT_S)


async def _answered(process: EngineProcess, question: BaseModel, follow: Follow | None) -> Any:
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
