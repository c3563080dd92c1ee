"""The engine, its owner or the whole machine vanishes: nothing lives on that should not, and the ledger goes on from there."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import asyncpg
import pytest

from engine.protocol import RunState, SetKnob
from engine.service.client import EngineClient
from tests.running import (
    Engine,
    Engines,
    add_users,
    advisory_locks,
    assert_ledger,
    assert_users_equal,
    committed,
    eventually,
    sessions,
)
from tests.signals import send_signal
from tests.slow_run import SLOW, started

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 12_000
ENGINE_DEAD_S = 20.0
"""How long workers may live after their engine was killed: a second on a machine that has nothing else to do."""
SESSIONS_GONE_S = 30.0
"""How long PostgreSQL may take to notice and to roll back."""
CANCELLED_S = 20.0
"""How long everything may live after an owner vanished who wants the run cancelled."""


async def resumed(engines: Engines, source: Source, target: Target, run_id: str) -> None:
    """Another engine goes on with the run; both sides must be equal then."""
    engine, end = await engines.run(resume="")
    assert (end["state"], end["exit_code"], end["verification"]) == ("completed", 0, "verified")
    assert engine.run_id == run_id
    assert_users_equal(source, target)
    assert_ledger(target, run_id, rows=USERS)


async def test_the_engine_is_killed_and_the_run_resumed(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, written=600, cluster_size=3)
    run_id = engine.run_id

    engine.kill()

    await engine.until_gone(ENGINE_DEAD_S)
    await eventually(
        lambda: not sessions(target) and not advisory_locks(target), ENGINE_DEAD_S, lambda: sessions(target)
    )
    left = committed(target)
    assert 0 < left < USERS
    assert left == target.value("SELECT sum(n_written)::bigint FROM mongopg.slice WHERE run_id = $1", run_id)
    await resumed(engines, source, target, run_id)


@pytest.mark.usefixtures("both_orders")
@pytest.mark.slow
async def test_the_engine_is_killed_again_and_again(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, written=600, cluster_size=3)
    run_id = engine.run_id
    engine.kill()
    await engine.until_gone(ENGINE_DEAD_S)

    for size in (1, 4):
        settings = engines.settings("users", run=SLOW | {"cluster_size": size})
        engine = await engines.launch(settings)
        await engine.start(resume="")
        there = (await engine.until_state(RunState.RUNNING)).written
        await engine.until_written(there + 500)
        engine.kill()
        await engine.until_gone(ENGINE_DEAD_S)

    await resumed(engines, source, target, run_id)


@pytest.mark.slow
@pytest.mark.usefixtures("both_orders")
async def test_all_processes_are_killed_as_by_a_reboot(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, written=600, cluster_size=3)
    run_id = engine.run_id

    for pid in engine.processes():
        send_signal(pid, signal.SIGKILL)  # some end with the ones before them

    await engine.until_gone(ENGINE_DEAD_S)
    await resumed(engines, source, target, run_id)


@pytest.mark.slow
async def test_the_engine_is_killed_in_a_pause(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, written=600, cluster_size=3)
    await engine.pause()
    run_id, left = engine.run_id, committed(target)

    engine.kill()

    await engine.until_gone(ENGINE_DEAD_S)
    assert committed(target) == left
    await resumed(engines, source, target, run_id)


@pytest.mark.usefixtures("both_orders")
async def test_the_engine_is_killed_while_it_builds_keys(source: Source, target: Target, engines: Engines) -> None:
    """Everything is copied: a resume only builds the key, analyzes and counts."""
    add_users(source, USERS)
    engine = await started(engines, written=600, cluster_size=3)
    run_id = engine.run_id
    reader = await asyncpg.connect(target.uri)
    try:
        await reader.execute("BEGIN; SELECT count(*) FROM users")  # its lock keeps the key from being built
        await engine.set("throttle", 0)
        await engine.until(
            lambda now: now.state is RunState.FINISHING and now.phase.startswith("building"), "finishing"
        )
        engine.kill()
        await engine.until_gone(ENGINE_DEAD_S)
    finally:
        await reader.close()

    await resumed(engines, source, target, run_id)
    assert target.value("SELECT count(*) FROM pg_constraint WHERE conrelid = 'users'::regclass AND contype = 'p'") == 1


@pytest.mark.slow
async def test_the_engine_is_killed_before_the_first_slice(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    settings = engines.settings("users", run=SLOW)
    engine = await engines.launch(settings)
    await engine.start()
    await engine.event("planned")
    run_id = engine.run_id

    engine.kill()

    await engine.until_gone(ENGINE_DEAD_S)
    await resumed(engines, source, target, run_id)


@pytest.mark.slow
async def test_a_run_is_in_the_ledger_only_with_its_partitions(
    source: Source, target: Target, engines: Engines
) -> None:
    """An engine killed before they are there leaves nothing: neither a run that cannot go on nor a table in the way."""
    add_users(source, USERS)
    source.db.first.insert_one({"_id": 1})
    await engines.run(engines.settings("first"))  # makes the ledger
    other = await asyncpg.connect(target.uri)
    try:
        await other.execute("BEGIN; LOCK TABLE mongopg.partition IN SHARE MODE")
        engine = await engines.launch(engines.settings("users"))
        await engine.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'mongopg.partition'::regclass"
        await eventually(lambda: target.value(waiting), 30.0, engine.account)
        engine.kill()
        await engine.until_gone(ENGINE_DEAD_S)
    finally:
        await other.close()
    await eventually(lambda: not sessions(target), SESSIONS_GONE_S, lambda: sessions(target))
    assert target.value("SELECT count(*) FROM mongopg.run WHERE state <> 'completed'") == 0
    assert target.value("SELECT to_regclass('users') IS NULL")

    _, end = await engines.run(resume="")
    assert end["exit_code"] == 0
    assert_users_equal(source, target)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)], ids=["SIGTERM", "SIGHUP"]
)
async def test_the_engine_is_told_to_end(source: Source, target: Target, engines: Engines, number: int) -> None:
    add_users(source, USERS)
    engine = await started(engines, written=600, cluster_size=3)
    run_id = engine.run_id

    os.kill(engine.pid, number)

    end = await engine.finished()
    assert (end["state"], end["exit_code"]) == ("cancelled", 130)
    await engine.until_gone(CANCELLED_S)
    assert target.value("SELECT state FROM mongopg.run") == "cancelled"
    await resumed(engines, source, target, run_id)


# --- the owner vanishes -----------------------------------------------------------------------------------------------


async def vanish(engine: Engine) -> None:
    """As when the front end is killed: its socket closes without a word."""
    engine.client._writer.transport.abort()
    await engine.leave()


@pytest.mark.slow
async def test_an_owner_who_wants_it_cancelled_vanishes(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, written=600, cluster_size=3, on_disconnect="cancel")
    run_id = engine.run_id

    await vanish(engine)

    await engine.until_gone(CANCELLED_S)
    assert 0 < committed(target) < USERS
    assert target.value("SELECT state FROM mongopg.run") == "cancelled"
    assert not engine.process.socket.exists()
    await resumed(engines, source, target, run_id)


@pytest.mark.slow
async def test_an_owner_who_wants_it_continued_vanishes(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, written=600, cluster_size=3, on_disconnect="continue")

    await vanish(engine)

    other = await EngineClient.connect(engine.process.socket)
    assert other.attached.snapshot.state is RunState.RUNNING
    await other.call(SetKnob(knob="throttle", value=0))
    await other.close()
    await engine.until_gone(60.0)
    assert target.value("SELECT state FROM mongopg.run") == "completed"
    assert_users_equal(source, target)
    assert not engine.process.socket.exists()


@pytest.mark.slow
async def test_an_owner_vanishes_while_another_looks_on(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, written=600, cluster_size=3, on_disconnect="cancel")
    other = await EngineClient.connect(engine.process.socket)

    await vanish(engine)

    async def last_state() -> RunState:
        async for _ in other.messages():
            if other.snapshot.state.is_over:
                break
        return other.snapshot.state

    assert await asyncio.wait_for(last_state(), CANCELLED_S) is RunState.CANCELLED
    await other.close()
    await engine.until_gone()


@pytest.mark.slow
async def test_a_guest_who_vanishes_changes_nothing(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, written=600, cluster_size=3)
    guest = await EngineClient.connect(engine.process.socket)

    guest._writer.transport.abort()
    await guest.close()

    await engine.set("throttle", 0)
    assert (await engine.finished())["exit_code"] == 0
    assert_users_equal(source, target)
