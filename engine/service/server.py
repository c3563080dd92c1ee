"""The engine process: one run, one socket, any number of clients.

It is started with its run's id as argument and its settings as one JSON line on standard input, answers with one JSON line on
standard output (`{"socket": ...}` or `{"error": ...}`), and ends when its run is over and no client is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from pydantic import TypeAdapter, ValidationError

from engine import __version__, protocol
from engine.cluster.crews import Crews
from engine.config import Settings, redact, secrets_of
from engine.errors import MigrationError, OtherVersion, UsageError
from engine.protocol import Attached, Event, RunFinished, Snapshot, handshake
from engine.redaction import know
from engine.service import questions, sockets
from engine.service.activities import Activities
from engine.service.doors import Doors
from engine.service.event_backlog import EventBacklog
from engine.service.peers import peer_of
from engine.service.run_log import RunLog, log_problems, log_start
from engine.work.connections import SERVER_FAILURES, failure_of

MAX_BACKLOG = 10_000
"""Events waiting for a slow client; with more it is dropped."""
FAREWELL_S = 1.0
"""How long the engine's end waits for a client to take the last events."""
LONELY_START_S = 10.0
"""An engine that no client attaches to ends after so long."""
SNAPSHOT_EVERY_S = 1.0 / protocol.SNAPSHOT_HZ
DRAWING_REST = 10
"""After a snapshot the engine does other things for at least so many times as long as that took."""

log = logging.getLogger("engine")
_commands: TypeAdapter[protocol.Command] = TypeAdapter(protocol.Command)


