"""Rejects on real servers: written again exactly once, and limits that end a run early."""

from __future__ import annotations

import asyncio
import struct
import time
from typing import TYPE_CHECKING

import pytest
from bson import Int64, ObjectId
from bson.raw_bson import RawBSONDocument

from engine import protocol
from engine.errors import MigrationError, TargetHeld, UsageError
from engine.protocol import RetryReport, RunState, Verification, VerifyReport
from tests.corpus.case import element, inner, text
from tests.running import Engine, Engines, assert_ledger, assert_same, committed, end_kept, nothing_open

if TYPE_CHECKING:
    from tests.conftest import Source, Target

DOCUMENTS = 2_000
BAD_EVERY = 50
BAD = DOCUMENTS // BAD_EVERY
"""Documents that have a NUL in their name."""


def add_people(source: Source, count: int = DOCUMENTS, *, bad_every: int = BAD_EVERY) -> None:
    """People of whom some have a NUL in their names."""
    source.db.people.insert_many(
        [
            {"_id": number, "name": f"n\0{number}" if number % bad_every == 0 else f"n{number}"}
            for number in range(count)
        ]
    )


def assert_people(target: Target, count: int = DOCUMENTS) -> None:
    """Each person is in the table once, without NULs."""
    rows = [tuple(row) for row in target.rows("SELECT _id, name FROM people")]
    assert_same({number: f"n{number}" for number in range(count)}, rows)


async def retried(engines: Engines, *, run: str = "", plan: str = "", **mapping: str) -> RetryReport:
    """Another engine writes the rejects of the newest run, or of another, again under these policies."""
    engine = await engines.launch(engines.settings("people", mapping=mapping))
    return await engine.client.ask(RetryReport, protocol.RetryRejects(run=run, plan=plan))


async def verified(engine: Engine) -> VerifyReport:
    """A full verification of the newest run."""
    return await engine.client.ask(VerifyReport, protocol.Verify(level="full"))


def sums(report: RetryReport) -> tuple[int, int, int, int]:
    """What became of the rejects, in numbers."""
    return report.tried, report.written, report.already_there, report.left


# --- written again ----------------------------------------------------------------------------------------------------


async def test_rejects_are_written_again_under_another_policy(source: Source, target: Target, engines: Engines) -> None:
    add_people(source)
    engine, end = await engines.run(engines.settings("people"))
    assert (end["rejected"], end["exit_code"]) == (BAD, 4)

    report = await retried(engines, nul="strip")

    assert sums(report) == (BAD, BAD, 0, 0)
    assert report.groups == []
    assert [each.model_dump() for each in report.reasons] == [
        {"namespace": f"{source.database}.people", "field": "name", "reason": "nul", "tried": BAD, "written": BAD}
    ]
    assert_people(target)
    assert_ledger(target, engine.run_id, rows=DOCUMENTS)
    assert target.value("SELECT target_count FROM mongopg.table_load") == DOCUMENTS
    assert sums(await retried(engines, nul="strip")) == (0, 0, 0, 0)
    whole = await verified(engine)
    assert (whole.result, whole.tables[0].equal) == (Verification.VERIFIED, DOCUMENTS)


async def test_a_retry_changes_no_rate_of_the_run(source: Source, target: Target, engines: Engines) -> None:
    add_people(source, bad_every=2)
    engine, end = await engines.run(engines.settings("people"))
    assert end["rejected"] == DOCUMENTS // 2
    await end_kept(target, engine)  # its seconds are final then

    async def rates() -> tuple[float, float]:
        (run,) = (await engine.client.call(protocol.ListRuns()))["runs"]
        return run["rows_per_s_overall"], run["rows_per_s_copying"]

    overall, copying = await rates()
    assert 0 < overall <= copying
    assert sums(await retried(engines, nul="strip"))[1] == DOCUMENTS // 2
    assert await rates() == (overall, copying)
    after = await engine.client.ask(protocol.Snapshot, protocol.Recount())
    assert after.written == DOCUMENTS
    assert after.rows_per_s_overall == overall
    assert after.rows_per_s_mean == pytest.approx(copying, rel=0.02), "the ledger has the seconds in thousandths"


