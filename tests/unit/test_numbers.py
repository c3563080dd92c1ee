"""The independent reading of numbers: it passes whatever the converters write, and notices every number that is another."""

from __future__ import annotations

import struct
from importlib.util import find_spec
from typing import Any

import bson
import pytest
from bson import Code, Decimal128, Int64, Timestamp
from hypothesis import given
from hypothesis import strategies as st

from engine.convert import built_converters, make_converter
from engine.convert.numbers import EXPONENT, NEGATIVE_ZERO, WHICH_NAN, NumberReader, WrongNumber
from engine.errors import UsageError
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.options import MappingOptions
from tests.corpus import CASES, Case, encode
from tests.corpus.case import element, inner
from tests.documents import DOCUMENTS, OPTIONS, RAW_DOCUMENTS, SCALARS
from tests.mappings import any_mappings, proposed

IS_BUILT = find_spec("engine.convert.native_numbers") is not None
WAYS = [False, True] if IS_BUILT else [False]
PAGES = st.lists(RAW_DOCUMENTS, min_size=1, max_size=4)
NUMBERS = frozenset({Kind.INT32, Kind.INT64, Kind.DOUBLE, Kind.DECIMAL128})


def looked_at(mapping: Mapping, documents: bytes, written: bytes, *, native: bool) -> tuple[list[WrongNumber], Any]:
    """What is wrong with rows of some documents that should be rows of others, and what was compared by value."""
    converted = make_converter(mapping, "plain").convert(written, 0, 1000)
    reader = NumberReader(mapping, native=native)
    if len(documents) != len(written) or converted.rejects:
        return [], None
    return reader.check(documents, converted), reader.less_strict


