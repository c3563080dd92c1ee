"""A cluster for one piece of work that is no run: a verification, a census. The supervisor's director, but for the work."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress

from engine.cluster.director import fewer_workers
from engine.cluster.progress import Emit
from engine.cluster.supervisor import Supervisor
from engine.errors import MigrationError
from engine.protocol import ProblemReported, WorkerChanged, WorkerView
from engine.redaction import redact
from engine.work.context import WorkerStart
from engine.work.messages import Committed, Compared, Counted, Failed, Lease, Problem, Returned, Task

HEARTBEATS_EVERY_S = 1.0
END_GRACE_S = 0.5
MAX_DEATHS = 3
"""A partition that kills as many workers ends the work."""

log = logging.getLogger(__name__)


class Cluster(ABC):
    """Workers, and what they have in hand."""

    def __init__(self, start: WorkerStart, knobs: dict[str, int], emit: Emit) -> None:
        """No worker is started yet.

        Args:
            start: what workers have to know.
            knobs: `page_size` and `throttle`.
            emit: makes a fact known.
        """
        self.tasks: dict[int, Task] = {}
        self._emit = emit
        self._changed = asyncio.Event()
        self._failure: MigrationError | None = None
        self._watching: asyncio.Task[None] | None = None
        self._supervisor = Supervisor(start, self, page_size=knobs["page_size"], throttle=knobs["throttle"])

    # --- what the work asks -------------------------------------------------------------------------------------------

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

    def collection_of(self, lease: Lease | None) -> str:
        """The collection that a lease is about."""
        task = self.tasks.get(lease.task_id) if lease is not None else None
        return f"{task.database}.{task.collection}" if task is not None else ""

    async def until(self, is_done: Callable[[], bool]) -> None:
        """Have the work done; raises what made it fail."""
        self._supervisor.dispatch()
        while self._failure is None and not is_done():
            self._changed.clear()
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """End all workers."""
        try:
            if self._watching is not None:
                self._watching.cancel()
                with suppress(asyncio.CancelledError):
                    await self._watching
        finally:
            await self._supervisor.stop(END_GRACE_S)

    def _fail(self, error: MigrationError) -> None:
        """End it: what workers have in hand is dropped."""
        if self._failure is None:
            self._failure = error
            self._supervisor.abort()
            self._changed.set()

    def _fail_at(self, lease: Lease, partition_id: int, what: str) -> None:
        """End it for a partition that ends workers."""
        self._fail(
            MigrationError(
                f"Partition {partition_id} of {self.collection_of(lease)} ended {MAX_DEATHS} workers: the {what} was "
                "broken off; the engine's log says more.",
                code="parked",
            )
        )

    def _give_on(self, lease: Lease, why: str) -> None:
        """The holder of a lease is dead: another may have it."""
        message = f"A worker {why}; its partition goes to another."
        self._emit(
            ProblemReported(code="worker_lost", message=message, namespace=self.collection_of(lease), retry=True)
        )
        self._supervisor.dispatch()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEATS_EVERY_S)
            await self._supervisor.check_heartbeats()

    # --- the supervisor's director: the work itself -------------------------------------------------------------------

    @abstractmethod
    def next_lease(self) -> Lease | None:
        """The next partition."""

    @abstractmethod
    def returned(self, message: Returned) -> None:
        """A partition is done, or its rest is given back."""

    @abstractmethod
    def lost(self, lease: Lease, why: str) -> None:
        """The holder is dead."""

    def taken_back(self, message: Failed, size: int) -> bool:
        """Never: a verification does not outlive its logins."""
        return False

    def compared(self, message: Compared) -> None:
        """Verifications alone compare."""
        raise AssertionError(message)

    def counted(self, message: Counted) -> None:
        """A census alone counts."""
        raise AssertionError(message)

    def committed(self, message: Committed) -> None:
        """Runs alone commit."""
        raise AssertionError(message)

    # --- the supervisor's director: the workers -----------------------------------------------------------------------

    def task(self, task_id: int) -> Task:
        """The task that a lease belongs to."""
        return self.tasks[task_id]

    def failed(self, message: Failed) -> None:
        """A lease could not be worked on."""
        self._fail(MigrationError(message.message, code=message.code))

    def noticed(self, problem: Problem) -> None:
        """A worker dealt with a problem by itself."""
        self._emit(ProblemReported(code=problem.code, message=redact(problem.message), retry=True))

    def worker_changed(self, worker_id: int, pid: int, what: str, exit_code: int | None) -> None:
        """A worker started, retired or died."""
        self._emit(WorkerChanged(id=worker_id, pid=pid, what=what, exit=exit_code))
        if self._supervisor.is_hopeless:
            self._fail(
                MigrationError("Worker processes end before they are ready; the engine's log says why.", code="workers")
            )

    def shrunk(self, size: int) -> None:
        """The target has no connection for one of the workers: so many stay."""
        self._emit(ProblemReported(code="fewer_workers", message=fewer_workers(size)))

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

    @abstractmethod
    async def end_backend(self, backend_pid: int) -> None:
        """End a hanging worker's PostgreSQL session."""
