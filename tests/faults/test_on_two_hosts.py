"""What is shown of workers that die, hang or stop, shown again with the workers on two hosts of a Dask cluster."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engine.cluster.lease_book import MAX_DEATHS
from tests.dask_cluster import DaskCluster, dask_cluster
from tests.faults import test_clock_and_disk as clock
from tests.faults import test_connections as connections
from tests.faults import test_crash_points as crashes
from tests.faults import test_killed_worker as workers
from tests.faults import test_little_memory as memory
from tests.faults import test_shortage as shortage
from tests.faults import test_storm as storm
from tests.faults.planting import IN_WORKERS, CrashPoints, little_memory
from tests.faults.test_shortage import limited as limited
from tests.running import Engines, add_users, assert_same, assert_users_equal

if TYPE_CHECKING:
    from tests.conftest import Source, Target

pytestmark = pytest.mark.slow

OF_WORKERS = [
    workers.test_workers_killed_one_after_the_other,
    workers.test_a_dead_worker_is_replaced,
    workers.test_a_dead_worker_s_partition_goes_to_the_next_that_is_free,
    workers.test_all_workers_killed_at_once,
    workers.test_workers_killed_at_random_moments,
    workers.test_a_worker_killed_in_a_pause,
    workers.test_a_worker_that_hangs_is_ended_and_cannot_commit_afterwards,
    workers.test_a_worker_that_hangs_while_postgresql_is_away_is_ended,
    workers.test_a_worker_that_was_stopped_for_a_while_goes_on,
    connections.test_backends_of_workers_are_ended_in_the_middle_of_copy,
    shortage.test_workers_without_a_connection_leave_the_cluster_and_the_others_go_on,
    storm.test_a_storm_of_commands,
    clock.test_the_clock_jumps_by_days,  # that of the engine's host, not those of the others
]
GIVEN = {"commands": 25, "cancels": 0}
"""Parameters of these."""
DEADLY = ("reading", "converted", "pre_commit")
"""Points of one slice, each of which ends one worker."""
USERS = 2_000
ON_EACH = 3
"""Slots; as many workers together as any of these tests waits for."""


def on(cluster: DaskCluster) -> dict[str, Any]:
    """Sections of settings."""
    return {"cluster": {"kind": "dask"}, "dask": {"scheduler": str(cluster.file)}}


@pytest.mark.parametrize("test", OF_WORKERS, ids=lambda test: test.__name__.removeprefix("test_"))
async def test_on_two_hosts(
    test: Callable[..., Any], engines: Engines, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    names = inspect.signature(test).parameters
    given = {name: GIVEN[name] if name in GIVEN else request.getfixturevalue(name) for name in names}
    with dask_cluster(tmp_path, ON_EACH, ON_EACH) as cluster:
        engines.sections = on(cluster)
        await test(**given)
        await engines.end()


@pytest.mark.parametrize("point", IN_WORKERS)
async def test_a_worker_dies_at(
    point: str, engines: Engines, source: Source, target: Target, points: CrashPoints, tmp_path: Path
) -> None:
    with dask_cluster(tmp_path, 2, 2) as cluster:
        engines.sections = on(cluster)
        await crashes.test_a_worker_dies_at(point, source, target, engines, points)
        await engines.end()


async def test_a_partition_that_kills_three_workers_is_parked(
    engines: Engines, source: Source, target: Target, points: CrashPoints, tmp_path: Path
) -> None:
    add_users(source, USERS)
    with dask_cluster(tmp_path, 1, 1) as cluster:
        settings = engines.settings("users", run={"cluster_size": 1}, **on(cluster))
        for point in DEADLY:
            points.arm(point)
        engine, end = await engines.run(settings)
        assert (end["state"], end["error"]["code"]) == ("failed", "parked"), engine.account()
        assert len(engine.facts_of("parked")) == 1
        assert [facts["exit"] for facts in engine.facts_of("worker") if facts["what"] == "died"] == [-9] * MAX_DEATHS
        await engine.leave()
        await engine.until_gone()
        _, end = await engines.run(settings, resume="")
        assert end["exit_code"] == 0
        assert_users_equal(source, target)
        await engines.end()


async def test_documents_too_large_for_the_memory_of_workers_on_all_hosts_end_the_run_which_others_complete(
    engines: Engines, source: Source, target: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source.db.mixed.insert_many([{"_id": number, "text": "small"} for number in range(memory.SMALL)])
    source.db.mixed.insert_many(
        [{"_id": memory.SMALL + number, "text": "x" * memory.LARGE_BYTES} for number in range(memory.LARGE)]
    )
    for folder, planted in (("little", little_memory(memory.LITTLE_MIB)), ("enough", {})):
        with monkeypatch.context() as environment:
            for name, value in planted.items():
                environment.setenv(name, value)
            (tmp_path / folder).mkdir()
            with dask_cluster(tmp_path / folder, 1, 1) as cluster:
                settings = engines.settings("mixed", run={"cluster_size": 2}, **on(cluster))
                engine, end = await engines.run(settings, resume=None if planted else "")
                if planted:
                    assert (end["state"], end["error"]["code"]) == ("failed", "parked"), cluster.log()
                    assert "A worker ran out of memory" in engine.facts_of("problem")[0]["message"]
                else:
                    assert (end["state"], end["exit_code"]) == ("completed", 0), engine.account()
                await engine.leave()
                await engine.until_gone()
    lengths = {document["_id"]: len(document["text"]) for document in source.db.mixed.find()}
    assert_same(lengths, [tuple(row) for row in target.rows("SELECT _id, length(text) FROM mixed")])
