"""The engine's own steps, such as a look into the ledger or a key to build: what is done when a server fails one.

Workers have ways of their own with their leases (`engine.work.connections`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from engine.config import redact
from engine.postgres.sqlstates import DISK_FULL, LOCK_NOT_AVAILABLE, TOO_MANY_CONNECTIONS
from engine.protocol import ProblemReported
from engine.work.connections import EXPLAINED, explain
from engine.work.retry import Patience

if TYPE_CHECKING:
    from engine.run.run import Migration

CROWDED_S = 15.0
"""Other people's connections may end by themselves within this; then somebody has to do something about them."""
LOCKED_S = 120.0
"""Other people's transactions may end by themselves within this; then the run says that it stands, and looks now and then."""
LOCK_WAITS_S = (1.0, 10.0)
"""The shortest and longest wait before a lock is tried again: readers queue behind whoever waits for the swap's."""
LOCK_AGAIN_S = 15.0
"""A run that stands for a lock tries again this often: whoever holds it lets it go some day, and need not know of us."""
HELP = {
    DISK_FULL: ("make room on the target's server", "waiting: the target's disk is full"),
    TOO_MANY_CONNECTIONS: ("end other sessions of the target, or raise its limit", "waiting: target connections"),
    LOCK_NOT_AVAILABLE: (
        "it goes on by itself when that session has let go; end it to go on sooner",
        "waiting: a lock on a target table",
    ),
}
"""What only people can do, by SQLSTATE: their part in a sentence, and the reason why the run stands."""

Result = TypeVar("Result")


async def insist(migration: Migration, step: Callable[[], Awaitable[Result]]) -> Result:
    """Take a step until it is done; it must be one that may be begun any number of times.

    A server that struggles is tried again with back-off. Where somebody has to help, the run pauses until it is resumed; where
    it is somebody's lock, also until that is gone.

    Raises:
        MigrationError, asyncpg.PostgresError, PyMongoError, OSError: trying again does not help, or did not for too long.
        Cancelled: so asked while the run was paused.
    """
    patience, crowd = Patience(), Patience(CROWDED_S)
    locked = Patience(LOCKED_S, first_wait_s=LOCK_WAITS_S[0], longest_wait_s=LOCK_WAITS_S[1])
    told = ""
    while True:
        try:
            result = await step()
            if told:
                migration.go_on(HELP[LOCK_NOT_AVAILABLE][1])
            return result
        except EXPLAINED as error:
            code, sentence, is_transient = explain(error)
            waiting = {TOO_MANY_CONNECTIONS: crowd, LOCK_NOT_AVAILABLE: locked}.get(code, patience)
            if code == LOCK_NOT_AVAILABLE and not locked.is_left:
                advice, reason = HELP[code]
                if told != sentence:
                    message = f"{redact(sentence)} The run is paused: {advice}."
                    migration.emit(ProblemReported(code=code, message=message))
                    told = sentence
                await migration.stand(reason, LOCK_AGAIN_S)
                if not migration.is_paused:
                    told = ""
                    locked.renew()
            elif code == DISK_FULL or (code == TOO_MANY_CONNECTIONS and not crowd.is_left):
                advice, reason = HELP[code]
                message = f"{redact(sentence)} The run is paused: {advice}, then resume it."
                migration.emit(ProblemReported(code=code, message=message))
                await migration.stand(reason)
                patience.renew()
                crowd.renew()
            elif is_transient and waiting.is_left:
                migration.emit(ProblemReported(code=code, message=redact(sentence), retry=True))
                await waiting.wait()
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