async def test_corrupt_documents_are_named_by_their_id(source: Source, target: Target, engines: Engines) -> None:
    source.db.people.insert_many([{"_id": f"p{number}", "name": b"x"} for number in range(20)])
    # Which the server takes, though the two lengths of this old kind of binary differ.
    broken = element(5, "name", struct.pack("<iBi", 6, 2, 3) + b"ab")
    for number in range(3):
        identifier = element(2, "_id", text(f"broken {number}"))
        document = inner(identifier, broken) if number else inner(broken, identifier)
        source.db.people.insert_one(RawBSONDocument(document))

    engine, end = await engines.run(engines.settings("people"))

    assert (end["written"], end["rejected"]) == (20, 3)
    report = await engine.client.ask(protocol.RejectsReport, protocol.ListRejects())
    [group] = report.groups
    assert (group.reason, group.samples) == ("corrupt", ['"broken 0"', '"broken 1"', '"broken 2"'])
    whole = await verified(engine)
    assert (whole.result, whole.tables[0].kept) == (Verification.VERIFIED, 3)
    target.execute("UPDATE mongopg.reject SET id = ''")  # as older versions kept them
    assert (await verified(engine)).result is Verification.VERIFIED


async def test_what_is_written_later_is_verified_like_the_rest(
    source: Source, target: Target, engines: Engines
) -> None:
    add_people(source)
    engine, _ = await engines.run(engines.settings("people"))
    await retried(engines, nul="strip")
    target.execute("UPDATE people SET name = 'else' WHERE _id = 50; DELETE FROM people WHERE _id = 100")

    report = await verified(engine)

    [table] = report.tables
    assert (table.equal, table.different, table.missing, table.extra) == (DOCUMENTS - 2, 1, 1, 0)


@pytest.mark.slow
async def test_the_same_policies_change_nothing(source: Source, target: Target, engines: Engines) -> None:
    add_people(source)
    engine, _ = await engines.run(engines.settings("people"))

    report = await retried(engines)

    assert sums(report) == (BAD, 0, 0, BAD)
    [group] = report.groups
    assert (group.reason, group.field, group.count) == ("nul", "name", BAD)
    assert_ledger(target, engine.run_id, rows=DOCUMENTS - BAD, rejected=BAD)
    assert target.value("SELECT count(*) FROM mongopg.retry") == 0


async def test_rows_that_the_table_refused_are_written_when_it_was_changed(
    source: Source, target: Target, engines: Engines
) -> None:
    target.execute(
        "CREATE TABLE people (_id bigint PRIMARY KEY, name varchar(3), n integer CHECK (n < 5), _extra jsonb)"
    )
    source.db.people.insert_many(
        [{"_id": number, "name": "x" * (1 + number % 5), "n": number % 7} for number in range(700)]
    )
    engine, end = await engines.run(engines.settings("people", run={"mode": "append"}))
    rejected = end["rejected"]
    assert 200 < rejected < 700

    target.execute("ALTER TABLE people ALTER name TYPE varchar(20)")
    narrower = await retried(engines)
    target.execute("ALTER TABLE people DROP CONSTRAINT people_n_check")
    report = await retried(engines)

    assert 0 < narrower.written < rejected
    assert [(group.reason, group.sqlstate) for group in narrower.groups] == [("check_violation", "23514")]
    assert sums(report) == (narrower.left, narrower.left, 0, 0)
    assert committed(target, "people") == 700
    assert_ledger(target, engine.run_id, rows=700)
    assert (await verified(engine)).result is Verification.VERIFIED


