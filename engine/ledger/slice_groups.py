"""The commit protocol for slices of several small partitions at once: they share a transaction, and its wait for the disk.

::

    BEGIN
      INSERT INTO mongopg.slice ...            the claims of all of them, each a fence of its own
      table by table: COPY; rejects            write_page
      UPDATE mongopg.slice SET upto ...        their checkpoints
    COMMIT                                     all of them or none

Nothing is tried twice in here: whatever is in the way of one of them undoes the group, and each is written by itself
(`engine.ledger.slices`), where a bad row costs one row.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import asyncpg

from engine.ledger import slices
from engine.ledger.rejects import Identify, extended_id
from engine.ledger.slices import Claim, OpenSlice, PageResult, SliceBegin, SliceEnd
from engine.postgres.page import CopyTarget, Page, Refusal
from engine.postgres.queries import copy_tuples
from engine.rows import COPY_HEADER, COPY_TRAILER, Buffer, Piece


@dataclass(slots=True)
class _PlainSender:
    """Sends a page in one COPY, which the table takes or refuses as a whole."""

    connection: asyncpg.Connection
    target: CopyTarget

    async def send(self, page: Page, pieces: AsyncIterator[Piece]) -> tuple[int, list[Refusal]]:
        tuples = page.collect(pieces)
        first = await anext(tuples, None)
        if first is None:
            return 0, []
        status = await copy_tuples(
            self.connection, self.target.table, _stream(self.connection, first, tuples), self.target.columns
        )
        return int(status.rpartition(" ")[2]), []


async def _stream(connection: asyncpg.Connection, first: Buffer, rest: AsyncIterator[Buffer]) -> AsyncIterator[Buffer]:
    yield COPY_HEADER
    yield first
    async for tuples in rest:
        if connection.is_closed():
            return  # asyncpg would read the page to its end before it says so
        yield tuples
    yield COPY_TRAILER


@dataclass(slots=True)
class SliceGroup:
    """Writes groups of slices over one connection, one group after the other.

    Call `begin`, `write_page` any number of times for one slice after the other, then `commit`; after any exception
    `rollback`, which leaves it ready for the next `begin` if the connection is still open.
    """

    connection: asyncpg.Connection
    """Used for nothing else, and without a transaction."""
    run_id: str
    worker: int
    identify: Identify = extended_id
    """Names the `_id` of a rejected document."""
    has_checksum: bool = True
    """The pages' checksums are there, and kept."""
    lock_timeout_s: float = field(default_factory=lambda: slices.LOCK_TIMEOUT_S)
    """How long a claim waits for another transaction that holds it."""
    _slices: list[OpenSlice] = field(default_factory=list, init=False)

    async def begin(self, begins: Sequence[SliceBegin], targets: Sequence[CopyTarget]) -> None:
        """Open the transaction and claim the slices, each of another partition, with the table that each goes to.

        Raises:
            SliceLost: the slice before one of them is not committed.
            MigrationError: the ledger has no such partition: the run was discarded.
            asyncpg.UniqueViolationError: one of them is committed already.
            asyncpg.PostgresError: 55P03 when another transaction holds one for too long, and any other.
        """
        await slices.open_transaction(self.connection, self.lock_timeout_s)
        tasks = await slices.claim_slices(self.connection, self.run_id, self.worker, begins)
        self._slices = [
            OpenSlice(
                self.connection,
                (self.run_id, each.partition_id, each.slice_no),
                tasks[each.partition_id],
                target,
                _PlainSender(self.connection, target),
                self.identify,
            )
            for each, target in zip(begins, targets, strict=True)
        ]

    async def write_page(self, number: int, pieces: AsyncIterator[Piece]) -> PageResult:
        """As `OpenSlice.write_page`, for the slice of this number; a row that the table refuses is an error of the group."""
        return await self._slices[number].write_page(pieces)

    async def commit(self, ends: Sequence[SliceEnd]) -> list[Claim]:
        """Write the checkpoints and commit.

        Args:
            ends: of the first slices, in the order in which they were claimed; nothing was written of the others, which are
                left to be claimed again.

        Raises:
            ValueError: one has neither `upto` nor `final`.
            MigrationError: the server rolled the transaction back.
            Exception: a broken connection leaves it open whether they are committed.
        """
        done = list(zip(self._slices[: len(ends)], ends, strict=True))
        if unbegun := self._slices[len(ends) :]:
            await self.connection.execute(
                "DELETE FROM mongopg.slice s USING json_to_recordset($2::json) AS u (partition_id integer, slice_no integer)"
                " WHERE s.run_id = $1 AND s.partition_id = u.partition_id AND s.slice_no = u.slice_no",
                self.run_id,
                json.dumps([{"partition_id": each.key[1], "slice_no": each.key[2]} for each in unbegun]),
            )
        await slices.write_checkpoints(self.connection, done, has_checksum=self.has_checksum)
        self._slices = []
        await slices.commit(self.connection, f"slices of {len(done)} partitions")
        return [each.claim(end) for each, end in done]

    async def rollback(self) -> None:
        """Undo the group in hand; does nothing when none is open, or when the connection is gone and the server did."""
        self._slices = []
        if not self.connection.is_closed() and self.connection.is_in_transaction():
            await self.connection.execute("ROLLBACK")
