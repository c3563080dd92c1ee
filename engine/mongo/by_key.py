"""Documents asked for by their keys, each of which travels as its own bytes; and which keys MongoDB takes for equal."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from decimal import Decimal
from zlib import crc32

from bson.decimal128 import Decimal128, create_decimal128_context
from bson.raw_bson import RawBSONDocument

from engine.mapping.bson import value_end
from engine.mapping.model import Kind
from engine.mongo.reader import AS_BYTES

DIGESTED = 64
"""A key of more bytes has a digest in its place where it is one of an index."""
_INT32 = struct.Struct("<i")
_NUMBERS = frozenset({Kind.DOUBLE, Kind.INT32, Kind.INT64, Kind.DECIMAL128})
_NESTED = frozenset({Kind.DOCUMENT, Kind.ARRAY})
_ALIKE = _NUMBERS | _NESTED | {Kind.SYMBOL}
"""Kinds of which values can be equal and have other bytes."""


def among(keys: Sequence[bytes], query: bytes = b"") -> RawBSONDocument:
    """The query for the documents of these keys, `{"_id": value}` each, of which each value travels as its own bytes.

    Args:
        query: as BSON; only documents that match this, too. Empty takes all.
    """
    elements = b"".join(key[4:5] + b"%d\0" % number + key[9:-1] for number, key in enumerate(keys))
    those = _document(b"\x03_id\0" + _document(b"\x04$in\0" + _document(elements)))
    if query:
        those = _document(b"\x04$and\0" + _document(b"\x030\0" + those + b"\x031\0" + query))
    return RawBSONDocument(those, AS_BYTES)


def _document(elements: bytes) -> bytes:
    return _INT32.pack(len(elements) + 5) + elements + b"\0"


def key_hash(key: bytes) -> bytes:
    """A key as an index of PostgreSQL can hold it, however long it is."""
    return key if len(key) <= DIGESTED else hashlib.sha256(key).digest()


def lane_of(key: bytes, lanes: int) -> int:
    """The lane of a key: that of all keys which MongoDB takes for equal to it."""
    return crc32(equality_class(key)) % lanes


def equality_class(key: bytes) -> bytes:
    """The same bytes for all keys that are one to MongoDB without a collation: numbers of equal value, at every depth.

    Raises:
        ValueError: it is no BSON.
    """
    if key[4] not in _ALIKE:
        return key[4:5] + key[9:-1]
    return b"".join(_class_of(key[4], key, 9, len(key) - 1))


def _class_of(kind: int, data: bytes, start: int, end: int) -> Iterator[bytes]:
    if kind in _NUMBERS:
        yield b"n" + _number(kind, data[start:end]) + b"\0"
    elif kind in _NESTED:
        yield bytes([kind])
        position, last = start + 4, end - 1
        while position < last:
            name_end = data.index(b"\0", position + 1, last) + 1
            value = value_end(data, data[position], name_end, last)
            yield data[position + 1 : name_end]
            yield from _class_of(data[position], data, name_end, value)
            position = value
        yield b"\0"
    else:
        yield bytes([Kind.STRING if kind == Kind.SYMBOL else kind]) + data[start:end]


def _number(kind: int, data: bytes) -> bytes:
    value: int | float | Decimal
    if kind == Kind.DECIMAL128:
        value = create_decimal128_context().create_decimal(Decimal128.from_bid(data).to_decimal())
    elif kind == Kind.DOUBLE:
        value = struct.unpack("<d", data)[0]
    else:
        value = int.from_bytes(data, "little", signed=True)
    if value.is_nan() if isinstance(value, Decimal) else value != value:
        return b"nan"
    if value in (float("inf"), float("-inf")):
        return b"inf" if value > 0 else b"-inf"
    numerator, denominator = value.as_integer_ratio()
    return b"%d/%d" % (numerator, denominator)
