"""Cancelled runs and what goes on from them: the ledger says what is done, and nothing is read or written twice."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from engine.ledger.schema import VERSION
from engine.protocol import RunState
from engine.service.client import find_engine
from tests.running import Engine, Engines, add_users, assert_ledger, assert_users_equal, committed, end_kept
from tests.slow_run import started

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 12_000
SLOW = 1_000
GONE_AFTER_NOW_S = 15.0
"""A page of all that the throttle lets through would take longer."""


async def broken_off(engines: Engines, *, now: bool, **run: Any) -> tuple[Engine, dict[str, Any]]:
    """A run that was cancelled in the middle, its engine gone; with the facts of its end."""
    settings = engines.settings("users", run={"throttle": SLOW, "page_size": 200, "cluster_size": 3} | run)
    engine = await engines.launch(settings)
    await engine.start()
    await engine.until_written(600)
    await engine.cancel(now=now)
    end = await engine.finished()
    await engine.leave()
    await engine.until_gone()
    return engine, end


async def resumed(engines: Engines, run: str = "", **settings: Any) -> tuple[Engine, dict[str, Any]]:
    """Another engine that goes on with a run to its end."""
    return await engines.run(engines.settings("users", **settings), resume=run)


def slices(target: Target, run_id: str) -> set[tuple[Any, ...]]:
    """Each committed slice with the time of its commit."""
    rows = target.rows(
        "SELECT partition_id, slice_no, n_read, committed_at FROM mongopg.slice WHERE run_id = $1", run_id
    )
    return {tuple(row) for row in rows}


@pytest.mark.parametrize("now", [False, True], ids=["drained", "rolled back"])
async def test_a_cancelled_run_is_resumed_and_ends_equal(
    source: Source, target: Target, engines: Engines, now: bool
) -> None:
    add_users(source, USERS)
    first, end = await broken_off(engines, now=now)
    assert (end["state"], end["exit_code"]) == ("cancelled", 130)
    left = committed(target)
    assert 0 < end["written"] == left < USERS
    assert target.value("SELECT state FROM mongopg.run") == "cancelled"
    before = slices(target, first.run_id)

    second, end = await resumed(engines)

    assert (end["state"], end["exit_code"], end["verification"]) == ("completed", 0, "verified")
    assert end["run_id"] == second.run_id == first.run_id
    assert (end["read"], end["written"]) == (USERS, USERS)
    assert_users_equal(source, target)
    assert_ledger(target, first.run_id, rows=USERS)
    assert before <= slices(target, first.run_id), "committed slices were written again"
    assert target.value("SELECT count(*) FROM mongopg.run") == 1


@contextmanager
def profiled(source: Source) -> Iterator[Callable[[], int]]:
    """How many whole users MongoDB has handed out since; where waiting partitions are cut again, only keys are read."""
    source.db.create_collection("system.profile", capped=True, size=1 << 24)
    source.db.command("profile", 2)
    reads = {"ns": f"{source.database}.users", "op": {"$in": ["query", "getmore"]}}
    whole = {f"{command}.projection": {"$exists": False} for command in ("command", "originatingCommand")}
    try:
        yield lambda: sum(each["nreturned"] for each in source.db["system.profile"].find(reads | whole))
    finally:
        source.db.command("profile", 0)


async def test_a_resume_reads_nothing_of_what_is_committed(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    first = await started(engines, written=USERS // 4, throttle=1_500)
    await first.cancel(now=True)
    await first.finished()
    await first.leave()
    await first.until_gone()
    left = committed(target)

    with profiled(source) as n_returned:
        await resumed(engines)
        assert n_returned() == USERS - left

    assert_users_equal(source, target)


async def test_cancel_now_ends_all_processes_at_once(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    # Pages of more rows than the throttle lets pass in seconds: only a rollback ends them at once.
    settings = engines.settings("users", run={"throttle": 100, "page_size": 100_000, "cluster_size": 4})
    engine = await engines.launch(settings)
    await engine.start()
    await engine.until(lambda now: sum(worker.sent for worker in now.workers) > 50, "rows on their way")

    began = time.monotonic()
    await engine.cancel(now=True)
    await engine.finished()
    assert time.monotonic() - began < GONE_AFTER_NOW_S
    assert engine.snapshot.workers == []
    assert committed(target) == engine.snapshot.written

    await resumed(engines)
    assert_users_equal(source, target)


async def test_a_drain_that_takes_too_long_for_the_operator_is_cut_short(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine = await engines.launch(engines.settings("users", run={"throttle": SLOW, "page_size": 200}))
    await engine.start()
    await engine.until_written(1)

    await engine.cancel()
    await engine.cancel(now=True)

    end = await engine.finished()
    assert (end["state"], end["exit_code"], end["written"]) == ("cancelled", 130, committed(target))


@pytest.mark.slow
async def test_a_paused_run_is_cancelled_and_resumed(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await engines.launch(engines.settings("users", run={"throttle": SLOW, "page_size": 200}))
    await engine.start()
    await engine.until_written(1)
    await engine.pause()
    await engine.cancel()
    assert (await engine.finished())["written"] == committed(target)
    await engine.leave()
    await engine.until_gone()

    await resumed(engines)
    assert_users_equal(source, target)


@pytest.mark.slow
async def test_a_run_cancelled_again_and_again_ends_equal(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    first, _ = await broken_off(engines, now=True)
    for size, now in ((1, True), (4, False), (2, True)):
        engine = await engines.launch(
            engines.settings("users", run={"throttle": SLOW, "page_size": 300, "cluster_size": size})
        )
        await engine.start(resume="")
        there = (await engine.until_state(RunState.RUNNING)).written
        await engine.until_written(there + 500)
        await engine.cancel(now=now)
        await engine.finished()
        await engine.leave()
        await engine.until_gone()

    await resumed(engines)
    assert_users_equal(source, target)
    assert_ledger(target, first.run_id, rows=USERS)


async def test_a_resumed_run_counts_what_was_there(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    first, before = await broken_off(engines, now=False)

    engine = await engines.launch(engines.settings("users", run={"throttle": SLOW, "page_size": 200}))
    await engine.start(resume=first.run_id[:-1])
    shown = await engine.until_state(RunState.RUNNING)
    assert shown.written >= before["written"]
    assert shown.total >= USERS
    await engine.set("throttle", 0)
    await engine.finished()
    assert_users_equal(source, target)


@pytest.mark.slow
async def test_a_resumed_run_is_found_by_its_own_id(source: Source, target: Target, engines: Engines) -> None:
    """Its engine's socket is called after the engine's beginning; an engine without a run is no run's."""
    add_users(source, USERS)
    first, _ = await broken_off(engines, now=False)
    idle = await engines.launch()
    engine = await engines.launch(engines.settings("users", run={"throttle": SLOW, "page_size": 200}))
    await engine.start(resume="")
    await engine.until_state(RunState.RUNNING)

    assert await find_engine(first.run_id) == engine.process.socket
    assert await find_engine() == engine.process.socket
    assert await find_engine(idle.run_id) == idle.process.socket

    await engine.set("throttle", 0)
    await engine.finished()
    assert_users_equal(source, target)


