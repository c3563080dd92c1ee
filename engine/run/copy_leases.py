"""The partitions of a run as leases."""

from __future__ import annotations

from dataclasses import dataclass

from engine.cluster.lease_book import LeaseBook
from engine.ledger.partitions import Partition, Position
from engine.work.messages import CopyLease


@dataclass(slots=True)
class CopyLeases(LeaseBook[CopyLease]):
    """Partitions of all collections of a run; new ones get numbers of their own."""

    next_id: int = 0
    """Number of the next new partition."""

    @property
    def unfinished(self) -> frozenset[int]:
        """Tasks that have a partition which is not done."""
        places = (self.waiting, self.out.values(), self.held.values(), self.apart.values(), self.parked.values())
        return frozenset(lease.task_id for place in places for lease in place)

    def leave(self) -> None:
        """Hand nothing out any more; what is not done counts as before."""
        for lease in [*self.waiting, *self.out.values(), *self.apart.values(), *self.parked.values()]:
            self.hold(lease)
        self.parked.clear()

    def new(self, task_id: int, lower: bytes | None, upper: bytes | None) -> CopyLease:
        """A lease of a new partition; it does not wait yet."""
        return CopyLease(task_id, self.new_id(), 0, lower, True, upper)

    def new_id(self) -> int:
        """The number of a new partition."""
        self.next_id += 1
        return self.next_id - 1


def lease_at(position: Position) -> CopyLease:
    """The rest of a partition, from where it is in the ledger."""
    whole = position.partition
    return CopyLease(
        task_id=whole.task_id,
        partition_id=whole.partition_id,
        slice_no=position.next_slice_no,
        lower=position.lower,
        lower_inclusive=position.lower_inclusive,
        upper=whole.upper,
    )


def partition_of(lease: CopyLease, generation: int = 0) -> Partition:
    """A lease of a whole partition, as the ledger keeps it."""
    return Partition(lease.partition_id, lease.task_id, lease.lower, lease.upper, generation=generation)
