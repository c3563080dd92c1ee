"""A server is away for longer than a copy would wait, while a run follows: it goes on by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from engine.protocol import CutOver, RunState
from tests.engine.test_follow import following, ready
from tests.engine.test_follow_control import applied, fill, settings_of
from tests.faults.planting import constants
from tests.faults.proxy import proxy_to
from tests.running import Engine, Engines, eventually

if TYPE_CHECKING:
    from tests.conftest import Source, Target

SOON = {"engine.retries:LIMIT_S": 0.5, "engine.follow.apply_job:PUT_OFF_S": 0.5, "engine.run.steps:AWAY_AGAIN_S": 0.2}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines whose workers give a server up soon."""
    for name, value in constants(SOON).items():
        monkeypatch.setenv(name, value)


def gave_up(engine: Engine) -> bool:
    """A worker waited for as long as it does, and gave its lane back."""
    return any("What changed is applied when that is over." in facts["message"] for facts in engine.facts_of("problem"))


async def gone(engines: Engines, source: Source, target: Target) -> None:
    """No engine is left that needs the proxy."""
    for engine in engines.launched:
        await engine.leave()
        await engine.until_gone()
    engines.source, engines.target = source, target


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
async def test_a_target_that_stays_away_is_waited_for(source: Source, target: Target, engines: Engines) -> None:
    fill(source)
    async with proxy_to(target.uri) as proxy:
        engines.target = replace(target, uri=proxy.uri)
        engine = await following(engines, settings_of(engines))
        await ready(engine)
        await engine.pause()  # so that keys wait when the target goes
        source.db.things.update_many({}, {"$set": {"n": 1}})
        await eventually(lambda: target.value("SELECT count(*) FROM mongopg.dirty") == 50, 30.0, engine.account)
        proxy.is_down = True
        proxy.cut()
        await engine.resume()
        await eventually(lambda: gave_up(engine), 60.0, engine.account)
        source.db.things.delete_many({"_id": {"$lt": 10}})
        await engine.until(
            lambda now: now.follow is not None and "stream" in {each.code for each in now.follow.reasons},
            "it says that changes are not read",
        )
        assert engine.snapshot.state is RunState.FOLLOWING
        proxy.is_down = False
        await applied(source, target, engine)
        await ready(engine)
        await engine.client.call(CutOver())
        end = await engine.finished()
        assert (end["state"], end["verification"], end["written"]) == ("completed", "verified", 40)
        await gone(engines, source, target)


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
async def test_a_run_that_waits_for_its_target_can_be_cancelled(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    async with proxy_to(target.uri) as proxy:
        engines.target = replace(target, uri=proxy.uri)
        engine = await following(engines, settings_of(engines))
        await ready(engine)
        proxy.is_down = True
        proxy.cut()
        await engine.client.call(CutOver())  # its mark cannot be kept
        await eventually(
            lambda: any("The run waits for it" in facts["message"] for facts in engine.facts_of("problem")),
            60.0,
            engine.account,
        )
        await engine.cancel()
        assert (await engine.finished())["state"] == "cancelled"
        await gone(engines, source, target)


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
async def test_a_source_that_stays_away_is_waited_for(source: Source, target: Target, engines: Engines) -> None:
    fill(source)
    async with proxy_to(source.uri) as proxy:
        engines.source = replace(source, uri=proxy.uri)
        engine = await following(engines, settings_of(engines))
        await ready(engine)
        proxy.is_down = True
        proxy.cut()
        source.db.things.update_many({}, {"$set": {"n": 1}})
        await engine.until(
            lambda now: now.follow is not None and "stream" in {each.code for each in now.follow.reasons},
            "it says that changes are not read",
        )
        proxy.is_down = False
        await applied(source, target, engine)
        assert engine.snapshot.state is RunState.FOLLOWING
        await engine.cancel()
        await engine.finished()
        await gone(engines, source, target)
