"""A full census as a job: its ranges, and what was counted. A run's cluster takes it, or one for a plan alone.

Partitions of one collection are merged in their order, so fields come in the order in which they first appear in it, however
the workers were scheduled.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from engine.cluster.job import Job, JobOwner
from engine.cluster.lease_book import MAX_DEATHS, LeaseBook
from engine.cluster.meter import RATE_WINDOW_S, Window
from engine.errors import MigrationError
from engine.mapping.census import Census
from engine.mongo.reader import Range
from engine.plan import Choice, PartFacts
from engine.protocol import CountingView, ProblemReported
from engine.work.messages import CensusLease, CensusTask, Counted

LEVELS_BELOW = 1
"""Levels of nested documents counted beyond those that flattening asks for: a saved plan proposes what would be in them."""


@dataclass(slots=True)
class _Collection:
    """One collection's census."""

    task_id: int
    """Of its plan."""
    census: Census
    expected: int
    next_partition: int
    """The first one that is not merged yet."""
    parts: dict[int, list[bytes]] = field(default_factory=dict)
    """By partition, in the order of their ranges; those of a partition that is not done yet, too."""
    done: set[int] = field(default_factory=set)
    """Partitions that are counted and not merged yet."""


class CensusJob(Job[CensusLease, Counted]):
    """Every document of some collections, counted range by range."""

    def __init__(self, levels: int, owner: JobOwner, clock: Callable[[], float] = time.monotonic) -> None:
        """There is nothing to count yet.

        Args:
            levels: of nested documents whose fields are told apart.
            owner: is told what goes wrong.
            clock: in seconds.
        """
        super().__init__()
        self._owner = owner
        self.seen = 0
        """Documents counted."""
        self._levels = levels
        self._clock = clock
        self._leases: LeaseBook[CensusLease] = LeaseBook()
        self._collections: dict[int, _Collection] = {}
        """By census task."""
        self._n_partitions = 0
        self._rate = Window(RATE_WINDOW_S)

    def add(self, task_id: int, choice: Choice, part: PartFacts, ranges: Iterable[Range]) -> None:
        """A collection to count, as these ranges."""
        own_id = -task_id  # a worker of a run gets the copy of the same collection as another task
        self.tasks[own_id] = CensusTask(
            own_id, choice.database, choice.collection, self._levels, part.has_range_reads, choice.query
        )
        self._collections[own_id] = _Collection(task_id, Census(self._levels), part.documents, self._n_partitions)
        for span in ranges:
            self._leases.add([CensusLease(own_id, self._n_partitions, span.lower, True, span.upper)])
            self._n_partitions += 1

    @property
    def n_waiting(self) -> int:
        """Ranges that no worker counts yet."""
        return len(self._leases.waiting)

    @property
    def is_finished(self) -> bool:
        """Whether every range is counted."""
        return self._leases.is_finished

    @property
    def total(self) -> int:
        """Documents expected, never below those seen."""
        return max(self.seen, sum(each.expected for each in self._collections.values()))

    @property
    def collections(self) -> list[str]:
        """The collections that are counted, `db.collection` each."""
        return [f"{task.database}.{task.collection}" for task in self.tasks.values()]

    def view(self) -> CountingView:
        """How far the census is, as front ends show it."""
        rate = self._rate.rate()
        left = (self.total - self.seen) / rate if rate > 0 else None
        return CountingView(collections=self.collections, seen=self.seen, total=self.total, rows_per_s=rate, eta_s=left)

    def results(self) -> dict[int, Census]:
        """What was counted, by task of the plan."""
        return {each.task_id: each.census for each in self._collections.values()}

    # --- the job ------------------------------------------------------------------------------------------------------

    def next_lease(self) -> CensusLease | None:
        """The next range, now out; None when none waits."""
        return self._leases.take()

    def progressed(self, payload: Counted) -> None:
        """A range is counted, or its first part."""
        lease = payload.lease
        collection = self._collections[lease.task_id]
        self.seen += payload.n_documents
        self._rate.add(self._clock(), self.seen)
        collection.parts.setdefault(lease.key, []).append(payload.census)
        if payload.rest is not None:
            self._leases.out[lease.key] = payload.rest  # the holder gives it back, or dies
            return
        self._leases.finish(lease.key)
        collection.done.add(lease.key)
        while collection.next_partition in collection.done:
            collection.done.remove(collection.next_partition)
            for encoded in collection.parts.pop(collection.next_partition):
                collection.census.merge(Census.from_dict(json.loads(encoded)))
            collection.next_partition += 1

    def returned(self, lease: CensusLease, rest: CensusLease | None) -> None:
        """A worker is free again; what it did not report is counted by another."""
        if lease.key in self._leases.out:
            self._leases.give_back(self._leases.out[lease.key])

    def lost(self, lease: CensusLease, why: str) -> None:
        """The holder is dead: what it did not report is counted again, unless that has happened too often."""
        task = self.tasks[lease.task_id]
        namespace = f"{task.database}.{task.collection}"
        if lease.key not in self._leases.out:
            return  # all of it was reported
        if self._leases.count_death(lease.key):
            message = (
                f"Partition {lease.partition_id} of {namespace} ended {MAX_DEATHS} workers while its fields were counted; "
                "the engine's log says more."
            )
            self._owner.fail(MigrationError(message, code="parked"))
            return
        self._leases.give_back(self._leases.out[lease.key])
        message = f"A worker {why}; its partition is counted again by another."
        self._owner.emit(ProblemReported(code="worker_lost", message=message, namespace=namespace, retry=True))


def census_job(
    levels: int,
    owner: JobOwner,
    choices: Sequence[tuple[int, Choice]],
    parts: dict[int, PartFacts],
    ranges: Sequence[tuple[int, Range]],
) -> CensusJob:
    """The census of these collections, each with its task and its ranges."""
    census = CensusJob(levels, owner)
    for task_id, choice in choices:
        census.add(task_id, choice, parts[task_id], [span for owner, span in ranges if owner == task_id])
    return census
