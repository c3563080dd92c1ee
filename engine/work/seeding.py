"""Filling a collection with synthetic users: ranges of indexes, each as often as one likes.

An `_id` is made from (seed, index), so a range that was partly inserted when its worker died is simply inserted again:
what is there counts as done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bson import ObjectId, encode
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from pymongo.errors import WriteConcernError

from engine.errors import MigrationError, UsageError
from engine.mongo.connect import Document
from engine.mongo.faults import DUPLICATE_KEY
from engine.mongo.reader import BatchSize, Range, RangeReader
from engine.work.users import MAX_INDEX, UserPages, index_of, user_id

BATCH_USERS = 1_000
"""Users in one insert: small, because pause and cancel wait for the end of one."""
_ADVICE = "look at the collection's validation rules, or choose another seed.collection"


@dataclass(frozen=True, slots=True)
class Seeded:
    """What a collection holds already."""

    users: int
    """Users of this seed without a gap from index 0 on: the next index to insert."""
    has_others: bool
    """There are documents that were not made with this seed."""


def insert_range(
    collection: Collection[Document],
    pages: UserPages,
    low: int,
    high: int,
    *,
    on_inserted: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> int:
    """Make sure that users low <= i < high are there; returns `high`, or where it stopped. Blocks.

    Args:
        on_inserted: called after each batch with the number of its users, whether they were new or there already.
        should_stop: asked before each batch.

    Raises:
        UsageError: a unique index of the collection refuses a user.
        MigrationError: the server refuses a user for another reason.
        PyMongoError: anything else; the range may be inserted again.
    """
    while low < high and not should_stop():
        upto = min(low + BATCH_USERS, high)
        _insert(collection, pages.documents(low, upto))
        on_inserted(upto - low)
        low = upto
    return low


def existing(collection: Collection[Document], seed: int) -> Seeded:
    """What the collection holds already; takes one pass over the index of the users that are there."""
    first, last = ObjectId(user_id(seed, 0)), ObjectId(user_id(seed, MAX_INDEX - 1))
    has_others = _has_others(collection, encode({"_id": first}), encode({"_id": last}))
    newest = collection.find_one({"_id": {"$gte": first, "$lte": last}}, {"_id": 1}, sort=[("_id", -1)])
    highest = index_of(newest["_id"].binary, seed) if newest is not None else None
    return Seeded(_without_gap(collection, seed, highest + 1) if highest is not None else 0, has_others)


def check_collection(seeded: Seeded, namespace: str, into_existing: bool) -> None:
    """Refuse to mix users with other documents unless asked to.

    Raises:
        UsageError: the collection holds other documents and `into_existing` is not set.
    """
    if seeded.has_others and not into_existing:
        raise UsageError(
            f"{namespace} holds documents that this seed did not make: choose another seed.collection, or seed beside "
            f"them with --into-existing."
        )


def _has_others(collection: Collection[Document], first: bytes, last: bytes) -> bool:
    """Whether there is any key, of whatever kind, outside of those two."""
    for span in (Range(None, first), Range(last, None)):
        reader = RangeReader(collection, span.lower, False, span.upper, batch_size=BatchSize(1, most=1))
        try:
            if reader.next_batch() is not None:
                return True
        finally:
            reader.close()
    return False


def _without_gap(collection: Collection[Document], seed: int, high: int) -> int:
    """The least index below `high` that is missing, else `high`: by bisection, each step counts half as much."""
    low = 0
    while low < high:
        if _count(collection, seed, low, high) == high - low:
            return high
        middle = (low + high) // 2
        if middle > low and _count(collection, seed, low, middle) == middle - low:
            low = middle
        else:
            high = middle
    return low


def _count(collection: Collection[Document], seed: int, low: int, high: int) -> int:
    bounds = {"$gte": ObjectId(user_id(seed, low)), "$lte": ObjectId(user_id(seed, high - 1))}
    return collection.count_documents({"_id": bounds}, hint=[("_id", 1)])


def _insert(collection: Collection[Document], users: list[bytes]) -> None:
    # The command itself, because insert_many spends twice the time in Python for each document.
    command: Document = {"insert": collection.name, "ordered": False, "documents": list(map(RawBSONDocument, users))}
    if collection.write_concern.document:
        command["writeConcern"] = collection.write_concern.document
    reply = collection.database.command(command)
    for error in reply.get("writeErrors", []):
        _refuse_all_but_repeats(error, collection.full_name)
    if "writeConcernError" in reply:
        failure = reply["writeConcernError"]
        raise WriteConcernError("write concern not met", failure.get("code"), failure)


def _refuse_all_but_repeats(error: Document, namespace: str) -> None:
    """Raise unless the failure means that the user of this `_id` is there already."""
    code = error.get("code")
    if code != DUPLICATE_KEY:
        raise MigrationError(f"MongoDB refuses users in {namespace} (code {code}): {_ADVICE}.", code=str(code))
    if list(error.get("keyPattern", {"_id": 1})) != ["_id"]:
        raise UsageError(
            f"A unique index of {namespace} refuses some users: drop it, or choose another seed.collection."
        )
