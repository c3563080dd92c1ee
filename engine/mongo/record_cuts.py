"""Cutting a collection into ranges of records, at documents that lie evenly spread.

Where too many record ids are free by now to find such documents, a sample tells: drawn by the server's random cursor it has
only `_id`s, whose record ids are looked up in the index of `_id`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from engine.mongo import natural, partition
from engine.mongo.bounds import key_of, record_of
from engine.mongo.catalogue import CollectionFacts
from engine.mongo.connect import Client, Document
from engine.mongo.faults import explained
from engine.mongo.natural import Numbering
from engine.mongo.partition import KeySamples
from engine.mongo.rawcursor import UnsupportedDriver
from engine.mongo.reader import Range
from engine.mongo.snapshot import session_at
from engine.mongo.spread import spread_bounds

log = logging.getLogger(__name__)

TOLD_BY, MOST_TOLD = 40, 200
"""Documents, at least and at most, whose places tell in which order a collection lies;"""
TOLD_FOR_EACH = 4
"""so many for each part into which it is to be cut: it can be cut at them whatever the order is."""
EVEN = 0.99
"""From this rank correlation on, documents that lie evenly spread have `_id`s that are so, too."""
LOOKED_UP_FOR_EACH = 24
"""Sampled documents for each range, at most, whose places are asked for: each costs a page of the disk."""
OLDER_BOUNDS = 3
"""Where the record of a range's beginning is gone, as many before it are tried before the whole collection is passed over."""
_ONE_SERVER = "Single"
_REPLICA_SETS = frozenset({"ReplicaSetWithPrimary", "ReplicaSetNoPrimary"})
"""Topologies, as the driver calls them."""


@dataclass(frozen=True, slots=True)
class RecordCuts:
    """A collection as ranges of records."""

    numbering: Numbering
    ranges: tuple[Range, ...]
    """Each behind its lower bound, up to and including its upper one."""

    @property
    def open_ranges(self) -> tuple[Range, ...]:
        """The same, of which the last one ends with the collection, whatever came since."""
        return (*self.ranges[:-1], Range(self.ranges[-1].lower, None))


@dataclass(frozen=True, slots=True)
class Spread:
    """Some documents of a collection that lie evenly spread."""

    bounds: Sequence[bytes]
    """Theirs, in the order of their records."""
    keys: Sequence[bytes]
    """Their `_id`s as MongoDB sorts them, as far as they are still there."""

    @property
    def correlation(self) -> float | None:
        """How far documents lie in the order of their `_id`s: 1 is the same order, 0 none, -1 the opposite; None of too few."""
        there = set(self.keys)
        places = {key: place for place, key in enumerate(key for key in map(key_of, self.bounds) if key in there)}
        return rank_correlation([places[key] for key in self.keys if key in places]) if len(places) > 1 else None

    def keys_for(self, parts: int) -> Sequence[bytes]:
        """The `_id`s, where a collection can be cut into so many even parts at them; otherwise none."""
        correlation = self.correlation
        if correlation is None or abs(correlation) < EVEN or len(self.keys) < 2 * parts:
            return ()
        return self.keys


@dataclass(frozen=True, slots=True)
class Lying:
    """How the documents of a collection lie on disk, as far as the order of reading depends on it."""

    correlation: float | None = None
    """As `Spread` has it; None where it was not asked for, or cannot be told."""
    is_behind_router: bool = False
    """There is no one member that numbers them."""


@explained()
def member_of(client: Client) -> str | None:
    """The member that the client's read preference chooses, as `host:port`; empty for the only server; None for a router."""
    hello = client.admin.command("hello", read_preference=client.read_preference)
    topology = client.topology_description.topology_type_name
    if hello.get("msg") == "isdbgrid" or "serviceId" in hello:
        return None
    if topology in _REPLICA_SETS and "me" in hello:
        return str(hello["me"])
    return "" if topology == _ONE_SERVER else None


@explained()
def record_cuts(
    collection: Collection[Document],
    member: str,
    facts: CollectionFacts,
    workers: int,
    at: int | None = None,
    samples: KeySamples | None = None,
    spread: Spread | None = None,
) -> RecordCuts | None:
    """Cut a collection at records of its own; None where the server does not tell where documents lie.

    Args:
        collection: of a client that is pinned to the member.
        member: as `member_of` says.
        facts: of the collection.
        workers: cluster size.
        at: the time at which it is read, if that is one time.
        samples: what was drawn of it already.
        spread: some of its documents, where they are known.
    """
    file = natural.file_of(collection)
    wanted = partition.parts_wanted(facts, workers)
    with _session(collection, at) as session:
        if spread is not None and len(spread.bounds) >= wanted:
            bounds = spread.bounds
        else:
            bounds = _spread(collection, facts, wanted, samples, session)
        top = natural.highest(collection, session)
    if not file or top is None:
        return None
    # Read when the run begins: what lies behind it has come later, or was inserted again. At one time there is nothing later.
    end = top if at is None else None
    n_fine = partition.fine_parts(wanted, workers)
    inner = [bound for bound in bounds if record_of(bound) < record_of(top)]
    return RecordCuts(Numbering(member, file, end), tuple(partition.ranges(None, cuts(inner, wanted, n_fine), end)))


