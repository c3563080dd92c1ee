"""Random documents: of every kind that pymongo can write, and raw ones beyond what it would."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any

import bson
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from hypothesis import strategies as st

from engine.mapping.options import MappingOptions
from tests.corpus.case import element, inner, text

INT64 = st.integers(-(2**63), 2**63 - 1)
_USUAL_KEYS = ["a", "b", "c", "d.e", "", "$f", "Ünï", 'q"\n']
_ODD_KEYS = [
    "A",
    "aB",
    "a_b",
    "select",
    "user",
    "ctid",
    "doc",
    "_extra",
    "_missing",
    "long " * 20 + "1",
    "long " * 20 + "2",
    "ü" * 40,
]
"""Spelled alike but for their case, reserved by SQL or taken by this tool, and longer than 63 bytes."""
KEYS = st.sampled_from(_USUAL_KEYS + _USUAL_KEYS + _ODD_KEYS)

_ANY_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_TEXTS = st.one_of(_ANY_TEXTS, _ANY_TEXTS, _ANY_TEXTS, st.sampled_from(["a\0b", "\0"]))
_DECIMALS = st.one_of(
    st.builds(
        lambda sign, digits, exponent: Decimal128(Decimal((sign, tuple(map(int, str(digits))), exponent))),
        st.integers(0, 1),
        st.integers(0, 10**34 - 1),
        st.one_of(st.integers(-40, 20), st.integers(-6176, 6111)),
    ),
    st.sampled_from([Decimal128("NaN"), Decimal128("Infinity"), Decimal128("-Infinity")]),
)
_BINARIES = st.builds(
    Binary,
    st.one_of(st.binary(max_size=20), st.binary(min_size=16, max_size=16)),
    st.sampled_from([0, 2, 3, 4, 5, 9, 128]),
)
_VECTORS = st.builds(
    lambda header, content: Binary(header + content, 9),
    st.sampled_from([b"\x27\0", b"\x03\0", b"\x10\0", b"\x10\3", b"\x10\7"]),
    st.one_of(st.binary(max_size=9), st.lists(st.binary(min_size=4, max_size=4), max_size=3).map(b"".join)),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    INT64.map(Int64),
    st.floats(),
    _TEXTS,
    _DECIMALS,
    st.one_of(INT64, st.integers(-(10**14), 10**14)).map(DatetimeMS),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    _BINARIES,
    _VECTORS,
    st.builds(
        Regex, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5), st.just("im")
    ),
    st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    _TEXTS.map(Code),
    st.builds(Code, _TEXTS, st.dictionaries(KEYS, st.one_of(st.booleans(), INT64.map(Int64), _TEXTS), max_size=2)),
    st.just(MinKey()),
    st.just(MaxKey()),
)
VALUES = st.recursive(
    SCALARS,
    lambda inside: st.one_of(st.lists(inside, max_size=3), st.dictionaries(KEYS, inside, max_size=3)),
    max_leaves=6,
)
DOCUMENTS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(KEYS, VALUES, max_size=5)
"""Without an `_id`."""

OPTIONS = st.builds(
    MappingOptions,
    objectid=st.sampled_from(["text", "bytea"]),
    uuid_legacy=st.sampled_from(["", "python", "java", "csharp"]),
    flatten=st.integers(0, 2),
    arrays=st.sampled_from(["jsonb", "native"]),
    missing=st.sampled_from(["null", "track"]),
    json_values=st.sampled_from(["plain", "extended"]),
    documents=st.sampled_from(["jsonb", "json"]),
    layout=st.sampled_from(["columns", "columns", "document"]),
    nul=st.sampled_from(["reject", "strip", "replace"]),
    date_range=st.sampled_from(["reject", "null", "clamp", "infinity"]),
    utf8=st.sampled_from(["reject", "replace"]),
    overflow=st.sampled_from(["overflow", "overflow", "reject"]),
)

_RAW_KEYS = st.sampled_from([b"a", b"b", b"c", b"", b"\xff", b"_id"])
_RAW_TEXTS = st.binary(max_size=6).map(text)
_FIXED = [
    (0x01, 8),
    (0x06, 0),
    (0x07, 12),
    (0x09, 8),
    (0x0A, 0),
    (0x10, 4),
    (0x11, 8),
    (0x12, 8),
    (0x13, 16),
    (0x7F, 0),
    (0xFF, 0),
]


def _raw_scalars() -> st.SearchStrategy[bytes]:
    """Raw elements that hold no others."""
    payloads: list[tuple[int, st.SearchStrategy[bytes]]] = [
        *((kind, st.binary(min_size=size, max_size=size)) for kind, size in _FIXED),
        *((kind, _RAW_TEXTS) for kind in (0x02, 0x0D, 0x0E)),
        (0x05, st.builds(_raw_binary, st.sampled_from([0, 2, 3, 4, 9]), st.binary(max_size=17))),
        (0x05, _VECTORS.map(lambda vector: _raw_binary(9, bytes(vector)))),
        (0x08, st.sampled_from([b"\0", b"\1", b"\2"])),
        (0x0B, st.sampled_from([b"a\0i\0", b"\xff\0\0", b"\0\0"])),
        (0x0C, _RAW_TEXTS.map(lambda name: name + bytes(12))),
    ]
    return st.one_of([st.builds(element, st.just(kind), _RAW_KEYS, payload) for kind, payload in payloads])


def _raw_containers(inside: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Raw elements that hold such as `inside`."""
    contents = st.lists(inside, max_size=4).map(lambda parts: inner(*parts))
    return st.one_of(
        st.builds(element, st.sampled_from([0x03, 0x04]), _RAW_KEYS, contents),
        st.builds(element, st.just(0x0F), _RAW_KEYS, st.builds(_raw_code, _RAW_TEXTS, contents)),
    )


def _raw_binary(subtype: int, payload: bytes) -> bytes:
    return struct.pack("<iB", len(payload), subtype) + payload


def _raw_code(code: bytes, scope: bytes) -> bytes:
    content = code + scope
    return struct.pack("<i", len(content) + 4) + content


_RAW_ELEMENTS = st.recursive(_raw_scalars(), _raw_containers, max_leaves=8)
RAW_DOCUMENTS = st.lists(_RAW_ELEMENTS, max_size=5).map(lambda parts: inner(*parts))
"""Documents whose frame is right, with any bytes in strings, keys that come twice, bools of 2, with or without `_id`."""

MIXED_DOCUMENTS = st.builds(
    lambda fields, parts: inner(bson.encode(fields)[4:-1], *parts), DOCUMENTS, st.lists(_RAW_ELEMENTS, max_size=3)
)
"""What pymongo writes, and behind it what it would not."""