async def test_values_that_overflowed_go_into_a_wider_column_and_a_new_extra(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.people.insert_many([{"_id": number, "n": number} for number in range(300)])
    engine = await engines.launch(engines.settings("people", mapping={"overflow": "reject"}))
    plan = (await engine.client.ask(protocol.PlanView, protocol.MakePlan())).toml
    source.db.people.insert_many([{"_id": 500, "n": Int64(2**40)}, {"_id": 501, "n": 1, "late": "x"}])
    await engine.start(plan=plan)
    assert (await engine.finished())["rejected"] == 2
    target.execute("ALTER TABLE people ALTER n TYPE bigint, ADD _extra jsonb")

    report = await retried(engines, overflow="overflow")

    assert sums(report) == (2, 2, 0, 0)
    assert [tuple(row) for row in target.rows("SELECT _id, n, _extra FROM people WHERE _id > 400 ORDER BY 1")] == [
        (500, 2**40, None), (501, 1, '{"late": "x"}'),
    ]  # fmt: skip
    assert (await verified(engine)).result is Verification.VERIFIED


@pytest.mark.slow
async def test_a_saved_plan_says_how_rejects_are_written(source: Source, target: Target, engines: Engines) -> None:
    add_people(source)
    engine, _ = await engines.run(engines.settings("people"))
    view = await engine.client.ask(protocol.PlanView, protocol.MakePlan())
    assert 'nul = "reject"' in view.toml

    report = await retried(engines, plan=view.toml.replace('nul = "reject"', 'nul = "strip"'))

    assert sums(report) == (BAD, BAD, 0, 0)
    assert_people(target)


async def test_rows_that_are_there_already_are_not_written_twice(
    source: Source, target: Target, engines: Engines
) -> None:
    add_people(source)
    engine, _ = await engines.run(engines.settings("people"))
    target.execute("INSERT INTO people VALUES (50, 'n50'), (100, 'somebody else')")

    report = await retried(engines, nul="strip")

    assert sums(report) == (BAD, BAD - 2, 1, 1)
    [group] = report.groups
    assert (group.reason, group.field, group.samples) == ("key_taken", "_id", ['{"$numberInt": "100"}'])
    assert committed(target, "people") == DOCUMENTS
    assert target.value("SELECT name FROM people WHERE _id = 100") == "somebody else"
    assert_ledger(target, engine.run_id, rows=DOCUMENTS - 1, rejected=1)


async def test_a_table_without_a_key_gets_no_row_twice(source: Source, target: Target, engines: Engines) -> None:
    target.execute("CREATE TABLE people (_id bigint, name text, _extra jsonb)")
    add_people(source)
    engine, _ = await engines.run(engines.settings("people", run={"mode": "append"}))
    target.execute("INSERT INTO people VALUES (50, 'n50')")

    report = await retried(engines, nul="strip")

    assert sums(report) == (BAD, BAD - 1, 1, 0)
    assert_people(target)
    assert_ledger(target, engine.run_id, rows=DOCUMENTS)


async def test_two_documents_of_one_key_stay_a_row_and_a_reject(
    source: Source, target: Target, engines: Engines
) -> None:
    hexadecimal = "0123456789abcdef01234567"
    source.db.people.insert_many([{"_id": hexadecimal, "name": "text"}, {"_id": ObjectId(hexadecimal), "name": "id"}])
    engine, end = await engines.run(engines.settings("people"))
    assert end["rejected"] == 1

    report = await retried(engines)

    assert sums(report) == (1, 0, 0, 1)
    assert report.groups[0].reason == "key_taken"
    assert committed(target, "people") == 1
    assert_ledger(target, engine.run_id, rows=1, rejected=1)


async def test_an_upsert_takes_the_new_values(source: Source, target: Target, engines: Engines) -> None:
    target.execute("CREATE TABLE people (_id bigint PRIMARY KEY, name text, _extra jsonb)")
    target.execute("INSERT INTO people SELECT i, 'old' FROM generate_series(0, 99) i")
    add_people(source)
    engine, _ = await engines.run(engines.settings("people", run={"mode": "upsert"}))

    report = await retried(engines, nul="strip")

    assert sums(report) == (BAD, BAD, 0, 0)
    assert_people(target)
    assert_ledger(target, engine.run_id, rows=DOCUMENTS)


async def test_rejects_of_a_replaced_table_go_where_it_is_now(source: Source, target: Target, engines: Engines) -> None:
    target.execute("CREATE TABLE people (old text)")
    add_people(source)
    await engines.run(engines.settings("people", run={"mode": "replace"}))

    assert sums(await retried(engines, nul="strip")) == (BAD, BAD, 0, 0)
    assert_people(target)


@pytest.mark.slow
async def test_a_table_that_does_not_fit_any_more_is_named(source: Source, target: Target, engines: Engines) -> None:
    add_people(source)
    await engines.run(engines.settings("people"))
    target.execute("ALTER TABLE people DROP name")

    with pytest.raises(UsageError, match=r"does not fit the mapping: Column name \(text\) is missing"):
        await retried(engines, nul="strip")


@pytest.mark.slow
async def test_a_retry_that_is_killed_in_the_middle_leaves_rows_and_rejects_that_add_up(
    source: Source, target: Target, engines: Engines
) -> None:
    count = 40_000
    add_people(source, count, bad_every=2)
    engine, end = await engines.run(engines.settings("people", run={"max_rejects": "100%"}))
    assert end["rejected"] == count // 2

    for part in (1, 2):
        retrying = await engines.launch(engines.settings("people", mapping={"nul": "strip"}))
        task = asyncio.create_task(retrying.client.ask(RetryReport, protocol.RetryRejects()))
        before = committed(target, "people")
        while committed(target, "people") < before + 1_000 and not task.done():
            await asyncio.sleep(0.001)
        retrying.kill()
        with pytest.raises(MigrationError):
            await task
        rows = committed(target, "people")
        assert count // 2 < rows < count, part
        assert_ledger(target, engine.run_id, rows=rows, rejected=count - rows)
    await nothing_open(target)  # the server has noticed that the last one is gone, and let its locks go
    report = await retried(engines, nul="strip")

    assert report.left == 0
    assert report.tried < count // 2
    assert_people(target, count)
    assert_ledger(target, engine.run_id, rows=count)


@pytest.mark.slow
async def test_a_retry_keeps_others_out_and_is_kept_out(source: Source, target: Target, engines: Engines) -> None:
    add_people(source)
    first, _ = await engines.run(engines.settings("people"))
    second = await engines.launch(engines.settings("people", run={"mode": "upsert", "throttle": 50}))
    await second.start()
    await second.until_written(1)

    with pytest.raises(TargetHeld, match=second.run_id):
        await retried(engines, run=first.run_id, nul="strip")
    with pytest.raises(UsageError, match="not complete"):
        await retried(engines, nul="strip")


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "is_stopped"),
    [
        ("39", True),
        ("40", False),
        ("1.9%", True),
        pytest.param("2%", False, marks=pytest.mark.slow),
        ("0", True),
        pytest.param("100%", False, marks=pytest.mark.slow),
    ],
)
async def test_a_limit_stops_the_run_with_the_cause_named(
    source: Source, target: Target, engines: Engines, limit: str, is_stopped: bool
) -> None:
    add_people(source)
    engine, end = await engines.run(engines.settings("people", run={"max_rejects": limit}))

    if not is_stopped:
        assert (end["state"], end["exit_code"], end["rejected"]) == ("completed", 4, BAD)
        return
    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 1, "max_rejects")
    message = end["error"]["message"]
    assert "run.max_rejects" in message
    assert f"nul in field name of {source.database}.people" in message
    assert engine.snapshot.state is RunState.FAILED


