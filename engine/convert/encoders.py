"""Encoders: one BSON value to one field of COPY's binary format, its length included.

An encoder is made for one column and one element type. It takes the document and the extent of the value, and returns
the field, or None when the value does not fit the column. Formats: the `*_recv` functions of PostgreSQL's utils/adt.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct, pack
from typing import Any

from engine.convert.dates import TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY, encode_timestamp
from engine.convert.decimals import (
    NUMERIC_INFINITY,
    NUMERIC_NAN,
    NUMERIC_NEGATIVE_INFINITY,
    encode_integer,
    encode_numeric,
    parse_double,
)
from engine.convert.jsontext import JsonWriter
from engine.convert.narrow import Narrow, narrowing
from engine.convert.rejection import DATE_RANGE, RejectedError
from engine.convert.scalars import (
    NOT_FINITE,
    PLAIN_TEXTS,
    binary_payload,
    is_huge,
    regex_parts,
    unpack_double,
    unpack_int64,
    uuid_bytes,
    uuid_text,
)
from engine.convert.strings import Policies, clean_text
from engine.mapping.bson import STRING_KINDS, VECTOR_HEADER, CorruptDocumentError, binary_kind, unpack_int32, value_end
from engine.mapping.decimal128 import read_decimal128
from engine.mapping.kinds import JSON_TYPES, VECTORS
from engine.mapping.limits import EXACT_INTEGER, FIRST_DATE_MS, INT32_HIGH, INT32_LOW, LAST_DATE_MS
from engine.mapping.model import Column, ColumnType, Kind

Encoder = Callable[[bytes, int, int], bytes | None]

NULL = pack(">i", -1)
JSONB_VERSION = b"\x01"
ELEMENT_OIDS = {
    ColumnType.TEXT: 25,
    ColumnType.INTEGER: 23,
    ColumnType.BIGINT: 20,
    ColumnType.DOUBLE: 701,
    ColumnType.NUMERIC: 1700,
    ColumnType.BOOLEAN: 16,
    ColumnType.TIMESTAMPTZ: 1184,
    ColumnType.UUID: 2950,
    ColumnType.BYTEA: 17,
    ColumnType.DATE: 1082,
}
"""Type OIDs of PostgreSQL's catalog/pg_type.dat; an array in binary form names the type of its elements."""
BINARY_KINDS = frozenset({Kind.BINARY, Kind.UUID, Kind.UUID_LEGACY}) | VECTORS
"""Kinds that share the element type of binaries and are told apart by subtype."""

_LENGTHS = [pack(">i", length) for length in range(1024)]
"""Ready-made length words of the usual strings."""
_LENGTH_1, _LENGTH_4, _LENGTH_8, _LENGTH_12, _LENGTH_16, _LENGTH_24 = (_LENGTHS[n] for n in (1, 4, 8, 12, 16, 24))
_pack_bigint: Any = Struct(">iq").pack
_pack_integer: Any = Struct(">ii").pack
_pack_double: Any = Struct(">id").pack
INT64_END = 2.0**63
"""The first double above all int64."""
_BOOLS = (_LENGTH_1 + b"\0", _LENGTH_1 + b"\1")


def with_length(content: bytes) -> bytes:
    """A field that is these bytes."""
    length = len(content)
    return (_LENGTHS[length] if length < 1024 else pack(">i", length)) + content


