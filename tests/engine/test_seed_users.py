"""Seeding: ranges of users that can be inserted as often as one likes."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from bson import MaxKey, MinKey, ObjectId, decode
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from engine.errors import MigrationError, UsageError
from engine.mongo import connect as mongo
from engine.mongo import faults
from engine.work.seeding import BATCH_USERS, Seeded, check_collection, existing, insert_range
from engine.work.users import UserPages, user_id

if TYPE_CHECKING:
    from tests.conftest import Source

SEED = 11


@pytest.fixture(scope="module")
def pages() -> UserPages:
    return UserPages(SEED)


def insert(collection: Collection[Any], pages: UserPages, low: int, high: int) -> list[int]:
    counted: list[int] = []
    reached = insert_range(collection, pages, low, high, on_inserted=counted.append, should_stop=lambda: False)
    assert reached == high
    assert sum(counted) == high - low
    return counted


def assert_holds(collection: Collection[Any], pages: UserPages, high: int) -> None:
    assert list(collection.find().sort("_id", 1)) == [decode(user) for user in pages.documents(0, high)]


def test_a_range_is_inserted_as_generated(source: Source, pages: UserPages) -> None:
    counted = insert(source.db.users, pages, 0, 2_500)
    assert counted == [BATCH_USERS, BATCH_USERS, 500]
    assert_holds(source.db.users, pages, 2_500)


def test_ranges_inserted_again_change_nothing(source: Source, pages: UserPages) -> None:
    insert(source.db.users, pages, 0, 1_500)
    insert(source.db.users, pages, 0, 1_500)
    insert(source.db.users, pages, 700, 2_300)
    assert_holds(source.db.users, pages, 2_300)


def test_a_range_with_holes_is_filled(source: Source, pages: UserPages) -> None:
    insert(source.db.users, pages, 0, 3_000)
    holes = random.Random(1).sample(range(3_000), 900)
    source.db.users.delete_many({"_id": {"$in": [ObjectId(user_id(SEED, index)) for index in holes]}})
    assert existing(source.db.users, SEED) == Seeded(min(holes), has_others=False)
    insert(source.db.users, pages, 0, 3_000)
    assert_holds(source.db.users, pages, 3_000)


def test_workers_that_overlap_do_not_disturb_each_other(source: Source, pages: UserPages) -> None:
    with ThreadPoolExecutor(4) as threads:
        for work in [threads.submit(insert, source.db.users, pages, low, low + 2_000) for low in (0, 500, 0, 1_000)]:
            work.result()
    assert_holds(source.db.users, pages, 3_000)


def test_it_stops_between_batches_and_says_where(source: Source, pages: UserPages) -> None:
    done: list[int] = []
    reached = insert_range(
        source.db.users, pages, 0, 10_000, on_inserted=done.append, should_stop=lambda: len(done) == 3
    )
    assert reached == sum(done) == 3 * BATCH_USERS
    assert_holds(source.db.users, pages, reached)


def test_nothing_is_sent_when_it_is_to_stop_at_once(source: Source, pages: UserPages) -> None:
    reached = insert_range(source.db.users, pages, 5, 10, on_inserted=lambda _: None, should_stop=lambda: True)
    assert reached == 5
    assert source.db.users.count_documents({}) == 0


@pytest.mark.parametrize("count", [0, 1, 2, 999, 1_000])
def test_existing_users_are_counted_up_to_the_first_gap(source: Source, pages: UserPages, count: int) -> None:
    insert(source.db.users, pages, 0, count)
    assert existing(source.db.users, SEED) == Seeded(count, has_others=False)
    insert(source.db.users, pages, count + 1, count + 300)
    assert existing(source.db.users, SEED) == Seeded(count, has_others=False)


def test_a_missing_collection_holds_nothing(source: Source) -> None:
    assert existing(source.db.nowhere, SEED) == Seeded(0, has_others=False)


@pytest.mark.parametrize(
    "other",
    [1, "text", None, {"a": 1}, ObjectId("0" * 24), ObjectId("f" * 24), MinKey(), MaxKey(), True, b"bytes"],
    ids=repr,
)
def test_one_other_document_of_any_kind_is_seen(source: Source, pages: UserPages, other: Any) -> None:
    insert(source.db.users, pages, 0, 10)
    source.db.users.insert_one({"_id": other})
    assert existing(source.db.users, SEED) == Seeded(10, has_others=True)


def test_users_of_another_seed_are_others(source: Source, pages: UserPages) -> None:
    insert(source.db.users, pages, 0, 10)
    assert existing(source.db.users, SEED + 1) == Seeded(0, has_others=True)


def test_other_documents_are_refused_unless_asked_for() -> None:
    check_collection(Seeded(10, has_others=False), "demo.users", into_existing=False)
    check_collection(Seeded(10, has_others=True), "demo.users", into_existing=True)
    with pytest.raises(UsageError, match=r"demo\.users holds documents .* --into-existing"):
        check_collection(Seeded(10, has_others=True), "demo.users", into_existing=False)


def test_a_unique_index_of_its_own_is_named_not_taken_for_repeats(source: Source, pages: UserPages) -> None:
    source.db.users.create_index("active", unique=True)
    with pytest.raises(UsageError, match="unique index"):
        insert(source.db.users, pages, 0, 100)


def test_a_validator_that_refuses_users_fails_with_its_code(source: Source, pages: UserPages) -> None:
    source.db.create_collection("users", validator={"age": {"$lt": 0}})
    with pytest.raises(MigrationError) as caught:
        insert(source.db.users, pages, 0, 10)
    assert caught.value.code == "121"


def test_a_lost_connection_can_be_tried_again(source: Source, pages: UserPages) -> None:
    name = f"seed {source.database}"
    with mongo.connect(source.uri, app_name=name) as client:
        users = client[source.database].users
        source.client.admin.command({
            "configureFailPoint": "failCommand", "mode": {"times": 1},
            "data": {"failCommands": ["insert"], "closeConnection": True, "appName": name},
        })  # fmt: skip
        with pytest.raises(PyMongoError) as caught:
            insert(users, pages, 0, 3_000)
        assert faults.is_transient(caught.value)
        insert(users, pages, 0, 3_000)
    assert_holds(source.db.users, pages, 3_000)