@pytest.mark.slow
async def test_a_stopped_run_is_resumed_with_a_higher_limit(source: Source, target: Target, engines: Engines) -> None:
    add_people(source, 20_000, bad_every=10)
    slow = {"page_size": 500, "throttle": 10_000}  # otherwise all may be committed before it is told to stop
    first, end = await engines.run(engines.settings("people", run={"max_rejects": "5%"} | slow))
    assert end["error"]["code"] == "max_rejects"
    assert end["read"] < 20_000

    again, end = await engines.run(engines.settings("people", run={"max_rejects": "5%"}), resume="")
    assert end["error"]["code"] == "max_rejects"
    last, end = await engines.run(engines.settings("people", run={"max_rejects": "3,000"}), resume="")

    assert first.run_id == again.run_id == last.run_id
    assert (end["state"], end["rejected"], end["written"]) == ("completed", 2_000, 18_000)
    assert_ledger(target, last.run_id, rows=18_000, rejected=2_000)


@pytest.mark.slow
async def test_a_table_of_nothing_but_rejects_stops_the_run_within_seconds(
    source: Source, target: Target, engines: Engines
) -> None:
    add_people(source, 60_000, bad_every=1)
    began = time.monotonic()
    _, end = await engines.run(engines.settings("people"))

    assert time.monotonic() - began < 15
    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 1, "max_rejects")
    assert 10_000 <= end["rejected"] < 60_000
    assert f"documents of {source.database}.people were rejected" in end["error"]["message"]
    assert "nul in field name" in end["error"]["message"]


async def test_a_table_that_refuses_every_row_stops_the_run_before_all_are_tried(
    source: Source, target: Target, engines: Engines
) -> None:
    target.execute("CREATE TABLE people (_id bigint PRIMARY KEY, name text CHECK (name = ''), _extra jsonb)")
    source.db.people.insert_many([{"_id": number, "name": f"n{number}"} for number in range(60_000)])
    _, end = await engines.run(engines.settings("people", run={"mode": "append"}))

    assert end["error"]["code"] == "max_rejects"
    assert end["rejected"] < 60_000
    assert "check_violation (23514)" in end["error"]["message"]
    assert committed(target, "people") == 0
