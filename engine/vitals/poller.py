"""The one poller of both servers: a look a second at most, in sessions of its own, and never in the way of the run.

A server that is slow or gone makes vitals old, not the run slow. A session with PostgreSQL is taken only where there is one
more free than the run and other people need, and is given back when there is not.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

import asyncpg
from pymongo.errors import OperationFailure, PyMongoError

from engine.config import GuardSettings
from engine.errors import ConnectError, MigrationError
from engine.mongo import connect as mongo
from engine.mongo import faults
from engine.mongo.statistics import member_status, server_status
from engine.mongo_uri import read_uri
from engine.postgres import connect as postgres
from engine.postgres import sqlstates
from engine.postgres.statistics import Statistics
from engine.protocol import SourceVitals, TargetVitals, Unseen, VitalsView, Wire
from engine.vitals.own import QUERY, Own, OwnReading, number_of
from engine.vitals.source import SourceReading, monitor_grant, refused
from engine.vitals.target import TargetReading

LOOK_S = 1.0
"""From the end of one look to the next."""
ANSWER_S = 5.0
"""A look at PostgreSQL that takes longer is given up."""
FIRST_RETRY_S, LAST_RETRY_S = 2.0, 60.0
"""A server that fails is looked at again after a time that doubles."""
REFUSED_S = 60.0
"""A right may be granted meanwhile, so what was refused is asked for again so often."""
QUERY_AGAIN_S = 10.0
"""After so long an operator's query that failed is tried again."""
FIRST_LOOKS = 20
"""What may be asked is found out by as many looks, at most."""
MEMBERS_EVERY = 5
"""One look at MongoDB in so many is at its replica set."""
CLOSE_S = 1.0
"""The end of the sessions may take so long."""
SUFFIX = " vitals"
"""Of the application name: the session is none of those that it looks at."""
NO_ROOM = "The target has no connection to spare for a look at it."
_NO_REPLICATION, _NO_COMMAND = 76, 59
"""NoReplicationEnabled; CommandNotFound, of a mongos."""

log = logging.getLogger(__name__)
View = TypeVar("View", bound=Wire)


@dataclass(frozen=True, slots=True)
class WatchedTarget:
    """The target of a run, for those who look at it."""

    uri: str
    app_name: str
    """Of the run's sessions."""
    has_room: Callable[[], Awaitable[bool]]
    """There is a connection to spare."""
    namespaces: Mapping[str, str]
    """The run's tables, `schema.table`, each with the collection that it is filled from."""


