"""What a run tells of each of its collections while it copies them, and of its time."""

from __future__ import annotations

import time

import pytest

from engine.protocol import RunState, Snapshot, Status, TableProgress, TableStage
from tests.conftest import Source, Target
from tests.running import Engines, end_kept

ROWS_PER_S = 1_000


def fill(source: Source) -> None:
    """One collection that takes some seconds under the throttle, and a small one."""
    source.db["large"].insert_many([{"_id": number, "a": number} for number in range(12_000)])
    source.db["small"].insert_many([{"_id": number, "a": number} for number in range(200)])


def tables(engine_tables: list[TableProgress]) -> dict[str, TableProgress]:
    """By the collection's name."""
    return {table.namespace.partition(".")[2]: table for table in engine_tables}


async def test_each_collection_has_a_state_a_rate_and_an_eta(source: Source, target: Target, engines: Engines) -> None:
    fill(source)
    run = {"throttle": ROWS_PER_S, "page_size": 200, "cluster_size": 1}
    engine = await engines.launch(engines.settings("large", "small", run=run))
    began = time.time()
    await engine.start()
    seen: set[tuple[str, str]] = set()

    def looks(now: object) -> bool:
        seen.update((name, table.state) for name, table in tables(engine.snapshot.tables).items())
        large = tables(engine.snapshot.tables).get("large")
        return large is not None and large.eta_s is not None and large.read > 2_000

    now = await engine.until(looks, "an ETA of the large collection")
    large = tables(now.tables)["large"]
    assert large.state == "copying"
    assert large.workers == 1
    assert 0 < large.rows_per_s < 5 * ROWS_PER_S, "a busy machine is slow, and tells late"
    assert large.eta_s == pytest.approx((12_000 - large.read) / large.rows_per_s, rel=0.01)
    assert ("large", "copying") in seen
    assert {("small", "waiting"), ("small", "copied")} & seen
    assert began - 5 < now.last_commit_unix < time.time() + 5
    assert now.rows_per_s_overall > 0
    assert now.rows_per_s_mean > 0

    await engine.set("throttle", 0)
    assert (await engine.finished())["exit_code"] == 0
    assert {table.state for table in engine.snapshot.tables} == {"done"}
    stages = [
        (event.namespace.partition(".")[2], event.state) for event in engine.events if isinstance(event, TableStage)
    ]
    assert sorted(stages) == [(name, state) for name in ("large", "small") for state in ("building key", "done")]


async def test_b17_paused_workers_have_no_rate_and_a_pause_no_eta(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    engine = await engines.launch(engines.settings("large", run={"throttle": ROWS_PER_S, "page_size": 200}))
    await engine.start()
    await engine.until(lambda now: any(worker.rows_per_s > 0 for worker in now.workers), "a worker's rate")
    await engine.pause()
    paused = await engine.until(lambda now: now.state is RunState.PAUSED, "a pause")
    assert [worker.rows_per_s for worker in paused.workers] == [0.0] * len(paused.workers)
    assert paused.eta_s is None
    assert {table.state for table in paused.tables} == {"paused"}
    await engine.resume()
    await engine.set("throttle", 0)
    await engine.finished()


@pytest.mark.slow
async def test_b4_overall_counts_all_times_of_a_run_and_all_its_rows(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    settings = engines.settings("large", run={"throttle": ROWS_PER_S, "page_size": 200})
    first = await engines.launch(settings)
    await first.start()
    await first.until(lambda now: now.written > 1_000, "rows")
    await first.cancel()
    await first.finished()
    await end_kept(target, first)
    took = target.value("SELECT seconds FROM mongopg.run")

    second = await engines.launch(settings)
    await second.start(resume=first.run_id, said=[])
    await second.until(lambda now: now.state is RunState.RUNNING and now.written > now.written_before > 0, "more rows")
    await second.set("throttle", 0)
    await second.finished()
    await end_kept(target, second)
    end = await second.client.ask(Snapshot, Status())
    assert end.first_started_unix == pytest.approx(first.snapshot.started_unix, abs=5)
    assert end.started_unix >= end.first_started_unix + took
    assert first.snapshot.first_started_unix == 0
    assert abs(end.seconds_before - took) < 0.01
    assert end.written_before > 1_000
    assert abs(end.rows_per_s_overall - 12_000 / (end.seconds_before + end.seconds)) < 1
    whole = target.value("SELECT seconds FROM mongopg.run")
    assert whole == pytest.approx(end.seconds_before + end.seconds, abs=0.01)
