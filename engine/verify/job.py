"""The job of a verification: which slices are read again, and what becomes of those whose worker dies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from engine.cluster.job import Job, JobOwner
from engine.cluster.lease_book import MAX_DEATHS, LeaseBook
from engine.config import redact
from engine.errors import MigrationError
from engine.protocol import ProblemReported
from engine.work.messages import Compared, Failed, VerifyLease, VerifyTask
from engine.work.natural_ranges import ORDER_LOST


class VerifyJob(Job[VerifyLease, Compared]):
    """Partitions to go through, slice by slice."""

    def __init__(self, owner: JobOwner, on_compared: Callable[[Compared], None]) -> None:
        """There is nothing to go through yet.

        Args:
            owner: is told what goes wrong.
            on_compared: called once for each slice.
        """
        super().__init__()
        self._owner = owner
        self._on_compared = on_compared
        self._leases: LeaseBook[VerifyLease] = LeaseBook()
        self.lost_numberings: set[int] = set()
        """Tasks that cannot be read in natural order to their ends: the member is lost, or numbers its records anew."""
        self._next_slice: dict[tuple[int, int], int] = {}
        """Task and partition -> the first slice that is not reported yet."""

    @property
    def is_finished(self) -> bool:
        """Every partition was gone through."""
        return self._leases.is_finished

    def add(self, leases: Iterable[VerifyLease]) -> None:
        """Add partitions to be compared."""
        self._leases.add(leases)

    # --- the job ------------------------------------------------------------------------------------------------------

    def next_lease(self) -> VerifyLease | None:
        """The next partition, now out; None when none waits."""
        while (lease := self._leases.take()) is not None and lease.task_id in self.lost_numberings:
            self._leases.finish(lease.key)
        return lease

    def progressed(self, payload: Compared) -> None:
        """A slice is compared; one that was compared before, by a worker that died meanwhile, counts once."""
        key = (payload.task_id, payload.partition_id)
        if payload.slice_no >= self._next_slice.get(key, 0):
            self._next_slice[key] = payload.slice_no + 1
            self._on_compared(payload)

    def returned(self, lease: VerifyLease, rest: VerifyLease | None) -> None:
        """A partition is done, or its rest is given back."""
        if rest is None:
            self._leases.finish(lease.key)
        else:
            self._leases.give_back(self._behind_reported(rest))

    def _behind_reported(self, lease: VerifyLease) -> VerifyLease:
        first = self._next_slice.get((lease.task_id, lease.partition_id), lease.slice_no)
        return replace(lease, slice_no=first)

    def can_go_on(self, lease: VerifyLease) -> bool:
        """A partition can be taken back at any time: which slices are compared is known."""
        return True

    def failed(self, lease: VerifyLease, failure: Failed) -> bool:
        """A collection cannot be read in natural order to its end: no more is read of it so."""
        task = self.tasks[lease.task_id]
        is_natural = isinstance(task, VerifyTask) and task.numbering is not None
        if failure.code not in ORDER_LOST or not is_natural:
            return False
        self._leases.finish(lease.key)
        if lease.task_id not in self.lost_numberings:
            self.lost_numberings.add(lease.task_id)
            message = f"{redact(failure.message)} The collection is read from its beginning, by _id."
            namespace = f"{task.database}.{task.collection}"
            self._owner.emit(ProblemReported(code=failure.code, message=message, namespace=namespace, retry=True))
        return True

    def lost(self, lease: VerifyLease, why: str) -> None:
        """The holder is dead: another worker goes on behind the slices that it reported."""
        task = self.tasks[lease.task_id]
        namespace = f"{task.database}.{task.collection}"
        if self._leases.count_death(lease.key):
            message = (
                f"Partition {lease.partition_id} of {namespace} ended {MAX_DEATHS} workers: the verification was broken off; "
                "the engine's log says more."
            )
            self._owner.fail(MigrationError(message, code="parked"))
            return
        self._leases.give_back(self._behind_reported(lease))
        message = f"A worker {why}; its partition goes to another."
        self._owner.emit(ProblemReported(code="worker_lost", message=message, namespace=namespace, retry=True))
