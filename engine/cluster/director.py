"""Who decides what workers work on, as the supervisor sees it."""

from __future__ import annotations

from typing import Protocol

from engine.work.messages import Committed, Compared, Counted, Failed, Lease, Problem, Returned, Task


def fewer_workers(size: int) -> str:
    """What people are told when the cluster had to shrink."""
    return (
        f"The target has no free connection for another worker: the cluster goes on with {size}; enlarge it again when "
        "there are more."
    )


class Director(Protocol):
    """Who decides what is worked on."""

    def next_lease(self) -> Lease | None:
        """The next range, now the caller's; None when nothing waits."""
        ...

    def task(self, task_id: int) -> Task:
        """The task that a lease belongs to."""
        ...

    def committed(self, message: Committed) -> None:
        """A slice is committed."""
        ...

    def compared(self, message: Compared) -> None:
        """A slice is compared."""
        ...

    def counted(self, message: Counted) -> None:
        """A partition, or a part of one, is counted."""
        ...

    def returned(self, message: Returned) -> None:
        """A lease is over, or its rest is given back."""
        ...

    def failed(self, message: Failed) -> None:
        """A lease could not be worked on."""
        ...

    def taken_back(self, message: Failed, size: int) -> bool:
        """A worker is let in no more by a server: its lease goes to the `size` that are connected; False where it cannot."""
        ...

    def lost(self, lease: Lease, why: str) -> None:
        """The holder of a lease is dead for certain; what it committed stands in the ledger."""
        ...

    def noticed(self, problem: Problem) -> None:
        """A worker dealt with a problem."""
        ...

    def worker_changed(self, worker_id: int, pid: int, what: str, exit_code: int | None) -> None:
        """A worker `started`, `retired` or `died`."""
        ...

    def shrunk(self, size: int) -> None:
        """The target has no connection for one of the workers: so many stay."""
        ...

    def cannot_start(self, error: Exception) -> None:
        """The system gives us no more processes."""
        ...

    def settled(self) -> None:
        """Something changed about who is idle: look whether a pause, a drain or the whole work is through."""
        ...

    async def end_backend(self, backend_pid: int) -> None:
        """End a hanging worker's PostgreSQL session."""
        ...