def assert_passes(mapping: Mapping, batch: bytes) -> None:
    found = []
    for native in WAYS:
        for name in built_converters():
            converted = make_converter(mapping, name).convert(batch, 0, 1000)
            reader = NumberReader(mapping, native=native)
            assert reader.check(batch, converted) == []
            found.append(reader.less_strict)
    assert all(each == found[0] for each in found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_edge_passes(case: Case) -> None:
    assert_passes(case.mapping(), encode(case.document))


@given(page=PAGES, seen=PAGES, options=OPTIONS)
def test_raw_documents_pass(page: list[bytes], seen: list[bytes], options: MappingOptions) -> None:
    assert_passes(proposed(seen, options), b"".join(page))


@given(page=st.lists(DOCUMENTS, min_size=1, max_size=4), options=OPTIONS)
def test_what_pymongo_writes_passes(page: list[dict[str, object]], options: MappingOptions) -> None:
    raw = [bson.encode({"_id": number, **document}) for number, document in enumerate(page)]
    assert_passes(proposed(raw, options), b"".join(raw))


@given(key=st.one_of(SCALARS, DOCUMENTS), options=OPTIONS)
def test_keys_pass(key: object, options: MappingOptions) -> None:
    raw = bson.encode({"_id": key})
    assert_passes(proposed([raw], options), raw)


def mapping_of(column_type: ColumnType, *, array: bool = False, **options: Any) -> Mapping:
    """`_id`, one field, and `_extra`."""
    return Mapping(
        columns=(
            Column(name="_id", type=ColumnType.BIGINT, role=Role.ID, path=("_id",), kinds=frozenset({Kind.INT32})),
            Column(name="v", type=column_type, path=("v",), kinds=NUMBERS, array=array),
            Column(name="_extra", type=ColumnType.JSONB, role=Role.EXTRA),
        ),
        options=MappingOptions(**options),
    )


MAPPINGS = {
    "jsonb": mapping_of(ColumnType.JSONB),
    "json": mapping_of(ColumnType.JSON),
    "extended": mapping_of(ColumnType.JSONB, json_values="extended"),
    "numeric": mapping_of(ColumnType.NUMERIC),
    "numeric[]": mapping_of(ColumnType.NUMERIC, array=True),
    "double": mapping_of(ColumnType.DOUBLE),
    "bigint": mapping_of(ColumnType.BIGINT),
    "text": mapping_of(ColumnType.TEXT),
    "integer": mapping_of(ColumnType.INTEGER),
    "double[]": mapping_of(ColumnType.DOUBLE, array=True),
}
OTHER_NUMBERS: list[tuple[Any, Any]] = [
    (1, 2),
    (Int64(2**60), Int64(2**60 + 1)),
    (Int64(-(2**63)), Int64(2**63 - 1)),
    (2.0**60, 1152921504606847000.0 + 256),
    (0.1, 0.1 + 2**-56),
    (5.0, 5.0 + 2**-50),
    (5.0, -5.0),
    (2.0**52 + 1, 2.0**52 + 2),
    (1e308, 1.0000000000000001e308 * 1.0000000000000002),
    (1.0, float("nan")),
    (float("inf"), float("-inf")),
    (float("nan"), float("inf")),
    (5e-324, 1e-323),
    (Decimal128("1.5"), Decimal128("1.50")),
    (Decimal128("1.5"), Decimal128("1.4")),
    (Decimal128("1E-6176"), Decimal128("0E-6176")),
    (Decimal128("NaN"), Decimal128("1")),
    (Decimal128("-1"), Decimal128("1")),
    (Decimal128("1" * 34), Decimal128("1" * 33 + "2")),
]


@pytest.mark.parametrize("native", WAYS)
@pytest.mark.parametrize("name", MAPPINGS)
@pytest.mark.parametrize(("given_one", "written"), OTHER_NUMBERS, ids=str)
def test_another_number_is_noticed(name: str, given_one: Any, written: Any, native: bool) -> None:
    for wrap in (lambda value: value, lambda value: [value], lambda value: {"a": {"b": [0, value]}, "c": "x"}):
        expected, other = (bson.encode({"_id": 1, "v": wrap(value)}) for value in (given_one, written))
        wrong, _ = looked_at(MAPPINGS[name], expected, other, native=native)
        assert [each.row for each in wrong] == [0], name
        assert wrong[0].column in ("v", "_extra")
        assert wrong[0].field.startswith("v")


LESS_STRICT: list[tuple[Any, str, tuple[str, ...]]] = [
    (-0.0, NEGATIVE_ZERO, ("jsonb", "numeric")),
    (Decimal128("-0.0"), NEGATIVE_ZERO, ("jsonb", "numeric")),
    (Decimal128("1E+3"), EXPONENT, ("jsonb", "numeric")),
    (Decimal128("0E+3"), EXPONENT, ("jsonb", "numeric")),
    (struct.unpack("<d", struct.pack("<Q", 0xFFF8_0000_0000_0001))[0], WHICH_NAN, ("jsonb", "json", "numeric", "text")),
    (Decimal128("-NaN"), WHICH_NAN, ("jsonb", "json", "numeric", "text")),
    (Decimal128("1.50"), "", ()),
    (2.0**60, "", ()),
    (-1.0, "", ()),
]


@pytest.mark.parametrize("native", WAYS)
@pytest.mark.parametrize(("value", "reason", "names"), LESS_STRICT, ids=str)
def test_what_postgresql_cannot_hold_is_counted_by_field(
    value: Any, reason: str, names: tuple[str, ...], native: bool
) -> None:
    for name in ("jsonb", "json", "numeric", "text"):
        raw = bson.encode({"_id": 1, "v": value})
        wrong, less_strict = looked_at(MAPPINGS[name], raw, raw, native=native)
        assert wrong == []
        assert dict(less_strict) == ({("v", "v", reason): 1} if name in names else {})
    raw = bson.encode({"_id": 1, "v": {"a": [{"b": value}]}})
    _, less_strict = looked_at(MAPPINGS["jsonb"], raw, raw, native=native)
    assert dict(less_strict) == ({("v", "v.a.[].b", reason): 1} if "jsonb" in names else {})


@given(
    page=PAGES,
    mapping=st.one_of(any_mappings(), st.sampled_from(list(MAPPINGS.values()))),
    data=st.data(),
)
@pytest.mark.skipif(not IS_BUILT, reason="there is no C compiler to build the native part with")
def test_both_parts_find_the_same(page: list[bytes], mapping: Mapping, data: st.DataObject) -> None:
    batch = b"".join(page)
    try:
        converted = make_converter(mapping, "plain").convert(batch, 0, 1000)
    except (UsageError, ValueError):
        return  # the mapping contradicts itself
    altered = bytearray(converted.copy)
    for _ in range(data.draw(st.integers(0, 2))):
        # Digits for digits: rows stay whole.
        at = data.draw(st.integers(0, max(len(altered) - 1, 0)))
        if altered and chr(altered[at]).isdigit():
            altered[at] = ord("0") + data.draw(st.integers(0, 9))
    converted.copy = altered
    assert NumberReader(mapping).check(batch, converted) == NumberReader(mapping, native=False).check(batch, converted)


@pytest.mark.parametrize("native", WAYS)
@pytest.mark.parametrize("options", [{}, {"layout": "document"}, {"documents": "json"}, {"flatten": 2}])
def test_numbers_are_noticed_wherever_they_are(options: dict[str, Any], native: bool) -> None:
    def document(number: int) -> dict[str, Any]:
        return {
            "_id": 1,
            "a": {"b": {"c": number, "d": [[number]]}},
            "t": Timestamp(number, 7),
            "s": Code("f()", {"x": Int64(number)}),
            "late": number,
        }

    seen = bson.encode({key: value for key, value in document(1).items() if key != "late"})
    mapping = proposed([seen], MappingOptions(**options))
    wrong, _ = looked_at(mapping, bson.encode(document(70)), bson.encode(document(71)), native=native)
    assert sorted(each.field for each in wrong) == ["a.b.c", "a.b.d.[].[]", "late", "s.x", "t"]


@pytest.mark.parametrize("native", WAYS)
def test_the_last_value_of_a_key_that_comes_twice_counts(native: bool) -> None:
    def document(first: int, last: int) -> bytes:
        return inner(*(element(0x10, key, struct.pack("<i", n)) for key, n in (("_id", 1), ("v", first), ("v", last))))

    for name in ("jsonb", "numeric", "bigint"):
        assert looked_at(MAPPINGS[name], document(1, 2), document(3, 2), native=native) == ([], {})
        (wrong,), _ = looked_at(MAPPINGS[name], document(2, 1), document(2, 3), native=native)
        assert (wrong.expected, wrong.found) == ("1", "3")
