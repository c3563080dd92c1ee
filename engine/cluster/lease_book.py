"""Which leases wait, and which are out. Pull-based: an idle worker takes the next one, so a slow one never holds work back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from engine.work.messages import Lease

MAX_DEATHS = 3
"""A lease that ends as many workers is parked: it is given to no other."""

LeaseT = TypeVar("LeaseT", bound=Lease)


@dataclass(slots=True)
class LeaseBook(Generic[LeaseT]):
    """The leases of one job, each in one place: waiting, out, held, apart, parked, or done; told apart by their `key`."""

    waiting: deque[LeaseT] = field(default_factory=deque)
    out: dict[int, LeaseT] = field(default_factory=dict)
    parked: dict[int, LeaseT] = field(default_factory=dict)
    held: dict[int, LeaseT] = field(default_factory=dict)
    """Kept back until `release`: the last partition while seeding goes on beside the copy."""
    apart: dict[int, LeaseT] = field(default_factory=dict)
    """Out of the queue to be cut into others."""
    n_done: int = 0
    deaths: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By key: where in the lease workers died, and how many."""

    @property
    def n_total(self) -> int:
        """Leases in all places."""
        places = (self.waiting, self.out, self.parked, self.held, self.apart)
        return sum(map(len, places)) + self.n_done

    @property
    def is_finished(self) -> bool:
        """What is not done is parked."""
        return not (self.waiting or self.out or self.held or self.apart)

    def add(self, leases: Iterable[LeaseT]) -> None:
        """New ones, to be worked on in this order."""
        self.waiting.extend(leases)

    def take(self) -> LeaseT | None:
        """The next one, now out; None when none waits."""
        if not self.waiting:
            return None
        lease = self.waiting.popleft()
        self.out[lease.key] = lease
        return lease

    def give_back(self, rest: LeaseT, of: LeaseT | None = None) -> None:
        """What is left of one, to be worked on next: its neighbours are warm in the server's cache.

        Args:
            of: the lease that was out, where its rest has another key.
        """
        self.out.pop((of or rest).key, None)
        self.waiting.appendleft(rest)

    def finish(self, key: int) -> None:
        """All of it is done."""
        if self.out.pop(key, None) is not None:
            self.n_done += 1

    def reopen(self, lease: LeaseT) -> None:
        """One that was done has lost its end."""
        self.n_done -= 1
        self.waiting.append(lease)

    def count_death(self, key: int, at: int = 0) -> bool:
        """A worker died while it had this one; True when that parks it.

        Args:
            at: how far the lease was, such as the number of its slice: deaths at places that another worker passed afterwards
                were not the lease's fault.
        """
        before, n_deaths = self.deaths.get(key, (at, 0))
        n_deaths = n_deaths + 1 if before == at else 1
        self.deaths[key] = at, n_deaths
        if n_deaths < MAX_DEATHS:
            return False
        self.parked[key] = self.out.pop(key)
        return True

    def withdraw(self, key: int) -> LeaseT | None:
        """Take a waiting one out of the queue, to `replace` or hold it; None when it does not wait."""
        for lease in self.waiting:
            if lease.key == key:
                self.waiting.remove(lease)
                self.apart[key] = lease
                return lease
        return None

    def replace(self, key: int, pieces: Iterable[LeaseT]) -> None:
        """One that was withdrawn waits again, as these; with none it is done."""
        before = len(self.waiting)
        self.waiting.extend(pieces)
        if self.apart.pop(key, None) is not None and len(self.waiting) == before:
            self.n_done += 1

    def hold(self, lease: LeaseT) -> None:
        """Keep one back until `release`, wherever it is."""
        if lease in self.waiting:
            self.waiting.remove(lease)
        self.out.pop(lease.key, None)
        self.apart.pop(lease.key, None)
        self.held[lease.key] = lease

    def release(self) -> None:
        """Let all that are held go."""
        self.waiting.extend(self.held.values())
        self.held.clear()
