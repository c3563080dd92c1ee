"""Who works on which range. Pull-based: an idle worker takes the next lease, so a slow one never holds work back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.work.messages import CopyLease, SeedLease

MAX_DEATHS = 3
"""A partition that kills as many workers is parked: the rest goes on, and the run ends failed with it named."""


@dataclass(slots=True)
class CopyLeases:
    """Partitions of all collections of a run, as leases: waiting, out, done or parked."""

    waiting: deque[CopyLease] = field(default_factory=deque)
    out: dict[int, CopyLease] = field(default_factory=dict)
    """By partition id."""
    parked: dict[int, CopyLease] = field(default_factory=dict)
    held: dict[int, CopyLease] = field(default_factory=dict)
    """Partitions that stay closed until somebody releases them: the last one while seeding goes on beside the copy."""
    n_done: int = 0
    next_id: int = 0
    """Number of the next new partition."""
    deaths: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By partition: the slice at which workers died, and how many."""

    @property
    def n_total(self) -> int:
        """Partitions in all states."""
        return len(self.waiting) + len(self.out) + len(self.parked) + len(self.held) + self.n_done

    @property
    def is_finished(self) -> bool:
        """Nothing waits, nothing is out: what is not done is parked."""
        return not (self.waiting or self.out or self.held)

    def new(self, task_id: int, lower: bytes | None, upper: bytes | None) -> CopyLease:
        """A lease of a new partition, with a number of its own; it does not wait yet."""
        self.next_id += 1
        return CopyLease(task_id, self.next_id - 1, 0, lower, True, upper)

    def add(self, leases: Iterable[CopyLease]) -> None:
        """New partitions, to be worked on in this order."""
        self.waiting.extend(leases)

    def take(self) -> CopyLease | None:
        """The next lease, now out; None when nothing waits."""
        if not self.waiting:
            return None
        lease = self.waiting.popleft()
        self.out[lease.partition_id] = lease
        return lease

    def give_back(self, lease: CopyLease) -> None:
        """The rest of a partition, to be worked on next: its neighbours are warm in the server's cache."""
        self.out.pop(lease.partition_id, None)
        self.waiting.appendleft(lease)

    def finish(self, partition_id: int) -> None:
        """The partition's last slice is committed."""
        if self.out.pop(partition_id, None) is not None:
            self.n_done += 1

    def reopen(self, lease: CopyLease) -> None:
        """A partition that was done has lost its end."""
        self.n_done -= 1
        self.waiting.append(lease)

    def count_death(self, partition_id: int, slice_no: int) -> bool:
        """A worker died while it held this partition, at this slice; True when that parks it.

        Deaths at slices that another worker committed afterwards were not the partition's fault.
        """
        at, n_deaths = self.deaths.get(partition_id, (slice_no, 0))
        n_deaths = n_deaths + 1 if at == slice_no else 1
        self.deaths[partition_id] = slice_no, n_deaths
        if n_deaths < MAX_DEATHS:
            return False
        self.parked[partition_id] = self.out.pop(partition_id)
        return True

    def withdraw(self, partition_id: int) -> CopyLease | None:
        """Take a waiting lease out of the queue, to cut or hold it; None when it does not wait."""
        for lease in self.waiting:
            if lease.partition_id == partition_id:
                self.waiting.remove(lease)
                return lease
        return None

    def hold(self, lease: CopyLease) -> None:
        """Keep a lease back until `release`."""
        self.out.pop(lease.partition_id, None)
        self.held[lease.partition_id] = lease

    def release(self) -> None:
        """Let everything that was held go."""
        self.waiting.extend(self.held.values())
        self.held.clear()

    def clear(self) -> None:
        """Nothing more is handed out: the run is ending."""
        self.waiting.clear()
        self.held.clear()


@dataclass(slots=True)
class SeedLeases:
    """Index ranges to seed, in ascending order, so that the collection always holds 0..M-1 when all ranges out are done."""

    task_id: int
    first: int
    """Documents that were there before."""
    count: int
    """Where to stop: the seed count."""
    next_index: int = -1
    out: list[SeedLease] = field(default_factory=list)
    returned: deque[SeedLease] = field(default_factory=deque)
    """Ranges whose worker gave them back or died: first in line, and finished whatever the count became."""
    n_inserted: int = 0
    reported: dict[SeedLease, int] = field(default_factory=dict)
    """Documents that were reported of a range that is not done yet."""

    def __post_init__(self) -> None:
        self.next_index = self.first

    @property
    def is_finished(self) -> bool:
        """Every range that was begun is done, and the count is reached."""
        return not self.out and not self.returned and self.next_index >= self.count

    @property
    def n_seeded(self) -> int:
        """Documents in the collection now."""
        return self.first + self.n_inserted

    @property
    def n_expected(self) -> int:
        """Documents in the collection at the end: the count, or what was begun when it was lowered below that."""
        return max(self.count, self.next_index)

    def take(self, page_size: int) -> SeedLease | None:
        """The next range of at most `page_size` documents."""
        if self.returned:
            lease = self.returned.popleft()
        elif self.next_index < self.count:
            lease = SeedLease(self.task_id, self.next_index, min(self.next_index + page_size, self.count))
            self.next_index = lease.high
        else:
            return None
        self.out.append(lease)
        return lease

    def progress(self, lease: SeedLease, done: int) -> None:
        """`done` more documents of a range are in."""
        self.n_inserted += done
        self.reported[lease] = self.reported.get(lease, 0) + done

    def finish(self, lease: SeedLease) -> None:
        """All of a range is in."""
        self.out.remove(lease)
        self.reported.pop(lease, None)

    def give_back(self, lease: SeedLease, rest: SeedLease) -> None:
        """A range was left before its end; `rest` is still to do."""
        self.finish(lease)
        self.returned.append(rest)

    def lose(self, lease: SeedLease) -> None:
        """The holder of a range died: all of it is done again, what is there already counts then."""
        self.n_inserted -= self.reported.get(lease, 0)
        self.give_back(lease, lease)
