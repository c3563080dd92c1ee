"""A cursor of raw batches that makes no Python object of a document, and whose batches may grow and shrink on the way.

The driver's own `find_raw_batches` looks for the batch in each answer by inflating all of it first, one `RawBSONDocument` for
each document (PyMongo 4.20, `_OpMsg.raw_response`): 0.65 us of processor for each, more than all the rest of reading it.
Retries, sessions, server selection and whatever an error says stay the driver's.

This is the one place that knows private names of PyMongo: those of `_find_shortcut` and `prove_shortcut`,
`RawBatchCursor._unpack_response` and `Cursor._batch_size`. A driver without the first gets its own cursors (`DriverCursor`).
The first batch of a process is unpacked in both ways, unless a made-up answer was before; where the two differ, all others
are unpacked by the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import bson
from bson import Int64, raw_bson
from pymongo import message
from pymongo.collection import Collection
from pymongo.cursor import RawBatchCursor

from engine.errors import MigrationError
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

    def proves(self, response: Any, own: Any) -> bool:
        """Whether an answer with a cursor is the same as the driver's own way has it; if it is, all others will be."""
        try:
            answer = _unpacked(response, self)
            self.is_proven = answer is not None and _batch_in(answer) == _batch_in(own[0])
        except Exception:  # whatever private names have become
            self.is_proven = False
        return self.is_proven


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
_MADE_UP: Document = {
    "cursor": {
        "firstBatch": [{"_id": 1, "inner": {"list": [1, {"deep": None}]}}, {"_id": "second"}],
        "postBatchResumeToken": {"$recordId": Int64(2)},
        "id": Int64(3),
        "ns": "database.collection",
    },
    "ok": 1.0,
}
"""An answer to `find`."""
_USER_FIELDS = {"cursor": {"firstBatch": 1, "nextBatch": 1}}
"""What of an answer holds documents of the user's."""


def prove_shortcut() -> None:
    """Unpack a made-up answer in both ways, so that the first real one is unpacked once: in ninety workers that is ninety times
    a thousand documents less. Does nothing with a driver that has other names for it."""
    global _shortcut
    if _shortcut is None or _shortcut.is_proven:
        return
    cursor_class: Any = RawBatchCursor
    try:
        response = message._OpMsg(0, bson.encode(_MADE_UP))
        own = cursor_class._unpack_response(None, response, None, raw_bson.DEFAULT_RAW_BSON_OPTIONS, _USER_FIELDS)
    except Exception:  # whatever private names have become: the first real answer tells
        return
    if not _shortcut.proves(response, own):
        _shortcut = None


def raw_cursor(
    collection: Collection[Document], query: Mapping[str, Any], projection: Document | None = None, **options: Any
) -> ResizableBatches:
    """What `Collection.find_raw_batches` returns for the same arguments, by the short way where this driver has it."""
    if _shortcut is None:
        return DriverCursor(collection, query, projection, **options)
    return LeanCursor(collection, query, projection, **options)


def natural_cursor(
    collection: Collection[Document], after: int | None, projection: Document | None = None, **options: Any
) -> LeanCursor:
    """A cursor in natural order, each of whose batches tells the record id of its last document.

    The driver has no options for it, but passes on what stands beside `$query`.

    Args:
        after: begin behind this record; None begins at the beginning.

    Raises:
        UnsupportedDriver: this driver has other private names.
    """
    if _shortcut is None:
        raise UnsupportedDriver
    query: Document = {"$query": {}, "$_requestResumeToken": True}
    if after is not None:
        query["$_resumeAfter"] = {"$recordId": Int64(after)}
    return LeanCursor(collection, query, projection, hint=[("$natural", 1)], **options)


class UnsupportedDriver(MigrationError):
    """PyMongo has other private names than those that are known here."""

    def __init__(self) -> None:
        super().__init__("This version of PyMongo cannot read in natural order: set run.order to id.", code="driver")


def raw_batches(cursor: object) -> RawBatches:
    """What `find_raw_batches` or `aggregate_raw_batches` returned, as what it is."""
    return cast(RawBatches, cursor)


class LeanCursor(RawBatchCursor[Any]):
    """What `Collection.find_raw_batches` returns, with the same arguments behind the collection."""

    last_record: int | None = None
    """Record id of the last document of the newest batch, where resume tokens were asked for and the server has sent one."""

    @property
    def asks_for(self) -> int:
        """Documents in the next batch, at most; 0 is the server's choice."""
        return self._batch_size

    def resize(self, n_documents: int) -> None:
        """Ask for so many from the next batch on; the driver has no method for it once a cursor is open."""
        self._batch_size = n_documents

    def _unpack_response(self, response: Any, *args: Any, **kwargs: Any) -> Any:
        """The answer as a dictionary, its array of documents as one stream of bytes."""
        unpacked = self._unpacked_response(response, *args, **kwargs)
        token = (unpacked[0].get("cursor") or {}).get("postBatchResumeToken") or {}
        record = token.get("$recordId")
        self.last_record = int(record) if isinstance(record, int) else None
        return unpacked

    def _unpacked_response(self, response: Any, *args: Any, **kwargs: Any) -> Any:
        global _shortcut
        shortcut = _shortcut
        if shortcut is None:
            return super()._unpack_response(response, *args, **kwargs)
        if shortcut.is_proven:
            answer = _unpacked(response, shortcut)
            # An error: its arrays, such as labels, are wanted.
            return super()._unpack_response(response, *args, **kwargs) if answer is None else [answer]
        own = super()._unpack_response(response, *args, **kwargs)
        if own[0].get("cursor") and not shortcut.proves(response, own):  # an error has none
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
