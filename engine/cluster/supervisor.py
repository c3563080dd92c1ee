"""The workers of a cluster: wanted, told what to do, watched, replaced and ended.

::

    supervisor                                        worker process (engine.work.worker)
      |-- its crew starts a process --------------------> imports are done, main() runs
      |<------------------------------------- Ready ------|
      |-- NewTasks, NewLease ----------------------------->|  works; counts
      |<------------------------------------- Progress ---|  a slice is in PostgreSQL, or compared, or counted
      |-- Yield ----------------------------------------> |  ends the page, commits
      |<------------------------------------- Returned ---|  idle again
      |-- Retire ---------------------------------------> |  exits: the crew tells that it left

What there is to work on is the dispatcher's subject (`engine.cluster.dispatcher`), where and how processes run the crew's
(`engine.cluster.crew`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from engine.cluster.crew import Crew, Ended, Host, MakeCrew, Member
from engine.cluster.gates import ASK_AGAIN_S, Gates
from engine.cluster.worker import Worker
from engine.errors import ConnectError, MigrationError, UsageError
from engine.failures import TOO_MANY_CONNECTIONS
from engine.postgres.sqlstates import UNREACHABLE
from engine.work.context import WorkerStart
from engine.work.messages import (
    Abort,
    Connected,
    Failed,
    FromWorker,
    Lease,
    NewLease,
    NewTasks,
    Probe,
    Probed,
    Problem,
    Progress,
    Ready,
    Retire,
    Returned,
    Task,
    ToWorker,
    Tune,
    Yield,
    parts_of,
    touch,
)
from engine.work.probe import look_around

SHOWN_HOSTS = 5
"""Reasons of so many hosts are told."""
MAX_EARLY_DEATHS = 3
"""Workers of a host that died before they were ready, each started after the death of the one before: none can live there."""
MAX_TRIES = 6
"""Hosts are asked so often, one time after the other, whether they reach the servers, before the work ends without any."""
MAX_FIRST_TRIES = 2
"""The same, where none has reached them before: that they cannot is a matter of configuration then."""
GATHER_S = 2.0
"""How long the first workers wait at most for all the others to be started."""
HEARTBEAT_LIMIT_S = 30.0
"""A worker whose loop has not ticked for so long hangs: its backend is ended, then the worker."""
EXIT_GRACE_S = 1.0
"""How long a worker that was told to exit may take."""
END_BACKEND_S = 5.0
"""How long the target may take to end a worker's session before the worker is ended without."""
_POLL_S = 0.01

log = logging.getLogger(__name__)


class Direction(Protocol):
    """What a supervisor asks and tells: what there is to work on, and what became of it."""

    def next_lease(self) -> Lease | None:
        """The next lease, now the caller's; None when none waits."""
        ...

    def task(self, task_id: int) -> Task:
        """The task that a lease is a part of."""
        ...

    def progressed(self, task_id: int, payload: object) -> None:
        """A part of a lease is done."""
        ...

    def returned(self, message: Returned) -> None:
        """A lease is over, or its rest is given back."""
        ...

    def failed(self, message: Failed) -> None:
        """A lease could not be worked on."""
        ...

    def goes_on_without(self, message: Failed, size: int) -> bool:
        """A server lets a worker in no more: its lease goes to the `size` that are connected; False where it cannot."""
        ...

    def lost(self, lease: Lease, why: str) -> None:
        """The holder of a lease can commit nothing of it any more; what it committed is in the ledger."""
        ...

    def taken_away(self, lease: Lease, why: str) -> None:
        """As `lost`, and no fault of the lease: the holder's host was taken away."""
        ...

    def goes_on_elsewhere(self, message: Failed, host: str) -> bool:
        """A host reaches a server no more: its lease goes to workers of other hosts; False where it cannot."""
        ...

    def noticed(self, problem: Problem, *, is_retry: bool = True) -> None:
        """A worker dealt with a problem, or the crew with one of hosts."""
        ...

    def worker_changed(self, worker_id: int, pid: int, what: str, exit_code: int | None, host: str) -> None:
        """A worker `started`, `retired` or `died` on a host; empty is this one."""
        ...

    def shrunk(self, size: int) -> None:
        """The target has no connection for one of the workers: so many stay."""
        ...

    def cannot_start(self, error: Exception) -> None:
        """No more processes can be had."""
        ...

    def settled(self) -> None:
        """Another worker may be idle: a pause, a drain or the whole work may be through."""
        ...

    async def end_backend(self, backend_pid: int) -> None:
        """End a worker's session with PostgreSQL."""
        ...


