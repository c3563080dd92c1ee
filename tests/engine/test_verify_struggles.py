"""A full verification that is refused, steered, cancelled, or meets a fault."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from engine.errors import Cancelled, MigrationError, TargetHeld, UsageError
from engine.protocol import Verification
from tests.engine.verification_tools import MANY, USERS, only, verified
from tests.running import Engines, add_users, eventually, sessions

if TYPE_CHECKING:
    from tests.conftest import Source, Target


async def test_a_run_that_is_not_complete_is_refused(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await engines.launch(engines.settings("users", run={"throttle": 100}))
    await engine.start()
    await engine.until_written(1)
    with pytest.raises(UsageError, match="at work"):
        await verified(engine)
    other = await engines.launch()
    with pytest.raises(UsageError, match="not complete"):
        await verified(other)
    await engine.cancel()
    await engine.finished()
    with pytest.raises(UsageError, match=f"run --resume {engine.run_id}"):
        await verified(engine)


@pytest.mark.slow
async def test_a_run_into_the_same_table_keeps_a_verification_out(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    await engines.run()
    appending = await engines.launch(
        engines.settings("more", run={"mode": "upsert", "throttle": 100,
                                      "collections": [f"{source.database}.users:public.users"]})
    )  # fmt: skip
    await appending.start()
    await appending.until_written(1)
    other = await engines.launch()
    first = target.value("SELECT run_id FROM mongopg.run ORDER BY started_at LIMIT 1")

    with pytest.raises(TargetHeld, match=appending.run_id):
        await verified(other, run=first)


@pytest.mark.slow
async def test_progress_is_shown_and_knobs_work(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, MANY)
    engine, _ = await engines.run()
    verifying = asyncio.create_task(verified(engine))
    shown = await engine.until(lambda now: now.comparing is not None and now.workers, "workers that compare")
    await engine.set("throttle", 5_000)
    await engine.set("cluster_size", 3)
    shown = await engine.until(
        lambda now: now.comparing is not None and now.comparing.checked and now.workers_alive == 3, "three workers"
    )

    assert shown.comparing is not None
    assert (shown.phase, shown.verification) == ("verifying", Verification.RUNNING)
    assert (shown.comparing.run_id, shown.comparing.total) == (engine.run_id, MANY)
    assert shown.comparing.checked < MANY
    with pytest.raises(UsageError, match="at work"):
        await verified(engine)
    await engine.set("cluster_size", 1)
    await engine.until(lambda now: now.workers_alive == 1, "one worker")
    await engine.set("throttle", 0)
    assert only(await verifying).equal == MANY


@pytest.mark.slow
async def test_a_verification_can_be_cancelled(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, MANY)
    engine, _ = await engines.run()
    verifying = asyncio.create_task(verified(engine))
    await engine.until(lambda now: now.comparing is not None and now.workers, "workers that compare")

    await engine.cancel()

    with pytest.raises(Cancelled):
        await verifying
    await eventually(lambda: not sessions(target), 60.0, lambda: sessions(target))  # the server notices in its own time
    assert target.value("SELECT verification FROM mongopg.run") == "verified"
    assert only(await verified(engine)).equal == MANY


@pytest.mark.slow
async def test_killed_workers_are_replaced(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, MANY)
    run, _ = await engines.run()
    await run.leave()
    await run.until_gone()
    engine = await engines.launch(engines.settings("users", run={"throttle": 2_000}))
    verifying = asyncio.create_task(verified(engine, run=run.run_id))
    await engine.until(lambda now: now.comparing is not None, "a verification")
    await engine.strike(lambda worker: worker.sent > 0, what="a worker that compares")
    await engine.set("throttle", 0)

    report = await verifying

    assert (only(report).equal, report.result) == (MANY, Verification.VERIFIED)
    assert any(event.kind == "worker" and event.facts["what"] == "died" for event in engine.events)


@pytest.mark.slow
async def test_an_engine_that_loses_its_owner_breaks_off(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, MANY)
    await engines.run()
    engine = await engines.launch()
    verifying = asyncio.create_task(verified(engine))
    await engine.until(lambda now: now.comparing is not None and now.workers, "workers that compare")

    await engine.client.close()

    with pytest.raises(MigrationError):
        await verifying
    await engine.until_gone()


@pytest.mark.slow
async def test_sessions_that_are_ended_are_made_again(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, MANY)
    engine, _ = await engines.run()
    verifying = asyncio.create_task(verified(engine))
    await engine.until(
        lambda now: now.comparing is not None and now.workers and now.workers[0].sent > 0, "a worker that compares"
    )
    target.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND starts_with(application_name, 'mongopg-tui')"
    )

    report = await verifying

    assert (only(report).equal, report.result) == (MANY, Verification.VERIFIED)


@pytest.mark.slow
async def test_cursors_that_fail_are_opened_again(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, MANY)
    engine, _ = await engines.run()
    failing = {"failCommands": ["getMore"], "errorCode": 43}
    source.client.admin.command("configureFailPoint", "failCommand", mode={"times": 3}, data=failing)

    report = await verified(engine)

    assert (only(report).equal, report.result) == (MANY, Verification.VERIFIED)
    assert engine.snapshot.problems
