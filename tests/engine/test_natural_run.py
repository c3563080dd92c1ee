"""Runs that read in natural order: every document exactly once, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from bson import Binary, decode

from engine.errors import ConnectError
from engine.mongo.partition import EXACT_DOCUMENTS, KeySamples
from engine.mongo.record_cuts import RecordCuts
from engine.plan import FIRST_TASK_ID, Plan, make_plan, order, select
from engine.protocol import MakePlan, PlanView, Verify, VerifyReport
from tests.engine.test_full_census import slowed
from tests.running import Engine, Engines, assert_ledger, assert_same
from tui.cli.plan import plan_text

if TYPE_CHECKING:
    from tests.conftest import Source, Target


def add_random(source: Source, count: int, *, first: int = 0, collection: str = "things") -> None:
    """Documents with ids in no order."""
    source.db[collection].insert_many(
        {"_id": uuid_of(number), "n": number, "text": "x" * 200} for number in range(first, first + count)
    )


def uuid_of(number: int) -> Binary:
    return Binary.from_uuid(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def number_anew(source: Source) -> None:
    """As after an initial sync: the same documents, in another file and in another order, from one moment to the next."""
    source.db.others.insert_many(reversed(list(source.db.things.find())))
    source.db.others.rename("things", dropTarget=True)


def natural(engines: Engines, *collections: str, **run: Any) -> Any:
    return engines.settings(*(collections or ("things",)), run={"order": "natural", "page_size": 100} | run)


def assert_equal(source: Source, target: Target, collection: str = "things") -> int:
    """The table holds what the collection does."""
    documents = {str(each["_id"].as_uuid()): each["n"] for each in source.db[collection].find({}, {"n": 1})}
    rows = [(str(row["_id"]), row["n"]) for row in target.rows(f"SELECT _id, n FROM {collection}")]
    assert_same(documents, rows)
    return len(documents)


def assert_natural(target: Target, run_id: str) -> None:
    orders = target.rows("SELECT read_order FROM mongopg.table_load WHERE run_id = $1", run_id)
    assert [row[0] for row in orders] == ["natural"]


async def test_a_collection_in_natural_order_arrives_whole(source: Source, target: Target, engines: Engines) -> None:
    add_random(source, 5_000)
    engine, end = await engines.run(natural(engines))
    assert (end["state"], end["verification"]) == ("completed", "verified")
    assert_natural(target, engine.run_id)
    n = assert_equal(source, target)
    assert_ledger(target, engine.run_id, rows=n)
    assert target.value("SELECT count(*) FROM mongopg.partition") > 4
    assert target.value("SELECT count(*) FROM pg_constraint WHERE conrelid = 'things'::regclass AND contype = 'p'") == 1


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("limit", "run.limit takes the first documents"),
        pytest.param("capped", "a capped collection loses documents", marks=pytest.mark.slow),
        ("append", "in mode append a document that is inserted again"),
        pytest.param("view", "it is a view", marks=pytest.mark.slow),
    ],
)
async def test_natural_order_is_refused_where_it_cannot_be(
    kind: str, why: str, source: Source, target: Target, engines: Engines
) -> None:
    run: dict[str, Any] = {}
    if kind == "capped":
        source.db.create_collection("things", capped=True, size=1_000_000)
    add_random(source, 600, collection="base" if kind == "view" else "things")
    if kind == "view":
        source.db.command({"create": "things", "viewOn": "base", "pipeline": []})
    if kind == "limit":
        run["limit"] = 10
    if kind == "append":
        run["mode"] = "append"
    engine = await engines.launch(natural(engines, **run))
    if kind != "append":  # for which there is no table to add rows to
        looked = await engine.client.ask(PlanView, MakePlan())
        assert looked.preflight is not None
        assert looked.preflight.status == "stop"
        assert "cannot be read in natural order" in looked.preflight.model_dump_json()
    await engine.start()
    end = await engine.finished()
    assert end["state"] == "failed"
    assert f"cannot be read in natural order: {why}" in end["error"]["message"]
    assert target.value("SELECT count(*) FROM mongopg.run") == 0


async def test_what_is_inserted_and_moved_meanwhile_arrives_once(
    source: Source, target: Target, engines: Engines
) -> None:
    add_random(source, 6_000)
    engine = await engines.launch(natural(engines, throttle=1_500))
    await engine.start()
    await engine.until_written(1_500)
    await engine.set("throttle", 100)
    for number in range(0, 6_000, 50):
        again = source.db.things.find_one_and_delete({"_id": uuid_of(number)})
        assert again is not None
        source.db.things.insert_one(again)
    add_random(source, 300, first=6_000)
    source.db.things.delete_many({"_id": {"$in": [uuid_of(number) for number in range(5_991, 6_000)]}})
    await engine.set("throttle", 0)
    end = await engine.finished()
    assert end["state"] == "completed"
    rows = [row[0] for row in target.rows("SELECT n FROM things ORDER BY n")]
    assert len(rows) == len(set(rows))
    left = {each["n"] for each in source.db.things.find({}, {"n": 1})}
    assert left <= set(rows)
    assert not target.rows("SELECT reason, detail, partition_id FROM mongopg.reject LIMIT 3")
    slices = target.rows("SELECT n_read, n_written, n_rejected FROM mongopg.slice")
    assert sum(each["n_read"] for each in slices) == sum(each["n_written"] for each in slices) == len(rows)


@pytest.mark.slow
async def test_kills_and_cluster_sizes_lose_nothing(source: Source, target: Target, engines: Engines) -> None:
    add_random(source, 8_000)
    engine = await engines.launch(natural(engines, throttle=1_500))
    await engine.start()
    for size, rows in ((4, 300), (1, 1_000), (6, 1_500), (2, 2_000)):
        await engine.until_written(rows)
        await engine.strike()
        await engine.set("cluster_size", size)
    await engine.set("throttle", 0)
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified")
    assert_ledger(target, engine.run_id, rows=assert_equal(source, target))


async def killed_halfway(source: Source, engines: Engines) -> str:
    """The id of a run whose engine was killed when a part of 6,000 documents was committed."""
    add_random(source, 6_000)
    engine = await engines.launch(natural(engines, throttle=1_000))
    await engine.start()
    await engine.until_written(1_000)
    engine.kill()
    await engine.until_gone()
    return engine.run_id


@pytest.mark.slow
async def test_a_killed_engine_is_resumed_behind_what_is_committed(
    source: Source, target: Target, engines: Engines
) -> None:
    run_id = await killed_halfway(source, engines)
    # What a worker had in hand is gone, and so may be the record where it stood.
    upto = target.rows("SELECT upto FROM mongopg.slice WHERE upto IS NOT NULL")
    assert upto
    gone = source.db.things.delete_many({"_id": {"$in": [decode(row[0])["_id"] for row in upto]}}).deleted_count
    assert gone
    resumed, end = await engines.run(engines.settings("things", run={"page_size": 100}), resume=run_id)
    assert end["state"] == "completed"
    rows = {row[0] for row in target.rows("SELECT n FROM things")}
    assert rows == set(range(6_000))  # those deleted were copied before
    assert target.value("SELECT count(*) FROM things") == 6_000
    assert_natural(target, resumed.run_id)


async def test_a_snapshot_in_natural_order_is_the_source_of_one_moment(
    source: Source, target: Target, engines: Engines
) -> None:
    add_random(source, 6_000)
    engine = await engines.launch(natural(engines, throttle=600, consistency="snapshot"))
    await engine.start()
    await engine.until_written(300)
    source.db.things.update_many({}, {"$inc": {"n": 100_000}})
    source.db.things.delete_many({"n": {"$gt": 103_000}})
    add_random(source, 100, first=7_000)
    await engine.set("throttle", 0)
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified")
    assert {row[0] for row in target.rows("SELECT n FROM things")} == set(range(6_000))


async def test_another_numbering_is_noticed_and_all_is_read_by_id(
    source: Source, target: Target, engines: Engines
) -> None:
    run_id = await killed_halfway(source, engines)
    # As after an initial sync: the same documents, in another file, elsewhere.
    target.execute("UPDATE mongopg.table_load SET collection_file = 'statistics:table:collection-1-1'")
    resumed, end = await engines.run(engines.settings("things"), resume=run_id)
    assert (end["state"], end["verification"]) == ("completed", "verified")
    assert [event for event in resumed.facts_of("problem") if event["code"] == "numbering_lost"]
    n = assert_equal(source, target)
    assert target.value("SELECT sum(n_written)::int FROM mongopg.slice") == n
    assert target.value("SELECT first_generation FROM mongopg.table_load") == 1
    report = await verified(resumed)
    assert (report.result.value, report.tables[0].equal, report.tables[0].slices_changed) == ("verified", n, 0), report


@pytest.mark.slow
async def test_a_census_whose_records_are_numbered_anew_begins_again_by_id(source: Source, engines: Engines) -> None:
    add_random(source, 4_000)
    engine = await engines.launch(natural(engines))
    with slowed(source, engine):
        asking = engine.ask_later(MakePlan(census="full"))
        await engine.until(lambda now: now.counting and now.counting.seen > 0, "a census under way")
        number_anew(source)
    (table,) = PlanView.model_validate(await asking).tables
    seen = {column.field: column.values.present for column in table.columns if column.values is not None}
    assert (table.sampled, seen) == (4_000, {"_id": 4_000, "n": 4_000, "text": 4_000})
    assert [facts for facts in engine.facts_of("problem") if facts["code"] == "numbering_lost"]


async def test_rows_that_came_twice_give_way_to_one(source: Source, target: Target, engines: Engines) -> None:
    add_random(source, 3_000)
    settings = natural(engines, throttle=500)
    engine = await engines.launch(settings)
    await engine.start()
    await engine.until_written(300)
    # As if a record id had been given twice.
    target.execute("INSERT INTO things SELECT * FROM things LIMIT 3")
    target.execute(
        "UPDATE mongopg.slice SET n_read = n_read + 3, n_written = n_written + 3 WHERE (partition_id, slice_no) ="
        " (SELECT partition_id, slice_no FROM mongopg.slice LIMIT 1)"
    )
    await engine.set("throttle", 0)
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified"), engine.account()
    assert [event for event in engine.facts_of("problem") if event["code"] == "read_twice"]
    assert_equal(source, target)


async def verified(engine: Engine, run_id: str = "") -> VerifyReport:
    return await engine.client.ask(VerifyReport, Verify(run=run_id or engine.run_id, level="full"))


async def test_a_full_verification_reads_in_natural_order_and_judges_by_one_sum(
    source: Source, target: Target, engines: Engines
) -> None:
    add_random(source, 4_000)
    source.db.things.insert_one({"_id": uuid_of(9_999), "n": 9_999, "text": "a\0b"})  # a reject
    engine, end = await engines.run(natural(engines))
    assert (end["state"], end["rejected"]) == ("completed", 1)
    with profiled(source) as reads:
        report = await verified(engine)
    (table,) = report.tables
    assert (report.result.value, table.equal, table.kept, table.slices_unknown) == ("verified", 4_000, 1, 0), report
    assert table.slices_changed == 0
    assert (reads.natural, reads.by_id) == (4_001, 0)
    # What is wrong although the source is the same is ours,
    target.execute("UPDATE things SET n = -1 WHERE n = 5; DELETE FROM things WHERE n = 6")
    target.execute("INSERT INTO things (_id, n) VALUES (gen_random_uuid(), 0)")
    report = await verified(engine)
    (table,) = report.tables
    assert (table.different, table.missing, table.extra, table.source_changed) == (1, 1, 1, 0), report
    # and where it changed, that is said.
    source.db.things.delete_one({"_id": uuid_of(7)})
    report = await verified(engine)
    (table,) = report.tables
    assert (table.different, table.missing, table.extra, table.slices_changed) == (1, 1, 2, 1), report
    assert table.source_changed >= 2


@pytest.mark.slow
async def test_a_verification_whose_records_are_numbered_anew_begins_again_by_id(
    source: Source, engines: Engines
) -> None:
    add_random(source, 4_000)
    run, end = await engines.run(natural(engines))
    assert end["state"] == "completed"
    engine = await engines.launch(natural(engines, throttle=1_000))
    verifying = asyncio.create_task(verified(engine, run.run_id))
    await engine.until(
        lambda now: now.comparing is not None and now.comparing.checked > 300, "a verification under way"
    )
    number_anew(source)
    await engine.set("throttle", 0)
    (table,) = (await verifying).tables
    assert (table.ok, table.equal, table.missing, table.slices_changed) == (True, 4_000, 0, 0), table
    assert [facts for facts in engine.facts_of("problem") if facts["code"] == "numbering_lost"]


async def test_auto_reads_in_natural_order_where_ids_are_in_no_order_on_disk(
    source: Source, target: Target, engines: Engines
) -> None:
    count = EXACT_DOCUMENTS + 5_000
    for first in range(0, count, 11_000):
        source.db.things.insert_many({"_id": uuid_of(number), "n": number} for number in range(first, first + 11_000))
        source.db.grown.insert_many({"n": number} for number in range(first, first + 11_000))
    add_random(source, 2_000, collection="few")
    settings = engines.settings("things", "grown", "few")
    looked = await (await engines.launch(settings)).client.ask(PlanView, MakePlan())
    assert [(table.order, table.order_reason) for table in looked.tables] == [
        ("natural", "its _ids are in no order on disk"), ("id", "its documents lie in that order"), ("id", "it is small"),
    ]  # fmt: skip
    assert "read in natural order: its _ids are in no order on disk" in plan_text(looked)
    with profiled(source) as reads:
        counted = await (await engines.launch(settings)).client.ask(PlanView, MakePlan(census="full"))
    assert [table.sampled for table in counted.tables] == [count, count, 2_000]
    assert (reads.natural, reads.by_id) == (count, 0)
    with profiled(source) as reads:
        engine, end = await engines.run(settings)
    assert (end["state"], end["verification"]) == ("completed", "verified")
    # What lies in no order is sampled in runs of neighbours; what grows is cut at documents that lie evenly spread.
    assert (reads.draws, reads.runs) == ({"grown": 1}, 1_000)
    orders = target.rows("SELECT namespace, read_order FROM mongopg.table_load ORDER BY task_id")
    assert [row["read_order"] for row in orders] == ["natural", "id", "id"]
    assert_equal(source, target)
    (planned,) = engine.facts_of("planned")
    assert [(table["order"], table["order_reason"]) for table in planned["tables"]] == [
        ("natural", "its _ids are in no order on disk"), ("id", "its documents lie in that order"), ("id", "it is small"),
    ]  # fmt: skip


def test_a_member_that_cannot_be_asked_alone_is_no_obstacle_unless_natural_order_is_asked_for(
    source: Source, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in range(0, EXACT_DOCUMENTS + 5_000, 11_000):
        source.db.things.insert_many({"_id": uuid_of(number)} for number in range(first, first + 11_000))
    add_random(source, 2_000, collection="few")
    asked: list[str] = []

    @contextmanager
    def alone(*_: object) -> Iterator[Any]:
        asked.append("alone")
        raise ConnectError("db1:27017 does not answer.")
        yield

    monkeypatch.setattr(order, "pinned", alone)

    def chosen(run_order: str, collection: str) -> tuple[Plan, dict[int, RecordCuts]]:
        settings = engines.settings(collection, run={"order": run_order})
        choices = select(source.client, settings).choices
        wanted = dict(enumerate(choices, FIRST_TASK_ID))
        cuts, reasons = order.cut_records(source.client, settings, wanted, 2, KeySamples())
        return order.with_orders(settings, make_plan(source.client, settings, choices), cuts, reasons)

    plan, cuts = chosen("auto", "things")
    assert ([table.order for table in plan.tables], cuts, asked) == (["id"], {}, ["alone"])
    with pytest.raises(ConnectError):
        chosen("natural", "things")
    asked.clear()
    chosen("auto", "few")
    assert asked == [], "a small collection costs no connection"


@dataclass
class Reads:
    """What was read of the collection `things`, by the server's own account."""

    begins: list[int] = field(default_factory=list)
    """Record ids behind which cursors of natural order began."""
    natural: int = 0
    """Documents sent in natural order."""
    by_id: int = 0
    """Documents fetched, and sent in the order of `_id`."""
    runs: int = 0
    """Of neighbours that were looked at."""
    draws: Counter[str] = field(default_factory=Counter)
    """Samples that the server drew, of any collection."""


