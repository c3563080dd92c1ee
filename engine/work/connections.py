"""A worker's two ends: connections made when first needed and kept from lease to lease, and what to do when one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg
from pymongo.errors import PyMongoError

from engine import failures
from engine.errors import ConnectError, MigrationError
from engine.failures import Failure
from engine.mongo import connect as mongo
from engine.mongo import faults
from engine.postgres import connect as postgres
from engine.postgres import sqlstates
from engine.retries import Patience
from engine.work.context import WorkerContext
from engine.work.feed import Threads
from engine.work.messages import Connected, Failed, Lease, Problem

SERVER_FAILURES: tuple[type[Exception], ...] = (PyMongoError, *sqlstates.FAILURES)
"""What either server's failures raise."""
EXPLAINED: tuple[type[Exception], ...] = (MigrationError, *SERVER_FAILURES)
"""What `failure_of` has a sentence for."""
LEAVING_S = 1.0
"""Seconds that a polite end of a connection may take."""


def _is_of_the_way(error: BaseException) -> bool:
    """No answer came, or none any more: nothing that the server has said of locks, memory or rows."""
    return isinstance(error, ConnectError) or faults.is_connection_lost(error) or sqlstates.is_broken_connection(error)


def failure_of(error: BaseException) -> Failure:
    """What a failure of either server, or an error of this program's own, means."""
    if isinstance(error, PyMongoError):
        return faults.failure_of(error)
    if isinstance(error, MigrationError):
        return failures.failure_of(error)
    return sqlstates.failure_of(error)


class Ends:
    """One kind of work's connections to both servers.

    Args:
        context: the worker's.
        waits_for_disk: False lets COMMIT return before PostgreSQL's disk has it: after a crash of the server rows and ledger
            are as they were a moment before, and what is lost is done again.
    """

    def __init__(self, context: WorkerContext, *, waits_for_disk: bool = True) -> None:
        self.patience = Patience()
        """Renewed with every progress."""
        self._context = context
        self._waits_for_disk = waits_for_disk
        self._threads: Threads | None = None
        self._clients: dict[str, mongo.Client] = {}
        """By member; the empty one is whichever the URI prefers."""
        self._connection: asyncpg.Connection | None = None

    @property
    def threads(self) -> Threads:
        """The threads for calls that block."""
        if self._threads is None:
            self._threads = Threads()
        return self._threads

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to PostgreSQL that is not closed."""
        return self._connection is not None and not self._connection.is_closed()

    async def target(self) -> asyncpg.Connection:
        """The connection to PostgreSQL; a new one when the last is gone.

        Raises:
            ConnectError: there is none.
        """
        if self._connection is None or self._connection.is_closed():
            self._connection = await postgres.connect(
                self._context.start.target_uri,
                application_name=self._context.start.app_name,
                synchronous_commit=self._waits_for_disk,
            )
            self._context.report(Connected(self._connection.get_server_pid()))
        return self._connection

    async def source(self, member: str = "") -> mongo.Client:
        """The client of MongoDB, or of one member of the replica set; it connects, and connects again, by itself."""
        if member not in self._clients:
            loop, start = asyncio.get_running_loop(), self._context.start
            self._clients[member] = await loop.run_in_executor(
                self.threads.reading,
                lambda: mongo.connect(start.source_uri, app_name=start.app_name, probe=False, member=member),
            )
        return self._clients[member]

    async def recover(
        self, error: Exception, lease: Lease, name_cause: Callable[[str], Awaitable[str]] | None = None
    ) -> Failed | None:
        """Drop the connection and wait before the next try; what to answer when there is no sense in one.

        Args:
            error: one of `EXPLAINED`.
            lease: in hand.
            name_cause: finds a better sentence for a failure's code than the failure has; empty when there is none.
        """
        failure = failure_of(error)
        sentence = failure.sentence
        if faults.is_of_old_client(error):
            self._drop_clients()
        if not self._is_whole(error):
            await self.abort()
        if name_cause is not None:
            sentence = await name_cause(failure.code) or sentence
        if not failure.is_transient or not self.patience.is_left:
            return Failed(
                lease, failure.code, sentence, fatal=True, is_refused=failure.is_refused, is_away=failure.is_transient,
                is_unreachable=failure.is_transient and _is_of_the_way(error),
            )  # fmt: skip
        self._context.report(Problem(failure.code, sentence))
        self._context.slot.state = "retrying"
        await self.patience.wait()
        return None

    def _drop_clients(self) -> None:
        """Have new connections to MongoDB made (`faults.is_of_old_client`)."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _is_whole(self, error: Exception) -> bool:
        """The connection to PostgreSQL has no part in a failure of the source, and is as good as before: a new one may not be
        had, such as after a change of the password.
        """
        return (
            isinstance(error, PyMongoError) and self.is_connected and not self._connection.is_in_transaction()  # type: ignore[union-attr]
        )

    async def abort(self) -> None:
        """Drop the connection to PostgreSQL: it rolls back at once, whatever state a COPY is in."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Close the connections to both servers."""
        if self._connection is not None and not self._connection.is_closed():
            with suppress(*sqlstates.FAILURES):
                await self._connection.close(timeout=LEAVING_S)
        for client in self._clients.values():
            client.close()
        if self._threads is not None:
            self._threads.close()
