"""Real servers for the tests: started once a session, with a database of its own on each side for every test."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import hypothesis
import pytest

from engine.demo import DemoServers, start_servers
from tests.signals import send_signal

if TYPE_CHECKING:
    import asyncpg
    from pymongo import MongoClient
    from pymongo.database import Database

SESSION_VARIABLE = "MONGOPG_TEST_SESSION"
LEFT_OVER_GRACE_S = 30.0
SQL_TIMEOUT_S = 60.0
# Python's own helpers of the process that runs the tests; they end with it.
MULTIPROCESSING_HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")

# A busy machine is no failure of an example.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# A signal that is ignored at the start stays ignored: a session begun with nohup, or as a shell's job in the background, would
# hide what tests are about.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

for size in ("COLUMNS", "LINES"):  # those of the terminal that the tests are run in; a test's terminal has its own
    os.environ.pop(size, None)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """A MongoDB database that is empty before the test and dropped after it."""

    uri: str
    """With the database in its path."""
    database: str
    client: MongoClient[dict[str, Any]]

    @property
    def db(self) -> Database[dict[str, Any]]:
        """The database's handle."""
        return self.client[self.database]


@dataclass(frozen=True, slots=True)
class Target:
    """A PostgreSQL database that is empty before the test and dropped after it.

    Every call opens a connection of its own, so that nothing of the test counts against the server's free connections,
    and may be made from a coroutine too: it runs in another thread's event loop.
    """

    uri: str
    database: str
    loop: asyncio.AbstractEventLoop

    def rows(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows of a query."""

        async def fetch(connection: asyncpg.Connection) -> list[asyncpg.Record]:
            return await connection.fetch(sql, *arguments)

        return self._run(fetch)

    def value(self, sql: str, *arguments: object) -> Any:
        """The first column of the first row, None without one."""

        async def fetch(connection: asyncpg.Connection) -> Any:
            return await connection.fetchval(sql, *arguments)

        return self._run(fetch)

    def execute(self, sql: str, *arguments: object) -> str:
        """Run a statement, or without arguments a script of several; returns the last command's tag."""

        async def execute(connection: asyncpg.Connection) -> str:
            return await connection.execute(sql, *arguments)

        return self._run(execute)

    def _run(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        return _run(self.loop, _connected(self.uri, work))


async def _connected(uri: str, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    import asyncpg

    connection = await asyncpg.connect(uri)
    try:
        return await work(connection)
    finally:
        await connection.close()


def _run(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, loop).result(SQL_TIMEOUT_S)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_over() -> Iterator[None]:
    """Fail the session when a process that it started, however indirectly, outlives it."""
    session = secrets.token_hex(8)
    os.environ[SESSION_VARIABLE] = session
    yield
    deadline = time.monotonic() + LEFT_OVER_GRACE_S
    while (left := _processes_of(session)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        send_signal(pid, signal.SIGKILL)
    assert not left, "processes left over: " + "; ".join(f"{pid} {command}" for pid, command in left.items())


def _processes_of(session: str) -> dict[int, str]:
    """Pid to command line of the living processes with this session in their environment; none without a /proc."""
    marker = f"{SESSION_VARIABLE}={session}".encode()
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ProcessLookupError):
            continue
        is_helper = parent == os.getpid() and any(helper in command for helper in MULTIPROCESSING_HELPERS)
        if marker in environment.split(b"\0") and not is_helper:
            found[int(process.name)] = command
    return found


@pytest.fixture(scope="session")
def mongo_client(servers: DemoServers) -> Iterator[MongoClient[dict[str, Any]]]:
    """One client for the whole session."""
    from pymongo import MongoClient

    with MongoClient[dict[str, Any]](servers.source_uri) as client:
        yield client


@pytest.fixture
def source(servers: DemoServers, mongo_client: MongoClient[dict[str, Any]]) -> Iterator[Source]:
    """An empty MongoDB database."""
    name = _database_name()
    uri = urlsplit(servers.source_uri)._replace(path=f"/{name}").geturl()
    yield Source(uri, name, mongo_client)
    mongo_client.drop_database(name)


@pytest.fixture(scope="session")
def sql_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sql")
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="session")
def servers(nothing_left_over: None, sql_loop: asyncio.AbstractEventLoop) -> Iterator[DemoServers]:
    """MongoDB, which takes `failCommand`, and PostgreSQL, which does not wait for the disk.

    Nothing of it need survive this machine, and a server that is killed loses nothing by it. That each test has a database of
    its own takes a tenth of a second, not a whole one where others write to the disk.
    """
    with start_servers(test_commands=True) as started:
        server = Target(started.target_uri, "postgres", sql_loop)
        for setting in ("fsync", "full_page_writes"):
            server.execute(f"ALTER SYSTEM SET {setting} = off")
        server.execute("SELECT pg_reload_conf()")
        yield started


@pytest.fixture
def target(servers: DemoServers, sql_loop: asyncio.AbstractEventLoop) -> Iterator[Target]:
    """An empty PostgreSQL database."""
    name = _database_name()
    server = Target(servers.target_uri, "postgres", sql_loop)
    server.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    yield Target(urlsplit(servers.target_uri)._replace(path=f"/{name}").geturl(), name, sql_loop)
    server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _database_name() -> str:
    return f"t_{secrets.token_hex(4)}"
