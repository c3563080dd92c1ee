"""Reading documents as raw batches: a range of `_id`, a sample.

A batch is what the server sent: whole BSON documents one after the other, never decoded here.

Ranges use `hint`, `min` and `max`. Comparison operators on `_id` would match the operand's kind only and silently skip
documents whose `_id` has another one.
"""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from bson import MaxKey
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from engine.mapping.bson import count_documents, document_end, documents
from engine.mongo.bounds import MAX_KEY, MIN_KEY, key_of, same_key
from engine.mongo.causal import CausalTime, majority, session_after
from engine.mongo.connect import Document
from engine.mongo.faults import SAMPLED_TOO_OFTEN
from engine.mongo.rawcursor import ResizableBatches, raw_batches, raw_cursor
from engine.mongo.snapshot import session_at

Query = Mapping[str, Any]

BATCH_DOCUMENTS = 1_000
"""Documents in the first batch, before anything is known of their size, and in those of a sample."""
MAX_BATCH_DOCUMENTS = 8_000
"""Documents in a batch, at most;"""
WANTED_BATCH_BYTES = 1_280 * 1024
"""and how large one should be: smaller ones cost more questions, larger ones leave the processor's cache."""
BATCH_BYTES = 4 * 1024 * 1024
"""Size of a batch, at most, once the size of its documents is known: pause and retirement wait for the end of one."""
SLOW_BATCH_S = 0.5
"""A batch that takes longer, as with a filter that few documents match, is followed by a smaller one."""
COMMENT = "mongopg-tui"
"""Names our operations in the server's log and profiler."""
SAMPLE_ENDS = 100
"""Documents from each end of the `_id` order in a sample: the newest and the oldest often differ from the bulk."""

ENOUGH = 0.75
"""Share of a sample that suffices where documents are drawn in another way than by the server."""
FEWEST_FOR_RANDOM_CURSOR, LARGEST_DRAW = 100, 0.045
"""With so many documents, and for draws of a smaller share than 5 per cent, `$sample` reads only what it draws (its random
cursor); otherwise it reads the whole collection and sorts it."""

BY_ID = [("_id", 1)]
"""Order, and hint, of every read by range."""

AS_BYTES: CodecOptions[RawBSONDocument] = CodecOptions(
    document_class=RawBSONDocument,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
    unicode_decode_error_handler="replace",
)
"""Lets a key travel as its own bytes: the driver looks whether a bound is empty, so decoding must not fail on any
value, but sends the bytes that it was given."""


@dataclass(frozen=True, slots=True)
class Range:
    """Keys from `lower` (inclusive) to `upper` (exclusive), `{"_id": value}` as BSON; None is the collection's end."""

    lower: bytes | None
    upper: bytes | None


