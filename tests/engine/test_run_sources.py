"""Everything that can be read as a collection, in real runs: views, time-series, clustered, capped, with a collation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, Int64
from pymongo.collation import Collation

from tests.older_servers import CLUSTERED, require_mongodb
from tests.running import Engines, assert_same

if TYPE_CHECKING:
    from tests.conftest import Source, Target

COUNT = 3_000
DAY = datetime(2026, 1, 1, tzinfo=UTC)


def numbered(count: int = COUNT) -> list[dict[str, Any]]:
    """Documents whose `_id` says what else is in them."""
    return [{"_id": f"{'aA'[number % 2]}{number // 2:05}", "n": number} for number in range(count)]


def stored(target: Target, table: str) -> list[tuple[Any, Any]]:
    """Every row of such documents."""
    return [tuple(row) for row in target.rows(f"SELECT _id, n FROM {table}")]


async def test_every_kind_of_collection_arrives_once(source: Source, target: Target, engines: Engines) -> None:
    require_mongodb(source, CLUSTERED)
    documents = numbered()
    wanted = {document["_id"]: document["n"] for document in documents}
    source.db.create_collection("held", capped=True, size=10_000_000)
    source.db.create_collection("heap", clusteredIndex={"key": {"_id": 1}, "unique": True})
    source.db.create_collection("german", collation=Collation("de", strength=3, caseFirst="upper"))
    for name in ("held", "heap", "german"):
        source.db[name].insert_many(documents)
    source.db.command("create", "seen", viewOn="heap", pipeline=[])
    source.db.command("create", "nameless", viewOn="heap", pipeline=[{"$project": {"_id": 0}}])
    source.db.create_collection("readings", timeseries={"timeField": "at", "metaField": "sensor"})
    source.db.readings.insert_many(
        [{"_id": number % 10, "at": DAY + timedelta(seconds=number), "sensor": "a"} for number in range(COUNT)]
    )

    names = ("held", "heap", "german", "seen", "nameless", "readings")
    _, end = await engines.run(engines.settings(*names))

    assert (end["exit_code"], end["written"], end["rejected"]) == (0, COUNT * len(names), 0)
    for name in ("held", "heap", "german", "seen"):
        assert_same(wanted, stored(target, name))
    assert [(row[0], row[1]) for row in target.rows("SELECT _id, n FROM nameless ORDER BY n")] == [
        (None, number) for number in range(COUNT)
    ]
    readings = target.rows("SELECT _id, extract(epoch FROM at)::int AS at, sensor FROM readings ORDER BY at")
    assert [tuple(row) for row in readings] == [
        (number % 10, int(DAY.timestamp()) + number, "a") for number in range(COUNT)
    ]
    keys = target.rows(
        "SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'p'"
        " AND connamespace = 'public'::regnamespace ORDER BY 1"
    )
    assert [row[0] for row in keys] == ["german", "heap", "held"]


@pytest.mark.parametrize("mode", ["append", "upsert"])
async def test_views_without_an_id_are_added_to_a_table(
    source: Source, target: Target, engines: Engines, mode: str
) -> None:
    source.db.heap.insert_many(numbered(50))
    source.db.command("create", "nameless", viewOn="heap", pipeline=[{"$project": {"_id": 0}}])
    target.execute("CREATE TABLE nameless (_id text, n integer, _extra jsonb)")

    _, end = await engines.run(engines.settings("nameless", run={"mode": mode}))

    assert (end["exit_code"], end["written"]) == (0, 50)


async def test_numbers_of_several_kinds_are_keys(source: Source, target: Target, engines: Engines) -> None:
    kinds: dict[Any, Any] = {1: 1, Int64(2**40): 2, 0.5: 3}
    source.db.numbers.insert_many([{"_id": key, "n": value} for key, value in kinds.items()])
    source.db.numbers.insert_one({"_id": Decimal128("7.25"), "n": 4})

    _, end = await engines.run(engines.settings("numbers"))

    assert (end["exit_code"], end["written"]) == (0, 4)
    rows = {row[0]: row[1] for row in target.rows("SELECT _id::text, n FROM numbers")}
    assert rows == {"1": 1, str(2**40): 2, "0.5": 3, "7.25": 4}
