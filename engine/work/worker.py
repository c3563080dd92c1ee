"""Main of a worker process: say that it is ready, take leases, do them, report; end with the engine.

It is imported before the fork server is made, so importing this module makes no client, thread or loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from bson.errors import InvalidBSON

from engine import logs
from engine.convert import converter_name
from engine.errors import UsageError
from engine.libpq import resolve as libpq
from engine.redaction import know, secrets_in
from engine.work.context import Work, WorkerContext, WorkerStart
from engine.work.kinds import KINDS
from engine.work.messages import (
    OUT_OF_MEMORY,
    Abort,
    Connected,
    Failed,
    FromWorker,
    Lease,
    NewLease,
    NewTasks,
    Probe,
    Ready,
    Retire,
    Returned,
    Task,
    ToWorker,
    Tune,
    Yield,
    touch,
)
from engine.work.probe import look_around
from engine.work.slots import Field, Slot

HEARTBEAT_S = 0.5
NICENESS = 5
"""Of a worker with work: ninety on a few cores must not starve the engine, the screen, the databases beside them, nor the
workers that are still starting."""

NO_THREAD = "can't start new thread"
"""What Python says then: it has no class for it."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class LeaseOrders:
    """What the engine wants of the lease in hand; work looks at it between batches."""

    page_size: int = 8_000
    rows_per_s: float = 0.0
    """Share of the throttle; 0 is no limit."""
    is_yielding: bool = False


