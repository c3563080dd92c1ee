"""A TCP proxy in front of a server that breaks connections where a test wants them broken."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

CHUNK = 65_536
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: the other side gets a RST instead of a FIN."""


@dataclass(eq=False)
class _Link:
    """One connection and its continuation to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    is_marked: bool = False
    """The client has sent the proxy's mark."""
    is_forgotten: bool = False
    """The client has lost it, and the server is never told."""
    is_doomed: bool = False
    """The next answer of the server is swallowed, and the connection reset."""

    def reset(self) -> None:
        for writer in (self.client, self.server):
            _reset(writer)


@dataclass(frozen=True, slots=True)
class _Held:
    """A command that is underway, from a client that has lost the connection."""

    command: bytes
    server: asyncio.StreamWriter

    def arrive(self) -> None:
        """The server gets it, and then learns that the client is gone."""
        self.server.write(self.command)
        self.server.close()

    def be_lost(self) -> None:
        """The server learns that the client is gone."""
        _reset(self.server)


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()


class Proxy:
    """Passes everything on, until it is told otherwise."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        assert parts.port is not None
        self._server = (parts.hostname or "127.0.0.1", parts.port)
        self._target = parts
        self._links: set[_Link] = set()
        self._conversations: set[asyncio.Task[None]] = set()
        self.mark = b""
        """What tells connections apart: those that have sent it at some time since it was set, and others."""
        self.n_to_swallow = 0
        """Answers still to be swallowed."""
        self._swallowed_after = b""
        self._held_from = b""
        self.held: _Held | None = None
        """What a client has sent last, before it lost its connection."""
        self.is_down = False
        """New connections are reset at once."""
        self.latency_s = 0.0
        """Added to each chunk, in each direction."""
        self.bytes_per_s = 0
        """Most that passes in each direction of all connections together; 0 is no limit."""
        self._free_at: dict[bool, float] = {True: 0.0, False: 0.0}
        self.is_open = asyncio.Event()
        """Cleared, everything that is sent disappears for the time being: no byte passes, and neither end is told."""
        self.is_open.set()
        self.rewrite: Callable[[bytes], bytes] = bytes
        """What becomes of each chunk that the server sends."""
        self.host, self.port = "127.0.0.1", 0

    @property
    def uri(self) -> str:
        """The server's URI by way of the proxy."""
        user = self._target.netloc.rpartition("@")
        return self._target._replace(netloc=f"{user[0]}{user[1]}{self.host}:{self.port}").geturl()

    @property
    def n_links(self) -> int:
        """Connections that stand now."""
        return len(self._links)

    def lead_to(self, port: int) -> None:
        """New connections go to another server of the same host."""
        self._server = (self._server[0], port)

    def cut(self) -> None:
        """Reset every connection."""
        for link in tuple(self._links):
            link.reset()

    def forget_marked(self) -> None:
        """Reset marked connections on the client's side alone: the server goes on to believe in them."""
        for link in tuple(self._links):
            if link.is_marked:
                link.is_forgotten = True
                _reset(link.client)

    def swallow_answers(self, times: int, *, to: bytes) -> None:
        """Let the server get and do `to`, and reset the connection instead of passing its answer on; marked ones only."""
        self.n_to_swallow, self._swallowed_after = times, to

    def hold_back(self, command: bytes) -> None:
        """Let the next marked connection that sends the command be lost to its client, and the command be underway (`held`)."""
        self._held_from, self.held = command, None

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)
        if self.is_down:
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._server)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, server_writer)
        self._links.add(link)
        try:
            await asyncio.gather(self._up(link, reader), self._down(link, server_reader))
        finally:
            self._links.discard(link)
            writer.transport.abort()
            server_writer.transport.abort()

    async def _up(self, link: _Link, reader: asyncio.StreamReader) -> None:
        while chunk := await _read(reader):
            link.is_marked = link.is_marked or (bool(self.mark) and self.mark in chunk)
            if self.n_to_swallow and link.is_marked and self._swallowed_after in chunk:
                self.n_to_swallow -= 1
                link.is_doomed = True
            if self._held_from and link.is_marked and self._held_from in chunk:
                self._held_from, link.is_forgotten = b"", True
                self.held = _Held(chunk, link.server)
                _reset(link.client)
                return
            await self._pass_on(chunk, link.server, up=True)
        if not link.is_forgotten:
            link.server.close()

    async def _down(self, link: _Link, reader: asyncio.StreamReader) -> None:
        while chunk := await _read(reader):
            if link.is_doomed:
                link.reset()
                return
            await self._pass_on(self.rewrite(chunk), link.client, up=False)
        link.client.close()

    async def _pass_on(self, chunk: bytes, writer: asyncio.StreamWriter, *, up: bool) -> None:
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        if self.bytes_per_s:
            now = time.monotonic()
            self._free_at[up] = max(now, self._free_at[up]) + len(chunk) / self.bytes_per_s
            await asyncio.sleep(self._free_at[up] - now)
        await self.is_open.wait()
        writer.write(chunk)
        try:
            await writer.drain()
        except OSError:
            return


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(CHUNK)
    except OSError:  # reset, or given up by a keepalive
        return b""


@asynccontextmanager
async def proxy_to(uri: str, listener: socket.socket | None = None) -> AsyncIterator[Proxy]:
    """A proxy to the server of `uri` that lives for the block.

    Args:
        listener: where it is reached; by default a port of this machine alone.
    """
    proxy = Proxy(uri)
    if listener is None:
        listener = socket.create_server((proxy.host, 0))
    server = await asyncio.start_server(proxy._converse, sock=listener)
    proxy.host, proxy.port = listener.getsockname()[:2]
    try:
        yield proxy
    finally:
        server.close()
        proxy.is_open.set()
        proxy.cut()
        if proxy._conversations:
            await asyncio.wait(proxy._conversations)
        await server.wait_closed()
