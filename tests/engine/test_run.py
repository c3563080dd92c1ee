"""A whole run on real servers: everything arrives once, and what the run says of itself is true."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bson import Binary, Decimal128, Int64, ObjectId, decode
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS

from engine.postgres.finish import SAMPLED_ROWS
from engine.protocol import RunState
from tests.running import Engines, add_users, assert_ledger, assert_same, assert_users_equal, committed

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 20_000
YEAR_300_000 = DatetimeMS(9_404_640_000_000_000)
"""Beyond 294276 AD, where PostgreSQL's timestamps end."""

ANY_DATE: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)


async def test_several_collections_arrive_whole(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    source.db.orders.insert_many([{"_id": number, "total": number * 1.5} for number in range(3_000)])
    source.db.create_collection("nothing")

    engine, end = await engines.run(engines.settings("users", "orders", "nothing", run={"cluster_size": 3}))

    assert_users_equal(source, target)
    orders = {each["_id"]: each["total"] for each in source.db.orders.find()}
    assert_same(orders, [tuple(row) for row in target.rows("SELECT _id, total FROM orders")])
    assert committed(target, "nothing") == 0
    assert_ledger(target, engine.run_id, rows=USERS + 3_000)
    assert (end["state"], end["verification"], end["exit_code"]) == ("completed", "verified", 0)
    assert (end["read"], end["written"], end["rejected"]) == (USERS + 3_000, USERS + 3_000, 0)
    assert end["tables"]["public.users"] == {
        "namespace": f"{source.database}.users", "source": USERS, "read": USERS, "written": USERS, "rejected": 0,
        "target": USERS, "ok": True, "altered": {},
    }  # fmt: skip
    assert end["tables"]["public.nothing"]["ok"]
    assert end["seconds"] > 0
    assert end["rows_per_s"] > 0
    assert (engine.snapshot.state, engine.snapshot.exit_code) == (RunState.COMPLETED, 0)
    assert engine.snapshot.partitions_done == engine.snapshot.partitions_total


async def test_every_table_has_its_key_and_statistics(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, 1_000)
    source.db.orders.insert_many([{"_id": number} for number in range(1_000)])

    await engines.run(engines.settings("users", "orders"))

    keys = target.rows(
        "SELECT conrelid::regclass::text AS name, pg_get_constraintdef(oid) AS key FROM pg_constraint"
        " WHERE contype = 'p' AND connamespace = 'public'::regnamespace ORDER BY 1"
    )
    assert [tuple(row) for row in keys] == [("orders", "PRIMARY KEY (_id)"), ("users", "PRIMARY KEY (_id)")]
    assert target.value("SELECT count(*) FROM pg_stats WHERE tablename = 'users'") >= 10


async def test_statistics_of_documents_take_fewer_rows_at_the_end_of_a_large_collection(
    source: Source, target: Target, engines: Engines
) -> None:
    """Though they come before the key, until when the server does not know how many rows there are."""
    source.db.notes.insert_many([{"_id": n, "of": {"n": n}} for n in range(SAMPLED_ROWS + 1_000)])

    await engines.run(engines.settings("notes"))

    [found] = target.rows(
        "SELECT array_length(s.histogram_bounds, 1) AS bounds, t.autoanalyze_count AS by_server"
        " FROM pg_stats s JOIN pg_stat_user_tables t ON t.relname = s.tablename"
        " WHERE s.tablename = 'notes' AND s.attname = 'of'"
    )
    assert found["bounds"] == 11 or found["by_server"]  # the server may have taken all meanwhile


async def test_every_kind_of_id_arrives_once(source: Source, target: Target, engines: Engines) -> None:
    numbers = range(600)
    ids: dict[str, dict[Any, Any]] = {
        "ids_integer": {number if number % 2 else Int64(number << 33): number for number in numbers},
        "ids_text": {f"{'ü' * (number % 50)}{number}": number for number in numbers},
        "ids_uuid": {UUID(int=number << 64): number for number in numbers},
        "ids_date": {datetime(2000 + number % 30, 1, 1, 0, number // 30, tzinfo=UTC): number for number in numbers},
        "ids_bytes": {bytes([number % 256, number // 256]): number for number in numbers},
        "ids_double": {number / 8 - 30: number for number in numbers},
        "ids_object": {ObjectId(f"{number:024x}"): number for number in numbers},
    }  # fmt: skip
    for name, chosen in ids.items():
        source.db[name].insert_many([{"_id": _stored(key), "n": value} for key, value in chosen.items()])
    source.db.ids_decimal.insert_many([{"_id": Decimal128(f"{number}.50"), "n": number} for number in numbers])

    engine, end = await engines.run(engines.settings(*ids, "ids_decimal"))

    assert end["exit_code"] == 0
    assert_ledger(target, engine.run_id, rows=600 * 8)
    for name, chosen in ids.items():
        expected = {str(key) if isinstance(key, ObjectId) else key: value for key, value in chosen.items()}
        assert_same(expected, [tuple(row) for row in target.rows(f"SELECT _id, n FROM {name}")])
    decimals = {Decimal(f"{number}.50"): number for number in numbers}
    assert_same(decimals, [tuple(row) for row in target.rows("SELECT _id, n FROM ids_decimal")])


def _stored(key: Any) -> Any:
    return Binary.from_uuid(key) if isinstance(key, UUID) else key


async def test_ids_of_several_kinds_in_one_collection_arrive_once(
    source: Source, target: Target, engines: Engines
) -> None:
    """Comparison operators would skip those of another kind than the bounds; here every range has all of them in reach."""
    mixed: list[Any] = [None, True, "", "text", {"a": 1, "b": [1, 2]}, ObjectId("0" * 24), {"a": 2}]
    keys = [*range(500), *(f"k{number}" for number in range(500)), *({"part": number} for number in range(500)), *mixed]
    source.db.mixed.insert_many([{"_id": key, "n": place} for place, key in enumerate(keys)])

    engine, end = await engines.run(engines.settings("mixed", run={"cluster_size": 3}))

    assert end["exit_code"] == 0
    expected = {_canonical("0" * 24 if isinstance(key, ObjectId) else key): place for place, key in enumerate(keys)}
    rows = target.rows("SELECT _id, n FROM mixed")
    assert_same(expected, [(_canonical(json.loads(row[0])), row[1]) for row in rows])
    assert_ledger(target, engine.run_id, rows=len(keys))


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


async def test_an_empty_collection_becomes_an_empty_table(source: Source, target: Target, engines: Engines) -> None:
    source.db.create_collection("users")

    engine, end = await engines.run()

    assert (end["state"], end["exit_code"], end["written"]) == ("completed", 0, 0)
    assert target.rows("SELECT * FROM users") == []
    assert_ledger(target, engine.run_id, rows=0)


async def test_bad_documents_are_kept_with_id_and_reason(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, 5_000)
    bad = [ObjectId(f"{number:024x}") for number in range(12)]
    source.db.users.insert_many(
        [
            {"_id": key, "registeredAt": YEAR_300_000} if place % 2 else {"_id": key, "username": f"nul{place}\0"}
            for place, key in enumerate(bad)
        ]
    )

    engine, end = await engines.run()

    assert (end["state"], end["exit_code"], end["verification"]) == ("completed", 4, "verified")
    assert (end["read"], end["written"], end["rejected"]) == (5_012, 5_000, 12)
    assert_users_equal(source, target, without=bad)
    assert_ledger(target, engine.run_id, rows=5_000, rejected=12)
    kept = target.rows("SELECT id, reason, field, raw FROM mongopg.reject ORDER BY id")
    for place, row in enumerate(kept):
        reason, field = ("date_range", "registeredAt") if place % 2 else ("nul", "username")
        assert json.loads(row["id"]) == {"$oid": str(bad[place])}
        assert (row["reason"], row["field"]) == (reason, field)
        assert decode(row["raw"], ANY_DATE)["_id"] == bad[place]
    shown = {problem.code: problem.count for problem in engine.snapshot.problems}
    assert shown == {"nul": 6, "date_range": 6}


async def test_only_committed_rows_are_counted(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await engines.launch(engines.settings("users", run={"throttle": 2_000, "page_size": 200}))
    await engine.start()

    counts = []
    for rows in (500, 1_500, 2_500, 3_500):
        shown = await engine.until_written(rows)
        counts.append((shown.written, committed(target)))
    await engine.set("throttle", 0)

    await engine.finished()
    assert all(said <= there <= USERS for said, there in counts), counts
    assert_users_equal(source, target)


async def test_what_drifts_from_the_sample_is_kept_beside_its_columns(
    source: Source, target: Target, engines: Engines
) -> None:
    """Documents that come after the plan was made, behind all others, with values that fit no column."""
    add_users(source, 6_000)
    engine = await engines.launch(engines.settings("users", run={"cluster_size": 1, "throttle": 500}))
    await engine.start()
    await engine.event("planned")
    drifted = [ObjectId(f"ff{number:022x}") for number in range(20)]
    late = {"age": "forty", "balance": Int64(2**60 + 1), "tags": "none", "loyalty": {"tier": "gold"}}
    source.db.users.insert_many([{"_id": key} | late for key in drifted])
    await engine.set("throttle", 0)

    end = await engine.finished()

    assert (end["exit_code"], end["written"], end["rejected"]) == (0, 6_020, 0)
    assert_users_equal(source, target, table="(SELECT * FROM users WHERE _id < 'ff')", without=drifted)
    rows = target.rows("SELECT * FROM users WHERE _id >= 'ff' ORDER BY _id")
    assert [row["_id"] for row in rows] == [str(key) for key in drifted]
    for row in rows:
        kept = json.loads(row["_extra"])
        assert kept["age"] == "forty"
        assert kept["loyalty"] == {"tier": "gold"}
        assert row["age"] is None
