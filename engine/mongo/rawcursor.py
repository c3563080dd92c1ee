"""A cursor of raw batches that makes no Python object of a document, and whose batches may grow and shrink on the way.

The driver's own `find_raw_batches` looks for the batch in each answer by inflating all of it first, one `RawBSONDocument` for
each document (PyMongo 4.20, `_OpMsg.raw_response`): 0.65 us of processor for each, more than all the rest of reading it.
Retries, sessions, server selection and whatever an error says stay the driver's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bson import _convert_raw_document_lists_to_streams
from bson.raw_bson import _RAW_ARRAY_BSON_OPTIONS, _RawArrayBSONDocument
from pymongo.cursor import RawBatchCursor

if TYPE_CHECKING:
    from pymongo.message import _OpMsg

_LAZY: Any = _RAW_ARRAY_BSON_OPTIONS
"""At every level, arrays and documents inside stay the bytes they are."""


class LeanCursor(RawBatchCursor[dict[str, Any]]):
    """What `Collection.find_raw_batches` returns, with the same arguments behind the collection."""

    def resize(self, n_documents: int) -> None:
        """Documents in a batch from the next one on, at most; the driver lets nobody say so once a cursor is open."""
        self._batch_size = n_documents

    def _unpack_response(self, response: _OpMsg, *args: Any, **kwargs: Any) -> Any:
        """The answer as a dictionary, its array of documents as one stream of bytes."""
        answer = dict(_RawArrayBSONDocument(response.raw_command_response(), _LAZY))
        cursor = answer.get("cursor")
        if not isinstance(cursor, _RawArrayBSONDocument):
            return super()._unpack_response(response, *args, **kwargs)  # an error: its arrays (labels) are wanted
        answer["cursor"] = dict(cursor)
        _convert_raw_document_lists_to_streams(answer)
        return [answer]
