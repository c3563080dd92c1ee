"""The cluster of worker processes: started, told what to do, watched, replaced and ended.

::

    supervisor                                        worker process (engine.work.worker)
      |-- start (forkserver) ---------------------------> imports are done, main() runs
      |<------------------------------------- Ready ------|
      |-- Task, Lease ----------------------------------->|  works; counts in its slot of shared memory
      |<------------------------------------- Committed --|  a slice is in PostgreSQL
      |-- Yield -----------------------------------------> |  ends the page, commits
      |<------------------------------------- Returned ---|  idle again
      |-- Retire ----------------------------------------> |  exits: pipe at EOF, sentinel fires, slot is free

What to work on is the director's business (`engine.cluster.foreman`); who does it, and that nobody is left behind, is ours.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from engine.cluster.director import Director
from engine.cluster.starting import Recruiting
from engine.cluster.worker_process import WorkerProcess, exit_words
from engine.postgres.sqlstates import TOO_MANY_CONNECTIONS
from engine.protocol import RangeView, WorkerView
from engine.run.table_lock import UNREACHABLE
from engine.work.context import WorkerStart
from engine.work.messages import (
    Abort,
    Committed,
    Compared,
    Connected,
    CopyLease,
    Counted,
    Failed,
    FromWorker,
    Lease,
    Problem,
    Ready,
    Retire,
    Returned,
    Tune,
    Yield,
)

HEARTBEAT_LIMIT_S = 30.0
"""A worker whose loop has not ticked for so long hangs: its backend is ended, then the worker."""
EXIT_GRACE_S = 1.0
"""How long a worker that was told to exit may take."""
END_BACKEND_S = 5.0
"""How long the target may take to end a hanging worker's session before the worker is ended without."""

log = logging.getLogger(__name__)


