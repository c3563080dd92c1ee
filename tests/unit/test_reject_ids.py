"""Rejects are named by their `_id`, whatever else of the document is broken."""

from __future__ import annotations

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS

from engine.ledger.rejects import extended_id
from tests.corpus.case import Case, element, encode, text
from tests.corpus.damage import CORRUPT

IDS = {
    bson.encode({"_id": value}): shown
    for value, shown in (
        (7, '{"$numberInt": "7"}'),
        (Int64(2**60), '{"$numberLong": "1152921504606846976"}'),
        ("a\0b", '"a\\u0000b"'),
        (ObjectId("0123456789abcdef01234567"), '{"$oid": "0123456789abcdef01234567"}'),
        (Decimal128("1.50"), '{"$numberDecimal": "1.50"}'),
        (DatetimeMS(2**62), '{"$date": {"$numberLong": "4611686018427387904"}}'),
        ({"a": [1, {"b": None}]}, '{"a": [{"$numberInt": "1"}, {"b": null}]}'),
        (None, "null"),
        (b"\1\2", '{"$binary": {"base64": "AQI=", "subType": "00"}}'),
    )
}
BROKEN = {
    "string too long": element(2, "v", b"\xff\0\0\0a\0"),
    "no such kind": element(0x44, "v", b"\0" * 20),
    "key without an end": b"\x0avvv",
    "document too long": element(3, "v", b"\xff\1\0\0\0"),
    "cut off": element(0x12, "v", b"\1\2\3"),
    "string of no length": element(2, "v", b"\0\0\0\0"),
    "string without its end": element(2, "v", b"\2\0\0\0ab"),
    "regex without its end": element(0x0B, "v", b"abc"),
    "negative binary": element(5, "v", b"\xff\xff\xff\xff\0"),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_can_be_walked_to_is_the_name(broken: bytes) -> None:
    some = element(2, "a", text(b"x\0\xff")) + element(3, "b", bson.encode({"_id": "inner"}))
    for encoded, shown in IDS.items():
        identifier = encoded[4:-1]
        assert extended_id(framed(identifier + broken)) == shown
        assert extended_id(framed(some + identifier + some + broken)) == shown
        assert extended_id(framed(identifier + some)) == shown
        assert extended_id(framed(some + broken + identifier)) == ""
    assert extended_id(framed(some + broken)) == ""


@pytest.mark.parametrize("case", CORRUPT, ids=lambda case: case.name)
def test_every_corrupt_document_of_the_corpus_has_its_name(case: Case) -> None:
    assert extended_id(encode(case.document)) in ('{"$numberInt": "1"}', '{"$numberInt": "0"}')


def test_of_two_the_last_counts_as_long_as_it_can_be_read() -> None:
    one, two = (bson.encode({"_id": value})[4:-1] for value in (1, 2))
    assert extended_id(framed(one + two + BROKEN["cut off"])) == '{"$numberInt": "2"}'
    assert extended_id(framed(one + BROKEN["cut off"] + two)) == '{"$numberInt": "1"}'


@pytest.mark.parametrize("document", [b"", b"\5\0\0\0\0", b"\0" * 4, b"\x09\0\0\0\x10_id\0"], ids=repr)
def test_what_has_none_is_not_named(document: bytes) -> None:
    assert extended_id(document) == ""


def framed(body: bytes) -> bytes:
    """A document of whatever is between its length and its end."""
    return (len(body) + 5).to_bytes(4, "little") + body + b"\0"
