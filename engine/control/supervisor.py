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

What to work on is the director's business (`engine.control.foreman`); who does it, and that nobody is left behind, is ours.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from engine.control.director import Director
from engine.control.fork_server import CONTEXT
from engine.control.protocol import RangeView, WorkerView
from engine.control.worker_process import WorkerProcess, start_ticks
from engine.target.sqlstates import TOO_MANY_CONNECTIONS
from engine.work import worker as worker_main
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
from engine.work.place import WorkerStart
from engine.work.slots import N_SLOTS, Slot, make_slots

HEARTBEAT_LIMIT_S = 30.0
"""A worker whose loop has not ticked for so long hangs: its backend is ended, then the worker."""
MAX_EARLY_DEATHS = 3
"""Workers that died before they were ready, each started after the death of the one before: none can live."""
START_TRIES = 3
START_PAUSE_S = 0.2
"""Between two tries: a fork server that was killed is started again by the next one."""
EXIT_GRACE_S = 1.0
"""How long a worker that was told to exit may take."""

STARTS_AT_ONCE = 8
"""Workers that are being started at the same time: what each waits for is the fork server, and its own first steps."""

GATHER_S = 2.0
"""How long the first workers wait at most for all the others to be started."""

log = logging.getLogger(__name__)


class Supervisor:
    """Keeps `desired` workers alive and busy."""

    def __init__(self, start: WorkerStart, director: Director, *, page_size: int, throttle: int) -> None:
        self._start_with = start
        self._director = director
        self._page_size = page_size
        self._throttle = throttle
        self._share_told = 0.0
        """Rows per second that each worker was last told it may pass."""
        self._slots = make_slots(CONTEXT)
        self._threads = ThreadPoolExecutor(STARTS_AT_ONCE, thread_name_prefix="workers")
        """Where starts and ends of processes are waited for: others who use threads must not wait for ninety of them."""
        self._workers: dict[int, WorkerProcess] = {}
        self._desired = 0
        self._is_held = False
        """No leases are handed out: pausing, paused or ending."""
        self._is_disbanded = False
        self._has_gathered = False
        self._gathers_until = 0.0
        """On the monotonic clock; 0 is no more."""
        self._growing: asyncio.Task[None] | None = None
        self._burials: set[asyncio.Task[None]] = set()
        self._early_deaths = 0

    # --- what the director and the server ask -------------------------------------------------------------------------

    @property
    def workers(self) -> list[WorkerProcess]:
        """Those alive, by number."""
        return [self._workers[index] for index in sorted(self._workers)]

    @property
    def n_draining(self) -> int:
        """Workers that end their page and leave."""
        return sum(worker.is_retiring for worker in self._workers.values())

    @property
    def is_quiet(self) -> bool:
        """Nobody holds a lease."""
        return all(worker.lease is None for worker in self._workers.values()) and not self._burials

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
        """Workers die before they are ready, one after the other."""
        return self._early_deaths >= MAX_EARLY_DEATHS

    def reach_target_by(self, uri: str) -> None:
        """Workers that are started from here on use this connection string of the target."""
        self._start_with = replace(self._start_with, target_uri=uri)

    def resize(self, desired: int) -> None:
        """Grow at once; shrink by idle workers first, then by workers that end their page early and commit."""
        if self._is_disbanded:
            desired = 0
        self._desired = desired
        if desired and not self._has_gathered:
            self._gather()
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
        if len(staying) < desired and (self._growing is None or self._growing.done()):
            self._growing = asyncio.create_task(self._grow(), name="start workers")
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
        if not self._is_held and not self._is_gathering():
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
        self._desired = 0
        if self._growing is not None:
            await self._growing
        for worker in self.workers:
            worker.is_retiring = True
            if worker.lease is None:
                self._send(worker, Retire())
            else:
                self._send(worker, Abort())
        deadline = time.monotonic() + grace_s
        while self._workers and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        for worker in self.workers:
            worker.kill()
        while self._workers or self._burials:
            await asyncio.sleep(0.01)
        self._threads.shutdown(wait=False)

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
        """End workers that hang; call it about once a second."""
        for worker in self.workers:
            if worker.is_ready and worker.silent_s > HEARTBEAT_LIMIT_S:
                self._director.noticed(
                    Problem(
                        "worker_hung", f"Worker {worker.id} gave no sign for {worker.silent_s:.0f} s and was ended."
                    )
                )
                if worker.backend_pid:
                    await self._director.end_backend(worker.backend_pid)
                worker.kill()

    # --- starting -----------------------------------------------------------------------------------------------------

    async def _grow(self) -> None:
        """Start those who are missing, some at a time, each as soon as one before it is there."""
        failures = 0
        starting: set[asyncio.Task[OSError | EOFError | None]] = set()
        while starting or self._n_missing > 0:
            while len(starting) < STARTS_AT_ONCE and self._n_missing > 0:
                starting.add(asyncio.create_task(self._start(self._new_worker()), name="start a worker"))
            done, starting = await asyncio.wait(starting, return_when=asyncio.FIRST_COMPLETED)
            errors = [error for task in done if (error := task.result()) is not None]
            if not errors:
                failures = 0
                continue
            # Those that were being started at the same time fail for the same reason: all of them are one failure.
            await asyncio.gather(*starting)
            starting = set()
            failures += 1
            if failures == START_TRIES:
                self._director.cannot_start(errors[0])
                return
            await asyncio.sleep(START_PAUSE_S)

    def _gather(self) -> None:
        """Let the first workers wait for the others: those at work would keep these from starting, where cores are few."""
        self._has_gathered = True
        self._gathers_until = time.monotonic() + GATHER_S
        asyncio.get_running_loop().call_later(GATHER_S, self.dispatch)

    def _is_gathering(self) -> bool:
        are_all_here = self._n_missing <= 0 and all(worker.is_ready for worker in self._workers.values())
        if are_all_here or time.monotonic() >= self._gathers_until:
            self._gathers_until = 0.0  # whoever comes later is not waited for
        return self._gathers_until > 0

    @property
    def _n_missing(self) -> int:
        return self._desired - sum(not worker.is_retiring for worker in self._workers.values())

    def _new_worker(self) -> WorkerProcess:
        """A place in the cluster, whose process is not started yet."""
        index = next(index for index in range(N_SLOTS) if index not in self._workers)
        slot = Slot(self._slots, index)
        slot.clear()
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(
            target=worker_main.main,
            args=(self._slots, index, theirs, self._start_with),
            name=f"mongopg worker {index + 1}",
        )
        worker = WorkerProcess(index + 1, slot, process, ours, theirs, deaths_before=self._early_deaths)
        self._workers[index] = worker
        return worker

    async def _start(self, worker: WorkerProcess) -> OSError | EOFError | None:
        """Start its process; what kept it from being started."""
        index = worker.id - 1
        loop = asyncio.get_running_loop()
        # Process.start talks to the fork server and blocks for milliseconds: not in the loop that serves the screen.
        try:
            await loop.run_in_executor(self._threads, worker.process.start)
        except (OSError, EOFError) as error:
            log.exception("a worker process cannot be started")
            del self._workers[index]
            return error
        worker.their_end.close()
        worker.pid = worker.process.pid or 0
        worker.start_ticks = start_ticks(worker.pid)
        loop.add_reader(worker.pipe.fileno(), self._read, index, worker)
        loop.add_reader(worker.process.sentinel, self._bury_soon, index, worker)
        self._send(worker, self._tuning())
        return None

    def _tuning(self) -> Tune:
        return Tune(self._page_size, self._share())

    def _share(self) -> float:
        """Each worker's part of the throttle."""
        # By the size wanted, not by who is alive: while the cluster grows, the first ones must not get larger shares. But
        # once somebody finds nothing to do, the throttle is for those that work.
        at_work = self._desired
        if any(worker.is_idle and not worker.is_retiring for worker in self.workers):
            at_work = sum(worker.lease is not None for worker in self.workers)
        return self._throttle / max(1, at_work)

    def _tune(self) -> None:
        self._share_told = self._share()
        message = self._tuning()
        for worker in self.workers:
            self._send(worker, message)

    # --- messages -----------------------------------------------------------------------------------------------------

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

    def _read(self, index: int, worker: WorkerProcess) -> None:
        if self._drain(worker):
            self._bury_soon(index, worker)

    def _take(self, worker: WorkerProcess, message: FromWorker) -> None:
        match message:
            case Ready():
                worker.is_ready = True
                worker.converter = message.converter
                self._early_deaths = 0
                self._director.worker_changed(worker.id, worker.pid, "started", None)
                self._idle(worker)
            case Connected():
                worker.backend_pid = message.backend_pid
            case Committed():
                self._follow(worker, message)
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
                self._director.failed(message)
                self._idle(worker)
            case Problem():
                self._director.noticed(message)
                if message.code == TOO_MANY_CONNECTIONS:
                    self._shed(worker)

    def _follow(self, worker: WorkerProcess, message: Committed) -> None:
        """Keep the lease's position, so that a death is followed from the newest slice known."""
        if isinstance(worker.lease, CopyLease) and worker.lease.partition_id == message.partition_id:
            worker.lease = replace(worker.lease, slice_no=message.slice_no + 1)
            worker.begin_slice()

    def _shed(self, worker: WorkerProcess) -> None:
        """There is no connection for this one: the cluster goes on without it, unless nobody else stays."""
        staying = sum(not each.is_retiring for each in self._workers.values())
        if staying > 1 and not worker.is_retiring:
            self._desired = staying - 1
            worker.is_retiring = True
            self._yield(worker)
            self._tune()
            self._director.shrunk(self._desired)

    def _idle(self, worker: WorkerProcess) -> None:
        if worker.is_retiring:
            self._send(worker, Retire())
        self.dispatch()

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _bury_soon(self, index: int, worker: WorkerProcess) -> None:
        loop = asyncio.get_running_loop()
        if not loop.remove_reader(worker.process.sentinel):
            return  # the other of pipe and sentinel came first
        loop.remove_reader(worker.pipe.fileno())
        worker.is_gone = True
        task = asyncio.create_task(self._bury(index, worker), name=f"bury worker {worker.id}")
        self._burials.add(task)
        task.add_done_callback(self._burials.discard)

    async def _bury(self, index: int, worker: WorkerProcess) -> None:
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
        await asyncio.get_running_loop().run_in_executor(self._threads, worker.process.join, 5.0)
        exit_code = worker.process.exitcode
        worker.process.close()
        del self._workers[index]
        lease, worker.lease = worker.lease, None
        expected = worker.is_retiring and lease is None
        if not expected:
            if not worker.is_ready:  # those that died together, as with their fork server, count as one
                self._early_deaths = max(self._early_deaths, worker.deaths_before + 1)
            self._director.worker_changed(worker.id, worker.pid, "died", exit_code)
        else:
            self._director.worker_changed(worker.id, worker.pid, "retired", exit_code)
        if lease is not None:
            self._director.lost(lease, _exit_words(exit_code))
        if self._desired and not self.is_hopeless:
            self.resize(self._desired)
        asyncio.get_running_loop().call_soon(self._director.settled)

    def _drain(self, worker: WorkerProcess) -> bool:
        """Take what is in the pipe; True when it is at its end."""
        try:
            while worker.pipe.poll():
                self._take(worker, worker.pipe.recv())
        except (EOFError, OSError):
            return True
        return False


def _exit_words(exit_code: int | None) -> str:
    if exit_code == -9:
        return "was killed (signal 9; out of memory?)"
    if exit_code is not None and exit_code < 0:
        return f"was ended by signal {-exit_code}"
    return f"ended with exit code {exit_code}"
