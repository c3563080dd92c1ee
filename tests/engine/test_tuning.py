"""A run that turns its cluster size itself: asked for, left off, told in events, and taken up by a resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.errors import KnobError
from engine.protocol import Snapshot
from tests.running import Engines, add_users
from tests.slow_run import completed, started

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 12_000


def auto_of(snapshot: Snapshot) -> str:
    """How the run turns its cluster size."""
    return snapshot.tuning.auto if snapshot.tuning is not None else ""


async def test_auto_is_asked_for_and_given_up_and_every_step_says_why(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine = await started(engines, cluster_size="auto:2-3")
    snapshot = await engine.until(lambda now: auto_of(now) == "auto:2-3" and now.cluster_size == 3, "within its bounds")
    assert snapshot.tuning is not None
    assert (snapshot.tuning.stable, snapshot.tuning.probing) == (3, None)

    reply = await engine.set("cluster_size", 2)
    assert reply == {"knob": "cluster_size", "value": 2, "applies": "at once"}
    await engine.until(lambda now: not auto_of(now) and now.workers_alive == 2, "two workers, by hand")
    reply = await engine.set("cluster_size", "auto:3-4")
    assert reply == {"knob": "cluster_size", "value": 2, "auto": "auto:3-4", "applies": "while the run copies"}
    await engine.until(
        lambda now: auto_of(now) == "auto:3-4" and now.workers_alive == 3, "auto again, within its bounds"
    )
    with pytest.raises(KnobError, match="such as auto:4-16"):
        await engine.set("cluster_size", "auto:x")
    with pytest.raises(KnobError, match="whole number"):
        await engine.set("page_size", "auto")

    await completed(engine, source, target)
    told = [(facts["auto"], facts["stable"]) for facts in engine.facts_of("tuned")]
    assert told == [("auto:2-3", 3), ("", 2), ("auto:3-4", 2), ("auto:3-4", 3)]
    assert "set to 2" in engine.facts_of("tuned")[1]["reason"]
    (own,) = [facts for facts in engine.facts_of("knob") if facts.get("by") == "auto"]
    assert (own["value"], own["reason"]) == (3, "the bounds are 3 to 4")
    kept = target.rows("SELECT facts ->> 'stable' FROM mongopg.event WHERE kind = 'tuned' ORDER BY seq")
    assert [int(stable) for (stable,) in kept] == [stable for _, stable in told]


@pytest.mark.slow
async def test_a_resumed_run_begins_with_the_size_that_it_had_found(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine = await started(engines, cluster_size="auto:3-3")
    await engine.until(lambda now: now.workers_alive == 3, "within its bounds")
    await engine.cancel()
    await engine.finished()

    settings = engines.settings("users", run={"cluster_size": "auto", "throttle": 1_500, "page_size": 200})
    again = await engines.launch(settings)
    await again.start(resume=engine.run_id)
    event = await again.event("knob", lambda facts: facts["value"] == 3 and facts["by"] == "auto")
    assert event.facts["reason"] == "what the run had found before it was resumed"
    await again.until(lambda now: now.workers_alive == now.cluster_size == 3 and auto_of(now) == "auto", "as many")
    await completed(again, source, target)