class EncoderFactory:
    """Makes the encoders of one column.

    Args:
        policies: those of the column.
        json: writes the values of jsonb and json columns.
        hits: where the names of policies that touched a value are appended.
    """

    def __init__(self, column: Column, policies: Policies, json: JsonWriter, uuid_legacy: str, hits: list[str]) -> None:
        self._column = column
        self._policies = policies
        self._json = json
        self._uuid_legacy = uuid_legacy
        self._hits = hits

    def encoders(self) -> dict[int, Encoder]:
        """Encoders by BSON element type; types without one never fit the column."""
        column = self._column
        if column.type in JSON_TYPES:
            return {int(kind): self._json_encoder(int(kind)) for kind in Kind if kind <= 0xFF}
        if column.array:
            return {int(Kind.ARRAY): self._array_encoder(self._scalar_encoders())}
        return self._scalar_encoders()

    def _scalar_encoders(self) -> dict[int, Encoder]:
        encoders: dict[int, Encoder] = {}
        binaries: dict[Kind, Encoder] = {}
        narrow = narrowing(self._column)
        for kind in self._column.kinds:
            encoder = self._scalar_encoder(kind)
            if encoder and narrow:
                encoder = self._narrowed(encoder, narrow)
            if encoder and kind in BINARY_KINDS:
                binaries[kind] = encoder
            elif encoder:
                encoders[int(kind)] = encoder
        if binaries:
            encoders[int(Kind.BINARY)] = _by_subtype(binaries)
        return encoders

    def _narrowed(self, encoder: Encoder, narrow: Narrow) -> Encoder:
        hits = self._hits

        def encode(document: bytes, start: int, end: int) -> bytes | None:
            n_hits = len(hits)
            value = encoder(document, start, end)
            if value is None or value is NULL:
                return value
            content = narrow(value[4:])
            if content is None:
                del hits[n_hits:]
                return None
            return with_length(content)

        return encode

    def _scalar_encoder(self, kind: Kind) -> Encoder | None:
        match self._column.type:
            case ColumnType.TEXT:
                return self._text_encoder(kind)
            case ColumnType.NUMERIC:
                return _NUMERIC_ENCODERS.get(kind)
            case ColumnType.BIGINT:
                return _BIGINT_ENCODERS.get(kind)
            case ColumnType.INTEGER | ColumnType.SMALLINT:
                return _INTEGER_ENCODERS.get(kind)
            case ColumnType.DOUBLE | ColumnType.REAL:
                return _DOUBLE_ENCODERS.get(kind)
            case ColumnType.BOOLEAN:
                return _encode_bool if kind == Kind.BOOL else None
            case ColumnType.TIMESTAMPTZ | ColumnType.DATE:
                return self._encode_date if kind == Kind.DATE else None
            case ColumnType.UUID:
                return self._encode_uuid if kind in (Kind.UUID, Kind.UUID_LEGACY) else None
            case ColumnType.BYTEA if kind == Kind.OBJECT_ID:
                return _encode_object_id_bytes
            case ColumnType.BYTEA if kind in BINARY_KINDS:
                return _encode_bytea
            case ColumnType.REAL_ARRAY if kind == Kind.VECTOR_FLOAT32:
                return _encode_real_array
            case ColumnType.SMALLINT_ARRAY if kind == Kind.VECTOR_INT8:
                return _encode_smallint_array
            case ColumnType.BIT_VARYING if kind == Kind.VECTOR_BITS:
                return _encode_bits
            case ColumnType.VECTOR if kind == Kind.VECTOR_FLOAT32:
                return _encode_vector
            case ColumnType.VECTOR if kind == Kind.ARRAY:
                return _encode_numbers_as_vector
        return None

    def _text_encoder(self, kind: Kind) -> Encoder | None:
        if kind in STRING_KINDS:
            return self._encode_string
        if kind == Kind.OBJECT_ID:
            return _encode_object_id_text
        if kind == Kind.REGEX:
            return self._encode_regex
        if kind == Kind.UUID or (kind == Kind.UUID_LEGACY and self._uuid_legacy):
            return self._encode_uuid_text
        text = PLAIN_TEXTS.get(Kind.BINARY if kind in BINARY_KINDS else kind)
        if text is None:
            return self._json_encoder(int(kind))
        return lambda document, start, end: with_length(text(document, start, end).encode("ascii"))

    def _json_encoder(self, kind: int) -> Encoder:
        version = JSONB_VERSION if self._column.type is ColumnType.JSONB else b""
        value, write_object = self._json.value, self._json.document

        def encode(document: bytes, start: int, end: int) -> bytes:
            return with_length(version + value(document, kind, start, end).encode())

        def encode_object(document: bytes, start: int, end: int) -> bytes:
            return with_length(version + write_object(document, start, end).encode())

        return encode_object if kind == Kind.DOCUMENT else encode

    def _array_encoder(self, element_encoders: dict[int, Encoder]) -> Encoder:
        oid = ELEMENT_OIDS[self._column.type]
        hits = self._hits

        def encode(document: bytes, start: int, end: int) -> bytes | None:
            n_hits = len(hits)
            elements: list[bytes] = []
            position, last = start + 4, end - 1
            key = b""
            try:
                while position < last:
                    kind = document[position]
                    value_start = document.find(0, position + 1, last) + 1
                    if not value_start:
                        raise CorruptDocumentError
                    key = document[position + 1 : value_start - 1]
                    position = value_end(document, kind, value_start, last)
                    element: bytes | None = NULL
                    if kind != Kind.NULL:
                        encode_element = element_encoders.get(kind)
                        element = encode_element(document, value_start, position) if encode_element else None
                    if element is None:
                        del hits[n_hits:]
                        return None
                    elements.append(element)
            except RejectedError as rejection:
                rejection.keys.append(key)
                raise
            return encode_array(elements, oid)

        return encode

    def _encode_string(self, document: bytes, start: int, end: int) -> bytes:
        content = document[start + 4 : end - 1]
        if 0 in content or not content.isascii():
            content = clean_text(content, self._policies, self._hits.append).encode()
        length = len(content)
        return (_LENGTHS[length] if length < 1024 else pack(">i", length)) + content

    def _encode_regex(self, document: bytes, start: int, end: int) -> bytes:
        pattern, options = regex_parts(document, start, end)
        return with_length(clean_text(b"/%b/%b" % (pattern, options), self._policies, self._hits.append).encode())

    def _encode_date(self, document: bytes, start: int, end: int) -> bytes:
        ms = unpack_int64(document, start)[0]
        if FIRST_DATE_MS <= ms <= LAST_DATE_MS:
            return encode_timestamp(ms)
        choice = self._policies.date_range
        if choice == "reject":
            raise RejectedError(DATE_RANGE)
        self._hits.append(f"date_range.{choice}")
        if choice == "null":
            return NULL
        if choice == "clamp":
            return encode_timestamp(FIRST_DATE_MS if ms < FIRST_DATE_MS else LAST_DATE_MS)
        return TIMESTAMP_NEGATIVE_INFINITY if ms < FIRST_DATE_MS else TIMESTAMP_INFINITY

    def _encode_uuid(self, document: bytes, start: int, end: int) -> bytes:
        return _LENGTH_16 + uuid_bytes(document, start, end, self._uuid_legacy)

    def _encode_uuid_text(self, document: bytes, start: int, end: int) -> bytes:
        return with_length(uuid_text(uuid_bytes(document, start, end, self._uuid_legacy)).encode("ascii"))


