"""A second pair of eyes on a run, and who leaves it: the run goes on, and nothing gets lost."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from engine.errors import ConnectError
from engine.protocol import RunState, SetKnob
from engine.service import sockets
from engine.service.client import EngineClient, Waits, find_engine
from tests.running import Engines, add_users, assert_users_equal, eventually
from tests.slow_run import completed, started, working

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 20_000


async def test_a_second_client_sees_and_steers_the_same_run(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines)

    other = await EngineClient.connect(await find_engine(engine.run_id[:-2]))
    assert other.attached.run_id == engine.run_id
    kinds = [event.kind for event in other.attached.events]
    assert kinds[0] == "state"
    assert "planned" in kinds
    assert "slice" not in kinds
    await other.call(SetKnob(knob="cluster_size", value=4))
    await engine.until(lambda now: working(now) == 4, "the second client's four workers")
    await eventually(lambda: working(other.snapshot) == 4, 60.0, engine.account)
    await other.close()

    await completed(engine, source, target)


async def test_a_run_has_the_time_of_its_own_start_and_not_of_its_engines(
    source: Source, target: Target, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_users(source, USERS)
    waited = "20200101-0000-ab2c"
    monkeypatch.setattr(sockets, "new_run_id", lambda: waited)
    engine = await started(engines)

    assert engine.process.run_id == waited
    assert engine.run_id.endswith("-ab2c")
    assert abs(time.time() - time.mktime(time.strptime(engine.run_id[:13], "%Y%m%d-%H%M"))) < 3_600
    assert target.value("SELECT run_id FROM mongopg.run") == engine.run_id
    for name in (engine.run_id, waited):
        assert await find_engine(name) == engine.process.socket

    await completed(engine, source, target)


async def test_a_client_that_detaches_leaves_the_run_going_on(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines)

    await engine.client.detach()
    other = await EngineClient.connect(engine.process.socket)
    assert other.attached.snapshot.state is RunState.RUNNING
    await other.call(SetKnob(knob="throttle", value=0))
    await eventually(lambda: other.snapshot.state is RunState.COMPLETED, 60.0, engine.account)
    await other.close()

    assert_users_equal(source, target)
    await engine.until_gone()


@pytest.mark.slow
async def test_a_detach_from_an_engine_that_stands_still_counts_when_it_goes_on(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine = await started(engines)
    impatient = Waits(connect_s=0.3, attach_s=0.3, detach_s=0.3)

    os.kill(engine.pid, signal.SIGSTOP)
    try:
        with pytest.raises(ConnectError, match="does not answer"):
            await find_engine(waits=impatient)
        with pytest.raises(ConnectError, match="does not answer"):
            await EngineClient.connect(engine.process.socket, waits=impatient)
        async with asyncio.timeout(60.0):
            await engine.client.detach()
    finally:
        os.kill(engine.pid, signal.SIGCONT)
    other = await EngineClient.connect(engine.process.socket)
    assert other.attached.snapshot.state is RunState.RUNNING
    await other.call(SetKnob(knob="throttle", value=0))
    await eventually(lambda: other.snapshot.state is RunState.COMPLETED, 60.0, engine.account)
    await other.close()

    assert_users_equal(source, target)
    await engine.until_gone()
