"""Cutting a collection into half-open ranges of `_id`, by a sample that the server sorts.

The server sorts because only it knows the order of mixed kinds and of collations. The first range has no lower end and
the last no upper end, so what the sample did not see, or what comes later, belongs to one of them all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from engine.mapping.bson import documents
from engine.mongo.bounds import MAX_KEY, MIN_KEY, key_of, same_key
from engine.mongo.catalogue import CollectionFacts
from engine.mongo.connect import Document
from engine.mongo.faults import SAMPLED_TOO_OFTEN, explained
from engine.mongo.rawcursor import raw_batches
from engine.mongo.reader import AS_BYTES, BY_ID, COMMENT, Query, Range, raw_find

TARGET_BYTES = 16 * 1024 * 1024
"""Size of a partition."""
MAX_PARTITIONS = 20_000
PARTITIONS_PER_WORKER = 4
"""At least, so that the last ones to end do not leave the others idle for long;"""
FINE_PARTS = 4
"""So many take the place of each of the last partitions, one a worker, of a large collection: when nothing more is left to
begin, the others are idle for as long as the longest takes."""
SMALL_BYTES, SMALL_PARTITIONS = 8 * 1024 * 1024, 32
"""but a large cluster's are not made smaller than so many bytes for it, beyond so many partitions. Each costs a cursor and a
transaction, and the first of a worker two connections, which take servers and worker about as long as 3 MB of documents.
Workers for which none is left do not connect. Where there would be one for some workers and none for others, half as many
workers get twice as much: the first partition of a worker is what costs."""
MIN_DOCUMENTS = 250
"""Smaller partitions cost more than they bring."""
EXACT_DOCUMENTS = 50_000
"""Up to so many, all keys are read instead of a sample: as quick, and even."""
KEYS_IN_BATCH = 10_000
"""Keys that are read at once; some 20 bytes each."""
OVERSAMPLE = 16
"""Sampled keys for each cut: the quantiles of a sample this large are within a third of the wanted size."""
MIN_SAMPLE = 5_000
"""Sampled keys at least, where the collection is large enough: a few cuts from a small sample come out uneven."""
MAX_SAMPLE = 40_000
"""Sampled keys at most, while there are two for each cut."""
WARM_UP_SAMPLE = 50
"""Keys drawn first and thrown away. After fast inserts the random cursor takes a huge page in memory, with up to a
quarter of all documents, for one page among others; drawing from it once makes the server split it."""
TOO_LARGE, MORE_CUTS = 1.5, 16
"""The last partition is cut again where it has so many times the documents of others, at most so often."""
MAX_SAMPLE_SHARE = 0.045
"""From 5 per cent on, `$sample` sorts the whole collection instead of using a random cursor."""

WHOLE = Range(None, None)


def key_behind(
    collection: Collection[Document],
    n_documents: int,
    query: Query | None = None,
    session: ClientSession | None = None,
    *,
    lower: bytes | None = None,
) -> bytes | None:
    """The key that comes next after the first `n_documents` in `_id` order; None when there are no more of them.

    It passes over as many entries of the index, and with a query over their documents. A session of a time looks at what was
    there then. With `lower` they are those from that key on.
    """
    bounds: dict[str, Any] = {} if lower is None else {"min": RawBSONDocument(lower, AS_BYTES)}
    keys = collection.find_raw_batches(
        query or {},
        {"_id": 1},
        hint=BY_ID,
        sort=BY_ID,
        skip=n_documents,
        limit=1,
        comment=COMMENT,
        session=session,
        **bounds,
    )
    return next((key_of(batch) for batch in raw_batches(keys) if batch), None)


class KeySamples:
    """Keys drawn of some collections at about one time: of each they are drawn once. For one thread at a time."""

    def __init__(self) -> None:
        """Nothing is drawn yet."""
        self._drawn: dict[str, list[bytes]] = {}
        """By namespace."""

    def of(self, collection: Collection[Document], facts: CollectionFacts, parts: int) -> list[bytes]:
        """Keys of a whole collection, as `some_keys` has them."""
        if facts.namespace not in self._drawn:
            self._drawn[facts.namespace] = some_keys(collection, facts, parts)
        return self._drawn[facts.namespace]

    def keep(self, facts: CollectionFacts, keys: Sequence[bytes]) -> None:
        """Keys of a whole collection, in order and evenly spread, that were found in another way."""
        self._drawn[facts.namespace] = list(keys)


@explained()
def partitions(
    collection: Collection[Document],
    facts: CollectionFacts,
    workers: int,
    target_bytes: int = TARGET_BYTES,
    *,
    end: bytes | None = None,
    samples: KeySamples | None = None,
) -> list[Range]:
    """Ranges in ascending order that together are the whole collection, or what of it comes before `end`.

    Args:
        facts: of the part that is to be cut.
        workers: cluster size; there are at least four ranges for each worker where the collection is large enough.
        target_bytes: wanted size of a range, bytes of uncompressed documents.
        end: exclusive, a key; None is the collection's end. With one, all keys before it are read.
        samples: what was drawn for other purposes, and where it is kept for them.

    Raises:
        ConnectError: the server was lost.
        MigrationError: the server refused to sample.
    """
    if not facts.has_range_reads:
        return [WHOLE]
    wanted = parts_wanted(facts, workers, target_bytes)
    if wanted < 2 or end is not None or facts.documents <= EXACT_DOCUMENTS:
        return split(collection, Range(None, end), wanted)
    cuts = _cuts((samples or KeySamples()).of(collection, facts, wanted), wanted, fine_parts(wanted, workers))
    return ranges(None, _with_end_cut(collection, cuts, facts.documents // wanted), None)


def parts_wanted(facts: CollectionFacts, workers: int, target_bytes: int = TARGET_BYTES) -> int:
    """How many parts a collection is to be cut into; below 2 it stays whole."""
    by_size = -(-facts.size_bytes // target_bytes)
    by_documents = facts.documents // MIN_DOCUMENTS
    worthwhile = max(SMALL_PARTITIONS, facts.size_bytes // SMALL_BYTES)
    if workers > worthwhile:
        worthwhile //= 2
    by_workers = min(PARTITIONS_PER_WORKER * workers, worthwhile)
    return min(max(by_size, by_workers), by_documents, MAX_PARTITIONS)


def fine_parts(wanted: int, workers: int) -> int:
    """How many of so many parts, the last ones, are to be cut again."""
    return workers if wanted > PARTITIONS_PER_WORKER * workers else 0


def cut_places(count: int, parts: int, n_fine: int = 0) -> list[int]:
    """Where a sorted list of so many is cut into even parts: indexes of the first of each but the first part, ascending.

    Args:
        n_fine: of the last parts, each of which is `FINE_PARTS` smaller ones instead.
    """
    wanted = [number * FINE_PARTS for number in range(1, parts)]
    wanted += [place for place in range((parts - n_fine) * FINE_PARTS, parts * FINE_PARTS) if place % FINE_PARTS]
    return sorted({place * count // (parts * FINE_PARTS) for place in wanted})


def some_keys(collection: Collection[Document], facts: CollectionFacts, parts: int) -> list[bytes]:
    """Keys of a whole collection, in order and evenly spread, enough to cut it into so many parts."""
    if facts.documents <= EXACT_DOCUMENTS:
        return _thinned_keys(collection, WHOLE, max(parts, 1) * OVERSAMPLE)
    _sampled(collection, WARM_UP_SAMPLE)
    return _sampled(collection, _sample_size(parts, facts.documents))


@explained()
def split(collection: Collection[Document], whole: Range, parts: int) -> list[Range]:
    """The same range in at most `parts`, by its own keys; `[whole]` when it is too small to be cut."""
    if parts < 2 or whole.lower == MAX_KEY or whole.upper == MIN_KEY:
        return [whole]
    keys = _thinned_keys(collection, whole, parts * OVERSAMPLE)
    inner = [cut for cut in _cuts(keys, parts) if whole.lower is None or not same_key(cut, whole.lower)]
    return ranges(whole.lower, inner, whole.upper)


def ranges(lower: bytes | None, cuts: Sequence[bytes], upper: bytes | None) -> list[Range]:
    """The ranges between ascending cuts, from `lower` to `upper`."""
    ends = [lower, *cuts, upper]
    return [Range(ends[i], ends[i + 1]) for i in range(len(ends) - 1)]


def _sample_size(wanted: int, n_documents: int) -> int:
    size = min(max(wanted * OVERSAMPLE, MIN_SAMPLE), max(MAX_SAMPLE, wanted * 2))
    cheap = int(n_documents * MAX_SAMPLE_SHARE)
    # Few documents for many partitions: a random cursor cannot give enough keys, and sorting few documents is quick.
    return size if cheap < wanted * 2 else min(size, cheap)


def _cuts(keys: list[bytes], wanted: int, n_fine: int = 0) -> list[bytes]:
    """At most `wanted - 1` distinct quantiles of sorted keys, and those of finer parts at the end."""
    cuts: list[bytes] = []
    for position in cut_places(len(keys), wanted, n_fine):
        # Nothing can be cut off before the smallest sampled key without its part staying empty.
        if position == 0 or position >= len(keys):
            continue
        if not cuts or not same_key(keys[position], cuts[-1]):
            cuts.append(keys[position])
    return cuts


def _with_end_cut(collection: Collection[Document], cuts: list[bytes], wanted_documents: int) -> list[bytes]:
    """The same cuts, and more behind the last one where that leaves too many documents.

    After fast inserts with ids that grow, the newest documents are those that a sample has too few of, also when the server
    was told to split their page: a quarter of a collection would be one partition, copied by one worker when all others have
    ended.
    """
    cuts = list(cuts)
    for _ in range(MORE_CUTS):
        if not cuts or cuts[-1] == MAX_KEY:
            break
        if key_behind(collection, round(TOO_LARGE * wanted_documents), lower=cuts[-1]) is None:
            break
        found = key_behind(collection, wanted_documents, lower=cuts[-1])
        if found is None or same_key(found, cuts[-1]):  # documents were deleted meanwhile
            break
        cuts.append(found)
    return cuts


def _sampled(collection: Collection[Document], size: int) -> list[bytes]:
    while size:
        pipeline: list[Document] = [{"$sample": {"size": size}}, {"$project": {"_id": 1}}, {"$sort": {"_id": 1}}]
        try:
            return _keys(collection, pipeline)
        except OperationFailure as exc:
            if exc.code != SAMPLED_TOO_OFTEN:
                raise
        size //= 10  # fewer cuts, larger partitions
    return []


def _keys(collection: Collection[Document], pipeline: list[Document]) -> list[bytes]:
    keys: list[bytes] = []
    for batch in raw_batches(collection.aggregate_raw_batches(pipeline, allowDiskUse=True, comment=COMMENT)):
        keys.extend(map(key_of, documents(batch)))
    return keys


def _thinned_keys(collection: Collection[Document], whole: Range, size: int) -> list[bytes]:
    """Every n-th key of a range, at least `size` of them if there are so many: the index alone is read, in its order.

    Aggregation has no `min` and `max`, and query operators skip other kinds, so `$sample` cannot be asked for a range.
    """
    keys: list[bytes] = []
    step, position = 1, 0
    for batch in raw_find(collection, whole, {}, projection={"_id": 1}, batch_size=KEYS_IN_BATCH):
        for document in documents(batch):
            if position % step == 0:
                keys.append(key_of(document))
            position += 1
            if len(keys) > 2 * size:
                keys = keys[::2]
                step *= 2
    return keys
