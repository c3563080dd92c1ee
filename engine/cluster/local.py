"""Worker processes on this host: forked by the fork server, spoken to through pipes, counting in shared memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import ForkServerProcess
from threading import Lock
from typing import Any

from engine.cluster import fork_server
from engine.cluster.channel import Channel
from engine.cluster.crew import Counters, CrewEvents, Ended, Host
from engine.cluster.fork_server import CONTEXT
from engine.work import worker as worker_main
from engine.work.context import WorkerStart
from engine.work.messages import OUT_OF_MEMORY, FromWorker, Retire, ToWorker
from engine.work.slots import N_SLOTS, Field, Slot, make_slots

START_TRIES = 3
START_PAUSE_S = 0.2
"""Between two tries: a fork server that was killed is started again by the next one."""
STARTS_AT_ONCE = 8
"""Workers that are being started at the same time: what each waits for is the fork server, and its own first steps."""
LEAVING_S = 1.0
"""How long a worker that was told to retire may take."""
CLOSING_S = 0.2
"""How long the pipe of a worker whose end was noticed may stay open."""
_POLL_S = 0.005

log = logging.getLogger(__name__)


class LocalMember:
    """A worker process of this host."""

    host = ""

    def __init__(self, crew: LocalCrew, index: int, number: int, slots: Any, start: WorkerStart) -> None:
        """Not started yet.

        Args:
            index: of its slot in `slots`.
            number: for people.
        """
        self.id = number
        self.index = index
        self.pid = 0
        self.is_gone = False
        ours, self._their_end = CONTEXT.Pipe()
        self._slot = Slot(slots, index)
        self._slot.clear()
        self._started_ns = time.monotonic_ns()
        self._start_ticks = ""
        self._is_leaving = False
        self._has_ended = False
        self._channel = Channel(ours, self._said, self._pipe_ended)
        self._crew = crew
        self.process: ForkServerProcess = CONTEXT.Process(
            target=worker_main.main,
            args=(slots, index, number, self._their_end, start),
            name=f"mongopg worker {self.id}",
        )

    def send(self, message: ToWorker) -> None:
        """Never blocks; dropped when it is gone."""
        self._is_leaving = self._is_leaving or isinstance(message, Retire)
        if not self.is_gone:
            self._channel.send(message)

    def counters(self) -> Counters:
        """What is in its slot."""
        slot, now_ns = self._slot, time.monotonic_ns()
        return Counters(
            state=slot.state,
            sent=slot[Field.SENT],
            written=slot[Field.WRITTEN],
            rejected=slot[Field.REJECTED],
            reading_ns=slot[Field.READING_NS],
            converting_ns=slot[Field.CONVERTING_NS],
            writing_ns=slot[Field.WRITING_NS],
            throttled_ns=slot[Field.THROTTLED_NS],
            silent_s=(now_ns - max(slot[Field.HEARTBEAT_NS], self._started_ns)) / 1e9,
            idle_s=max(0, now_ns - slot[Field.PROGRESS_NS]) / 1e9,
            cpu_ns=slot[Field.CPU_NS],
            memory=slot[Field.MEMORY],
        )

    def end(self) -> None:
        """SIGKILL, unless the pid is another process's by now."""
        if self.pid and start_ticks(self.pid) == self._start_ticks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    # --- for its crew -------------------------------------------------------------------------------------------------

    def run_on(self) -> None:
        """Its process was started: read its pipe, and notice its end."""
        self._their_end.close()
        self._started_ns = time.monotonic_ns()
        self.pid = self.process.pid or 0
        self._start_ticks = start_ticks(self.pid)
        self._channel.open()
        asyncio.get_running_loop().add_reader(self.process.sentinel, self._ended)

    def give_up(self) -> None:
        """Its process could not be started."""
        self.is_gone = True
        self._channel.close()
        self._their_end.close()

    async def closed(self) -> None:
        """Returns when the process is dead for certain, and everything that it said was handed on.

        The sentinel alone proves nothing: when the fork server is killed, its living children look dead. The pipe is at its
        end when every copy of its other side is closed: then the worker is gone.
        """
        deadline = time.monotonic() + (LEAVING_S if self._is_leaving else CLOSING_S)
        while not self._has_ended:
            if time.monotonic() > deadline:
                self.end()
            self._channel.read()
            await asyncio.sleep(_POLL_S)

    def _said(self, message: FromWorker) -> None:
        self._crew.events.said(self, message)

    def _pipe_ended(self) -> None:
        self._has_ended = True
        self._ended()

    def _ended(self) -> None:
        if not self.is_gone:
            self.is_gone = True
            asyncio.get_running_loop().remove_reader(self.process.sentinel)
            self._crew.bury(self)


