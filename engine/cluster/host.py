"""A host process: members on this host for an engine on another one. `engine.cluster.host_main` starts it.

It is started by what the engine reaches this host through (`engine.cluster.dask_agent`), with one end of a socket. Parcels come
and go through it, each behind its length; the first thing that comes is the key of the conversation. Its members are processes
of a `LocalCrew`. When the socket is closed, or the engine has given no sign for `ENGINE_SILENT_S`, they end, and it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import socket
import time
from collections import deque

from engine.cluster.crew import Counters, Ended, Member
from engine.cluster.host_words import (
    CODEC,
    ENGINE,
    ENGINE_SILENT_S,
    HOST,
    SIGN_EVERY_S,
    Beat,
    Begin,
    Begun,
    End,
    Here,
    Left,
    NotBegun,
    Open,
    Said,
    Tell,
)
from engine.cluster.local import LocalCrew
from engine.cluster.mailbox import Mailbox
from engine.cluster.pace import Pace
from engine.convert import converter_name
from engine.libpq import resolve as libpq
from engine.redaction import know, secrets_in
from engine.work.codec import BadMessage
from engine.work.frames import LENGTH, framed
from engine.work.messages import Failed, FromWorker, NewLease, Progress, Retire, Returned, ToWorker, Yield

PARCELS_PER_S, AT_ONCE = 20.0, 4
"""Parcels in the long run, and after a rest: a worker that has ended a lease waits for the next one until its word is there."""
_TICK_S = 0.2

log = logging.getLogger("engine.host")


class HostProcess:
    """The engine's members on this host; for its crew the `CrewEvents`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._crew = LocalCrew(self, self._next_number)
        self._members: dict[int, Member] = {}
        self._asked: deque[int] = deque()
        """Numbers of members that the crew is to start."""
        self._early: dict[int, list[ToWorker]] = {}
        """For members that the crew is to start."""
        self._at_work: set[int] = set()
        """Members that have a lease."""
        self._is_draining = False
        """Members finish what they have in hand and end, and the process with them."""
        self._spoke: set[int] = set()
        """Members whose counters go with the next parcel."""
        self._news = asyncio.Event()
        self._heard = time.monotonic()
        self._mailbox: Mailbox

    async def run(self) -> None:
        """Serve until the engine is gone."""
        try:
            async with asyncio.timeout(ENGINE_SILENT_S):  # an engine may be gone before its first word
                key = await self._read()
            self._mailbox = Mailbox(CODEC, key, HOST, ENGINE)
            self._say(
                Here(
                    socket.gethostname(), os.getpid(), os.cpu_count() or 1, platform.python_version(), converter_name()
                )
            )
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(), name="listen")
                tasks.create_task(self._speak(), name="speak")
                tasks.create_task(self._mind_the_engine(), name="mind the engine")
        except* (EOFError, OSError):
            log.info("the engine has gone")
        finally:
            for member in self._members.values():
                member.end()

    # --- the engine ---------------------------------------------------------------------------------------------------

    async def _read(self) -> bytes:
        try:
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            return await self._reader.readexactly(length)
        except asyncio.IncompleteReadError:
            raise EOFError from None

    async def _listen(self) -> None:
        while True:
            parcel = await self._read()
            if not parcel:
                self._drain()
                continue
            try:
                messages, _ = self._mailbox.open(parcel)
            except BadMessage as error:
                log.warning("%s", error)
                continue
            self._heard = time.monotonic()
            for message in messages:
                self._obey(message)

    async def _speak(self) -> None:
        beaten = 0.0
        pace = Pace(PARCELS_PER_S, AT_ONCE)
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _TICK_S)
            self._news.clear()
            is_beat = time.monotonic() - beaten >= SIGN_EVERY_S
            if not (is_beat or self._mailbox.has_news):
                continue
            about = self._members.keys() if is_beat else self._spoke & self._members.keys()
            beat = Beat(os.getloadavg()[0], {number: self._counters(number) for number in about})
            beaten = time.monotonic() if is_beat else beaten
            self._spoke.clear()
            self._send(self._mailbox.parcel(beat))
            while self._mailbox.has_news:
                self._send(self._mailbox.parcel())
            await self._writer.drain()
            await asyncio.sleep(pace.sent())

    async def _mind_the_engine(self) -> None:
        while time.monotonic() - self._heard < ENGINE_SILENT_S:
            await asyncio.sleep(_TICK_S)
            if self._is_draining and not self._members and not self._mailbox.has_news:
                raise EOFError
        log.warning("no sign of the engine for %.0f s: its workers end", ENGINE_SILENT_S)
        raise EOFError

    def _counters(self, number: int) -> Counters:
        return self._members[number].counters()

    def _send(self, parcel: bytes) -> None:
        self._writer.write(framed(parcel))

    def _say(self, message: object) -> None:
        self._mailbox.put(message)
        self._news.set()

    def _obey(self, message: object) -> None:
        match message:
            case Open():
                start = message.start
                know(secrets_in(start.source_uri) | secrets_in(start.target_uri) | libpq.secrets_of(start.target_uri))
                self._crew.start_with(start)
            case Begin() if not self._is_draining:
                self._asked.append(message.member)
                self._early[message.member] = []
                self._crew.want(len(self._members) + len(self._asked))
            case Tell():
                if isinstance(message.message, NewLease):
                    if self._is_draining:
                        # Not begun: the engine, which did not know yet, gives it to another.
                        lease = message.message.lease
                        self._say(Said(message.member, Returned(lease, finished=False, rest=lease)))
                        return
                    self._at_work.add(message.member)
                if message.member in self._members:
                    self._members[message.member].send(message.message)
                elif message.member in self._early:
                    self._early[message.member].append(message.message)
            case End():
                if message.member in self._members:
                    self._members[message.member].end()

    def _drain(self) -> None:
        """What this process runs on is taken away: no lease is begun any more, and those in hand are given back committed."""
        log.info("the host is taken away: %d members finish what they have in hand", len(self._members))
        self._is_draining = True
        self._asked.clear()
        self._crew.want(len(self._members))
        for number, member in self._members.items():
            member.send(Yield() if number in self._at_work else Retire())

    def _next_number(self, index: int) -> int:
        return self._asked.popleft()

    # --- its crew (CrewEvents) ----------------------------------------------------------------------------------------

    def joined(self, member: Member) -> None:
        """A member is being started."""
        self._members[member.id] = member
        for message in self._early.get(member.id, ()):
            member.send(message)

    def said(self, member: Member, message: FromWorker) -> None:
        """A message of a member."""
        if self._early.pop(member.id, None) is not None:
            self._say(Begun(member.id, member.pid))
        self._spoke.add(member.id)
        if isinstance(message, Returned | Failed):
            self._at_work.discard(member.id)
            if self._is_draining:
                member.send(Retire())
        if isinstance(message, Progress):
            self._mailbox.put(Said(member.id, message))  # it has time until the next tick, and the others with it
        else:
            self._say(Said(member.id, message))

    def leaving(self, member: Member) -> None:
        """No crew of this host says such a thing."""

    def left(self, member: Member, how: Ended) -> None:
        """A member is no more."""
        self._early.pop(member.id, None)
        self._at_work.discard(member.id)
        del self._members[member.id]
        self._crew.want(len(self._members) + len(self._asked))
        self._say(Left(member.id, how.message, how.exit_code))

    def never_joined(self, member: Member) -> None:
        """Its process could not be started; the crew tries again."""
        del self._members[member.id]
        self._asked.appendleft(member.id)

    def cannot_start(self, error: Exception) -> None:
        """No more processes can be had."""
        for number in self._asked:
            self._early.pop(number, None)
            self._say(NotBegun(number, type(error).__name__))
        self._asked.clear()
        self._crew.want(len(self._members))

    def noticed(self, code: str, message: str, *, is_retry: bool = True) -> None:
        """No crew of this host says such a thing."""


async def serve(descriptor: int) -> None:
    """Serve the engine at the other end of a socket."""
    with contextlib.closing(socket.socket(fileno=descriptor)) as connection:
        reader, writer = await asyncio.open_connection(sock=connection)
        await HostProcess(reader, writer).run()


def run(descriptor: int) -> None:
    """Serve at a descriptor until the engine is gone."""
    asyncio.run(serve(descriptor))
