"""What the census counts."""

from __future__ import annotations

import json
from collections.abc import Mapping

import bson
import pytest
from bson import Binary, Decimal128, Int64
from bson.datetime_ms import DatetimeMS
from hypothesis import given
from hypothesis import strategies as st

from engine.mapping.census import BOUNDS, Census, CensusBounds, FieldCensus
from engine.mapping.model import Kind
from tests.corpus.case import element, inner, text
from tests.documents import RAW_DOCUMENTS


def census_of(*fields: Mapping[str, object], flatten: int = 0, bounds: CensusBounds = BOUNDS) -> Census:
    """A census of these documents."""
    census = Census(flatten, bounds)
    for given_fields in fields:
        census.add(bson.encode(dict(given_fields)))
    return census


def test_presence_and_kinds() -> None:
    census = census_of({"a": 1, "b": None}, {"a": "x"}, {"a": Int64(2), "c": 0.5})
    assert list(census.fields) == ["a", "b", "c"]
    assert census.fields["a"].present == 3
    assert census.fields["a"].kinds == {Kind.INT32: 1, Kind.STRING: 1, Kind.INT64: 1}
    assert census.fields["b"].kinds == {Kind.NULL: 1}
    assert census.fields["b"].kind_set == set()
    assert (census.n_documents, census.n_corrupt) == (3, 0)


def test_longest_string_is_in_characters() -> None:
    assert census_of({"a": "abc"}, {"a": "éé☃☃"}, {"a": ""}).fields["a"].longest == 4


def test_strings_that_postgresql_refuses() -> None:
    census = census_of({"a": "x\0"}, {"a": "\0"}, {"a": "ok"})
    census.add(inner(element(2, "a", text(b"\xff"))))
    assert (census.fields["a"].n_nul, census.fields["a"].n_bad_utf8) == (2, 1)


def test_integer_range() -> None:
    seen = census_of({"a": 5}, {"a": -7}, {"a": Int64(2**53)}).fields["a"]
    assert (seen.low, seen.high, seen.has_inexact_integers) == (-7, 2**53, False)
    assert census_of({"a": Int64(-(2**53) - 1)}).fields["a"].has_inexact_integers


def test_decimal_range_is_exact_and_kept_as_text() -> None:
    texts = [
        "1.50",
        "NaN",
        "-0.1",
        "1.5",
        "-1E-1",
        "9.999999999999999999999999999999999E+6144",
        "-Infinity",
        "-1E-6176",
    ]
    seen = census_of(*({"a": Decimal128(text)} for text in texts)).fields["a"]
    assert (seen.low_decimal, seen.high_decimal) == ("-0.1", "9.999999999999999999999999999999999E+6144")
    seen = census_of({"a": Decimal128("Infinity")}, {"a": Decimal128("-NaN")}).fields["a"]
    assert (seen.low_decimal, seen.high_decimal) == (None, None)


def test_dates_beyond_postgresql() -> None:
    first, last = -210_866_803_200_000, 9_224_318_015_999_999
    dates = [first - 1, first, 0, last, last + 1]
    assert census_of(*({"a": DatetimeMS(ms)} for ms in dates)).fields["a"].n_bad_dates == 2


def test_uuids_are_told_from_other_binaries() -> None:
    values = [Binary(bytes(16), 4), Binary(bytes(16), 3), Binary(bytes(15), 4), b""]
    kinds = census_of(*({"a": value} for value in values)).fields["a"].kinds
    assert kinds == {Kind.UUID: 1, Kind.UUID_LEGACY: 1, Kind.BINARY: 2}


def test_array_elements_are_looked_at_one_level_deep() -> None:
    elements = census_of({"a": [1, "long"]}, {"a": [[2]]}).fields["a"].elements
    assert elements is not None
    assert elements.kinds == {Kind.INT32: 1, Kind.STRING: 1, Kind.ARRAY: 1}
    assert elements.longest == 4


def test_nested_documents_are_looked_into_as_deep_as_asked() -> None:
    given_fields = {"a": {"b": {"c": 1}}}
    assert [path for path, _ in census_of(given_fields).walk()] == [("a",)]
    assert [path for path, _ in census_of(given_fields, flatten=2).walk()] == [("a",), ("a", "b"), ("a", "b", "c")]


def test_id_kinds() -> None:
    assert census_of({"_id": 1}, {"_id": None}).id_kinds == {Kind.INT32, Kind.NULL}
    assert census_of({}).id_kinds == set()


def test_sizes() -> None:
    small, big = bson.encode({}), bson.encode({"a": "x" * 1000})
    census = Census()
    assert census.add_batch(small + big) == 2
    assert (census.n_bytes, census.largest) == (len(small) + len(big), len(big))


def test_a_batch_that_breaks_off_is_refused() -> None:
    with pytest.raises(ValueError, match="at byte 5"):
        Census().add_batch(bson.encode({}) + b"\x99\0\0")


def test_corrupt_documents_are_counted() -> None:
    census = Census()
    census.add(inner(element(8, "a", b"\1"), element(0x44, "b")))
    assert census.n_corrupt == 1
    assert census.fields["a"].present == 1


def test_fields_beyond_the_limit_are_only_counted() -> None:
    census = census_of({"a": 1, "b": 2, "c": 3}, {"c": 4}, bounds=CensusBounds(fields=2))
    assert list(census.fields) == ["a", "b"]
    assert census.n_untracked == 2


def test_merging_obeys_the_limit_too() -> None:
    bounds = CensusBounds(fields=3)
    parts = [census_of({"a": 1, "b": 2}, bounds=bounds), census_of({"c": 3, "a": 1}, {"d": {"e": 4}}, flatten=1)]
    parts[0].merge(parts[1])
    assert {name: seen.present for name, seen in parts[0].fields.items()} == {"a": 2, "b": 1, "c": 1}
    assert parts[0].n_untracked == 1


def test_names_that_are_not_utf8_are_only_counted() -> None:
    census = Census()
    census.add(inner(element(0x0A, b"\xff")))
    assert (census.fields, census.n_untracked) == ({}, 1)


@given(first=st.lists(RAW_DOCUMENTS, max_size=4), second=st.lists(RAW_DOCUMENTS, max_size=4), flatten=st.integers(0, 2))
def test_merged_is_as_if_counted_together_and_survives_sending(
    first: list[bytes], second: list[bytes], flatten: int
) -> None:
    together, parts = Census(flatten), (Census(flatten), Census(flatten))
    for census, documents in zip(parts, (first, second), strict=True):
        for document in documents:
            census.add(document)
            together.add(document)
    received = Census.from_dict(json.loads(json.dumps(parts[1].to_dict())))
    parts[0].merge(received)
    assert parts[0].to_dict() == together.to_dict()


def test_from_dict_is_the_opposite_of_to_dict() -> None:
    census = census_of({"a": [1, None], "b": {"c": "x"}, "d": DatetimeMS(2**62)}, flatten=1)
    again = FieldCensus.from_dict(json.loads(json.dumps(census.root.to_dict())))
    assert again == census.root
