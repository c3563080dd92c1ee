"""The answer to the last COMMIT of a cut-over is lost: what became of it is found out, and it is done once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from engine.errors import UsageError
from engine.postgres import connect as postgres
from engine.protocol import CALLED_OFF, CallOff, CutOver
from tests.engine.test_follow import following, ready
from tests.engine.test_follow_control import fill, values
from tests.faults.proxy import Proxy
from tests.running import Engine, Engines, eventually

if TYPE_CHECKING:
    from tests.conftest import Source, Target

LAST = b"write_stop_s = extract"
"""In the last statement before that COMMIT, and nowhere else."""


async def followed(source: Source, target: Target, engines: Engines, proxy: Proxy, mode: str) -> Engine:
    """A run that is ready to be cut over; the proxy knows the connection of its end."""
    fill(source)
    if mode == "replace":
        target.execute("CREATE TABLE things (_id integer PRIMARY KEY, n integer); INSERT INTO things VALUES (99, 9)")
    proxy.mark = LAST
    settings = engines.settings("things", run={"mode": mode}, target={"uri": proxy.uri})
    engine = await following(engines, settings)
    await ready(engine)
    return engine


async def waits(engine: Engine, target: Target, query: str) -> None:
    sql = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        " AND query LIKE $1"
    )
    await eventually(lambda: target.value(sql, query), 30.0, engine.account)


async def asks(engine: Engine, target: Target) -> None:
    """The engine waits to know what became of its transaction."""
    await waits(engine, target, "%FROM mongopg.follow%FOR UPDATE")


async def tries_again(engine: Engine, target: Target) -> None:
    """It waits for the lock of the table that is to be replaced."""
    await waits(engine, target, "LOCK TABLE %")


async def assert_done(engine: Engine, target: Target) -> None:
    end = await engine.finished()
    assert (end["state"], end["verification"], end["written"]) == ("completed", "verified", 50), engine.account()
    assert values(target) == dict.fromkeys(range(50), 0)
    assert target.value("SELECT phase FROM mongopg.follow") == "done"


@pytest.mark.parametrize("mode", ["create", pytest.param("replace", marks=pytest.mark.slow)])
async def test_it_is_done_when_it_was_committed(
    source: Source, target: Target, engines: Engines, target_proxy: Proxy, mode: str
) -> None:
    engine = await followed(source, target, engines, target_proxy, mode)
    target_proxy.swallow_answers(1, to=b"COMMIT")
    await engine.client.call(CutOver())
    await assert_done(engine, target)
    assert target_proxy.n_to_swallow == 0


@pytest.mark.parametrize("mode", [pytest.param("create", marks=pytest.mark.slow), "replace"])
async def test_a_commit_that_is_underway_is_waited_for(
    source: Source, target: Target, engines: Engines, target_proxy: Proxy, mode: str
) -> None:
    engine = await followed(source, target, engines, target_proxy, mode)
    target_proxy.hold_back(b"COMMIT")
    await engine.client.call(CutOver())
    await asks(engine, target)
    with pytest.raises(UsageError, match="It is too late"):
        await engine.client.call(CallOff())
    assert target_proxy.held is not None
    target_proxy.held.arrive()
    await assert_done(engine, target)


@pytest.mark.parametrize("mode", ["create", pytest.param("replace", marks=pytest.mark.slow)])
async def test_a_commit_that_never_arrives_is_repeated(
    source: Source, target: Target, engines: Engines, target_proxy: Proxy, mode: str
) -> None:
    engine = await followed(source, target, engines, target_proxy, mode)
    target_proxy.hold_back(b"COMMIT")
    await engine.client.call(CutOver())
    await asks(engine, target)
    assert target_proxy.held is not None
    target_proxy.held.be_lost()
    await assert_done(engine, target)


@asynccontextmanager
async def read_behind(target: Target, engine: Engine) -> AsyncIterator[asyncio.Task[str]]:
    """A session reads the table as soon as the transaction that replaces it is gone, in one that does not end before."""
    connection = await postgres.connect(target.uri)
    async with connection.transaction():
        reading = asyncio.create_task(connection.execute("SELECT count(*) FROM things"))
        sql = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1"
        await eventually(lambda: target.value(sql, connection.get_server_pid()), 30.0, engine.account)
        yield reading
    await connection.close()


@pytest.mark.slow
async def test_it_can_be_called_off_again_when_it_was_not_committed(
    source: Source, target: Target, engines: Engines, target_proxy: Proxy
) -> None:
    engine = await followed(source, target, engines, target_proxy, "replace")
    target_proxy.hold_back(b"COMMIT")
    await engine.client.call(CutOver())
    await asks(engine, target)
    async with read_behind(target, engine) as reading:
        assert target_proxy.held is not None
        target_proxy.held.be_lost()
        await reading
        await tries_again(engine, target)
        await engine.client.call(CallOff())
        off = await engine.event("problem", lambda facts: facts["code"] == CALLED_OFF)
        assert "asked for it" in off.facts["message"]
    assert values(target) == {99: 9}
    source.db.things.update_one({"_id": 7}, {"$set": {"n": 1}})
    await ready(engine)
    await engine.client.call(CutOver())
    assert (await engine.finished())["state"] == "completed"
    assert values(target) == dict.fromkeys(range(50), 0) | {7: 1}
