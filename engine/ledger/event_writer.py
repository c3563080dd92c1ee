"""What a run's engine tells the ledger while it lives: events for history and replay, and that it lives."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import asyncpg

from engine.errors import MigrationError, RunTaken
from engine.ledger import runs, taking
from engine.postgres import sqlstates
from engine.postgres.sqlstates import UNREACHABLE
from engine.protocol import DocumentsSeeded, Event, RunState, StateEntered

FLUSH_S = 0.5
"""Events are written to the ledger this often."""
HEARTBEAT_S = 2.0
NOT_KEPT = (DocumentsSeeded,)
"""Events that are only for the screen."""

log = logging.getLogger(__name__)


class EventWriter:
    """Events wait here until there is a run in the ledger, and while the ledger cannot be reached."""

    def __init__(
        self,
        session: Callable[[], AbstractAsyncContextManager[asyncpg.Connection]],
        on_lost: Callable[[MigrationError], None],
    ) -> None:
        """Not begun.

        Args:
            session: gives the engine's connection.
            on_lost: called when another engine has taken the run over.
        """
        self._on_lost = on_lost
        self._generation = taking.FIRST
        self.is_begun = False
        """There is a run in the ledger to write of."""
        self._session = session
        self._run_id = ""
        self._state: RunState | None = None
        self._events: list[tuple[int, float, str, dict[str, Any]]] = []
        self._next_seq = 0
        self._keeping: asyncio.Task[None] | None = None

    def note(self, event: Event) -> None:
        """Keep an event; of the run's state also what it is now, for readers of the ledger meanwhile."""
        if isinstance(event, StateEntered):
            self._state = event.state
        if not isinstance(event, NOT_KEPT):
            facts = event.facts | {"clock": event.clock} if event.clock else event.facts
            self._events.append((self._next_seq, event.at, event.kind, facts))
            self._next_seq += 1

    def begin(self, run_id: str, next_seq: int = 0, generation: int = taking.FIRST) -> None:
        """Write from now on.

        Args:
            generation: of the engine.
            next_seq: number of the first event: a run that is resumed has some already.
        """
        self.is_begun = True
        self._run_id, self._generation = run_id, generation
        # Events noted before a resumed run was found got numbers from 0.
        self._events = [(next_seq + place, *rest) for place, (_, *rest) in enumerate(self._events)]  # type: ignore[misc]
        self._next_seq = next_seq + len(self._events)
        self._keeping = asyncio.create_task(self._keep(), name="keep events")

    async def _keep(self) -> None:
        beaten, told = time.monotonic(), ""
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                await self.flush()
                if time.monotonic() - beaten >= HEARTBEAT_S:
                    beaten = time.monotonic()
                    await self._beat()
                told = ""
            except RunTaken as error:
                self._on_lost(error)
                return
            except UNREACHABLE as error:
                sentence = sqlstates.describe(error)[1]
                if sentence != told:  # it may be so for hours
                    told = sentence
                    log.warning("the ledger cannot be reached now: %s", sentence)

    async def _beat(self) -> None:
        """Its end is written by the journal alone, with all that belongs to it."""
        state = self._state.value if self._state is not None and self._state.is_active else None
        async with self._session() as connection:
            await runs.heartbeat(connection, self._run_id, self._generation, state)

    async def flush(self) -> None:
        """Write what is there.

        Raises:
            MigrationError, asyncpg.PostgresError, OSError: nothing was lost, it is written the next time.
        """
        events, self._events = self._events, []
        if not events:
            return
        try:
            async with self._session() as connection:
                await runs.append_events(connection, self._run_id, events)
        except BaseException:
            self._events = events + self._events
            raise

    async def stop(self) -> None:
        """Write nothing more by itself; what was underway and is not written is there for `flush` again."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