@explained()
def spread_of(
    collection: Collection[Document],
    facts: CollectionFacts,
    at: int | None = None,
    samples: KeySamples | None = None,
    *,
    parts: int = 0,
) -> Spread | None:
    """Documents that tell in which order a collection lies; None where it cannot be told, such as by a server that only speaks
    MongoDB's language.

    Args:
        facts: of the collection.
        at: the time at which it is read, if that is one time.
        samples: what was drawn of it already.
        parts: into which it is to be cut, where that is known.
    """
    n_documents = min(max(TOLD_BY, parts * TOLD_FOR_EACH), MOST_TOLD)
    try:
        if not natural.file_of(collection):
            return None
        with _session(collection, at) as session:
            bounds = _spread(collection, facts, n_documents, samples, session)
            by_id = natural.in_order_of_ids(collection, [key_of(each) for each in bounds], session) if bounds else []
    except (OperationFailure, UnsupportedDriver, ValueError) as error:
        log.info("in which order %s lies is not told: %s", facts.namespace, error)
        return None
    return Spread(bounds, by_id)


def lying_of(client: Client, collection: Collection[Document], facts: CollectionFacts) -> Lying:
    """How the documents of a collection lie; nothing is asked of a small one. Blocks."""
    if facts.kind != "collection" or not facts.has_range_reads or facts.documents <= partition.EXACT_DOCUMENTS:
        return Lying()
    if member_of(client) is None:
        return Lying(is_behind_router=True)
    spread = spread_of(collection, facts)
    return Lying(spread.correlation if spread is not None else None)


def _spread(
    collection: Collection[Document],
    facts: CollectionFacts,
    parts: int,
    samples: KeySamples | None,
    session: ClientSession | None,
) -> list[bytes]:
    """Bounds to cut a collection at into so many parts, in the order of their records; without gaps those of a sample do."""
    if (bounds := spread_bounds(collection, parts, session)) is not None:
        return bounds
    keys = (samples or KeySamples()).of(collection, facts, parts)
    return natural.look_up(collection, _thinned(keys, parts * LOOKED_UP_FOR_EACH), session)


def _session(collection: Collection[Document], at: int | None) -> AbstractContextManager[ClientSession | None]:
    return session_at(collection.database.client, at) if at is not None else nullcontext()


def older_bounds(ranges: Sequence[Range], place: int) -> tuple[bytes | None, ...]:
    """Where reading a range may begin when the record of its beginning is gone: at the ranges before it, the last first, and at
    the beginning of the collection.
    """
    before = reversed(ranges[max(0, place - OLDER_BOUNDS) : place])
    return (*(span.lower for span in before if span.lower is not None), None)


def cuts(bounds: Sequence[bytes], parts: int, n_fine: int = 0) -> list[bytes]:
    """At most `parts - 1` of some bounds, in the order of their records, that cut what they are of into even parts; into finer
    ones at the end, as `partition.cut_places` says.
    """
    return [bounds[place] for place in partition.cut_places(len(bounds), parts, n_fine) if 0 <= place < len(bounds)]


def split(span: Range, bounds: Sequence[bytes], parts: int) -> list[Range]:
    """A range in at most `parts`, at known bounds; `[span]` where none of them lies in it."""
    low = natural.BELOW_ALL if span.lower is None else record_of(span.lower)
    high = natural.ABOVE_ALL if span.upper is None else record_of(span.upper)
    inside = sorted((bound for bound in bounds if low < record_of(bound) < high), key=record_of)
    return partition.ranges(span.lower, cuts(inside, min(parts, len(inside) + 1)), span.upper)


@explained()
def some_bounds(collection: Collection[Document], facts: CollectionFacts, parts: int) -> list[bytes]:
    """Bounds of sampled documents, enough to cut a collection into so many parts."""
    return natural.look_up(collection, partition.some_keys(collection, facts, parts))


def _thinned(keys: Sequence[bytes], most: int) -> Sequence[bytes]:
    """So many of the keys at most, as evenly spread as all of them."""
    return keys[:: -(-len(keys) // most)] if keys else keys


def rank_correlation(places: Sequence[int]) -> float:
    """Spearman's rank correlation of a permutation of 0, 1, 2 ... with its order: 1 to -1."""
    n = len(places)
    return 1 - 6 * sum((place - rank) ** 2 for rank, place in enumerate(places)) / (n * (n * n - 1))
