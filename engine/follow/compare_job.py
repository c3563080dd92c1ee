"""Whole collections compared with their tables as a job: each range is a lease."""

from __future__ import annotations

import time
from collections.abc import Sequence

from engine.cluster.job import Job, JobOwner
from engine.cluster.lease_book import MAX_DEATHS, LeaseBook
from engine.errors import MigrationError
from engine.protocol import ProblemReported
from engine.work.messages import ANOTHER, CompareLease, Failed, RangeCompared

PUT_OFF_S = 10.0
"""Comparing goes on so long after a server was away for as long as a worker waits."""


class CompareJob(Job[CompareLease, RangeCompared]):
    """Ranges to be compared; documents that differ are in the ledger, to be applied."""

    def __init__(self, owner: JobOwner) -> None:
        """There is nothing to compare yet."""
        super().__init__()
        self.n_documents = self.n_differ = 0
        self._owner = owner
        self._leases: LeaseBook[CompareLease] = LeaseBook()
        self._put_off_until = 0.0

    @property
    def is_finished(self) -> bool:
        """Every range is compared."""
        return self._leases.is_finished

    def add(self, leases: Sequence[CompareLease]) -> None:
        """Add ranges."""
        self._leases.add(leases)

    def stop(self) -> list[CompareLease]:
        """Leave what is not compared yet; the ranges that workers have, of which nothing is wanted any more."""
        out = [*self._leases.out.values()]
        self._leases = LeaseBook()
        return out

    def next_lease(self) -> CompareLease | None:
        """The next range, now out; None when none waits, or they are put off."""
        if time.monotonic() < self._put_off_until:
            return None
        return self._leases.take()

    def progressed(self, payload: RangeCompared) -> None:
        """A part of a range is compared."""
        self.n_documents += payload.n_documents
        self.n_differ += payload.n_differ

    def returned(self, lease: CompareLease, rest: CompareLease | None) -> None:
        """A range is done, or its rest is given back."""
        if lease.key not in self._leases.out:
            return
        if rest is None:
            self._leases.finish(lease.key)
        else:
            self._leases.give_back(rest)

    def failed(self, lease: CompareLease, failure: Failed) -> bool:
        """A server that is away is waited for. The collection became another one: that is looked at when all is compared. A
        range that is not wanted any more is of no matter."""
        if failure.code == ANOTHER:
            if lease.key in self._leases.out:
                self._leases.finish(lease.key)
            return True
        if failure.is_away and lease.key in self._leases.out:
            self._put_off_until = time.monotonic() + PUT_OFF_S
            self._leases.give_back(lease)
            return True
        return lease.key not in self._leases.out

    def can_go_on(self, lease: CompareLease) -> bool:
        """A range can be taken back at any time."""
        return True

    def lost(self, lease: CompareLease, why: str) -> None:
        """Another worker compares it from its beginning: twice does no harm."""
        if lease.key not in self._leases.out:
            return
        namespace = f"{self.tasks[lease.task_id].database}.{self.tasks[lease.task_id].collection}"
        if self._leases.count_death(lease.key):
            message = f"Comparing {namespace} ended {MAX_DEATHS} workers one after the other; see the log, then resume the run."
            self._owner.fail(MigrationError(message, code="parked"))
            return
        self._leases.give_back(lease)
        message = f"A worker {why}; what it compared goes to another."
        self._owner.emit(ProblemReported(code="worker_lost", message=message, namespace=namespace, retry=True))