class Client:
    """One connection: replies and events in order, of snapshots only the newest."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.is_attached = False
        self.is_owner = False
        self.on_disconnect = "continue"
        self.has_left = False
        self._lines: deque[bytes] = deque()
        self._snapshot: bytes | None = None
        self._news = asyncio.Event()

    def send(self, message: dict[str, Any]) -> None:
        """Queue a reply or an event."""
        self._lines.append(json.dumps(message).encode() + b"\n")
        if len(self._lines) > MAX_BACKLOG:
            log.warning("a client that does not read was dropped")
            self.writer.transport.abort()
        self._news.set()

    def show(self, snapshot: bytes) -> None:
        """Offer a snapshot; one that was not sent yet is replaced."""
        self._snapshot = snapshot
        self._news.set()

    async def dismiss(self) -> None:
        """End the conversation after what is queued; a client that does not read gets no longer than `FAREWELL_S`."""
        deadline = time.monotonic() + FAREWELL_S
        while (self._lines or self._snapshot is not None) and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        self.writer.close()

    async def pump(self) -> None:
        """Write what is queued, as fast as the client reads."""
        while True:
            while self._lines or self._snapshot is not None:
                if self._lines:
                    self.writer.write(self._lines.popleft())
                elif self._snapshot is not None:
                    self.writer.write(self._snapshot)
                    self._snapshot = None
                await self.writer.drain()
            self._news.clear()
            await self._news.wait()


class Server:
    """Clients on one side, the run on the other."""

    def __init__(self, run_id: str, settings: Settings) -> None:
        self.settings = settings
        self.run_id = run_id
        self.clients: set[Client] = set()
        self._conversations: set[asyncio.Task[Any]] = set()
        self.backlog = EventBacklog()
        self._log = RunLog()
        self._crews = Crews()
        self.work = Activities(run_id, settings, self._publish, self._crews.of)
        self._started = time.monotonic()
        self._had_clients = False
        self._is_ending = False
        self._last_shown = 0.0
        self._news = asyncio.Event()

    async def serve(self, doors: Doors) -> None:
        """Serve until the run is over and all clients have left."""
        await doors.open(self._converse)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_IGN:  # as nohup has it
                continue
            loop.add_signal_handler(number, self._on_signal, number)
        showing = asyncio.create_task(self._show(), name="snapshots")
        keeping = asyncio.create_task(doors.keep_open(), name="keep the sockets")
        try:
            while not self._may_end():
                await asyncio.sleep(0.02)
        finally:
            keeping.cancel()
            doors.close()
            await self.work.close()
            await self._crews.close()
            showing.cancel()
            await self._dismiss_clients()

    def _may_end(self) -> bool:
        if self.clients and not self._is_ending:
            return False
        if self.work.is_busy:
            return False
        return self._is_ending or self._had_clients or time.monotonic() - self._started > LONELY_START_S

    def _on_signal(self, number: int) -> None:
        log.info("signal %d: the run is cancelled", number)
        self._is_ending = True
        self.work.cancel(now=True, by=f"signal {signal.Signals(number).name} to the engine")

    # --- clients ------------------------------------------------------------------------------------------------------

    async def _dismiss_clients(self) -> None:
        """Clients that are still here see how it ended."""
        self._show_all(self.work.snapshot())
        await asyncio.gather(*(client.dismiss() for client in self.clients))
        if self._conversations:
            await asyncio.wait(self._conversations, timeout=FAREWELL_S)

    def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Conversations that are still going on when the loop ends are cancelled, perhaps before their first step. asyncio
        # (3.11) would take that for a failure, were the task of its own making.
        conversation = asyncio.create_task(self._talk(reader, writer), name="conversation")
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)
        conversation.add_done_callback(lambda _: writer.close())

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not _is_same_user(writer):
            writer.close()
            return
        client = Client(writer)
        pump = asyncio.create_task(client.pump(), name="client")
        calls: set[asyncio.Task[None]] = set()
        try:
            while line := await reader.readline():
                # Each on its own: a census must not keep `pause` waiting.
                call = asyncio.create_task(self._answer(client, line))
                calls.add(call)
                call.add_done_callback(calls.discard)
        except (ConnectionError, ValueError):
            log.debug("a client's connection broke")
        finally:
            self.clients.discard(client)
            if client.is_owner and not client.has_left and client.on_disconnect == "cancel":
                self.work.cancel(now=True, by="the end of the front end that had started the run")
            with contextlib.suppress(ConnectionError, TimeoutError):
                await asyncio.wait_for(_flush(client), 1.0)
            pump.cancel()
            writer.close()

    async def _answer(self, client: Client, line: bytes) -> None:
        number: Any = None
        try:
            message = json.loads(line)
            number = message["id"]
            handshake.check_front_end(message, self.run_id)
            command = _commands.validate_python(message["command"])
        except OtherVersion as error:
            client.send(handshake.reply(number, _error(error)))
            return
        except (ValidationError, KeyError, TypeError, ValueError):
            log.info("a command that is not of the protocol")
            client.send(handshake.reply(number, _error(UsageError("This is not one of the engine's commands."))))
            return
        try:
            result = await self._obey(client, command, redact(handshake.asked_by(message)))
        except MigrationError as error:
            client.send(handshake.reply(number, _error(error)))
        except SERVER_FAILURES as failure:  # such as of a connection that the run's end has just closed
            found = failure_of(failure)
            log.warning("a server failed a command: %s: %s", type(failure).__name__, found.sentence)
            client.send(handshake.reply(number, _error(MigrationError(found.sentence, code=found.code))))
        except Exception:
            log.exception("a command failed")
            client.send(handshake.reply(number, _error(MigrationError("The engine failed at this; see its log."))))
        else:
            client.send(handshake.reply(number, {"result": result}))
            self._news.set()

    async def _obey(self, client: Client, command: protocol.Command, by: str) -> Any:
        work, run = self.work, self.work.run
        match command:
            case protocol.Attach():
                client.is_attached = True
                client.is_owner = command.owner
                client.on_disconnect = command.on_disconnect
                self.clients.add(client)
                self._had_clients = True
                return Attached(
                    run_id=run.record.run_id,
                    version=__version__,
                    log_path=str(sockets.log_path(self.run_id)),
                    snapshot=work.snapshot(),
                    samples=run.meter.samples,
                    events=self.backlog.events(),
                ).model_dump(mode="json")
            case protocol.Detach():
                client.has_left = True
                return {}
            case protocol.Start():
                work.start(command, by)
                log_start(run.record.run_id, run.settings, command, by)
            case protocol.Pause():
                run.pause(by=by)
            case protocol.Resume():
                run.resume(by)
            case protocol.CutOver():
                run.cut_over(command.timeout_s, blocks_writes=command.block_writes, compares_all=command.compare_all)
            case protocol.CallOff():
                run.call_off(by)
            case protocol.Resolve():
                await run.resolve(command.namespace, command.choice, by)
            case protocol.Cancel():
                work.require_cancellable()
                work.cancel(now=command.now, by=by)
            case protocol.SetKnob():
                return await work.turn(command.knob, command.value, by)
            case protocol.SetGuard():
                return run.set_guard(command.setting, command.value, by)
            case protocol.Status():
                pass
            case protocol.Origin():
                return run.origin().model_dump(mode="json")
            case protocol.Shutdown():
                if work.is_busy:
                    raise UsageError("The run is in progress: cancel it or let it end first.", code="state")
                self._is_ending = True
                return {}
            case protocol.MakePlan():
                settings = questions.planned(command, run.settings)
                if settings.run.census == "full":
                    return (await work.plan(command, settings)).model_dump(mode="json")
                return (await questions.make_plan(command, settings, work.looks)).model_dump(mode="json")
            case protocol.Inspect():
                report = await questions.inspect(command, run.settings)
                if command.keep and report.ok:
                    run.settings = questions.with_uri(command, run.settings)
                return report.model_dump(mode="json")
            case protocol.RetryRejects():
                return (await work.retry(command)).model_dump(mode="json")
            case protocol.Recount():
                await work.recount()
            case protocol.Verify(level="full"):
                return (await work.verify(command)).model_dump(mode="json")
            case _:
                return await questions.answer(command, run.settings)
        return work.snapshot().model_dump(mode="json")

    # --- events and snapshots -----------------------------------------------------------------------------------------

    def _publish(self, event: Event) -> None:
        self.backlog.add(event)
        self._log.take(event)
        if isinstance(event, RunFinished):
            log_problems(self.work.run.record.problems.values())
        message = {"event": event.model_dump(mode="json")}
        for client in self.clients:
            client.send(message)
        self._news.set()

    async def _show(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), SNAPSHOT_EVERY_S if self.work.is_busy else 1.0)
            self._news.clear()
            await asyncio.sleep(max(0.0, self._last_shown + SNAPSHOT_EVERY_S - time.monotonic()))
            self._last_shown = time.monotonic()
            snapshot = self.work.snapshot()
            if self.clients:
                self._show_all(snapshot)
            # A snapshot of thousands of tables would otherwise be drawn all the time.
            self._last_shown += (time.monotonic() - self._last_shown) * DRAWING_REST

    def _show_all(self, snapshot: Snapshot) -> None:
        line = b'{"snapshot": ' + snapshot.model_dump_json().encode() + b"}\n"
        for client in self.clients:
            client.show(line)


def _error(error: MigrationError) -> dict[str, Any]:
    return {"error": {"code": error.code, "message": redact(error.message), "exit_code": error.exit_code}}


async def _flush(client: Client) -> None:
    await client.writer.drain()


def _is_same_user(writer: asyncio.StreamWriter) -> bool:
    """Whether the peer runs under our user id; where the kernel does not tell, the folder's mode must do."""
    peer = peer_of(writer)
    return peer is None or peer.uid == os.getuid()


def run(run_id: str, listeners: Mapping[Path, socket.socket], answers: TextIO) -> None:
    """Answer the front end that has started us, and be the engine until its end.

    Args:
        listeners: where clients come in, by the paths of their sockets; the front end is told the first.
        answers: takes the one line that the front end reads.
    """
    with answers:
        try:
            settings = Settings.model_validate(json.loads(sys.stdin.readline()))
        except ValueError as error:
            message = f"The engine got no settings: {type(error).__name__}."
            answers.write(json.dumps({"error": {"code": "engine_start", "message": message}}) + "\n")
            sys.exit(1)
        know(secrets_of(settings))
        answers.write(json.dumps({"socket": str(next(iter(listeners)))}) + "\n")
    try:
        asyncio.run(Server(run_id, settings).serve(Doors(run_id, listeners)))
    except Exception:
        log.exception("the engine failed")
        raise SystemExit(1) from None
