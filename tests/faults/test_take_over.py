"""An engine that stands still is taken over from another host, and wakes up: its run goes on with the other one alone."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from engine.errors import RunTaken, TargetHeld
from engine.protocol import RunState
from tests.running import Engines, add_users, assert_ledger, assert_users_equal, eventually
from tests.signals import send_signal
from tests.slow_run import SLOW, started

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 12_000
SILENT = "UPDATE mongopg.run SET heartbeat_at = clock_timestamp() - interval '31 s' WHERE run_id = $1"
"""Instead of waiting for so long."""


@pytest.mark.slow
@pytest.mark.parametrize("with_workers", [False, True], ids=["engine", "engine and workers"])
async def test_an_engine_that_stood_still_wakes_up_when_another_has_its_run(
    source: Source, target: Target, engines: Engines, with_workers: bool
) -> None:
    add_users(source, USERS)
    first = await started(engines, written=600, cluster_size=3, sections={"cluster": {"host": "a"}})
    run_id = first.run_id
    stopped = list(first.processes()) if with_workers else [first.pid]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    on_b: dict[str, Any] = {"cluster": {"host": "b"}}

    refused = await engines.launch(engines.settings("users", **on_b))
    await refused.start(resume=run_id, take_over=True)
    end = await refused.finished()
    assert (end["state"], end["exit_code"]) == ("failed", 2)
    assert end["error"]["code"] == TargetHeld.code
    assert "on host a, last heard" in end["error"]["message"]

    target.execute(SILENT, run_id)
    second = await engines.launch(engines.settings("users", run=SLOW, **on_b))
    await second.start(resume=run_id, take_over=True)
    there = (await second.until_state(RunState.RUNNING)).written
    await second.until_written(there + 200)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)

    end = await first.finished()
    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 2, RunTaken.code)
    assert f"Run {run_id} was taken over by engine {second.pid} on host b" in end["error"]["message"]
    await first.leave()
    await first.until_gone()
    assert second.snapshot.state is RunState.RUNNING

    await second.set("throttle", 0)
    end = await second.finished()
    assert (end["state"], end["verification"], end["read"], end["written"]) == ("completed", "verified", USERS, USERS)
    assert_users_equal(source, target)
    assert_ledger(target, run_id, rows=USERS)
    assert list(map(tuple, target.rows("SELECT engine_host, generation, state FROM mongopg.run"))) == [
        ("b", 2, "completed")
    ]


@pytest.mark.slow
async def test_a_host_that_is_gone_leaves_its_run_to_another(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    first = await started(engines, written=600, sections={"cluster": {"host": "a"}})
    run_id = first.run_id
    for pid in first.processes():
        send_signal(pid, signal.SIGKILL)  # some end with the ones before them
    await eventually(lambda: not first.processes(), 60.0, first.processes)
    target.execute(SILENT, run_id)
    on_b: dict[str, Any] = {"cluster": {"host": "b"}}

    _, end = await engines.run(engines.settings("users", **on_b), resume=run_id)
    assert (end["state"], end["exit_code"]) == ("failed", 2)
    assert "--take-over" in end["error"]["message"]

    _, end = await engines.run(engines.settings("users", **on_b), resume=run_id, take_over=True)
    assert (end["state"], end["exit_code"], end["verification"]) == ("completed", 0, "verified")
    assert_users_equal(source, target)
    assert_ledger(target, run_id, rows=USERS)
