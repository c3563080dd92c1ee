"""Reading a range of `_id` up to and including its last key: what one committed slice has read."""

from __future__ import annotations

from pymongo.collection import Collection

from engine.mapping.bson import document_end
from engine.mongo.bounds import key_of, same_key
from engine.mongo.connect import Document
from engine.mongo.reader import BatchSize, Query, RangeReader, RawBatch


class InclusiveReader:
    """Like `RangeReader`, with an end that belongs to the range; for one thread at a time.

    The server's `max` is exclusive, so the document of the last key is asked for by itself. When it was deleted
    meanwhile, the one that comes next is left to the range that begins behind it.
    """

    def __init__(
        self,
        collection: Collection[Document],
        lower: bytes | None,
        lower_inclusive: bool,
        last: bytes,
        *,
        query: Query | None = None,
        projection: Document | None = None,
    ) -> None:
        """A reader that has not yet sent anything.

        Args:
            lower: where the range begins, `{"_id": value}` as BSON; None is the beginning of the collection.
            lower_inclusive: False leaves the document of key `lower` itself out.
            last: inclusive end, likewise.
            query: takes only documents that match.
            projection: the fields to read; all without one.
        """
        self._last = last
        self._before: RangeReader | None = None
        if lower is None or not same_key(lower, last):
            self._before = RangeReader(collection, lower, lower_inclusive, last, query=query, projection=projection)
        self._at_last: RangeReader | None = RangeReader(
            collection, last, True, None, batch_size=BatchSize(1, most=1), query=query, projection=projection
        )

    def next_batch(self) -> RawBatch | None:
        """The next documents, at least one; None at the end of the range. Blocks."""
        if self._before is not None:
            batch = self._before.next_batch()
            if batch is not None:
                return batch
            self._before = None
        if self._at_last is None:
            return None
        batch = self._at_last.next_batch()
        self._at_last.close()
        self._at_last = None
        if batch is None or not same_key(key_of(batch.data, batch.offset), self._last):
            return None
        return RawBatch(batch.data[: document_end(batch.data, batch.offset)], batch.offset)

    def close(self) -> None:
        """Close what is open on the server; safe to call twice."""
        for reader in (self._before, self._at_last):
            if reader is not None:
                reader.close()
