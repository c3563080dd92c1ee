"""A cursor of raw batches that makes no Python object of a document, and whose batches may grow and shrink on the way.

The driver's own `find_raw_batches` looks for the batch in each answer by inflating all of it first, one `RawBSONDocument` for
each document (PyMongo 4.20, `_OpMsg.raw_response`): 0.65 us of processor for each, more than all the rest of reading it.
Retries, sessions, server selection and whatever an error says stay the driver's.

This is the one place that knows private names of PyMongo: those of `_find_shortcut`, `RawBatchCursor._unpack_response` and
`Cursor._batch_size`. A driver without the first gets its own cursors (`DriverCursor`). The first batch of a process is unpacked
in both ways; where the two differ, all others are unpacked by the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import bson
from bson import raw_bson
from pymongo.collection import Collection
from pymongo.cursor import RawBatchCursor

from engine.mongo.connect import Document


class RawBatches(Protocol):
    """A cursor of raw batches, as the driver makes them; its annotations promise documents."""

    def __iter__(self) -> Iterator[bytes]: ...

    def __next__(self) -> bytes: ...

    def close(self) -> None:
        """Close the cursor on the server."""


class ResizableBatches(RawBatches, Protocol):
    """The same, of which the size of batches can be changed."""

    @property
    def asks_for(self) -> int:
        """Documents in the next batch, at most; 0 is the server's choice."""

    def resize(self, n_documents: int) -> None:
        """Ask for so many from the next batch on, where the driver lets an open cursor change."""


@dataclass(slots=True)
class _Shortcut:
    """Parts of the driver with which an answer is unpacked without inflating its documents."""

    read: Callable[[bytes], Mapping[str, Any]]
    """An answer as a mapping; at every level, arrays and documents inside stay the bytes they are."""
    array_class: type[Mapping[str, Any]]
    """Of such an array or document."""
    join: Callable[[Document], None]
    """Makes one stream of bytes of the array of documents in an answer."""
    is_proven: bool = False
    """A batch was the same as by the driver's own way."""


def _find_shortcut() -> _Shortcut | None:
    """None with a driver that has other names for it."""
    try:
        array_class = raw_bson._RawArrayBSONDocument
        options: Any = raw_bson._RAW_ARRAY_BSON_OPTIONS
        join = bson._convert_raw_document_lists_to_streams
    except AttributeError:
        return None
    return _Shortcut(lambda answer: array_class(answer, options), array_class, join)


_shortcut = _find_shortcut()


def raw_cursor(
    collection: Collection[Document], query: Mapping[str, Any], projection: Document | None = None, **options: Any
) -> ResizableBatches:
    """What `Collection.find_raw_batches` returns for the same arguments, by the short way where this driver has it."""
    if _shortcut is None:
        return DriverCursor(collection, query, projection, **options)
    return LeanCursor(collection, query, projection, **options)


def raw_batches(cursor: object) -> RawBatches:
    """What `find_raw_batches` or `aggregate_raw_batches` returned, as what it is."""
    return cast(RawBatches, cursor)


class LeanCursor(RawBatchCursor[Any]):
    """What `Collection.find_raw_batches` returns, with the same arguments behind the collection."""

    @property
    def asks_for(self) -> int:
        """Documents in the next batch, at most; 0 is the server's choice."""
        return self._batch_size

    def resize(self, n_documents: int) -> None:
        """Ask for so many from the next batch on; the driver has no method for it once a cursor is open."""
        self._batch_size = n_documents

    def _unpack_response(self, response: Any, *args: Any, **kwargs: Any) -> Any:
        """The answer as a dictionary, its array of documents as one stream of bytes."""
        global _shortcut
        shortcut = _shortcut
        if shortcut is None:
            return super()._unpack_response(response, *args, **kwargs)
        if shortcut.is_proven:
            answer = _unpacked(response, shortcut)
            # An error: its arrays, such as labels, are wanted.
            return super()._unpack_response(response, *args, **kwargs) if answer is None else [answer]
        own = super()._unpack_response(response, *args, **kwargs)
        if own[0].get("cursor"):  # else an error
            try:
                answer = _unpacked(response, shortcut)
                shortcut.is_proven = answer is not None and _batch_in(answer) == _batch_in(own[0])
            except Exception:  # whatever private names have become
                shortcut.is_proven = False
            if not shortcut.is_proven:
                _shortcut = None
        return own


class DriverCursor:
    """The driver's own cursor, the batches of which keep the size that they begin with."""

    def __init__(
        self, collection: Collection[Document], query: Mapping[str, Any], projection: Document | None, **options: Any
    ) -> None:
        self._cursor = raw_batches(collection.find_raw_batches(query, projection, **options))
        self.asks_for: int = options.get("batch_size", 0)
        """Documents in the next batch, at most; 0 is the server's choice."""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._cursor)

    def close(self) -> None:
        """Close the cursor on the server."""
        self._cursor.close()

    def resize(self, n_documents: int) -> None:
        """Nothing: an open cursor has no method for it."""


def _unpacked(response: Any, shortcut: _Shortcut) -> Document | None:
    """An answer by the short way; None for an error, which has no cursor."""
    answer = dict(shortcut.read(response.raw_command_response()))
    cursor = answer.get("cursor")
    if not isinstance(cursor, shortcut.array_class):
        return None
    answer["cursor"] = dict(cursor)
    shortcut.join(answer)
    return answer


def _batch_in(answer: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes two answers equal."""
    cursor = answer["cursor"]
    batch = cursor["firstBatch"] if "firstBatch" in cursor else cursor["nextBatch"]
    return cursor["id"], b"".join(batch), len(batch)
