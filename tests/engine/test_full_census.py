"""A full census by the cluster: exact, whichever workers count, and whichever die while counting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from bson import Int64, ObjectId
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS

from engine.errors import Cancelled, UsageError
from engine.protocol import Cancel, MakePlan, PlanView, RunState, TableView
from tests.running import Engine, Engines, add_users, assert_users_equal

if TYPE_CHECKING:
    from tests.conftest import Source, Target

DOCUMENTS = 12_000
RARE = 7_777
"""The one document with a value that no sample would find for certain."""
SLOW_MS = 700
"""Of each command of a slowed engine."""
KIND_NAMES = {
    int: "int32", Int64: "int64", float: "double", str: "string", type(None): "null", ObjectId: "objectId",
    dict: "document", list: "array", bool: "bool", DatetimeMS: "date",
}  # fmt: skip


def add_mixed(source: Source) -> None:
    """Documents of several kinds of `_id` and of values, one of them rare."""
    documents: list[dict[str, Any]] = []
    for number in range(DOCUMENTS):
        document: dict[str, Any] = {"_id": number if number % 2 else f"key {number:06}", "n": number - 500}
        if number % 3 == 0:
            document["mixed"] = "text" if number % 2 else Int64(number)
        if number % 5 == 0:
            document["maybe"] = None if number % 10 else "x" * (number % 97)
        if number % 7 == 0:
            document["tags"] = [number, "tag"] * (number % 3)
        if number == RARE:
            document |= {"n": "late", "rare": 2.5, "text": "nul\0", "at": DatetimeMS(2**62), "deep": {"er": {"est": 1}}}
        documents.append(document)
    source.db.mixed.insert_many(documents)


def counts_of(source: Source, query: dict[str, Any] | None = None) -> dict[str, Counter[str]]:
    """Field -> kinds, by reading the collection."""
    counts: dict[str, Counter[str]] = {}
    options: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
    for document in source.db.mixed.with_options(options).find(query or {}):
        for name, value in document.items():
            counts.setdefault(name, Counter())[KIND_NAMES[type(value)]] += 1
    return counts


def counted(table: TableView) -> dict[str, Counter[str]]:
    """The same as the plan tells it."""
    found = {}
    for column in table.columns:
        if column.values is not None:
            present = column.values.present
            found[column.field] = Counter({kind: round(share * present / 100) for kind, share in column.kinds.items()})
    return found


async def plan_of(engine: Engine, **asked: Any) -> TableView:
    plan = await engine.client.ask(PlanView, MakePlan(census="full", **asked))
    return plan.tables[0]


@contextmanager
def slowed(source: Source, engine: Engine) -> Iterator[None]:
    """MongoDB takes its time with what the engine's workers ask."""
    data = {
        "failCommands": ["find"], "blockConnection": True, "blockTimeMS": SLOW_MS, "appName": f"mongopg-tui {engine.run_id}",
    }  # fmt: skip
    source.client.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=data)
    try:
        yield
    finally:
        source.client.admin.command("configureFailPoint", "failCommand", mode="off")


