"""A job: one kind of work as the engine sees it. What workers are told of it, its leases, and what becomes of what they report.

A cluster has any number of jobs (`engine.cluster.dispatcher`); the worker's side of each kind is in `engine.work.kinds`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from engine.errors import MigrationError
from engine.protocol import Event, RangeView
from engine.work.messages import Failed, Lease, Task

LeaseT = TypeVar("LeaseT", bound=Lease)
PayloadT = TypeVar("PayloadT")
"""What the worker's side reports of its progress."""


class JobOwner(Protocol):
    """What a job tells the run, the verification or the plan that it is for."""

    def emit(self, event: Event) -> None:
        """Make a fact known."""
        ...

    def fail(self, error: MigrationError) -> None:
        """The work cannot be done."""
        ...


class Job(ABC, Generic[LeaseT, PayloadT]):
    """One kind of work, over any number of collections."""

    def __init__(self) -> None:
        self.tasks: dict[int, Task] = {}
        """By number; numbers are unique in a cluster."""

    @abstractmethod
    def next_lease(self) -> LeaseT | None:
        """The next lease, now out; None when none waits."""

    @abstractmethod
    def progressed(self, payload: PayloadT) -> None:
        """A part of a lease is done."""

    @abstractmethod
    def returned(self, lease: LeaseT, rest: LeaseT | None) -> None:
        """A lease came back: done, or with what is left of it."""

    @abstractmethod
    def lost(self, lease: LeaseT, why: str) -> None:
        """The holder is dead, or its session with the target is ended; what it committed is in the ledger.

        Args:
            why: how it ended, as "A worker ..." goes on.
        """

    def taken_away(self, lease: LeaseT, why: str) -> None:
        """As `lost`, and no fault of the lease: the holder's host was taken away, and some of it may be committed."""
        self.returned(lease, lease)

    def failed(self, lease: LeaseT, failure: Failed) -> bool:
        """A lease could not be worked on; False leaves it to the cluster, which tells and ends the work, or tries again."""
        return False

    def can_go_on(self, lease: LeaseT) -> bool:
        """A lease may be taken back from a worker that a server lets in no more, for those that are connected."""
        return False

    def partition_of(self, lease: LeaseT) -> int:
        """The number of the partition that a lease is of, for people; -1 where partitions are not shown."""
        return -1

    def range_of(self, lease: LeaseT, uncommitted: int) -> RangeView | None:
        """How far a lease is, with so many rows sent that no progress was reported of."""
        return None
