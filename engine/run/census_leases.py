"""A full census: who counts which range, and what was counted. A run's own cluster takes it, or one for a plan alone.

Partitions of one collection are merged in their order, so fields come in the order in which they first appear in it, however
the workers were scheduled.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from engine.cluster.cluster import MAX_DEATHS, Cluster
from engine.cluster.meter import RATE_WINDOW_S, Window
from engine.cluster.progress import Emit
from engine.mapping.census import Census
from engine.mongo.reader import Range
from engine.plan import Choice, PartFacts
from engine.protocol import CountingView
from engine.work.context import WorkerStart
from engine.work.messages import CensusLease, CensusTask, Counted, Lease, Returned

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


class FullCensus:
    """Every document of some collections, counted range by range."""

    def __init__(self, levels: int, clock: Callable[[], float] = time.monotonic) -> None:
        """There is nothing to count yet.

        Args:
            levels: of nested documents whose fields are told apart.
        """
        self.tasks: dict[int, CensusTask] = {}
        self.seen = 0
        """Documents counted."""
        self._levels = levels
        self._clock = clock
        self._waiting: deque[CensusLease] = deque()
        self._out: dict[int, CensusLease] = {}
        """By partition."""
        self._collections: dict[int, _Collection] = {}
        """By census task."""
        self._deaths: Counter[int] = Counter()
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
            self._waiting.append(CensusLease(own_id, self._n_partitions, span.lower, True, span.upper))
            self._n_partitions += 1

    @property
    def n_waiting(self) -> int:
        """Ranges that nobody counts yet."""
        return len(self._waiting)

    @property
    def is_finished(self) -> bool:
        """Everything is counted."""
        return not self._waiting and not self._out

    @property
    def total(self) -> int:
        """Documents expected, never below those seen."""
        return max(self.seen, sum(each.expected for each in self._collections.values()))

    @property
    def collections(self) -> list[str]:
        """What is counted, `db.collection`."""
        return [f"{task.database}.{task.collection}" for task in self.tasks.values()]

    def view(self) -> CountingView:
        """How far it is."""
        rate = self._rate.rate()
        left = (self.total - self.seen) / rate if rate > 0 else None
        return CountingView(collections=self.collections, seen=self.seen, total=self.total, rows_per_s=rate, eta_s=left)

    def results(self) -> dict[int, Census]:
        """What was counted, by task of the plan."""
        return {each.task_id: each.census for each in self._collections.values()}

    # --- leases -------------------------------------------------------------------------------------------------------

    def take(self) -> CensusLease | None:
        """The next range."""
        if not self._waiting:
            return None
        lease = self._waiting.popleft()
        self._out[lease.partition_id] = lease
        return lease

    def counted(self, message: Counted) -> None:
        """A range is counted, or its first part."""
        lease = message.lease
        collection = self._collections[lease.task_id]
        self.seen += message.n_documents
        self._rate.add(self._clock(), self.seen)
        collection.parts.setdefault(lease.partition_id, []).append(message.census)
        if message.rest is not None:
            self._out[lease.partition_id] = message.rest  # the holder gives it back, or dies
            return
        del self._out[lease.partition_id]
        collection.done.add(lease.partition_id)
        while collection.next_partition in collection.done:
            collection.done.remove(collection.next_partition)
            for encoded in collection.parts.pop(collection.next_partition):
                collection.census.merge(Census.from_dict(json.loads(encoded)))
            collection.next_partition += 1

    def returned(self, message: Returned) -> None:
        """A holder is free again; what it did not count goes to another."""
        assert isinstance(message.lease, CensusLease)
        self._give_back(message.lease)

    def lost(self, lease: CensusLease) -> bool:
        """The holder is dead: what it did not report is counted again; False when that has happened too often."""
        self._deaths[lease.partition_id] += 1
        if self._deaths[lease.partition_id] >= MAX_DEATHS:
            return False
        self._give_back(lease)
        return True

    def _give_back(self, lease: CensusLease) -> None:
        left = self._out.pop(lease.partition_id, None)
        if left is not None:
            self._waiting.appendleft(left)


def full_census(
    levels: int, choices: Sequence[tuple[int, Choice]], parts: dict[int, PartFacts], ranges: Sequence[tuple[int, Range]]
) -> FullCensus:
    """The census of these collections, each with its task and its ranges."""
    census = FullCensus(levels)
    for task_id, choice in choices:
        census.add(task_id, choice, parts[task_id], [span for owner, span in ranges if owner == task_id])
    return census


class CensusCluster(Cluster):
    """Workers that do nothing but count."""

    def __init__(self, start: WorkerStart, knobs: dict[str, int], emit: Emit, census: FullCensus) -> None:
        super().__init__(start, knobs, emit)
        self._census = census
        self.tasks.update(census.tasks)

    async def work_through(self) -> None:
        """Have everything counted; raises what made it fail."""
        await self.until(lambda: self._census.is_finished)

    def next_lease(self) -> Lease | None:
        """The next range."""
        return self._census.take() if self._failure is None else None

    def counted(self, message: Counted) -> None:
        """A range is counted, or its first part."""
        self._census.counted(message)

    def returned(self, message: Returned) -> None:
        """A holder is free again."""
        self._census.returned(message)
        self._changed.set()

    async def end_backend(self, backend_pid: int) -> None:
        """Nobody here has a session with PostgreSQL."""
        raise AssertionError(backend_pid)

    def lost(self, lease: Lease, why: str) -> None:
        """The holder is dead."""
        assert isinstance(lease, CensusLease)
        if self._census.lost(lease):
            self._give_on(lease, why)
        else:
            self._fail_at(lease, lease.partition_id, "census")
