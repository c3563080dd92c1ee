"""Starting worker processes until a cluster has as many as it wants."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from threading import Lock

from engine.cluster import fork_server
from engine.cluster.fork_server import CONTEXT
from engine.cluster.worker_process import WorkerProcess, start_ticks
from engine.work import worker as worker_main
from engine.work.context import WorkerStart
from engine.work.slots import N_SLOTS, Slot, make_slots

MAX_EARLY_DEATHS = 3
"""Workers that died before they were ready, each started after the death of the one before: none can live."""
START_TRIES = 3
START_PAUSE_S = 0.2
"""Between two tries: a fork server that was killed is started again by the next one."""
STARTS_AT_ONCE = 8
"""Workers that are being started at the same time: what each waits for is the fork server, and its own first steps."""
GATHER_S = 2.0
"""How long the first workers wait at most for all the others to be started."""

log = logging.getLogger(__name__)


class Recruiting:
    """Starts workers; `workers` are those alive and those being started, by index of their slot."""

    def __init__(
        self,
        start: WorkerStart,
        *,
        on_start: Callable[[WorkerProcess], None],
        on_gathered: Callable[[], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        """Nobody is wanted yet.

        Args:
            on_start: a worker's process runs; it is not ready yet.
            on_gathered: the first workers have waited long enough for the others.
            on_failure: the system gives us no more processes.
        """
        self.workers: dict[int, WorkerProcess] = {}
        self.desired = 0
        self._start_with = start
        self._on_start, self._on_gathered, self._on_failure = on_start, on_gathered, on_failure
        self._slots = make_slots(CONTEXT)
        self._threads = ThreadPoolExecutor(STARTS_AT_ONCE, thread_name_prefix="workers")
        """Where starts and ends of processes are waited for: others who use threads must not wait for ninety of them."""
        self._one_at_a_time = Lock()
        """`Process.start` looks at the others' ends, too. Whoever else closes one of them meanwhile gives its number to the
        next pipe: what a new worker says would be read by the wrong one, and its start be waited for without end."""
        self._growing: asyncio.Task[None] | None = None
        self._has_gathered = False
        self._gathers_until = 0.0
        """On the monotonic clock; 0 is no more."""
        self._early_deaths = 0

    def reach_target_by(self, uri: str) -> None:
        """Workers that are started from here on use this connection string of the target."""
        self._start_with = replace(self._start_with, target_uri=uri)

    @property
    def n_missing(self) -> int:
        """Workers to be started; below 0 there are too many."""
        return self.desired - sum(not worker.is_retiring for worker in self.workers.values())

    @property
    def is_hopeless(self) -> bool:
        """Workers die before they are ready, one after the other."""
        return self._early_deaths >= MAX_EARLY_DEATHS

    def one_is_ready(self) -> None:
        """A worker has lived until it was ready: others may, too."""
        self._early_deaths = 0

    def one_died_early(self, worker: WorkerProcess) -> None:
        """A worker died before it was ready; those that died together, as with their fork server, count as one."""
        self._early_deaths = max(self._early_deaths, worker.deaths_before + 1)

    def grow(self) -> None:
        """Begin to start those who are missing."""
        if self.desired and not self._has_gathered:
            self._gather()
        if self.n_missing > 0 and (self._growing is None or self._growing.done()):
            self._growing = asyncio.create_task(self._grow(), name="start workers")

    async def stop(self) -> None:
        """Start nobody any more; returns when nobody is being started."""
        self.desired = 0
        if self._growing is not None:
            await self._growing

    async def reap(self, worker: WorkerProcess) -> int | None:
        """Wait for the end of a process whose pipe is at its end; returns its exit code, and its place is free."""
        exit_code = await asyncio.get_running_loop().run_in_executor(self._threads, self._end_process, worker.process)
        del self.workers[worker.id - 1]
        return exit_code

    def _end_process(self, process: ForkServerProcess) -> int | None:
        with self._one_at_a_time:
            process.join(5.0)
            exit_code = process.exitcode
            process.close()
        return exit_code

    def _start_process(self, process: ForkServerProcess) -> None:
        with self._one_at_a_time:
            fork_server.see_to_it()
            process.start()

    def close(self) -> None:
        """Nothing is started or reaped any more."""
        self._threads.shutdown(wait=False)

    def is_gathering(self) -> bool:
        """The first workers still wait for others."""
        are_all_here = self.n_missing <= 0 and all(worker.is_ready for worker in self.workers.values())
        if are_all_here or time.monotonic() >= self._gathers_until:
            self._gathers_until = 0.0  # whoever comes later is not waited for
        return self._gathers_until > 0

    def _gather(self) -> None:
        """Let the first workers wait for the others: those at work would keep these from starting, where cores are few."""
        self._has_gathered = True
        self._gathers_until = time.monotonic() + GATHER_S
        asyncio.get_running_loop().call_later(GATHER_S, self._on_gathered)

    async def _grow(self) -> None:
        """Start those who are missing, some at a time, each as soon as one before it is there."""
        failures = 0
        starting: set[asyncio.Task[OSError | EOFError | None]] = set()
        while starting or self.n_missing > 0:
            while len(starting) < STARTS_AT_ONCE and self.n_missing > 0:
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
                self._on_failure(errors[0])
                return
            await asyncio.sleep(START_PAUSE_S)

    def _new_worker(self) -> WorkerProcess:
        """A place in the cluster, whose process is not started yet."""
        index = next(index for index in range(N_SLOTS) if index not in self.workers)
        slot = Slot(self._slots, index)
        slot.clear()
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(
            target=worker_main.main,
            args=(self._slots, index, theirs, self._start_with),
            name=f"mongopg worker {index + 1}",
        )
        worker = WorkerProcess(index + 1, slot, process, ours, theirs, deaths_before=self._early_deaths)
        self.workers[index] = worker
        return worker

    async def _start(self, worker: WorkerProcess) -> OSError | EOFError | None:
        """Start its process; what kept it from being started."""
        # Process.start talks to the fork server and blocks for milliseconds: not in the loop that serves the screen.
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._start_process, worker.process)
        except (OSError, EOFError) as error:
            log.exception("a worker process cannot be started")
            del self.workers[worker.id - 1]
            return error
        worker.their_end.close()
        worker.started_ns = time.monotonic_ns()
        worker.pid = worker.process.pid or 0
        worker.start_ticks = start_ticks(worker.pid)
        self._on_start(worker)
        return None
