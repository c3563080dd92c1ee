"""Keys as BSON bytes."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from uuid import UUID

import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp, decode, encode

from engine.mongo.bounds import DISPLAY_LENGTH, NO_ID, display, key_of, same_key

OBJECT_ID = ObjectId("0123456789abcdef01234567")
VALUES = [
    1.5,
    "text with \x00 inside",
    {"nested": {"_id": 1}, "list": [1, {"a": 2}]},
    b"generic",
    Binary(b"x" * 16, 3),
    Binary.from_uuid(UUID(int=7)),
    OBJECT_ID,
    True,
    datetime(2024, 5, 6, tzinfo=UTC),
    None,
    Code("f()"),
    Code("f()", {"scope": 1}),
    7,
    Timestamp(5, 6),
    Int64(7),
    Decimal128("1.50"),
    MinKey(),
    MaxKey(),
]


def raw_key(kind: int, value: bytes) -> bytes:
    element = bytes([kind]) + b"_id\0" + value
    return struct.pack("<i", len(element) + 5) + element + b"\0"


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_key_of_takes_the_id_out_of_a_document_as_it_is(value: object) -> None:
    assert key_of(encode({"_id": value, "other": 1})) == encode({"_id": value})


def test_key_of_finds_the_id_behind_fields_of_every_kind() -> None:
    fields = {f"f{number}": value for number, value in enumerate([*VALUES, Regex("a", "i"), [1, 2]])}
    assert key_of(encode({**fields, "_id": "here"})) == encode({"_id": "here"})


def test_key_of_does_not_take_an_id_inside_another_field() -> None:
    assert key_of(encode({"nested": {"_id": "inner"}, "_id": "outer"})) == encode({"_id": "outer"})


def test_key_of_reads_at_an_offset() -> None:
    batch = encode({"_id": 1}) + encode({"_id": 2, "x": "y"})
    assert key_of(batch, len(encode({"_id": 1}))) == encode({"_id": 2})


def test_a_document_without_an_id_has_a_key_of_its_own() -> None:
    assert key_of(encode({"a": 1, "id": 2})) == NO_ID
    assert display(NO_ID) == "(no _id)"


@pytest.mark.parametrize("length", range(1, len(encode({"a": "bc", "_id": "def"}))))
def test_a_document_that_breaks_off_raises_value_error(length: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message depends on where it breaks
        key_of(encode({"a": "bc", "_id": "def"})[:length])


def test_a_value_that_runs_beyond_its_document_raises_value_error() -> None:
    broken = bytearray(encode({"_id": "abc"}) + encode({"_id": "next"}))
    struct.pack_into("<i", broken, 9, 20)
    with pytest.raises(ValueError):  # noqa: PT011 - raised by the walk, with or without words
        key_of(bytes(broken))


def test_a_name_that_does_not_end_raises_value_error() -> None:
    with pytest.raises(ValueError, match="does not end"):
        key_of(struct.pack("<i", 9) + b"\x0aabcd"[:4] + b"\0")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, Int64(1)),
        (1, 1.0),
        (Int64(2**53), float(2**53)),
        (Decimal128("1.0"), 1),
        (Decimal128("0.5"), 0.5),
        (0.0, -0.0),
        (float("nan"), Decimal128("NaN")),
        (Decimal128("sNaN"), float("nan")),
        (Decimal128("Infinity"), float("inf")),
        ("a", "a"),
    ],
)
def test_numbers_of_equal_value_are_one_key(a: object, b: object) -> None:
    assert same_key(encode({"_id": a}), encode({"_id": b}))


@pytest.mark.parametrize(
    ("a", "b"),
    [(1, 2), (1, "1"), (1, True), (Int64(2**53 + 1), float(2**53)), (0.1, Decimal128("0.1")), (0, None), ("a", "A")],
)
def test_different_values_are_different_keys(a: object, b: object) -> None:
    assert not same_key(encode({"_id": a}), encode({"_id": b}))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (OBJECT_ID, '{"$oid": "0123456789abcdef01234567"}'),
        ("häuser", '"häuser"'),
        (7, "7"),
        ({"a": 1}, '{"a": 1}'),
        (None, "null"),
    ],
)
def test_display_is_extended_json(value: object, text: str) -> None:
    assert display(encode({"_id": value})) == text


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_display_has_words_for_every_kind(value: object) -> None:
    assert display(encode({"_id": value}))


def test_display_does_not_fail_on_what_python_cannot_hold() -> None:
    assert display(encode({"_id": DatetimeMS(2**62)})) == '{"$date": {"$numberLong": "4611686018427387904"}}'
    assert display(raw_key(0x02, struct.pack("<i", 3) + b"\xff\xfe\0")) == '"\ufffd\ufffd"'
    assert display(raw_key(0x0E, struct.pack("<i", 4) + b"sym\0")) == '"sym"'
    assert "abc" in display(raw_key(0x0C, struct.pack("<i", 4) + b"abc\0" + b"x" * 12))


def test_display_is_capped() -> None:
    shown = display(encode({"_id": "x" * 100_000}))
    assert len(shown) == DISPLAY_LENGTH
    assert shown.endswith("…")


def test_the_examples_cover_every_kind_that_an_id_can_have() -> None:
    kinds = {encode({"_id": value})[4] for value in VALUES}
    assert kinds == {1, 2, 3, 5, 7, 8, 9, 10, 13, 15, 16, 17, 18, 19, 0xFF, 0x7F}
    assert decode(key_of(encode({"_id": 1}))) == {"_id": 1}
