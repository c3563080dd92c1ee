"""One question to an engine: start one, ask it, end it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from pydantic import BaseModel

from engine.config import Settings
from engine.errors import Cancelled
from engine.service.client import EngineClient, EngineProcess
from tui.cli.headless import ended, started
from tui.cli.output import note
from tui.signals import handling

END_TIMEOUT_S = 2.0
INTERRUPTED_S = 1.0
"""How long an engine that was interrupted may take to end by itself: it may wait for a server that swallows packets."""

Follow = Callable[[EngineClient], Coroutine[Any, Any, None]]


def ask(settings: Settings, question: BaseModel, follow: Follow | None = None) -> Any:
    """Start an engine, ask it one thing, end it; returns the answer, or raises the engine's MigrationError.

    An interrupt is answered at once, and the engine ended, whatever it waits for.

    Args:
        follow: says on stderr what the engine's messages tell, until the answer.
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