@pytest.mark.slow
async def test_a_run_is_resumed_days_later_by_a_newer_version(source: Source, target: Target, engines: Engines) -> None:
    """Its plan is brought up to what this version knows."""
    add_users(source, USERS)
    first, _ = await broken_off(engines, now=False)
    target.execute(
        "UPDATE mongopg.run SET plan = plan - 'format', started_at = started_at - interval '9 days',"
        " heartbeat_at = heartbeat_at - interval '9 days', ended_at = ended_at - interval '9 days';"
        " UPDATE mongopg.slice SET committed_at = committed_at - interval '9 days'"
    )

    second, end = await resumed(engines)

    assert (end["exit_code"], second.run_id) == (0, first.run_id)
    assert_users_equal(source, target)
    assert_ledger(target, first.run_id, rows=USERS)


# --- what is not resumed ----------------------------------------------------------------------------------------------


async def test_a_completed_run_has_nothing_to_resume(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, 1_000)
    first, _ = await engines.run()
    before = slices(target, first.run_id)

    for run in ("", first.run_id):
        engine, end = await resumed(engines, run)
        assert (end["state"], end["exit_code"], end["run_id"]) == ("completed", 0, first.run_id)
        assert "nothing to do" in engine.facts_of("problem")[0]["message"]

    assert slices(target, first.run_id) == before
    assert target.value("SELECT count(*) FROM mongopg.run") == 1
    assert target.value("SELECT state FROM mongopg.run") == "completed"
    assert_users_equal(source, target)


async def test_with_nothing_to_resume_a_run_begins_and_says_so(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, 1_000)

    engine, end = await resumed(engines)

    assert end["exit_code"] == 0
    assert "a new one begins" in engine.facts_of("problem")[0]["message"]
    assert_users_equal(source, target)


async def test_b17_with_nothing_to_resume_a_table_in_the_way_is_not_all_that_is_said(
    source: Source, target: Target, engines: Engines
) -> None:
    """The table is that of a run of another plan, which is what an operator forgot."""
    add_users(source, 1_000)
    await engines.run()

    _, end = await resumed(engines, mapping={"naming": "preserve"})

    assert (end["state"], end["error"]["code"]) == ("failed", "table_exists")
    assert end["error"]["message"].startswith(
        "The target has no unfinished run of this plan to resume, and a new one cannot begin: Table public.users exists"
    )


