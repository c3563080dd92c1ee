"""What holds for the plain converter whatever the documents: nothing lost, nothing crashes, pages can be cut anywhere."""

from __future__ import annotations

import struct
import zlib
from decimal import Decimal

import bson
import pytest
from bson import Decimal128
from bson.decimal128 import create_decimal128_context
from hypothesis import given
from hypothesis import strategies as st

from engine.convert import Preference, built_converters, make_converter
from engine.mapping.bson import documents
from engine.mapping.census import Census
from engine.mapping.model import Column, Kind, Mapping, Role
from engine.mapping.options import MappingOptions
from engine.mapping.proposal import propose
from engine.rows import Converted
from tests.documents import OPTIONS, RAW_DOCUMENTS

PAGES = st.lists(RAW_DOCUMENTS, max_size=6)


def mapping_from(seen: list[bytes], options: MappingOptions) -> Mapping:
    """The mapping that a census of these documents leads to."""
    census = Census(options.flatten)
    for document in seen:
        census.add(document)
    return propose(census, census.id_kinds, options).mapping


def tuples(converted: Converted) -> list[list[bytes | None]]:
    """COPY's tuples taken apart by their own lengths."""
    found, start = [], 0
    data = bytes(converted.copy)
    for end in converted.row_ends:
        (n_fields,) = struct.unpack_from(">h", data, start)
        start += 2
        fields: list[bytes | None] = []
        for _ in range(n_fields):
            (length,) = struct.unpack_from(">i", data, start)
            start += 4
            fields.append(None if length < 0 else data[start : start + length])
            start += max(length, 0)
        assert start == end
        found.append(fields)
    assert start == len(data)
    return found


@given(page=PAGES, seen=PAGES, options=OPTIONS)
def test_every_document_is_a_row_or_a_reject(page: list[bytes], seen: list[bytes], options: MappingOptions) -> None:
    mapping = mapping_from(seen, options)
    batch = b"".join(page)
    converted = make_converter(mapping, "plain").convert(batch, 0, len(page))
    assert converted.n_read == len(page)
    assert converted.end == len(batch)
    offsets = [sum(map(len, page[:index])) for index in range(len(page))]
    assert sorted([*converted.row_documents, *(reject.offset for reject in converted.rejects)]) == offsets
    assert converted.checksum == sum(map(zlib.crc32, page)) % 2**64
    assert all(len(fields) == len(mapping.columns) for fields in tuples(converted))


@given(page=PAGES, seen=PAGES, options=OPTIONS, limit=st.integers(1, 3))
def test_a_page_in_pieces_is_the_same_as_whole(
    page: list[bytes], seen: list[bytes], options: MappingOptions, limit: int
) -> None:
    mapping = mapping_from(seen, options)
    batch = b"".join(page)
    whole = make_converter(mapping, "plain").convert(batch, 0, len(page))
    converter = make_converter(mapping, "plain")
    offset, rows, checksum, rejects, hits = 0, b"", 0, [], dict.fromkeys(whole.policy_hits, 0)
    while offset < len(batch):
        piece = converter.convert(batch, offset, limit)
        assert piece.n_read <= limit
        assert offset <= piece.last < piece.end
        offset, checksum = piece.end, checksum + piece.checksum
        rows += bytes(piece.copy)
        rejects += piece.rejects
        for name, count in piece.policy_hits.items():
            hits[name] += count
    assert (rows, checksum % 2**64, rejects, hits) == (
        bytes(whole.copy),
        whole.checksum,
        whole.rejects,
        whole.policy_hits,
    )


@given(page=st.lists(RAW_DOCUMENTS, min_size=1, max_size=3), options=OPTIONS, data=st.data())
def test_damaged_documents_never_crash_and_never_touch_their_neighbours(
    page: list[bytes], options: MappingOptions, data: st.DataObject
) -> None:
    mapping = mapping_from(page, options)
    index = data.draw(st.integers(0, len(page) - 1))
    damaged = bytearray(page[index])
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(4, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    around = make_converter(mapping, "plain").convert(b"".join([*page[:index], *page[index + 1 :]]), 0, len(page))
    alone = make_converter(mapping, "plain").convert(bytes(damaged), 0, 1)
    together = make_converter(mapping, "plain").convert(
        b"".join([*page[:index], damaged, *page[index + 1 :]]), 0, len(page)
    )
    assert sorted(map(str, tuples(together))) == sorted(map(str, tuples(around) + tuples(alone)))
    assert sorted(reject.reason for reject in together.rejects) == sorted(
        reject.reason for reject in around.rejects + alone.rejects
    )


@given(batch=st.binary(max_size=60))
def test_any_bytes_give_a_result_or_a_value_error(batch: bytes) -> None:
    converter = make_converter(mapping_from([], MappingOptions()), "plain")
    try:
        parts = list(documents(batch))
    except ValueError:
        with pytest.raises(ValueError, match="byte"):
            converter.convert(batch, 0, 100)
    else:
        assert converter.convert(batch, 0, 100).n_read == len(parts)


def test_an_empty_page_is_nothing() -> None:
    converted = make_converter(mapping_from([], MappingOptions()), "plain").convert(b"", 0, 10)
    assert (converted.n_read, converted.end, bytes(converted.copy), list(converted.row_ends)) == (0, 0, b"", [])


WHOLE_DOUBLES = st.one_of(
    st.integers(-(2**1024) + 2**971, 2**1024 - 2**971).map(float),
    st.integers(-(2**70), 2**70).map(float),
    st.builds(lambda digits, zeros: float(digits * 10**zeros), st.integers(1, 10**17), st.integers(0, 25)),
)


@pytest.mark.parametrize("converter", built_converters())
@given(number=WHOLE_DOUBLES)
def test_a_whole_double_is_exactly_its_value_wherever_it_has_digits(number: float, converter: Preference) -> None:
    kinds = frozenset({Kind.DOUBLE})
    columns = [
        Column(name="_id", type="json", role=Role.ID, path=("_id",)),
        Column(name="array", type="json", path=("array",)),
        Column(name="text", type="text", path=("text",), kinds=kinds),
        Column(name="numeric", type="numeric", path=("numeric",), kinds=kinds),
        Column(name="whole", type="numeric", path=("whole",), kinds=frozenset({Kind.DECIMAL128})),
        Column(name="_extra", type="json", role=Role.EXTRA),
    ]
    exact = Decimal128(create_decimal128_context().create_decimal(Decimal(number))) if abs(number) < 10**34 else None
    document = {"_id": number, "array": [number], "text": number, "numeric": number, "whole": exact, "unknown": number}
    converted = make_converter(Mapping(columns=tuple(columns)), converter).convert(bson.encode(document), 0, 1)
    (row,) = tuples(converted)
    key, in_array, text, numeric, whole, extra = (field or b"" for field in row)
    for spelled in (key, in_array[1:-1], text, extra.removeprefix(b'{"unknown":')[:-1]):
        assert float(spelled) == number
        assert Decimal(spelled.decode()) == Decimal(number)
    if exact is not None:
        # Words of the header apart from the digits behind the point, and the digits: the same as of the Decimal128.
        assert (numeric[:6], numeric[8:]) == (whole[:6], whole[8:])
