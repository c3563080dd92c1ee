"""A host that the network leaves alone: its partitions are done by others, and what it commits late counts once."""

from __future__ import annotations

import signal
import socket
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from engine.protocol import Snapshot
from tests.faults.hosts import OURS, Way, hosts
from tests.faults.proxy import proxy_to
from tests.running import Engines, add_users
from tests.signals import send_signal
from tests.slow_run import VERY_SLOW, completed, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.conftest import Source, Target

pytestmark = pytest.mark.slow

USERS = 12_000
ELSEWHERE_S = 60.0
"""Within this the partitions of a lost host are with others."""


LONG = Way(delay_s=0.04, loss=0.02)
"""As to the other side of a continent, with a bad line."""


@asynccontextmanager
async def ways_to(source: Source, target: Target) -> AsyncIterator[dict[str, Any]]:
    """Both servers where the hosts reach them; sections of settings."""
    listeners = [socket.create_server((OURS, 0)) for _ in range(2)]
    async with proxy_to(source.uri, listeners[0]) as mongo, proxy_to(target.uri, listeners[1]) as postgres:
        yield {"source": {"uri": f"{mongo.uri}&tls=false"}, "target": {"uri": f"{postgres.uri}?sslmode=disable"}}


def at_work(size: int) -> Callable[[Snapshot], bool]:
    """So many workers have sent something."""
    return lambda now: sum(worker.pid > 0 and worker.sent > 0 for worker in now.workers) >= size


@pytest.mark.parametrize("and_a_worker", [False, True], ids=["host", "host and a worker of the other"])
async def test_a_host_that_is_cut_off_costs_what_it_had_not_committed(
    engines: Engines, source: Source, target: Target, tmp_path: Path, and_a_worker: bool
) -> None:
    add_users(source, USERS)
    with hosts(tmp_path, 2, 2) as cluster:
        async with ways_to(source, target) as sections:
            engine = await started(engines, sections=cluster.settings | sections, cluster_size=4, throttle=VERY_SLOW)
            await engine.until(at_work(4), "four workers")
            assert {facts["what"] for facts in engine.facts_of("host")} == {"joined"}

            cluster.cut(1)
            cut_at = time.monotonic()
            if and_a_worker:
                victim = next(worker.pid for worker in engine.snapshot.workers if cluster.has(0, worker.pid))
                send_signal(victim, signal.SIGKILL)
            gone = (await engine.event("host", lambda facts: facts["what"] == "left")).facts["host"]
            await engine.until(
                lambda now: all(worker.host != gone for worker in now.workers) and at_work(2)(now), "the others at work"
            )
            elsewhere_s = time.monotonic() - cut_at
            print(f"with others after {elsewhere_s:.1f} s")
            assert elsewhere_s <= ELSEWHERE_S

            cluster.mend(1)
            await engine.until(at_work(4), "four workers again")
            await completed(engine, source, target)
            await engine.leave()
            await engine.until_gone()


async def test_hosts_behind_a_long_way_that_loses_packets_are_kept_and_do_all_of_it_once(
    engines: Engines, source: Source, target: Target, tmp_path: Path
) -> None:
    add_users(source, USERS)
    with hosts(tmp_path, 2, 2, way=LONG) as cluster:
        async with ways_to(source, target) as sections:
            engine = await started(engines, sections=cluster.settings | sections, cluster_size=4, throttle=VERY_SLOW)
            await engine.until(at_work(4), "four workers")
            there_and_back_ms = 2_000 * LONG.delay_s
            await engine.until(
                lambda now: all((host.round_trip_ms or 0.0) >= there_and_back_ms for host in now.hosts), "a long way"
            )
            await engine.until_written(engine.snapshot.written + 1_000)
            await completed(engine, source, target)
            assert {facts["what"] for facts in engine.facts_of("host")} == {"joined"}
            await engine.leave()
            await engine.until_gone()