@contextmanager
def profiled(source: Source) -> Iterator[Reads]:
    """Have the server note what it reads."""
    reads = Reads()
    source.db.drop_collection("system.profile")
    source.db.create_collection("system.profile", capped=True, size=2**25)
    source.db.command("profile", 2)
    try:
        yield reads
    finally:
        source.db.command("profile", 0)
    for each in source.db["system.profile"].find(
        {"ns": f"{source.database}.things", "op": {"$in": ["query", "getmore"]}}
    ):
        command = each.get("originatingCommand", each["command"])
        if command.get("comment") != "mongopg-tui" or "find" not in command or command.get("limit"):
            reads.runs += each["op"] == "query" and "$_resumeAfter" in command and command.get("limit", 1) > 1
            continue
        if "$_requestResumeToken" in command:
            reads.natural += each["nreturned"]
            if each["op"] == "query":
                reads.begins.append(command.get("$_resumeAfter", {}).get("$recordId", 0))
        elif command.get("hint") == {"_id": 1} and "filter" in command and not command.get("projection"):
            reads.by_id += each["nreturned"]
    for each in source.db["system.profile"].find({"command.pipeline.0.$sample": {"$exists": True}}):
        reads.draws[each["command"]["aggregate"]] += 1


async def test_the_cursors_of_a_run_read_disjoint_ranges(source: Source, target: Target, engines: Engines) -> None:
    add_random(source, 6_000)
    with profiled(source) as reads:
        await engines.run(natural(engines, cluster_size=3))
    assert len(reads.begins) == len(set(reads.begins)) > 4
    assert (reads.natural, reads.by_id) == (6_000, 0), "some twice, or thrown away"


