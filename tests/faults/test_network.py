"""A poor network, to either server: the run slows down, waits and goes on; no storm of errors, nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.faults.proxy import Proxy, proxy_to
from tests.running import Engine, Engines, add_users, assert_ledger, assert_users_equal

if TYPE_CHECKING:
    from tests.conftest import Source, Target

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("side", ["source", "target"])]

USERS = 5_000
LATENCY_S = 0.1
"""On each way: 200 ms for question and answer."""
BYTES_PER_S = 1_000_000
HOLE_S = 5.0


@asynccontextmanager
async def through_proxy(engines: Engines, side: str, **run: int) -> AsyncIterator[tuple[Proxy, Engine]]:
    """An engine that reaches one of the servers by way of a proxy."""
    async with proxy_to(getattr(engines, side).uri) as proxy:
        sections = {side: {"uri": proxy.uri}}
        engine = await engines.launch(engines.settings("users", run={"page_size": 500} | run, **sections))
        yield proxy, engine
        await engine.leave()
        await engine.until_gone()


async def assert_complete(engine: Engine, source: Source, target: Target, *, without_problems: bool = True) -> None:
    """It ends as if nothing had been, and no operator was bothered."""
    end = await engine.finished()
    assert (end["exit_code"], end["written"]) == (0, USERS), engine.account()
    assert not without_problems or engine.facts_of("problem") == []
    assert_users_equal(source, target)
    assert_ledger(target, engine.run_id, rows=USERS)


@pytest.mark.parametrize("way", [{"latency_s": LATENCY_S}, {"bytes_per_s": BYTES_PER_S}], ids=["long", "narrow"])
async def test_a_poor_way(side: str, way: dict[str, float], source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    async with through_proxy(engines, side) as (proxy, engine):
        for name, value in way.items():
            setattr(proxy, name, value)
        await engine.start()
        await assert_complete(engine, source, target)


@pytest.mark.parametrize("is_lost", [False, True], ids=["closes", "swallows"])
async def test_a_hole(side: str, is_lost: bool, source: Source, target: Target, engines: Engines) -> None:
    """Nothing arrives for a while: as by a route that flaps, or, when it is lost and connections are reset, by a firewall."""
    add_users(source, USERS)
    async with through_proxy(engines, side, throttle=1_000) as (proxy, engine):
        await engine.start()
        await engine.until_written(1)
        proxy.is_open.clear()
        await asyncio.sleep(HOLE_S)
        if is_lost:
            proxy.cut()
        proxy.is_open.set()
        await engine.set("throttle", 0)
        await assert_complete(engine, source, target, without_problems=not is_lost)
