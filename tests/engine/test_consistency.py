"""A source that is written to while it is copied: with a snapshot the target is the source of one moment, exactly."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from bson import Timestamp
from pymongo import MongoClient

from engine.errors import MigrationError, UsageError
from engine.mongo import snapshot
from tests.guarded import running_mongod
from tests.running import Engine, Engines, add_users, assert_ledger, assert_same

if TYPE_CHECKING:
    from tests.conftest import Source, Target

DOCUMENTS = 6_000
State = dict[int, tuple[str, int]]


class Writer:
    """Inserts, updates and deletes all over the collection, one after the other, and remembers when it did what."""

    def __init__(self, source: Source) -> None:
        self._collection = source.db["changing"]
        self._client = source.client
        self._first: State = {number: (f"user {number}", 0) for number in range(0, 2 * DOCUMENTS, 2)}
        self._collection.insert_many([{"_id": _id, "name": name, "n": n} for _id, (name, n) in self._first.items()])
        self._changes: list[tuple[Timestamp, int, tuple[str, int] | None]] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._write, name="writer")

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _write(self) -> None:
        chance = random.Random(7)
        now = dict(self._first)
        with self._client.start_session(causal_consistency=True) as session:
            while not self._is_over.is_set():
                number = chance.randrange(2 * DOCUMENTS)
                row: tuple[str, int] | None
                if number not in now:
                    row = ("new", len(self._changes))
                    self._collection.insert_one({"_id": number, "name": row[0], "n": row[1]}, session=session)
                elif chance.random() < 0.5:
                    row = ("changed", len(self._changes))
                    self._collection.update_one(
                        {"_id": number}, {"$set": {"name": row[0], "n": row[1]}}, session=session
                    )
                else:
                    row = None
                    self._collection.delete_one({"_id": number}, session=session)
                if row is None:
                    del now[number]
                else:
                    now[number] = row
                assert session.operation_time is not None
                self._changes.append((session.operation_time, number, row))

    def changes(self) -> int:
        """How many it has made."""
        return len(self._changes)

    def state_at(self, at: Timestamp) -> State:
        """What the collection held at that time."""
        state: dict[int, tuple[str, int] | None] = dict(self._first)
        for when, number, row in self._changes:
            if when <= at:
                state[number] = row
        return {number: row for number, row in state.items() if row is not None}


def rows(target: Target) -> list[tuple[int, tuple[str, int]]]:
    return [(row["_id"], (row["name"], row["n"])) for row in target.rows("SELECT _id, name, n FROM changing")]


def time_of(engine: Engine) -> Timestamp:
    """The last time that the run has read at."""
    at = engine.facts_of("snapshot")[-1]["at"]
    return Timestamp(at >> 32, at & 0xFFFFFFFF)


async def started(engines: Engines, **run: Any) -> Engine:
    settings = engines.settings("changing", run={"consistency": "snapshot", "page_size": 100, "throttle": 1_500} | run)
    engine = await engines.launch(settings)
    await engine.start()
    return engine


@contextmanager
def short_window(source: Source) -> Iterator[None]:
    """The server forgets old states as soon as it can; it only does so when there is something new."""
    parameter = "minSnapshotHistoryWindowInSeconds"
    admin = source.client.admin
    before = admin.command({"getParameter": 1, parameter: 1})[parameter]
    admin.command({"setParameter": 1, parameter: 0})
    try:
        yield
    finally:
        admin.command({"setParameter": 1, parameter: before})


def until_forgotten(source: Source, at: int) -> None:
    """Write until the server cannot read at that time any more."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        source.db["noise"].insert_one({})
        try:
            snapshot.probe(source.client, at, [(source.database, "changing")])
        except MigrationError:
            return
        time.sleep(0.1)
    raise AssertionError("the server remembers")


async def test_a_snapshot_is_the_source_of_one_moment_whatever_is_written_meanwhile(
    source: Source, target: Target, engines: Engines
) -> None:
    with Writer(source) as writer:
        while writer.changes() < 200:
            await asyncio.sleep(0.01)
        engine = await started(engines)
        await engine.until_written(1_000)
        await engine.pause()
        seen = writer.changes()
        while writer.changes() < seen + 150:  # all of them are behind the moment
            await asyncio.sleep(0.01)
        await engine.resume()
        await engine.set("cluster_size", 4)
        await engine.set("throttle", 0)
        end = await engine.finished()
    expected = writer.state_at(time_of(engine))

    assert len([change for change in writer._changes if change[0] > time_of(engine)]) > 100
    assert_same(expected, rows(target))
    assert_ledger(target, engine.run_id, rows=len(expected))
    assert (end["state"], end["verification"], end["consistency"]) == ("completed", "verified", "snapshot")
    assert end["snapshot_unix"] == engine.snapshot.snapshot_unix == time_of(engine).time
    assert engine.snapshot.consistency == "snapshot"