class LocalCrew:
    """Starts workers until there are as many as are wanted."""

    capacity: int | None = None
    hosts: Sequence[Host] = ()
    hosts_wanted = 0

    def __init__(self, events: CrewEvents, number_of: Callable[[int], int] = lambda index: index + 1) -> None:
        """It has no members; `start_with` comes before the first one is wanted.

        Args:
            number_of: the number, for people, of the member that gets the slot of this index; asked once for each.
        """
        self.events = events
        self._number_of = number_of
        self._members: dict[int, LocalMember] = {}
        """Those alive and those being started, by index of their slot."""
        self._wanted = 0
        self._start_with = WorkerStart("", "", "", "auto")
        self._slots = make_slots(CONTEXT)
        self._threads = ThreadPoolExecutor(STARTS_AT_ONCE, thread_name_prefix="workers")
        """Where starts and ends of processes are waited for: other users of threads must not wait for ninety of them."""
        self._one_at_a_time = Lock()
        """`Process.start` looks at the others' ends, too. Closing one of them meanwhile would give its number to the next
        pipe: what a new worker says would be read by the wrong one, and its start be waited for without end."""
        self._growing: asyncio.Task[None] | None = None
        self._burials: set[asyncio.Task[None]] = set()

    def want(self, n: int) -> None:
        """So many in all, those that are about to leave included."""
        self._wanted = n
        if self._n_missing > 0 and (self._growing is None or self._growing.done()):
            self._growing = asyncio.create_task(self._grow(), name="start workers")

    def start_with(self, start: WorkerStart) -> None:
        """What members that are started from here on have to know."""
        self._start_with = start

    def refuse(self, host: str, problem: str, again_s: float | None = None) -> None:
        """It has no other hosts."""

    async def stop_starting(self) -> None:
        """Start none any more; returns when none is being started."""
        self._wanted = 0
        if self._growing is not None:
            await self._growing

    async def close(self) -> None:
        """Nothing is started or reaped any more."""
        self._threads.shutdown(wait=False)

    # --- starting -----------------------------------------------------------------------------------------------------

    @property
    def _n_missing(self) -> int:
        return self._wanted - len(self._members)

    async def _grow(self) -> None:
        """Start those that are missing, some at a time, each as soon as one before it is there."""
        failures = 0
        starting: set[asyncio.Task[OSError | EOFError | None]] = set()
        while starting or self._n_missing > 0:
            while len(starting) < STARTS_AT_ONCE and self._n_missing > 0:
                starting.add(asyncio.create_task(self._start(self._new_member()), name="start a worker"))
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
                self.events.cannot_start(errors[0])
                return
            await asyncio.sleep(START_PAUSE_S)

    def _new_member(self) -> LocalMember:
        """A place in the crew, whose process is not started yet."""
        index = next(index for index in range(N_SLOTS) if index not in self._members)
        number = self._number_of(index)
        member = self._members[index] = LocalMember(self, index, number, self._slots, self._start_with)
        self.events.joined(member)
        return member

    async def _start(self, member: LocalMember) -> OSError | EOFError | None:
        """Start its process; what kept it from being started."""
        # Process.start talks to the fork server and blocks for milliseconds: not in the loop that serves the screen.
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._start_process, member.process)
        except (OSError, EOFError) as error:
            log.exception("a worker process cannot be started")
            del self._members[member.index]
            member.give_up()
            self.events.never_joined(member)
            return error
        member.run_on()
        return None

    def _start_process(self, process: ForkServerProcess) -> None:
        with self._one_at_a_time:
            fork_server.see_to_it()
            process.start()

    # --- ends ---------------------------------------------------------------------------------------------------------

    def bury(self, member: LocalMember) -> None:
        """The end of a member was noticed: see it through."""
        burial = asyncio.create_task(self._bury(member), name=f"bury worker {member.id}")
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)

    async def _bury(self, member: LocalMember) -> None:
        await member.closed()
        exit_code = await asyncio.get_running_loop().run_in_executor(self._threads, self._end_process, member.process)
        del self._members[member.index]
        self.events.left(member, Ended(exit_words(exit_code), exit_code))

    def _end_process(self, process: ForkServerProcess) -> int | None:
        with self._one_at_a_time:
            process.join(5.0)
            exit_code = process.exitcode
            process.close()
        return exit_code


def start_ticks(pid: int) -> str:
    """When a process started, in ticks since boot as text; empty where /proc does not tell or it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return ""


def exit_words(exit_code: int | None) -> str:
    """How a process ended, as "A worker ..." goes on."""
    if exit_code == OUT_OF_MEMORY:
        return "ran out of memory (smaller pages take less)"
    if exit_code == -9:
        return "was killed (signal 9; out of memory?)"
    if exit_code is not None and exit_code < 0:
        return f"was ended by signal {-exit_code}"
    return f"ended with exit code {exit_code}"
