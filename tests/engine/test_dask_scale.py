"""A Dask cluster with too few slots is asked for more hosts, where that is wanted, and never for fewer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engine.protocol import Snapshot
from tests.dask_cluster import dask_cluster
from tests.running import Engine, Engines, add_users, eventually
from tests.slow_run import VERY_SLOW, completed, started

if TYPE_CHECKING:
    from tests.conftest import Source, Target

pytest.importorskip("distributed", reason="the extra dask is not installed")
from engine.cluster.dask_api import Client
from engine.cluster.dask_site import SCALE_TOPIC

USERS = 12_000
pytestmark = pytest.mark.slow


def on_dask(scheduler: str, *, scale: bool = True) -> dict[str, Any]:
    """Sections of settings."""
    return {"cluster": {"kind": "dask"}, "dask": {"scheduler": scheduler, "scale": scale}}


def told(engine: Engine) -> list[str]:
    """What was said of problems."""
    return [facts["message"] for facts in engine.facts_of("problem")]


def at_work(size: int, hosts: int) -> Any:
    """Whether so many workers are there, on so many hosts, and no more hosts are wanted."""

    def hold(now: Snapshot) -> bool:
        return (now.workers_alive, len(now.hosts), now.hosts_wanted) == (size, hosts, 0)

    return hold


async def test_a_larger_cluster_size_brings_another_host_and_a_smaller_one_takes_none(
    engines: Engines, source: Source, target: Target
) -> None:
    add_users(source, USERS)
    engine = await started(engines, sections=on_dask("local:1x1"), cluster_size=1, throttle=VERY_SLOW)
    await engine.until(at_work(1, 1), "one host")
    await engine.set("cluster_size", 2)
    await engine.until(at_work(2, 2), "another host")
    await engine.set("cluster_size", 1)
    await engine.until(at_work(1, 2), "one worker, and two hosts")
    await completed(engine, source, target)
    assert [facts["what"] for facts in engine.facts_of("host")].count("joined") == 2


async def test_what_starts_the_hosts_of_a_cluster_hears_how_many_are_wanted(
    engines: Engines, source: Source, target: Target, tmp_path: Path
) -> None:
    add_users(source, USERS)
    asked: list[int] = []
    with dask_cluster(tmp_path, 1) as cluster:
        client = await Client(cluster.address, asynchronous=True, set_as_default=False)
        try:
            await client.wait_for_workers(1)  # of a cluster that has none, one host is asked for first
            client.subscribe_topic(SCALE_TOPIC, lambda event: asked.append(event[1]["hosts"]))
            engine = await started(engines, sections=on_dask(str(cluster.file)), cluster_size=3, throttle=VERY_SLOW)
            await engine.event("problem", lambda facts: "hosts" in facts["message"])
            words = "3 workers are wanted and the Dask cluster has 1 slot: it is asked for 3 hosts."
            assert words in told(engine)
            assert engine.snapshot.hosts_wanted == 3
            await eventually(lambda: 3 in asked, 10, lambda: asked)
            cluster.add_worker(2)
            await engine.until(at_work(3, 2), "there is room")
            await completed(engine, source, target)
            assert set(asked) == {3}
        finally:
            await client.close()
