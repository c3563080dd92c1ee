"""A run whose engine is on another host: taken over when that engine is silent, which finds it taken when it comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest

from engine.errors import MigrationError, RunTaken, TargetHeld
from engine.ledger import runs, table_locks, taking
from engine.ledger.ledger import FoundRun, Ledger
from engine.ledger.taking import LastEngine
from engine.mapping.names import TableName
from engine.plan import kept_plan
from engine.postgres import connect as postgres
from engine.postgres import sessions
from engine.postgres.sqlstates import FAILURES
from engine.protocol import RunState
from engine.work.joining import join_run
from tests.engine.target_tools import RUN, USERS, Bench, bench
from tests.running import Engines, add_users

if TYPE_CHECKING:
    from tests.conftest import Source, Target

UNENDED = """
    UPDATE mongopg.run SET state = 'running', ended_at = NULL, engine_host = 'a', engine_pid = 4711,
        heartbeat_at = clock_timestamp() - make_interval(secs => $1)
"""
"""A run of an engine on host a, last heard so many seconds ago."""


async def unended_run(source: Source, target: Target, engines: Engines, silent_s: float) -> str:
    """A run that has all its rows, and of whose engine on host a nothing was heard since."""
    add_users(source, 300)
    engine, end = await engines.run(engines.settings("users"))
    await engine.leave()
    await engine.until_gone()
    target.execute(UNENDED, silent_s)
    return str(end["run_id"])


@asynccontextmanager
async def on_host(
    host: str, target: Target, run_id: str
) -> AsyncIterator[tuple[Ledger, FoundRun, list[MigrationError]]]:
    """An engine's ledger on a host, the run as it finds it, and what it was told that ends it."""
    lost: list[MigrationError] = []
    ledger = Ledger(target.uri, "20261201-0000-none", lost.append, host)
    await ledger.connect()
    try:
        async with ledger.session() as connection:
            record = await runs.find_run(connection, prefix=run_id)
        assert record is not None
        found = FoundRun(run_id, kept_plan(record.plan, run_id), is_complete=False, snapshot_time=None)
        yield ledger, found, lost
    finally:
        await ledger.close(RunState.CANCELLED, 0.0, "none", "")


async def held_as(target: Target, run_id: str) -> asyncpg.Connection:
    """A session of the run's first engine, which still has its table."""
    connection = await postgres.connect(target.uri, application_name=sessions.name_of(run_id))
    await table_locks.hold_tables(connection, [TableName("public", "users")], run_id)
    return connection


async def test_an_engine_on_another_host_has_to_be_silent_first(
    source: Source, target: Target, engines: Engines
) -> None:
    run_id = await unended_run(source, target, engines, silent_s=12)
    async with on_host("b", target, run_id) as (ledger, found, _):
        for takes_over in (False, True):
            with pytest.raises(
                TargetHeld, match=r"engine 4711 on host a, last heard (1[2-9]|2\d) s ago.*silent for 30 s"
            ):
                await ledger.take_up(found, takes_over=takes_over)
    assert target.value("SELECT engine_host FROM mongopg.run") == "a"


async def test_a_silent_engine_on_another_host_is_taken_over_only_when_that_is_said(
    source: Source, target: Target, engines: Engines
) -> None:
    run_id = await unended_run(source, target, engines, silent_s=95)
    old = await held_as(target, run_id)
    async with on_host("b", target, run_id) as (ledger, found, _):
        with pytest.raises(TargetHeld, match=r"engine 4711 on host a, last heard \d+ s ago.*--take-over"):
            await ledger.take_up(found)
        assert await old.fetchval("SELECT 1") == 1

        await ledger.take_up(found, takes_over=True)

        with pytest.raises(FAILURES):
            await old.fetchval("SELECT 1")
        assert list(map(tuple, target.rows("SELECT engine_host, generation FROM mongopg.run"))) == [("b", 2)]


