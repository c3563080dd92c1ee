"""A run that looks for its cluster size, with a target far away: a line that about a dozen workers fill."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from engine.protocol import KnobChanged, KnobTuned
from engine.tuning.prober import GAP_S
from tests.faults.proxy import proxy_to
from tests.running import Engine, Engines, add_users, assert_ledger, assert_users_equal, eventually

if TYPE_CHECKING:
    from tests.conftest import Source, Target

pytestmark = pytest.mark.slow

USERS = 300_000
PAGE_SIZE = 200
LATENCY_S = 0.05
"""On each way: a page and its commit take a worker 0.8 s, and most of that it waits."""
BYTES_PER_S = 500_000
"""Most of what the line takes from all workers: about what a dozen have."""
FOUND_S = 75.0
"""A minute from the first window on, which is not at once."""
WATCHED_S = 40.0
NEAR = range(9, 21)


async def test_a_line_that_a_dozen_workers_fill(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    async with proxy_to(engines.target.uri) as proxy:
        run = {"page_size": PAGE_SIZE, "cluster_size": "auto:1-64"}
        engine = await engines.launch(engines.settings("users", run=run, target={"uri": proxy.uri}))
        proxy.latency_s, proxy.bytes_per_s = LATENCY_S, BYTES_PER_S
        await engine.start()
        await engine.until_written(1)
        began = engine.snapshot.elapsed
        await lasting(engine, began + FOUND_S)
        tuning = engine.snapshot.tuning
        assert tuning is not None
        assert tuning.stable in NEAR, steps(engine)

        await lasting(engine, began + FOUND_S + WATCHED_S)
        changes = [event.at for event in engine.events if isinstance(event, KnobChanged)]
        gaps = [later - sooner for sooner, later in pairwise(changes) if sooner > began + FOUND_S]
        assert all(gap >= GAP_S for gap in gaps), steps(engine)
        assert all(event.reason for event in engine.events if isinstance(event, KnobChanged | KnobTuned)), steps(engine)

        proxy.latency_s, proxy.bytes_per_s = 0.0, 0
        end = await engine.finished()
        assert (end["state"], end["written"]) == ("completed", USERS)
        assert_users_equal(source, target)
        assert_ledger(target, engine.run_id, rows=USERS)


async def lasting(engine: Engine, elapsed: float) -> None:
    """Returns when the run has lasted so long."""
    await eventually(lambda: engine.snapshot.elapsed >= elapsed, 2 * (FOUND_S + WATCHED_S), lambda: steps(engine))


def steps(engine: Engine) -> list[object]:
    """What the run decided, and why."""
    return [(round(event.at, 1), event.facts) for event in engine.events if isinstance(event, KnobChanged | KnobTuned)]
