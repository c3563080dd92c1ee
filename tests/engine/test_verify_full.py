"""Full verification on real servers: what differs is found and named, what is the same is left in peace."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from bson import Binary, Decimal128, Int64, ObjectId, Timestamp, decode
from bson.datetime_ms import DatetimeMS

from engine.protocol import DifferenceView, Verification
from tests.corpus import CASES
from tests.engine.verification_tools import USERS, found, oid, only, verified
from tests.running import Engines, add_users

if TYPE_CHECKING:
    from tests.conftest import Source, Target

EVERY_KIND: dict[str, Any] = {
    "text": "naïve",
    "whole": 7,
    "large": Int64(2**40),
    "real": 1.5,
    "exact": Decimal128("12.50"),
    "flag": True,
    "moment": datetime(2024, 2, 29, 12, 30, 0, 125_000, tzinfo=UTC),
    "token": Binary.from_uuid(UUID(int=5)),
    "blob": b"\x00\xff",
    "other": ObjectId("0123456789abcdef01234567"),
    "nested": {"b": [1, 2.5, None], "a": {"x": "y"}},
    "list": ["a", 1],
    "stamp": Timestamp(5, 6),
    "gone": None,
}
"""A field of each type of column."""

CHANGES = {
    "text": "'naive'",
    "whole": "8",
    "large": "large + 1",
    "real": "1.5000000000000002",
    "exact": "12.51",
    "flag": "NULL",
    "moment": "moment + interval '1 millisecond'",
    "token": "'00000000-0000-0000-0000-000000000006'",
    "blob": r"'\x00fe'",
    "other": "'0123456789abcdef01234568'",
    "nested": """'{"b": [1, 2.5, null], "a": {"x": "z"}}'""",
    "list": """'["a", "1"]'""",
    "stamp": """'{"t": 5, "i": 7}'""",
    "gone": "'\"here\"'",
    "_extra": """'{"late": 1}'""",
}
"""Column -> SQL of another value."""


async def test_a_good_run_is_found_good(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine, _ = await engines.run()

    report = await verified(engine)

    assert (report.result, report.level, report.run_id) == (Verification.VERIFIED, "full", engine.run_id)
    table = only(report)
    assert (table.equal, table.different, table.missing, table.extra, table.kept) == (USERS, 0, 0, 0, 0)
    assert (table.slices > 0, table.slices_changed, table.ok, table.message) == (True, 0, True, "")
    assert report.differences == []
    assert target.value("SELECT verification FROM mongopg.run") == "verified"
    assert target.value("SELECT facts ->> 'result' FROM mongopg.event WHERE kind = 'verified'") == "verified"


async def test_a_run_without_checksums_is_verified_and_what_cannot_be_told_is_said(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine, _ = await engines.run(engines.settings("users", run={"checksum": False}))
    assert target.value("SELECT count(checksum) FROM mongopg.slice") == 0
    source.db["users"].update_one({}, {"$set": {"age": 200}})

    report = await verified(engine)

    table = only(report)
    assert (table.equal, table.different, table.source_changed, table.slices_changed) == (USERS - 1, 1, 0, 0)
    assert table.slices_unknown == table.slices
    assert "no checksum" in table.message
    assert [difference.source_changed for difference in report.differences] == [False]


@pytest.mark.slow
async def test_the_slices_of_a_slow_run_are_verified_one_by_one(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, 20_000)
    engine, _ = await engines.run(engines.settings("users", run={"throttle": 8_000, "page_size": 200}))
    last = target.value("SELECT max(upto) FROM mongopg.slice WHERE NOT final")
    key = decode(last)["_id"]
    assert target.value("SELECT count(*) FROM mongopg.slice") > target.value("SELECT count(*) FROM mongopg.partition")
    assert only(await verified(engine)).equal == 20_000

    source.db.users.delete_one({"_id": key})
    table = only(await verified(engine))

    assert (table.equal, table.extra, table.source_changed, table.slices_changed) == (19_999, 1, 1, 1)


async def test_changed_missing_and_extra_rows_are_named(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine, _ = await engines.run()
    ids = [row["_id"] for row in target.rows("SELECT _id FROM users ORDER BY _id LIMIT 3")]
    username = target.value("SELECT username FROM users WHERE _id = $1", ids[0])
    target.execute("UPDATE users SET username = 'somebody' WHERE _id = $1", ids[0])
    target.execute("DELETE FROM users WHERE _id = $1", ids[1])
    target.execute("INSERT INTO users (_id, username) VALUES ('planted', 'nobody')")

    report = await verified(engine)

    assert report.result is Verification.MISMATCH
    table = only(report)
    assert (table.equal, table.different, table.missing, table.extra) == (USERS - 2, 1, 1, 1)
    assert (table.source_changed, table.slices_changed, table.ok) == (0, 0, False)
    differences = found(report)
    assert differences["different"] == DifferenceView(
        namespace=f"{source.database}.users", table="public.users", kind="different", id=oid(ids[0]), field="username",
        column="username", source=username, target="somebody",
    )  # fmt: skip
    assert differences["missing"].id == oid(ids[1])
    assert differences["extra"].id == "planted"
    assert target.value("SELECT verification FROM mongopg.run") == "mismatch"
    assert target.rows("SELECT FROM pg_class WHERE relname LIKE 'verify%' OR relname LIKE 'mongopg_compare%'") == []


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"documents": "json"}, marks=pytest.mark.slow),
        {"arrays": "native", "missing": "track", "flatten": 1},
    ],
)
async def test_a_change_of_any_type_of_column_is_found(
    source: Source, target: Target, engines: Engines, options: dict[str, Any]
) -> None:
    source.db.things.insert_many([{"_id": number, **EVERY_KIND} for number in range(len(CHANGES) + 5)])
    engine, end = await engines.run(engines.settings("things", mapping=options))
    assert end["rejected"] == 0
    columns = {row["name"] for row in target.rows(
        "SELECT attname::text AS name FROM pg_attribute WHERE attrelid = 'things'::regclass AND attnum > 0"
    )}  # fmt: skip
    assert (await verified(engine)).result is Verification.VERIFIED

    planted = {}
    for number, (column, value) in enumerate(CHANGES.items()):
        if column in columns:
            target.execute(f"UPDATE things SET {column} = {value} WHERE _id = $1", number)
            planted[str(number)] = column
    report = await verified(engine)

    assert {each.id.split('"')[3]: each.column for each in report.differences} == planted
    assert only(report).different == len(planted) >= 13


@pytest.mark.parametrize(
    "options",
    [
        {"nul": "strip", "date_range": "infinity"},
        {"documents": "json", "json_values": "extended", "objectid": "bytea", "uuid_legacy": "java"},
        {"arrays": "native", "missing": "track", "flatten": 2, "nul": "replace", "date_range": "clamp"},
        {"layout": "document"},
        pytest.param({"overflow": "reject"}, marks=pytest.mark.slow),
    ],
)
async def test_whatever_was_written_is_equal_to_what_it_was_made_from(
    source: Source, target: Target, engines: Engines, options: dict[str, Any]
) -> None:
    documents = [case.document for case in CASES if isinstance(case.document, dict)]
    source.db.things.insert_many(
        [{**document, "_id": number} for number, document in enumerate(documents)], ordered=False
    )
    # The sample does not see all of them, so some values go to _extra or are rejects.
    engine, end = await engines.run(engines.settings("things", run={"sample_size": 100}, mapping=options))

    report = await verified(engine)

    assert report.differences == []
    table = only(report)
    assert (table.equal, table.kept) == (end["written"], end["rejected"])
    assert table.equal + table.kept == len(documents) > 150


async def test_what_is_equal_in_another_spelling_is_no_difference(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.things.insert_many(
        [
            {"_id": 1, "real": -0.0, "exact": Decimal128("1.50"), "nested": {"b": 1, "a": 2.0}},
            {"_id": 2, "real": float("nan"), "exact": Decimal128("NaN"), "nested": {"x": float("nan")}},
            {"_id": 3, "real": float("-inf"), "exact": Decimal128("1E+3"), "nested": {"x": Decimal128("1.10")}},
        ]
    )
    engine, _ = await engines.run(engines.settings("things", mapping={"documents": "json"}))
    target.execute(
        """
        UPDATE things SET real = 0.0, exact = 1.5, nested = '{ "a": 2, "b": 1.00 }' WHERE _id = 1;
        UPDATE things SET exact = 1000.00, nested = '{"x": 1.1}' WHERE _id = 3
        """
    )

    report = await verified(engine)

    assert report.differences == []
    assert only(report).equal == 3


async def test_text_columns_of_another_collation_are_compared(source: Source, target: Target, engines: Engines) -> None:
    target.execute(
        """
        CREATE TABLE things (_id text COLLATE "POSIX" PRIMARY KEY, name varchar(20) COLLATE "POSIX", _extra jsonb)
        """
    )
    source.db.things.insert_many([{"_id": "Ä", "name": "Müller"}, {"_id": "b", "name": "Meyer"}])
    engine, end = await engines.run(engines.settings("things", run={"mode": "append"}))
    assert end["exit_code"] == 0
    assert (await verified(engine)).result is Verification.VERIFIED

    target.execute("UPDATE things SET name = 'müller' WHERE _id = 'Ä'")

    assert found(await verified(engine))["different"].target == "müller"


async def test_policies_and_drift_compare_as_they_were_written(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.things.insert_many([{"_id": number, "n": number, "name": "x"} for number in range(400)])
    source.db.things.insert_many(
        [
            {"_id": 1_000, "n": "late text", "name": "a\0b"},
            {"_id": 1_001, "n": 1, "name": "y", "born": DatetimeMS(2**62)},
            {"_id": 1_002, "n": 2**40, "name": "z", "later": {"never": "seen"}},
        ]
    )
    options = {"nul": "replace", "date_range": "clamp", "missing": "track"}
    engine, end = await engines.run(engines.settings("things", run={"sample_size": 100}, mapping=options))
    assert end["rejected"] == 0

    report = await verified(engine)

    assert report.differences == []
    assert only(report).equal == 403


async def test_rejects_are_accounted_for(source: Source, target: Target, engines: Engines) -> None:
    hexadecimal = "0123456789abcdef01234567"
    source.db.things.insert_many([{"_id": number, "name": "a\0" if number % 10 == 0 else "a"} for number in range(100)])
    source.db.things.insert_many([{"_id": hexadecimal, "name": "text"}, {"_id": ObjectId(hexadecimal), "name": "id"}])
    engine, end = await engines.run(engines.settings("things"))
    assert end["rejected"] == 11

    report = await verified(engine)

    table = only(report)
    assert (table.equal, table.kept, table.missing, table.different, table.extra) == (91, 11, 0, 0, 0)
    assert report.result is Verification.VERIFIED
