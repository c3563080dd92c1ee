"""A run that follows its source: whatever is written meanwhile, the target is the source when it is cut over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from engine.errors import UsageError
from engine.postgres.finish import SAMPLED_ROWS
from engine.protocol import CutOver, RunState, Snapshot, Status, Verify, VerifyReport
from tests.engine.changing_source import Changes, assert_same_as_source
from tests.running import POLL_S, WAIT_S, Engine, Engines

if TYPE_CHECKING:
    from engine.config import Settings
    from tests.conftest import Source, Target


def settings_of(engines: Engines, **run: object) -> Settings:
    return engines.settings("things", run={"page_size": 100, **run}, mapping={"nul": "reject"})


@contextmanager
def written_to(*changes: Changes) -> Iterator[None]:
    """Operations one after the other, meanwhile."""
    is_over = threading.Event()

    def write() -> None:
        while not is_over.is_set():
            for each in changes:
                each.some(2)

    thread = threading.Thread(target=write, name="writer")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


async def following(engines: Engines, settings: Settings, **command: object) -> Engine:
    engine = await engines.launch(settings)
    await engine.start(follow=True, **command)
    return engine


async def ready(engine: Engine) -> None:
    """It can be cut over, by the engine's own word: a snapshot may be from before what a test has just done."""

    def is_ready(now: Snapshot) -> bool:
        return now.state is RunState.FOLLOWING and now.follow is not None and now.follow.ready

    async with asyncio.timeout(WAIT_S):
        while True:
            await engine.until(is_ready, "ready")
            if is_ready(await engine.client.ask(Snapshot, Status())):
                return
            await asyncio.sleep(POLL_S)


@pytest.mark.parametrize(
    ("mode", "order"),
    [
        ("replace", "auto"),
        pytest.param("replace", "natural", marks=pytest.mark.slow),
        pytest.param("create", "natural", marks=pytest.mark.slow),
        pytest.param("create", "id", marks=pytest.mark.slow),
        pytest.param("upsert", "id", marks=pytest.mark.slow),
    ],
)
async def test_the_target_is_the_source_when_it_is_cut_over(
    source: Source, target: Target, engines: Engines, mode: str, order: str
) -> None:
    changes = Changes(source, 7)
    with written_to(changes):
        engine = await following(engines, settings_of(engines, mode=mode, order=order))
        await ready(engine)
        seen = changes.n_done
        while changes.n_done < seen + 100:
            await asyncio.sleep(0.01)
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified")
    assert_same_as_source(source, target, engine.run_id)
    for table in ("dirty", "changed", "difference"):
        assert not target.value(f"SELECT count(*) FROM mongopg.{table}"), table
    assert target.value("SELECT phase FROM mongopg.follow") == "done"
    for level in ("counts", "full"):
        report = await engine.client.ask(VerifyReport, Verify(level=level))
        assert report.result == "verified", report


async def test_statistics_of_documents_take_fewer_rows_of_a_large_collection_that_is_followed(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.things.insert_many([{"_id": n, "of": {"n": n}} for n in range(SAMPLED_ROWS + 1_000)])

    engine = await following(engines, engines.settings("things"))
    await ready(engine)

    [found] = target.rows(
        "SELECT array_length(s.histogram_bounds, 1) AS bounds, t.autoanalyze_count AS by_server"
        " FROM pg_stats s JOIN pg_stat_user_tables t ON t.relname = s.tablename"
        " WHERE s.tablename = 'things' AND s.attname = 'of'"
    )
    assert found["bounds"] == 11 or found["by_server"]  # the server may have taken all meanwhile
    await engine.client.call(CutOver())
    assert (await engine.finished())["verification"] == "verified"


async def until_changed(changes: list[Changes], more: int) -> None:
    wanted = sum(each.n_done for each in changes) + more
    while sum(each.n_done for each in changes) < wanted:
        await asyncio.sleep(0.01)


async def struck(engines: Engines, engine: Engine, names: list[str], chance: random.Random) -> Engine:
    """One of our processes is killed, or the run is steered; the engine that goes on."""
    match chance.randrange(4):
        case 0:
            engine.may_fail_inside = True
            engine.kill()
            await engine.until_gone()
            again = await engines.launch(engines.settings(*names, mapping={"nul": "reject"}))
            again.may_fail_inside = True
            await again.start(resume=engine.run_id)
            return again
        case 1:
            pids = [worker.pid for worker in engine.snapshot.workers if worker.pid]
            if pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(pids), signal.SIGKILL)
        case 2 if engine.snapshot.state in (RunState.RUNNING, RunState.FOLLOWING):
            with contextlib.suppress(UsageError):  # it builds keys just then
                await engine.pause()
                await engine.resume()
        case _:
            with contextlib.suppress(UsageError):
                await engine.set("cluster_size", chance.randrange(1, 4))
    return engine


@pytest.mark.parametrize(("n_collections", "n_struck"), [(7, 5), pytest.param(20, 8, marks=pytest.mark.slow)])
async def test_nothing_is_lost_or_left_over_whatever_is_killed_meanwhile(
    source: Source, target: Target, engines: Engines, n_collections: int, n_struck: int
) -> None:
    chance = random.Random(1)
    names = [f"c{number}" for number in range(n_collections)]
    changes = [Changes(source, 100 + number, collection=name, first=40) for number, name in enumerate(names)]
    with written_to(*changes):
        engine = await following(
            engines, engines.settings(*names, run={"page_size": 100, "throttle": 400}, mapping={"nul": "reject"})
        )
        await engine.until(lambda now: now.state is not RunState.STARTING, "its beginning")
        engine.may_fail_inside = True
        for _ in range(n_struck):
            await until_changed(changes, 100)
            engine = await struck(engines, engine, names, chance)
            await engine.until(lambda now: now.follow is not None, "following")
        with contextlib.suppress(UsageError):
            await engine.set("throttle", 0)
            await engine.set("cluster_size", 3)
        await ready(engine)
        await until_changed(changes, 50)
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified")
    for name in names:
        assert_same_as_source(source, target, engine.run_id, name)
    for table in ("dirty", "changed", "difference"):
        assert not target.value(f"SELECT count(*) FROM mongopg.{table}"), table
