"""A process dies at an exact place: what it had not committed is done again, what it had is not, and a resume goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.protocol import RunState
from tests.faults.planting import AT_THE_BEGINNING, CrashPoints
from tests.running import Engine, Engines, add_users, assert_ledger, assert_users_equal, eventually
from tests.slow_run import completed, started

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 6_000
DIES_S = 30.0


@pytest.mark.usefixtures("both_orders")
@pytest.mark.parametrize(
    "point",
    [
        pytest.param("reading", marks=pytest.mark.slow),
        pytest.param("converted", marks=pytest.mark.slow),
        pytest.param("mid_copy", marks=pytest.mark.slow),
        pytest.param("claimed", marks=pytest.mark.slow),
        pytest.param("pre_commit", marks=pytest.mark.slow),
        "in_commit",
        "post_commit",
    ],
)
async def test_a_worker_dies_at(
    point: str, source: Source, target: Target, engines: Engines, points: CrashPoints
) -> None:
    add_users(source, USERS)
    engine = await started(engines)

    for _ in range(2):
        points.arm(point)
        await eventually(lambda: not points.is_armed(point), DIES_S, engine.account)

    await engine.event("worker", lambda facts: facts["what"] == "died" and facts["exit"] == -9)
    await completed(engine, source, target)


@pytest.mark.slow
async def test_workers_that_die_together_before_they_are_ready_are_replaced(
    source: Source, target: Target, engines: Engines, points: CrashPoints
) -> None:
    """As when the fork server is killed while it starts them: only deaths one after the other show that none can live."""
    add_users(source, USERS)
    for point in AT_THE_BEGINNING:
        points.arm(point)

    engine, end = await engines.run(engines.settings("users", run={"cluster_size": len(AT_THE_BEGINNING)}))

    assert (end["state"], end["exit_code"]) == ("completed", 0), engine.account()
    assert not any(points.is_armed(point) for point in AT_THE_BEGINNING)
    assert_users_equal(source, target)


async def _dies(engine: Engine, points: CrashPoints, point: str) -> None:
    await eventually(lambda: not points.is_armed(point), DIES_S, engine.account)
    await engine.leave()
    await engine.until_gone()


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "what", ["making_tables", "keeping_state", "looking_for_gaps", "building_key", "analyzing", "swapping"]
)
async def test_the_engine_dies(
    when: str, what: str, source: Source, target: Target, engines: Engines, points: CrashPoints
) -> None:
    """In mode replace, which has the most to do at its end; the old table is there until the new one is."""
    add_users(source, USERS)
    target.execute("CREATE TABLE users (_id text)")
    settings = engines.settings("users", run={"mode": "replace"})
    points.arm(f"{when}_{what}")
    engine = await engines.launch(settings)
    await engine.start()
    await _dies(engine, points, f"{when}_{what}")

    engine, end = await engines.run(settings, resume="")

    assert (end["state"], end["exit_code"]) == ("completed", 0), engine.account()
    assert_users_equal(source, target)
    assert target.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 1


@pytest.mark.slow
async def test_rows_that_others_wrote_after_the_swap_keep_no_run_from_its_end(
    source: Source, target: Target, engines: Engines, points: CrashPoints
) -> None:
    """The engine dies when the new table has its name, and applications go on at once."""
    add_users(source, USERS)
    target.execute("CREATE TABLE users (_id text)")
    settings = engines.settings("users", run={"mode": "replace"})
    points.arm("after_swapping")
    engine = await engines.launch(settings)
    await engine.start()
    await _dies(engine, points, "after_swapping")
    target.execute("INSERT INTO users (_id) VALUES ('of an application')")

    engine, end = await engines.run(settings, resume="")

    assert (end["state"], end["verification"], end["exit_code"]) == ("completed", "verified", 0), engine.account()
    assert end["tables"]["public.users"]["target"] == USERS
    [news] = [facts["message"] for facts in engine.facts_of("problem") if facts["code"] == "written_since"]
    assert "put in its place with 6,000 rows" in news
    assert "It has 6,001 now: others have written to it since." in news
    target.execute("DELETE FROM users WHERE _id = 'of an application'")
    assert_users_equal(source, target)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
async def test_the_engine_dies_while_it_takes_a_run_up(
    when: str, source: Source, target: Target, engines: Engines, points: CrashPoints
) -> None:
    add_users(source, USERS)
    engine = await started(engines)
    await engine.cancel()
    assert (await engine.finished())["state"] == "cancelled"
    await engine.leave()
    points.arm(f"{when}_taking_over")
    engine = await engines.launch()
    await engine.start(resume="")
    await _dies(engine, points, f"{when}_taking_over")

    engine, end = await engines.run(resume="")

    assert (end["state"], end["written"]) == ("completed", USERS)
    assert_users_equal(source, target)


@pytest.mark.usefixtures("both_orders")
@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
async def test_the_engine_dies_while_it_cuts_partitions_again(
    when: str, source: Source, target: Target, engines: Engines, points: CrashPoints
) -> None:
    add_users(source, USERS)
    engine = await engines.launch(engines.settings("users", run={"cluster_size": 1, "throttle": 500, "page_size": 100}))
    await engine.start()
    await engine.until_state(RunState.RUNNING)
    points.arm(f"{when}_cutting_again")
    await engine.set("cluster_size", 16)
    await _dies(engine, points, f"{when}_cutting_again")

    engine, end = await engines.run(engines.settings("users", run={"cluster_size": 4}), resume="")

    assert (end["state"], end["written"]) == ("completed", USERS)
    assert_users_equal(source, target)
    assert_ledger(target, engine.run_id, rows=USERS)
