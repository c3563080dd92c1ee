"""Keys of documents as BSON bytes: taken out of raw batches, compared, and shown to people.

A key is the BSON document `{"_id": value}`. It is copied byte by byte out of what the server sent, never by way of a
Python value: some kinds (symbol, DBPointer, strings that are not UTF-8) do not survive that way.

A record bound is the key of a document and where it lies, `{"_id": value, "$recordId": int64}`: what the server sends of a
document when nothing but `_id` and the record id are asked for.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any

from bson import MaxKey, MinKey, decode, encode, json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.decimal128 import Decimal128, create_decimal128_context
from bson.errors import BSONError

from engine.mapping.bson import SHORTEST_DOCUMENT, document_end, value_end
from engine.mapping.model import Kind

NO_ID = b"\x05\0\0\0\0"
"""The key of a document without `_id`, which only a view or a time-series collection can deliver: an empty document."""
MIN_KEY = encode({"_id": MinKey()})
MAX_KEY = encode({"_id": MaxKey()})
"""The lowest and the highest key that there can be."""
DISPLAY_LENGTH = 200
"""Characters of a key shown to people, at most."""

_INT32 = struct.Struct("<i")
_RECORD_NAME = b"\x12$recordId\0"
_RECORD_END = struct.Struct(f"<{len(_RECORD_NAME)}sqB")
"""The record id as the last element of a bound, and the NUL behind it."""
_ID_NAME = b"_id\0"
_KIND_OFFSET = 4
"""Where a key's kind is: behind its length."""
_NUMBER_KINDS = frozenset({Kind.DOUBLE, Kind.INT32, Kind.INT64, Kind.DECIMAL128})
_FOR_PEOPLE: CodecOptions[dict[str, Any]] = CodecOptions(
    datetime_conversion=DatetimeConversion.DATETIME_MS, unicode_decode_error_handler="replace"
)
_JSON_FOR_PEOPLE = json_util.JSONOptions(
    json_mode=json_util.JSONMode.RELAXED, datetime_conversion=DatetimeConversion.DATETIME_MS
)


def key_of(batch: bytes, offset: int = 0) -> bytes:
    """`{"_id": value}` of the document at `offset`; `NO_ID` when it has none.

    Raises:
        ValueError: the document is broken before the end of its `_id`.
    """
    last = document_end(batch, offset) - 1
    position = offset + 4
    while position < last:
        name_end = batch.find(b"\0", position + 1, last) + 1
        if name_end == 0:
            raise ValueError(f"field name at byte {position + 1} does not end")
        end = value_end(batch, batch[position], name_end, last)
        if batch[position + 1 : name_end] == _ID_NAME:
            element = batch[position:end]
            return _INT32.pack(len(element) + SHORTEST_DOCUMENT) + element + b"\0"
        position = end
    return NO_ID


def key_or_none(document: bytes) -> bytes | None:
    """The key of a document; None when it has none, or is broken before the end of its `_id`."""
    try:
        key = key_of(document)
    except ValueError:
        return None
    return None if key == NO_ID else key


def with_record(key: bytes, record: int) -> bytes:
    """The record bound of a key."""
    element = _RECORD_END.pack(_RECORD_NAME, record, 0)
    return _INT32.pack(len(key) + len(element) - 1) + key[_INT32.size : -1] + element


def record_of(bound: bytes) -> int:
    """The record id of a record bound.

    Raises:
        ValueError: it has none.
    """
    if len(bound) >= _RECORD_END.size:
        name, record, nul = _RECORD_END.unpack_from(bound, len(bound) - _RECORD_END.size)
        if name == _RECORD_NAME and not nul:
            return int(record)
    raise ValueError("a bound has no record id")


def same_key(a: bytes, b: bytes) -> bool:
    """Whether two keys are one to MongoDB: the same bytes, or numbers of equal value whatever their kinds."""
    if a == b:
        return True
    x, y = _number(a), _number(b)
    if x is None or y is None:
        return False
    return x == y or (x != x and y != y)


def _number(key: bytes) -> int | float | Decimal | None:
    if key[_KIND_OFFSET] not in _NUMBER_KINDS:
        return None
    value = decode(key)["_id"]
    if isinstance(value, Decimal128):
        # A signalling NaN would raise when compared.
        decimal = create_decimal128_context().create_decimal(value.to_decimal())
        return float("nan") if decimal.is_nan() else decimal
    return value  # type: ignore[no-any-return]


def display(key: bytes) -> str:
    """A key's value as Extended JSON of at most `DISPLAY_LENGTH` characters; its text is not made harmless."""
    if key == NO_ID:
        return "(no _id)"
    try:
        text = json_util.dumps(decode(key, _FOR_PEOPLE)["_id"], json_options=_JSON_FOR_PEOPLE, ensure_ascii=False)
    except (BSONError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
        text = "0x" + key.hex()
    return text if len(text) <= DISPLAY_LENGTH else text[: DISPLAY_LENGTH - 1] + "…"
