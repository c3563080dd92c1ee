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
from engine.service.client import EngineClient
from tui.cli.headless import ended, started
from tui.cli.output import note
from tui.signals import handling

END_TIMEOUT_S = 2.0
INTERRUPTED_S = 0.3
"""How long an engine that was interrupted may take to end by itself: it may wait for a server that swallows packets, and has
nothing to lose."""

Follow = Callable[[EngineClient], Coroutine[Any, Any, None]]
Conversation = Callable[[EngineClient], Coroutine[Any, Any, Any]]


def ask(settings: Settings, question: BaseModel, follow: Follow | None = None) -> Any:
    """Start an engine, ask it one thing, end it; returns the answer, or raises the engine's MigrationError.

    An interrupt is answered at once, and the engine ended, whatever it waits for.

    Args:
        follow: says on stderr what the engine's messages tell, until the answer.
    """
    return talk(settings, lambda client: _answered(client, question, follow))


def talk(settings: Settings, conversation: Conversation) -> Any:
    """Start an engine, ask it one thing after the other, end it; returns what the conversation does. Otherwise as `ask`."""
    return asyncio.run(_talk(settings, conversation))


async def _talk(settings: Settings, conversation: Conversation) -> Any:
    talking = asyncio.create_task(_talked(settings, conversation), name="answer")
    is_interrupted = False

    def interrupt() -> None:
        nonlocal is_interrupted
        if not is_interrupted:
            note("Interrupted: the engine is being ended.")
        is_interrupted = True
        talking.cancel()

    with handling({signal.SIGINT: interrupt}):
        try:
            return await talking
        except asyncio.CancelledError:
            if is_interrupted:
                raise Cancelled("Interrupted.") from None
            raise


async def _talked(settings: Settings, conversation: Conversation) -> Any:
    process = await started(settings)
    try:
        client = await EngineClient.connect(process.socket, owner=True, on_disconnect="cancel")
        try:
            return await conversation(client)
        finally:
            await client.close()
    except asyncio.CancelledError:
        await asyncio.shield(asyncio.to_thread(process.end, INTERRUPTED_S))
        raise
    finally:
        await ended(process, END_TIMEOUT_S)


async def _answered(client: EngineClient, question: BaseModel, follow: Follow | None) -> Any:
    following = asyncio.create_task(follow(client), name="progress") if follow is not None else None
    try:
        return await client.call(question)
    finally:
        if following is not None:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