async def test_a_run_of_another_plan_is_refused_with_the_difference(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    first, _ = await broken_off(engines, now=False)
    left = committed(target)

    _, end = await resumed(engines, first.run_id, mapping={"naming": "preserve"})

    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 2, "plan_changed")
    assert 'mapping.naming was "snake_case" and is "preserve"' in end["error"]["message"]
    assert first.run_id in end["error"]["message"]
    assert committed(target) == left


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param(
            "UPDATE mongopg.version SET version = 99",
            "The ledger in the target has version 99, this program knows",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "UPDATE mongopg.version SET version = 3",
            f"(schema mongopg) has version 3, which is from before the first release, and this program knows {VERSION}",
            marks=pytest.mark.slow,
        ),
        ("UPDATE mongopg.run SET plan = jsonb_set(plan, '{format}', '99')", "has format 99, this program knows"),
        pytest.param(
            "UPDATE mongopg.run SET plan = plan - 'tables'",
            "cannot read (tables): use the version that began the run",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["ledger", "older ledger", "plan", "unreadable"],
)
async def test_a_run_of_a_version_that_is_not_known_is_refused(
    source: Source, target: Target, engines: Engines, change: str, sentence: str
) -> None:
    add_users(source, USERS)
    await broken_off(engines, now=False)
    left = committed(target)
    target.execute(change)

    _, end = await resumed(engines)

    assert (end["state"], end["exit_code"]) == ("failed", 2)
    assert sentence in end["error"]["message"]
    assert committed(target) == left


async def test_a_run_that_the_ledger_does_not_know_is_refused(source: Source, engines: Engines) -> None:
    add_users(source, 100)

    _, end = await resumed(engines, "20200101")

    assert (end["state"], end["exit_code"]) == ("failed", 2)
    assert "no run that begins with '20200101'" in end["error"]["message"]


async def test_a_run_whose_table_was_made_anew_is_refused(source: Source, target: Target, engines: Engines) -> None:
    """The ledger would say that rows are there which went with the old table."""
    add_users(source, USERS)
    first, _ = await broken_off(engines, now=False)
    target.execute("ALTER TABLE users RENAME TO gone; CREATE TABLE users (LIKE gone); DROP TABLE gone")

    _, end = await resumed(engines)

    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 2, "plan_changed")
    assert "no longer the one that run" in end["error"]["message"]
    assert committed(target) == 0
    assert target.value("SELECT state FROM mongopg.run WHERE run_id = $1", first.run_id) == "cancelled"


async def test_a_discarded_run_leaves_its_table_and_cannot_be_resumed(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    first, _ = await broken_off(engines, now=False)
    left = committed(target)
    engine = await engines.launch()
    from engine.protocol import DiscardRun

    await engine.client.call(DiscardRun(run=first.run_id))

    assert target.value("SELECT count(*) FROM mongopg.run") == 0
    assert target.value("SELECT count(*) FROM mongopg.slice") == 0
    assert committed(target) == left
    await engine.start(resume="")
    end = await engine.finished()
    assert (end["exit_code"], end["error"]["code"]) == (2, "table_exists")


# --- two at once ------------------------------------------------------------------------------------------------------


async def test_two_runs_on_one_table_are_refused_with_who_holds_it(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    source.db.others.insert_one({"_id": 1})
    first = await engines.launch(engines.settings("users", run={"throttle": SLOW, "page_size": 200}))
    await first.start()
    await first.until_written(1)
    await first.pause()

    settings = engines.settings("others", run={"collections": [f"{source.database}.others:public.users"]})
    second, end = await engines.run(settings)
    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 2, "target_held")
    holder = f"public.users is held by run {first.run_id} since "
    engine = f" UTC (engine {first.pid} on {socket.gethostname()}, last heard "
    assert holder in end["error"]["message"]
    assert engine in end["error"]["message"]
    await second.leave()

    third, end = await resumed(engines, first.run_id)
    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 2, "target_held")
    assert holder in end["error"]["message"]
    assert engine in end["error"]["message"]
    await third.leave()

    await first.set("throttle", 0)
    await first.resume()
    assert (await first.finished())["exit_code"] == 0
    assert_users_equal(source, target)
    assert_ledger(target, first.run_id, rows=USERS)


async def test_the_table_is_free_again_when_its_run_is_over(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, 1_000)
    first, _ = await engines.run()
    target.execute("DROP TABLE users")
    # The first engine lives on until we leave it, and must not hold the table any more.
    await end_kept(target, first)

    _, end = await engines.run()

    assert end["exit_code"] == 0
    assert_users_equal(source, target)
