"""The engine's own steps in a run, such as a look into the ledger or a key to build: what is done when a server fails one.

Workers have ways of their own with their leases (`engine.work.connections`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from engine.config import redact
from engine.failures import DISK_FULL, HELP, LOCK_NOT_AVAILABLE, TOO_MANY_CONNECTIONS
from engine.protocol import ProblemReported
from engine.retries import Patience
from engine.run.context import RunContext
from engine.work.connections import EXPLAINED, failure_of

CROWDED_S = 15.0
"""Sessions of others may end by themselves within this; then an operator has to do something about them."""
LOCKED_S = 120.0
"""Transactions of others may end by themselves within this; then the run says that it is paused, and looks now and then."""
LOCK_WAITS_S = (1.0, 10.0)
"""The shortest and longest wait before a lock is tried again: readers queue behind the session that waits for the swap's."""
AWAY_AGAIN_S = 5.0
"""A server that is away for long is tried again this often, by a run that waits for it."""
LOCK_AGAIN_S = 15.0
"""A run that is paused for a lock tries again this often: its holder releases it some day, and need not know of the run."""

Result = TypeVar("Result")


async def insist(context: RunContext, step: Callable[[], Awaitable[Result]]) -> Result:
    """Take a step until it is done; it must be one that may be begun any number of times.

    A server that struggles is tried again with back-off. Where an operator has to help, the run pauses until it is resumed;
    for another session's lock, also until that is gone. A run that follows its source waits for a server however long.

    Raises:
        MigrationError, asyncpg.PostgresError, PyMongoError, OSError: trying again does not help, or did not for too long.
        Cancelled: so asked while the run was paused, or waited for a server.
    """
    patience, crowd = Patience(), Patience(CROWDED_S)
    locked = Patience(LOCKED_S, first_wait_s=LOCK_WAITS_S[0], longest_wait_s=LOCK_WAITS_S[1])
    told = awaited = ""
    while True:
        try:
            result = await step()
            if told:
                context.go_on(HELP[LOCK_NOT_AVAILABLE].reason)
            return result
        except EXPLAINED as error:
            failure = failure_of(error)
            code, sentence = failure.code, failure.sentence
            waiting = {TOO_MANY_CONNECTIONS: crowd, LOCK_NOT_AVAILABLE: locked}.get(code, patience)
            if code == LOCK_NOT_AVAILABLE and not locked.is_left:
                if told != sentence:
                    message = f"{redact(sentence)} The run is paused: {HELP[code].advice}."
                    context.emit(ProblemReported(code=code, message=message))
                    told = sentence
                await context.stand(HELP[code].reason, LOCK_AGAIN_S)
                if not context.is_paused:
                    told = ""
                    locked.renew()
            elif code == DISK_FULL or (code == TOO_MANY_CONNECTIONS and not crowd.is_left):
                message = f"{redact(sentence)} The run is paused: {HELP[code].advice}, then resume it."
                context.emit(ProblemReported(code=code, message=message))
                await context.stand(HELP[code].reason)
                patience.renew()
                crowd.renew()
            elif failure.is_transient and waiting.is_left:
                context.emit(ProblemReported(code=code, message=redact(sentence), retry=True))
                await waiting.wait()
            elif failure.is_transient and context.waits_for_servers:
                if awaited != sentence:
                    awaited = sentence
                    message = f"{redact(sentence)} The run waits for it, and goes on by itself."
                    context.emit(ProblemReported(code=code, message=message, retry=True))
                await context.interruptible(asyncio.sleep(AWAY_AGAIN_S))
            else:
                raise


async def together(*steps: Coroutine[Any, Any, None]) -> None:
    """Take steps side by side; when one fails the others are ended, so that none goes on behind the run's back."""
    tasks = [asyncio.create_task(step) for step in steps]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
