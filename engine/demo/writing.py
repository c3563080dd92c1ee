"""`python -m engine.demo.writing`: updates, inserts and deletes users until its standard input is closed."""

from __future__ import annotations

import json
import random
import select
import sys
import time
from typing import IO, Any

from bson import ObjectId
from pymongo import DeleteOne, InsertOne, MongoClient, UpdateOne

TICK_S = 0.02
"""It writes so often."""
UPDATES, INSERTS = 0.7, 0.2
"""Shares of what is written; the rest are deletes."""
KNOWN = 2_000
"""Documents that it found and writes to."""

Operation = UpdateOne | InsertOne[dict[str, Any]] | DeleteOne


def main(uri: str, database: str, collection: str, rate: int, held: IO[bytes]) -> None:
    """Write until `held` is closed at its other end."""
    chance = random.Random()  # noqa: S311 - no secret
    with MongoClient[dict[str, Any]](uri) as client:
        documents = client[database][collection]
        known = list(documents.aggregate([{"$sample": {"size": KNOWN}}]))
        began, done = time.monotonic(), 0
        while known and not select.select([held], [], [], TICK_S)[0]:
            due = int((time.monotonic() - began) * rate) - done
            if due:
                documents.bulk_write([_by_chance(chance, known) for _ in range(due)], ordered=False)
            done += due


def _by_chance(chance: random.Random, known: list[dict[str, Any]]) -> Operation:
    place = chance.randrange(len(known))
    which = chance.random()
    if which < UPDATES:
        change = {"age": chance.randrange(18, 90), "balance": chance.randrange(10**6) / 100}
        return UpdateOne({"_id": known[place]["_id"]}, {"$set": change})
    if which < UPDATES + INSERTS or len(known) < KNOWN // 2:
        new = known[place] | {"_id": ObjectId()}
        known.append(new)
        return InsertOne(new)
    return DeleteOne({"_id": known.pop(place)["_id"]})


if __name__ == "__main__":
    uri, database, collection, rate = json.loads(sys.argv[1])
    main(uri, database, collection, rate, sys.stdin.buffer)