async def test_a_resumed_run_reads_at_the_same_moment(source: Source, target: Target, engines: Engines) -> None:
    with Writer(source) as writer:
        first = await started(engines)
        await first.until_written(500)
        await first.cancel(now=True)
        await first.finished()
        settings = engines.settings("changing", run={"consistency": "snapshot"})
        second, end = await engines.run(settings, resume=first.run_id)
    expected = writer.state_at(time_of(first))

    assert time_of(second) == time_of(first)
    assert_same(expected, rows(target))
    assert (end["state"], end["verification"]) == ("completed", "verified")


@pytest.mark.slow
async def test_a_resume_at_another_consistency_is_another_plan(source: Source, engines: Engines) -> None:
    with Writer(source):
        first = await started(engines)
        await first.until_written(500)
        await first.cancel(now=True)
        await first.finished()
        _, end = await engines.run(engines.settings("changing"), resume=first.run_id)

    assert (end["state"], end["exit_code"]) == ("failed", 2)
    assert "consistency" in end["error"]["message"]


@pytest.mark.slow
async def test_a_moment_forgotten_before_the_first_commit_gives_way_to_a_new_one(
    source: Source, target: Target, engines: Engines
) -> None:
    with Writer(source) as writer:
        engine = await started(engines)
        await engine.pause()
        first = (await engine.event("snapshot")).facts["at"]
        assert not engine.snapshot.written
        with short_window(source):
            await asyncio.to_thread(until_forgotten, source, first)
        await engine.resume()
        await engine.set("throttle", 0)
        end = await engine.finished()
    expected = writer.state_at(time_of(engine))

    assert [facts["at"] > first for facts in engine.facts_of("snapshot")] == [False, True]
    assert_same(expected, rows(target))
    assert (end["state"], end["verification"]) == ("completed", "verified")
    assert target.value("SELECT snapshot_time FROM mongopg.run") == engine.facts_of("snapshot")[-1]["at"]


@pytest.mark.slow
async def test_a_moment_forgotten_after_a_commit_ends_the_run_and_no_resume_mixes_two(
    source: Source, target: Target, engines: Engines
) -> None:
    with Writer(source):
        engine = await started(engines, throttle=500)
        await engine.until_written(1)
        first = (await engine.event("snapshot")).facts["at"]
        with short_window(source):
            await asyncio.to_thread(until_forgotten, source, first)
            end = await engine.finished()
        settings = engines.settings("changing", run={"consistency": "snapshot"})
        _, again = await engines.run(settings, resume=engine.run_id)

    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 1, "snapshot_too_old")
    assert (again["state"], again["exit_code"], again["error"]["code"]) == ("failed", 2, "snapshot_too_old")
    for message in (end["error"]["message"], again["error"]["message"]):
        assert "minSnapshotHistoryWindowInSeconds" in message
        assert engine.run_id in message
    assert again["read"] < DOCUMENTS


@pytest.mark.slow
async def test_views_and_time_series_are_read_at_one_moment_too(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, 50, collection="plain")
    source.db.create_collection("seen", viewOn="plain", pipeline=[])
    engine, end = await engines.run(engines.settings("seen", "plain", run={"consistency": "snapshot"}))

    assert (end["state"], end["verification"]) == ("completed", "verified"), engine.account()
    assert target.value("SELECT count(*) FROM seen") == 50


async def test_a_capped_collection_is_refused_with_the_reason(source: Source, target: Target, engines: Engines) -> None:
    source.db.create_collection("ring", capped=True, size=100_000)
    source.db["ring"].insert_one({})
    _, end = await engines.run(engines.settings("ring", run={"consistency": "snapshot"}))

    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 2, "snapshot")
    assert "capped" in end["error"]["message"]
    assert target.value("SELECT to_regclass('ring') IS NULL")


def test_the_driver_still_lets_us_say_which_moment_a_session_is_of(source: Source) -> None:
    collection = source.db["few"]
    collection.insert_one({"_id": 1, "n": 1})
    at = snapshot.take(source.client, [(source.database, "few")])
    collection.update_one({"_id": 1}, {"$set": {"n": 2}})
    with MongoClient[dict[str, Any]](source.uri) as another, snapshot.session_at(another, at) as session:
        assert another[source.database]["few"].find_one({}, session=session) == {"_id": 1, "n": 1}


def test_a_standalone_server_is_refused_with_the_reason() -> None:
    with running_mongod() as port:
        uri = f"mongodb://127.0.0.1:{port}/?directConnection=true"
        with MongoClient[dict[str, Any]](uri) as client, pytest.raises(UsageError, match="standalone"):
            snapshot.check(client, [("shop", "users")])
