"""Full verification of what changed since, of tables that others share, of filters, views and wide tables; its report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from bson import Binary, ObjectId

from engine.errors import MigrationError
from engine.protocol import Verification
from tests.engine.verification_tools import USERS, found, only, verified
from tests.running import Engines, add_users

if TYPE_CHECKING:
    from tests.conftest import Source, Target


async def test_what_the_source_changed_since_is_told_from_what_is_ours(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.things.insert_many([{"_id": number, "n": number, "pad": "x" * 500} for number in range(40_000)])
    engine, _ = await engines.run(engines.settings("things"))
    things = source.db.things
    things.update_one({"_id": 1}, {"$set": {"n": -1}})
    things.update_one({"_id": 2}, {"$set": {"pad": "a\0b"}})
    things.delete_one({"_id": 3})
    things.insert_one({"_id": 1.5, "n": 0})
    target.execute("UPDATE things SET n = -1 WHERE _id = 39999; DELETE FROM things WHERE _id = 39998;"
                   " INSERT INTO things (_id) VALUES (40000)")  # fmt: skip

    report = await verified(engine)

    told = {(each.kind, each.id.split('"')[3] if "$" in each.id else each.id): each.source_changed
            for each in report.differences}  # fmt: skip
    assert told == {
        ("different", "1"): True, ("different", "2"): True, ("missing", "1.5"): True, ("extra", "3"): True,
        ("different", "39999"): False, ("missing", "39998"): False, ("extra", "40000"): False,
    }  # fmt: skip
    assert next(each for each in report.differences if each.id.endswith('"2"}')).reason == "nul"
    table = only(report)
    assert 1 <= table.slices_changed < table.slices
    assert (table.different, table.missing, table.extra, table.source_changed) == (3, 2, 2, 4)


@pytest.mark.parametrize(
    ("ids", "planted"),
    [
        pytest.param([f"k{number:05}" for number in range(20_000)], "'k19999x'", marks=pytest.mark.slow),
        ([ObjectId(f"{number:024x}") for number in range(20_000)], f"'{20_000:024x}'"),
        pytest.param(
            [UUID(int=number << 32) for number in range(20_000)],
            f"'{UUID(int=(20_000 << 32) - 1)}'",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=number) for number in range(20_000)],
            "'2021-01-01'",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["text", "objectId", "uuid", "date"],
)
async def test_an_extra_row_is_of_the_source_where_its_slice_changed(
    source: Source, target: Target, engines: Engines, ids: list[Any], planted: str
) -> None:
    stored = [Binary.from_uuid(key) if isinstance(key, UUID) else key for key in ids]
    source.db.things.insert_many([{"_id": key, "pad": "x" * 500} for key in stored])
    engine, _ = await engines.run(engines.settings("things"))
    source.db.things.delete_many({"_id": {"$in": stored[1:3]}})
    target.execute(f"INSERT INTO things (_id) VALUES ({planted})")

    report = await verified(engine)

    table = only(report)
    assert (table.extra, table.source_changed, table.slices_changed) == (3, 2, 1)
    assert sorted(each.source_changed for each in report.differences) == [False, True, True]


@pytest.mark.slow
async def test_extra_rows_with_keys_of_several_kinds_are_counted(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.things.insert_many([{"_id": f"k{number}"} for number in range(200)])
    source.db.things.insert_many([{"_id": number} for number in range(200)])
    engine, _ = await engines.run(engines.settings("things"))
    source.db.things.delete_many({"_id": {"$lt": 3}})
    assert (only(await verified(engine)).extra, only(await verified(engine)).source_changed) == (3, 3)

    target.execute("""INSERT INTO things VALUES ('"planted"')""")
    report = await verified(engine)

    assert (only(report).extra, only(report).source_changed) == (4, 3)
    assert '"planted"' in {each.id for each in report.differences}


@pytest.mark.parametrize("mode", [pytest.param("append", marks=pytest.mark.slow), "upsert"])
async def test_rows_of_others_are_no_differences_in_a_shared_table(
    source: Source, target: Target, engines: Engines, mode: str
) -> None:
    target.execute("CREATE TABLE things (_id bigint PRIMARY KEY, n integer, _extra jsonb)")
    target.execute("INSERT INTO things SELECT i, i FROM generate_series(1000, 1099) i")
    source.db.things.insert_many([{"_id": number, "n": number} for number in range(100)])
    engine, _ = await engines.run(engines.settings("things", run={"mode": mode}))
    assert only(await verified(engine)).ok

    target.execute("UPDATE things SET n = 0 WHERE _id = 7; DELETE FROM things WHERE _id = 8")

    table = only(await verified(engine))
    assert (table.equal, table.different, table.missing, table.extra) == (98, 1, 1, 0)


@pytest.mark.slow
async def test_a_table_without_an_index_is_compared_all_the_same(
    source: Source, target: Target, engines: Engines
) -> None:
    target.execute("CREATE TABLE things (_id bigint, n integer, _extra jsonb)")
    source.db.things.insert_many([{"_id": number, "n": number} for number in range(5_000)])
    engine, _ = await engines.run(engines.settings("things", run={"mode": "append"}))
    target.execute("UPDATE things SET n = 0 WHERE _id = 7; INSERT INTO things VALUES (9, 0)")

    table = only(await verified(engine))

    assert (table.equal, table.different, table.missing) == (4_999, 1, 0)


async def test_a_replaced_table_a_part_and_a_filter_are_verified_as_they_were_asked_for(
    source: Source, target: Target, engines: Engines
) -> None:
    target.execute("CREATE TABLE users (old text)")
    add_users(source, USERS)
    engine, end = await engines.run(engines.settings("users", run={"mode": "replace", "limit": 1_000}))
    assert end["written"] == 1_000

    report = await verified(engine)

    assert (report.result, only(report).equal) == (Verification.VERIFIED, 1_000)


async def test_a_run_whose_table_a_later_run_has_replaced_is_not_compared_with_that(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, 100)
    first, _ = await engines.run(engines.settings("users"))
    await first.leave()
    later, _ = await engines.run(engines.settings("users", run={"mode": "replace"}))
    with pytest.raises(MigrationError, match="is gone: it was dropped, or a later run has replaced it"):
        await verified(later, run=first.run_id)
    assert only(await verified(later)).equal == 100


async def test_of_a_view_only_the_counts_are_compared(source: Source, target: Target, engines: Engines) -> None:
    source.db.things.insert_many([{"_id": number} for number in range(50)])
    source.db.command("create", "seen", viewOn="things", pipeline=[{"$match": {"_id": {"$lt": 20}}}])
    engine, _ = await engines.run(engines.settings("seen"))

    report = await verified(engine)

    table = only(report)
    assert (report.result, table.equal, table.slices) == (Verification.VERIFIED, 0, 0)
    assert "only the counts were compared" in table.message


@pytest.mark.slow
async def test_a_table_of_a_thousand_columns_is_compared(source: Source, target: Target, engines: Engines) -> None:
    fields = {f"a field with a long name and number {number}": number for number in range(1_500)}
    source.db.things.insert_many([{"_id": number, **fields} for number in range(20)])
    engine, _ = await engines.run(engines.settings("things", mapping={"naming": "preserve"}))
    target.execute('UPDATE things SET "a field with a long name and number 1234" = 0 WHERE _id = 7')

    report = await verified(engine)

    assert (only(report).equal, found(report)["different"].target) == (19, "0")


async def test_several_tables_are_verified_together(source: Source, target: Target, engines: Engines) -> None:
    for name in ("one", "two", "three"):
        source.db[name].insert_many([{"_id": f"{name} {number}", "n": number} for number in range(300)])
    engine, _ = await engines.run(engines.settings("one", "two", "three"))
    target.execute("INSERT INTO two VALUES ('planted', 1); UPDATE three SET n = 0 WHERE n = 5")

    report = await verified(engine)

    assert {table.table: (table.equal, table.different, table.extra, table.ok) for table in report.tables} == {
        "public.one": (300, 0, 0, True), "public.two": (300, 0, 1, False), "public.three": (299, 1, 0, False),
    }  # fmt: skip


async def test_values_are_cut_and_can_be_hidden(source: Source, target: Target, engines: Engines) -> None:
    source.db.things.insert_one({"_id": "x", "secret": "s" * 500})
    engine, _ = await engines.run(engines.settings("things"))
    target.execute("UPDATE things SET secret = repeat('t', 500)")

    shown, hidden = await verified(engine), await verified(engine, redact=True)

    assert found(shown)["different"].source == "s" * 79 + "…"
    assert (hidden.redacted, found(hidden)["different"].column, found(hidden)["different"].source) == (
        True, "secret", None,
    )  # fmt: skip
    assert "sss" not in hidden.model_dump_json()


async def test_samples_are_limited_and_counts_are_not(source: Source, target: Target, engines: Engines) -> None:
    source.db.things.insert_many([{"_id": number, "n": 1} for number in range(500)])
    engine, _ = await engines.run(engines.settings("things"))
    target.execute("UPDATE things SET n = 2; INSERT INTO things SELECT i, 1 FROM generate_series(900, 1099) i")

    report = await verified(engine, samples=3)

    assert (only(report).different, only(report).extra) == (500, 200)
    assert [each.kind for each in report.differences] == ["different"] * 3 + ["extra"] * 3


async def test_a_column_that_cannot_be_compared_any_more_is_named(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.things.insert_many([{"_id": number, "n": number, "m": 1} for number in range(50)])
    engine, _ = await engines.run(engines.settings("things"))
    target.execute("ALTER TABLE things ALTER n TYPE bigint")
    assert only(await verified(engine)).equal == 50

    target.execute("ALTER TABLE things ALTER n TYPE text; ALTER TABLE things DROP m")
    report = await verified(engine)

    assert report.result is Verification.MISMATCH
    assert "Column n is text now, the run wrote integer. Column m (integer) is missing." in only(report).message
