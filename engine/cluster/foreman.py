"""The director of a run's cluster: hands out its seeding, its census and its copying, and takes in what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.cluster.director import fewer_workers
from engine.config import redact
from engine.errors import MigrationError
from engine.postgres.sqlstates import DISK_FULL
from engine.protocol import KnobChanged, ProblemReported, WorkerChanged
from engine.run.census_leases import FullCensus
from engine.run.copy import Copying
from engine.run.seed import SEED_TASK_ID, Seeding
from engine.work.messages import (
    CensusLease,
    Committed,
    Compared,
    CopyLease,
    Counted,
    Failed,
    Lease,
    Problem,
    Returned,
    SeedLease,
    Task,
)

if TYPE_CHECKING:
    from engine.run.run import Migration


class Foreman:
    """Stands between the supervisor and the two kinds of work."""

    def __init__(self, migration: Migration) -> None:
        self._migration = migration

    @property
    def _seeding(self) -> Seeding:
        assert self._migration.seeding is not None
        return self._migration.seeding

    @property
    def _copying(self) -> Copying:
        assert self._migration.copying is not None
        return self._migration.copying

    @property
    def _census(self) -> FullCensus:
        assert self._migration.census is not None
        return self._migration.census

    def next_lease(self) -> Lease | None:
        """A census comes before the copy; seeding comes first of all: the copy's last partition waits for it."""
        lease: Lease | None = self._migration.census.take() if self._migration.census is not None else None
        if lease is not None:
            return lease
        if self._migration.seeding is not None:
            lease = self._migration.seeding.next_lease(self._migration.record.knobs["page_size"])
        if lease is None and self._migration.copying is not None:
            lease = self._migration.copying.next_lease()
        return lease

    def task(self, task_id: int) -> Task:
        """The task that a lease belongs to."""
        if task_id == SEED_TASK_ID:
            return self._seeding.task
        if task_id < 0:
            return self._census.tasks[task_id]
        return self._copying.tasks[task_id]

    def committed(self, message: Committed) -> None:
        """A slice is committed, or a part of a seed range inserted."""
        if message.task_id == SEED_TASK_ID:
            self._seeding.committed(message)
        else:
            self._copying.tally.committed(message)
            self._copying.guard.look()

    def compared(self, message: Compared) -> None:
        """Verifications have a director of their own."""
        raise AssertionError(message)

    def counted(self, message: Counted) -> None:
        """A range is counted, or its first part."""
        self._census.counted(message)
        self._migration.settled()

    def returned(self, message: Returned) -> None:
        """A lease is over, or its rest is given back."""
        if isinstance(message.lease, CensusLease):
            self._census.returned(message)
        elif isinstance(message.lease, SeedLease):
            self._seeding.returned(message)
        else:
            self._copying.returned(message)

    def failed(self, message: Failed) -> None:
        """A lease could not be worked on: it is tried again elsewhere, or the run fails."""
        copying = self._migration.copying
        if copying is not None and copying.consistency.is_lost(message) and not self._migration.is_stopping:
            self._migration.emit(ProblemReported(code=message.code, message=redact(message.message), retry=True))
            copying.consistency.lost(message)
            return
        if message.code == DISK_FULL and isinstance(message.lease, CopyLease) and not self._migration.is_stopping:
            self._wait_for_space(message, message.lease)
            return
        self._migration.emit(
            ProblemReported(code=message.code, message=redact(message.message), retry=not message.fatal)
        )
        if message.fatal:
            self._migration.fail(MigrationError(message.message, code=message.code))
        else:
            self.lost(message.lease, "gave its partition up")

    def taken_back(self, message: Failed, size: int) -> bool:
        """A worker that is refused for good leaves its lease to those that are connected; False where that cannot be."""
        if not isinstance(message.lease, CopyLease) or self._migration.is_stopping:
            return False
        self._copying.leases.give_back(message.lease)
        words = f"{redact(message.message)} The run goes on with the {size} workers that are connected."
        self._migration.emit(ProblemReported(code=message.code, message=words, retry=True))
        old = self._migration.record.knobs["cluster_size"]
        if size < old:
            self._migration.emit(KnobChanged(knob="cluster_size", old=old, value=size))
        return True

    def _wait_for_space(self, message: Failed, lease: CopyLease) -> None:
        """Nothing is lost by waiting, and somebody has to make room: the run pauses."""
        self._copying.leases.give_back(lease)
        if self._migration.record.may("pause"):
            advice = "The run is paused: make room on the target's server, then resume it."
            self._migration.emit(ProblemReported(code=message.code, message=f"{redact(message.message)} {advice}"))
            self._migration.pause("waiting: the target's disk is full")

    def lost(self, lease: Lease, why: str) -> None:
        """The holder is dead for certain."""
        if self._migration.is_stopping:
            return  # resume asks the ledger
        if isinstance(lease, SeedLease):
            self._seeding.leases.lose(lease)
            self._migration.dispatch()
        elif isinstance(lease, CopyLease):
            self._copying.lost(lease, why)
        elif isinstance(lease, CensusLease):
            self._lost_count(lease, why)

    def _lost_count(self, lease: CensusLease, why: str) -> None:
        """What the dead one did not report is counted again."""
        task = self._census.tasks[lease.task_id]
        namespace = f"{task.database}.{task.collection}"
        if not self._census.lost(lease):
            self._migration.fail(
                MigrationError(
                    f"Partition {lease.partition_id} of {namespace} ended three workers while its fields were counted; "
                    "the engine's log says more.",
                    code="parked",
                )
            )
            return
        message = f"A worker {why}; its partition is counted again by another."
        self._migration.emit(ProblemReported(code="worker_lost", message=message, namespace=namespace, retry=True))
        self._migration.dispatch()

    def noticed(self, problem: Problem) -> None:
        """A worker dealt with a problem by itself."""
        self._migration.emit(ProblemReported(code=problem.code, message=redact(problem.message), retry=True))

    def worker_changed(self, worker_id: int, pid: int, what: str, exit_code: int | None) -> None:
        """A worker started, retired or died."""
        self._migration.emit(WorkerChanged(id=worker_id, pid=pid, what=what, exit=exit_code))
        if self._migration.supervisor is not None and self._migration.supervisor.is_hopeless:
            self._migration.fail(
                MigrationError("Worker processes end before they are ready; the engine's log says why.", code="workers")
            )

    def shrunk(self, size: int) -> None:
        """The target has no connection for one of the workers: so many stay."""
        old = self._migration.record.knobs["cluster_size"]
        self._migration.emit(KnobChanged(knob="cluster_size", old=old, value=size))
        self._migration.emit(ProblemReported(code="fewer_workers", message=fewer_workers(size)))

    def cannot_start(self, error: Exception) -> None:
        """The system gives us no more processes: a run that has some goes on with those."""
        name = type(error).__name__
        if self._migration.supervisor is None or not self._migration.supervisor.workers:
            self._migration.fail(
                MigrationError(
                    f"No worker process can be started ({name}); the engine's log says more.", code="workers"
                )
            )
        else:
            self._migration.emit(
                ProblemReported(code="workers", message=f"No more worker processes can be started ({name}).")
            )

    def settled(self) -> None:
        """Somebody became idle, or nobody is busy."""
        self._migration.settled()

    async def end_backend(self, backend_pid: int) -> None:
        """End a hanging worker's PostgreSQL session."""
        if self._migration.copying is not None:
            await self._migration.copying.journal.end_backend(backend_pid)
