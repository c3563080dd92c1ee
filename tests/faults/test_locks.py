"""Another session's lock while a run finishes: its holder is told, others wait only shortly, and the run is never lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest

from engine.errors import EXIT_CANCELLED
from engine.protocol import RunState
from tests.faults.planting import constants
from tests.running import Engine, Engines, add_users, assert_users_equal
from tests.slow_run import completed, started

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 3_000
SWAP_LOCK_S = 1.0
"""Of the run whose swap a reader delays: a third of what it is otherwise."""
ANSWERED_S = 60.0
"""A reader that waited until the lock is given up would never be answered."""
IMPATIENT = {
    "engine.run.steps:LOCKED_S": 0.5,
    "engine.run.steps:LOCK_AGAIN_S": 0.3,
    "engine.postgres.finish:LOCK_TIMEOUT_S": 0.3,
    "engine.postgres.finish:SWAP_LOCK_S": 0.3,
}


@asynccontextmanager
async def holding(target: Target, statement: str = "SELECT FROM users") -> AsyncIterator[asyncpg.Connection]:
    """A session whose transaction has a lock, by default a reader's."""
    other = await asyncpg.connect(target.uri, server_settings={"application_name": "nightly report"})
    try:
        await other.execute(f"BEGIN; {statement}")
        yield other
    finally:
        await other.close()


async def replacing(engines: Engines, target: Target) -> Engine:
    """A run that has an old table to replace."""
    add_users(engines.source, USERS)
    return await engines.launch(engines.settings("users", run={"mode": "replace"}))


def told_of(other: asyncpg.Connection, lock: str) -> str:
    return f"Table public.users is locked: session {other.get_server_pid()} of postgres (nightly report) holds a {lock}"


@pytest.mark.slow
async def test_a_reader_of_the_old_table_delays_the_swap_and_no_other_reader_for_long(
    source: Source, target: Target, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in constants({"engine.postgres.finish:SWAP_LOCK_S": SWAP_LOCK_S}).items():
        monkeypatch.setenv(name, value)
    target.execute("CREATE TABLE users AS SELECT 'old'::text AS _id")
    engine = await replacing(engines, target)
    async with holding(target) as reader:
        await engine.start()
        found = await engine.event("problem", lambda facts: facts["code"] == "55P03")
        assert f"{told_of(reader, 'AccessShareLock')} since" in found.facts["message"]
        assert found.facts["retry"]
        until = time.monotonic() + 2 * SWAP_LOCK_S
        async with holding(target, "SELECT 1") as another:
            while time.monotonic() < until:
                assert await another.fetchval("SELECT count(*) FROM users", timeout=ANSWERED_S) == 1
                await another.execute("COMMIT; BEGIN")
                await asyncio.sleep(0.02)
        assert not engine.snapshot.state.is_over

    await completed(engine, source, target)


@pytest.mark.slow
async def test_a_table_that_is_locked_when_a_run_begins_to_append_delays_it(
    source: Source, target: Target, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    add_users(source, USERS)
    _, first = await engines.run(engines.settings("users"))
    assert first["state"] == "completed"
    source.db.users.delete_many({})
    add_users(source, USERS, first=USERS)
    engine = await engines.launch(engines.settings("users", run={"mode": "append"}))
    async with holding(target, "LOCK TABLE users") as other:
        await engine.start()
        found = await engine.event("problem", lambda facts: facts["code"] == "55P03")
        assert told_of(other, "AccessExclusiveLock") in found.facts["message"]
        assert not engine.snapshot.state.is_over

    end = await engine.finished()
    assert (end["exit_code"], end["written"]) == (0, USERS)
    assert target.value("SELECT count(*) FROM users") == 2 * USERS


@pytest.mark.slow
async def test_a_lock_on_the_new_table_delays_its_key(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    source.db.users.create_index("username")
    engine = await started(engines, indexes=True)
    async with holding(target) as reader:
        await engine.set("throttle", 0)
        found = await engine.event("problem", lambda facts: facts["code"] == "55P03")
        assert told_of(reader, "AccessShareLock") in found.facts["message"]

    await completed(engine, source, target)
    assert target.value("SELECT count(*) FROM pg_index WHERE indrelid = 'users'::regclass AND indisvalid") == 2


def plant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in constants(IMPATIENT).items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
async def test_a_run_says_that_it_stands_for_a_lock_and_goes_on_by_itself(
    source: Source, target: Target, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    target.execute("CREATE TABLE users (_id text)")
    engine = await replacing(engines, target)
    async with holding(target) as reader:
        await engine.start()
        paused = await engine.until_state(RunState.PAUSED)
        assert paused.eta_reason == "waiting: a lock on a target table"
        [problem] = [problem for problem in paused.problems if problem.code == "55P03"]
        assert told_of(reader, "AccessShareLock") in problem.message
        assert "The run is paused: the run continues by itself when that session releases it" in problem.message
        await asyncio.sleep(1.0)
        assert engine.snapshot.state is RunState.PAUSED

    await completed(engine, source, target)
    assert len([facts for facts in engine.facts_of("problem") if not facts.get("retry")]) == 1


@pytest.mark.slow
async def test_a_run_that_stands_for_a_lock_can_be_cancelled_and_resumed(
    source: Source, target: Target, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    target.execute("CREATE TABLE users (_id text)")
    engine = await replacing(engines, target)
    async with holding(target):
        await engine.start()
        await engine.until_state(RunState.PAUSED)
        await engine.cancel()
        assert (await engine.finished())["exit_code"] == EXIT_CANCELLED
        assert target.value("SELECT count(*) FROM users") == 0
    await engine.leave()
    await engine.until_gone()

    _, end = await engines.run(engines.settings("users", run={"mode": "replace"}), resume="")

    assert (end["exit_code"], end["written"]) == (0, USERS)
    assert_users_equal(source, target)
