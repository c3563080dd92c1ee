"""The last partition of a collection that is seeded beside its copy: it stays open until no more documents come."""

from __future__ import annotations

from collections.abc import Mapping

from engine.run.copy_leases import CopyLeases
from engine.work.messages import CopyLease, Task


class OpenPartition:
    """It has no upper end, so documents to come are its own."""

    def __init__(self, leases: CopyLeases, tasks: Mapping[int, Task], seeded: tuple[str, str] | None) -> None:
        """Not kept open.

        Args:
            tasks: of the copy, by number.
            seeded: database and name of the collection that is seeded; None for none.
        """
        self.is_kept = False
        """Documents are being seeded: it waits for them."""
        self._leases = leases
        self._tasks = tasks
        self._seeded = seeded

    def has(self, lease: CopyLease) -> bool:
        """This lease is it, or the rest of it."""
        return lease.upper is None and self.is_of(lease.task_id)

    def is_of(self, task_id: int) -> bool:
        """It is the last partition of this task's collection."""
        task = self._tasks[task_id]
        return (task.database, task.collection) == self._seeded

    def takes(self, rest: CopyLease) -> bool:
        """What a worker gives back is to be held, not to be given to another."""
        return self.is_kept and self.has(rest)

    @property
    def is_held(self) -> bool:
        """No worker reads it, and none will before it is released."""
        return any(self.has(lease) for lease in self._leases.held.values())

    def hold_waiting(self) -> bool:
        """Hold it if it waits; False when it does not."""
        waiting = next((lease for lease in self._leases.waiting if self.has(lease)), None)
        if waiting is None:
            return False
        self._leases.hold(waiting)
        return True

    @property
    def out(self) -> CopyLease | None:
        """It, while a worker reads it."""
        return next((lease for lease in self._leases.out.values() if self.has(lease)), None)

    def release(self) -> None:
        """All documents are there: it can be copied."""
        self.is_kept = False
        self._leases.release()
