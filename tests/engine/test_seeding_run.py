"""Seeding by the cluster: as many as asked for, the same whatever the cluster, and more or fewer while it goes on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId

from engine.errors import KnobError
from engine.mongo.rawcursor import raw_batches
from engine.protocol import RunState
from engine.work.users import UserPages, index_of
from tests.running import Engine, Engines, add_users, assert_ledger, assert_users_equal, committed

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 20_000
MANY = 400_000
"""More than are seeded before a test has changed its mind."""


def indexes(source: Source) -> list[int | None]:
    """The indexes of the users in the collection, in its order."""
    return [index_of(user["_id"].binary, 1) for user in source.db.users.find({}, {"_id": 1}).sort("_id", 1)]


def digest(source: Source) -> str:
    """Of all documents, byte by byte."""
    whole = hashlib.sha256()
    for batch in raw_batches(source.db.users.find_raw_batches({}, sort=[("_id", 1)])):
        whole.update(batch)
    return whole.hexdigest()


async def seeding(engines: Engines, count: int, *, migrate: bool = False, **run: Any) -> Engine:
    """An engine that has begun to seed."""
    engine = await engines.launch(engines.settings("users", run=run, seed={"count": count}))
    await engine.start(seed=True, migrate=migrate)
    return engine


async def test_seeding_makes_the_users_of_its_seed(source: Source, engines: Engines) -> None:
    engine = await seeding(engines, 5_500)
    end = await engine.finished()

    assert (end["state"], end["exit_code"], end["seeded"]) == ("completed", 0, 5_500)
    assert digest(source) == hashlib.sha256(b"".join(UserPages(1).documents(0, 5_500))).hexdigest()


@pytest.mark.slow
async def test_the_same_seed_gives_the_same_users_whatever_the_cluster(source: Source, engines: Engines) -> None:
    digests = set()
    for size, page_size in ((1, 8_000), (4, 700)):
        engine = await seeding(engines, USERS, cluster_size=size, page_size=page_size)
        assert (await engine.finished())["seeded"] == USERS
        digests.add(digest(source))
        source.db.users.drop()

    assert len(digests) == 1


async def test_seeding_and_copying_in_one_run(source: Source, target: Target, engines: Engines) -> None:
    engine = await seeding(engines, USERS, migrate=True)
    end = await engine.finished()

    assert (end["exit_code"], end["verification"], end["written"], end["seeded"]) == (0, "verified", USERS, USERS)
    assert_users_equal(source, target)
    assert_ledger(target, engine.run_id, rows=USERS)
    states = [facts["state"] for facts in engine.facts_of("state")]
    assert states.index("seeding") < states.index("running") < states.index("finishing")


async def test_seeding_tops_up_what_is_there(source: Source, engines: Engines) -> None:
    add_users(source, 3_000)

    end = await (await seeding(engines, 5_000)).finished()

    assert end["seeded"] == 5_000
    assert indexes(source) == list(range(5_000))


async def test_seeding_fewer_than_are_there_changes_nothing(source: Source, engines: Engines) -> None:
    add_users(source, 3_000)

    end = await (await seeding(engines, 1_000)).finished()

    assert (end["exit_code"], end["seeded"]) == (0, 3_000)
    assert indexes(source) == list(range(3_000))


async def test_a_collection_with_other_documents_is_refused(source: Source, engines: Engines) -> None:
    source.db.users.insert_one({"_id": "mine"})

    end = await (await seeding(engines, 1_000)).finished()

    assert (end["state"], end["exit_code"]) == ("failed", 2)
    assert f"{source.database}.users holds documents that this seed did not make" in end["error"]["message"]
    assert source.db.users.count_documents({}) == 1


async def test_other_documents_are_left_alone_when_asked_for(source: Source, engines: Engines) -> None:
    source.db.users.insert_one({"_id": "mine"})
    engine = await engines.launch(engines.settings("users", seed={"count": 1_000, "into_existing": True}))
    await engine.start(seed=True, migrate=False)

    assert (await engine.finished())["exit_code"] == 0
    assert source.db.users.count_documents({}) == 1_001
    assert source.db.users.find_one({"_id": "mine"}) == {"_id": "mine"}


# --- the count changes ------------------------------------------------------------------------------------------------


async def test_the_count_is_raised_while_it_seeds(source: Source, engines: Engines) -> None:
    engine = await seeding(engines, MANY, page_size=1_000)
    await engine.until(lambda now: now.seeded > 0, "the first users")
    await engine.pause()
    await engine.set("seed_count", (reached := source.db.users.estimated_document_count()) + 1_000)
    await engine.set("seed_count", reached + 5_500)
    await engine.resume()

    end = await engine.finished()

    assert end["seeded"] == reached + 5_500
    assert indexes(source) == list(range(reached + 5_500))


async def test_the_count_is_lowered_while_it_seeds(source: Source, engines: Engines) -> None:
    engine = await seeding(engines, MANY, page_size=1_000, cluster_size=3)
    await engine.until(lambda now: now.seeded >= 2_000, "the first users")

    await engine.set("seed_count", 10)

    end = await engine.finished()
    assert (end["state"], end["exit_code"]) == ("completed", 0)
    assert 2_000 <= end["seeded"] < MANY
    assert indexes(source) == list(range(end["seeded"])), "nothing is deleted, and there is no hole"


@pytest.mark.slow
async def test_the_count_is_lowered_and_the_rest_copied(source: Source, target: Target, engines: Engines) -> None:
    engine = await seeding(engines, MANY, migrate=True, page_size=1_000)
    await engine.until(lambda now: now.seeded >= 2_000, "the first users")

    await engine.set("seed_count", 5_000)

    end = await engine.finished()
    assert (end["exit_code"], end["verification"]) == (0, "verified")
    assert end["written"] == end["seeded"] == source.db.users.count_documents({})
    assert_users_equal(source, target)


async def test_the_count_is_raised_during_the_copy(source: Source, target: Target, engines: Engines) -> None:
    first, all_of_them = 8_000, 11_111
    engine = await seeding(engines, first, migrate=True, throttle=400, page_size=200, cluster_size=3)
    await engine.until_written(200)

    await engine.set("seed_count", all_of_them)
    seeded = await engine.until(lambda now: now.seeded == all_of_them and now.total >= all_of_them, "the other users")
    assert seeded.state is RunState.RUNNING
    await engine.set("throttle", 0)

    end = await engine.finished()
    assert (end["exit_code"], end["verification"]) == (0, "verified")
    assert end["seeded"] == end["written"] == all_of_them
    assert indexes(source) == list(range(all_of_them))
    assert_users_equal(source, target)
    assert_ledger(target, engine.run_id, rows=all_of_them)


@pytest.mark.slow
async def test_the_count_is_raised_again_and_again_during_the_copy(
    source: Source, target: Target, engines: Engines
) -> None:
    engine = await seeding(engines, 5_000, migrate=True, throttle=2_000, page_size=300)
    await engine.until_written(300)

    for count in (6_000, 8_000, 9_001):
        await engine.set("seed_count", count)
    await engine.until(lambda now: now.seeded == 9_001, "the other users")
    await engine.set("seed_count", 9_500)
    await engine.set("throttle", 0)

    end = await engine.finished()
    assert (end["exit_code"], end["verification"], end["written"]) == (0, "verified", 9_500)
    assert indexes(source) == list(range(9_500))
    assert_users_equal(source, target)


@pytest.mark.slow
async def test_the_count_is_lowered_during_the_copy(source: Source, target: Target, engines: Engines) -> None:
    engine = await seeding(engines, USERS, migrate=True, throttle=3_000, page_size=500)
    await engine.until_written(500)

    await engine.set("seed_count", 10)
    await engine.set("throttle", 0)

    end = await engine.finished()
    assert (end["exit_code"], end["seeded"], end["written"]) == (0, USERS, USERS)
    assert_users_equal(source, target)


@pytest.mark.slow
async def test_a_count_out_of_bounds_is_refused(source: Source, engines: Engines) -> None:
    engine = await seeding(engines, MANY, page_size=1_000)
    await engine.until(lambda now: now.seeded > 0, "the first users")

    for count in (-1, 1_000_000_001):
        with pytest.raises(KnobError, match=r"^seed_count must be between 0 and 1,000,000,000, not "):
            await engine.set("seed_count", count)
    await engine.cancel(now=True)
    await engine.finished()


# --- steering and faults while it seeds -------------------------------------------------------------------------------


async def test_seeding_is_resized_paused_and_goes_on(source: Source, engines: Engines) -> None:
    engine = await seeding(engines, MANY, page_size=1_000, cluster_size=1)
    await engine.until(lambda now: now.seeded > 0, "the first users")

    await engine.pause()
    stands_at = source.db.users.count_documents({})
    assert engine.snapshot.seeded == stands_at
    await engine.set("seed_count", stands_at + 20_000)
    await engine.set("cluster_size", 4)
    await engine.until(lambda now: now.workers_alive == 4, "four workers")
    assert source.db.users.count_documents({}) == stands_at
    await engine.resume()

    assert (await engine.finished())["seeded"] == stands_at + 20_000
    assert indexes(source) == list(range(stands_at + 20_000))


async def test_a_cancelled_seeding_is_topped_up_by_the_next(source: Source, engines: Engines) -> None:
    engine = await seeding(engines, MANY, page_size=1_000, cluster_size=3)
    await engine.until(lambda now: now.seeded > 0, "the first users")
    await engine.cancel(now=True)
    end = await engine.finished()
    assert (end["state"], end["exit_code"]) == ("cancelled", 130)
    there = source.db.users.count_documents({})
    assert 0 < there < MANY

    end = await (await seeding(engines, there + 4_000)).finished()

    assert end["seeded"] == there + 4_000
    assert indexes(source) == list(range(there + 4_000))


async def test_a_worker_killed_while_it_seeds(source: Source, engines: Engines) -> None:
    engine = await seeding(engines, MANY, page_size=2_000, cluster_size=2)
    for _ in range(3):
        await engine.strike(lambda worker: worker.written, what="a worker that seeds")
    await engine.set("seed_count", 10)

    end = await engine.finished()
    assert end["exit_code"] == 0
    assert 0 < end["seeded"] < MANY
    assert indexes(source) == list(range(end["seeded"]))


@pytest.mark.slow
async def test_a_seeded_run_is_cancelled_in_its_copy_and_resumed(
    source: Source, target: Target, engines: Engines
) -> None:
    engine = await seeding(engines, USERS, migrate=True, throttle=3_000, page_size=500)
    await engine.until_written(1_000)
    await engine.cancel()
    await engine.finished()
    await engine.leave()
    await engine.until_gone()
    assert 0 < committed(target) < USERS

    _, end = await engines.run(resume="")

    assert (end["exit_code"], end["written"]) == (0, USERS)
    assert_users_equal(source, target)
    assert ObjectId.is_valid(target.value("SELECT _id FROM users LIMIT 1"))
