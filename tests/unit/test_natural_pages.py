"""Where pages end in natural order: with a batch where they can, since within one the server has to be asked for the place."""

from __future__ import annotations

from typing import Any, cast

import bson
import pytest

from engine.convert import make_converter
from engine.mapping.options import MappingOptions
from engine.mongo.bounds import with_record
from engine.mongo.reader import RawBatch
from engine.work.feed import Feed, Reader, Threads
from engine.work.slots import WIDTH, Slot
from engine.work.worker import LeaseOrders
from tests.mappings import proposed

IN_BATCH = 10
N_BATCHES = 6


class Batches:
    """A reader that sends batches of `IN_BATCH` documents, numbered from 0 on."""

    def __init__(self) -> None:
        self._number = 0

    def next_batch(self) -> RawBatch | None:
        if self._number == N_BATCHES:
            return None
        first = self._number * IN_BATCH
        self._number += 1
        data = b"".join(bson.encode({"_id": number}) for number in range(first, first + IN_BATCH))
        return RawBatch(data, 0, first + IN_BATCH - 1)

    def close(self) -> None:
        pass


async def pages(page_size: int, *, is_natural: bool) -> tuple[list[int], list[bytes]]:
    """How many documents each page has, and of which keys it was asked where they lie."""
    threads, asked = Threads(), list[bytes]()
    converter = make_converter(proposed([bson.encode({"_id": 1})], MappingOptions()), "plain")
    orders = LeaseOrders()
    orders.page_size = page_size

    def find_bound(key: bytes, last_record: int) -> bytes:
        asked.append(key)
        return with_record(key, bson.decode(key)["_id"])

    feed = Feed(
        cast(Reader, Batches()),
        converter,
        Slot(cast(Any, [0] * WIDTH), 0),
        orders,
        threads,
        find_bound if is_natural else None,
    )
    sizes = []
    while not feed.at_end:
        n_documents = 0
        async for piece in feed.page():
            n_documents += piece.rows.n_read
        sizes.append(n_documents)
        if is_natural:
            assert await feed.bound() == with_record(bson.encode({"_id": sum(sizes) - 1}), sum(sizes) - 1), (
                "it is that of the last document"
            )
    threads.close()
    return [size for size in sizes if size], asked


@pytest.mark.parametrize(
    ("page_size", "in_natural_order", "by_id"),
    [(25, [20, 20, 20], [25, 25, 10]), (20, [20, 20, 20], [20, 20, 20]), (45, [40, 20], [45, 15])],
)
async def test_pages_of_some_batches_end_with_a_batch(
    page_size: int, in_natural_order: list[int], by_id: list[int]
) -> None:
    assert await pages(page_size, is_natural=True) == (in_natural_order, [])
    assert await pages(page_size, is_natural=False) == (by_id, [])


async def test_pages_smaller_than_a_batch_end_within_it() -> None:
    sizes, asked = await pages(4, is_natural=True)
    assert sizes == [4] * 15
    assert [bson.decode(key)["_id"] for key in asked[:5]] == [3, 7, 11, 15, 23]
