"""A server is killed in the middle of the work and started again on its data: the run goes on by itself, nothing is lost."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from pymongo import MongoClient

from tests.conftest import Source, Target
from tests.faults.cursors import open_cursors
from tests.faults.planting import small_batches
from tests.remains import remains_at, with_canary
from tests.running import Engine, Engines, add_users, eventually, folders_of_engines
from tests.slow_run import completed, started
from tests.soak.figures import COMMITS_WITHIN_S
from tests.soak.servers import Servers

pytestmark = pytest.mark.slow

USERS = 40_000
"""So many that a partition is several batches long: a cursor is open most of the time."""
RUN: dict[str, Any] = {"cluster_size": 2, "throttle": 1_000, "page_size": 100}
AWAY_S = 1.0
TIMES = 3
COPYING = (
    "SELECT count(*) FROM pg_stat_activity WHERE starts_with(application_name, 'mongopg-tui')"
    " AND datname = current_database() AND query LIKE 'COPY %' AND xact_start IS NOT NULL"
)


@pytest.fixture(scope="module")
def own_servers() -> Iterator[Servers]:
    """Servers that no other test needs."""
    with tempfile.TemporaryDirectory(prefix="mongopg-restarts-") as name:
        Path(name).chmod(0o711)  # PostgreSQL may run as another user, who has to reach its files
        with Servers(Path(name)) as servers:
            yield servers


@pytest.fixture
def own_source(own_servers: Servers) -> Iterator[Source]:
    uri = urlsplit(own_servers.source_uri)._replace(path="/restarts").geturl()
    with MongoClient[dict[str, Any]](uri) as client:
        source = Source(uri, "restarts", client)
        add_users(source, USERS)
        yield source
        client.drop_database("restarts")


@pytest.fixture
def own_target(own_servers: Servers, sql_loop: asyncio.AbstractEventLoop) -> Iterator[Target]:
    server = Target(own_servers.target_uri, "postgres", sql_loop)
    server.execute("CREATE DATABASE restarts TEMPLATE template0")
    target = Target(urlsplit(own_servers.target_uri)._replace(path="/restarts").geturl(), "restarts", sql_loop)
    yield target
    left = remains_at(target)
    server.execute("DROP DATABASE restarts WITH (FORCE)")
    assert not left, left


@pytest_asyncio.fixture
async def engines_there(
    own_source: Source, own_target: Target, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Engines]:
    """Engines between the two."""
    with folders_of_engines(monkeypatch):
        engines = Engines(own_source, own_target)
        try:
            yield engines
        finally:
            await engines.end()


async def goes_on(engine: Engine, is_back: Callable[[], Awaitable[None]]) -> None:
    """A server comes back, and soon after it the run commits."""
    await is_back()
    began, before = time.monotonic(), len(engine.facts_of("slice"))
    await engine.until(lambda _: len(engine.facts_of("slice")) > before, "a slice")
    took = time.monotonic() - began
    print(f"commits again {took:.2f} s after the server's return")
    assert took <= COMMITS_WITHIN_S


async def assert_went_on_by_itself(engine: Engine, source: Source, target: Target) -> None:
    """One engine, with the workers that it had in the beginning, did it all."""
    await completed(engine, source, target)
    assert not [facts for facts in engine.facts_of("worker") if facts["what"] == "died"]
    assert engine.facts_of("problem")


async def test_postgresql_is_stopped_at_once_in_the_middle_of_a_copy_and_started_again(
    own_servers: Servers, own_source: Source, own_target: Target, engines_there: Engines
) -> None:
    """It recovers from its log, perhaps without the last commits: the ledger has lost them with their rows."""
    target = {"uri": with_canary(own_target.uri)}
    engine = await started(engines_there, sections={"target": target}, **RUN)

    async def is_back() -> None:
        own_servers.launch_postgres()
        await asyncio.to_thread(own_servers.wait_for_postgres)

    for _ in range(TIMES):
        await eventually(lambda: own_target.value(COPYING), 30.0, engine.account)
        own_servers.stop_postgres()
        await asyncio.sleep(AWAY_S)
        await goes_on(engine, is_back)

    await assert_went_on_by_itself(engine, own_source, own_target)


async def test_mongodb_is_killed_in_the_middle_of_a_scan_and_started_again(
    own_servers: Servers,
    own_source: Source,
    own_target: Target,
    engines_there: Engines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its cursors are gone: the rest of each range is read with a new one, from the last key on."""
    for name, value in small_batches(300).items():
        monkeypatch.setenv(name, value)
    engine = await started(engines_there, **RUN)

    async def is_back() -> None:
        own_servers.launch_mongod()
        await asyncio.to_thread(own_servers.wait_for_mongod)

    for _ in range(TIMES):
        await eventually(lambda: open_cursors(own_source), 30.0, engine.account)
        own_servers.kill_mongod()
        await asyncio.sleep(AWAY_S)
        await goes_on(engine, is_back)

    await assert_went_on_by_itself(engine, own_source, own_target)