class Supervisor:
    """Keeps `desired` workers alive and busy."""

    def __init__(self, start: WorkerStart, director: Director, *, page_size: int, throttle: int) -> None:
        self._director = director
        self._page_size = page_size
        self._throttle = throttle
        self._share_told = 0.0
        """Rows per second that each worker was last told it may pass."""
        self._recruiting = Recruiting(
            start, on_start=self._welcome, on_gathered=self.dispatch, on_failure=director.cannot_start
        )
        self._is_held = False
        """No leases are handed out: pausing, paused or ending."""
        self._is_disbanded = False
        self._burials: set[asyncio.Task[None]] = set()

    # --- what the director and the server ask -------------------------------------------------------------------------

    @property
    def workers(self) -> list[WorkerProcess]:
        """Those alive, by number."""
        return [self._recruiting.workers[index] for index in sorted(self._recruiting.workers)]

    @property
    def n_draining(self) -> int:
        """Workers that end their page and leave."""
        return sum(worker.is_retiring for worker in self._recruiting.workers.values())

    @property
    def is_quiet(self) -> bool:
        """Nobody holds a lease."""
        return all(worker.lease is None for worker in self._recruiting.workers.values()) and not self._burials

    @property
    def n_idle(self) -> int:
        """Workers that could be given something."""
        return sum(worker.is_idle and not worker.is_retiring for worker in self._recruiting.workers.values())

    @property
    def converter(self) -> str:
        """Which converter the workers use, as soon as one is ready."""
        return next((worker.converter for worker in self.workers if worker.converter), "")

    @property
    def is_hopeless(self) -> bool:
        """Workers die before they are ready, one after the other."""
        return self._recruiting.is_hopeless

    def reach_target_by(self, uri: str) -> None:
        """Workers that are started from here on use this connection string of the target."""
        self._recruiting.reach_target_by(uri)

    def resize(self, desired: int) -> None:
        """Grow at once; shrink by idle workers first, then by workers that end their page early and commit."""
        if self._is_disbanded:
            desired = 0
        self._recruiting.desired = desired
        staying = [worker for worker in self.workers if not worker.is_retiring]
        for worker in reversed(self.workers):  # those that were leaving may stay
            if len(staying) < desired and worker.is_retiring and worker.lease is not None:
                worker.is_retiring = False
                staying.append(worker)
        surplus = sorted(staying, key=lambda worker: (worker.lease is not None, -worker.id))
        for worker in surplus[: max(0, len(staying) - desired)]:
            worker.is_retiring = True
            if worker.lease is None:
                self._send(worker, Retire())
            else:
                self._yield(worker)
        self._recruiting.grow()
        self._tune()

    def disband(self) -> None:
        """There is no more work and there will be none: everybody leaves, and nobody is started any more."""
        self._is_disbanded = True
        self.resize(0)

    def tune(self, page_size: int, throttle: int) -> None:
        """New knob values for everybody, from the next page on."""
        self._page_size = page_size
        self._throttle = throttle
        self._tune()

    def hold(self) -> None:
        """Hand nothing out, and let everybody end the page, commit and give the rest back."""
        self._is_held = True
        for worker in self.workers:
            if worker.lease is not None:
                self._yield(worker)
        self._director.settled()

    def release(self) -> None:
        """Hand leases out (again)."""
        self._is_held = False
        self.dispatch()

    def abort(self) -> None:
        """Hand nothing out, and let everybody roll back at once."""
        self._is_held = True
        for worker in self.workers:
            if worker.lease is not None:
                self._send(worker, Abort())
        self._director.settled()

    def recall(self, partition_id: int) -> bool:
        """Ask the holder of a partition to give its rest back; False when nobody holds it."""
        for worker in self.workers:
            if isinstance(worker.lease, CopyLease) and worker.lease.partition_id == partition_id:
                self._yield(worker)
                return True
        return False

    def forget_tasks(self) -> None:
        """Tasks have changed: every worker is told anew."""
        for worker in self.workers:
            worker.told.clear()

    def dispatch(self) -> None:
        """Give every idle worker something to do, as long as there is something."""
        if not self._is_held and not self._recruiting.is_gathering():
            for worker in self.workers:
                if worker.is_idle and not worker.is_retiring:
                    lease = self._director.next_lease()
                    if lease is None:
                        break
                    self._give(worker, lease)
            if self._share() != self._share_told:
                self._tune()
        self._director.settled()

    async def stop(self, grace_s: float = EXIT_GRACE_S) -> None:
        """End every worker: those idle retire, those that do not answer within `grace_s` are killed."""
        self._is_held = True
        self._is_disbanded = True  # a size that was asked for before comes too late
        await self._recruiting.stop()
        for worker in self.workers:
            worker.is_retiring = True
            if worker.lease is None:
                self._send(worker, Retire())
            else:
                self._send(worker, Abort())
        deadline = time.monotonic() + grace_s
        while self._recruiting.workers and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        for worker in self.workers:
            worker.kill()
        while self._recruiting.workers or self._burials:
            await asyncio.sleep(0.01)
        self._recruiting.close()

    def views(
        self,
        collection_of: Callable[[Lease | None], str],
        *,
        is_paused: bool,
        range_of: Callable[[Lease | None, int], RangeView | None] = lambda *_: None,
    ) -> list[WorkerView]:
        """What the workers do now; call it regularly, rates are made from call to call.

        Args:
            range_of: how far a lease is, from it and the rows that its holder has sent and not committed.
        """
        return [
            worker.view(
                collection_of(worker.lease), is_paused=is_paused, range=range_of(worker.lease, worker.uncommitted)
            )
            for worker in self.workers
        ]

    async def check_heartbeats(self) -> None:
        """End workers that hang, also before they are ready; call it about once a second. No server keeps it from that."""
        for worker in self.workers:
            if worker.pid and not worker.is_gone and worker.silent_s > HEARTBEAT_LIMIT_S:
                self._director.noticed(
                    Problem(
                        "worker_hung", f"Worker {worker.id} gave no sign for {worker.silent_s:.0f} s and was ended."
                    )
                )
                try:
                    if worker.backend_pid:
                        await self._end_backend(worker)
                finally:
                    worker.kill()

    async def _end_backend(self, worker: WorkerProcess) -> None:
        """End its session before itself, so that nothing of it can be committed any more; where the target does not answer,
        the fence in the ledger has to do.
        """
        try:
            async with asyncio.timeout(END_BACKEND_S):
                await self._director.end_backend(worker.backend_pid)
        except UNREACHABLE as error:
            log.warning("the session of worker %d cannot be ended: %s", worker.id, type(error).__name__)

    # --- messages -----------------------------------------------------------------------------------------------------

    def _welcome(self, worker: WorkerProcess) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(worker.pipe.fileno(), self._read, worker)
        loop.add_reader(worker.process.sentinel, self._bury_soon, worker)
        self._send(worker, self._tuning())

    def _tuning(self) -> Tune:
        return Tune(self._page_size, self._share())

    def _share(self) -> float:
        """Each worker's part of the throttle."""
        # By the size wanted, not by who is alive: while the cluster grows, the first ones must not get larger shares. But
        # once somebody finds nothing to do, the throttle is for those that work.
        at_work = self._recruiting.desired
        if any(worker.is_idle and not worker.is_retiring for worker in self.workers):
            at_work = sum(worker.lease is not None for worker in self.workers)
        return self._throttle / max(1, at_work)

    def _tune(self) -> None:
        self._share_told = self._share()
        message = self._tuning()
        for worker in self.workers:
            self._send(worker, message)

    def _send(self, worker: WorkerProcess, message: object) -> None:
        if not worker.pid or worker.is_gone:
            return  # not started yet (it gets the newest values when it is), or dead
        try:
            worker.pipe.send(message)
        except OSError:
            log.info("worker %d is gone; its end is noticed by its sentinel", worker.id)

    def _give(self, worker: WorkerProcess, lease: Lease) -> None:
        if lease.task_id not in worker.told:
            self._send(worker, self._director.task(lease.task_id))
            worker.told.add(lease.task_id)
        worker.lease = lease
        worker.begin_slice()
        worker.is_yielding = False
        self._send(worker, lease)

    def _yield(self, worker: WorkerProcess) -> None:
        if not worker.is_yielding:
            worker.is_yielding = True
            self._send(worker, Yield())

    def _read(self, worker: WorkerProcess) -> None:
        if self._drain(worker):
            self._bury_soon(worker)

    def _take(self, worker: WorkerProcess, message: FromWorker) -> None:
        match message:
            case Ready():
                worker.is_ready = True
                worker.converter = message.converter
                self._recruiting.one_is_ready()
                self._director.worker_changed(worker.id, worker.pid, "started", None)
                self._idle(worker)
            case Connected():
                worker.backend_pid = message.backend_pid
            case Committed():
                worker.follow(message)
                self._director.committed(message)
            case Compared():
                self._director.compared(message)
            case Counted():
                self._director.counted(message)
            case Returned():
                worker.lease = None
                self._director.returned(message)
                self._idle(worker)
            case Failed():
                worker.lease = None
                worker.backend_pid = 0 if message.is_refused else worker.backend_pid
                if not (message.is_refused and self._goes_on_without(worker, message)):
                    self._director.failed(message)
                self._idle(worker)
            case Problem():
                self._director.noticed(message)
                if message.code == TOO_MANY_CONNECTIONS:
                    self._shed(worker)

    def _shed(self, worker: WorkerProcess) -> None:
        """There is no connection for this one: the cluster goes on without it, unless nobody else stays."""
        staying = sum(not each.is_retiring for each in self._recruiting.workers.values())
        if staying > 1 and not worker.is_retiring:
            self._recruiting.desired = staying - 1
            worker.is_retiring = True
            self._yield(worker)
            self._tune()
            self._director.shrunk(self._recruiting.desired)

    def _goes_on_without(self, worker: WorkerProcess, message: Failed) -> bool:
        """A server refuses this one's login for good, as when a password was changed: those that are connected go on, and so
        many are wanted from now on. False when there is none, or the work cannot be given to others.
        """
        staying = sum(bool(not each.is_retiring and each.backend_pid) for each in self._recruiting.workers.values())
        if not staying or not self._director.taken_back(message, staying):
            return False
        self._recruiting.desired = min(self._recruiting.desired, staying)
        worker.is_retiring = True
        self._tune()
        return True

    def _idle(self, worker: WorkerProcess) -> None:
        if worker.is_retiring:
            self._send(worker, Retire())
        self.dispatch()

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _bury_soon(self, worker: WorkerProcess) -> None:
        loop = asyncio.get_running_loop()
        if not loop.remove_reader(worker.process.sentinel):
            return  # the other of pipe and sentinel came first
        loop.remove_reader(worker.pipe.fileno())
        worker.is_gone = True
        task = asyncio.create_task(self._bury(worker), name=f"bury worker {worker.id}")
        self._burials.add(task)
        task.add_done_callback(self._buried)

    def _buried(self, burial: asyncio.Task[None]) -> None:
        self._burials.discard(burial)
        self._director.settled()

    async def _bury(self, worker: WorkerProcess) -> None:
        """Make sure that it is dead, take its last words, give its lease on.

        The sentinel alone proves nothing: when the fork server is killed, its living children look dead. A lease is given on
        only after the pipe is at its end, which needs every copy of its other side closed: the worker is gone.
        """
        deadline = time.monotonic() + (EXIT_GRACE_S if worker.is_retiring else 0.2)
        while not self._drain(worker):
            if time.monotonic() > deadline:
                worker.kill()
            await asyncio.sleep(0.005)
        worker.pipe.close()
        exit_code = await self._recruiting.reap(worker)
        lease, worker.lease = worker.lease, None
        expected = worker.is_retiring and lease is None
        if not expected:
            if not worker.is_ready:
                self._recruiting.one_died_early(worker)
            self._director.worker_changed(worker.id, worker.pid, "died", exit_code)
        else:
            self._director.worker_changed(worker.id, worker.pid, "retired", exit_code)
        if lease is not None:
            self._director.lost(lease, exit_words(exit_code))
        if self._recruiting.desired and not self.is_hopeless:
            self.resize(self._recruiting.desired)

    def _drain(self, worker: WorkerProcess) -> bool:
        """Take what is in the pipe; True when it is at its end."""
        try:
            while worker.pipe.poll():
                self._take(worker, worker.pipe.recv())
        except (EOFError, OSError):
            return True
        return False
