"""What is shown of workers that die, hang or stop, shown again with the workers on two hosts of a Dask cluster."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.dask_cluster import dask_cluster
from tests.faults import test_crash_points as crashes
from tests.faults import test_killed_worker as workers
from tests.faults.planting import IN_WORKERS, CrashPoints
from tests.running import Engines

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
    workers.test_a_partition_that_kills_three_workers_is_parked,
    workers.test_a_worker_that_hangs_is_ended_and_cannot_commit_afterwards,
    workers.test_a_worker_that_hangs_while_postgresql_is_away_is_ended,
    workers.test_a_worker_that_was_stopped_for_a_while_goes_on,
]
ON_EACH = 3
"""Slots; as many workers as any of these tests wants."""


@pytest.mark.parametrize("test", OF_WORKERS, ids=lambda test: test.__name__.removeprefix("test_"))
async def test_on_two_hosts(
    test: Callable[..., Any],
    engines: Engines,
    source: Source,
    target: Target,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    given = {"engines": engines, "source": source, "target": target, "monkeypatch": monkeypatch}
    with dask_cluster(tmp_path, ON_EACH, ON_EACH) as cluster:
        engines.sections = {"cluster": {"kind": "dask"}, "dask": {"scheduler": str(cluster.file)}}
        await test(**{name: given[name] for name in inspect.signature(test).parameters})
        await engines.end()


@pytest.mark.parametrize("point", IN_WORKERS)
async def test_a_worker_dies_at(
    point: str, engines: Engines, source: Source, target: Target, points: CrashPoints, tmp_path: Path
) -> None:
    with dask_cluster(tmp_path, 2, 2) as cluster:
        engines.sections = {"cluster": {"kind": "dask"}, "dask": {"scheduler": str(cluster.file)}}
        await crashes.test_a_worker_dies_at(point, source, target, engines, points)
        await engines.end()
