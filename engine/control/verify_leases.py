"""The cluster of a verification: who reads which slices again, and what becomes of those whose worker dies."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from engine.config import redact
from engine.control.director import fewer_workers
from engine.control.protocol import WorkerView
from engine.control.supervisor import Supervisor
from engine.control.tally import Emit
from engine.errors import MigrationError
from engine.work.messages import (
    Committed,
    Compared,
    Failed,
    Lease,
    Problem,
    Returned,
    Task,
    VerifyLease,
)
from engine.work.worker import WorkerStart

HEARTBEATS_EVERY_S = 1.0
END_GRACE_S = 0.5
MAX_DEATHS = 3
"""A partition that kills as many workers ends the verification."""

log = logging.getLogger(__name__)


class VerifyCluster:
    """Workers, and the partitions that they go through; the supervisor's director."""

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
        self.tasks: dict[int, Task] = {}
        self._emit = emit
        self._on_compared = on_compared
        self._end_backend = end_backend
        self._waiting: deque[VerifyLease] = deque()
        self._out: dict[int, VerifyLease] = {}
        """By partition."""
        self._next_slice: dict[tuple[int, int], int] = {}
        """Task and partition -> the first slice that is not reported yet."""
        self._deaths: Counter[int] = Counter()
        self._changed = asyncio.Event()
        self._failure: MigrationError | None = None
        self._watching: asyncio.Task[None] | None = None
        self._supervisor = Supervisor(start, self, page_size=knobs["page_size"], throttle=knobs["throttle"])

    # --- what the verification asks -----------------------------------------------------------------------------------

    @property
    def converter(self) -> str:
        """Which converter the workers use."""
        return self._supervisor.converter

    def resize(self, size: int) -> None:
        """So many workers from now on."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="heartbeats")
        self._supervisor.resize(size)

    def tune(self, knobs: dict[str, int]) -> None:
        """Other values of `page_size` and `throttle`."""
        self._supervisor.tune(knobs["page_size"], knobs["throttle"])

    def views(self) -> list[WorkerView]:
        """What the workers do."""
        return self._supervisor.views(self.collection_of, is_paused=False)

    async def work_through(self, leases: Iterable[VerifyLease]) -> None:
        """Have these partitions gone through; raises what made it fail."""
        self._waiting.extend(leases)
        self._supervisor.dispatch()
        while self._failure is None and (self._waiting or self._out):
            self._changed.clear()
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """End all workers."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        await self._supervisor.stop(END_GRACE_S)

    def collection_of(self, lease: Lease | None) -> str:
        """The collection that a lease is about."""
        task = self.tasks.get(lease.task_id) if lease is not None else None
        return f"{task.database}.{task.collection}" if task is not None else ""

    def _fail(self, error: MigrationError) -> None:
        """End it: what workers have in hand is dropped."""
        if self._failure is None:
            self._failure = error
            self._supervisor.abort()
            self._changed.set()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEATS_EVERY_S)
            await self._supervisor.check_heartbeats()

    # --- the supervisor's director ------------------------------------------------------------------------------------

    def next_lease(self) -> Lease | None:
        """The next partition."""
        if not self._waiting or self._failure is not None:
            return None
        lease = self._waiting.popleft()
        self._out[lease.partition_id] = lease
        return lease

    def task(self, task_id: int) -> Task:
        """The task that a lease belongs to."""
        return self.tasks[task_id]

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
            self._fail(
                MigrationError(
                    f"Partition {lease.partition_id} of {self.collection_of(lease)} ended {MAX_DEATHS} workers: the "
                    "verification was broken off; the engine's log says more.",
                    code="parked",
                )
            )
            return
        first = self._next_slice.get((lease.task_id, lease.partition_id), lease.slice_no)
        self._waiting.appendleft(VerifyLease(lease.task_id, lease.partition_id, first, lease.upper))
        message = f"A worker {why}; its partition goes to another."
        self._emit("problem", code="worker_lost", message=message, namespace=self.collection_of(lease), retry=True)
        self._supervisor.dispatch()

    def failed(self, message: Failed) -> None:
        """A lease could not be worked on."""
        self._fail(MigrationError(message.message, code=message.code))

    def noticed(self, problem: Problem) -> None:
        """A worker dealt with a problem by itself."""
        self._emit("problem", code=problem.code, message=redact(problem.message), retry=True)

    def worker_changed(self, worker_id: int, pid: int, what: str, exit_code: int | None) -> None:
        """A worker started, retired or died."""
        self._emit("worker", id=worker_id, pid=pid, what=what, exit=exit_code)
        if self._supervisor.is_hopeless:
            self._fail(
                MigrationError("Worker processes end before they are ready; the engine's log says why.", code="workers")
            )

    def shrunk(self, size: int) -> None:
        """The target has no connection for one of the workers: so many stay."""
        self._emit("problem", code="fewer_workers", message=fewer_workers(size))

    def cannot_start(self, error: Exception) -> None:
        """The system gives us no more processes."""
        if not self._supervisor.workers:
            name = type(error).__name__
            self._fail(
                MigrationError(
                    f"No worker process can be started ({name}); the engine's log says more.", code="workers"
                )
            )

    def settled(self) -> None:
        """Somebody became idle."""
        self._changed.set()

    def committed(self, message: Committed) -> None:
        """Nothing is committed here."""
        raise AssertionError(message)

    async def end_backend(self, backend_pid: int) -> None:
        """End a hanging worker's PostgreSQL session."""
        await self._end_backend(backend_pid)
