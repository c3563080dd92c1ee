"""Changes that are easy to get wrong while a source is followed: each has been, by some program or other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from bson import Int64

from engine.errors import UsageError
from engine.protocol import CutOver, EditablePlan, ListRejected, MakePlan, RejectedPage, RetryRejects
from tests.engine.test_follow import following, ready
from tests.running import Engine, Engines

if TYPE_CHECKING:
    from tests.conftest import Source, Target

LONG = "k" * 5_000
"""No index of PostgreSQL holds such a key, nor does that of the changed keys."""


def rows(target: Target, table: str) -> dict[Any, Any]:
    return {row[0]: row[1] for row in target.rows(f"SELECT _id, n FROM {table}")}


def rejects(target: Target, collection: str) -> int:
    return int(
        target.value("SELECT count(*) FROM mongopg.reject WHERE split_part(collection, '.', 2) = $1", collection)
    )


def fill(source: Source) -> None:
    db = source.db
    db.numbers.insert_many([{"_id": number, "n": 0} for number in range(20)])
    db.numbers.insert_many([{"_id": number + 0.5, "n": 0} for number in range(20)])
    db.create_collection("folded", collation={"locale": "en", "strength": 2})
    db.folded.insert_many([{"_id": word, "n": 0} for word in ("abc", "def", "ghi")])
    db.large.insert_many([{"_id": number, "n": 0, "text": "x" * 4_000_000} for number in range(2)])
    db.long.insert_many([{"_id": "a", "n": 0}, {"_id": LONG, "n": 0}, {"_id": LONG + "2", "n": 0}])
    db.many.insert_many([{"_id": number, "n": 0} for number in range(3_000)])
    db.create_collection("ring", capped=True, size=100_000, max=10)
    db.ring.insert_many([{"_id": number, "n": 0} for number in range(10)])


def change(source: Source) -> None:
    db = source.db
    # Keys that are equal and not identical.
    db.numbers.replace_one({"_id": 1}, {"_id": 1.0, "n": 1})
    db.numbers.replace_one({"_id": 2}, {"_id": Int64(2), "n": 2})
    db.numbers.delete_one({"_id": 3})
    db.numbers.insert_one({"_id": 3.0, "n": 3})
    db.numbers.delete_one({"_id": 4.0})
    db.folded.delete_one({"_id": "Abc"})
    db.folded.insert_one({"_id": "ABC", "n": 1})
    db.folded.delete_one({"_id": "DEF"})
    # An event of it with its document does not fit into 16 MB.
    db.large.update_one({"_id": 0}, {"$set": {"n": 1, "more": "y" * 9_000_000}})
    db.large.replace_one({"_id": 1}, {"_id": 1, "n": 1, "text": "z" * 15_900_000})
    db.long.delete_one({"_id": LONG})
    db.long.update_one({"_id": LONG + "2"}, {"$set": {"n": 1}})
    db.long.update_one({"_id": "a"}, {"$set": {"n": 1}})
    # A storm of deletes in the order of keys, and a transaction of many entries in the oplog.
    db.many.delete_many({"_id": {"$lt": 1_000}})
    with source.client.start_session() as session, session.start_transaction():
        db.many.update_many({"_id": {"$gte": 1_000, "$lt": 2_500}}, {"$set": {"n": 1}}, session=session)
    for _ in range(200):  # a hot key
        db.many.update_one({"_id": 2_999}, {"$inc": {"n": 1}})
    db.ring.insert_many([{"_id": number, "n": 1} for number in range(10, 15)])


def assert_same(source: Source, target: Target) -> None:
    db = source.db
    numbers = rows(target, "numbers")
    assert {float(key): n for key, n in numbers.items()} == {
        float(each["_id"]): each["n"] for each in db.numbers.find()
    }
    assert len(numbers) == db.numbers.count_documents({})
    assert rows(target, "folded") == {"ABC": 1, "ghi": 0}
    assert rows(target, "large") == {0: 1, 1: 1}
    found = target.rows("SELECT length(text) AS text, length(_extra ->> 'more') AS more FROM large ORDER BY _id")
    assert [tuple(row) for row in found] == [(4_000_000, 9_000_000), (15_900_000, None)]
    assert rows(target, "long") == {"a": 1}
    assert rejects(target, "long") == 1
    assert rows(target, "many") == {each["_id"]: each["n"] for each in db.many.find()}
    assert rows(target, "ring") == {each["_id"]: each["n"] for each in db.ring.find()}
    assert len(rows(target, "ring")) == 10


async def cut_over(engine: Engine) -> dict[str, Any]:
    await ready(engine)
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified"), end
    return end


async def test_the_traps(source: Source, target: Target, engines: Engines) -> None:
    fill(source)
    names = ["numbers", "folded", "large", "long", "many", "ring"]
    engine = await following(engines, engines.settings(*names, run={"page_size": 500}))
    await ready(engine)
    change(source)
    end = await cut_over(engine)
    assert_same(source, target)
    assert end["exit_code"] == 4, "a reject is left"
    assert end["rejected"] == 1
    page = await engine.client.ask(RejectedPage, ListRejected(documents=True))
    assert [(each.namespace, each.reason) for each in page.documents] == [(f"{source.database}.long", "id_too_long")]
    assert '"n": 1' in (page.documents[0].document or "")
    assert not (await engine.client.ask(RejectedPage, ListRejected(after=page.following))).documents
    with pytest.raises(UsageError, match="followed its source"):
        await engine.client.call(RetryRejects())


@pytest.mark.parametrize("mode", [pytest.param("create", marks=pytest.mark.slow), "upsert"])
async def test_a_filter_is_asked_again_whenever_a_document_changes(
    source: Source, target: Target, engines: Engines, mode: str
) -> None:
    people = source.db.people
    people.insert_many([{"_id": number, "n": number, "open": number % 2 == 0} for number in range(20)])
    if mode == "upsert":
        target.execute("CREATE TABLE people (_id integer PRIMARY KEY, n integer, open boolean, note text)")
        target.execute("INSERT INTO people VALUES (1, 100, true, 'there before'), (4, 100, true, 'kept')")
    engine = await engines.launch(engines.settings("people", run={"mode": mode}))
    plan = await engine.client.ask(EditablePlan, MakePlan())
    await engine.start(follow=True, plan=plan.toml.replace('filter = ""', "filter = '{\"open\": true}'"))
    await ready(engine)
    people.update_many({"_id": {"$lt": 4}}, [{"$set": {"open": {"$not": "$open"}}}])  # in and out
    people.update_one({"_id": 4}, {"$set": {"n": 44}})
    people.delete_one({"_id": 6})
    await cut_over(engine)
    found = rows(target, "people")
    expected = {each["_id"]: each["n"] for each in people.find({"open": True})}
    if mode == "create":
        assert found == expected
    else:  # what left the filter is still in the source: its row stays as it was
        assert found == expected | {0: 0, 2: 2}
        assert target.value("SELECT note FROM people WHERE _id = 4") == "kept"
