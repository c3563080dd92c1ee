"""Plans of what is no ordinary collection: large documents, views, time-series, and what of it a run takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from bson.datetime_ms import DatetimeMS

from engine.config import Settings
from engine.errors import EXIT_DONE, MissingCollection
from engine.ledger.earlier_runs import mappings_of
from engine.plan.planning import view_plan
from engine.protocol import PlanView
from tests.running import Engines
from tui.words.census import documents_words

if TYPE_CHECKING:
    from tests.conftest import Source, Target


def plan_of(server: Source, *collections: str, plan: str = "", **sections: dict[str, Any]) -> PlanView:
    """The plan that an engine would show, made here."""
    run = {"collections": [f"{server.database}.{each}" for each in collections]} | sections.get("run", {})
    settings = Settings.model_validate({
        **sections, "run": run, "source": {"uri": server.uri} | sections.get("source", {}), "target": {"uri": "postgresql://h/d"},
    })  # fmt: skip
    return view_plan(settings, server.uri, plan, earlier_of=mappings_of)


@pytest.mark.parametrize("converter", ["plain", "native"])
def test_a_census_is_bounded_in_bytes_and_says_so(source: Source, converter: str) -> None:
    chunks = source.db["fs.chunks"]
    chunks.insert_many({"files_id": 1, "n": n, "data": b"x" * 40_000} for n in range(150))
    bounds: dict[str, Any] = {"run": {"converter": converter}, "source": {"sample_bytes": 1_000_000}}
    (table,) = (plan_of(source, "fs.chunks", **bounds)).tables
    assert table.documents == 150
    assert table.sampled < 30
    assert 500_000 < table.sampled_bytes <= 1_200_000
    assert [column.column for column in table.columns] == ["_id", "files_id", "n", "data", "_extra"]
    assert table.warnings == [
        f"The census looked at {table.sampled} of 150 documents, 1 MB: source.sample_bytes (1 MB) ends it there. A full census "
        "looks at all of them."
    ]
    (whole,) = (plan_of(source, "fs.chunks")).tables
    assert (whole.sampled, whole.warnings) == (150, [])


def test_views_and_time_series_are_counted(source: Source) -> None:
    source.db.many.insert_many({"n": n} for n in range(700))
    source.db.command("create", "odds", viewOn="many", pipeline=[{"$match": {"n": {"$mod": [2, 1]}}}])
    source.db.create_collection("weather", timeseries={"timeField": "at"})
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    source.db.weather.insert_many({"at": noon + timedelta(seconds=n), "t": n} for n in range(500))
    view, weather = (plan_of(source, "odds", "weather")).tables
    assert (view.kind, view.documents) == ("view", 350)
    assert (weather.kind, weather.documents) == ("timeseries", 500)
    # More than the sample: they are counted.
    view, weather = (plan_of(source, "odds", "weather", run={"sample_size": 100})).tables
    assert (view.documents, weather.documents) == (350, 500)
    assert view.estimate is not None
    assert view.size_bytes > 0


def test_a_view_that_takes_too_long_to_count_is_of_unknown_size(source: Source) -> None:
    source.db.many.insert_many({"n": n} for n in range(101))
    slow = {"$function": {"body": "function() { sleep(12); return true; }", "args": [], "lang": "js"}}
    source.db.command("create", "slow", viewOn="many", pipeline=[{"$match": {"$expr": slow}}])
    (table,) = (plan_of(source, "slow", run={"sample_size": 100})).tables
    assert (table.documents, table.sampled, table.estimate) == (-1, 100, None)
    assert documents_words(table) == "an unknown number of documents"


@contextmanager
def little_memory(source: Source) -> Iterator[None]:
    """The server sorts in very little memory and takes the disk only when told, as servers before 6.0 do."""
    admin = source.client.admin
    wanted: dict[str, Any] = {"internalQueryMaxBlockingSortMemoryUsageBytes": 50_000, "allowDiskUseByDefault": False}
    before: dict[str, Any] = {name: admin.command({"getParameter": 1, name: 1})[name] for name in wanted}
    admin.command("setParameter", 1, **wanted)
    try:
        yield
    finally:
        admin.command("setParameter", 1, **before)


async def test_a_view_that_sorts_more_than_the_memory_holds_is_copied(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.many.insert_many({"_id": n, "n": -n, "text": "x" * 500} for n in range(400))
    source.db.command("create", "sorted", viewOn="many", pipeline=[{"$sort": {"n": 1}}, {"$match": {"n": {"$lt": 1}}}])
    with little_memory(source):
        (table,) = (plan_of(source, "sorted", run={"sample_size": 100})).tables
        assert table.documents == 400
        _, end = await engines.run(engines.settings("sorted", run={"census": "full", "consistency": "snapshot"}))
    assert (end["exit_code"], end["verification"], end["read"]) == (EXIT_DONE, "verified", 400)
    assert target.value("SELECT count(DISTINCT n) FROM sorted") == 400


# --- what a plan says -------------------------------------------------------------------------------------------------


def test_views_are_left_out_of_a_whole_database_and_named(source: Source) -> None:
    source.db.users.insert_one({"a": 1})
    for name in ("seen", "odd:name"):
        source.db.command("create", name, viewOn="users", pipeline=[])
    plan = plan_of(source)
    assert [table.namespace for table in plan.tables] == [f"{source.database}.users"]
    (sentence,) = plan.warnings
    assert sentence.startswith(
        f"2 views are left out, being no collection of the database: {source.database}.odd:name, "
    )
    assert sentence.endswith(f"as in --collection {source.database}.odd\\:name.")
    assert not plan_of(source, run={"collections": [], "exclude": ["odd*", "seen"]}).warnings
    source.db.users.drop()
    with pytest.raises(MissingCollection, match="has no collections but views, which are only copied by name"):
        plan_of(source)


def test_a_plan_that_is_shown_again_keeps_its_warnings(source: Source) -> None:
    source.db.mixed.insert_many(
        [
            {"user": "a", "aB": 1, "a_b": 2, "mixed": 1, "text": "x\0", "at": DatetimeMS(2**62)},
            {"mixed": "x", "text": "y" * (1 << 20)},
            {"_id": 5, **{f"field{n}": "x" * 30 for n in range(700)}},
        ]
    )
    first = plan_of(source, "mixed")
    again = plan_of(source, plan=first.toml)
    assert again.warnings == first.warnings
    assert len(first.warnings) == 9


def test_a_few_documents_with_very_many_fields_are_foreseen(source: Source) -> None:
    narrow = [{"a": n} for n in range(3_000)]
    for width, is_too_wide in ((440, False), (460, True)):
        source.db.wide.drop()
        source.db.wide.insert_many([*narrow, {f"f{n}": f"{n:040}"[::-1] for n in range(width)}])
        (table,) = plan_of(source, "wide").tables
        assert any("is the most: such documents will be rejected" in text for text in table.warnings) is is_too_wide
