"""What every front end uses to reach an engine: find one, send commands, receive events and snapshots.

::

    engine = launching.launch(settings)            # a new engine process, in a process group of its own
    client = await EngineClient.connect(engine.socket, owner=True, on_disconnect="continue")
    reply = await client.call(protocol.Start(seed=True))
    async for message in client.messages():        # Event | Snapshot, until the engine ends or `close()`
        ...
    await client.detach()                          # leave; the run goes on
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pwd
import socket
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from engine import protocol
from engine.config import redact
from engine.errors import ConnectError, MigrationError, OtherVersion, UsageError, error_from
from engine.protocol import Attached, Event, RunState, Snapshot, handshake, read_event
from engine.service import finding, sockets
from engine.service.peers import peer_of

CLOSE_TIMEOUT_S = 1.0

Reply = TypeVar("Reply", bound=BaseModel)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a client waits for an engine, seconds."""

    connect_s: float = 2.0
    """For its socket, and for an answer without attaching."""
    attach_s: float = 10.0
    """A busy engine answers within a fraction of that; one that is stopped never does."""
    detach_s: float = 3.0


WAITS = Waits()


@dataclass(frozen=True, slots=True)
class Found:
    """The engine of the run that is meant."""

    socket: Path
    snapshot: Snapshot
    is_named: bool
    """By its id or by its target; otherwise it is merely the only one."""


def actor(program: str) -> str:
    """Who gives a command, for the log of a run and for its other front ends.

    `ctl of ann@db1`; on a terminal `cockpit on pts/3 of ann@db1`; under sudo the user who called it is named, too.
    """
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    caller = os.environ.get("SUDO_USER", "")
    user = f"{caller} as {user}" if caller and caller != user else user
    return f"{program}{_terminal()} of {user}@{socket.gethostname().partition('.')[0]}"


def _terminal() -> str:
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            return f" on {os.ttyname(descriptor).removeprefix('/dev/')}"
    return ""


async def find_engine(run: str | None = None, waits: Waits = WAITS) -> Path:
    """The socket of `find_run`."""
    return (await find_run(run, waits=waits)).socket


async def find_run(run: str | None = None, target: str = "", waits: Waits = WAITS) -> Found:
    """The only live engine with a run, or the one whose run's id begins with `run`.

    Args:
        target: without a `run`, only runs into this database count.

    Raises:
        ConnectError: no engine listens.
        OtherVersion: the one that does is of another version.
        UsageError: several do; the message lists them.
    """
    target = "" if run else target.strip()
    seen: dict[Path, Snapshot] = {}
    here = await _among(sockets.live_sockets(), run, waits)
    seen.update(here.found)
    here.keep_into(target)
    if here.is_nothing:
        # Another session's, as after `su`, in cron, or once the folder of the session is gone.
        here = await _among(sockets.sockets_elsewhere(everywhere=run is not None), run, waits)
        seen.update(here.found)
        here.keep_into(target)
    going_on = [path for path, snapshot in here.found.items() if snapshot.state.is_active]
    live = going_on if len(going_on) == 1 else list(here.found)
    if not live:
        if here.others:
            raise here.others[0]
        if here.silent:
            raise ConnectError(
                f"The engine of run {', '.join(here.silent)} does not answer: its process hangs or is stopped."
            )
        raise ConnectError(_nothing(run, target, seen))
    if len(live) > 1:
        raise UsageError(f"Several runs are in progress, name one with --run: {finding.words_of(here.found)}.")
    return Found(live[0], here.found[live[0]], is_named=bool(run or target))


def _nothing(run: str | None, target: str, seen: dict[Path, Snapshot]) -> str:
    """That there is no such run, and which others there are."""
    which = f"run {run!r}" if run else "run"
    into = f" into {redact(target)}" if target else ""
    words = f"No {which}{into} in progress on this machine"
    if seen:
        return f"{words}, but {finding.words_of(seen)}: name it with --run."
    if others := finding.runs_of_others(run or ""):
        named = ", ".join(f"{run_id} of {user}" for run_id, user in others)
        return f"{words} is yours; of other users: {named}. Only its own user can steer a run."
    return f"{words}; `mongopg-tui runs` lists past runs."