async def test_an_engine_that_comes_back_finds_its_run_taken(source: Source, target: Target, engines: Engines) -> None:
    run_id = await unended_run(source, target, engines, silent_s=95)
    async with on_host("a", target, run_id) as (old, found, told):
        await old.take_up(found)
        target.execute("UPDATE mongopg.run SET heartbeat_at = clock_timestamp() - interval '40 s'")
        async with on_host("b", target, run_id) as (new, found_by_new, untold):
            await new.take_up(found_by_new, takes_over=True)
            with pytest.raises(RunTaken, match=rf"Run {run_id} was taken over by engine \d+ on host b,"):
                async with old.session():
                    pass
            with pytest.raises(RunTaken):
                async with old.own_session():
                    pass
            assert {type(error) for error in told} == {RunTaken}
            await old.close(RunState.FAILED, 5.0, "none", "it was taken")
            assert list(map(tuple, target.rows("SELECT state, ended_at, error FROM mongopg.run"))) == [
                ("running", None, "")
            ]
            assert untold == []


async def test_the_engine_on_the_same_host_needs_no_word(source: Source, target: Target, engines: Engines) -> None:
    run_id = await unended_run(source, target, engines, silent_s=3)
    async with on_host("a", target, run_id) as (ledger, found, _):
        await ledger.take_up(found)
        assert target.value("SELECT generation FROM mongopg.run") == 2


@asynccontextmanager
async def taken_twice(target: Target) -> AsyncIterator[Bench]:
    """A run that another engine drives than the one that began it."""
    async with bench(target.uri) as made:
        assert await taking.claim(made.connection, RUN, "b", 4711) == taking.FIRST + 1
        await runs.take_over(made.connection, RUN, "running")
        yield made


async def test_what_the_first_engine_writes_of_the_run_is_refused(target: Target) -> None:
    async with taken_twice(target) as made:
        with pytest.raises(RunTaken):
            await runs.heartbeat(made.connection, RUN, taking.FIRST, "failed")
        with pytest.raises(RunTaken):
            await runs.set_state(made.connection, RUN, taking.FIRST, "failed", ended=True)
        assert list(map(tuple, target.rows("SELECT state, ended_at FROM mongopg.run"))) == [("running", None)]
        await runs.heartbeat(made.connection, RUN, taking.FIRST + 1, "paused")
        assert target.value("SELECT state FROM mongopg.run") == "paused"
        await runs.heartbeat(made.connection, "discarded", taking.FIRST)


async def test_a_worker_of_the_first_engine_joins_no_more(target: Target) -> None:
    async with taken_twice(target) as made:
        await sessions.rename(made.connection, RUN)
        await table_locks.hold_tables(made.connection, [USERS], RUN)
        worker = await made.connect()
        with pytest.raises(RunTaken, match="on host b"):
            await join_run(worker, RUN, USERS, taking.FIRST)
        await join_run(worker, RUN, USERS, taking.FIRST + 1)


async def test_a_session_that_may_not_be_ended_is_named(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "ENDING_S", 0.0)
    async with bench(target.uri) as made:
        target.execute("DROP ROLE IF EXISTS other_role; CREATE ROLE other_role LOGIN SUPERUSER PASSWORD 'x'")
        other = await asyncpg.connect(
            target.uri, user="other_role", password="x", server_settings={"application_name": sessions.name_of(RUN)}
        )
        with pytest.raises(TargetHeld, match=f"{other.get_server_pid()} of other_role.*pg_terminate_backend"):
            await taking.end_others(made.connection, RUN, [])
        await other.close()
        target.execute("DROP ROLE other_role")


@pytest.mark.parametrize(
    ("last", "takes_over", "refusal"),
    [
        (LastEngine("r", "b", 1, 0.5, has_ended=False), False, None),
        (LastEngine("r", "a", 1, 0.5, has_ended=True), False, None),
        (LastEngine("r", "a", 1, 29.4, has_ended=False), True, "last heard 29 s ago"),
        (LastEngine("r", "a", 1, 1_200.0, has_ended=False), False, "1,200 s ago.*--take-over"),
        (LastEngine("r", "a", 1, 30.0, has_ended=False), True, None),
        (LastEngine("r", "a", 1, -3.0, has_ended=False), True, "last heard 0 s ago"),
    ],
)
def test_which_engine_has_to_be_silent(last: LastEngine, takes_over: bool, refusal: str | None) -> None:
    if refusal is None:
        taking.require_silent(last, "b", takes_over=takes_over)
    else:
        with pytest.raises(TargetHeld, match=refusal):
            taking.require_silent(last, "b", takes_over=takes_over)
