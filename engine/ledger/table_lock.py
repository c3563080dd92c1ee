"""The hold on a run's target tables: advisory locks in a session of their own, for as long as the run needs them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import asyncpg

from engine.errors import ConnectError, MigrationError, RunTaken, TargetHeld
from engine.ledger import table_locks
from engine.mapping.names import TableName
from engine.postgres import connect as postgres
from engine.postgres import sessions, sqlstates
from engine.postgres.sqlstates import UNREACHABLE

LOOK_S = 0.5
"""A hold that cannot be taken again at once is tried again so often."""
RETAKE_S = 3.0
"""Another run that came between releases the tables within this, when it sees that this one is alive."""

log = logging.getLogger(__name__)


class TableLock:
    """Keeps other runs out of some tables, and takes them again at once when its session was ended."""

    def __init__(
        self,
        uri: str,
        on_lost: Callable[[MigrationError], None],
        spare: Callable[[], asyncpg.Connection | None] = lambda: None,
        admit: Callable[[asyncpg.Connection], Awaitable[None]] | None = None,
    ) -> None:
        """Nothing is held yet, in the database of `uri`.

        Args:
            on_lost: called when the session was ended, and another run has the tables now, or no session can hold them.
            spare: another session of the run, which holds the tables where the server refuses a new login.
            admit: raises RunTaken for a session of an engine whose run another engine has taken over.
        """
        self.uri = uri
        self._on_lost = on_lost
        self._spare = spare
        self._admit = admit
        self._keeping: asyncio.Task[None] | None = None
        self._connection: asyncpg.Connection | None = None
        self._backend_pid = 0
        """Of the session that holds, or held, the tables."""
        self._holds = False
        self._tables: tuple[TableName, ...] = ()
        self._run_id = ""
        self._is_missed = asyncio.Event()
        self._turn = asyncio.Lock()

    async def take(self, tables: Sequence[TableName], app_name: str, run_id: str) -> None:
        """Hold the tables, all or none, until `release`.

        Raises:
            TargetHeld: another run has one of them; the message says which.
        """
        self._run_id = run_id
        await self._take(tables, app_name)
        self._tables = tuple(tables)
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep(app_name), name="keep the tables")

    @property
    def connection(self) -> asyncpg.Connection | None:
        """The session that holds the tables; None when there is none now."""
        is_there = self._connection is not None and not self._connection.is_closed()
        return self._connection if is_there else None

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[asyncpg.Connection | None]:
        """The session for other work, one user at a time, where there is no other to be had; None when it is gone, too, or is
        the one that others of the run use.
        """
        async with self._turn:
            yield None if self.connection is self._spare() else self.connection

    async def _take(self, tables: Sequence[TableName], app_name: str) -> None:
        if self.connection is None:
            self._holds = False
            self._connection = await postgres.connect(self.uri, application_name=app_name)
            self._connection.add_termination_listener(self._miss)
        connection = self._connection
        assert connection is not None
        try:
            await self._be_admitted(connection)
            if self._backend_pid != connection.get_server_pid():
                # A network that broke on our side alone leaves a session that the server believes in: it would hold the
                # tables against us.
                await sessions.end(connection, self._backend_pid, app_name)
                self._backend_pid = connection.get_server_pid()
            await table_locks.hold_tables(connection, tables, self._run_id)
            self._holds = True
        except sqlstates.FAILURES:
            connection.terminate()
            raise

    async def _be_admitted(self, connection: asyncpg.Connection) -> None:
        try:
            if self._admit is not None:
                await self._admit(connection)
        except RunTaken:
            connection.terminate()
            raise

    def _miss(self, connection: object) -> None:
        if connection is self._connection:
            self._holds = False
            self._is_missed.set()

    async def _keep(self, app_name: str) -> None:
        refused_since: float | None = None
        told = ""
        while True:
            wait_s = LOOK_S
            self._is_missed.clear()
            if self._holds and self.connection is not None:
                await self._is_missed.wait()
            try:
                await self._take_again(app_name)
                refused_since, told = None, ""
                continue
            except RunTaken as error:
                self._on_lost(error)
                return
            except TargetHeld as error:
                # It may have seen that this run is alive, and be about to release them.
                refused_since = refused_since or time.monotonic()
                if time.monotonic() - refused_since > RETAKE_S:
                    log.error("another run has taken the tables")  # noqa: TRY400 - it is no bug
                    self._on_lost(error)
                    return
                wait_s = 0.1
            except ConnectError as error:
                if error.is_final:
                    log.error("the tables cannot be held any more: %s", error.message)  # noqa: TRY400 - it is no bug
                    self._on_lost(error)
                    return
                told = _told_once(told, error)
            except UNREACHABLE as error:
                told = _told_once(told, error)
            await asyncio.sleep(wait_s)

    async def _take_again(self, app_name: str) -> None:
        """With a session of its own, else with another one of the run."""
        try:
            await self._take(self._tables, app_name)
        except ConnectError as error:
            other = self._spare()
            if not error.is_final or other is None or other.is_closed():
                raise
            await table_locks.hold_tables(other, self._tables, self._run_id)
            other.add_termination_listener(self._miss)
            self._connection, self._backend_pid, self._holds = other, other.get_server_pid(), True

    async def release(self) -> None:
        """Let the tables go, by ending the session."""
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
        if self.connection is not None:
            with contextlib.suppress(*sqlstates.FAILURES):
                await self.connection.close(timeout=2.0)


def _told_once(told: str, error: Exception) -> str:
    """Log why the tables cannot be held, unless that was the last thing to be told: it may be so for hours."""
    if (name := type(error).__name__) != told:
        log.warning("the tables cannot be held now: %s", name)
    return name
