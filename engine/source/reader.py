"""Reading documents as raw batches: a range of `_id`, a sample.

A batch is what the server sent: whole BSON documents one after the other, never decoded here.

Ranges use `hint`, `min` and `max`. Comparison operators on `_id` would match the operand's kind only and silently skip
documents whose `_id` has another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from engine.mapping.bson import document_end, documents
from engine.source.bounds import key_of, same_key
from engine.source.mongo import Document

Query = Mapping[str, Any]

BATCH_DOCUMENTS = 1_000
"""Documents in a batch, at most."""
BATCH_BYTES = 4 * 1024 * 1024
"""Wanted size of a batch, at most: pause and retirement wait for the end of one."""
COMMENT = "mongopg-tui"
"""Names our operations in the server's log and profiler."""
SAMPLE_ENDS = 100
"""Documents from each end of the `_id` order in a sample: the newest and the oldest often differ from the bulk."""

_BY_ID = [("_id", 1)]

_AS_BYTES: CodecOptions[RawBSONDocument] = CodecOptions(
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


class RawBatches(Protocol):
    """A cursor of raw batches, as pymongo makes them; its own annotations promise documents."""

    def __iter__(self) -> Iterator[bytes]: ...

    def __next__(self) -> bytes: ...

    def close(self) -> None:
        """Close the cursor on the server."""


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Documents as the server sent them, those from byte `offset` on to be used."""

    data: bytes
    offset: int


class RangeReader:
    """Reads one range of a collection in `_id` order; for one thread at a time.

    Any exception of pymongo may come out of `next_batch`; `engine.source.faults` tells those worth a new reader from
    others.
    """

    def __init__(
        self,
        collection: Collection[Document],
        lower: bytes | None,
        lower_inclusive: bool,
        upper: bytes | None,
        *,
        batch_size: int = BATCH_DOCUMENTS,
        query: Query | None = None,
        has_range_reads: bool = True,
    ) -> None:
        """A reader that has not yet sent anything.

        Args:
            lower: where the range begins, `{"_id": value}` as BSON; None is the beginning of the collection.
            lower_inclusive: False leaves the document of key `lower` itself out.
            upper: exclusive end; None is the end of the collection.
            batch_size: documents in a batch, at most `BATCH_DOCUMENTS`.
            query: takes only documents that match.
            has_range_reads: False reads a view or a time-series whole, in the server's order.

        Raises:
            ValueError: bounds were given for a collection that cannot be read by range.
        """
        if not has_range_reads and (lower is not None or upper is not None):
            raise ValueError("a collection without range reads has no bounds")
        self._collection = collection
        self._lower = lower
        self._skip_lower = lower is not None and not lower_inclusive
        self._upper = upper
        self._batch_size = max(1, min(batch_size, BATCH_DOCUMENTS))
        self._query: Query = query or {}
        self._has_range_reads = has_range_reads
        self._cursor: RawBatches | None = None
        self._at_end = False

    def next_batch(self) -> RawBatch | None:
        """The next documents, at least one; None at the end of the range. Blocks."""
        while not self._at_end:
            if self._cursor is None:
                self._cursor = self._open()
            data = next(self._cursor, None)
            if data is None:
                self._at_end = True
                self.close()
            elif data:
                offset = self._first_wanted(data)
                if len(data) > BATCH_BYTES and self._has_range_reads:
                    self._shrink(data)
                if offset < len(data):
                    return RawBatch(data, offset)
        return None

    def close(self) -> None:
        """Close the cursor on the server; safe to call twice."""
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None

    def _open(self) -> RawBatches:
        if not self._has_range_reads:
            return raw_batches(
                self._collection.find_raw_batches(self._query, batch_size=self._batch_size, comment=COMMENT)
            )
        return raw_find(self._collection, Range(self._lower, self._upper), self._query, batch_size=self._batch_size)

    def _first_wanted(self, batch: bytes) -> int:
        """Offset of the first document behind an exclusive `lower`, which can only be at the very beginning."""
        if not self._skip_lower:
            return 0
        self._skip_lower = False
        assert self._lower is not None
        return document_end(batch, 0) if same_key(key_of(batch), self._lower) else 0

    def _shrink(self, batch: bytes) -> None:
        """Go on behind this batch with fewer documents in each: a cursor cannot change its batch size under way."""
        n_documents, last, end = 0, 0, 0
        while end < len(batch):
            n_documents, last, end = n_documents + 1, end, document_end(batch, end)
        self._batch_size = max(1, BATCH_BYTES * n_documents // len(batch))
        self._lower, self._skip_lower = key_of(batch, last), True
        self.close()


def raw_find(
    collection: Collection[Document],
    span: Range,
    query: Query,
    *,
    batch_size: int = BATCH_DOCUMENTS,
    projection: Document | None = None,
) -> RawBatches:
    """A cursor of raw batches over a range in `_id` order; the collection must have an index of `_id`."""
    bounds: dict[str, Any] = {}
    if span.lower is not None:
        bounds["min"] = RawBSONDocument(span.lower, _AS_BYTES)
    if span.upper is not None:
        bounds["max"] = RawBSONDocument(span.upper, _AS_BYTES)
    # The index gives the order anyway; a router in front of shards merges by it only when told.
    return raw_batches(
        collection.find_raw_batches(
            query, projection, hint=_BY_ID, sort=_BY_ID, batch_size=batch_size, comment=COMMENT, **bounds
        )
    )


def raw_batches(cursor: object) -> RawBatches:
    """What `find_raw_batches` or `aggregate_raw_batches` returned, as what it is."""
    return cast(RawBatches, cursor)


def sample(
    collection: Collection[Document],
    size: int,
    *,
    n_documents: int,
    query: Query | None = None,
    has_range_reads: bool = True,
) -> Iterator[bytes]:
    """Documents for a census: a random sample of `size`, and the ends of the `_id` order; a small collection whole.

    Args:
        size: documents to draw at random.
        n_documents: estimated number of documents; below 0 is not known.
        query: draws only from documents that match.
        has_range_reads: False leaves the ends out.
    """
    query = query or {}
    if 0 <= n_documents <= size:
        yield from _split(raw_batches(collection.find_raw_batches(query, batch_size=BATCH_DOCUMENTS, comment=COMMENT)))
        return
    pipeline: list[Document] = [{"$match": query}] if query else []
    pipeline.append({"$sample": {"size": size}})
    yield from _split(raw_batches(collection.aggregate_raw_batches(pipeline, allowDiskUse=True, comment=COMMENT)))
    if has_range_reads:
        for direction in (1, -1):
            ends = collection.find_raw_batches(query, sort=[("_id", direction)], limit=SAMPLE_ENDS, comment=COMMENT)
            yield from _split(raw_batches(ends))


def _split(batches: RawBatches) -> Iterator[bytes]:
    for batch in batches:
        yield from documents(batch)


def filter_query(encoded: bytes) -> Query:
    """A query that travelled as BSON, to be given to a reader as it is; empty bytes take every document."""
    return RawBSONDocument(encoded, _AS_BYTES) if encoded else {}
