"""A full census as a job: its ranges, and what was counted. A run's cluster takes it, or one for a plan alone.

Partitions of one collection are merged in their order, so fields come in the order in which they first appear in it, however
the workers were scheduled.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.cluster.job import Job, JobOwner
from engine.cluster.lease_book import MAX_DEATHS, LeaseBook
from engine.cluster.meter import RATE_WINDOW_S, Window
from engine.config import redact
from engine.errors import MigrationError
from engine.mapping.census import Census
from engine.mongo.natural import Numbering
from engine.mongo.reader import Range
from engine.mongo.record_cuts import RecordCuts, older_bounds
from engine.plan import Choice, PartFacts
from engine.protocol import CountingView, ProblemReported
from engine.work.messages import CensusLease, CensusTask, Counted, Failed
from engine.work.natural_ranges import ORDER_LOST

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
    seen: int = 0
    """Documents counted."""
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
        self.lost_numberings: set[int] = set()
        """Tasks of the plan that cannot be counted in natural order to their ends: the member is lost, or numbers its records
        anew."""
        self._levels = levels
        self._clock = clock
        self._leases: LeaseBook[CensusLease] = LeaseBook()
        self._collections: dict[int, _Collection] = {}
        """By census task."""
        self._n_partitions = 0
        self._rate = Window(RATE_WINDOW_S)

    def add(
        self,
        task_id: int,
        choice: Choice,
        part: PartFacts,
        ranges: Sequence[Range],
        numbering: Numbering | None = None,
    ) -> None:
        """A collection to count, as these ranges.

        Args:
            numbering: whose record ids they have; None is ranges of `_id`.
        """
        own_id = -task_id  # a worker of a run gets the copy of the same collection as another task
        self.tasks[own_id] = CensusTask(
            own_id, choice.database, choice.collection, self._levels, part.has_range_reads, choice.query, numbering
        )
        self._collections[own_id] = _Collection(task_id, Census(self._levels), part.documents, self._n_partitions)
        for place, span in enumerate(ranges):
            older = older_bounds(ranges, place) if numbering is not None else ()
            self._leases.add([CensusLease(own_id, self._n_partitions, span.lower, True, span.upper, older)])
            self._n_partitions += 1

    def begin_again(self, ranges: Mapping[int, Sequence[Range]]) -> None:
        """Count from their beginnings what could not be counted in natural order; workers are to be told.

        Args:
            ranges: of `_id`, by task of the plan.
        """
        for task_id, spans in ranges.items():
            task, expected = self.tasks[-task_id], self._collections[-task_id].expected
            assert isinstance(task, CensusTask)
            self.tasks[-task_id] = replace(task, numbering=None)
            self._collections[-task_id] = _Collection(task_id, Census(self._levels), expected, self._n_partitions)
            for span in spans:
                self._leases.add([CensusLease(-task_id, self._n_partitions, span.lower, True, span.upper)])
                self._n_partitions += 1
        self.lost_numberings -= ranges.keys()

    @property
    def n_waiting(self) -> int:
        """Ranges that no worker counts yet."""
        return len(self._leases.waiting)

    @property
    def is_finished(self) -> bool:
        """Whether every range is counted."""
        return self._leases.is_finished

    @property
    def seen(self) -> int:
        """Documents counted."""
        return sum(each.seen for each in self._collections.values())

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
        while (lease := self._leases.take()) is not None and -lease.task_id in self.lost_numberings:
            self._leases.finish(lease.key)
        return lease

    def progressed(self, payload: Counted) -> None:
        """A range is counted, or its first part."""
        lease = payload.lease
        collection = self._collections[lease.task_id]
        collection.seen += payload.n_documents
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

    def failed(self, lease: CensusLease, failure: Failed) -> bool:
        """A collection cannot be counted in natural order to its end: no more is read of it so."""
        task = self.tasks[lease.task_id]
        is_natural = isinstance(task, CensusTask) and task.numbering is not None
        if failure.code not in ORDER_LOST or not is_natural:
            return False
        self._leases.finish(lease.key)
        if -lease.task_id not in self.lost_numberings:
            self.lost_numberings.add(-lease.task_id)
            message = f"{redact(failure.message)} The collection is counted from its beginning, by _id."
            namespace = f"{task.database}.{task.collection}"
            self._owner.emit(ProblemReported(code=failure.code, message=message, namespace=namespace, retry=True))
        return True

    def can_go_on(self, lease: CensusLease) -> bool:
        """What its holder did not report is counted by another at any time."""
        return True

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
    natural: Mapping[int, RecordCuts],
) -> CensusJob:
    """The census of these collections, each with its task and its ranges.

    Args:
        ranges: of `_id`.
        natural: of those that are read in natural order, by task.
    """
    census = CensusJob(levels, owner)
    for task_id, choice in choices:
        if task_id in natural:
            census.add(task_id, choice, parts[task_id], natural[task_id].open_ranges, natural[task_id].numbering)
        else:
            census.add(task_id, choice, parts[task_id], [span for owner, span in ranges if owner == task_id])
    return census
