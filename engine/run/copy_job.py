"""The copy of a run as a job: partitions as leases, what is committed of them, and what is done when a worker is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from engine.cluster.job import Job
from engine.config import redact
from engine.errors import KnobError, MigrationError
from engine.failures import DISK_FULL
from engine.ledger.ledger import Ledger
from engine.ledger.partitions import Position
from engine.protocol import PartitionParked, ProblemReported, RangeView, TotalChanged
from engine.run.consistency import Consistency
from engine.run.context import RunContext
from engine.run.copy_leases import CopyLeases, lease_at
from engine.run.limits import RejectGuard
from engine.run.open_partition import OpenPartition
from engine.run.partition_sizes import PartitionSizes
from engine.run.progress import CopyProgress
from engine.run.states import MAY
from engine.work.messages import Committed, CopyBundle, CopyLease, CopyTask, Failed
from engine.work.natural_ranges import ORDER_LOST

SMALL_DOCUMENTS = 1_000
"""A collection that is thought to have more documents has transactions to itself."""
BUNDLED, BUNDLED_DOCUMENTS = 10, 5_000
"""Partitions, and documents in them, that share a transaction, at most: few enough that nothing waits long for its end, and
that their locks fit into the places that PostgreSQL has for each session."""
_POLL_S = 0.01

log = logging.getLogger(__name__)


class CopyJob(Job[CopyLease | CopyBundle, Committed]):
    """Hands out partitions, counts what is committed, and takes up what a dead worker left."""

    def __init__(
        self,
        context: RunContext,
        ledger: Ledger,
        consistency: Consistency,
        guard: RejectGuard,
        seeded: tuple[str, str] | None,
    ) -> None:
        """There are no partitions yet.

        Args:
            consistency: whether the source is read as it was at one time.
            guard: ends a run with too many rejects.
            seeded: database and name of the collection that is seeded beside the copy; None for none.
        """
        super().__init__()
        self.leases = CopyLeases()
        self.sizes = PartitionSizes()
        self.progress = CopyProgress(context.emit, ledger)
        self.open = OpenPartition(self.leases, self.tasks, seeded)
        self.may_grow = True
        """Partitions may still be added: the collections are not read to their ends."""
        self.lost_numberings: set[int] = set()
        """Tasks whose record ids mean nothing any more, or whose member is lost: no more is read of them in natural order."""
        self._context = context
        self._consistency = consistency
        self._guard = guard
        self._has_looked = False
        """At the rejects that there are."""
        self._recoveries: set[asyncio.Task[None]] = set()
        """Looks into the ledger for how far a dead worker came."""

    @property
    def is_finished(self) -> bool:
        """Every partition is done, or parked."""
        return self.leases.is_finished and not self._recoveries

    def begin(self, leases: Sequence[CopyLease]) -> None:
        """The partitions of a new run."""
        self.sizes.spread(leases, self._expected)
        self.leases.add(leases)

    def begin_fill_in(self, leases: Sequence[CopyLease]) -> None:
        """Partitions of a later generation. Those by `_id` are read though the numbering is lost."""
        self.lost_numberings -= {lease.task_id for lease in leases}
        self.leases.add(leases)

    def take_up(self, positions: Sequence[Position]) -> None:
        """The partitions of a run that is resumed."""
        self.sizes.spread([lease_at(position) for position in positions], self._expected)
        for position in positions:
            self.leases.next_id = max(self.leases.next_id, position.partition.partition_id + 1)
            self.progress.begin_at(position)
            if position.finished:
                self.leases.n_done += 1
            else:
                self.leases.add([lease_at(position)])

    def reopen(self, positions: Sequence[Position]) -> None:
        """Partitions that were done are not: go on from where they are."""
        for position in positions:
            self.progress.begin_at(position)
            self.leases.reopen(lease_at(position))
        self.may_grow = True

    def _expected(self, task_id: int) -> int:
        return self._context.record.tables[task_id].total

    async def as_in_the_ledger(self, lease: CopyLease) -> CopyLease | None:
        """A lease that no worker has, from where its partition is; None when that is done."""
        position = await self.progress.catch_up(lease.task_id, lease.partition_id)
        return None if position.finished else lease_at(position)

    def leave(self) -> None:
        """What is not copied is not copied any more; no worker has anything of it."""
        self.leases.leave()

    async def stop(self) -> None:
        """Look no more into the ledger."""
        for recovery in self._recoveries:
            recovery.cancel()
        await asyncio.gather(*self._recoveries, return_exceptions=True)

    # --- the job ------------------------------------------------------------------------------------------------------

    def next_lease(self) -> CopyLease | CopyBundle | None:
        """The next partition, or several small ones; None also while as many workers are idle as may soon be needed for what
        dead ones left.
        """
        if self._recoveries and self._context.cluster.n_idle <= len(self._recoveries):
            return None
        while (lease := self.leases.take()) is not None and lease.task_id in self.lost_numberings:
            self.leases.finish(lease.key)  # what is left of it is read by _id later
        if lease is None or not self._is_small(lease):
            return lease
        return self._bundle(lease)

    def _bundle(self, first: CopyLease) -> CopyLease | CopyBundle:
        """A small partition with those behind it, as long as they are small, too, and some are left for other workers."""
        waiting = self.leases.waiting
        most = min(BUNDLED, -(-(len(waiting) + 1) // (2 * max(1, len(self._context.cluster.workers)))))
        parts, documents = [first], self.sizes.documents(first)
        while len(parts) < most and waiting and self._is_small(waiting[0]):
            documents += self.sizes.documents(waiting[0])
            if documents > BUNDLED_DOCUMENTS:
                break
            lease = self.leases.take()
            assert lease is not None
            parts.append(lease)
        return CopyBundle(tuple(parts)) if len(parts) > 1 else first

    def _is_small(self, lease: CopyLease) -> bool:
        """It is a collection that may share a transaction: it is read at once, and no worker has died of it."""
        task = self.tasks[lease.task_id]
        return (
            isinstance(task, CopyTask)
            and lease.lower is None
            and lease.upper is None
            and self.sizes.documents(lease) <= SMALL_DOCUMENTS
            and task.has_range_reads
            and not task.filter  # few documents that match may take long to be found
            and task.mode != "upsert"
            and not task.adds_missing
            and task.numbering is None
            and lease.key not in self.leases.deaths
            and not self.open.is_of(lease.task_id)
        )

    def progressed(self, payload: Committed) -> None:
        """Count a slice that is committed."""
        self.progress.committed(payload)
        if payload.n_rejected or not self._has_looked:  # a run that is resumed may have had too many before
            self._has_looked = True
            self._guard.look()

    def returned(self, lease: CopyLease | CopyBundle, rest: CopyLease | CopyBundle | None) -> None:
        """Partitions are done, or what is left of them is given back."""
        left = {part.key: part for part in _parts(rest)} if rest is not None else {}
        for part in reversed(_parts(lease)):  # the first one is to be the next again
            if part.key not in left:
                self.leases.finish(part.key)
            elif self.open.takes(left[part.key]):
                self.leases.hold(left[part.key])
            else:
                self.leases.give_back(left[part.key])

    def failed(self, lease: CopyLease | CopyBundle, failure: Failed) -> bool:
        """The source has lost the time at which the run reads, or the target's disk is full: others can go on later."""
        if self._consistency.is_lost(failure.code):
            self._context.emit(ProblemReported(code=failure.code, message=redact(failure.message), retry=True))
            self.returned(lease, lease)
            self._consistency.read_at_a_new_time()
            return True
        task = self.tasks[lease.task_id]
        if (
            failure.code in ORDER_LOST
            and isinstance(task, CopyTask)
            and task.numbering is not None
            and isinstance(lease, CopyLease)
        ):
            self._lose_numbering(lease, failure)
            return True
        if failure.code != DISK_FULL:
            return False
        self.returned(lease, lease)
        if self._context.record.state in MAY["pause"]:
            advice = "The run is paused: make room on the target's server, then resume it."
            self._context.emit(ProblemReported(code=failure.code, message=f"{redact(failure.message)} {advice}"))
            self._context.pause("waiting: the target's disk is full")
        return True

    def _lose_numbering(self, lease: CopyLease, failure: Failed) -> None:
        """The rest of a collection cannot be read in natural order."""
        self.leases.give_back(lease)
        if lease.task_id in self.lost_numberings:
            return
        self.lost_numberings.add(lease.task_id)
        message = (
            f"{redact(failure.message)} The collection is read once more, by _id, when the others are copied; what is "
            "committed stays."
        )
        self._context.emit(
            ProblemReported(code=failure.code, message=message, namespace=self.namespace(lease), retry=True)
        )
        for key in [key for key, parked in self.leases.parked.items() if parked.task_id == lease.task_id]:
            self.leases.give_back(self.leases.parked.pop(key))
        for out in [each for each in self.leases.out.values() if each.task_id == lease.task_id]:
            self._context.cluster.recall(out)

    def can_go_on(self, lease: CopyLease | CopyBundle) -> bool:
        """A partition can be taken back at any time: the ledger knows how far it is."""
        return True

    def lost(self, lease: CopyLease | CopyBundle, why: str) -> None:
        """What its holder committed is in the ledger; another worker goes on from there."""
        self._go_on(lease, why, is_death=True)

    def taken_away(self, lease: CopyLease | CopyBundle, why: str) -> None:
        """Likewise, and it is no death."""
        self._go_on(lease, why, is_death=False)

    def _go_on(self, lease: CopyLease | CopyBundle, why: str, *, is_death: bool) -> None:
        self._context.emit(
            ProblemReported(
                code="worker_lost",
                message=f"A worker {why}; {_named(lease)} to another.",
                namespace=self.namespace(lease),
                retry=True,
            )
        )
        for part in _parts(lease):
            recovery = asyncio.create_task(
                self._recover(part, is_death=is_death), name=f"recover partition {part.partition_id}"
            )
            self._recoveries.add(recovery)
            recovery.add_done_callback(self._recovered)

    def partition_of(self, lease: CopyLease | CopyBundle) -> int:
        """The number of its partition; of several, of the first one."""
        return _parts(lease)[0].partition_id

    def range_of(self, lease: CopyLease | CopyBundle, uncommitted: int) -> RangeView:
        """How far partitions are, estimated."""
        parts = _parts(lease)
        return self.sizes.view(parts, sum(self.progress.n_read(part.partition_id) for part in parts) + uncommitted)

    def namespace(self, lease: CopyLease | CopyBundle) -> str:
        """The collection that a lease is about; of several, the first one."""
        task = self.tasks[lease.task_id]
        return f"{task.database}.{task.collection}"

    async def _recover(self, lease: CopyLease, *, is_death: bool) -> None:
        position = await self.progress.catch_up(lease.task_id, lease.partition_id)
        if position.finished:
            self.leases.finish(lease.key)
        elif is_death and self.leases.count_death(lease.key, position.next_slice_no):
            self._context.emit(PartitionParked(partition=lease.partition_id, namespace=self.namespace(lease)))
        else:
            self.leases.give_back(lease_at(position))

    def _recovered(self, recovery: asyncio.Task[None]) -> None:
        self._recoveries.discard(recovery)
        if not recovery.cancelled() and (error := recovery.exception()) is not None:
            log.error("recovering a partition failed", exc_info=error)
            self._context.fail(error if isinstance(error, MigrationError) else MigrationError(type(error).__name__))
        self._context.cluster.dispatch()

    # --- documents that are still seeded (Follower) -------------------------------------------------------------------

    async def keep_open(self) -> None:
        """More documents are about to be seeded: keep the last partition back until `release`.

        Raises:
            KnobError: it is read to its end already.
        """
        self.open.is_kept = True
        while self.may_grow:
            if self.open.is_held or self.open.hold_waiting():
                return
            out = self.open.out
            if out is not None:
                self._context.cluster.recall(out)
            elif self.tasks and not self._recoveries and not self.leases.apart:
                break
            await asyncio.sleep(_POLL_S)  # its holder ends a page, or the plan is still being made
        self.open.is_kept = False
        raise KnobError("seed_count cannot be raised any more: the copy has read the collection to its end.")

    def expect(self, documents: int) -> None:
        """The seeded collection will hold so many documents."""
        limit = self._context.settings.run.limit or documents
        for task_id in self.tasks:
            if self.open.is_of(task_id):
                self._context.emit(TotalChanged(task_id=task_id, total=min(documents, limit)))

    def release(self) -> None:
        """Seeding has ended: the last partition is copied."""
        self.open.release()
        self._context.cluster.dispatch()


def _parts(lease: CopyLease | CopyBundle) -> tuple[CopyLease, ...]:
    return lease.parts if isinstance(lease, CopyBundle) else (lease,)


def _named(lease: CopyLease | CopyBundle) -> str:
    """What goes to another worker."""
    return "its partition goes" if isinstance(lease, CopyLease) else f"its {len(lease.parts)} partitions go"