class Vitals:
    """What both servers are doing, as long as a run wants to know."""

    def __init__(self) -> None:
        self.own = Own()
        """What an operator has looked at besides."""
        self._own = OwnReading(self.own)
        self._target: _TargetWatch | None = None
        self._source: _SourceWatch | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def watch(self, source_uri: str, app_name: str, target: WatchedTarget) -> None:
        """Begin to look at both servers, until `stop`."""
        self._target = _TargetWatch(target, self.own)
        self._source = _SourceWatch(source_uri, app_name)
        self._tasks = [
            asyncio.create_task(self._target.keep(), name="vitals of the target"),
            asyncio.create_task(self._source.keep(), name="vitals of the source"),
            asyncio.create_task(_again(self._own.look_at_file), name="vitals of the operator's file"),
            asyncio.create_task(_again(self._own.look_at_command), name="vitals of the operator's command"),
        ]

    @property
    def view(self) -> VitalsView | None:
        """The newest ones; None while the poller does not run."""
        if self._target is None or self._source is None:
            return None
        return VitalsView(target=self._target.shown(), source=self._source.shown(), own=self._own.view)

    @property
    def sessions(self) -> int:
        """How many sessions with the target they have, which are given back when the run needs them."""
        return int(self._target is not None and self._target.is_connected)

    async def stop(self) -> None:
        """Stop looking, and close the sessions."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        self._tasks = []
        self._target = self._source = None


async def _again(look: Callable[[], Awaitable[None]]) -> None:
    """Look until this is cancelled."""
    while True:
        await look()
        await asyncio.sleep(LOOK_S)


async def look_once(source: str, target: str, app_name: str, guard: GuardSettings) -> VitalsView:
    """What a first look shows of both servers, and of what is an operator's own.

    Args:
        source: URI; empty leaves that server out.
        target: URI.
        guard: names what is an operator's own.
    """

    async def has_room() -> bool:
        return True

    own = Own()
    own.take(guard)
    reading = OwnReading(own)
    of_target = _TargetWatch(WatchedTarget(target, app_name, has_room, {}), own)
    of_source = _SourceWatch(source, app_name) if source else None
    await asyncio.gather(
        of_target.first_look(), reading.look(), *([of_source.first_look()] if of_source is not None else [])
    )
    return VitalsView(
        target=of_target.shown(), source=of_source.shown() if of_source is not None else None, own=reading.view
    )


class _Watch(ABC, Generic[View]):
    """One server, looked at again and again."""

    side: str

    def __init__(self, nothing: View) -> None:
        self._view: View = nothing
        self._seen_at: float | None = None
        self._problem = ""
        self._retry_s = FIRST_RETRY_S

    def shown(self) -> View:
        """What was seen last, with its age."""
        age_s = None if self._seen_at is None else round(time.monotonic() - self._seen_at, 1)
        return self._view.model_copy(update={"age_s": age_s, "problem": self._problem})

    async def keep(self) -> None:
        """Look until this is cancelled."""
        try:
            while True:
                await asyncio.sleep(await self._looked())
        finally:
            with suppress(Exception):
                await self.end()

    async def first_look(self) -> None:
        """Look until there is something to show, or a reason why there is not; then end."""
        try:
            for _ in range(FIRST_LOOKS):
                await self._looked()
                if self._seen_at is not None or self._problem:
                    return
        finally:
            with suppress(Exception):
                await self.end()

    async def _looked(self) -> float:
        """Look once; returns after how many seconds to look again."""
        try:
            wait_s = await self.look()
        except Exception as error:  # whatever it is, the run has nothing to do with it
            sentence = self.sentence(error)
            if sentence is None:
                log.exception("the %s cannot be looked at", self.side)
                sentence = f"The {self.side} cannot be looked at ({type(error).__name__})."
            elif sentence != self._problem:
                log.info("the %s cannot be looked at: %s", self.side, sentence)
            self._problem = sentence
            await self.close()
            wait_s, self._retry_s = self._retry_s, min(2 * self._retry_s, LAST_RETRY_S)
            return REFUSED_S if isinstance(error, ConnectError) and error.is_final else wait_s
        return wait_s

    def see(self, view: View) -> None:
        """Keep what was seen now."""
        self._view, self._seen_at, self._problem, self._retry_s = view, time.monotonic(), "", FIRST_RETRY_S

    @abstractmethod
    async def look(self) -> float:
        """Ask the server one thing; returns after how many seconds to look again."""

    @abstractmethod
    async def close(self) -> None:
        """Give the session back; the next look takes another."""

    async def end(self) -> None:
        """The poller is stopped."""
        await self.close()

    @abstractmethod
    def sentence(self, error: Exception) -> str | None:
        """What a failure of the server means; None for one that is none."""


class _TargetWatch(_Watch[TargetVitals]):
    side = "target"

    def __init__(self, target: WatchedTarget, own: Own) -> None:
        super().__init__(TargetVitals())
        self._target = target
        self._own = own
        self._failed_query: tuple[str, str, float] | None = None
        """An operator's query that failed, why, and when to try it again."""
        self._connection: asyncpg.Connection | None = None
        self._statistics: Statistics
        self._reading = TargetReading()

    @property
    def is_connected(self) -> bool:
        """There is a session with the target."""
        return self._connection is not None and not self._connection.is_closed()

    async def look(self) -> float:
        connection = self._connection
        if connection is None or connection.is_closed():
            if not await self._target.has_room():
                self._problem = NO_ROOM
                return LAST_RETRY_S / 6
            name = self._target.app_name + SUFFIX
            connection = self._connection = await postgres.connect(self._target.uri, application_name=name)
            self._statistics = Statistics(connection)
        now = time.monotonic()
        async with asyncio.timeout(ANSWER_S):
            found = await self._statistics.ask(self._target.app_name, self._reading.waiting(now))
        if found is None or self._statistics.files is None:
            return LOOK_S
        refused, files = self._statistics.refused, self._statistics.files
        view = self._reading.read(found, now, refused, files, self._target.namespaces)
        self.see(await self._with_own(connection, view))
        if (free := self._view.free_connections) is not None and free < postgres.SPARE_CONNECTIONS:
            await self.close()
            self._problem = NO_ROOM
            return LAST_RETRY_S / 6
        return LOOK_S

    async def _with_own(self, connection: asyncpg.Connection, view: TargetVitals) -> TargetVitals:
        """The vitals with what an operator's query gives, or why it gives nothing."""
        query = self._own.query
        if not query:
            return view
        failed, why = self._failed_query, ""
        if failed is not None and failed[0] == query and time.monotonic() < failed[2]:
            why = failed[1]
        else:
            self._failed_query = None
            try:
                async with asyncio.timeout(ANSWER_S):
                    return view.model_copy(update={"query": await number_of(connection, query)})
            except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
                why = str(error) if isinstance(error, ValueError) else sqlstates.describe(error)[1]
                # Also where the connection broke: it may be the query that ends it, and other guards have to see.
                self._failed_query = (query, why, time.monotonic() + QUERY_AGAIN_S)
                if not isinstance(error, ValueError) and sqlstates.is_broken_connection(error):
                    raise
        return view.model_copy(update={"unseen": [*view.unseen, Unseen(what=QUERY, why=why)]})

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None or connection.is_closed():
            return
        try:
            await connection.close(timeout=CLOSE_S / 2)
        except sqlstates.FAILURES:
            connection.terminate()

    def sentence(self, error: Exception) -> str | None:
        if isinstance(error, MigrationError):
            return error.message
        return sqlstates.describe(error)[1] if isinstance(error, sqlstates.FAILURES) else None


