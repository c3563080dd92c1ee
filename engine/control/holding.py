"""The hold on a run's target tables: advisory locks in a session of their own, for as long as the run needs them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import asyncpg

from engine.target import locks, postgres, sqlstates
from engine.target.ddl import TableName


class TableHold:
    """Keeps other runs out of some tables. The server forgets it when it restarts: renew it regularly."""

    def __init__(self, uri: str) -> None:
        """Nothing is held yet, in the database of `uri`."""
        self._uri = uri
        self._connection: asyncpg.Connection | None = None
        self._tables: tuple[TableName, ...] = ()

    async def take(self, tables: Sequence[TableName], app_name: str) -> None:
        """Hold the tables, all or none.

        Raises:
            TargetHeld: another run has one of them; the message says which.
        """
        if self._connection is None or self._connection.is_closed():
            self._connection = await postgres.connect(self._uri, application_name=app_name)
        await locks.hold_tables(self._connection, tables)
        self._tables = tuple(tables)

    async def renew(self, app_name: str) -> None:
        """Take the tables again when the session was lost; raises TargetHeld when another run has them by now."""
        if self._connection is not None and self._connection.is_closed():
            await self.take(self._tables, app_name)

    async def release(self) -> None:
        """Let the tables go, by ending the session."""
        if self._connection is not None and not self._connection.is_closed():
            with contextlib.suppress(*sqlstates.FAILURES):
                await self._connection.close(timeout=2.0)