def encode_array(elements: list[bytes], oid: int) -> bytes:
    """Encoded elements as a one-dimensional array from index 1 on (`array_recv`); none is the empty array."""
    n_dimensions = 1 if elements else 0
    parts = [pack(">iii", n_dimensions, NULL in elements, oid)]
    if elements:
        parts.append(pack(">ii", len(elements), 1))
        parts.extend(elements)
    return with_length(b"".join(parts))


def _by_subtype(encoders: dict[Kind, Encoder]) -> Encoder:
    def encode(document: bytes, start: int, end: int) -> bytes | None:
        encoder = encoders.get(binary_kind(document, start, end))
        return encoder(document, start, end) if encoder else None

    return encode


def _encode_bool(document: bytes, start: int, end: int) -> bytes:
    value = document[start]
    if value > 1:
        raise CorruptDocumentError
    return _BOOLS[value]


def _encode_object_id_text(document: bytes, start: int, end: int) -> bytes:
    return _LENGTH_24 + document[start:end].hex().encode()


def _encode_object_id_bytes(document: bytes, start: int, end: int) -> bytes:
    return _LENGTH_12 + document[start:end]


def _encode_bytea(document: bytes, start: int, end: int) -> bytes:
    return with_length(binary_payload(document, start, end))


_REAL_OID, _SMALLINT_OID = 700, 21
MOST_DIMENSIONS = 16_000
"""Of pgvector's `vector`, which has no empty one either."""
_pack_real: Any = Struct(">f").pack


def _vector_elements(document: bytes, start: int, end: int) -> bytes:
    return document[start + 5 + VECTOR_HEADER : end]


def _encode_real_array(document: bytes, start: int, end: int) -> bytes:
    content = _vector_elements(document, start, end)
    elements = [_LENGTH_4 + content[at : at + 4][::-1] for at in range(0, len(content), 4)]
    return encode_array(elements, _REAL_OID)


def _encode_smallint_array(document: bytes, start: int, end: int) -> bytes:
    numbers = memoryview(_vector_elements(document, start, end)).cast("b")
    return encode_array([_LENGTHS[2] + pack(">h", number) for number in numbers], _SMALLINT_OID)


def _encode_bits(document: bytes, start: int, end: int) -> bytes:
    content = _vector_elements(document, start, end)
    return with_length(pack(">i", 8 * len(content) - document[start + 6]) + content)


def _encode_vector(document: bytes, start: int, end: int) -> bytes | None:
    """`vector_recv` of pgvector: number of dimensions, an unused word, and 32-bit floats."""
    content = _vector_elements(document, start, end)
    n_dimensions = len(content) // 4
    if not 0 < n_dimensions <= MOST_DIMENSIONS:
        return None
    elements = [content[at : at + 4][::-1] for at in range(0, len(content), 4)]
    return with_length(pack(">hh", n_dimensions, 0) + b"".join(elements))


