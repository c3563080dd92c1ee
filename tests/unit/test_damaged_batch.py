"""What becomes of a batch that is not made of whole documents: one clear sentence, and nothing of it is written."""

from __future__ import annotations

from typing import Any, cast

import bson
import pytest

from engine.convert import make_converter
from engine.errors import MigrationError
from engine.mapping.options import MappingOptions
from engine.mongo.reader import RawBatch
from engine.work.feed import Feed, Reader, Threads
from engine.work.slots import WIDTH, Slot
from engine.work.worker import LeaseOrders
from tests.mappings import proposed


class Batches:
    """A reader that sends these, or raises them."""

    def __init__(self, *batches: bytes | Exception) -> None:
        self._batches = list(batches)

    def next_batch(self) -> RawBatch | None:
        if not self._batches:
            return None
        batch = self._batches.pop(0)
        if isinstance(batch, Exception):
            raise batch
        return RawBatch(batch, 0)

    def close(self) -> None:
        pass


WHOLE = bson.encode({"_id": 1})


@pytest.mark.parametrize(
    "batch", [b"\x05\0\0", b"\xff\xff\xff\xff\0", WHOLE[:-3], ValueError("document at byte 14 has no end")]
)
async def test_a_damaged_batch_is_said_to_be_one(batch: bytes | Exception) -> None:
    threads = Threads()
    converter = make_converter(proposed([WHOLE], MappingOptions()), "plain")
    feed = Feed(cast(Reader, Batches(batch)), converter, Slot(cast(Any, [0] * WIDTH), 0), LeaseOrders(), threads)
    with pytest.raises(MigrationError, match="batch that is not made of whole documents") as caught:
        async for _ in feed.page():
            pass
    assert caught.value.code == "damaged_batch"
    threads.close()