@pytest.mark.parametrize("converter", ["native", pytest.param("plain", marks=pytest.mark.slow)])
async def test_a_full_census_is_exact(source: Source, engines: Engines, converter: str) -> None:
    add_mixed(source)
    engine = await engines.launch(engines.settings("mixed", run={"sample_size": 100, "converter": converter}))
    table = await plan_of(engine)
    assert counted(table) == counts_of(source)
    columns = {column.column: column for column in table.columns}
    assert [*columns] == ["_id", "n", "mixed", "maybe", "tags", "rare", "text", "at", "deep", "_extra"]
    values = {name: column.values for name, column in columns.items() if column.values is not None}
    assert (values["n"].low, values["n"].high, values["n"].longest) == (-500, DOCUMENTS - 501, 4)
    assert (values["maybe"].longest, values["maybe"].nulls) == (96, DOCUMENTS // 10)
    assert (values["text"].nul, values["at"].bad_dates, values["deep"].depth) == (1, 1, 2)
    assert (columns["n"].type, columns["mixed"].type, columns["rare"].type) == ("jsonb", "jsonb", "double precision")
    assert (table.census, table.sampled, table.documents) == ("full", DOCUMENTS, DOCUMENTS)
    # Whether the few documents that are converted for the preview have the rare one among them is chance.
    found = [each.split(":")[0] for each in table.warnings if "policy" in each]
    assert found == ["Field text", "Field at"]


async def test_a_full_census_obeys_filter_and_limit(source: Source, engines: Engines) -> None:
    add_mixed(source)
    engine = await engines.launch(engines.settings("mixed"))
    plan = await engine.client.ask(PlanView, MakePlan(census="full"))
    edited = plan.toml.replace('filter = ""', 'filter = \'{"n": {"$lt": 100}}\'')
    assert edited != plan.toml
    filtered = await plan_of(engine, plan=edited)
    found, expected = counted(filtered), counts_of(source, {"n": {"$lt": 100}})
    assert (filtered.sampled, found["n"], found["tags"]) == (600, expected["n"], expected["tags"])

    limited = await engines.launch(engines.settings("mixed", run={"limit": 50}))
    assert (await plan_of(limited)).sampled == 50


async def test_views_are_counted_whole(source: Source, engines: Engines) -> None:
    source.db.base.insert_many({"_id": n, "odd": n % 2} for n in range(3_000))
    source.db.command("create", "odds", viewOn="base", pipeline=[{"$match": {"odd": 1}}])
    engine = await engines.launch(engines.settings("odds"))
    table = await plan_of(engine)
    assert (table.sampled, table.columns[0].kinds) == (1_500, {"int32": 100})


async def test_a_worker_killed_while_counting_changes_nothing(source: Source, engines: Engines) -> None:
    add_mixed(source)
    engine = await engines.launch(engines.settings("mixed"))
    with slowed(source, engine):
        asking = engine.ask_later(MakePlan(census="full"))
        await engine.until(
            lambda now: (
                now.counting and 0 < now.counting.seen < DOCUMENTS and any(each.collection for each in now.workers)
            ),
            "a census under way",
        )
        victim = await engine.strike(lambda worker: worker.collection, what="a worker that counts")
        await engine.event("worker", lambda facts: facts["pid"] == victim.pid and facts["what"] == "died")
    table = PlanView.model_validate(await asking).tables[0]
    assert counted(table) == counts_of(source)
    assert table.sampled == DOCUMENTS
    await engine.until(lambda now: now.counting is None, "the end of the census")


async def test_a_census_can_be_cancelled_and_keeps_others_out(source: Source, engines: Engines) -> None:
    add_mixed(source)
    engine = await engines.launch(engines.settings("mixed"))
    with slowed(source, engine):
        asking = engine.ask_later(MakePlan(census="full"))
        await engine.until(lambda now: now.counting and now.counting.seen, "a census under way")
        with pytest.raises(UsageError, match="full census is in progress"):
            await engine.start()
        await engine.client.call(Cancel())
        with pytest.raises(Cancelled):
            await asking
    await engine.until(lambda now: now.counting is None and not now.workers, "the end of the census")
    assert (await plan_of(engine)).sampled == DOCUMENTS


async def test_what_was_counted_is_kept_for_edits_and_the_run(source: Source, target: Target, engines: Engines) -> None:
    add_mixed(source)
    source.db.mixed.delete_one({"_id": RARE})
    engine = await engines.launch(engines.settings("mixed", run={"census": "full"}))
    plan = await engine.client.ask(PlanView, MakePlan())
    source.db.mixed.insert_one({"_id": -1, "unseen": 1})
    edited = plan.toml.replace('"maybe"', '"perhaps"', 1)
    again = await engine.client.ask(PlanView, MakePlan(plan=edited, recount=False))
    assert (again.tables[0].census, again.tables[0].sampled) == ("full", DOCUMENTS - 1)
    await engine.start(plan="")
    end = await engine.finished()
    assert (end["state"], end["written"], engine.facts_of("counting")) == ("completed", DOCUMENTS, [])
    assert target.value("SELECT count(*) FROM mixed WHERE _extra IS NOT NULL") == 1


async def test_a_run_counts_first_and_can_be_paused_meanwhile(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, DOCUMENTS)
    engine = await engines.launch(engines.settings("users", run={"census": "full"}))
    with slowed(source, engine):
        await engine.start()
        await engine.until(lambda now: now.counting and now.counting.seen, "a census under way")
        await engine.pause()
        paused = await engine.until_state(RunState.PAUSED)
        assert paused.counting is not None
        assert paused.written == 0
    await engine.set("cluster_size", 3)
    await engine.resume()
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified")
    (begun,), (done,) = engine.facts_of("counting"), engine.facts_of("counted_fields")
    assert (begun["total"], done["documents"]) == (DOCUMENTS, DOCUMENTS)
    assert_users_equal(source, target)
    plan = target.value("SELECT plan::jsonb #>> '{tables,0,census}' FROM mongopg.run")
    assert plan == "full"
