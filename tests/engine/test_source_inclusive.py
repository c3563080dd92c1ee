"""Reading what a committed slice has read: up to and including its last key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymongo.collection import Collection

from engine.mapping.bson import documents
from engine.mongo import connect as mongo
from engine.mongo.bounds import key_of
from engine.mongo.inclusive import InclusiveReader
from engine.mongo.reader import RangeReader
from tests.engine.test_source_ranges import KEYS, insert_raw

if TYPE_CHECKING:
    from tests.conftest import Source

Reader = InclusiveReader | RangeReader


def read(reader: Reader) -> list[bytes]:
    """The keys that a reader delivers."""
    keys = []
    while (batch := reader.next_batch()) is not None:
        keys += [key_of(document) for document in documents(batch.data[batch.offset :])]
    reader.close()
    return keys


def filled(source: Source, keys: list[bytes]) -> Collection[mongo.Document]:
    """A collection of documents with these keys."""
    insert_raw(source.db.things, keys)
    return source.db.things


def test_slices_that_join_cover_every_key_once_whatever_its_kind(source: Source) -> None:
    collection = filled(source, KEYS)
    in_order = read(RangeReader(collection, None, True, None))

    for step in (1, 2, 7):
        ends = in_order[step - 1 :: step]
        lower, found = None, []
        for last in ends:
            found += read(InclusiveReader(collection, lower, lower is None, last))
            assert found[-1] == last
            lower = last
        found += read(RangeReader(collection, lower, False, None))
        assert found == in_order


def test_a_range_of_one_key_has_its_document(source: Source) -> None:
    collection = filled(source, KEYS)

    for key in KEYS:
        assert read(InclusiveReader(collection, key, True, key)) == [key]


def test_a_last_document_that_was_deleted_is_missing_and_the_next_is_left_alone(source: Source) -> None:
    source.db.numbers.insert_many([{"_id": number, "pad": "x" * 100} for number in range(10)])
    in_order = read(RangeReader(source.db.numbers, None, True, None))
    source.db.numbers.delete_one({"_id": 4})

    first = read(InclusiveReader(source.db.numbers, None, True, in_order[4]))
    second = read(InclusiveReader(source.db.numbers, in_order[4], False, in_order[9]))

    assert (first, second) == (in_order[:4], in_order[5:])


def test_a_query_and_a_projection_hold_for_the_last_document_too(source: Source) -> None:
    source.db.numbers.insert_many([{"_id": number, "even": number % 2 == 0, "pad": "x"} for number in range(10)])
    in_order = read(RangeReader(source.db.numbers, None, True, None))

    even = read(InclusiveReader(source.db.numbers, None, True, in_order[8], query={"even": True}))
    odd = read(InclusiveReader(source.db.numbers, None, True, in_order[8], query={"even": False}))
    reader = InclusiveReader(source.db.numbers, in_order[3], False, in_order[4], projection={"_id": 1})
    batch = reader.next_batch()
    reader.close()

    assert (even, odd) == (in_order[0:9:2], in_order[1:8:2])
    assert batch is not None
    assert batch.data[batch.offset :] == in_order[4]
