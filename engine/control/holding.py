"""The hold on a run's target tables: advisory locks in a session of their own, for as long as the run needs them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

import asyncpg

from engine.errors import MigrationError, TargetHeld
from engine.target import locks, postgres, sqlstates
from engine.target.ddl import TableName

LOOK_S = 0.5
"""A hold that the server has forgotten, because it restarted or the session broke, is missed within this."""

UNREACHABLE: tuple[type[Exception], ...] = (MigrationError, *sqlstates.FAILURES)
"""What a use of the target raises when the server is not there."""

_END_SESSION = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE pid = $1 AND application_name = $2 AND datname = current_database()
"""
"""A network that broke on our side alone leaves a session that the server believes in: it would hold the tables against us."""

log = logging.getLogger(__name__)


class TableHold:
    """Keeps other runs out of some tables, and takes them again when the server forgot it."""

    def __init__(self, uri: str, on_lost: Callable[[MigrationError], None]) -> None:
        """Nothing is held yet, in the database of `uri`.

        Args:
            on_lost: called when the server forgot the hold, and another run has the tables now.
        """
        self._uri = uri
        self._on_lost = on_lost
        self._keeping: asyncio.Task[None] | None = None
        self._connection: asyncpg.Connection | None = None
        self._backend_pid = 0
        """Of the session that holds, or held, the tables."""
        self._tables: tuple[TableName, ...] = ()

    async def take(self, tables: Sequence[TableName], app_name: str) -> None:
        """Hold the tables, all or none, until `release`.

        Raises:
            TargetHeld: another run has one of them; the message says which.
        """
        await self._take(tables, app_name)
        self._tables = tuple(tables)
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep(app_name), name="keep the tables")

    async def _take(self, tables: Sequence[TableName], app_name: str) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await postgres.connect(self._uri, application_name=app_name)
        try:
            if self._backend_pid != self._connection.get_server_pid():
                await self._connection.execute(_END_SESSION, self._backend_pid, app_name)
                self._backend_pid = self._connection.get_server_pid()
            await locks.hold_tables(self._connection, tables)
        except sqlstates.FAILURES:
            self._connection.terminate()  # a session that stands is taken for one that holds
            raise

    async def _keep(self, app_name: str) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if self._connection is not None and not self._connection.is_closed():
                continue
            try:
                await self._take(self._tables, app_name)
            except TargetHeld as error:
                log.error("while the server was away, another run took the tables")  # noqa: TRY400 - it is no bug
                self._on_lost(error)
                return
            except UNREACHABLE as error:
                log.warning("the tables cannot be held now: %s", type(error).__name__)

    async def release(self) -> None:
        """Let the tables go, by ending the session."""
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
        if self._connection is not None and not self._connection.is_closed():
            with contextlib.suppress(*sqlstates.FAILURES):
                await self._connection.close(timeout=2.0)
