"""The framing of BSON: where each value of a document ends, and nothing about what it means (bsonspec.org).

Everything that walks raw documents, the census and the plain converter, trusts these checks: no value is looked at
before its whole extent is known to lie inside the document that holds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Any

from engine.mapping.model import Kind

SHORTEST_DOCUMENT = 5
"""Bytes of an empty document: its length and its end."""
FIXED_SIZES: dict[int, int] = {
    Kind.DOUBLE: 8,
    Kind.UNDEFINED: 0,
    Kind.OBJECT_ID: 12,
    Kind.BOOL: 1,
    Kind.DATE: 8,
    Kind.NULL: 0,
    Kind.INT32: 4,
    Kind.TIMESTAMP: 8,
    Kind.INT64: 8,
    Kind.DECIMAL128: 16,
    Kind.MAX_KEY: 0,
    Kind.MIN_KEY: 0,
}
"""Bytes of the values that have one size only."""
STRING_KINDS = frozenset({Kind.STRING, Kind.JAVASCRIPT, Kind.SYMBOL})
"""Kinds stored as a length, text and a NUL."""

UUID_BYTES = 16
SUBTYPE_OLD_BINARY, SUBTYPE_UUID_LEGACY, SUBTYPE_UUID, SUBTYPE_VECTOR = 2, 3, 4, 9
VECTOR_HEADER = 2
"""Bytes before a vector's elements: their type, and how many bits at its end do not count."""
DTYPE_INT8, DTYPE_BITS, DTYPE_FLOAT32 = 0x03, 0x10, 0x27

unpack_int32: Any = Struct("<i").unpack_from
_LENGTH_RULES: dict[int, tuple[int, int, bool]] = {
    Kind.STRING: (4, 1, True),
    Kind.JAVASCRIPT: (4, 1, True),
    Kind.SYMBOL: (4, 1, True),
    Kind.DOCUMENT: (0, SHORTEST_DOCUMENT, True),
    Kind.ARRAY: (0, SHORTEST_DOCUMENT, True),
    Kind.BINARY: (5, 0, False),
    Kind.CODE_WITH_SCOPE: (0, 14, True),
}
"""Kinds that begin with a length: bytes that it does not count, the least it can be, whether the last byte is NUL."""


class CorruptDocumentError(ValueError):
    """A document whose inside breaks the rules of BSON."""


def documents(batch: bytes, offset: int = 0) -> Iterator[bytes]:
    """The documents of a raw batch, one after the other.

    Raises:
        ValueError: `batch` is not a sequence of whole documents; the message says at which offset it breaks.
    """
    while offset < len(batch):
        end = document_end(batch, offset)
        yield batch[offset:end]
        offset = end


def count_documents(batch: bytes) -> int:
    """How many documents a raw batch has.

    Raises:
        ValueError: it is not a sequence of whole documents; the message says at which offset it breaks.
    """
    n_documents = offset = 0
    size = len(batch)
    while offset < size:
        offset = document_end(batch, offset)
        n_documents += 1
    return n_documents


def document_end(batch: bytes, offset: int) -> int:
    """Where the document at `offset` of a raw batch ends.

    Raises:
        ValueError: its length cannot be right.
    """
    if len(batch) - offset < SHORTEST_DOCUMENT:
        raise ValueError(f"The batch breaks off inside a document at byte {offset}.")
    length: int = unpack_int32(batch, offset)[0]
    if not SHORTEST_DOCUMENT <= length <= len(batch) - offset:
        raise ValueError(f"The document at byte {offset} of the batch claims an impossible length of {length} bytes.")
    return offset + length


def value_end(document: bytes, kind: int, start: int, last: int) -> int:
    """Where the value of element type `kind` that begins at `start` ends.

    Args:
        last: offset of the NUL that ends the enclosing document; no value reaches beyond it.

    Raises:
        CorruptDocumentError: the type does not exist, or the value does not fit what is there.
    """
    size = FIXED_SIZES.get(kind)
    if size is not None:
        end = start + size
        if end > last:
            raise CorruptDocumentError
        return end
    rule = _LENGTH_RULES.get(kind)
    if rule is not None:
        overhead, shortest, ends_in_nul = rule
        if start + 4 > last:
            raise CorruptDocumentError
        length: int = unpack_int32(document, start)[0]
        end = start + overhead + length
        if length < shortest or end > last or (ends_in_nul and document[end - 1]):
            raise CorruptDocumentError
        return end
    if kind == Kind.REGEX:
        return _text_end(document, _text_end(document, start, last), last)
    if kind == Kind.DB_POINTER:
        end = value_end(document, Kind.STRING, start, last) + FIXED_SIZES[Kind.OBJECT_ID]
        if end > last:
            raise CorruptDocumentError
        return end
    raise CorruptDocumentError


def binary_kind(document: bytes, start: int, end: int) -> Kind:
    """The kind of a binary value by its subtype: only 16 bytes are a UUID, and only a sound vector is one."""
    subtype = document[start + 4]
    if subtype == SUBTYPE_VECTOR:
        return _vector_kind(document, start + 5, end)
    if end - start == 5 + UUID_BYTES:
        if subtype == SUBTYPE_UUID:
            return Kind.UUID
        if subtype == SUBTYPE_UUID_LEGACY:
            return Kind.UUID_LEGACY
    return Kind.BINARY


def _vector_kind(document: bytes, start: int, end: int) -> Kind:
    """The kind of a vector (BSON Binary Subtype 9, Vector): type of its elements, bits to ignore at its end, elements.

    One that breaks the rules is a binary like others.
    """
    size = end - start - VECTOR_HEADER
    if size < 0:
        return Kind.BINARY
    dtype, padding = document[start], document[start + 1]
    if dtype == DTYPE_BITS and padding < 8:
        is_sound = document[end - 1] & (1 << padding) - 1 == 0 if size else not padding
        return Kind.VECTOR_BITS if is_sound else Kind.BINARY
    if padding:
        return Kind.BINARY
    if dtype == DTYPE_INT8:
        return Kind.VECTOR_INT8
    return Kind.VECTOR_FLOAT32 if dtype == DTYPE_FLOAT32 and size % 4 == 0 else Kind.BINARY


def _text_end(document: bytes, start: int, last: int) -> int:
    """Behind the NUL of a text without a length."""
    end = document.find(0, start, last) + 1
    if not end:
        raise CorruptDocumentError
    return end
