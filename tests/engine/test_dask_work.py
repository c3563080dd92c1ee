"""What workers do besides copying a run's collections is done on a Dask cluster, too, and a preflight looks at it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from engine.cluster.dask_process import DaskProcess
from engine.protocol import CutOver, Preflight, PreflightReport, RunState, Verify, VerifyReport
from tests.engine.changing_source import Changes, assert_same_as_source
from tests.running import Engines, add_users, assert_users_equal

if TYPE_CHECKING:
    from tests.conftest import Source, Target

pytest.importorskip("distributed", reason="the extra dask is not installed")
ON_DASK: dict[str, Any] = {"cluster": {"kind": "dask"}, "dask": {"scheduler": "local:2x2"}}
USERS = 3_000


async def test_the_start_of_a_cluster_that_was_not_waited_for_is_there_for_the_next_run() -> None:
    process = DaskProcess(1, 1)
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await process.told()
        assert await process.told() == await process.told()
    finally:
        await process.end()


@pytest.mark.slow
async def test_seeding_a_full_census_and_natural_order(engines: Engines, source: Source, target: Target) -> None:
    for run in ({"census": "full"}, {"order": "natural", "mode": "replace"}):
        settings = engines.settings("users", run={"cluster_size": 4, **run}, seed={"count": USERS}, **ON_DASK)
        engine, facts = await engines.run(settings, seed="census" in run)
        assert (facts["state"], facts["verification"]) == ("completed", "verified"), facts["error"]
        assert facts["written"] == USERS
        assert_users_equal(source, target)
        await engine.leave()
        await engine.until_gone()


@pytest.mark.slow
async def test_changes_that_are_followed_are_applied_there(engines: Engines, source: Source, target: Target) -> None:
    changes = Changes(source, 7)
    changes.some(200)
    engine = await engines.launch(engines.settings("things", mapping={"nul": "reject"}, **ON_DASK))
    await engine.start(follow=True)
    await engine.until(lambda now: now.state is RunState.FOLLOWING, "following")
    changes.some(200)
    await engine.until(lambda now: now.follow is not None and now.follow.ready, "ready")
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified")
    assert_same_as_source(source, target, engine.run_id)
    report = await engine.client.ask(VerifyReport, Verify(level="full"))
    assert report.result == "verified", report


async def test_a_preflight_looks_at_the_cluster(engines: Engines, source: Source) -> None:
    add_users(source, 10)
    engine = await engines.launch(engines.settings("users", **ON_DASK))
    found = {}
    for scheduler in ("local:2x2", "local:1x1", "tcp://192.0.2.1:8786"):
        command = Preflight(settings={"dask": {"scheduler": scheduler}})
        report = await engine.client.ask(PreflightReport, command)
        found[scheduler] = (
            report.status,
            *((each.status, each.message) for each in report.checks if each.what == "cluster"),
        )
    assert found["local:2x2"] == ("ok", ("ok", "The Dask cluster has 2 workers with 4 slots."))
    few = "The Dask cluster has 1 worker with 1 slot, and 2 are wanted: more are used as they come."
    assert found["local:1x1"] == ("warning", ("warning", few))
    assert found["tcp://192.0.2.1:8786"][0] == "stop"
    assert "is on another host and without TLS" in found["tcp://192.0.2.1:8786"][1][1]
