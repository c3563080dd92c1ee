"""The engine's own sessions with the ledger, where others have been at it meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from engine.errors import UsageError
from engine.ledger import runs
from engine.ledger.ledger import FoundRun, Ledger
from engine.mapping.names import TableName
from engine.plan import kept_plan
from engine.postgres import connect as postgres
from engine.postgres.sqlstates import FAILURES
from engine.protocol import RunState
from engine.rows import TableLoad
from tests.running import Engines, add_users, waiting_for_a_lock

if TYPE_CHECKING:
    from tests.conftest import Source, Target


@asynccontextmanager
async def ledger_of(target: Target, run_id: str) -> AsyncIterator[Ledger]:
    ledger = Ledger(target.uri, run_id)
    await ledger.connect()
    try:
        yield ledger
    finally:
        await ledger._disconnect()


async def test_only_a_session_of_ours_is_ended(target: Target) -> None:
    """The number of a worker's session may be another session's, when the server was started anew."""
    ours = await postgres.connect(target.uri, application_name="mongopg-tui 20261123-1402-k3f9")
    other = await postgres.connect(target.uri, application_name="another application")
    async with ledger_of(target, "20261123-1402-k3f9") as ledger:
        await ledger.end_backend(other.get_server_pid())
        assert await other.fetchval("SELECT 1") == 1
        await ledger.end_backend(ours.get_server_pid())
        with pytest.raises(FAILURES):
            await ours.fetchval("SELECT 1")
    await other.close()


async def completed_run(source: Source, engines: Engines) -> str:
    add_users(source, 300)
    engine, end = await engines.run(engines.settings("users"))
    assert end["state"] == "completed"
    await engine.leave()
    await engine.until_gone()
    return str(end["run_id"])


async def found(ledger: Ledger, run_id: str) -> FoundRun:
    async with ledger.session() as connection:
        record = await runs.find_run(connection, prefix=run_id)
    assert record is not None
    return FoundRun(run_id, kept_plan(record.plan, run_id), is_complete=False, snapshot_time=record.snapshot_time)


async def test_a_run_that_was_completed_while_its_tables_were_waited_for_is_not_taken_up(
    source: Source, target: Target, engines: Engines
) -> None:
    run_id = await completed_run(source, engines)
    async with ledger_of(target, run_id) as ledger:
        before = await found(ledger, run_id)
        after, positions = await ledger.take_up(before)
        assert (after.is_complete, positions) == (True, [])
        assert target.value("SELECT state FROM mongopg.run") == "completed"


async def test_a_run_is_taken_up_with_the_moment_that_its_last_engine_moved_to(
    source: Source, target: Target, engines: Engines
) -> None:
    run_id = await completed_run(source, engines)
    target.execute("UPDATE mongopg.run SET state = 'cancelled', snapshot_time = 7")
    async with ledger_of(target, run_id) as ledger:
        before = replace(await found(ledger, run_id), snapshot_time=3)
        after, positions = await ledger.take_up(before)
        assert after.snapshot_time == 7
        assert positions
        await ledger.close(RunState.CANCELLED, 0.0, "none", "")


async def test_a_run_that_was_discarded_meanwhile_is_said_to_be_gone(
    source: Source, target: Target, engines: Engines
) -> None:
    run_id = await completed_run(source, engines)
    async with ledger_of(target, run_id) as ledger:
        before = await found(ledger, run_id)
        target.execute("DELETE FROM mongopg.run")
        with pytest.raises(UsageError, match=run_id):
            await ledger.take_up(before)


async def test_the_last_count_waits_for_a_commit_that_is_being_made(
    source: Source, target: Target, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.ledger.ledger.COMMITTING_S", 60.0)
    run_id = await completed_run(source, engines)
    async with ledger_of(target, run_id) as ledger:
        ledger._events.is_begun = True
        leaver = await postgres.connect(target.uri, application_name=ledger.app_name)
        holder = await postgres.connect(target.uri)
        await holder.execute("SELECT pg_advisory_lock(4711)")
        committing = asyncio.create_task(leaver.execute("SELECT pg_advisory_lock(4711)"))
        await waiting_for_a_lock(target)
        counting = asyncio.create_task(ledger.last_totals())
        await asyncio.sleep(0.3)  # what does not wait is done by then
        assert not counting.done()
        await holder.close()
        await committing
        totals = await counting
        assert totals is not None
        assert totals.tables[0].written == 300
        await leaver.close()


async def test_a_run_began_when_it_was_accepted_not_when_it_was_planned(target: Target) -> None:
    async with ledger_of(target, "20261123-1402-k3f9") as ledger, ledger.session() as connection:
        run = runs.NewRun("20261123-1402-k3f9", "f", "create", "s", "t", "{}", "here", age_s=3_600)
        load = TableLoad(0, "shop.users", TableName("public", "users"), "{}", 10)
        await runs.create_run_and_tables(connection, run, [load], ["CREATE TABLE users (n integer)"])
        (listed,) = await runs.list_runs(connection)
    planned = target.value("SELECT extract(epoch FROM taken_at)::float8 FROM mongopg.run")
    assert planned - listed.started_at.timestamp() == pytest.approx(3_600, abs=1_000)
