"""What is measured with: three shapes of documents, made alike every time, and collections filled with them."""

from __future__ import annotations

import multiprocessing
import random
import struct
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from bson import Binary, Decimal128, Int64, encode
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from engine.work.users import UserPages

DATABASE = "bench"
SEED = 1
FILL_PROCESSES = 2
INSERT_DOCUMENTS = 1_000
"""Documents in one insert."""
FILL_RANGE = 50_000
"""Documents that one process makes and inserts at a time."""
N_WIDE_BODIES = 500
"""Different wide documents, beside their `_id`."""
_INT32 = struct.Struct("<i")


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of document."""

    name: str
    what: str
    share: float
    """Of the documents asked for, because wide ones are many times as large."""
    make: Callable[[int, int], list[bytes]]
    """BSON documents of indexes low <= i < high; the same index is always the same document."""


def _users(low: int, high: int) -> list[bytes]:
    return UserPages(SEED).documents(low, high)


def _three_fields(low: int, high: int) -> list[bytes]:
    """As the original Python project seeds them: ObjectId, id, and the three fields that it copies."""
    return [
        encode(
            {
                "_id": Binary(b"", 0),
                "id": index,
                "username": f"user_{index}",
                "email": f"email_{index}@email.com",
                "age": index * 7 % 100,
            }
        ).replace(_NO_ID, b"\x07_id\0" + _object_id(index), 1)[4:]
        for index in range(low, high)
    ]


def _wide(low: int, high: int) -> list[bytes]:
    bodies = _wide_bodies()
    made = []
    for index in range(low, high):
        body = bodies[index % len(bodies)]
        made.append(_INT32.pack(len(body) + 22) + b"\x07_id\0" + _object_id(index) + body + b"\0")
    return made
