"""A cluster at work: its jobs, in their order, and the workers that do them.

The one cluster of a run has its seeding, its census and its copy as jobs; a verification and a plan's census have a cluster of
their own, with one job. What is true of all kinds of work is here: which job learns of a death, and when the work ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from engine.cluster.crew import Host, MakeCrew
from engine.cluster.host_watch import HostWatch
from engine.cluster.job import Job, JobOwner
from engine.cluster.supervisor import Supervisor
from engine.cluster.worker import Worker
from engine.errors import MigrationError, RunTaken
from engine.plurals import counted
from engine.protocol import ProblemReported, WorkerChanged, WorkerView
from engine.redaction import redact
from engine.work.context import WorkerStart
from engine.work.messages import Failed, Lease, Problem, Returned, Task

HEARTBEATS_EVERY_S = 1.0

log = logging.getLogger(__name__)


class Owner(JobOwner, Protocol):
    """Whose cluster it is."""

    def resized(self, size: int) -> None:
        """The cluster had to shrink to so many."""
        ...

    def settled(self) -> None:
        """Another worker may be idle: look whether what is waited for is there."""
        ...


async def no_backends(backend_pid: int) -> None:
    """For a cluster whose workers have no sessions with PostgreSQL."""


class Dispatcher:
    """Hands out the leases of its jobs, and what workers say to the job that it is about."""

    def __init__(
        self,
        owner: Owner,
        make_crew: MakeCrew,
        *,
        page_size: int,
        throttle: int,
        end_backend: Callable[[int], Awaitable[None]] = no_backends,
    ) -> None:
        """No worker is wanted yet, and there is no job.

        Args:
            throttle: documents per second of all workers together; 0 is no limit.
            end_backend: ends a session with PostgreSQL.
        """
        self.end_sessions_by = end_backend
        self._owner = owner
        self._jobs: list[Job[Any, Any]] = []
        self.is_ending = False
        """Nothing is tried again: the work ends as it is."""
        self._watching: asyncio.Task[None] | None = None
        self._hosts = HostWatch()
        self._supervisor = Supervisor(make_crew, self, page_size=page_size, throttle=throttle)

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def add(self, job: Job[Any, Any]) -> None:
        """Another job; its leases come behind those of the jobs before it."""
        self._jobs.append(job)

    def put_first(self, job: Job[Any, Any]) -> None:
        """Another job, whose leases come before all others."""
        self._jobs.insert(0, job)

    def _job_of(self, task_id: int) -> Job[Any, Any]:
        return next(job for job in self._jobs if task_id in job.tasks)

    def collection_of(self, lease: Lease | None) -> str:
        """The collection that a lease is about, `db.collection`; empty for none."""
        if lease is None:
            return ""
        task = self.task(lease.task_id)
        return f"{task.database}.{task.collection}"

    # --- the workers --------------------------------------------------------------------------------------------------

    @property
    def workers(self) -> list[Worker]:
        """Those alive, and those being started."""
        return self._supervisor.workers

    @property
    def hosts(self) -> Sequence[Host]:
        """Where workers run, or could run, besides this host."""
        return self._supervisor.hosts

    @property
    def hosts_wanted(self) -> int:
        """How many hosts the cluster was asked to have, where it was asked for more; else 0."""
        return self._supervisor.hosts_wanted

    @property
    def n_idle(self) -> int:
        """Workers that could be given something."""
        return self._supervisor.n_idle

    @property
    def n_draining(self) -> int:
        """Workers that end their page and leave."""
        return self._supervisor.n_draining

    @property
    def is_quiet(self) -> bool:
        """No worker has a lease."""
        return self._supervisor.is_quiet

    @property
    def converter(self) -> str:
        """Which converter the workers use; empty before one is ready."""
        return self._supervisor.converter

    def views(self, *, is_paused: bool = False) -> list[WorkerView]:
        """What the workers do now; call it regularly, rates are made from call to call."""
        return [self._view(worker, is_paused=is_paused) for worker in self.workers]

    def _view(self, worker: Worker, *, is_paused: bool) -> WorkerView:
        lease = worker.lease
        if lease is None:
            return worker.view("", -1, None, is_paused=is_paused)
        job = self._job_of(lease.task_id)
        range = job.range_of(lease, worker.uncommitted)
        return worker.view(self.collection_of(lease), job.partition_of(lease), range, is_paused=is_paused)

    def resize(self, size: int) -> None:
        """So many workers from now on."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="heartbeats")
        self._supervisor.resize(size)

    def tune(self, page_size: int, throttle: int) -> None:
        """New knob values for all workers, from the next page on."""
        self._supervisor.tune(page_size, throttle)

    def start_with(self, start: WorkerStart) -> None:
        """What workers that are started from here on have to know."""
        self._supervisor.start_with(start)

    def dispatch(self) -> None:
        """There is new work: hand it out."""
        self._supervisor.dispatch()

    def hold(self) -> None:
        """Hand nothing out, and let all workers end the page, commit and give the rest back."""
        self._supervisor.hold()

    def release(self) -> None:
        """Hand leases out again, after `hold`."""
        self._supervisor.release()

    def abort(self) -> None:
        """Hand nothing out, and let all workers roll back at once."""
        self._supervisor.abort()

    def recall(self, lease: Lease) -> bool:
        """Ask the holder of a lease to give it back; False when no worker has it."""
        return self._supervisor.recall(lease)

    def forget_tasks(self) -> None:
        """Tasks have changed: every worker is told anew."""
        self._supervisor.forget_tasks()

    def disband(self) -> None:
        """There is no more work and there will be none: all workers leave."""
        self._supervisor.disband()

    def end(self, *, now: bool) -> None:
        """The work is to end as it is: pages in hand are committed, or with `now` rolled back; nothing is tried again."""
        self.is_ending = True
        if now:
            self._supervisor.abort()
        else:
            self._supervisor.hold()

    async def stop(self, grace_s: float) -> None:
        """End all workers; those with a lease roll back.

        Args:
            grace_s: seconds that they may take before they are killed.
        """
        self.is_ending = True
        try:
            if self._watching is not None:
                self._watching.cancel()
                with suppress(asyncio.CancelledError):
                    await self._watching
        finally:
            await self._supervisor.stop(grace_s)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEATS_EVERY_S)
            self._look_at_hosts()
            await self._supervisor.check_heartbeats()

    def _look_at_hosts(self) -> None:
        for event in self._hosts.look(self._supervisor.hosts):
            self._owner.emit(event)

    # --- what the supervisor asks and tells (Direction) ---------------------------------------------------------------

    def next_lease(self) -> Lease | None:
        """The first that a job has."""
        if self.is_ending:
            return None
        for job in self._jobs:
            lease: Lease | None = job.next_lease()
            if lease is not None:
                return lease
        return None

    def task(self, task_id: int) -> Task:
        """The task that a lease is a part of."""
        return self._job_of(task_id).tasks[task_id]

    def progressed(self, task_id: int, payload: object) -> None:
        """A part of a lease is done."""
        self._job_of(task_id).progressed(payload)

    def returned(self, message: Returned) -> None:
        """A lease is over, or its rest is given back."""
        rest = None if message.finished else message.rest
        self._job_of(message.lease.task_id).returned(message.lease, rest)

    def failed(self, message: Failed) -> None:
        """A lease could not be worked on: its job knows what to do, or it is tried again elsewhere, or the work ends."""
        job = self._job_of(message.lease.task_id)
        if not self.is_ending and job.failed(message.lease, message):
            return
        self._owner.emit(ProblemReported(code=message.code, message=redact(message.message), retry=not message.fatal))
        if message.fatal:
            is_taken = message.code == RunTaken.code
            self._owner.fail(
                RunTaken(message.message) if is_taken else MigrationError(message.message, code=message.code)
            )
        else:
            self.lost(message.lease, "gave its partition up")

    def goes_on_without(self, message: Failed, size: int) -> bool:
        """A server lets a worker in no more: its lease goes to those that are connected."""
        job = self._job_of(message.lease.task_id)
        if self.is_ending or not job.can_go_on(message.lease):
            return False
        job.returned(message.lease, message.lease)
        workers = counted(size, "worker that is", "workers that are")
        words = f"{redact(message.message)} The work continues with the {workers} connected."
        self._owner.emit(ProblemReported(code=message.code, message=words, retry=True))
        self._owner.resized(size)
        return True

    def goes_on_elsewhere(self, message: Failed, host: str) -> bool:
        """A host reaches a server no more: its lease goes to workers of other hosts."""
        job = self._job_of(message.lease.task_id)
        if self.is_ending or not job.can_go_on(message.lease):
            return False
        job.returned(message.lease, message.lease)
        words = f"{redact(message.message)} Host {host} gets no work for a while, the other hosts continue."
        self._owner.emit(ProblemReported(code=message.code, message=words, retry=True))
        return True

    def lost(self, lease: Lease, why: str) -> None:
        """The holder can commit nothing of it any more."""
        if self.is_ending:
            return  # resume asks the ledger
        self._job_of(lease.task_id).lost(lease, why)
        self._supervisor.dispatch()

    def taken_away(self, lease: Lease, why: str) -> None:
        """The holder was taken away with its host, and can commit nothing of it any more."""
        if self.is_ending:
            return
        self._job_of(lease.task_id).taken_away(lease, why)
        self._supervisor.dispatch()

    def noticed(self, problem: Problem, *, is_retry: bool = True) -> None:
        """A worker dealt with a problem by itself, or the crew with one of hosts."""
        self._owner.emit(ProblemReported(code=problem.code, message=redact(problem.message), retry=is_retry))

    def worker_changed(self, worker_id: int, pid: int, what: str, exit_code: int | None, host: str) -> None:
        """A worker started, retired or died."""
        self._look_at_hosts()  # a short run is over before the next heartbeats, and its hosts are told before their workers
        self._owner.emit(WorkerChanged(id=worker_id, pid=pid, what=what, exit=exit_code, host=host))
        if self._supervisor.is_hopeless:
            self._owner.fail(
                MigrationError("Worker processes end before they are ready; the engine's log says why.", code="workers")
            )

    def shrunk(self, size: int) -> None:
        """The target has no connection for one of the workers."""
        self._owner.resized(size)
        message = (
            f"The target has no free connection for another worker: the run continues with {size}; add workers again when "
            "there are more."
        )
        self._owner.emit(ProblemReported(code="fewer_workers", message=message))

    def cannot_start(self, error: Exception) -> None:
        """No more processes can be had: work that has some goes on with those."""
        self._look_at_hosts()  # why they take none comes before the end
        name = type(error).__name__
        if isinstance(error, MigrationError):
            self._owner.fail(error)
        elif any(worker.member.pid for worker in self.workers):
            message = f"No more worker processes can be started ({name})."
            self._owner.emit(ProblemReported(code="workers", message=message))
        else:
            message = f"No worker process can be started ({name}); the engine's log says more."
            self._owner.fail(MigrationError(message, code="workers"))

    def settled(self) -> None:
        """Another worker may be idle."""
        self._owner.settled()

    async def end_backend(self, backend_pid: int) -> None:
        """End a worker's session with PostgreSQL."""
        await self.end_sessions_by(backend_pid)
