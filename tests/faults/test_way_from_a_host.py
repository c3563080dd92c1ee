"""A host of a Dask cluster that does not reach MongoDB any more: what it had in hand is done by another one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from engine.protocol import Snapshot, Verify, VerifyReport
from tests.dask_cluster import DaskCluster, children_of, dask_cluster
from tests.faults.planting import constants
from tests.faults.proxy import Proxy, proxy_to
from tests.running import Engine, Engines, add_users, assert_users_equal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Source, Target

pytestmark = pytest.mark.slow

USERS = 30_000
LATENCY_S = 0.02
"""So that each host has work in hand when one loses its way."""


def at_work(cluster: DaskCluster, number: int) -> Callable[[Snapshot], bool]:
    """Whether a worker of this Dask worker has read or written something of what it has in hand."""
    return lambda now: any(
        worker.sent and worker.pid in children_of(cluster.workers[number].pid) for worker in now.workers
    )


@pytest.mark.parametrize("work", ["seeding", "census", "verification"])
async def test_work_of_a_host_that_does_not_reach_mongodb_any_more_goes_to_another(
    work: str, engines: Engines, source: Source, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in constants({"engine.retries:LIMIT_S": 3.0}).items():
        monkeypatch.setenv(name, value)
    async with proxy_to(source.uri) as first, proxy_to(source.uri) as second:
        with dask_cluster(tmp_path) as cluster:
            for proxy in (first, second):
                monkeypatch.setenv("SHOP_URI", proxy.uri)
                cluster.add_worker(1)
            settings = engines.settings(
                "users",
                run={"cluster_size": 2, "page_size": 15_000, "census": "full"},
                seed={"count": USERS},
                source={"uri": source.uri, "uri_from": "env:SHOP_URI"},
                cluster={"kind": "dask"},
                dask={"scheduler": str(cluster.file)},
            )
            if work != "seeding":
                add_users(source, USERS)
            engine = await engines.launch(settings)
            if work == "verification":
                await engine.start()
                await engine.finished()
                slow_down(first, second)
                verifying = asyncio.create_task(engine.client.ask(VerifyReport, Verify(level="full")))
                await loses_its_way(engine, at_work(cluster, 1), first, second)
                report = await verifying
                assert report.result == "verified", report
            else:
                slow_down(first, second)
                await engine.start(seed=work == "seeding")
                await loses_its_way(engine, at_work(cluster, 1), first, second)
                facts: dict[str, Any] = await engine.finished()
                assert (facts["state"], facts["verification"]) == ("completed", "verified"), engine.account()
                assert facts["written"] == USERS
            assert_users_equal(source, target)
            await engine.leave()
            await engine.until_gone()


def slow_down(*proxies: Proxy) -> None:
    """Let both hosts take their time."""
    for proxy in proxies:
        proxy.latency_s = LATENCY_S


async def loses_its_way(engine: Engine, is_at_work: Callable[[Snapshot], bool], first: Proxy, second: Proxy) -> None:
    """The second host does while it has something in hand, and the first one is told to do it."""
    await engine.until(is_at_work, "the second host at work")
    second.is_down = True
    second.cut()
    first.latency_s = 0.0
    await engine.event("problem", lambda facts: "gets no work for a while" in facts["message"])
