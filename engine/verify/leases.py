"""The cluster of a verification: who reads which slices again, and what becomes of those whose worker dies."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable

from engine.cluster.cluster import MAX_DEATHS, Cluster
from engine.cluster.progress import Emit
from engine.work.context import WorkerStart
from engine.work.messages import Compared, Lease, Returned, VerifyLease


class VerifyCluster(Cluster):
    """Workers, and the partitions that they go through."""

    def __init__(
        self,
        start: WorkerStart,
        knobs: dict[str, int],
        emit: Emit,
        on_compared: Callable[[Compared], None],
        end_backend: Callable[[int], Awaitable[None]],
    ) -> None:
        """No worker is started yet.

        Args:
            start: what workers have to know.
            knobs: `page_size` and `throttle`.
            emit: makes a fact known.
            on_compared: called once for each slice.
            end_backend: ends a session with PostgreSQL.
        """
        super().__init__(start, knobs, emit)
        self._on_compared = on_compared
        self._end_backend = end_backend
        self._waiting: deque[VerifyLease] = deque()
        self._out: dict[int, VerifyLease] = {}
        """By partition."""
        self._next_slice: dict[tuple[int, int], int] = {}
        """Task and partition -> the first slice that is not reported yet."""
        self._deaths: Counter[int] = Counter()

    async def work_through(self, leases: Iterable[VerifyLease]) -> None:
        """Have these partitions gone through; raises what made it fail."""
        self._waiting.extend(leases)
        await self.until(lambda: not self._waiting and not self._out)

    # --- the supervisor's director ------------------------------------------------------------------------------------

    def next_lease(self) -> Lease | None:
        """The next partition."""
        if not self._waiting or self._failure is not None:
            return None
        lease = self._waiting.popleft()
        self._out[lease.partition_id] = lease
        return lease

    def compared(self, message: Compared) -> None:
        """A slice is compared; one that was compared before, by a worker who died meanwhile, counts once."""
        key = (message.task_id, message.partition_id)
        if message.slice_no >= self._next_slice.get(key, 0):
            self._next_slice[key] = message.slice_no + 1
            self._on_compared(message)

    def returned(self, message: Returned) -> None:
        """A partition is done, or its rest is given back."""
        lease = message.lease
        assert isinstance(lease, VerifyLease)
        self._out.pop(lease.partition_id, None)
        if not message.finished and isinstance(message.rest, VerifyLease):
            self._waiting.appendleft(message.rest)
        self._changed.set()

    def lost(self, lease: Lease, why: str) -> None:
        """The holder is dead: the rest is given on."""
        assert isinstance(lease, VerifyLease)
        self._out.pop(lease.partition_id, None)
        self._deaths[lease.partition_id] += 1
        if self._deaths[lease.partition_id] >= MAX_DEATHS:
            self._fail_at(lease, lease.partition_id, "verification")
            return
        first = self._next_slice.get((lease.task_id, lease.partition_id), lease.slice_no)
        self._waiting.appendleft(VerifyLease(lease.task_id, lease.partition_id, first, lease.upper))
        self._give_on(lease, why)

    async def end_backend(self, backend_pid: int) -> None:
        """End a hanging worker's PostgreSQL session."""
        await self._end_backend(backend_pid)