@pytest.mark.parametrize("hung_on", [pytest.param(False, marks=pytest.mark.slow), True], ids=["plain", "with an index"])
async def test_a_replaced_table_is_loaded_in_natural_order(
    hung_on: bool, source: Source, target: Target, engines: Engines
) -> None:
    add_random(source, 3_000)
    target.execute("CREATE TABLE things (_id uuid PRIMARY KEY, n integer, text text)")
    target.execute("INSERT INTO things SELECT gen_random_uuid(), -1, 'old'")
    if hung_on:
        target.execute("CREATE INDEX ON things (n); CREATE VIEW looking AS SELECT n FROM things")
    engine = await engines.launch(natural(engines, mode="replace", throttle=500))
    await engine.start()
    await engine.until_written(300)
    again = source.db.things.find_one_and_delete({"_id": uuid_of(3)})
    assert again is not None
    source.db.things.insert_one(again)
    await engine.set("throttle", 0)
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified"), engine.account()
    assert_equal(source, target)
    assert_natural(target, engine.run_id)


@pytest.mark.slow
async def test_rejects_that_are_inserted_again_count_once(source: Source, target: Target, engines: Engines) -> None:
    add_random(source, 3_000)
    for number in (0, 1, 2):  # they lie at the beginning
        source.db.things.update_one({"_id": uuid_of(number)}, {"$set": {"text": "a\0b"}})
    engine = await engines.launch(natural(engines, throttle=1_500))
    await engine.start()
    await engine.until(lambda now: now.rejected == 3, "three rejects")
    for number, text in ((0, "a\0b"), (1, "sound")):
        again = source.db.things.find_one_and_delete({"_id": uuid_of(number)})
        assert again is not None
        source.db.things.insert_one(again | {"text": text})
    await engine.set("throttle", 0)
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified"), engine.account()
    assert (end["read"], end["written"], end["rejected"]) == (3_000, 2_998, 2)
    assert_ledger(target, engine.run_id, rows=2_998, rejected=2)
    assert target.value("SELECT text FROM things WHERE n = 1") == "sound"
