"""Single BSON values as plain text for people: what text columns hold, and what is in JSON strings and numbers.

Every function takes the document and the extent of a value that `engine.mapping.bson.value_end` has checked.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from math import inf
from struct import Struct
from typing import Any

from engine.convert.dates import iso_text
from engine.mapping.bson import SUBTYPE_OLD_BINARY, CorruptDocumentError, binary_kind, unpack_int32
from engine.mapping.decimal128 import decimal_text, read_decimal128
from engine.mapping.model import Kind

unpack_int64: Any = Struct("<q").unpack_from
unpack_double: Any = Struct("<d").unpack_from
unpack_timestamp: Any = Struct("<II").unpack_from
"""Increment, then seconds, both unsigned."""

Text = Callable[[bytes, int, int], str]


def object_id_text(document: bytes, start: int, end: int) -> str:
    """An ObjectId as 24 hex digits."""
    return document[start:end].hex()


def bool_text(document: bytes, start: int, end: int) -> str:
    """A bool as `true` or `false`."""
    if document[start] > 1:
        raise CorruptDocumentError
    return "true" if document[start] else "false"


def int32_text(document: bytes, start: int, end: int) -> str:
    """An int32 as decimal digits."""
    return str(unpack_int32(document, start)[0])


def int64_text(document: bytes, start: int, end: int) -> str:
    """An int64 as decimal digits."""
    return str(unpack_int64(document, start)[0])


def double_text(document: bytes, start: int, end: int) -> str:
    """The shortest text that reads back as the same double, as Python's `repr`; `NaN`, `Infinity`, `-Infinity`."""
    text = repr(unpack_double(document, start)[0])
    return NOT_FINITE.get(text, text)


def full_double_text(document: bytes, start: int, end: int) -> str:
    """The same, but all digits of doubles that `repr` writes as a multiple of a power of ten.

    These are whole, and beyond 2**53 the shortest text is seldom the number itself: `1.152921504606847e+18` is 2**60.
    """
    number = unpack_double(document, start)[0]
    return str(int(number)) if is_huge(number) else double_text(document, start, end)


def is_huge(number: float) -> bool:
    """A finite double that `repr` writes with an exponent above 0: all of them are whole."""
    return FIRST_HUGE <= number < inf or -inf < number <= -FIRST_HUGE


FIRST_HUGE = 1e16

NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
"""How `repr` spells the doubles that are no JSON numbers, and how we do."""


def decimal128_text(document: bytes, start: int, end: int) -> str:
    """All digits, such as `1.50` or `1E+3`."""
    return decimal_text(read_decimal128(document, start))


def date_text(document: bytes, start: int, end: int) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return iso_text(unpack_int64(document, start)[0])


def binary_payload(document: bytes, start: int, end: int) -> bytes:
    """The bytes of a binary value; those of subtype 2 begin with a second length, which is not part of them."""
    if document[start + 4] != SUBTYPE_OLD_BINARY:
        return document[start + 5 : end]
    if end - start < 9 or unpack_int32(document, start + 5)[0] != end - start - 9:
        raise CorruptDocumentError
    return document[start + 9 : end]


def base64_text(document: bytes, start: int, end: int) -> str:
    """The payload in base64, padded."""
    return b64encode(binary_payload(document, start, end)).decode("ascii")


def regex_parts(document: bytes, start: int, end: int) -> tuple[bytes, bytes]:
    """Pattern and options of a regular expression; options in the order of the alphabet, as BSON wants them."""
    pattern, _, options = document[start : end - 1].partition(b"\0")
    return pattern, bytes(sorted(options))


def uuid_bytes(document: bytes, start: int, end: int, legacy_order: str) -> bytes:
    """The 16 bytes of a UUID in the order of RFC 9562.

    Args:
        legacy_order: how subtype 3 was written: `python`, `java` or `csharp` (BSON UUID specification).
    """
    payload = document[start + 5 : end]
    if binary_kind(document, start, end) is Kind.UUID_LEGACY:
        if legacy_order == "java":
            return payload[7::-1] + payload[:7:-1]
        if legacy_order == "csharp":
            return payload[3::-1] + payload[5:3:-1] + payload[7:5:-1] + payload[8:]
    return payload


def uuid_text(payload: bytes) -> str:
    """The usual five groups of hex digits."""
    digits = payload.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


PLAIN_TEXTS: dict[Kind, Text] = {
    Kind.OBJECT_ID: object_id_text,
    Kind.BOOL: bool_text,
    Kind.INT32: int32_text,
    Kind.INT64: int64_text,
    Kind.DOUBLE: full_double_text,
    Kind.DECIMAL128: decimal128_text,
    Kind.DATE: date_text,
    Kind.BINARY: base64_text,
}
"""Kinds whose text is ASCII without anything to escape."""
