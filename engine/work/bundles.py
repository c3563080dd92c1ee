"""A worker's copying of several small partitions: a slice of each, all of them in one transaction.

Whatever is in the way of one of them undoes the transaction, and each is copied by itself, from where the ledger says it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

import asyncpg
from pymongo.errors import PyMongoError

from engine.ledger.slice_groups import SliceGroup
from engine.ledger.slices import SliceBegin, SliceEnd, SliceLost
from engine.postgres import sqlstates
from engine.rows import Piece
from engine.work.connections import EXPLAINED, Ends
from engine.work.context import WorkerContext
from engine.work.feed import Feed
from engine.work.messages import CopyBundle, CopyLease, CopyTask, Failed, Progress, Returned
from engine.work.slice_notes import SliceNotes, WritingTime, noted, target_of

CLEAN: tuple[type[Exception], ...] = (asyncpg.PostgresError, PyMongoError, SliceLost)
"""After these the session is as good as before, or closed."""
UNDONE: tuple[type[Exception], ...] = (*EXPLAINED, SliceLost)
"""What is in the way of a group, or of one in it."""


class OneByOne(Protocol):
    """Copies a partition that is in no bundle."""

    async def feed(self, task: CopyTask, position: CopyLease) -> Feed:
        """What is left to read of it."""
        ...

    async def join(self, task: CopyTask, connection: asyncpg.Connection) -> None:
        """Make the session one of the run."""
        ...

    async def copy_alone(self, task: CopyTask, lease: CopyLease, *, in_doubt: bool) -> Returned | Failed:
        """Copy it, or as much of it as the engine lets us.

        Args:
            in_doubt: only the ledger knows where it is.
        """
        ...


class BundleCopier:
    """Copies bundles; what is left of the one in hand is known at any time."""

    def __init__(self, context: WorkerContext, ends: Ends, alone: OneByOne) -> None:
        """Nothing is in hand."""
        self._context = context
        self._ends = ends
        self._alone = alone
        self._left: list[CopyLease] = []

    async def work(self, bundle: CopyBundle) -> Returned | Failed:
        """Copy the partitions, or as much of them as the engine lets us."""
        self._left = list(bundle.parts)
        try:
            while self._left:
                await self._group()
                if self._context.pace.is_yielding:
                    return self._returned(bundle)
        except UNDONE as error:
            if not isinstance(error, CLEAN):
                await self._ends.abort()  # whether its transaction is rolled back is not known
            return await self._one_by_one(bundle)
        return self._returned(bundle)

    def rest(self) -> CopyBundle:
        """Behind the last slices that are known to be committed."""
        return CopyBundle(tuple(self._left))

    def _returned(self, bundle: CopyBundle) -> Returned:
        if not self._left:
            return Returned(bundle, finished=True)
        return Returned(bundle, finished=False, rest=self.rest())

    async def _one_by_one(self, bundle: CopyBundle) -> Returned | Failed:
        while self._left:
            lease = self._left[0]
            answer = await self._alone.copy_alone(self._task(lease), lease, in_doubt=True)
            if isinstance(answer, Failed):
                return replace(answer, lease=bundle)
            if not answer.finished:
                assert isinstance(answer.rest, CopyLease)
                self._left[0] = answer.rest
                break
            del self._left[0]
        return self._returned(bundle)

    def _task(self, lease: CopyLease) -> CopyTask:
        task = self._context.tasks[lease.task_id]
        assert isinstance(task, CopyTask)
        return task

    async def _group(self) -> None:
        """A slice of each partition that is left, or of the first ones when they are enough for a transaction."""
        first = self._task(self._left[0])
        connection = await self._ends.target()
        await self._alone.join(first, connection)
        group = SliceGroup(connection, first.run_id, self._context.worker, has_checksum=first.has_checksum)
        feeds = [await self._alone.feed(self._task(lease), lease) for lease in self._left]
        try:
            feeds[0].begin()
            done = await self._write(group, feeds)
        except Exception:
            with suppress(*sqlstates.FAILURES):  # a broken connection has rolled back already
                await group.rollback()
            raise
        finally:
            for feed in feeds:
                feed.close()
        self._ends.patience.renew()
        rest = []
        for lease, (notes, end) in zip(self._left, done, strict=False):
            notes.show(self._context.slot)
            self._context.report(Progress(lease.task_id, notes.committed(lease, final=end.final)))
            if not end.final:
                rest.append(
                    replace(lease, slice_no=lease.slice_no + 1, lower=end.upto, lower_inclusive=end.upto is None)
                )
        self._left = rest + self._left[len(done) :]

    async def _write(self, group: SliceGroup, feeds: Sequence[Feed]) -> list[tuple[SliceNotes, SliceEnd]]:
        """Claim, write and commit."""
        pace, slot = self._context.pace, self._context.slot
        slot.state = "writing"
        writing = WritingTime(slot)
        all_of_it = SliceNotes()
        await group.begin(
            [
                SliceBegin(lease.partition_id, lease.slice_no, lease.lower, lease.lower_inclusive)
                for lease in self._left
            ],
            [target_of(self._task(lease)) for lease in self._left],
        )
        done: list[tuple[SliceNotes, SliceEnd]] = []
        for number, (lease, feed) in enumerate(zip(self._left, feeds, strict=True)):
            notes = SliceNotes()
            upto = None if lease.lower_inclusive else lease.lower
            following = feeds[number + 1 : number + 2]
            while not feed.at_end:
                pieces = noted(feed, notes, writing, slot, may_end_early=True)
                written = await group.write_page(number, _with_next(pieces, following))
                notes.add(written)
                all_of_it.n_bytes += written.n_bytes
                is_enough = (all_of_it.is_full or pace.is_yielding) and notes.seen
                if (is_enough or feed.at_end) and notes.seen and (found := await feed.bound()) is not None:
                    upto = found
                    break
            done.append((notes, SliceEnd(upto, feed.at_end, notes.policy_hits)))
            if not feed.at_end or all_of_it.is_full or pace.is_yielding:
                break
        await group.commit([end for _, end in done])
        writing.account()
        return done


async def _with_next(pieces: AsyncIterator[Piece], following: Sequence[Feed]) -> AsyncIterator[Piece]:
    """The pieces of a page; when the first one has come, the next partition's first batch is read."""
    async for piece in pieces:
        for feed in following:
            feed.begin()
        yield piece
