"""Full verification on real servers: what differs is found and named, what is the same is left in peace."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from bson import Binary, Decimal128, Int64, ObjectId, Timestamp, decode
from bson.datetime_ms import DatetimeMS

from engine.control import protocol
from engine.control.protocol import DifferenceView, TableCounts, Verification, VerifyReport
from engine.errors import Cancelled, MigrationError, TargetHeld, UsageError
from tests.corpus import CASES
from tests.running import Engine, Engines, add_users, sessions

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 3_000
MANY = 60_000
"""So many that a verification is still going on when something is done to it."""

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


async def verified(engine: Engine, **command: Any) -> VerifyReport:
    """A full verification of the newest run."""
    return await engine.client.ask(VerifyReport, protocol.Verify(level="full", **command))


def only(report: VerifyReport) -> TableCounts:
    """The report's one table."""
    [table] = report.tables
    return table


def found(report: VerifyReport) -> dict[str, DifferenceView]:
    """The one difference of each kind."""
    assert len({each.kind for each in report.differences}) == len(report.differences), report.differences
    return {each.kind: each for each in report.differences}


def oid(text: str) -> str:
    """An ObjectId as the report shows it."""
    return f'{{"$oid": "{text}"}}'


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


@pytest.mark.parametrize("options", [{}, {"documents": "json"}, {"arrays": "native", "missing": "track", "flatten": 1}])
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
        {"overflow": "reject"},
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
        ([f"k{number:05}" for number in range(20_000)], "'k19999x'"),
        ([ObjectId(f"{number:024x}") for number in range(20_000)], f"'{20_000:024x}'"),
        ([UUID(int=number << 32) for number in range(20_000)], f"'{UUID(int=(20_000 << 32) - 1)}'"),
        ([datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=number) for number in range(20_000)], "'2021-01-01'"),
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


@pytest.mark.parametrize("mode", ["append", "upsert"])
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


async def test_of_a_view_only_the_counts_are_compared(source: Source, target: Target, engines: Engines) -> None:
    source.db.things.insert_many([{"_id": number} for number in range(50)])
    source.db.command("create", "seen", viewOn="things", pipeline=[{"$match": {"_id": {"$lt": 20}}}])
    engine, _ = await engines.run(engines.settings("seen"))

    report = await verified(engine)

    table = only(report)
    assert (report.result, table.equal, table.slices) == (Verification.VERIFIED, 0, 0)
    assert "only the counts were compared" in table.message


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


async def test_a_run_that_is_not_complete_is_refused(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await engines.launch(engines.settings("users", run={"throttle": 1_000}))
    await engine.start()
    await engine.until_written(1)
    with pytest.raises(UsageError, match="at work"):
        await verified(engine)
    other = await engines.launch()
    with pytest.raises(UsageError, match="not complete"):
        await verified(other)
    await engine.cancel()
    await engine.finished()
    with pytest.raises(UsageError, match=f"run --resume {engine.run_id}"):
        await verified(engine)


async def test_a_run_into_the_same_table_keeps_a_verification_out(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    await engines.run()
    appending = await engines.launch(
        engines.settings("more", run={"mode": "upsert", "throttle": 1_000,
                                      "collections": [f"{source.database}.users:public.users"]})
    )  # fmt: skip
    await appending.start()
    await appending.until_written(1)
    other = await engines.launch()
    first = target.value("SELECT run_id FROM mongopg.run ORDER BY started_at LIMIT 1")

    with pytest.raises(TargetHeld, match=appending.run_id):
        await verified(other, run=first)


async def test_progress_is_shown_and_knobs_work(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, MANY)
    engine, _ = await engines.run()
    verifying = asyncio.create_task(verified(engine))
    shown = await engine.until(lambda now: now.comparing is not None and now.workers, "workers that compare")
    await engine.set("throttle", 5_000)
    await engine.set("cluster_size", 3)
    shown = await engine.until(
        lambda now: now.comparing is not None and now.comparing.checked and now.workers_alive == 3, "three workers"
    )

    assert shown.comparing is not None
    assert (shown.phase, shown.verification) == ("verifying", Verification.RUNNING)
    assert (shown.comparing.run_id, shown.comparing.total) == (engine.run_id, MANY)
    assert shown.comparing.checked < MANY
    with pytest.raises(UsageError, match="at work"):
        await verified(engine)
    await engine.set("cluster_size", 1)
    await engine.until(lambda now: now.workers_alive == 1, "one worker")
    await engine.set("throttle", 0)
    assert only(await verifying).equal == MANY


async def test_a_verification_can_be_cancelled(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, MANY)
    engine, _ = await engines.run()
    verifying = asyncio.create_task(verified(engine))
    await engine.until(lambda now: now.comparing is not None and now.workers, "workers that compare")

    await engine.cancel()

    with pytest.raises(Cancelled):
        await verifying
    assert sessions(target) == []
    assert target.value("SELECT verification FROM mongopg.run") == "verified"
    assert only(await verified(engine)).equal == MANY


async def test_killed_workers_are_replaced(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, MANY)
    engine, _ = await engines.run()
    verifying = asyncio.create_task(verified(engine))
    shown = await engine.until(
        lambda now: now.comparing is not None and now.workers and now.workers[0].sent > 0, "a worker that compares"
    )
    os.kill(shown.workers[0].pid, signal.SIGKILL)

    report = await verifying

    assert (only(report).equal, report.result) == (MANY, Verification.VERIFIED)
    assert any(event.kind == "worker" and event.facts["what"] == "died" for event in engine.events)


async def test_an_engine_that_loses_its_owner_breaks_off(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, MANY)
    await engines.run()
    engine = await engines.launch()
    verifying = asyncio.create_task(verified(engine))
    await engine.until(lambda now: now.comparing is not None and now.workers, "workers that compare")

    await engine.client.close()

    with pytest.raises(MigrationError):
        await verifying
    await engine.until_gone()


async def test_sessions_that_are_ended_are_made_again(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, MANY)
    engine, _ = await engines.run()
    verifying = asyncio.create_task(verified(engine))
    await engine.until(
        lambda now: now.comparing is not None and now.workers and now.workers[0].sent > 0, "a worker that compares"
    )
    target.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND starts_with(application_name, 'mongopg-tui')"
    )

    report = await verifying

    assert (only(report).equal, report.result) == (MANY, Verification.VERIFIED)


async def test_cursors_that_fail_are_opened_again(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, MANY)
    engine, _ = await engines.run()
    failing = {"failCommands": ["getMore"], "errorCode": 43}
    source.client.admin.command("configureFailPoint", "failCommand", mode={"times": 3}, data=failing)

    report = await verified(engine)

    assert (only(report).equal, report.result) == (MANY, Verification.VERIFIED)
    assert engine.snapshot.problems