@dataclass(slots=True)
class _Engines:
    """What answers behind some sockets."""

    found: dict[Path, Snapshot] = field(default_factory=dict)
    """Those that are looked for."""
    silent: list[str] = field(default_factory=list)
    """Runs whose engines do not answer."""
    others: list[OtherVersion] = field(default_factory=list)

    @property
    def is_nothing(self) -> bool:
        return not (self.found or self.silent or self.others)

    def keep_into(self, target: str) -> None:
        """Leave runs into other databases out; all stay without a target."""
        if target:
            self.found = {
                path: snapshot
                for path, snapshot in self.found.items()
                if finding.is_same_target(snapshot.target, target)
            }


async def _among(paths: Iterable[Path], run: str | None, waits: Waits) -> _Engines:
    """The engines behind `paths` with a run, or with one whose id begins with `run`."""
    engines = _Engines()
    for path in paths:
        try:
            snapshot = await _snapshot_at(path, waits)
        except TimeoutError:
            if sockets.may_have_run(path, run):
                engines.silent.append(path.stem)
            continue
        except OtherVersion as error:
            if sockets.may_have_run(path, run):
                engines.others.append(error)
            continue
        if snapshot is None:
            continue
        # An engine that resumes a run keeps the socket that is called after its own beginning.
        if any(name.startswith(run) for name in (snapshot.run_id, path.stem)) if run else _has_run(snapshot):
            engines.found[path] = snapshot
    return engines


def _has_run(snapshot: Snapshot) -> bool:
    """Whether the engine was told to start; one that only waits behind a Setup screen has nothing to steer."""
    return snapshot.state is not RunState.IDLE


