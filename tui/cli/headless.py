"""A run without a screen: start an engine, print what it does, steer it by signals, leave with its exit code.

::

    SIGINT   once: cancel, slices in hand are committed; twice: they are rolled back; three times: the engine is killed
    SIGTERM  cancel, roll back; exit code 143            SIGHUP   cancel; exit code 129
    SIGUSR1  pause, or resume                            SIGUSR2  print what every worker does
    SIGTTIN  one worker more                             SIGTTOU  one worker fewer

The engine is told to cancel when this process vanishes, so nothing is left behind by a SIGKILL either.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import BaseModel

from engine.config import Loaded, Settings
from engine.errors import EXIT_FAILED, EXIT_SIGHUP, EXIT_SIGTERM, Cancelled, MigrationError
from engine.protocol import Cancel, Pause, Resume, RunFinished, RunHalted, RunState, SetKnob, Snapshot, Start
from engine.service import sockets
from engine.service.client import EngineClient, actor
from engine.service.launching import EngineProcess, Launching, launch
from tui import again, garbage
from tui.at_end import Command, End, is_terminal, sequences
from tui.cli import output
from tui.cli.json_lines import finished_record
from tui.cli.printers import Printer
from tui.signals import handling, is_ignored
from tui.words.sentences import tls_warnings, workers_table

TICK_S = 0.25
END_TIMEOUT_S = 20.0
"""How long an engine whose run is over may take to end; embedded servers shut down in it."""
INTERRUPTED_S = 1.0
"""How long an engine may take to end that was given up before it was asked for anything."""
TERMINATE_TIMEOUT_S = 8.0
"""After SIGTERM: supervisors and container runtimes send SIGKILL after 10 s, the engine must be gone by then."""


async def run_headless(
    loaded: Loaded, start: Start, printer: Printer, *, launching: Launching | None = None, exit_on_halt: bool = False
) -> int:
    """Run to the end and return the exit code.

    Args:
        launching: the engine, where it has begun to start.
        exit_on_halt: stop a run that is halted by what became of its source, and fail.
    """
    return await _HeadlessRun(loaded, start, printer, launching=launching, exit_on_halt=exit_on_halt).run()


async def started(settings: Settings, launching: Launching | None = None) -> EngineProcess:
    """An engine that is ready; when the wait for it is cancelled, it is ended rather than forgotten.

    Args:
        launching: it has begun to start.
    """
    ready = launching.ready if launching is not None else partial(launch, settings)
    waiting = asyncio.ensure_future(asyncio.to_thread(ready))
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        with contextlib.suppress(MigrationError):  # it did not start: so much the better
            await asyncio.to_thread((await waiting).end, INTERRUPTED_S)
        raise


async def ended(process: EngineProcess, timeout_s: float) -> None:
    """Wait for the end of an engine that has nothing more to do; one that stays is ended."""
    if await asyncio.to_thread(process.wait, timeout_s) is None:
        await asyncio.to_thread(process.end)
    sockets.forget(process.socket)


class _HeadlessRun:
    def __init__(
        self,
        loaded: Loaded,
        start: Start,
        printer: Printer,
        *,
        launching: Launching | None = None,
        exit_on_halt: bool = False,
    ) -> None:
        self._launching = launching
        self._exit_on_halt = exit_on_halt
        self._is_halted = False
        """It is stopped for that."""
        self._loaded = loaded
        self._settings = loaded.settings
        self._start = start
        self._printer = printer
        self._process: EngineProcess | None = None
        self._client: EngineClient | None = None
        self._is_accepted = False
        self._wish: Cancel | None = None
        """A cancel that came before the run was accepted."""
        self._n_interrupts = 0
        self._signal_exit: int | None = None
        """The exit code that a signal asked for."""
        self._is_killed = False
        self._has_reader = True
        self._is_warned = False
        """The operator knows of weak TLS, if there is any."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        with self._signals():
            try:
                facts = await self._drive()
            except MigrationError as error:
                facts = self._facts_of(error)
                self._conclude(facts)
            finally:
                self._printer.close()
        return int(facts.get("exit_code", EXIT_FAILED))

    async def _drive(self) -> dict[str, Any]:
        """The facts of the run's end. Raises MigrationError when the engine ends, or refuses, without any."""
        self._process = await started(self._settings, self._launching)
        try:
            self._client = await EngineClient.connect(
                self._process.socket, owner=True, on_disconnect="cancel", by=actor("run")
            )
            try:
                facts = await self._follow(self._client)
                # At once: an engine may take seconds to end, embedded servers more.
                self._conclude(facts)
                await self._tell_end(self._client.snapshot, facts)
                return facts
            finally:
                await self._client.close()
        finally:
            await ended(self._process, END_TIMEOUT_S)

    async def _follow(self, client: EngineClient) -> dict[str, Any]:
        if self._wish is not None:
            raise Cancelled("The run was cancelled before it started.")
        await client.ask(Snapshot, self._start)
        self._is_accepted = True
        garbage.settle()
        if self._wish is not None:
            self._send(self._wish)
        ticking = asyncio.create_task(self._tick(client), name="tick")
        try:
            async for message in client.messages():
                match message:
                    case Snapshot():
                        self._show(message)
                    case RunFinished():
                        return message.facts
                    case _:
                        self._print(self._printer.tell, message)
                if isinstance(message, RunHalted) and self._exit_on_halt and not self._is_halted:
                    self._is_halted = True
                    self._say("The run is stopped for that; resume it to decide what is done.")
                    self._cancel(now=False)
        finally:
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticking
        if self._is_killed:
            raise Cancelled("The engine was killed: work in progress is rolled back, committed rows stay.")
        run_id, demo = client.snapshot.run_id, self._settings.demo
        servers = {"source": client.snapshot.source, "target": client.snapshot.target}
        then = f". Resume it with: {again.command(f'run --resume {run_id}', self._loaded, servers)}"
        if demo.embedded and not demo.keep:
            then = ", and its embedded servers with it."
        raise MigrationError(f"The engine of run {run_id} died{then}", code="engine_died")

    async def _tick(self, client: EngineClient) -> None:
        """Progress is due also when the engine says nothing."""
        while True:
            await asyncio.sleep(TICK_S)
            self._show(client.snapshot)

    def _show(self, snapshot: Snapshot) -> None:
        if snapshot.state is RunState.IDLE:  # a last word from before the run was accepted
            return
        if snapshot.weak_tls and not self._is_warned:
            self._is_warned = True
            for sentence in tls_warnings(snapshot):
                self._say(sentence)
        self._print(self._printer.show, snapshot)

    def _conclude(self, facts: dict[str, Any]) -> None:
        if facts["state"] == RunState.CANCELLED.value and self._signal_exit is not None:
            facts["exit_code"] = self._signal_exit
        elif facts["state"] == RunState.CANCELLED.value and self._is_halted:
            facts["exit_code"] = EXIT_FAILED
        self._print(self._printer.finish, facts)
        if "error" in facts:
            output.fail(self._with_log(str(facts["error"]["message"]), facts["exit_code"]))

    async def _tell_end(self, snapshot: Snapshot, facts: Mapping[str, Any]) -> None:
        """Ring the bell of the terminal, and run the command that was asked for."""
        known = {name: facts[name] for name in ("read", "written", "rejected") if name in facts}
        end = replace(End.of(snapshot, int(facts.get("exit_code", EXIT_FAILED))), state=str(facts["state"]), **known)
        if self._settings.cockpit.notify and self._printer.draws and is_terminal(2):
            with contextlib.suppress(OSError):
                sys.stderr.write(sequences(end))
                sys.stderr.flush()
        if problem := await Command(self._settings, end, quiet=False).ended():
            output.note(problem)

    def _facts_of(self, error: MigrationError) -> dict[str, Any]:
        """The last line of a run of which the engine does not tell the end."""
        facts: dict[str, Any] = {}
        if self._client is not None:
            snapshot = self._client.snapshot
            facts = {
                "run_id": snapshot.run_id,
                "read": snapshot.read,
                "written": snapshot.written,
                "rejected": snapshot.rejected,
                "seconds": round(snapshot.elapsed, 3),
                "rows_per_s": round(snapshot.rows_per_s_mean),
            }
        return finished_record(facts, error)

    def _with_log(self, message: str, exit_code: int) -> str:
        """A failure that is not the operator's mistake, with the place where the engine tells more."""
        if self._client is None or exit_code != EXIT_FAILED:
            return message
        return f"{message} The engine's log: {self._client.attached.log_path}"

    def _print(self, call: Callable[[Any], None], content: Any) -> None:
        """Print; when stdout has no reader any more, the run is cancelled, as a process group's end would do.

        A terminal that is gone is a hang-up: it is ignored where that is.
        """
        try:
            call(content)
        except OSError as error:
            output.silence(sys.stdout)
            if error.errno == errno.EIO and is_ignored(signal.SIGHUP):
                output.silence(sys.stderr)
            elif self._has_reader:
                self._has_reader = False
                output.note(f"The output cannot be written any more ({error.strerror}): the run is cancelled.")
                self._cancel(now=False)

    # --- signals ------------------------------------------------------------------------------------------------------

    def _signals(self) -> contextlib.AbstractContextManager[None]:
        return handling({
            signal.SIGINT: self._interrupt,
            signal.SIGTERM: self._terminate,
            signal.SIGHUP: self._hang_up,
            signal.SIGUSR1: self._pause_or_resume,
            signal.SIGUSR2: self._print_workers,
            signal.SIGTSTP: self._stop,
            signal.SIGTTIN: lambda: self._resize(+1),
            signal.SIGTTOU: lambda: self._resize(-1),
        })  # fmt: skip

    def _interrupt(self) -> None:
        self._n_interrupts += 1
        if self._n_interrupts == 1:
            self._say("Stopping: committing work in progress. Ctrl-C again to roll back.")
            self._cancel(now=False)
        elif self._n_interrupts == 2:
            self._say("Stopping now: rolling back work in progress. Ctrl-C again to kill the engine.")
            self._cancel(now=True)
        else:
            self._kill()

    def _terminate(self) -> None:
        self._signal_exit = EXIT_SIGTERM
        self._say("Terminated: rolling back work in progress.")
        self._cancel(now=True)
        asyncio.get_running_loop().call_later(TERMINATE_TIMEOUT_S, self._kill)

    def _hang_up(self) -> None:
        self._signal_exit = EXIT_SIGHUP
        self._cancel(now=False)

    def _stop(self) -> None:
        """ctrl+z: leave the terminal as it was, and stop until `fg`; the engine goes on."""
        with contextlib.suppress(OSError):
            self._printer.close()  # the cursor is shown again; what is printed next draws anew
        os.kill(os.getpid(), signal.SIGSTOP)

    def _pause_or_resume(self) -> None:
        if self._client is None:
            return
        is_paused = self._client.snapshot.state in (RunState.PAUSING, RunState.PAUSED)
        self._send(Resume() if is_paused else Pause())

    def _resize(self, change: int) -> None:
        if self._client is not None:
            self._send(SetKnob(knob="cluster_size", value=self._client.snapshot.cluster_size + change))

    def _print_workers(self) -> None:
        if self._client is not None:
            self._say(workers_table(self._client.snapshot))

    def _cancel(self, *, now: bool) -> None:
        self._wish = Cancel(now=now)
        if self._is_accepted:
            self._send(self._wish)

    def _kill(self) -> None:
        """End the engine and its workers at once. PostgreSQL rolls back what they had not committed."""
        if self._process is not None and self._process.process.poll() is None:
            self._is_killed = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.process.pid, signal.SIGKILL)

    def _say(self, text: str) -> None:
        self._print(self._printer.note, text)

    def _send(self, command: BaseModel) -> None:
        """Send without waiting; a refusal is told."""
        assert self._client is not None
        task = asyncio.create_task(self._sent(self._client, command), name="command")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sent(self, client: EngineClient, command: BaseModel) -> None:
        try:
            await client.call(command)
        except MigrationError as error:
            if not client.is_closed:
                self._say(error.message)
