"""What an operator does to a run while it goes on: every knob, pause, cancel. Nothing gets lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from engine.errors import KnobError, UsageError
from engine.protocol import RunState, Snapshot, Status, WorkerState
from tests.running import (
    Engines,
    add_users,
    assert_users_equal,
    committed,
    eventually,
    nothing_open,
)
from tests.slow_run import ROWS_PER_S, completed, started, working

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 20_000
SLOW_COMMIT_S = 20.0
"""A page of all that the throttle lets through would take a hundred."""
STANDS_STILL_S = 0.7
"""So long nothing may be committed in a pause; a slice ends after half a second at the latest."""


TOLD_WITHIN_S = 60.0
"""The ledger hears of a run's state every two seconds."""


def state_kept(target: Target) -> str:
    """The run's state, for those who look into the ledger."""
    return str(target.value("SELECT state FROM mongopg.run"))


def sent(snapshot: Snapshot) -> int:
    """Rows that the workers have sent, committed or not."""
    return sum(worker.sent for worker in snapshot.workers)


def sent_per_s(before: Snapshot, after: Snapshot) -> float:
    """Rows a second between two moments of a run."""
    return (sent(after) - sent(before)) / (after.elapsed - before.elapsed)


async def test_a_worker_says_how_far_it_is_with_its_range(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, cluster_size=1)

    def is_within(now: Snapshot) -> bool:
        return any(worker.range is not None and 0 < worker.range.done < worker.range.total for worker in now.workers)

    snapshot = await engine.until(is_within, "a worker within its partition")
    (part,) = [worker.range for worker in snapshot.workers if worker.range is not None]
    assert part.total == round(USERS / snapshot.partitions_total)
    assert not part.is_exact
    await engine.cancel(now=True)


# --- cluster size -----------------------------------------------------------------------------------------------------


async def test_the_cluster_grows_and_shrinks_while_it_copies(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, cluster_size=1)
    assert engine.snapshot.workers_alive == 1

    assert await engine.set("cluster_size", 6) == {"knob": "cluster_size", "value": 6, "applies": "at once"}
    grown = await engine.until(lambda now: working(now) == 6, "six workers")
    assert grown.cluster_size == 6
    await engine.set("cluster_size", 2)
    shrunk = await engine.until(lambda now: now.workers_alive == 2, "two workers")
    assert (shrunk.cluster_size, shrunk.draining) == (2, 0)

    await completed(engine, source, target)
    changes = [(facts["knob"], facts["old"], facts["value"]) for facts in engine.facts_of("knob")]
    assert changes[:2] == [("cluster_size", 1, 6), ("cluster_size", 6, 2)]
    retired = {facts["pid"] for facts in engine.facts_of("worker") if facts["what"] == "retired"}
    assert len(retired) >= 4
    assert not [facts for facts in engine.facts_of("worker") if facts["what"] == "died"]


@pytest.mark.slow
async def test_a_cluster_of_ninety_works(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, cluster_size=1)

    await engine.set("cluster_size", 90)
    shown = await engine.until(lambda now: working(now) == 90, "ninety workers")
    pids = {worker.pid for worker in shown.workers}
    assert len(pids) == 90
    await engine.set("throttle", 0)
    await engine.until(
        lambda now: (
            now.state is RunState.FINISHING or len({worker.pid for worker in now.workers if worker.written}) >= 30
        ),
        "rows of many workers",
    )

    await completed(engine, source, target)


@pytest.mark.slow
async def test_the_cluster_changes_its_size_while_paused(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, cluster_size=2)
    await engine.pause()

    await engine.set("cluster_size", 5)
    await engine.until(lambda now: working(now) == 5 and now.state is RunState.PAUSED, "five paused workers")
    await engine.set("cluster_size", 1)
    await engine.until(lambda now: now.workers_alive == 1 and now.state is RunState.PAUSED, "one paused worker")
    await engine.resume()

    await completed(engine, source, target)