async def _snapshot_at(path: Path, waits: Waits) -> Snapshot | None:
    """What the engine behind a socket does, asked without attaching; None, and the socket removed, when none is there.

    Raises:
        TimeoutError: an engine is there that does not answer.
        OtherVersion: it is of another version.
    """
    try:
        reader, writer = await asyncio.wait_for(
            asyncio.open_unix_connection(str(path), limit=protocol.MAX_LINE), waits.connect_s
        )
    except TimeoutError:
        raise
    except ConnectionRefusedError:
        sockets.forget(path)  # of an engine that was killed
        return None
    except OSError:
        return None
    try:
        writer.write(handshake.request(0, protocol.Status()))
        reply = json.loads(await asyncio.wait_for(reader.readline(), waits.connect_s))
        handshake.check_engine(reply, path.stem, _pid_behind(writer))
        return Snapshot.model_validate(reply["result"])
    except TimeoutError:
        raise
    except (OSError, ValueError, KeyError):
        return None  # it is ending
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class EngineClient:
    """One connection to an engine."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        socket: Path,
        waits: Waits = WAITS,
        by: str = "",
    ) -> None:
        self.socket = socket
        self.by = by
        """Who the engine is told that its commands come from."""
        self.attached: Attached
        """What the engine said on attaching: history for the chart, the newest events, the log's path."""
        self.snapshot: Snapshot
        """The newest snapshot."""
        self._reader = reader
        self._writer = writer
        self._waits = waits
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._inbox: deque[Event | Snapshot] = deque()
        self._news = asyncio.Event()
        self._closed = False
        self._next_id = 0
        self._pump = asyncio.create_task(self._receive(), name="engine client")

    @classmethod
    async def connect(
        cls,
        socket: Path,
        *,
        owner: bool = False,
        on_disconnect: Literal["continue", "cancel"] = "continue",
        waits: Waits = WAITS,
        by: str = "",
    ) -> EngineClient:
        """Connect and attach.

        Args:
            by: who gives the commands (`actor`).

        Raises:
            ConnectError: no engine listens on `socket`, or it does not answer.
            OtherVersion: it is of another version.
        """
        try:
            reader, writer = await asyncio.wait_for(
                asyncio.open_unix_connection(str(socket), limit=protocol.MAX_LINE), waits.connect_s
            )
        except (OSError, TimeoutError) as error:
            raise ConnectError(f"The engine {socket.stem} does not answer; it may have ended.") from error
        client = cls(reader, writer, socket, waits, by or actor("a front end"))
        try:
            async with asyncio.timeout(waits.attach_s):
                client.attached = await client.ask(Attached, protocol.Attach(owner=owner, on_disconnect=on_disconnect))
        except BaseException as error:
            await client.close()
            if isinstance(error, TimeoutError):
                raise ConnectError(
                    f"The engine {socket.stem} does not answer within {waits.attach_s:g} seconds: "
                    "its process hangs or is stopped."
                ) from error
            raise
        client.snapshot = client.attached.snapshot
        return client

    @property
    def _engine(self) -> str:
        """In a sentence: by its run once that is known, whose id may be another one than the socket's name."""
        run_id = self.snapshot.run_id if hasattr(self, "snapshot") else ""
        return f"The engine of run {run_id}" if run_id else f"The engine {self.socket.stem}"

    async def again(self, *, owner: bool, on_disconnect: Literal["continue", "cancel"]) -> EngineClient:
        """Another connection to the same engine.

        Raises:
            ConnectError: it has ended, or does not answer.
        """
        return await EngineClient.connect(
            self.socket, owner=owner, on_disconnect=on_disconnect, waits=self._waits, by=self.by
        )

    @property
    def is_closed(self) -> bool:
        """The connection is gone: closed here, or the engine ended."""
        return self._closed

    async def call(self, command: BaseModel) -> Any:
        """Send one of the protocol's commands and return the reply's result as plain data.

        Raises:
            MigrationError: of the class that the engine's error code stands for (KnobError, UsageError, ...).
            ConnectError: the engine ended before it answered.
        """
        if self._closed:
            raise ConnectError(f"{self._engine} has ended.")
        self._next_id += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[self._next_id] = future
        self._writer.write(handshake.request(self._next_id, command, self.by))
        with contextlib.suppress(ConnectionError):  # the pump notices, and fails the future
            await self._writer.drain()
        return await future

    async def ask(self, reply: type[Reply], command: BaseModel) -> Reply:
        """`call`, with the result as one of the protocol's models.

        Raises:
            OtherVersion: the result cannot be read as one.
        """
        result = await self.call(command)
        try:
            return reply.model_validate(result)
        except ValidationError as error:
            raise OtherVersion(
                f"{self._engine} answers in a way that this version of mongopg-tui does not "
                "understand: steer the run with the version that started it."
            ) from error

    async def messages(self) -> AsyncIterator[Event | Snapshot]:
        """Events and snapshots as they come, until the connection is gone. A backlog of snapshots is one: the newest."""
        while True:
            while self._inbox:
                yield self._inbox.popleft()
            if self._closed:
                return
            self._news.clear()
            await self._news.wait()

    async def detach(self) -> None:
        """Leave on purpose: the run goes on without an owner.

        An engine that does not answer finds these words as soon as it does anything again.
        """
        with contextlib.suppress(MigrationError, TimeoutError):  # it has ended: nothing to detach from
            async with asyncio.timeout(self._waits.detach_s):
                await self.call(protocol.Detach())
        await self.close()

    async def close(self) -> None:
        """Drop the connection. For an owner that means `on_disconnect` decides."""
        self._pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._pump
        self._finish()
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._writer.wait_closed()
        except OSError:  # a timeout, too: what an engine that reads nothing was to be told
            self._writer.transport.abort()

    async def _receive(self) -> None:
        try:
            while line := await self._reader.readline():
                self._take(json.loads(line))
        except (ConnectionError, ValueError):
            pass  # a cut connection, or half a line of an engine that was killed: both mean it is gone
        finally:
            self._finish()

    def _take(self, message: dict[str, Any]) -> None:
        if "reply" in message:
            future = self._waiting.pop(message["reply"], None)
            if future is None or future.done():
                return
            try:
                handshake.check_engine(message, self.socket.stem, _pid_behind(self._writer))
            except OtherVersion as error:
                future.set_exception(error)
                return
            if "error" in message:
                future.set_exception(error_from(**message["error"]))
            else:
                future.set_result(message["result"])
            return
        try:
            news = _read_news(message)
        except ValidationError as error:
            # The engine lives, whatever it says there; taking it for gone would end more than this message.
            log.warning("a message of the engine cannot be read: %s", error.errors(include_input=False)[:3])
            return
        if isinstance(news, Event):
            self._inbox.append(news)
        elif news is not None:
            self.snapshot = news
            if self._inbox and isinstance(self._inbox[-1], Snapshot):
                self._inbox.pop()
            self._inbox.append(self.snapshot)
        self._news.set()

    def _finish(self) -> None:
        self._closed = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectError(f"{self._engine} has ended."))
        self._waiting.clear()
        self._news.set()


def _pid_behind(writer: asyncio.StreamWriter) -> int | None:
    peer = peer_of(writer)
    return peer.pid if peer is not None else None


def _read_news(message: dict[str, Any]) -> Event | Snapshot | None:
    """What an engine tells without being asked; None is of a kind that is not known here."""
    if "event" in message:
        return read_event(message["event"])
    return Snapshot.model_validate(message["snapshot"]) if "snapshot" in message else None
