"""Of which kinds the `_id`s of a collection are: asked of its index, not of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bson import Binary
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from engine.mapping.bson import SUBTYPE_UUID, SUBTYPE_UUID_LEGACY, UUID_BYTES
from engine.mapping.model import Kind
from engine.mongo.catalogue import CollectionFacts
from engine.mongo.connect import Document
from engine.mongo.faults import EXECUTION_TIMEOUT, explained

SHORTEST_LIMIT_MS, LONGEST_LIMIT_MS = 1_000, 10_000
"""For each probe of a kind: numbers share a part of the index, which has to be scanned for a kind that is not there."""
DOCUMENTS_PER_MS = 1_000
"""At least so many keys are scanned in a millisecond on most servers."""
_THREADS = 8


@dataclass(frozen=True, slots=True)
class IdKinds:
    """The kinds that occur among the `_id`s."""

    kinds: frozenset[Kind]
    unsure: frozenset[Kind] = frozenset()
    """Kinds that could not be looked for in time; they may occur, too."""


@explained()
def id_kinds(collection: Collection[Document], facts: CollectionFacts, seen: frozenset[Kind] | None = None) -> IdKinds:
    """Kinds that occur among the `_id`s.

    A kind with a part of the index to itself is found at once. Kinds that share one (numbers; strings and symbols) may
    need a scan of its keys, which is given up after a time that suits the size of the collection. Views and time-series
    have no index of `_id`: nothing is found, ask a sample.

    Args:
        seen: the kinds of all `_id`s, where every document has been read a moment ago: nothing is asked then.
    """
    if not facts.has_range_reads:
        return IdKinds(frozenset())
    if seen is not None:
        return IdKinds(seen)
    probes = _probes()
    limit_ms = min(max(SHORTEST_LIMIT_MS, facts.documents // DOCUMENTS_PER_MS), LONGEST_LIMIT_MS)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="id-kinds") as pool:
        found = list(pool.map(lambda probe: _exists(collection, probe[1], limit_ms), probes))
    answers = list(zip((kind for kind, _ in probes), found, strict=True))
    return IdKinds(
        kinds=frozenset(kind for kind, is_there in answers if is_there),
        unsure=frozenset(kind for kind, is_there in answers if is_there is None),
    )


def _exists(collection: Collection[Document], query: Document, limit_ms: int) -> bool | None:
    """Whether a document matches; None: not known in time."""
    # Of the _id alone the index knows all, so no document is fetched; and raw, since an _id may be a date beyond Python's.
    raw = collection.with_options(codec_options=DEFAULT_RAW_BSON_OPTIONS)
    try:
        return raw.find_one(query, {"_id": 1}, hint=[("_id", 1)], max_time_ms=limit_ms) is not None
    except OperationFailure as exc:
        if exc.code == EXECUTION_TIMEOUT:
            return None
        raise


def _probes() -> Sequence[tuple[Kind, Document]]:
    """A query for each kind. MongoDB sorts binaries by length, subtype and bytes, so UUIDs are a range of the index."""
    probes: list[tuple[Kind, Document]] = []
    for kind in Kind:
        if kind not in _NEVER_AN_ID and kind < 0x100 and kind is not Kind.BINARY:
            probes.append((kind, {"_id": {"$type": -1 if kind is Kind.MIN_KEY else int(kind)}}))
    legacy, uuid = _uuid_range(SUBTYPE_UUID_LEGACY), _uuid_range(SUBTYPE_UUID)
    probes.append((Kind.UUID_LEGACY, {"_id": {"$gte": legacy[0], "$lte": legacy[1]}}))
    probes.append((Kind.UUID, {"_id": {"$gte": uuid[0], "$lte": uuid[1]}}))
    other = {"$or": [{"_id": {"$lt": legacy[0]}}, {"_id": {"$gt": uuid[1]}}]}
    probes.append((Kind.BINARY, other))
    return probes


_NEVER_AN_ID = frozenset({Kind.ARRAY, Kind.UNDEFINED, Kind.REGEX})
"""The server refuses these as `_id`."""


def _uuid_range(subtype: int) -> tuple[Binary, Binary]:
    return Binary(bytes(UUID_BYTES), subtype), Binary(b"\xff" * UUID_BYTES, subtype)
