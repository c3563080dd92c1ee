"""What the source's database holds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from bson.datetime_ms import DatetimeMS

from engine.config import Settings
from engine.errors import ConnectError, MigrationError, MissingCollection
from engine.mapping.model import Kind
from engine.mongo.catalogue import (
    SMALL_DOCUMENTS,
    UNKNOWN,
    KnownFacts,
    collection_facts,
    estimated_count,
    exact_count,
    list_collections,
    list_databases,
)
from engine.mongo.connect import connect
from engine.mongo.faults import EXECUTION_TIMEOUT
from engine.mongo.id_kinds import IdKinds, id_kinds
from engine.mongo.many_counts import estimated_counts, exact_counts
from engine.plan import making
from engine.plan.request import choose
from tests.older_servers import CLUSTERED, require_mongodb

if TYPE_CHECKING:
    from tests.conftest import Source, Target


def test_collections_of_every_kind_are_listed_with_their_facts(source: Source) -> None:
    require_mongodb(source, CLUSTERED)
    database = source.db
    database.plain.insert_many({"_id": n, "payload": "x" * 100} for n in range(50))
    database.create_collection("capped", capped=True, size=100_000).insert_one({"_id": 1})
    database.create_collection("clustered", clusteredIndex={"key": {"_id": 1}, "unique": True}).insert_one({"_id": 1})
    database.create_collection("series", timeseries={"timeField": "at"}).insert_one({"at": datetime.now(UTC)})
    database.command("create", "view", viewOn="plain", pipeline=[])
    database.create_collection("empty")
    found = {facts.namespace.split(".", 1)[1]: facts for facts in list_collections(source.client, source.database)}
    assert list(found) == ["capped", "clustered", "empty", "plain", "series", "view"]
    kinds = {name: facts.kind for name, facts in found.items()}
    assert kinds == {
        "capped": "capped", "clustered": "clustered", "empty": "collection", "plain": "collection",
        "series": "timeseries", "view": "view",
    }  # fmt: skip
    assert {name for name, facts in found.items() if not facts.has_range_reads} == {"series", "view"}
    assert {name for name, facts in found.items() if facts.documents == UNKNOWN} == {"series", "view"}
    assert (found["plain"].documents, found["empty"].documents, found["clustered"].documents) == (50, 0, 1)
    assert 5_000 < found["plain"].size_bytes < 10_000
    assert found["plain"].average_bytes == found["plain"].size_bytes // 50
    assert isinstance(found["plain"].uuid, UUID)
    assert found["view"].uuid is None


def test_databases_are_listed_with_their_sizes_and_without_the_servers_own(source: Source) -> None:
    source.db.plain.insert_one({"payload": "x" * 100})
    sizes = list_databases(source.client)
    assert sizes[source.database] > 0
    assert list(sizes) == sorted(sizes)
    assert not {"admin", "config", "local"} & sizes.keys()


def test_facts_of_one_collection_are_those_of_the_list(source: Source) -> None:
    source.db.plain.insert_many({"_id": n} for n in range(7))
    source.db.create_collection("plainer")
    (facts, _) = list_collections(source.client, source.database)
    assert collection_facts(source.client, source.database, "plain") == facts


def test_a_dropped_and_remade_collection_has_another_uuid(source: Source) -> None:
    source.db.plain.insert_one({})
    before = collection_facts(source.client, source.database, "plain").uuid
    source.db.plain.drop()
    source.db.plain.insert_one({})
    assert collection_facts(source.client, source.database, "plain").uuid != before


def test_a_missing_collection_is_named(source: Source) -> None:
    with pytest.raises(MissingCollection, match=rf"no collection {source.database}\.nowhere"):
        collection_facts(source.client, source.database, "nowhere")


@pytest.mark.parametrize(
    ("failure", "error"), [({"errorCode": 8}, MigrationError), ({"closeConnection": True}, ConnectError)]
)
def test_a_failing_server_is_told_in_one_sentence(
    source: Source, failure: dict[str, Any], error: type[MigrationError]
) -> None:
    name = f"facts {source.database}"
    source.db.plain.insert_one({})
    with connect(source.uri, app_name=name) as client:
        source.client.admin.command({
            "configureFailPoint": "failCommand", "mode": {"times": 5},
            "data": {"failCommands": ["aggregate"], "appName": name, **failure},
        })  # fmt: skip
        try:
            with pytest.raises(error, match="MongoDB") as caught:
                collection_facts(client, source.database, "plain")
        finally:
            source.client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    assert type(caught.value) is error


def test_names_with_dots_and_blanks_are_found(source: Source) -> None:
    source.db["a.b c"].insert_one({})
    assert collection_facts(source.client, source.database, "a.b c").namespace == f"{source.database}.a.b c"


def test_counts(source: Source) -> None:
    source.db.plain.insert_many({"_id": n, "even": n % 2 == 0} for n in range(101))
    source.db.command("create", "view", viewOn="plain", pipeline=[{"$match": {"even": True}}])
    assert estimated_count(source.db.plain) == 101
    assert exact_count(source.db.plain) == 101
    assert exact_count(source.db.plain, {"even": True}) == 51
    assert exact_count(source.db.view) == 51


IDS: list[tuple[Kind, Any]] = [
    (Kind.DOUBLE, float("nan")),
    (Kind.DOUBLE, 1.5),
    (Kind.STRING, "text"),
    (Kind.DOCUMENT, {"a": 1}),
    (Kind.BINARY, b"generic"),
    (Kind.BINARY, Binary(b"x" * 16, 128)),
    (Kind.BINARY, Binary(b"x" * 16, 0)),
    (Kind.BINARY, Binary(b"x" * 20, 4)),
    (Kind.UUID, Binary.from_uuid(UUID(int=2**128 - 1))),
    (Kind.UUID_LEGACY, Binary(b"\xff" * 16, 3)),
    (Kind.OBJECT_ID, ObjectId("65920080a1b2c3d4e5f60718")),
    (Kind.BOOL, False),
    (Kind.DATE, datetime(2024, 1, 1, tzinfo=UTC)),
    (Kind.NULL, None),
    (Kind.JAVASCRIPT, Code("f()")),
    (Kind.CODE_WITH_SCOPE, Code("f()", {"a": 1})),
    (Kind.INT32, 1),
    (Kind.INT64, Int64(2)),
    (Kind.TIMESTAMP, Timestamp(1, 1)),
    (Kind.DECIMAL128, Decimal128("3.5")),
    (Kind.MIN_KEY, MinKey()),
    (Kind.MAX_KEY, MaxKey()),
]


@pytest.mark.parametrize(("kind", "value"), IDS, ids=lambda value: repr(value)[:30])
def test_id_kinds_tells_each_kind_from_the_others(source: Source, kind: Kind, value: Any) -> None:
    source.db.one.insert_one({"_id": value})
    facts = collection_facts(source.client, source.database, "one")
    assert id_kinds(source.db.one, facts) == IdKinds(frozenset({kind}))


def test_id_kinds_finds_the_one_that_differs_among_many(source: Source) -> None:
    source.db.many.insert_many({"_id": n} for n in range(5_000))
    source.db.many.insert_many([{"_id": "lonely"}, {"_id": Int64(2**50)}, {"_id": None}])
    facts = collection_facts(source.client, source.database, "many")
    found = frozenset({Kind.INT32, Kind.INT64, Kind.STRING, Kind.NULL})
    assert id_kinds(source.db.many, facts) == IdKinds(found)


def test_id_kinds_of_a_view_are_left_to_a_sample(source: Source) -> None:
    source.db.plain.insert_one({"_id": 1})
    source.db.command("create", "view", viewOn="plain", pipeline=[])
    facts = collection_facts(source.client, source.database, "view")
    assert id_kinds(source.db.view, facts) == IdKinds(frozenset())


def test_an_id_beyond_pythons_dates_is_a_kind_like_any_other(source: Source) -> None:
    source.db.late.insert_one({"_id": DatetimeMS(2**62)})
    facts = collection_facts(source.client, source.database, "late")
    assert id_kinds(source.db.late, facts) == IdKinds(frozenset({Kind.DATE}))


def test_kinds_that_could_not_be_looked_for_in_time_are_named(source: Source) -> None:
    source.db.many.insert_one({"_id": 1})
    facts = collection_facts(source.client, source.database, "many")
    fails = {"configureFailPoint": "failCommand", "data": {"failCommands": ["find"], "errorCode": EXECUTION_TIMEOUT}}
    source.client.admin.command(fails | {"mode": "alwaysOn"})
    try:
        found = id_kinds(source.db.many, facts)
    finally:
        source.client.admin.command(fails | {"mode": "off"})
    assert not found.kinds
    assert {Kind.INT32, Kind.DOUBLE, Kind.DECIMAL128, Kind.OBJECT_ID} <= found.unsure


def test_a_doubt_about_kinds_of_id_is_a_warning(
    source: Source, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubted = IdKinds(frozenset({Kind.INT32}), frozenset({Kind.INT64, Kind.DOUBLE, Kind.DECIMAL128}))
    monkeypatch.setattr(making, "id_kinds", lambda *_: doubted)
    source.db.many.insert_one({"_id": 1})
    settings = Settings.model_validate(
        {
            "source": {"uri": source.uri},
            "target": {"uri": target.uri},
            "run": {"collections": [f"{source.database}.many"]},
        }
    )
    plan = making.make_plan(source.client, settings, choose(source.client, settings, None))
    assert plan.tables[0].warnings == [
        "The index of _id is too long to look all through it for double or decimal128: documents with such an _id would be "
        "rejects. A full census finds out."
    ]


def test_small_collections_are_counted_together_whatever_their_ids_are(source: Source) -> None:
    ids = [MinKey(), None, 1, 2.5, "a", {"a": 1}, Binary(b"x"), ObjectId(), True, datetime(2026, 1, 1), MaxKey()]
    names = [f"c.{number}" if number % 2 else f"c{number}" for number in range(7)]
    for number, name in enumerate(names):
        source.db[name].insert_many({"_id": value} for value in ids[number:])
    source.db.empty.insert_one({})
    source.db.empty.delete_many({})
    source.db.command({"create": "view", "viewOn": names[0], "pipeline": []})
    wanted = {name: len(ids) - number for number, name in enumerate(names)}
    assert exact_counts(source.client, source.database, [*names, "empty", "none"]) == wanted
    assert estimated_counts(source.client, source.database, [*names, "empty"]) == wanted | {"empty": 0}
    # A view has no statistics: nothing is known of it, and nothing fails.
    assert "view" not in estimated_counts(source.client, source.database, [*names, "view"])
    assert estimated_counts(source.client, source.database, ["view", *names]) == {}


def test_the_size_of_a_small_collection_among_many_is_not_asked_for(source: Source) -> None:
    for name, documents in (("a", 10), ("b", SMALL_DOCUMENTS - 1), ("c", SMALL_DOCUMENTS), ("d", 0)):
        source.db[name].insert_many({"x": 1} for _ in range(documents)) if documents else source.db.create_collection(
            name
        )
    known = KnownFacts(source.client, [(source.database, name) for name in "abcd"])
    found = {name: known.of(source.database, name) for name in "abcd"}
    assert [found[name].documents for name in "abcd"] == [10, SMALL_DOCUMENTS - 1, SMALL_DOCUMENTS, 0]
    assert [found[name].size_bytes > 0 for name in "abcd"] == [False, False, True, False]
    assert collection_facts(source.client, source.database, "a").size_bytes > 0
