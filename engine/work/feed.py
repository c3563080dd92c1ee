"""From a range of a collection to pieces of COPY data: reading and converting beside what is being sent.

::

    reading thread      batch n+1 ...............    batch n+2 ....
    converting thread   piece n ..                   piece n+1 ..
    on its way          piece n-1 ..........         piece n ..........

One batch is read ahead. While a piece is converted, what PostgreSQL has not taken of the one before waits in the socket, which
holds about as much. So memory stays bounded whatever the servers do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

from engine.convert.interface import Converter
from engine.errors import MigrationError
from engine.mongo.bounds import key_of, with_record
from engine.mongo.reader import RawBatch
from engine.rows import Piece
from engine.work.slots import Field, Slot

PAGE_BYTES = 16 * 1024 * 1024
"""A page ends at the first piece's end from here on, whatever its size in documents."""
THROTTLED_PAGE_S = 0.5
"""Under a throttle a page ends after what may pass in so long, for no transaction may stay open until a large page is full."""
THROTTLED_PIECE_S = 0.2
"""Under a throttle, pieces are as small as what may pass in so long: the screen shows a steady rate."""


class Reader(Protocol):
    """Where documents come from; used by one thread at a time."""

    def next_batch(self) -> RawBatch | None:
        """The next documents, at least one; None at the end. Blocks."""
        ...

    def close(self) -> None:
        """Close what is open on the server."""
        ...


class Pace(Protocol):
    """What the engine wants of the work in hand; it may change at any time."""

    page_size: int
    rows_per_s: float
    is_yielding: bool


class Feed:
    """A partition, or the rest of one, as pages of pieces."""

    def __init__(
        self,
        reader: Reader,
        converter: Converter,
        slot: Slot,
        pace: Pace,
        threads: Threads,
        find_bound: Callable[[bytes, int], bytes | None] | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            find_bound: in natural order, where the document of a key lies that was in a batch up to some record; it blocks.
        """
        self._reader = reader
        self._find_bound = find_bound
        self._converter = converter
        self._slot = slot
        self._pace = pace
        self._threads = threads
        self._batch: RawBatch | None = None
        self._offset = 0
        self._next: Future[RawBatch | None] | None = None
        self.at_end = False
        """The range is read to its end, and every document of it was in a piece."""
        self._last_key: bytes | None = None
        """`_id` of the last document in a piece, `{"_id": value}` as BSON."""
        self._last_record: int | None = None
        """Record id of its batch's last document, in natural order."""
        self._is_batch_end = False
        """It was that document."""

    async def page(self, *, may_end_early: bool = True) -> AsyncIterator[Piece]:
        """The pieces of one page: up to the page size in documents, or `PAGE_BYTES`; or, when the engine wants the lease
        back, up to the end of the batch in hand (not with `may_end_early=False`)."""
        room, n_bytes, n_of_batch = self._pace.page_size, 0, 0
        if self._pace.rows_per_s > 0:
            room = min(room, max(1, round(self._pace.rows_per_s * THROTTLED_PAGE_S)))
        while room > 0 and n_bytes < PAGE_BYTES:
            if self._batch is None and not await self._read():
                return
            batch = self._batch
            assert batch is not None
            piece = await self._convert(batch, await self._threads.throttle.admit(room, self._pace, self._slot))
            self._threads.throttle.charge(piece.rows.n_read, self._pace)
            room -= piece.rows.n_read
            n_bytes += piece.rows.end - piece.begin
            n_of_batch += piece.rows.n_read
            is_batch_end = self._batch is None
            yield piece
            self._slot[Field.PROGRESS_NS] = time.monotonic_ns()
            if is_batch_end and may_end_early and self._pace.is_yielding:
                return
            if is_batch_end:
                if self._find_bound is not None and room < n_of_batch:
                    return  # where a page ends within a batch, the server has to be asked where its last document lies
                n_of_batch = 0

    def begin(self) -> None:
        """Have the first batch read while others get ready; a page does so by itself."""
        if self._next is None:
            self._next = self._threads.reading.submit(self._reader.next_batch)

    async def _read(self) -> bool:
        """The next batch in hand, and the one after it on its way; False at the end of the range."""
        self.begin()
        assert self._next is not None
        began = time.monotonic_ns()
        if not self._next.done():
            self._slot.state = "reading"
        with _damage_explained():
            self._batch = await asyncio.wrap_future(self._next)
        self._slot.add(Field.READING_NS, time.monotonic_ns() - began)
        if self._batch is None:
            self.at_end = True
            return False
        self._offset = self._batch.offset
        self._next = self._threads.reading.submit(self._reader.next_batch)
        return True

    async def _convert(self, batch: RawBatch, limit: int) -> Piece:
        began = time.monotonic_ns()
        self._slot.state = "converting"
        loop = asyncio.get_running_loop()
        with _damage_explained():
            converted = await loop.run_in_executor(
                self._threads.converting, self._converter.convert, batch.data, self._offset, limit
            )
        self._slot.add(Field.CONVERTING_NS, time.monotonic_ns() - began)
        self._slot.add(Field.BYTES, converted.end - self._offset)
        piece = Piece(batch.data, converted, self._offset)
        self._last_key, self._last_record = key_of(batch.data, converted.last), batch.last_record
        self._offset = converted.end
        self._is_batch_end = self._offset >= len(batch.data)
        if self._is_batch_end:
            self._batch = None
            if self._next is not None and self._next.done() and not self._next.exception() and not self._next.result():
                self.at_end = True
        self._slot.state = "writing"
        return piece

    async def bound(self) -> bytes | None:
        """Where reading can go on behind what was in pieces; None where nothing was, or where that cannot be told here."""
        if self._last_key is None or self._last_record is None or self._find_bound is None:
            return self._last_key
        if self._is_batch_end:
            return with_record(self._last_key, self._last_record)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads.reading, self._find_bound, self._last_key, self._last_record)

    async def altered_in(self, documents: Sequence[bytes]) -> dict[str, int]:
        """How often a policy touches a value of these documents, which were in pieces already."""
        loop, batch = asyncio.get_running_loop(), b"".join(documents)
        converted = await loop.run_in_executor(
            self._threads.converting, self._converter.convert, batch, 0, len(documents)
        )
        return converted.policy_hits

    def close(self) -> None:
        """Close the cursor, after the read that may still be going on."""
        self._threads.reading.submit(self._reader.close)