def main(slots: Any, index: int, number: int, pipe: Connection, start: WorkerStart) -> None:
    """Work until told to retire. Never returns: nothing may run on in this process.

    Args:
        slots: of all workers that have the same parent.
        index: of this one's.
        number: of the worker, for people.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the engine decides
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logs.set_up()
    try:
        start, trouble = start.resolved(), ""
    except UsageError as error:
        trouble = error.message  # told when it is asked for (`engine.work.probe`)
    know(secrets_in(start.source_uri) | secrets_in(start.target_uri) | libpq.secrets_of(start.target_uri))
    threading.Thread(target=_end_with_engine, name="watch the engine", daemon=True).start()
    code = 1
    try:
        asyncio.run(_Worker(Slot(slots, index), number, pipe, start, trouble).run())
        code = 0
    except (EOFError, BrokenPipeError):
        code = 0  # the engine has gone: so do we
    except Exception:
        log.exception("worker %d failed", number)
    finally:
        logging.shutdown()
        os._exit(code)  # a thread may still wait for a server


def is_out_of_memory(error: BaseException) -> bool:
    """The system gives this process no more memory, or no thread, which takes some."""
    if isinstance(error, InvalidBSON):
        return not str(error)  # bson makes one of any error, with the words of that: this one has none
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and error.args == (NO_THREAD,))


def _end_with_engine() -> None:
    engine = multiprocessing.parent_process()
    if engine is not None:
        wait([engine.sentinel])
        os._exit(1)


class _Worker:
    """The loop of one worker."""

    def __init__(self, slot: Slot, number: int, pipe: Connection, start: WorkerStart, trouble: str) -> None:
        self._slot = slot
        self._pipe = pipe
        self._start, self._trouble = start, trouble
        self._probing: asyncio.Task[None] | None = None
        self._orders = LeaseOrders()
        self._tasks: dict[int, Task] = {}
        """Those that were needed last at the end."""
        self._context = WorkerContext(start, number, slot, self._orders, self._send, self._tasks)
        self._works: dict[Callable[[WorkerContext], Work[Any, Any]], Work[Any, Any]] = {}
        """Those that were needed so far, by what makes them."""
        self._lease: asyncio.Task[None] | None = None
        self._is_nice = False
        self._counted: type | None = None
        """The kind of work that the slot's counters are about."""
        self._retired: asyncio.Future[None]

    async def run(self) -> None:
        """Serve until retired, or until the engine is gone (EOFError)."""
        loop = asyncio.get_running_loop()
        self._retired = loop.create_future()
        loop.add_reader(self._pipe.fileno(), self._read)
        beating = asyncio.create_task(self._beat(), name="heartbeat")
        self._slot.state = "idle"
        self._send(Ready(os.getpid(), converter_name(self._start.converter)))
        try:
            await self._retired
        finally:
            beating.cancel()
            loop.remove_reader(self._pipe.fileno())
            if self._lease is not None:
                self._lease.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._lease
            for work in self._works.values():
                await work.close()

    async def _beat(self) -> None:
        while True:
            self._slot[Field.HEARTBEAT_NS] = time.monotonic_ns()
            self._slot[Field.CPU_NS] = time.process_time_ns()
            self._slot[Field.MEMORY] = _resident_bytes()
            await asyncio.sleep(HEARTBEAT_S)

    def _send(self, message: FromWorker) -> None:
        if isinstance(message, Connected):
            self._step_behind()
        self._pipe.send(message)

    def _step_behind(self) -> None:
        """Before the threads that work begin: they inherit it, but those that are there would not change (Linux)."""
        if not self._is_nice:
            self._is_nice = True
            os.nice(NICENESS)

    def _read(self) -> None:
        try:
            while self._pipe.poll():
                self._obey(self._pipe.recv())
        except (EOFError, OSError) as error:
            if not self._retired.done():
                self._retired.set_exception(EOFError("the engine has ended"))
                log.info("engine exited (%s); worker stopping", type(error).__name__)
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())

    def _obey(self, message: ToWorker) -> None:
        match message:
            case NewTasks():
                self._tasks.update((task.task_id, task) for task in message.tasks)
            case NewLease():
                for forgotten in touch(self._tasks, message.lease):
                    for work in self._works.values():
                        work.forget(forgotten)
                self._orders.is_yielding = False
                self._lease = asyncio.create_task(self._work(message.lease), name="lease")
            case Yield():
                self._orders.is_yielding = True
            case Abort():
                if self._lease is not None:
                    # Behind its first step: a task that is cancelled before never runs, and would never answer.
                    asyncio.get_running_loop().call_soon(self._lease.cancel)
            case Tune():
                self._orders.page_size = message.page_size
                self._orders.rows_per_s = message.rows_per_s
            case Probe():
                self._probing = asyncio.create_task(self._probe(), name="probe")
            case Retire():
                if not self._retired.done():
                    self._retired.set_result(None)

    async def _work(self, lease: Lease) -> None:
        task = self._tasks[lease.task_id]
        if type(task) is not self._counted:  # seeded documents and copied rows are not one sum
            self._counted = type(task)
            self._slot[Field.SENT] = self._slot[Field.WRITTEN] = 0
        answer: Returned | Failed
        work = self._work_for(task)
        if not work.needs_target:
            self._step_behind()  # for others their connection to PostgreSQL says when they have started
        try:
            answer = await work.work(task, lease)
        except asyncio.CancelledError:
            await work.abort()
            answer = Returned(lease, finished=False, rest=work.rest(lease))
        except Exception as error:
            if is_out_of_memory(error):
                # As if the system had killed us for it: another worker tries, with memory that nothing was left in.
                log.warning("this worker ends: %s", type(error).__name__)
                logging.shutdown()
                os._exit(OUT_OF_MEMORY)
            log.exception("a lease failed")
            answer = Failed(
                lease, "internal", f"A worker failed with {type(error).__name__}; the log says more.", fatal=True
            )
            await work.abort()
        self._slot.state = "idle"
        self._lease = None
        self._send(answer)

    async def _probe(self) -> None:
        found = await look_around(self._start)
        self._send(replace(found, problem=self._trouble or found.problem))

    def _work_for(self, task: Task) -> Work[Any, Any]:
        """What does leases of this task."""
        make = KINDS[type(task)]
        if make not in self._works:
            self._works[make] = make(self._context)
        return self._works[make]


def _resident_bytes() -> int:
    """Of this process, by proc(5); 0 on other systems than Linux."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0
