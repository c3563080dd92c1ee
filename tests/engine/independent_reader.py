"""Documents and columns, read by pymongo's decoder and Python's own types, not by the engine.

pymongo makes one thing of several kinds: a symbol becomes a string, undefined None, a dbPointer a reference. And of a key
that comes twice it keeps one value. So documents are taken apart here, and pymongo decodes one value at a time.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import bson
from bson import Code, DBRef, ObjectId
from bson.codec_options import CodecOptions, DatetimeConversion

from engine.mapping.model import Column, ColumnType

BAD_UTF8 = "surrogateescape"
"""How bytes that are no UTF-8 stay in a string: each is a surrogate, which no valid text has."""
_AS_IT_IS: CodecOptions[dict[str, Any]] = CodecOptions(
    datetime_conversion=DatetimeConversion.DATETIME_MS, unicode_decode_error_handler=BAD_UTF8
)
_SIZES = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}
"""bsonspec.org: bytes of the kinds that have one size."""
_LENGTHS = {0x02: 4, 0x0D: 4, 0x0E: 4, 0x0C: 16, 0x03: 0, 0x04: 0, 0x0F: 0, 0x05: 5}
"""Likewise: of those that begin with a length, what it does not count."""


class Document(dict[str, Any]):
    """The fields of a document; of a key that comes twice, the last value, at the first place."""

    def __init__(self) -> None:
        super().__init__()
        self.overwritten: list[Any] = []
        """Values before the last of their key."""


class Symbol(str):
    """A deprecated kind of string."""

    __slots__ = ()


class Undefined:
    """A deprecated kind of null."""


@dataclass(frozen=True)
class DbPointer:
    """A deprecated kind of reference."""

    namespace: str
    id: ObjectId


UNDEFINED = Undefined()


def decode(document: bytes) -> Document:
    """The document, dates of any year and text of any bytes included.

    Raises:
        bson.errors.InvalidBSON: pymongo refuses a value.
    """
    found = Document()
    for kind, key, payload in _elements(document):
        if key in found:
            found.overwritten.append(found[key])
        found[key] = _value(kind, payload)
    return found


def as_pymongo_has_it(value: Any) -> Any:
    """A decoded value with the kinds that pymongo does not tell apart made one."""
    match value:
        case Undefined():
            return None
        case DbPointer():
            return DBRef(value.namespace, value.id)
        case Symbol():
            return str(value)
        case Code() if value.scope is not None:
            return Code(str(value), as_pymongo_has_it(value.scope))
        case dict():
            return {key: as_pymongo_has_it(inner) for key, inner in value.items()}
        case list():
            return [as_pymongo_has_it(inner) for inner in value]
    return value


def is_refused_by_pymongo(document: bytes) -> bool:
    """Whether it is no BSON to pymongo, whatever its text."""
    try:
        bson.decode(document, _AS_IT_IS)
    except bson.errors.InvalidBSON:
        return True
    return False


def values_in(value: Any) -> Iterator[Any]:
    """The value, all keys and values in it, and those overwritten."""
    yield value
    inner: list[Any] = []
    match value:
        case Code() if value.scope is not None:
            inner = [value.scope]
        case DbPointer():
            inner = [value.namespace]
        case Document():
            inner = [*value.keys(), *value.values(), *value.overwritten]
        case list():
            inner = value
    for each in inner:
        yield from values_in(each)


def select(column: Column, quoted: str) -> str:
    """SQL for a column as JSON text, with binaries in hex and dates in milliseconds since 1970."""
    scalar = {
        ColumnType.TIMESTAMPTZ: "to_jsonb(extract(epoch FROM {}) * 1000)",
        ColumnType.BYTEA: "to_jsonb(encode({}, 'hex'))",
        ColumnType.DOUBLE: "to_jsonb({}::text)",
        ColumnType.NUMERIC: "to_jsonb({})",
        ColumnType.BIT_VARYING: "to_jsonb({}::text)",
        ColumnType.REAL_ARRAY: (
            "CASE WHEN {0} IS NOT NULL THEN (SELECT coalesce(jsonb_agg(encode(float4send(e), 'hex') ORDER BY n), '[]')"
            " FROM unnest({0}) WITH ORDINALITY AS u(e, n)) END"
        ),
    }.get(column.type, "to_json({})")
    if not column.array:
        return f"({scalar.format(quoted)})::text"
    if column.type in (ColumnType.BYTEA, ColumnType.TIMESTAMPTZ):
        return (
            f"(SELECT coalesce(jsonb_agg({scalar.format('e')} ORDER BY n), '[]') "
            f"FROM unnest({quoted}) WITH ORDINALITY AS u(e, n) WHERE {quoted} IS NOT NULL HAVING {quoted} IS NOT NULL)::text"
        )
    return f"to_jsonb({quoted})::text"


def read(column: Column, shown: str | None) -> Any:
    """What `select` gave, with numbers as Decimal."""
    if shown is None:
        return None
    value = json.loads(shown, parse_int=Decimal, parse_float=Decimal)
    return repr(float(value)) if column.type is ColumnType.DOUBLE and not column.array else value


def _elements(document: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Kind, key and payload of each element."""
    position = 4
    while position < len(document) - 1:
        kind = document[position]
        key_end = document.index(0, position + 1)
        end = _end(kind, document, key_end + 1)
        yield kind, document[position + 1 : key_end].decode(errors=BAD_UTF8), document[key_end + 1 : end]
        position = end


def _end(kind: int, document: bytes, start: int) -> int:
    if kind == 0x0B:
        return document.index(0, document.index(0, start) + 1) + 1
    if kind in _SIZES:
        return start + _SIZES[kind]
    return start + _LENGTHS[kind] + int(struct.unpack_from("<i", document, start)[0])


def _value(kind: int, payload: bytes) -> Any:
    match kind:
        case 0x03:
            return decode(payload)
        case 0x04:
            return [_value(inner, content) for inner, _, content in _elements(payload)]
        case 0x06:
            return UNDEFINED
        case 0x0C:
            return DbPointer(_text(payload[:-12]), ObjectId(payload[-12:]))
        case 0x0E:
            return Symbol(_text(payload))
        case 0x0F:
            code_end = 8 + int(struct.unpack_from("<i", payload, 4)[0])
            return Code(_text(payload[4:code_end]), decode(payload[code_end:]))
    alone = bytes((kind,)) + b"v\0" + payload
    return bson.decode(struct.pack("<i", len(alone) + 5) + alone + b"\0", _AS_IT_IS)["v"]


def _text(payload: bytes) -> str:
    return payload[4:-1].decode(errors=BAD_UTF8)
