"""What is measured with: three shapes of documents, made alike every time, and collections filled with them."""

from __future__ import annotations

import multiprocessing
import random
import struct
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import blake2b
from typing import Any
from uuid import UUID

from bson import Binary, Decimal128, Int64, ObjectId, encode
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from engine.work.users import UserPages
from tests import spoiled

DATABASE = "bench"
SEED = 1
PROCESSES = 2
"""That make and insert documents."""
INSERT_DOCUMENTS = 1_000
"""Documents in one insert."""
BAD_EVERY = 100
"""Of the people that are bad, one in so many."""
RANGE_DOCUMENTS = 20_000
"""Documents that one process makes and inserts at a time."""
N_WIDE_BODIES = 500
"""Different wide documents, their `_id`s left aside."""
_INT32 = struct.Struct("<i")
_ID = b"\x07_id\0"
_OBJECT_ID_ELEMENT = len(_ID) + 12
_UUID = b"\x05_id\0" + _INT32.pack(16) + b"\x04"
_FIRST_DAY = datetime(2015, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of document."""

    name: str
    what: str
    share: float
    """Of the documents asked for: there are fewer of large ones."""
    make: Callable[[int, int], list[bytes]]
    """BSON documents of indexes low <= i < high; the same index is always the same document."""


def collection_of(shape: Shape, n_documents: int) -> str:
    """Name of the collection with so many documents of a shape."""
    return f"{shape.name}_{n_documents}"


def fill(source_uri: str, shape: Shape, n_documents: int) -> str:
    """See to it that the collection is there; returns its name."""
    name = collection_of(shape, n_documents)
    with MongoClient[dict[str, Any]](source_uri) as client:
        if client[DATABASE][name].estimated_document_count() == n_documents:
            return name
        client[DATABASE].drop_collection(name)
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        ranges = [(low, min(low + RANGE_DOCUMENTS, n_documents)) for low in range(0, n_documents, RANGE_DOCUMENTS)]
        waiting = [pool.submit(_insert, source_uri, name, shape.name, *each) for each in ranges]
        for each in waiting:
            each.result()
    return name


def fill_many(source_uri: str, count: int, documents: int) -> str:
    """See to it that a database of so many collections of users is there; returns its name."""
    name = f"{DATABASE}_{count}_of_{documents}"
    with MongoClient[dict[str, Any]](source_uri) as client:
        there = set(client[name].list_collection_names())
        for number in range(count):
            collection = f"c{number:05}"
            if collection not in there or client[name][collection].estimated_document_count() != documents:
                client[name].drop_collection(collection)
                insert(client[name][collection], USERS.make(number * documents, (number + 1) * documents))
    return name


def drop(source_uri: str, collection: str) -> None:
    """Drop a collection."""
    with MongoClient[dict[str, Any]](source_uri) as client:
        client[DATABASE].drop_collection(collection)


def _insert(source_uri: str, collection: str, shape: str, low: int, high: int) -> None:
    insert(_client(source_uri)[DATABASE][collection], SHAPES[shape].make(low, high))


def insert(collection: Any, documents: list[bytes]) -> None:
    """Insert ready-made documents, in portions of the size that seeding uses."""
    for low in range(0, len(documents), INSERT_DOCUMENTS):
        portion = documents[low : low + INSERT_DOCUMENTS]
        collection.insert_many(map(RawBSONDocument, portion), ordered=False)


@cache
def _client(source_uri: str) -> MongoClient[dict[str, Any]]:
    """One for each process, for as long as it lives."""
    return MongoClient(source_uri)


# --- the shapes -------------------------------------------------------------------------------------------------------


@cache
def _user_pages() -> UserPages:
    return UserPages(SEED)


def _users(low: int, high: int) -> list[bytes]:
    return _user_pages().documents(low, high)


def _random_ids(low: int, high: int) -> list[bytes]:
    """The users with a UUID as `_id`: in no order at all, and the same for the same index."""
    made = []
    for index, user in enumerate(_users(low, high), low):
        digest = bytearray(blake2b(index.to_bytes(8, "big"), digest_size=16).digest())
        digest[6], digest[8] = digest[6] & 0x0F | 0x40, digest[8] & 0x3F | 0x80  # version 4
        content = _UUID + bytes(digest) + user[_INT32.size + _OBJECT_ID_ELEMENT :]
        made.append(_INT32.pack(_INT32.size + len(content)) + content)
    return made


def _three_fields(low: int, high: int) -> list[bytes]:
    return [
        encode(
            {
                "_id": ObjectId(_object_id(index)),
                "id": index,
                "username": f"user_{index}",
                "email": f"email_{index}@email.com",
                "age": index * 7 % 100,
            }
        )
        for index in range(low, high)
    ]


def _wide(low: int, high: int) -> list[bytes]:
    bodies = _wide_bodies()
    made = []
    for index in range(low, high):
        content = _ID + _object_id(index) + bodies[index % N_WIDE_BODIES] + b"\0"
        made.append(_INT32.pack(len(content) + _INT32.size) + content)
    return made


def _object_id(index: int) -> bytes:
    return b"bench" + index.to_bytes(7, "big")


@cache
def _wide_bodies() -> list[bytes]:
    chance = random.Random(SEED)
    return [encode(_wide_document(chance))[_INT32.size : -1] for _ in range(N_WIDE_BODIES)]


def _wide_document(chance: random.Random) -> dict[str, Any]:
    """59 fields beside `_id`: scalars of every common kind, nested documents of three levels, arrays."""
    fields: dict[str, Any] = {f"text_{number}": _text(chance, 8 + number) for number in range(14)}
    fields |= {f"count_{number}": chance.randrange(-(2**31), 2**31) for number in range(8)}
    fields |= {f"total_{number}": Int64(chance.randrange(-(2**63), 2**63)) for number in range(5)}
    fields |= {f"ratio_{number}": chance.uniform(-1e6, 1e6) for number in range(6)}
    fields |= {f"price_{number}": Decimal128(f"{chance.randrange(-(10**9), 10**9)}E-2") for number in range(5)}
    fields |= {f"is_{number}": chance.random() < 0.5 for number in range(4)}
    fields |= {f"at_{number}": _moment(chance) for number in range(5)}
    fields |= {f"bytes_{number}": Binary(chance.randbytes(16 << number)) for number in range(3)}
    fields |= {"owner": ObjectId(chance.randbytes(12)), "token": Binary.from_uuid(UUID(bytes=chance.randbytes(16)))}
    fields |= {f"address_{number}": _address(chance) for number in range(2)}
    fields["labels"] = [_text(chance, 6) for _ in range(chance.randrange(6))]
    fields["scores"] = [chance.randrange(100) for _ in range(chance.randrange(12))]
    fields["items"] = [
        {"sku": _text(chance, 10), "price": Decimal128(f"{chance.randrange(10**6)}E-2"), "n": chance.randrange(9)}
        for _ in range(chance.randrange(4))
    ]
    fields["nothing"] = None
    fields["late"] = _moment(chance) if chance.random() < 0.3 else None
    return fields


def _address(chance: random.Random) -> dict[str, Any]:
    place = {"lat": chance.uniform(-90, 90), "lon": chance.uniform(-180, 180)}
    city = {"name": _text(chance, 9), "zip": f"{chance.randrange(10**5):05}", "place": place}
    return {"street": _text(chance, 16), "number": chance.randrange(500), "city": city}


def _text(chance: random.Random, length: int) -> str:
    return "".join(chance.choices("abcdefghijklmnopqrstuvwxyz  éü", k=length))


def _moment(chance: random.Random) -> datetime:
    return _FIRST_DAY + timedelta(seconds=chance.randrange(10 * 365 * 86_400))


def _clean_people(low: int, high: int) -> list[bytes]:
    return [spoiled.document(index, None) for index in range(low, high)]


def _bad_people(low: int, high: int) -> list[bytes]:
    return [spoiled.document(index, spoiled.way_of(index, BAD_EVERY)) for index in range(low, high)]


def _refused_people(low: int, high: int) -> list[bytes]:
    ways = (spoiled.SERVER_WAY,)
    return [spoiled.document(index, spoiled.way_of(index, BAD_EVERY, ways)) for index in range(low, high)]


USERS = Shape("users", "users of eleven fields, as `mongopg-tui seed` makes them", 1.0, _users)
THREE_FIELDS = Shape("three_fields", "the original Python project's users: id and three fields", 1.0, _three_fields)
WIDE = Shape("wide", "60 fields, three levels, arrays, decimals, binaries", 0.2, _wide)
CLEAN_PEOPLE = Shape("clean_people", "people of eleven fields into a table with constraints", 1.0, _clean_people)
BAD_PEOPLE = Shape("bad_people", "the same, one in a hundred bad in one of twelve ways", 1.0, _bad_people)
REFUSED_PEOPLE = Shape("refused_people", "the same, one in a hundred refused by a CHECK", 1.0, _refused_people)
RANDOM_IDS = Shape("random_ids", "users whose _ids are random UUIDs, in no order on disk", 2.0, _random_ids)
_ALL = (USERS, THREE_FIELDS, WIDE, CLEAN_PEOPLE, BAD_PEOPLE, REFUSED_PEOPLE, RANDOM_IDS)
SHAPES = {shape.name: shape for shape in _ALL}