@pytest.mark.slow
async def test_sizes_changed_in_quick_succession_end_at_the_last_one(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine = await started(engines, cluster_size=2)

    for size in (8, 1, 7, 2, 6, 3):
        await engine.set("cluster_size", size)
    await engine.until(lambda now: now.workers_alive == working(now) == 3, "three workers")

    await completed(engine, source, target)


@pytest.mark.slow
async def test_a_cluster_is_cancelled_while_it_grows(source: Source, target: Target, engines: Engines) -> None:
    """Sizes are looked at before they count, and partitions are cut for them: all of it may come after the end."""
    add_users(source, USERS)
    engine = await started(engines)

    sizes = [asyncio.create_task(engine.set("cluster_size", size)) for size in range(12, 17)]
    await asyncio.sleep(0)  # they are sent before
    await engine.cancel(now=True)

    assert (await engine.finished())["state"] == "cancelled"
    await asyncio.gather(*sizes, return_exceptions=True)  # done, or refused: there is nothing to steer
    await engine.leave()
    await engine.until_gone()


# --- page size and throttle -------------------------------------------------------------------------------------------


async def test_the_page_size_changes_while_it_copies(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines)

    answer = await engine.set("page_size", 100)
    assert answer == {"knob": "page_size", "value": 100, "applies": "from the next page"}
    assert (await engine.until(lambda now: now.page_size == 100, "the page size")).page_size == 100
    reached = engine.snapshot.written
    await engine.until_written(reached + 400)
    await engine.set("page_size", 100_000)

    await completed(engine, source, target)


async def test_the_throttle_holds_for_the_whole_cluster_and_comes_off(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine = await started(engines, cluster_size=3)

    before = engine.snapshot
    after = await engine.until(lambda now: sent(now) >= sent(before) + 3 * ROWS_PER_S, "three seconds' rows")
    rate = sent_per_s(before, after)
    assert rate < 2 * ROWS_PER_S, rate  # by itself each of the three would have as much; news may come late
    assert WorkerState.THROTTLED in {worker.state for worker in after.workers}

    await completed(engine, source, target)


@pytest.mark.slow
async def test_a_worker_alone_with_the_work_has_the_whole_throttle(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    source.db.command("create", "same_users", viewOn="users", pipeline=[])  # a view is one partition: for one worker
    engine = await engines.launch(engines.settings("same_users", run={"throttle": ROWS_PER_S, "cluster_size": 4}))
    await engine.start()

    before = await engine.until(lambda now: sent(now) > 0 and working(now) == 4, "all there, one at work")
    after = await engine.until(lambda now: sent(now) >= sent(before) + 3 * ROWS_PER_S, "three seconds' rows")
    assert ROWS_PER_S / 2 < sent_per_s(before, after) < 1.4 * ROWS_PER_S
    assert "throttled" in after.bottleneck
    await engine.set("throttle", 0)
    await engine.finished()
    assert_users_equal(source, target, table="same_users")


@pytest.mark.slow
async def test_a_slow_run_commits_steadily_whatever_its_page_size(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine = await started(engines, page_size=100_000, throttle=200)

    assert engine.snapshot.written < 500
    assert engine.snapshot.elapsed < SLOW_COMMIT_S

    await completed(engine, source, target)


# --- pause ------------------------------------------------------------------------------------------------------------


async def test_a_paused_run_stands_still_and_goes_on(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, cluster_size=3)

    await engine.pause()
    paused = await engine.until(
        lambda now: all(worker.state is WorkerState.PAUSED for worker in now.workers), "all workers paused"
    )
    assert paused.eta_reason.startswith("paused by ")
    await nothing_open(target)
    stands_at = committed(target)
    assert paused.written == stands_at < USERS
    await asyncio.sleep(STANDS_STILL_S)
    assert committed(target) == stands_at
    shown = await engine.client.ask(Snapshot, Status())
    assert (shown.written, shown.state) == (stands_at, RunState.PAUSED)
    await eventually(lambda: state_kept(target) == "paused", TOLD_WITHIN_S, lambda: state_kept(target))

    await engine.resume()
    await engine.until_written(stands_at + 1)
    await eventually(lambda: state_kept(target) == "running", TOLD_WITHIN_S, lambda: state_kept(target))
    await completed(engine, source, target)


async def test_a_pause_in_the_last_moment_holds(source: Source, target: Target, engines: Engines) -> None:
    """Everything is copied when it is through: a view is copied in one slice."""
    add_users(source, 2_000)
    source.db.command("create", "same_users", viewOn="users", pipeline=[])
    engine = await engines.launch(engines.settings("same_users", run={"throttle": 1_000}))
    await engine.start()
    await engine.until(lambda now: any(worker.sent for worker in now.workers), "rows on their way")

    await engine.pause()
    assert committed(target, "same_users") == 2_000
    await asyncio.sleep(STANDS_STILL_S)
    assert engine.snapshot.state is RunState.PAUSED

    await engine.resume()
    assert (await engine.finished())["exit_code"] == 0


@pytest.mark.slow
async def test_a_pause_before_there_are_workers_holds_them_too(engines: Engines) -> None:
    """The embedded servers take seconds to start."""
    engine = await engines.launch(engines.settings(demo={"embedded": True}, seed={"count": 2_000}))
    await engine.start(seed=True, migrate=False)
    await engine.pause()

    await engine.until(
        lambda now: now.workers_alive == 2 and all(worker.state is WorkerState.PAUSED for worker in now.workers),
        "workers that stand",
    )
    await asyncio.sleep(STANDS_STILL_S)
    assert (engine.snapshot.state, engine.snapshot.seeded) == (RunState.PAUSED, 0)

    await engine.resume()
    assert (await engine.finished())["seeded"] == 2_000


@pytest.mark.slow
async def test_a_run_is_paused_many_times(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, cluster_size=3)

    for _ in range(5):
        await engine.pause()
        stands_at = engine.snapshot.written
        assert stands_at == committed(target)
        await engine.resume()
        await engine.until_written(stands_at + 1)

    await completed(engine, source, target)


async def test_what_the_state_does_not_allow_is_refused(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await engines.launch(engines.settings("users", run={"throttle": ROWS_PER_S}))
    with pytest.raises(UsageError, match=r"has not started: there is nothing to pause"):
        await engine.pause()
    with pytest.raises(UsageError, match=r"has not started: there is nothing to cancel"):
        await engine.cancel()
    await engine.start()
    await engine.until_written(1)
    with pytest.raises(UsageError, match=r"is running: there is nothing to resume"):
        await engine.resume()
    with pytest.raises(UsageError, match=r"nothing to start"):
        await engine.start()

    await completed(engine, source, target)
    with pytest.raises(UsageError, match=r"is completed: there is nothing to pause"):
        await engine.pause()


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_a_knob_out_of_its_bounds_is_refused_with_the_bounds(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine = await started(engines)

    for knob, value, bounds in (
        ("cluster_size", 0, "between 1 and 1,024, not 0"),
        ("cluster_size", 129, "at most 128 on one host, not 129"),
        ("page_size", 99, "between 100 and 100,000, not 99"),
        ("page_size", 100_001, "between 100 and 100,000, not 100,001"),
        ("throttle", -1, "between 1 and 1,000,000,000, or 0"),
        ("seed_count", -1, "between 0 and 1,000,000,000, not -1"),
    ):
        with pytest.raises(KnobError, match=f"^{knob} must be {bounds}"):
            await engine.set(knob, value)
    with pytest.raises(KnobError, match=r"There is no knob 'speed'; the knobs are cluster_size, page_size,"):
        await engine.set("speed", 11)
    with pytest.raises(KnobError, match=r"only in a run that began with seeding"):
        await engine.set("seed_count", 10)
    assert engine.facts_of("knob") == []
    assert engine.snapshot.cluster_size == 2

    await engine.cancel(now=True)


async def test_a_cluster_beyond_the_target_s_free_connections_is_refused_with_their_number(
    source: Source, target: Target, engines: Engines, limited_role: str
) -> None:
    add_users(source, USERS)
    settings = engines.settings(
        "users", target={"uri": limited_role}, run={"throttle": ROWS_PER_S, "page_size": 300, "cluster_size": 2}
    )
    engine = await engines.launch(settings)
    await engine.start()
    await engine.until(
        lambda now: (
            all(worker.sent for worker in now.workers)
            and working(now) == 2
            and now.vitals is not None
            and now.vitals.target is not None
            and now.vitals.target.age_s is not None
        ),
        "every session of the run",
    )

    # Ten connections, of which the engine's two and two that are left for people are not for workers.
    with pytest.raises(KnobError, match=r"cluster_size must be at most 6 now, not 7"):
        await engine.set("cluster_size", 7)
    assert engine.snapshot.cluster_size == 2
    await engine.set("cluster_size", 6)
    await engine.until(lambda now: working(now) == 6, "six workers")

    await completed(engine, source, target)


async def test_a_run_that_begins_with_too_large_a_cluster_fails_with_the_number(
    source: Source, target: Target, engines: Engines, limited_role: str
) -> None:
    add_users(source, 100)

    _, end = await engines.run(engines.settings("users", target={"uri": limited_role}, run={"cluster_size": 50}))

    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 2, "knob")
    assert "cluster_size must be at most" in end["error"]["message"]
    assert committed(target) == 0


@pytest.fixture
def limited_role(target: Target) -> str:
    """The target as a role that may have ten connections."""
    role = f"limited_{target.database}"
    target.execute(f'CREATE ROLE {role} LOGIN CONNECTION LIMIT 10; ALTER DATABASE "{target.database}" OWNER TO {role};')
    return target.uri.replace("postgres@", f"{role}@")


# --- before the run ---------------------------------------------------------------------------------------------------


async def test_knobs_turned_before_the_run_hold_for_it(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await engines.launch(engines.settings("users"))

    for knob, value in (("cluster_size", 3), ("page_size", 300), ("throttle", 1_000)):
        answer = await engine.set(knob, value)
        assert answer == {"knob": knob, "value": value, "applies": "when the run starts"}
    await engine.start()
    await engine.until_written(1)
    shown = await engine.until(lambda now: now.workers_alive == 3, "three workers")

    assert (shown.cluster_size, shown.page_size, shown.throttle) == (3, 300, 1_000)
    await engine.cancel(now=True)
