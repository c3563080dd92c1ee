"""A run that follows dies at an exact place, again and again: when it is cut over, the target is the source."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from engine.protocol import CutOver
from tests.engine.changing_source import Changes, assert_same_as_source
from tests.engine.test_follow import following, ready, settings_of, until_changed, written_to
from tests.faults.planting import IN_CUTTING_OVER, CrashPoints
from tests.running import Engine, Engines, eventually

if TYPE_CHECKING:
    from tests.conftest import Source, Target

DIES_S = 30.0


async def cut_over(engine: Engine, source: Source, target: Target) -> None:
    """The writers are stopped; both sides have to be equal then."""
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified"), engine.account()
    assert_same_as_source(source, target, engine.run_id)
    assert not target.value("SELECT count(*) FROM mongopg.dirty")


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("lane_claimed", marks=pytest.mark.slow),
        pytest.param("lane_read", marks=pytest.mark.slow),
        pytest.param("lane_written", marks=pytest.mark.slow),
        "lane_pre_commit",
        pytest.param("in_commit", marks=pytest.mark.slow),
        pytest.param("post_commit", marks=pytest.mark.slow),
    ],
)
async def test_a_worker_that_applies_changes_dies_at(
    point: str, source: Source, target: Target, engines: Engines, points: CrashPoints
) -> None:
    changes = Changes(source, 11)
    with written_to(changes):
        engine = await following(engines, settings_of(engines))
        await ready(engine)
        for _ in range(2):
            points.arm(point)
            await eventually(lambda: not points.is_armed(point), DIES_S, engine.account)
        await until_changed([changes], 50)
        await ready(engine)
    await engine.event("worker", lambda facts: facts["what"] == "died" and facts["exit"] == -9)
    await cut_over(engine, source, target)


async def resumed(engine: Engine, engines: Engines) -> Engine:
    """The engine is gone; the one that goes on with its run."""
    await engine.leave()
    await engine.until_gone()
    again = await engines.launch(settings_of(engines))
    await again.start(resume=engine.run_id)
    return again


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("before_collecting", marks=pytest.mark.slow),
        pytest.param("slice_claimed", marks=pytest.mark.slow),
        "slice_pre_commit",
        pytest.param("after_collecting", marks=pytest.mark.slow),
    ],
)
async def test_the_engine_dies_while_it_collects_changes(
    point: str, source: Source, target: Target, engines: Engines, points: CrashPoints
) -> None:
    changes = Changes(source, 12)
    with written_to(changes):
        engine = await following(engines, settings_of(engines))
        await ready(engine)
        points.arm(point)
        await eventually(lambda: not points.is_armed(point), DIES_S, engine.account)
        engine = await resumed(engine, engines)
        await until_changed([changes], 50)
        await ready(engine)
    await cut_over(engine, source, target)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["create", "replace"])
@pytest.mark.parametrize("point", IN_CUTTING_OVER)
async def test_the_engine_dies_while_it_cuts_over(
    point: str, mode: str, source: Source, target: Target, engines: Engines, points: CrashPoints
) -> None:
    """Whatever was done of the cut-over, the next engine ends it, or it can be asked for again."""
    changes = Changes(source, 13)
    with written_to(changes):
        engine = await following(engines, settings_of(engines, mode=mode))
        await ready(engine)
        await until_changed([changes], 50)
        await ready(engine)
    points.arm(point)
    with contextlib.suppress(Exception):  # the engine may die before it answers
        await engine.client.call(CutOver())
    await eventually(lambda: not points.is_armed(point), DIES_S, engine.account)
    await engine.leave()
    await engine.until_gone()
    again = await engines.launch(settings_of(engines, mode=mode))
    await again.start(resume=engine.run_id)
    now = await again.until(
        lambda now: now.state.is_over or (now.follow is not None and (now.follow.ready or now.follow.phase == "done")),
        "its end, or that it can be asked for",
    )
    if now.follow is not None and now.follow.ready:
        await again.client.call(CutOver())
    end = await again.finished()
    assert end["state"] == "completed", again.account()
    assert_same_as_source(source, target, again.run_id)
