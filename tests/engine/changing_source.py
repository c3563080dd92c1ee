"""A source that changes in every way, from a seed; and whether a table is the collection, exactly."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bson import json_util
from pymongo.collection import Collection

if TYPE_CHECKING:
    from tests.conftest import Source, Target

KEYS = 400
"""Few, so that operations meet."""


class Changes:
    """Random operations on random keys of one collection."""

    def __init__(self, source: Source, seed: int, *, collection: str = "things", first: int = KEYS) -> None:
        """Fill the collection with every second key."""
        self.collection: Collection[dict[str, Any]] = source.db[collection]
        self.n_done = 0
        self._client = source.client
        self._chance = random.Random(seed)
        if first:
            self.collection.insert_many([self._document(key) for key in range(0, 2 * first, 2)])

    def some(self, count: int) -> None:
        """So many operations."""
        for _ in range(count):
            self._one()
            self.n_done += 1

    def _document(self, key: int) -> dict[str, Any]:
        text = "x" * self._chance.randrange(20)
        if self._chance.random() < 0.03:
            text += "\0"  # a reject
        return {"_id": key, "n": self._chance.randrange(1_000_000), "text": text}

    def _one(self) -> None:
        chance, collection = self._chance, self.collection
        key = chance.randrange(2 * KEYS)
        match chance.randrange(10):
            case 0 | 1:
                collection.replace_one({"_id": key}, self._document(key), upsert=True)
            case 2 | 3 | 4:
                collection.update_one({"_id": key}, {"$inc": {"n": 1}})
            case 5:
                collection.update_one({"_id": key}, {"$set": {f"new{chance.randrange(3)}": key}})
            case 6:
                collection.delete_one({"_id": key})
            case 7:  # deleted, and there again
                collection.delete_one({"_id": key})
                collection.insert_one(self._document(key))
            case 8:
                with self._client.start_session() as session, session.start_transaction():
                    collection.delete_many({"_id": {"$gte": key, "$lt": key + 3}}, session=session)
                    collection.insert_many([self._document(key), self._document(key + 1)], session=session)
            case _:
                collection.update_many(
                    {"_id": {"$gte": key, "$lt": key + 5}}, {"$set": {"text": "a\0b"[: chance.randrange(4)]}}
                )


@dataclass(frozen=True, slots=True)
class Differences:
    """How a table is not its collection; false when it is."""

    missing: dict[int, Any]
    """Documents without a row."""
    more: dict[int, Any]
    """Rows without a document."""
    wrong: dict[int, Any]
    """Each a document and its row."""
    rejects: set[int]
    """Keys of rejects that are none any more, and of those that should be."""
    n_rows: int

    def __bool__(self) -> bool:
        return bool(self.missing or self.more or self.wrong or self.rejects)

    def __str__(self) -> str:
        return f"missing {self.missing}, too many {self.more}, wrong {self.wrong}, rejects {sorted(self.rejects)}"


def assert_same_as_source(source: Source, target: Target, run_id: str, collection: str = "things") -> int:
    """Each document is a row with its values, or a reject as it is now; nothing else is there. How many rows there are."""
    found = differences_to_source(source, target, run_id, collection)
    assert not found, f"{collection}: {found}"
    return found.n_rows


def differences_to_source(
    source: Source, target: Target, run_id: str, collection: str, *, table: str = ""
) -> Differences:
    """How a table, of the collection's name where none is given, is not the collection."""
    documents = {each["_id"]: each for each in source.db[collection].find({})}
    bad = {key for key, each in documents.items() if "\0" in each["text"]}
    expected = {key: each for key, each in documents.items() if key not in bad}
    rows = {}
    for (text,) in target.rows(f"SELECT to_jsonb(t)::text FROM {table or collection} t"):
        row = json.loads(text)
        extra = row.pop("_extra", None) or {}
        rows[row["_id"]] = {name: value for name, value in row.items() if value is not None} | extra
    missing = {key: expected[key] for key in expected.keys() - rows.keys()}
    more = {key: rows[key] for key in rows.keys() - expected.keys()}
    wrong = {key: (expected[key], rows[key]) for key in expected.keys() & rows.keys() if expected[key] != rows[key]}
    kept = target.rows(
        "SELECT id FROM mongopg.reject WHERE run_id = $1 AND split_part(collection, '.', 2) = $2", run_id, collection
    )
    rejects = {int(json_util.loads(row["id"])) for row in kept}
    assert len(rejects) == len(kept), "a document is a reject twice"
    return Differences(missing, more, wrong, rejects ^ bad, len(rows))
