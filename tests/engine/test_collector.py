"""The collector of changes by itself: its position goes on with the source's clock, also where nothing changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from engine.config import Settings
from engine.errors import MigrationError
from engine.follow import collector
from engine.follow.collector import Collector, Watched
from engine.ledger import follow
from engine.ledger.halts import Halt
from engine.ledger.ledger import Ledger
from engine.mongo import causal
from engine.mongo.causal import CausalTime
from engine.protocol import Event, ProblemReported
from tests.engine.target_tools import RUN, bench

if TYPE_CHECKING:
    from tests.conftest import Source, Target


class Heard:
    """What a collector tells."""

    def __init__(self) -> None:
        self.slices: list[Mapping[tuple[int, int], int]] = []
        self.halts: list[Halt] = []
        self.problems: list[ProblemReported] = []

    def emit(self, event: Event) -> None:
        assert isinstance(event, ProblemReported), event
        self.problems.append(event)

    def fail(self, error: MigrationError) -> None:
        raise error

    def on_halt(self, found: Sequence[Halt]) -> None:
        self.halts += found

    def on_slice(self, generations: Mapping[tuple[int, int], int], at: CausalTime, before: int | None) -> None:
        assert before is None or before <= at.at
        self.slices.append(generations)


@asynccontextmanager
async def collecting(source: Source, target: Target, heard: Heard) -> AsyncIterator[Collector]:
    settings = Settings.model_validate({"source": {"uri": source.uri}, "target": {"uri": target.uri}})
    async with bench(target.uri) as made, Ledger.for_question(settings) as ledger:
        ledger.run_id = RUN
        async with made.connection.transaction():
            await follow.begin(made.connection, RUN, 8, [source.database], "copying")
        watched = {"users": Watched(1, f"{source.database}.users", False)}
        found = Collector(
            heard, ledger, source.uri, 0, source.database, watched, 8, causal.clock_of(source.client).at,
            causal.set_of(source.client), lambda: 0, heard.on_slice, heard.on_halt,
        )  # fmt: skip
        task = asyncio.create_task(found.run())
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_the_position_goes_on_where_nothing_changes_that_is_followed(
    source: Source, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "QUIET_S", 0.3)
    heard = Heard()
    async with collecting(source, target, heard) as found:
        for _ in range(3):
            source.db.other.insert_one({})
            wanted = causal.clock_of(source.client).at
            async with asyncio.timeout(60):
                while found.position < wanted:
                    await asyncio.sleep(0.02)
        assert not any(heard.slices)
        assert target.value("SELECT max(token_time) FROM mongopg.stream_slice") >= wanted


async def test_a_position_that_is_waited_for_is_kept_at_once(source: Source, target: Target) -> None:
    heard = Heard()
    async with collecting(source, target, heard) as found:
        source.db.users.insert_many([{"_id": number} for number in range(100)])
        source.db.other.insert_one({})
        async with asyncio.timeout(60):
            await found.until(causal.clock_of(source.client).at)
        assert target.value("SELECT count(*) FROM mongopg.dirty") == 100
        assert {lane for generations in heard.slices for lane in generations} == {(1, lane) for lane in range(8)}


async def test_what_becomes_of_a_collection_is_kept_with_the_position_and_keys_before_it_go(
    source: Source, target: Target
) -> None:
    heard = Heard()
    async with collecting(source, target, heard) as found:
        source.db.users.insert_many([{"_id": number} for number in range(10)])
        await found.until(causal.clock_of(source.client).at)
        source.db.users.drop()
        source.db.users.insert_one({"_id": 10})
        async with asyncio.timeout(60):
            await found.until(causal.clock_of(source.client).at)
        assert [(halt.task_id, halt.code) for halt in heard.halts] == [(1, "drop")]
        assert target.value("SELECT count(*) FROM mongopg.dirty") == 1, "that of the collection made anew"
        assert target.value("SELECT code FROM mongopg.halt") == "drop"
        found.settle("users", causal.clock_of(source.client).at)
        source.db.users.insert_one({"_id": 11})
        await found.leave("users")
        source.db.users.insert_one({"_id": 12})
        source.db.users.drop()
        async with asyncio.timeout(60):
            await found.until(causal.clock_of(source.client).at)
        assert len(heard.halts) == 1, "it is followed no longer"


async def test_a_server_that_forgot_the_last_slice_is_told_its_changes_again(source: Source, target: Target) -> None:
    """As after a crash: commits that are not waited for may be gone, with the keys in them."""
    heard = Heard()
    async with collecting(source, target, heard) as found:
        for number in (1, 2):
            source.db.users.insert_one({"_id": number})
            async with asyncio.timeout(60):
                await found.until(causal.clock_of(source.client).at)
        newest = target.value("SELECT max(slice_no) FROM mongopg.stream_slice WHERE n_insert > 0")
        target.execute(  # in one transaction: the collector may notice at any moment
            f"DELETE FROM mongopg.stream_slice WHERE slice_no >= {newest}; DELETE FROM mongopg.dirty WHERE gen >= {newest}"
        )
        source.db.users.insert_one({"_id": 3})
        async with asyncio.timeout(60):
            while target.value("SELECT count(*) FROM mongopg.dirty") != 3:
                await asyncio.sleep(0.02)


async def test_what_became_of_a_collection_when_the_run_began_is_no_news(source: Source, target: Target) -> None:
    """A stream begins with what happened at its time: that of a drop before the collection was made anew and planned."""
    heard = Heard()
    source.db.users.insert_one({"_id": 1})
    source.db.users.drop()
    async with collecting(source, target, heard) as found:
        source.db.users.insert_one({"_id": 2})
        async with asyncio.timeout(60):
            await found.until(causal.clock_of(source.client).at)
        assert target.value("SELECT count(*) FROM mongopg.dirty") == 1
        assert heard.halts == []


async def test_a_full_disk_of_the_target_is_told_once_and_waited_for(source: Source, target: Target) -> None:
    heard = Heard()
    async with collecting(source, target, heard) as found:
        target.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'No space left'"
            " USING ERRCODE = 'disk_full'; END $$; CREATE TRIGGER full_disk BEFORE INSERT ON mongopg.stream_slice"
            " EXECUTE FUNCTION full_disk()"
        )
        source.db.users.insert_one({"_id": 1})
        wanted = causal.clock_of(source.client).at
        async with asyncio.timeout(60):
            while not heard.problems:
                await asyncio.sleep(0.02)
        assert "No space left" in heard.problems[0].message
        target.execute("DROP TRIGGER full_disk ON mongopg.stream_slice")
        async with asyncio.timeout(60):
            await found.until(wanted)
        assert target.value("SELECT count(*) FROM mongopg.dirty") == 1
        assert [problem.code for problem in heard.problems] == ["53100"]
