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
from engine.work.messages import Committed, CopyLease, Failed

_POLL_S = 0.01

log = logging.getLogger(__name__)


class CopyJob(Job[CopyLease, Committed]):
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
        self._context = context
        self._consistency = consistency
        self._guard = guard
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

    async def stop(self) -> None:
        """Look no more into the ledger."""
        for recovery in self._recoveries:
            recovery.cancel()
        await asyncio.gather(*self._recoveries, return_exceptions=True)

    # --- the job ------------------------------------------------------------------------------------------------------

    def next_lease(self) -> CopyLease | None:
        """The next partition; None also while as many workers are idle as may soon be needed for what dead ones left."""
        if self._recoveries and self._context.cluster.n_idle <= len(self._recoveries):
            return None
        return self.leases.take()

    def progressed(self, payload: Committed) -> None:
        """Count a slice that is committed."""
        self.progress.committed(payload)
        self._guard.look()

    def returned(self, lease: CopyLease, rest: CopyLease | None) -> None:
        """A partition is done, or its rest is given back."""
        if rest is None:
            self.leases.finish(lease.key)
        elif self.open.takes(rest):
            self.leases.hold(rest)
        else:
            self.leases.give_back(rest)

    def failed(self, lease: CopyLease, failure: Failed) -> bool:
        """The source has lost the time at which the run reads, or the target's disk is full: others can go on later."""
        if self._consistency.is_lost(failure.code):
            self._context.emit(ProblemReported(code=failure.code, message=redact(failure.message), retry=True))
            self.leases.give_back(lease)
            self._consistency.read_at_a_new_time()
            return True
        if failure.code != DISK_FULL:
            return False
        self.leases.give_back(lease)
        if self._context.record.state in MAY["pause"]:
            advice = "The run is paused: make room on the target's server, then resume it."
            self._context.emit(ProblemReported(code=failure.code, message=f"{redact(failure.message)} {advice}"))
            self._context.pause("waiting: the target's disk is full")
        return True

    def can_go_on(self, lease: CopyLease) -> bool:
        """A partition can be taken back at any time: the ledger knows how far it is."""
        return True

    def lost(self, lease: CopyLease, why: str) -> None:
        """What its holder committed is in the ledger; another worker goes on from there."""
        self._context.emit(
            ProblemReported(
                code="worker_lost",
                message=f"A worker {why}; its partition goes to another.",
                namespace=self.namespace(lease),
                retry=True,
            )
        )
        recovery = asyncio.create_task(self._recover(lease), name=f"recover partition {lease.partition_id}")
        self._recoveries.add(recovery)
        recovery.add_done_callback(self._recovered)

    def partition_of(self, lease: CopyLease) -> int:
        """The number of its partition."""
        return lease.partition_id

    def range_of(self, lease: CopyLease, uncommitted: int) -> RangeView:
        """How far a partition is, estimated."""
        return self.sizes.view(lease, self.progress.n_read(lease.partition_id) + uncommitted)

    def namespace(self, lease: CopyLease) -> str:
        """The collection that a lease is about."""
        task = self.tasks[lease.task_id]
        return f"{task.database}.{task.collection}"

    async def _recover(self, lease: CopyLease) -> None:
        position = await self.progress.catch_up(lease.task_id, lease.partition_id)
        if position.finished:
            self.leases.finish(lease.key)
        elif self.leases.count_death(lease.key, position.next_slice_no):
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