class Supervisor:
    """Keeps `desired` workers alive and busy."""

    def __init__(
        self,
        make_crew: MakeCrew,
        direction: Direction,
        *,
        page_size: int,
        throttle: int,
        end_backend_s: float = END_BACKEND_S,
        look: Callable[[WorkerStart], Awaitable[Probed]] = look_around,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """No worker is wanted yet.

        Args:
            throttle: documents per second of all workers together; 0 is no limit.
            end_backend_s: how long the target may take to end a session.
            look: what this host has, and which servers it reaches.
            clock: in seconds.
        """
        self._direction = direction
        self._page_size = page_size
        self._throttle = throttle
        self._end_backend_s = end_backend_s
        self._clock = clock
        self._share_told = 0.0
        """Rows per second that each worker was last told it may pass."""
        self._workers: dict[int, Worker] = {}
        """Those alive and those being started, by number."""
        self._desired = 0
        self._early_deaths: dict[str, int] = {}
        """By host; empty is this one."""
        self._gathers_until: float | None = None
        """By the clock; None before the first worker is wanted, 0 when the first ones wait no longer."""
        self._is_held = False
        """No leases are handed out: pausing, paused or ending."""
        self._is_disbanded = False
        self._gates = Gates(look, self._judged)
        self._reclaims: set[asyncio.Task[None]] = set()
        """Sessions of members out of reach that are being ended."""
        self._make_crew = make_crew
        self._made: Crew | None = None

    @property
    def _crew(self) -> Crew:
        """Made when it is needed first: only a run that has started knows where its workers are to be."""
        if self._made is None:
            self._made = self._make_crew(self)
        return self._made

    # --- what the dispatcher asks -------------------------------------------------------------------------------------

    @property
    def workers(self) -> list[Worker]:
        """The workers that are alive or being started, by number."""
        return [self._workers[number] for number in sorted(self._workers)]

    @property
    def hosts(self) -> Sequence[Host]:
        """Where workers run, or could run, besides this host."""
        return self._made.hosts if self._made is not None else ()

    @property
    def hosts_wanted(self) -> int:
        """How many hosts the cluster was asked to have, where it was asked for more; else 0."""
        return self._made.hosts_wanted if self._made is not None else 0

    @property
    def n_draining(self) -> int:
        """Workers that end their page and leave."""
        return sum(worker.is_retiring for worker in self._workers.values())

    @property
    def is_quiet(self) -> bool:
        """No worker has a lease."""
        return all(worker.lease is None for worker in self._workers.values()) and not self._reclaims

    @property
    def n_idle(self) -> int:
        """Workers that could be given something."""
        return sum(worker.is_idle and not worker.is_retiring for worker in self._workers.values())

    @property
    def converter(self) -> str:
        """Which converter the workers use, as soon as one is ready."""
        return next((worker.converter for worker in self.workers if worker.converter), "")

    @property
    def is_hopeless(self) -> bool:
        """Workers of this host die before they are ready, one after the other."""
        return self._early_deaths.get("", 0) >= MAX_EARLY_DEATHS

    def start_with(self, start: WorkerStart) -> None:
        """What workers that are started from here on have to know."""
        self._gates.start = start
        self._crew.start_with(start)

    def resize(self, desired: int) -> None:
        """Grow at once; shrink by idle workers first, then by workers that end their page early and commit."""
        if self._is_disbanded:
            desired = 0
        self._desired = desired
        staying = [worker for worker in self.workers if not worker.is_retiring]
        for worker in reversed(self.workers):  # those that were leaving may stay
            if len(staying) < desired and worker.is_retiring and worker.lease is not None and not worker.is_leaving:
                worker.is_retiring = False
                staying.append(worker)
        surplus = sorted(staying, key=lambda worker: (worker.lease is not None, -worker.id))
        for worker in surplus[: max(0, len(staying) - desired)]:
            worker.is_retiring = True
            if worker.lease is None:
                worker.member.send(Retire())
            else:
                self._yield(worker)
        self._want()
        self._tune()

    def disband(self) -> None:
        """There is no more work and there will be none: all workers leave, and none is started any more."""
        self._is_disbanded = True
        self.resize(0)

    def tune(self, page_size: int, throttle: int) -> None:
        """New knob values for all workers, from the next page on."""
        self._page_size = page_size
        self._throttle = throttle
        self._tune()

    def hold(self) -> None:
        """Hand nothing out, and let all workers end the page, commit and give the rest back."""
        self._is_held = True
        for worker in self.workers:
            if worker.lease is not None:
                self._yield(worker)
        self._direction.settled()

    def release(self) -> None:
        """Hand leases out again, after `hold`."""
        self._is_held = False
        self.dispatch()

    def abort(self) -> None:
        """Hand nothing out, and let all workers roll back at once."""
        self._is_held = True
        for worker in self.workers:
            if worker.lease is not None:
                worker.member.send(Abort())
        self._direction.settled()

    def recall(self, lease: Lease) -> bool:
        """Ask the holder of a lease, or of its rest, to give it back; False when no worker has it."""
        for worker in self.workers:
            if any((held.task_id, held.key) == (lease.task_id, lease.key) for held in worker.parts):
                self._yield(worker)
                return True
        return False

    def forget_tasks(self) -> None:
        """Tasks have changed: every worker is told anew."""
        for worker in self.workers:
            worker.told.clear()

    def dispatch(self) -> None:
        """Give every idle worker something to do, as long as there is something."""
        if not self._is_held and not self._is_gathering():
            for worker in self.workers:
                if worker.is_idle and not worker.is_retiring:
                    lease = self._direction.next_lease()
                    if lease is None:
                        break
                    self._give(worker, lease)
            if self._share() != self._share_told:
                self._tune()
        self._direction.settled()

    async def stop(self, grace_s: float = EXIT_GRACE_S) -> None:
        """End every worker: those idle retire, those that do not answer within `grace_s` are killed."""
        self._is_held = True
        self._is_disbanded = True  # a size that was asked for before comes too late
        self._desired = 0
        if self._made is None:
            return
        await self._made.stop_starting()
        for worker in self.workers:
            worker.is_retiring = True
            worker.member.send(Retire() if worker.lease is None else Abort())
        deadline = self._clock() + grace_s
        while self._workers and self._clock() < deadline:
            await asyncio.sleep(_POLL_S)
        for worker in self.workers:
            worker.member.end()
        while self._workers or self._reclaims:
            await asyncio.sleep(_POLL_S)
        self._gates.close()
        await self._made.close()

    async def check_heartbeats(self) -> None:
        """End workers that hang, also before they are ready; call it about once a second. No server keeps it from that."""
        for worker in self.workers:
            silent_s = worker.member.counters().silent_s
            if worker.member.pid and not worker.member.is_gone and silent_s > HEARTBEAT_LIMIT_S:
                message = f"Worker {worker.id} gave no sign for {silent_s:.0f} s and was ended."
                self._direction.noticed(Problem("worker_hung", message))
                try:
                    await self._end_backend(worker)
                finally:
                    worker.member.end()

    # --- what the crew tells (CrewEvents) -----------------------------------------------------------------------------

    def joined(self, member: Member) -> None:
        """A member is being started."""
        self._workers[member.id] = Worker(member, deaths_before=self._early_deaths.get(member.host, 0))
        member.send(self._tuning())

    def never_joined(self, member: Member) -> None:
        """Its process could not be started."""
        del self._workers[member.id]

    def cannot_start(self, error: Exception) -> None:
        """No more processes can be had."""
        self._direction.cannot_start(error)

    def noticed(self, code: str, message: str, *, is_retry: bool = True) -> None:
        """Something happened to the hosts of members."""
        self._direction.noticed(Problem(code, message), is_retry=is_retry)

    def said(self, member: Member, message: FromWorker) -> None:
        """A message of a member."""
        worker = self._workers[member.id]
        match message:
            case Ready():
                worker.is_ready = True
                worker.converter = message.converter
                self._early_deaths.pop(member.host, None)
                self._direction.worker_changed(worker.id, member.pid, "started", None, member.host)
                self._admit(worker)
            case Probed():
                self._gates.judge(member.host, message)
            case Connected():
                worker.backend_pid = message.backend_pid
            case Progress():
                worker.progressed()
                self._direction.progressed(message.task_id, message.payload)
            case Returned():
                worker.lease = None
                self._direction.returned(message)
                self._idle(worker)
            case Failed():
                worker.lease = None
                worker.backend_pid = 0 if message.is_refused else worker.backend_pid
                goes_on = (message.is_refused and self._goes_on_without(worker, message)) or (
                    message.is_unreachable and self._goes_on_elsewhere(worker, message)
                )
                if not goes_on:
                    self._direction.failed(message)
                self._idle(worker)
            case Problem():
                self._direction.noticed(message)
                if message.code == TOO_MANY_CONNECTIONS:
                    self._shed(worker)

    def leaving(self, member: Member) -> None:
        """Its host is taken away: it finishes what it has in hand, and others are started elsewhere."""
        self._dismiss(self._workers[member.id])
        if self._desired and not self.is_hopeless:
            self.resize(self._desired)

    def left(self, member: Member, how: Ended) -> None:
        """A member is no more: its lease is given to another."""
        worker = self._workers.pop(member.id)
        # A host that is taken away ends its workers when they have finished, also before a lease of theirs has arrived, or
        # when it cannot wait any longer.
        is_taken_away = worker.is_leaving and (not how.certain or how.exit_code == 0)
        is_expected = is_taken_away or (worker.is_retiring and worker.lease is None)
        if not is_expected and not worker.is_ready and how.certain:
            # Those that died together, as with their fork server, count as one.
            n_deaths = max(self._early_deaths.get(member.host, 0), worker.deaths_before + 1)
            self._early_deaths[member.host] = n_deaths
        what = "retired" if is_expected else "died"
        self._direction.worker_changed(worker.id, member.pid, what, how.exit_code, member.host)
        self._forget_host(member)
        if member.host and self._early_deaths.get(member.host, 0) >= MAX_EARLY_DEATHS:
            self._early_deaths.pop(member.host)
            code = "" if how.exit_code is None else f" with exit code {how.exit_code}"
            self._judged(member.host, f"worker processes end{code} before they are ready; its log there says why", None)
        if worker.lease is not None and not how.certain and worker.backend_pid:
            reclaim = asyncio.create_task(self._reclaim(worker, how.message), name=f"reclaim from worker {worker.id}")
            self._reclaims.add(reclaim)
            reclaim.add_done_callback(self._reclaimed)
        elif worker.lease is not None and is_taken_away:
            self._direction.taken_away(worker.lease, how.message)
        elif worker.lease is not None:
            self._direction.lost(worker.lease, how.message)
        if self._desired and not self.is_hopeless:
            self.resize(self._desired)
        self._direction.settled()

    # --- other hosts --------------------------------------------------------------------------------------------------

    def _admit(self, worker: Worker) -> None:
        """A worker has started: it gets leases where its host may have some, else one on the host is asked what it has."""
        host = worker.member.host
        worker.is_admitted = self._gates.is_open(host)
        if worker.is_admitted:
            self._idle(worker)
        elif self._gates.is_refused(host):
            worker.is_retiring = True
            worker.member.send(Retire())
        elif self._gates.is_asking(worker.id, host):
            worker.member.send(Probe())

    def _judged(self, host: str, problem: str, again_s: float | None) -> None:
        """It is known whether a host may have leases."""
        there = [worker for worker in self.workers if worker.member.host == host and worker.is_ready]
        if not problem:
            for worker in there:
                worker.is_admitted = True
                self._idle(worker)
            return
        log.warning("host %s is refused: %s", host, problem)
        self._crew.refuse(host, problem, again_s)
        for worker in there:
            if not worker.is_retiring:
                self._dismiss(worker)
        if again_s is None:
            self._gates.refuse(host)
        else:
            self._gates.forget(host)  # the next worker there is asked
        self._end_without_hosts()

    def _dismiss(self, worker: Worker) -> None:
        """Have a worker finish what it has in hand and leave, whatever size is wanted."""
        worker.is_retiring = worker.is_leaving = True
        if worker.lease is None:
            worker.member.send(Retire())
        else:
            self._yield(worker)

    def _end_without_hosts(self) -> None:
        """Where no host may have leases, and none will: the work ends."""
        hosts = self._crew.hosts
        if not hosts or not all(each.problem for each in hosts):
            return
        if any(worker.is_admitted and not worker.is_retiring for worker in self.workers):
            return
        tries = [self._gates.tries(each.name) for each in hosts if each.is_tried_again]
        if tries and min(tries) < (MAX_TRIES if self._gates.has_opened else MAX_FIRST_TRIES):
            return
        reasons = " ".join(f"host {each.name}: {each.problem.rstrip('.')}." for each in hosts[:SHOWN_HOSTS])
        message = f"No host of the cluster can take part. {reasons}"
        error: MigrationError = UsageError(message, code="hosts")
        if self._gates.has_opened and tries:
            error = ConnectError(message, code="hosts_away")
        self._direction.cannot_start(error)

    def _forget_host(self, member: Member) -> None:
        """With its last member what is known of it goes; when the one that was asked has left, another one is asked."""
        there = [worker for worker in self.workers if worker.member.host == member.host]
        if not there:
            self._gates.forget(member.host)
        elif self._gates.is_asked(member.id, member.host):
            ready = next((worker for worker in there if worker.is_ready and not worker.is_retiring), None)
            self._gates.forget(member.host)
            if ready is not None:
                self._admit(ready)

    # --- a member out of reach ----------------------------------------------------------------------------------------

    async def _reclaim(self, worker: Worker, why: str) -> None:
        """End its session first, so that it commits nothing any more; where the target does not answer, the fence has to do."""
        await self._end_backend(worker)
        if worker.lease is not None and worker.is_leaving:
            self._direction.taken_away(worker.lease, why)
        elif worker.lease is not None:
            self._direction.lost(worker.lease, why)

    def _reclaimed(self, reclaim: asyncio.Task[None]) -> None:
        self._reclaims.discard(reclaim)
        self._direction.settled()

    async def _end_backend(self, worker: Worker) -> None:
        """End its session with PostgreSQL, if any; where the target does not answer, the fence in the ledger has to do."""
        if not worker.backend_pid:
            return
        try:
            async with asyncio.timeout(self._end_backend_s):
                await self._direction.end_backend(worker.backend_pid)
        except UNREACHABLE as error:
            log.warning("the session of worker %d cannot be ended: %s", worker.id, type(error).__name__)

    # --- its size -----------------------------------------------------------------------------------------------------

    @property
    def _n_staying(self) -> int:
        return sum(not worker.is_retiring for worker in self._workers.values())

    def _want(self) -> None:
        """Have the crew start those that are missing; those that are about to leave count as there."""
        if self._desired and self._gathers_until is None:
            # Those at work would keep the others from starting, where cores are few.
            self._gathers_until = self._clock() + GATHER_S
            asyncio.get_running_loop().call_later(GATHER_S, self.dispatch)
        self._crew.want(self._desired + self.n_draining if self._desired else 0)

    def _is_gathering(self) -> bool:
        """The first workers still wait for others."""
        are_all_here = self._n_staying >= self._desired and all(worker.is_ready for worker in self._workers.values())
        if self._gathers_until and (are_all_here or self._clock() >= self._gathers_until):
            self._gathers_until = 0.0  # those that come later are not waited for
        return bool(self._gathers_until)

    def _shed(self, worker: Worker) -> None:
        """There is no connection for this one: the cluster goes on without it, unless it is the last."""
        staying = self._n_staying
        if staying > 1 and not worker.is_retiring:
            self._desired = staying - 1
            worker.is_retiring = True
            self._yield(worker)
            self._tune()
            self._direction.shrunk(self._desired)

    def _goes_on_without(self, worker: Worker, message: Failed) -> bool:
        """A server refuses this one's login for good, as when a password was changed: those that are connected go on, and so
        many are wanted from now on. False when there is none, or the work cannot be given to others.
        """
        staying = sum(bool(not each.is_retiring and each.backend_pid) for each in self._workers.values())
        if not staying or not self._direction.goes_on_without(message, staying):
            return False
        self._desired = min(self._desired, staying)
        worker.is_retiring = True
        self._tune()
        return True

    def _goes_on_elsewhere(self, worker: Worker, message: Failed) -> bool:
        """A server cannot be reached from this one's host: those of other hosts go on, and it is asked again later. False when
        there is none, or the work cannot be given to others.
        """
        host = worker.member.host
        others = [
            each for each in self.workers if each.member.host != host and each.is_admitted and not each.is_retiring
        ]
        if not host or not others or not self._direction.goes_on_elsewhere(message, host):
            return False
        self._judged(host, message.message, ASK_AGAIN_S)
        return True

    # --- messages -----------------------------------------------------------------------------------------------------

    def _tuning(self) -> Tune:
        return Tune(self._page_size, self._share())

    def _share(self) -> float:
        """Each worker's part of the throttle."""
        # By the size wanted, not by what is alive: while the cluster grows, the first ones must not get larger shares. But
        # once a worker finds nothing to do, the throttle is for those that work.
        at_work = self._desired
        if self._made is not None and self._made.capacity is not None:
            at_work = min(at_work, max(self._made.capacity, len(self._workers)))  # those there is no room for get none
        if any(worker.is_idle and not worker.is_retiring for worker in self.workers):
            at_work = sum(worker.lease is not None for worker in self.workers)
        return self._throttle / max(1, at_work)

    def _tune(self) -> None:
        self._share_told = self._share()
        self._send_all(self._tuning())

    def _send_all(self, message: ToWorker) -> None:
        for worker in self.workers:
            worker.member.send(message)

    def _give(self, worker: Worker, lease: Lease) -> None:
        if new := [part.task_id for part in parts_of(lease) if part.task_id not in worker.told]:
            worker.member.send(NewTasks(tuple(map(self._direction.task, new))))
            worker.told |= dict.fromkeys(new)
        touch(worker.told, lease)
        worker.take(lease)
        worker.member.send(NewLease(lease))

    def _yield(self, worker: Worker) -> None:
        if not worker.is_yielding:
            worker.is_yielding = True
            worker.member.send(Yield())

    def _idle(self, worker: Worker) -> None:
        if worker.is_retiring:
            worker.member.send(Retire())
        self.dispatch()
