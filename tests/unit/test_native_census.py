"""The native census counts what the plain one counts, whatever the bytes."""

from __future__ import annotations

import random
import struct
from typing import Any

import bson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.convert.census import make_counter
from engine.mapping.census import BOUNDS, Census, CensusBounds
from tests.agreement import census_outcome
from tests.corpus import CASES, encode
from tests.corpus.case import element, inner, text
from tests.documents import DOCUMENTS, RAW_DOCUMENTS

pytest.importorskip("engine.convert.native_census")

CORPUS = [encode(document) for case in CASES for document in (*case.seen, case.document)]


def assert_equal(batch: bytes, flatten: int = 0, bounds: CensusBounds = BOUNDS) -> None:
    """Both count the same, orders included."""
    native = make_counter(flatten, "native", bounds)
    assert not isinstance(native, Census)
    assert census_outcome(native, batch) == census_outcome(Census(flatten, bounds), batch)


@given(documents=st.lists(DOCUMENTS, max_size=5), flatten=st.integers(0, 3))
def test_they_agree_on_documents(documents: list[dict[str, object]], flatten: int) -> None:
    assert_equal(b"".join(bson.encode(document) for document in documents), flatten)


@given(documents=st.lists(RAW_DOCUMENTS, max_size=5), flatten=st.integers(0, 3))
def test_they_agree_on_raw_documents(documents: list[bytes], flatten: int) -> None:
    assert_equal(b"".join(documents), flatten)


@pytest.mark.parametrize("flatten", [0, 1, 2])
def test_they_agree_on_the_corpus(flatten: int) -> None:
    for document in CORPUS:
        assert_equal(document, flatten)
    assert_equal(b"".join(CORPUS), flatten)


@given(seed=st.integers(0, 2**32), n_spoiled=st.integers(1, 6), flatten=st.integers(0, 2))
@example(seed=0, n_spoiled=1, flatten=0)
def test_they_agree_on_spoiled_bytes(seed: int, n_spoiled: int, flatten: int) -> None:
    chance = random.Random(seed)
    batch = bytearray(b"".join(chance.choices(CORPUS, k=3)))
    for _ in range(n_spoiled):
        batch[chance.randrange(len(batch))] = chance.choice([0, 1, 2, 3, 4, 5, 0x0F, 0x7F, 0x80, 0xFF])
    assert_equal(bytes(batch), flatten)
    assert_equal(bytes(batch[: chance.randrange(len(batch))]), flatten)


@given(batch=st.binary(max_size=60), offset=st.integers(0, 70))
def test_they_agree_on_any_bytes(batch: bytes, offset: int) -> None:
    native = make_counter(1, "native")
    assert census_outcome(native, batch, offset) == census_outcome(Census(1), batch, offset)


@given(
    numbers=st.lists(
        st.one_of(
            st.binary(min_size=16, max_size=16),
            st.tuples(st.sampled_from([0, 1, 10, 10**33, 10**34 - 1, 10**34]), st.integers(-3, 40), st.booleans()).map(
                lambda parts: (parts[0] | (parts[1] + 6176) << 113 | parts[2] << 127).to_bytes(16, "little")
            ),
        ),
        min_size=2,
        max_size=6,
    )
)
def test_they_agree_on_decimals(numbers: list[bytes]) -> None:
    assert_equal(b"".join(inner(element(0x13, "v", number)) for number in numbers))


def test_a_census_goes_on_from_batch_to_batch() -> None:
    native, plain = make_counter(1, "native"), Census(1)
    for document in CORPUS:
        for counter in (native, plain):
            counter.add_batch(document)
    assert native.result().to_dict() == plain.to_dict()


def test_fields_beyond_the_bounds_are_only_counted() -> None:
    documents: list[dict[str, Any]] = [{"a": 1, "b" * 10: {"c": 1}, "d": 2}, {"e": 1, "d": 3}]
    batch = b"".join(bson.encode(document) for document in documents)
    for fields, name_bytes in ((2, 100), (3, 100), (100, 10), (100, 11), (100, 12), (1, 0)):
        assert_equal(batch, 1, CensusBounds(fields, name_bytes))


def test_endless_names_take_bounded_memory() -> None:
    native = make_counter(0, "native")
    for first in range(0, 60_000, 2_000):
        native.add_batch(b"".join(bson.encode({f"key{number}": 1}) for number in range(first, first + 2_000)))
    census = native.result()
    assert len(census.fields) == BOUNDS.fields
    assert census.n_untracked == 60_000 - BOUNDS.fields


def test_nesting_without_end_is_corrupt() -> None:
    nested = b""
    for kind in [3, 4] * 150:
        nested = element(kind, "a", inner(nested))
    assert_equal(inner(nested))
    census = make_counter(0, "native")
    census.add_batch(inner(nested))
    assert census.result().n_corrupt == 1


def test_texts_in_nested_values_are_looked_at() -> None:
    code = struct.pack("<i", 14)
    document = inner(
        element(3, "address", inner(element(2, "street", text(b"a\0b")), element(4, b"\xff", inner()))),
        element(4, "tags", inner(element(2, "0", text(b"\xff")), element(4, "1", inner(element(2, "0", text(b"\0")))))),
        element(0x0D, "code", text(b"x\0")),
        element(0x0F, "scoped", code + text(b"") + inner()),
    )
    assert_equal(document)
    fields = make_counter(0, "native")
    fields.add_batch(document)
    census = fields.result()
    address, tags = census.fields["address"], census.fields["tags"]
    assert (address.n_nul, address.n_bad_utf8, address.depth) == (1, 1, 2)
    assert tags.elements is not None
    assert (tags.depth, tags.n_nul, tags.elements.n_nul, tags.elements.n_bad_utf8) == (2, 0, 1, 1)
    assert census.depth == 3
