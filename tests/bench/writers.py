"""Writers to a collection of users while it is followed: as many changes as there are users at once, or so many a second."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from multiprocessing.synchronize import Event
from typing import Any

from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, InsertOne, MongoClient, UpdateOne

from engine.work.users import user_id
from tests.bench import shapes

UPDATES, INSERTS = 0.7, 0.2
"""Shares of the changes; the rest are deletes."""
PORTION = 1_000
"""Changes in one command, where they are written as fast as they can be."""
PROCESSES = 2
TICK_S = 0.02
"""Changes at a rate are written so often."""
MARKED = 16
"""So many users of the beginning are written the time into, and are never deleted."""
MARK_EVERY_S = 0.1

Operation = UpdateOne | InsertOne[Any] | DeleteOne


@dataclass(frozen=True, slots=True)
class Place:
    """A collection."""

    uri: str
    database: str
    collection: str


def make_copy(source_uri: str, collection: str, name: str) -> None:
    """A collection with the same documents, to be written to."""
    with MongoClient[dict[str, Any]](source_uri) as client:
        client[shapes.DATABASE][collection].aggregate([{"$out": name}])


def change_each_once(place: Place, users: int) -> int:
    """As many changes as there are users, in random order and no two of one document; how many they were."""
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        return sum(pool.map(_change_some, [(place, users, part) for part in range(PROCESSES)]))


def _change_some(asked: tuple[Place, int, int]) -> int:
    place, users, part = asked
    count = 0
    with MongoClient[dict[str, Any]](place.uri) as client:
        collection = client[place.database][place.collection]
        changes = islice(_each_once(users), part, None, PROCESSES)
        while portion := list(islice(changes, PORTION)):
            collection.bulk_write(portion, ordered=False)
            count += len(portion)
    return count


def _each_once(users: int) -> Iterator[Operation]:
    chance = random.Random(shapes.SEED)
    there = list(range(MARKED, users))
    chance.shuffle(there)
    old, new = iter(there), iter(_new_users(users))
    for _ in range(users):
        which = chance.random()
        if which < UPDATES:
            yield _update(next(old), chance)
        elif which < UPDATES + INSERTS:
            yield InsertOne(next(new))
        else:
            yield DeleteOne({"_id": _id(next(old))})


def _new_users(first: int) -> Iterator[RawBSONDocument]:
    while True:
        yield from map(RawBSONDocument, shapes.USERS.make(first, first + PORTION))
        first += PORTION


def _id(index: int) -> ObjectId:
    return ObjectId(user_id(shapes.SEED, index))


def _update(index: int, chance: random.Random) -> UpdateOne:
    change = {"age": chance.randrange(100), "balance": chance.randrange(10**6) / 100}
    return UpdateOne({"_id": _id(index)}, {"$set": change})


@contextmanager
def writing(place: Place, users: int, rate: int) -> Iterator[None]:
    """A process that writes so many changes a second to random users meanwhile, and the time into some of them."""
    context = multiprocessing.get_context("spawn")
    is_over = context.Event()
    process = context.Process(target=_write_at_rate, args=(place, users, rate, is_over), name="writer")
    process.start()
    try:
        yield
        if process.exitcode is not None:
            raise RuntimeError(f"the writer ended with {process.exitcode}")
    finally:
        is_over.set()
        process.join()


def _write_at_rate(place: Place, users: int, rate: int, is_over: Event) -> None:
    chance = random.Random()
    new = _new_users(2 * users + chance.randrange(2**30))
    with MongoClient[dict[str, Any]](place.uri) as client:
        collection = client[place.database][place.collection]
        began, done, marks = time.monotonic(), 0, 0
        while not is_over.wait(TICK_S):
            due = round((time.monotonic() - began) * rate) - done
            portion = [_by_chance(users, chance, new) for _ in range(due)]
            if time.monotonic() - began >= marks * MARK_EVERY_S:
                marks += 1
                portion.append(UpdateOne({"_id": _id(marks % MARKED)}, {"$set": {"registeredAt": datetime.now(UTC)}}))
            if portion:
                collection.bulk_write(portion, ordered=False)
            done += due


def _by_chance(users: int, chance: random.Random, new: Iterator[RawBSONDocument]) -> Operation:
    which = chance.random()
    if which < UPDATES:
        return _update(chance.randrange(MARKED, users), chance)
    return (
        InsertOne(next(new)) if which < UPDATES + INSERTS else DeleteOne({"_id": _id(chance.randrange(MARKED, users))})
    )


def marked_ids() -> Sequence[str]:
    """The users that the time is written into, as the target's table has their keys."""
    return [str(_id(index)) for index in range(MARKED)]
