"""The seeding of a run: synthetic users into one collection, by the whole cluster, in leases of index ranges."""

from __future__ import annotations

import asyncio
from typing import Protocol

from engine.cluster.job import Job
from engine.cluster.lease_book import LeaseBook
from engine.mongo import connect as mongo
from engine.mongo import rights
from engine.mongo.collections import collection_of
from engine.notation import parsed_source
from engine.protocol import DocumentsSeeded, RangeView, RunState
from engine.run.context import Phase, RunContext
from engine.work import seeding
from engine.work.messages import Committed, SeedLease, SeedTask

SEED_TASK_ID = 0


class Follower(Protocol):
    """What follows the seeding: the copy, whose last partition waits for documents that are still seeded."""

    async def keep_open(self) -> None:
        """More documents are about to be seeded. Raises KnobError when the collection is read to its end already."""
        ...

    def expect(self, documents: int) -> None:
        """The seeded collection will hold so many documents."""
        ...

    def release(self) -> None:
        """All of them are there."""
        ...


class NoFollower:
    """The seeding comes first, or there is no copy."""

    async def keep_open(self) -> None:
        """The collection is not read yet."""

    def expect(self, documents: int) -> None:
        """The copy counts for itself when it begins."""

    def release(self) -> None:
        """Nothing waits."""


class SeedRanges:
    """Index ranges to seed, in ascending order, so that the collection holds 0..M-1 when all ranges that are out are done."""

    def __init__(self, task_id: int, first: int, count: int) -> None:
        """Nothing is handed out yet.

        Args:
            first: documents that were there before.
            count: where to stop: the seed count.
        """
        self.count = count
        self._task_id = task_id
        self._first = self._next_index = first
        self._book: LeaseBook[SeedLease] = LeaseBook()
        """Ranges that were given back are finished whatever the count became."""
        self._n_inserted = 0
        self._reported: dict[int, int] = {}
        """By where a range begins: documents that were reported of it while it is not done."""

    @property
    def is_finished(self) -> bool:
        """Every range that was begun is done, and the count is reached."""
        return self._book.is_finished and self._next_index >= self.count

    @property
    def n_seeded(self) -> int:
        """Documents in the collection now."""
        return self._first + self._n_inserted

    @property
    def n_expected(self) -> int:
        """Documents in the collection at the end: the count, or what was begun when it was lowered below that."""
        return max(self.count, self._next_index)

    def take(self, page_size: int) -> SeedLease | None:
        """The next range of at most `page_size` documents."""
        if not self._book.waiting and self._next_index < self.count:
            lease = SeedLease(self._task_id, self._next_index, min(self._next_index + page_size, self.count))
            self._next_index = lease.high
            self._book.add([lease])
        return self._book.take()

    def progress(self, low: int, done: int) -> bool:
        """`done` more documents of the range that begins at `low` are in; False when it is not out."""
        if low not in self._book.out:
            return False
        self._n_inserted += done
        self._reported[low] = self._reported.get(low, 0) + done
        return True

    def reported(self, lease: SeedLease) -> int:
        """Documents of a range that is out."""
        return self._reported.get(lease.low, 0)

    def finish(self, lease: SeedLease) -> None:
        """All of a range is in."""
        self._book.finish(lease.key)
        self._reported.pop(lease.low, None)

    def give_back(self, lease: SeedLease, rest: SeedLease) -> None:
        """A range was left before its end; `rest` is still to do."""
        self._reported.pop(lease.low, None)
        self._book.give_back(rest, lease)

    def lose(self, lease: SeedLease) -> None:
        """The holder of a range died: all of it is done again, what is there already counts then."""
        self._n_inserted -= self._reported.get(lease.low, 0)
        self.give_back(lease, lease)


class Seeding(Phase, Job[SeedLease, Committed]):
    """Fills the collection up to the seed count, which may move while it does, and later while it is copied."""

    def __init__(self, context: RunContext) -> None:
        super().__init__()
        self.follower: Follower = NoFollower()
        self._context = context
        settings = context.settings.seed
        named = parsed_source(settings.collection, "seed.collection")
        self._task = SeedTask(SEED_TASK_ID, named.database, named.collection, settings.seed)
        self.tasks[SEED_TASK_ID] = self._task
        self._ranges = SeedRanges(SEED_TASK_ID, 0, 0)

    @property
    def collection(self) -> tuple[str, str]:
        """Database and name of the collection that is seeded."""
        return self._task.database, self._task.collection

    # --- the phase ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Seed until the count is reached and every range is done."""
        context = self._context
        context.enter(RunState.SEEDING, "seeding")
        context.cluster.resize(context.record.knobs["cluster_size"])
        there = await context.interruptible(asyncio.to_thread(self._count_existing))
        self._ranges = SeedRanges(SEED_TASK_ID, there, context.record.knobs["seed_count"])
        context.emit(DocumentsSeeded(documents=there))
        context.cluster.add(self)
        context.cluster.dispatch()
        await context.until(lambda: self._ranges.is_finished)

    def _count_existing(self) -> int:
        context, (database, name) = self._context, self.collection
        client = mongo.connect(context.settings.source.connection, app_name=f"mongopg-tui {context.record.run_id}")
        try:
            rights.require(client, [self.collection], "readWrite")
            there = seeding.existing(collection_of(client, database, name), self._task.seed)
        finally:
            client.close()
        seeding.check_collection(there, f"{database}.{name}", context.settings.seed.into_existing)
        return there.users

    @property
    def amounts(self) -> tuple[int, int]:
        """Documents seeded, and expected."""
        record = self._context.record
        return record.seeded, max(self._ranges.n_expected, record.knobs["seed_count"])

    async def knob_applies(self, knob: str, value: int) -> str:
        """Move the seed count.

        Raises:
            KnobError: it is raised, and the copy that follows has read the collection's end already.
        """
        if knob != "seed_count":
            return ""
        if value > self._ranges.n_expected:
            await self.follower.keep_open()
        self._ranges.count = value
        self.follower.expect(self._ranges.n_expected)
        if self._ranges.is_finished:
            self.follower.release()
        return "at once"

    # --- the job ------------------------------------------------------------------------------------------------------

    def next_lease(self) -> SeedLease | None:
        """The next range; None when the count is reached."""
        return self._ranges.take(self._context.record.knobs["page_size"])

    def progressed(self, payload: Committed) -> None:
        """A part of a range is inserted; ranges are told apart by where they begin, which travels as the partition."""
        if self._ranges.progress(payload.partition_id, payload.n_written):
            self._context.emit(DocumentsSeeded(documents=self._ranges.n_seeded))

    def returned(self, lease: SeedLease, rest: SeedLease | None) -> None:
        """A range is done, or its rest is given back."""
        if rest is None:
            self._ranges.finish(lease)
        elif rest.low > lease.low:
            self._ranges.give_back(lease, rest)
        else:
            self._ranges.lose(lease)
        if self._ranges.is_finished:
            self.follower.release()

    def can_go_on(self, lease: SeedLease) -> bool:
        """A range can be inserted again at any time."""
        return True

    def lost(self, lease: SeedLease, why: str) -> None:
        """The holder of a range is dead."""
        self._ranges.lose(lease)

    def range_of(self, lease: SeedLease, uncommitted: int) -> RangeView:
        """How far a range is; it is counted exactly."""
        total = lease.high - lease.low
        return RangeView(done=min(self._ranges.reported(lease), total), total=total, is_exact=True)
