"""Cuts at records, and how far documents lie in the order of their ids."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from bson import encode
from hypothesis import given
from hypothesis import strategies as st

from engine.mongo.bounds import record_of, with_record
from engine.mongo.partition import cut_places, fine_parts
from engine.mongo.reader import Range
from engine.mongo.record_cuts import cuts, rank_correlation, split


def bound(record: int) -> bytes:
    return with_record(encode({"_id": record}), record)


def test_the_correlation_of_orders() -> None:
    assert rank_correlation(range(50)) == 1
    assert rank_correlation(range(49, -1, -1)) == pytest.approx(-1)
    shuffled = list(range(60))
    random.Random(7).shuffle(shuffled)
    assert abs(rank_correlation(shuffled)) < 0.5
    nearly = list(range(60))
    nearly[10], nearly[12] = nearly[12], nearly[10]
    assert rank_correlation(nearly) > 0.99


def test_the_last_parts_of_a_large_collection_are_smaller() -> None:
    assert cut_places(80, 10) == [8, 16, 24, 32, 40, 48, 56, 64, 72]
    assert cut_places(80, 10, 2) == [8, 16, 24, 32, 40, 48, 56, 64, 66, 68, 70, 72, 74, 76, 78]
    assert cut_places(10, 10, 2) == list(range(1, 10)), "no more than there are to cut at"
    assert (fine_parts(9, 2), fine_parts(8, 2), fine_parts(1, 1)) == (2, 0, 0)


@given(st.sets(st.integers(1, 500), max_size=60), st.integers(1, 20))
def test_cuts_are_some_of_the_bounds_in_their_order(records: set[int], parts: int) -> None:
    bounds = [bound(record) for record in sorted(records)]
    found = cuts(bounds, parts)
    assert len(found) < parts
    assert set(found) <= set(bounds)
    assert all(record_of(a) < record_of(b) for a, b in pairwise(found))


@given(st.sets(st.integers(1, 100), max_size=30), st.integers(1, 10), st.data())
def test_the_parts_of_a_range_are_the_range(records: set[int], parts: int, data: st.DataObject) -> None:
    ends = data.draw(st.lists(st.integers(0, 101), min_size=2, max_size=2, unique=True).map(sorted))
    span = Range(
        bound(ends[0]) if data.draw(st.booleans()) else None, bound(ends[1]) if data.draw(st.booleans()) else None
    )
    found = split(span, [bound(record) for record in records], parts)
    assert 1 <= len(found) <= parts
    assert (found[0].lower, found[-1].upper) == (span.lower, span.upper)
    assert all(a.upper == b.lower is not None for a, b in pairwise(found))
    inner = [record_of(part.lower) for part in found[1:] if part.lower is not None]
    assert inner == sorted(set(inner))
    assert all((span.lower is None or ends[0] < each) and (span.upper is None or each < ends[1]) for each in inner)