def _encode_numbers_as_vector(document: bytes, start: int, end: int) -> bytes | None:
    elements: list[bytes] = []
    position, last = start + 4, end - 1
    does_fit = True
    while position < last:
        kind = document[position]
        value_start = document.find(0, position + 1, last) + 1
        if not value_start:
            raise CorruptDocumentError
        position = value_end(document, kind, value_start, last)
        unpack = _NUMBERS_OF_VECTORS.get(kind)
        if unpack is None:
            does_fit = False
        elif does_fit:
            try:
                elements.append(_pack_real(unpack(document, value_start)[0]))
            except OverflowError:
                does_fit = False
    if not does_fit or not 0 < len(elements) <= MOST_DIMENSIONS:
        return None
    return with_length(pack(">hh", len(elements), 0) + b"".join(elements))


_NUMBERS_OF_VECTORS: dict[int, Any] = {Kind.DOUBLE: unpack_double, Kind.INT32: unpack_int32, Kind.INT64: unpack_int64}


# BSON's numbers are little-endian and PostgreSQL's big-endian: where the size stays, the bytes turn round.
def _turn_4(document: bytes, start: int, end: int) -> bytes:
    return _LENGTH_4 + document[end - 1 : start - 1 : -1]


def _turn_8(document: bytes, start: int, end: int) -> bytes:
    return _LENGTH_8 + document[end - 1 : start - 1 : -1]


def _int64_as_integer(document: bytes, start: int, end: int) -> bytes | None:
    number = unpack_int64(document, start)[0]
    return _pack_integer(4, number) if INT32_LOW <= number <= INT32_HIGH else None


def _int32_as_bigint(document: bytes, start: int, end: int) -> bytes:
    field: bytes = _pack_bigint(8, unpack_int32(document, start)[0])
    return field


def _int32_as_double(document: bytes, start: int, end: int) -> bytes:
    field: bytes = _pack_double(8, unpack_int32(document, start)[0])
    return field


def _int64_as_double(document: bytes, start: int, end: int) -> bytes | None:
    number = unpack_int64(document, start)[0]
    return _pack_double(8, number) if -EXACT_INTEGER <= number <= EXACT_INTEGER else None


def _int32_as_numeric(document: bytes, start: int, end: int) -> bytes:
    return encode_integer(unpack_int32(document, start)[0])


def _int64_as_numeric(document: bytes, start: int, end: int) -> bytes:
    return encode_integer(unpack_int64(document, start)[0])


def _double_as_numeric(document: bytes, start: int, end: int) -> bytes:
    number = unpack_double(document, start)[0]
    if is_huge(number):
        return encode_integer(int(number))
    text = repr(number)
    if text in NOT_FINITE:
        return {"nan": NUMERIC_NAN, "inf": NUMERIC_INFINITY}.get(text, NUMERIC_NEGATIVE_INFINITY)
    return encode_numeric(parse_double(text))


def _decimal128_as_numeric(document: bytes, start: int, end: int) -> bytes:
    return encode_numeric(read_decimal128(document, start))


def _double_as_integer(document: bytes, start: int, end: int) -> bytes | None:
    number = unpack_double(document, start)[0]
    return _pack_integer(4, int(number)) if INT32_LOW <= number <= INT32_HIGH and number.is_integer() else None


def _double_as_bigint(document: bytes, start: int, end: int) -> bytes | None:
    number = unpack_double(document, start)[0]
    return _pack_bigint(8, int(number)) if -INT64_END <= number < INT64_END and number.is_integer() else None


_INTEGER_ENCODERS: dict[Kind, Encoder] = {
    Kind.INT32: _turn_4,
    Kind.INT64: _int64_as_integer,
    Kind.DOUBLE: _double_as_integer,
}
_BIGINT_ENCODERS: dict[Kind, Encoder] = {
    Kind.INT32: _int32_as_bigint,
    Kind.INT64: _turn_8,
    Kind.DOUBLE: _double_as_bigint,
}
_DOUBLE_ENCODERS: dict[Kind, Encoder] = {
    Kind.DOUBLE: _turn_8,
    Kind.INT32: _int32_as_double,
    Kind.INT64: _int64_as_double,
}
_NUMERIC_ENCODERS: dict[Kind, Encoder] = {
    Kind.INT32: _int32_as_numeric,
    Kind.INT64: _int64_as_numeric,
    Kind.DOUBLE: _double_as_numeric,
    Kind.DECIMAL128: _decimal128_as_numeric,
}
