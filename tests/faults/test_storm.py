"""An operator who turns everything at once, by chance from a printed seed: what must hold, holds at all times."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from engine import protocol
from engine.errors import UsageError
from engine.protocol import RunState, Snapshot
from tests.running import Engine, Engines, add_users, assert_ledger, assert_users_equal, committed

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 12_000
CALM = {RunState.PAUSING, RunState.PAUSED}
ANSWERED_S = 30.0


def assert_sane(before: Snapshot, now: Snapshot) -> None:
    """What holds of any two snapshots of a run in which nothing fails."""
    assert now.written >= before.written
    assert now.read >= now.written + now.rejected
    assert now.total >= now.written
    assert 1 <= now.cluster_size <= 16
    assert now.partitions_done <= now.partitions_total
    if now.state is RunState.PAUSED:
        assert all(worker.partition < 0 for worker in now.workers)


async def command(engine: Engine, chance: random.Random) -> str:
    """One of the operator's; what the state does not allow is refused, which is no harm."""
    what = chance.choice(["pause", "resume", "cluster_size", "cluster_size", "page_size", "throttle"])
    value = {
        "cluster_size": chance.choice([1, 2, 5, 16]),
        "page_size": chance.randint(100, 2_000),
        "throttle": chance.randint(300, 1_500),
    }.get(what, 0)
    call = {"pause": protocol.Pause(), "resume": protocol.Resume()}.get(what) or protocol.SetKnob(
        knob=what, value=value
    )
    with suppress(UsageError):
        await asyncio.wait_for(engine.client.call(call), ANSWERED_S)
    return f"{what} {value}"


async def go_on(engine: Engine) -> None:
    """End whatever pause is in force."""
    while engine.snapshot.state in CALM or engine.snapshot.state is RunState.RUNNING:
        with suppress(UsageError):
            await engine.resume()
        if engine.snapshot.state not in CALM:
            return
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("commands", "cancels"),
    [(25, 0), pytest.param(150, 4, marks=pytest.mark.slow)],
    ids=["short", "long, with cancels"],
)
async def test_a_storm_of_commands(
    commands: int, cancels: int, source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    seed = int.from_bytes(os.urandom(4), "big")
    chance = random.Random(seed)
    print(f"seed {seed}")
    settings = engines.settings("users", run={"throttle": 1_000, "page_size": 200, "cluster_size": 3})
    given: list[str] = []
    n_cancelled = 0
    for attempt in range(cancels + 1):
        engine = await engines.launch(settings)
        await engine.start(resume="" if attempt else None)
        await engine.until_state(RunState.RUNNING)
        before = engine.snapshot
        for _ in range(commands // (cancels + 1)):
            if engine.snapshot.state not in CALM | {RunState.RUNNING}:
                break
            given.append(await command(engine, chance))
            await asyncio.sleep(chance.uniform(0.0, 0.1))
            assert_sane(before, engine.snapshot)
            before = engine.snapshot
        if attempt < cancels and engine.snapshot.state in CALM | {RunState.RUNNING}:
            await engine.cancel(now=chance.random() < 0.5)
            end = await engine.finished()
            assert end["state"] == "cancelled", given
            assert committed(target) == end["written"]
            n_cancelled += 1
            await engine.leave()
            await engine.until_gone()
        else:
            break
    await go_on(engine)
    with suppress(UsageError):
        await engine.set("throttle", 0)

    end = await engine.finished()
    assert (end["state"], end["exit_code"], end["written"]) == ("completed", 0, USERS), (given, engine.account())
    assert n_cancelled == cancels
    assert_users_equal(source, target)
    assert_ledger(target, engine.run_id, rows=USERS)