class _SourceWatch(_Watch[SourceVitals]):
    side = "source"

    def __init__(self, uri: str, app_name: str) -> None:
        super().__init__(SourceVitals())
        self._uri = uri
        self._app_name = app_name
        self._client: mongo.Client | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vitals")
        """Of its own: a server that does not answer must not keep the run's threads waiting."""
        self._reading = SourceReading()
        self._looks = 0
        self._asks_members = True

    async def look(self) -> float:
        self._looks += 1
        if self._asks_members and self._looks % MEMBERS_EVERY == 1:
            try:
                self._reading.read_members(await self._asked(member_status))
            except OperationFailure as error:
                self._miss_members(error)
            return LOOK_S
        try:
            status = await self._asked(server_status)
        except OperationFailure as error:
            if error.code != faults.UNAUTHORIZED:
                raise
            self.see(SourceVitals(unseen=refused(read_uri(self._uri))))
            self._looks = 0
            return REFUSED_S
        self.see(self._reading.read(status, time.monotonic()))
        return LOOK_S

    def _miss_members(self, error: OperationFailure) -> None:
        """The replica set cannot be looked at: a right is lacking, or there is none."""
        if error.code == faults.UNAUTHORIZED:
            uri = read_uri(self._uri)
            self._reading.miss_members(
                f"The user {uri.user or 'of source.uri'} may not ask for replSetGetStatus.", monitor_grant(uri)
            )
            return
        if error.code not in (_NO_REPLICATION, _NO_COMMAND):
            raise error
        self._asks_members = False
        what = (
            "is not a member of a replica set"
            if error.code == _NO_REPLICATION
            else "is a mongos: each shard has members of its own"
        )
        self._reading.miss_members(f"The server {what}.")

    async def _asked(self, ask: Callable[[mongo.Client], mongo.Document]) -> mongo.Document:
        """The answer to one command, in the thread."""

        def in_thread() -> mongo.Document:
            if self._client is None:
                self._client = mongo.connect(self._uri, app_name=self._app_name, probe=False)
            return ask(self._client)

        return await asyncio.get_running_loop().run_in_executor(self._thread, in_thread)

    async def close(self) -> None:
        def in_thread() -> None:
            client, self._client = self._client, None
            if client is not None:
                client.close()

        self._thread.submit(
            in_thread
        )  # behind a command that is not answered yet; that takes no longer than its time limit

    async def end(self) -> None:
        await self.close()
        self._thread.shutdown(wait=False)

    def sentence(self, error: Exception) -> str | None:
        if isinstance(error, MigrationError):
            return error.message
        return faults.describe(error)[1] if isinstance(error, PyMongoError) else None