@dataclass(slots=True)
class BatchSize:
    """Documents to ask for at once, learned from the batches before; readers of one collection share it."""

    documents: int = field(default_factory=lambda: BATCH_DOCUMENTS)
    most: int = field(default_factory=lambda: MAX_BATCH_DOCUMENTS)

    @classmethod
    def for_documents_of(cls, average_bytes: int) -> BatchSize:
        """Of a collection whose documents have so many bytes on average; 0 is not known."""
        size = cls()
        if average_bytes > 0:
            size.documents = max(1, min(WANTED_BATCH_BYTES // average_bytes, size.most))
        return size

    def learn(self, n_documents: int, n_bytes: int, seconds: float) -> None:
        """A batch of so many documents had so many bytes, at least one, and was waited for."""
        wanted = WANTED_BATCH_BYTES * n_documents // n_bytes
        if seconds > SLOW_BATCH_S:  # not below what is asked for first: a busy machine is slow whatever the size
            wanted = min(wanted, max(BATCH_DOCUMENTS, int(n_documents * SLOW_BATCH_S / seconds)))
        self.documents = max(1, min(wanted, self.most))


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Documents as the server sent them, those from byte `offset` on to be used."""

    data: bytes
    offset: int
    last_record: int | None = None
    """Record id of its last document, where it was read in natural order."""


class BatchReader(ABC):
    """Reads raw batches by one cursor after another; for one thread at a time."""

    def __init__(self) -> None:
        """Nothing is open yet."""
        self._session: ClientSession | None = None
        self._cursor: ResizableBatches | None = None
        self._has_failed = False

    def next_batch(self) -> RawBatch | None:
        """The next documents, at least one; None at the end of the range. Blocks.

        Raises:
            RuntimeError: an earlier call has failed; what is left to read needs a new reader.
        """
        if self._has_failed:
            raise RuntimeError("this reader has failed: read the rest with a new one")
        try:
            return self._next_batch()
        except BaseException:
            self._has_failed = True  # a driver's cursor that has failed looks like one that has ended
            self.close()
            raise

    def close(self) -> None:
        """Close the cursor on the server; safe to call twice."""
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None
        if self._session is not None:
            self._session.end_session()
            self._session = None

    @abstractmethod
    def _next_batch(self) -> RawBatch | None:
        """See `next_batch`."""


class _Stage(Enum):
    RANGE = auto()
    MAX_KEY = auto()
    END = auto()


class RangeReader(BatchReader):
    """Reads one range of a collection in `_id` order.

    Any exception of pymongo may come out of `next_batch`; `engine.mongo.faults` tells those worth a new reader from
    others.
    """

    def __init__(
        self,
        collection: Collection[Document],
        lower: bytes | None,
        lower_inclusive: bool,
        upper: bytes | None,
        *,
        batch_size: BatchSize | None = None,
        query: Query | None = None,
        has_range_reads: bool = True,
        projection: Document | None = None,
        at: int | None = None,
        after: CausalTime | None = None,
    ) -> None:
        """A reader that has not yet sent anything.

        Args:
            lower: where the range begins, `{"_id": value}` as BSON; None is the beginning of the collection.
            lower_inclusive: False leaves the document of key `lower` itself out.
            upper: exclusive end; None is the end of the collection.
            batch_size: how many documents are asked for, to begin with and at most; what is learned is kept in it.
            query: takes only documents that match.
            has_range_reads: False reads a view or a time-series whole, in the server's order.
            projection: the fields to read; all without one.
            at: read as it was at that time (`engine.mongo.snapshot`); without one, as it is.
            after: read what stays, and not as it was before that; without one, as the URI says.

        Raises:
            ValueError: bounds were given for a collection that cannot be read by range.
        """
        super().__init__()
        if not has_range_reads and (lower is not None or upper is not None):
            raise ValueError("a collection without range reads has no bounds")
        self._collection = collection if after is None else majority(collection)
        self._lower = lower
        self._lower_inclusive = lower_inclusive
        self._upper = upper
        self._batch_size = batch_size or BatchSize()
        self._query = query or {}
        self._has_range_reads = has_range_reads
        self._projection = projection
        self._at = at
        self._after = after
        # The server refuses MinKey as the end of a range, before which there is nothing.
        self._stage = _Stage.END if upper == MIN_KEY else _Stage.RANGE

    def _next_batch(self) -> RawBatch | None:
        while self._stage is not _Stage.END:
            began = time.monotonic()
            if self._cursor is None:
                self._cursor = self._open()
            asked_for = self._cursor.asks_for or self._batch_size.documents
            data = next(self._cursor, None)
            if data is None:
                self.close()
                self._stage = self._stage_after_cursor()
            elif data:
                offset = self._first_wanted(data)
                # The server sends as many as were asked for, unless they are its cursor's last ones, or too large.
                n_documents = asked_for if len(data) <= BATCH_BYTES else sum(1 for _ in documents(data))
                self._batch_size.learn(n_documents, len(data), time.monotonic() - began)
                self._cursor.resize(self._batch_size.documents)
                if offset < len(data):
                    return RawBatch(data, offset)
        return None

    def _open(self) -> ResizableBatches:
        if self._at is not None:
            self._session = session_at(self._collection.database.client, self._at)
        elif self._after is not None:
            self._session = session_after(self._collection.database.client, self._after)
        if not self._has_range_reads:
            return raw_cursor(
                self._collection,
                self._query,
                self._projection,
                batch_size=self._batch_size.documents,
                comment=COMMENT,
                session=self._session,
                allow_disk_use=True,  # a view may sort or group, and servers before 6.0 do it in memory only, unless told
            )
        if self._lower == MAX_KEY:
            self._stage = _Stage.MAX_KEY
        if self._stage is _Stage.MAX_KEY:
            only_max_key = {"$and": [{"_id": MaxKey()}, self._query]}
            return raw_cursor(self._collection, only_max_key, self._projection, comment=COMMENT, session=self._session)
        return raw_find(
            self._collection,
            Range(self._lower, self._upper),
            self._query,
            batch_size=self._batch_size.documents,
            projection=self._projection,
            session=self._session,
        )

    def _stage_after_cursor(self) -> _Stage:
        """With `min` alone the server reads up to MaxKey, exclusively: a document of that very `_id` is still missing."""
        has_missed_max_key = self._has_range_reads and self._upper is None and self._lower is not None
        return _Stage.MAX_KEY if self._stage is _Stage.RANGE and has_missed_max_key else _Stage.END

    def _first_wanted(self, batch: bytes) -> int:
        """Offset of the first document behind an exclusive `lower`, which can only be at the very beginning."""
        if self._lower is None or self._lower_inclusive:
            return 0
        self._lower_inclusive = True
        return document_end(batch, 0) if same_key(key_of(batch), self._lower) else 0


def raw_find(
    collection: Collection[Document],
    span: Range,
    query: Query,
    *,
    batch_size: int = BATCH_DOCUMENTS,
    projection: Document | None = None,
    session: ClientSession | None = None,
) -> ResizableBatches:
    """A cursor of raw batches over a range in `_id` order; the collection must have an index of `_id`."""
    bounds: dict[str, Any] = {}
    if span.lower is not None:
        bounds["min"] = RawBSONDocument(span.lower, AS_BYTES)
    if span.upper is not None:
        bounds["max"] = RawBSONDocument(span.upper, AS_BYTES)
    # The index gives the order anyway; a router in front of shards merges by it only when told.
    return raw_cursor(
        collection,
        query,
        projection,
        hint=BY_ID,
        sort=BY_ID,
        batch_size=batch_size,
        comment=COMMENT,
        session=session,
        **bounds,
    )


def sample(
    collection: Collection[Document],
    size: int,
    *,
    n_documents: int,
    average_bytes: int = 0,
    query: Query | None = None,
    has_range_reads: bool = True,
    most_bytes: int = sys.maxsize,
    draw: Callable[[int], Iterator[bytes]] | None = None,
) -> Sample:
    """Raw batches for a census: a random sample of `size`, and the ends of the `_id` order; a small collection whole.

    Args:
        size: documents to draw at random.
        n_documents: estimated number of documents; below 0 is not known.
        average_bytes: of a document, estimated: large ones come fewer in a batch.
        query: draws only from documents that match.
        has_range_reads: False leaves the ends out.
        most_bytes: of documents to read, at most: there are fewer of them where they are large.
        draw: draws so many documents at random, or fewer; what is missing then is drawn by the server. Without it, or with a
            query, or where there are fewer for `most_bytes`, all of them are.
    """
    return Sample(collection, size, n_documents, average_bytes, query or {}, has_range_reads, most_bytes, draw)


class Sample:
    """A sample that is read while it is iterated over, once."""

    def __init__(
        self,
        collection: Collection[Document],
        size: int,
        n_documents: int,
        average_bytes: int,
        query: Query,
        has_range_reads: bool,
        most_bytes: int,
        draw: Callable[[int], Iterator[bytes]] | None,
    ) -> None:
        """Nothing is read yet; for the arguments see `sample`."""
        self.is_cut = False
        """There would have been more documents without the bound in bytes."""
        self.is_whole = False
        """It was all there is."""
        self._collection = collection
        self._size = size
        self._n_documents = n_documents
        self._average_bytes = average_bytes
        self._query = query
        self._has_range_reads = has_range_reads
        self._room = most_bytes
        self._own_draw = draw

    def __iter__(self) -> Iterator[bytes]:
        n_documents, average = self._n_documents, max(1, self._average_bytes)
        affordable = self._room // average
        if 0 <= n_documents <= min(self._size, affordable):
            yield from self._bounded(
                raw_cursor(self._collection, self._query, comment=COMMENT, batch_size=self._batch())
            )
            self.is_whole = not self.is_cut
            return
        size, ends = self._size, SAMPLE_ENDS if self._has_range_reads else 0
        is_affordable = affordable >= size + 2 * ends
        if not is_affordable:
            ends = min(ends, max(1, affordable // 8))
            size = max(0, affordable - 2 * ends)
        if is_affordable or self._query or not self._has_range_reads:
            n_drawn = 0
            if self._own_draw is not None and is_affordable and not self._query:
                for batch in self._own_draw(size):
                    n_drawn += count_documents(batch)
                    yield from self._taken(batch)
                    if self._room <= 0:
                        self.is_cut = True
                        return
            for batch in self._draw(size - n_drawn if n_drawn < ENOUGH * size else 0):
                n_drawn += count_documents(batch) if not self._has_range_reads else 0
                yield batch
            self.is_whole = not self._has_range_reads and n_drawn < size and not self.is_cut
        elif n_documents > FEWEST_FOR_RANDOM_CURSOR:
            yield from self._draw_piecemeal(size)
        else:
            ends = max(1, affordable // 2)
        for direction in (1, -1) if ends else ():
            yield from self._bounded(
                raw_cursor(
                    self._collection,
                    self._query,
                    sort=[("_id", direction)],
                    limit=ends,
                    batch_size=self._batch(),
                    comment=COMMENT,
                )
            )
        self.is_cut = self.is_cut or not is_affordable

    def _batch(self) -> int:
        return max(
            1,
            min(BATCH_DOCUMENTS, BATCH_BYTES // max(1, self._average_bytes), self._room // max(1, self._average_bytes)),
        )

    def _bounded(self, cursor: ResizableBatches) -> Iterator[bytes]:
        """The batches of a cursor, as long as there is room for one more."""
        for batch in cursor:
            yield from self._taken(batch)
            if self._room <= 0:
                self.is_cut = True
                cursor.close()
                return
            cursor.resize(self._batch())

    def _taken(self, batch: bytes) -> Iterator[bytes]:
        """A batch that was read, and what is known of documents from now on."""
        if not batch:
            return
        self._room -= len(batch)
        self._average_bytes = max(1, len(batch) // count_documents(batch))
        yield batch

    def _draw(self, size: int) -> Iterator[bytes]:
        """Documents at random."""
        while size:
            pipeline: list[Document] = [{"$match": self._query}] if self._query else []
            pipeline.append({"$sample": {"size": size}})
            try:
                # Without a size, the server fills its batches up to 16 MB.
                drawn = self._collection.aggregate_raw_batches(
                    pipeline, allowDiskUse=True, batchSize=self._batch(), comment=COMMENT
                )
                for batch in raw_batches(drawn):
                    yield from self._taken(batch)
                    if self._room <= 0:
                        self.is_cut = True
                        drawn.close()
                        return
                    drawn.batch_size(self._batch())
                return
            except OperationFailure as exc:
                if exc.code != SAMPLED_TOO_OFTEN:
                    raise
            size //= 10  # beside what was drawn so far

    def _draw_piecemeal(self, size: int) -> Iterator[bytes]:
        """Few and large documents at random, each once: in draws so small that the server does not read all it has for them."""
        step = max(1, int(self._n_documents * LARGEST_DRAW))
        seen: set[bytes] = set()
        for _ in range(3 * -(-size // step)):
            if len(seen) >= size or self._room <= 0:
                return
            for batch in self._draw(min(step, size - len(seen))):
                fresh = [document for document in documents(batch) if _identity(document) not in seen]
                seen.update(map(_identity, fresh))
                if fresh:
                    yield b"".join(fresh)


def _identity(document: bytes) -> bytes:
    try:
        return key_of(document)
    except ValueError:
        return document


def filter_query(encoded: bytes) -> Query:
    """A query that travelled as BSON, to be given to a reader as it is; empty bytes take every document."""
    return RawBSONDocument(encoded, AS_BYTES) if encoded else {}