@contextmanager
def _damage_explained() -> Iterator[None]:
    """Reader and converter find out when a batch is not made of whole documents."""
    try:
        yield
    except ValueError as error:
        raise MigrationError(
            f"MongoDB sent a batch that is not made of whole documents ({error}). What is committed stays; resume the run.",
            code="damaged_batch",
        ) from error


class Throttle:
    """Rows per second, kept over pieces and leases of one worker."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._free_at = 0.0

    async def admit(self, room: int, pace: Pace, slot: Slot) -> int:
        """How many of `room` documents may pass now; waits until at least some may."""
        if pace.rows_per_s <= 0:
            return room
        began = self._clock()
        while pace.rows_per_s > 0 and not pace.is_yielding and (wait := self._free_at - self._clock()) > 0:
            slot.state = "throttled"
            slot[Field.PROGRESS_NS] = time.monotonic_ns()
            await self._sleep(min(wait, 0.1))  # the throttle may change while we wait
        slot.add(Field.THROTTLED_NS, round((self._clock() - began) * 1e9))
        if pace.rows_per_s <= 0:
            return room
        return max(1, min(room, round(pace.rows_per_s * THROTTLED_PIECE_S)))

    def charge(self, n_rows: int, pace: Pace) -> None:
        """So many rows have passed: a batch may have held fewer than were admitted."""
        if pace.rows_per_s > 0:
            self._free_at = max(self._free_at, self._clock()) + n_rows / pace.rows_per_s


class Threads:
    """A worker's two threads and its throttle: reading waits for the network, converting uses the processor."""

    def __init__(self) -> None:
        self.reading = ThreadPoolExecutor(1, thread_name_prefix="reading")
        self.converting = ThreadPoolExecutor(1, thread_name_prefix="converting")
        self.throttle = Throttle()

    def close(self) -> None:
        """Let go without waiting: the process is ending."""
        self.reading.shutdown(wait=False, cancel_futures=True)
        self.converting.shutdown(wait=False, cancel_futures=True)
