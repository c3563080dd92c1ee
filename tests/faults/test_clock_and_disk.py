"""The machine itself is unreliable: its clock jumps, its disk takes no more of the log."""

from __future__ import annotations

import asyncio
import resource
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.planting import jumping_clock
from tests.faults.proxy import proxy_to
from tests.running import Engines, add_users, assert_users_equal

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 6_000
SLOW = 3_000
A_DAY_S = 86_400.0
AWAY_S = 2.0
LONGEST_S = 7_200.0
"""Far more than the run takes, and far less than the clock jumps."""


async def test_the_clock_jumps_by_days(
    source: Source, target: Target, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in jumping_clock(A_DAY_S).items():
        monkeypatch.setenv(name, value)
    add_users(source, USERS)
    engine = await engines.launch(engines.settings("users", run={"throttle": SLOW, "page_size": 200}))
    await engine.start()
    etas: list[float] = []

    def is_over(now: object) -> bool:
        snapshot = engine.snapshot
        if snapshot.eta_s is not None:
            etas.append(snapshot.eta_s)
        return snapshot.state.is_over

    await engine.until(is_over, "the end")
    assert abs(engine.snapshot.started_unix - time.time()) > A_DAY_S / 2, "the clock did not jump"

    end = await engine.finished()
    assert (end["state"], end["exit_code"], end["written"]) == ("completed", 0, USERS)
    assert 0 < end["seconds"] < LONGEST_S
    assert all(0 <= eta < LONGEST_S for eta in etas)
    assert [event.at for event in engine.events] == sorted(event.at for event in engine.events)
    assert not [facts for facts in engine.facts_of("worker") if facts["what"] == "died"]
    assert_users_equal(source, target)


@pytest.mark.slow
async def test_the_log_cannot_be_written_any_more(source: Source, target: Target, engines: Engines) -> None:
    """A file may not grow: what the engine and its workers would log is lost, and nothing else."""
    add_users(source, USERS)
    async with proxy_to(target.uri) as proxy:
        settings = engines.settings("users", target={"uri": proxy.uri}, run={"throttle": SLOW, "page_size": 200})
        engine = await engines.launch(settings)
        await engine.start()
        await engine.until_written(1)
        for pid in engine.processes():
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
        length = engine.process.log.stat().st_size

        proxy.is_down = True
        proxy.cut()
        await asyncio.sleep(AWAY_S)  # the engine would say that its ledger is gone
        proxy.is_down = False
        await engine.set("throttle", 0)

        end = await engine.finished()
        assert (end["state"], end["exit_code"], end["written"]) == ("completed", 0, USERS), engine.account()
        assert engine.process.log.stat().st_size == length
        assert_users_equal(source, target)
        await engine.leave()
        await engine.until_gone()
