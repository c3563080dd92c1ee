"""Keys that MongoDB takes for one have one lane, and others are kept apart."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from engine.mongo.bounds import key_of, same_key
from engine.mongo.by_key import DIGESTED, among, equality_class, key_hash, lane_of

numbers = st.one_of(
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(),
    st.integers(-1_000, 1_000).map(float),
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-1_000, max_value=1_000).map(Decimal128),
)
values = st.recursive(
    st.one_of(numbers, st.text(max_size=5), st.booleans(), st.none(), st.binary(max_size=5)),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=4,
)


def key(value: Any) -> bytes:
    return bson.encode({"_id": value})


@given(numbers, numbers)
def test_numbers_are_of_one_class_when_they_are_equal(a: Any, b: Any) -> None:
    assert (equality_class(key(a)) == equality_class(key(b))) is same_key(key(a), key(b))


@pytest.mark.parametrize(
    "equal",
    [
        [1, Int64(1), 1.0, Decimal128("1"), Decimal128("1.00"), Decimal128("10E-1")],
        [0, -0.0, Decimal128("-0"), Decimal128("0E+3")],
        [float("nan"), Decimal128("NaN"), Decimal128("sNaN")],
        [float("inf"), Decimal128("Infinity")],
        [{"a": 1, "b": [2.0]}, {"a": 1.0, "b": [Int64(2)]}],
    ],
)
def test_what_is_equal_is_equal_at_every_depth(equal: list[Any]) -> None:
    assert len({equality_class(key(each)) for each in equal}) == 1
    assert len({lane_of(key(each), 8) for each in equal}) == 1


def test_a_symbol_is_the_string_that_it_holds() -> None:
    text = key("ab")
    symbol = text[:4] + b"\x0e" + text[5:]
    assert equality_class(symbol) == equality_class(text)


def test_what_is_not_equal_is_of_classes_of_its_own() -> None:
    others = [
        1, 2, 0.1, Decimal128("0.1"), "1", "", None, True, {"a": 1}, {"a": 2}, {"b": 1}, {"a": 1, "b": 1}, {"b": 1, "a": 1},
        {"a": {"b": 1}}, {"a": [1]}, b"1", ObjectId(b"1" * 12), float("nan"), float("inf"), float("-inf"), {"a": "1"},
    ]  # fmt: skip
    assert len({equality_class(key(each)) for each in others}) == len(others)


@given(values)
def test_every_key_has_a_class_and_a_hash_that_an_index_can_hold(value: Any) -> None:
    one = key(value)
    assert equality_class(one) == equality_class(bytes(one))
    assert 0 <= lane_of(one, 8) < 8
    assert len(key_hash(one)) <= DIGESTED


def test_two_long_keys_have_two_hashes() -> None:
    assert key_hash(key("a" * 5_000)) != key_hash(key("a" * 4_999 + "b"))


@given(st.lists(values, min_size=1, max_size=5))
def test_keys_travel_in_a_query_as_their_own_bytes(wanted: list[Any]) -> None:
    keys = [key(each) for each in wanted]
    query = bytes(among(keys).raw)
    assert struct.unpack_from("<i", query)[0] == len(query)
    for each in keys:
        assert each[9:-1] in query
    both = bson.decode(bytes(among(keys, bson.encode({"n": {"$gt": 3}})).raw))
    assert both["$and"][1] == {"n": {"$gt": 3}}
    assert len(both["$and"][0]["_id"]["$in"]) == len(wanted)


def test_a_key_out_of_a_document_is_in_the_class_of_the_key_alone() -> None:
    document = bson.encode({"name": "x", "_id": Decimal128(Decimal("5.0"))})
    assert equality_class(key_of(document)) == equality_class(key(5))
