"""Messages to and from a process through one end of a `multiprocessing.Pipe`, without ever blocking the event loop.

The other end is a `multiprocessing.connection.Connection` that blocks, as suits a worker. Framing is that of
`Connection._send_bytes`: a length as `!i`, or -1 and the length as `!Q`, before the pickled message.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

READ_BYTES = 65_536
_SHORT, _LONG = struct.Struct("!i"), struct.Struct("!Q")
_LONGEST_SHORT = 0x7FFF_FFFF


class Channel:
    """Our end of the pipe."""

    def __init__(self, connection: Connection, on_message: Callable[[Any], None], on_end: Callable[[], None]) -> None:
        """Nothing is read before `open`.

        Args:
            on_message: called with each message, in the event loop.
            on_end: the other end is closed, in all processes that had it, or the pipe broke; called once.
        """
        self._connection = connection
        self._on_message, self._on_end = on_message, on_end
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._is_open = False
        os.set_blocking(connection.fileno(), False)

    def open(self) -> None:
        """Read from here on; what is sent before waits in the pipe."""
        self._is_open = True
        asyncio.get_running_loop().add_reader(self._connection.fileno(), self.read)

    def send(self, message: Any) -> None:
        """Pickle and send a message, or keep it until there is room; dropped when the other end is closed."""
        if self._connection.closed:
            return
        content = bytes(ForkingPickler.dumps(message))
        is_short = len(content) <= _LONGEST_SHORT
        header = _SHORT.pack(len(content)) if is_short else _SHORT.pack(-1) + _LONG.pack(len(content))
        is_waiting = bool(self._outgoing)
        self._outgoing += header + content
        if not is_waiting:
            self._write()

    def read(self) -> None:
        """Take what is there; what `on_message` raises is raised."""
        if not self._is_open:
            return
        try:
            while chunk := os.read(self._connection.fileno(), READ_BYTES):
                self._incoming += chunk
                for message in self._messages():
                    self._on_message(message)
        except BlockingIOError:
            return
        except OSError:
            pass  # as after a reset: nothing more comes
        self.close()
        self._on_end()

    def close(self) -> None:
        """Neither read nor write any more."""
        if self._connection.closed:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._connection.fileno())
        loop.remove_writer(self._connection.fileno())
        self._is_open = False
        self._connection.close()

    def _messages(self) -> Iterator[Any]:
        while len(self._incoming) >= _SHORT.size:
            (size,) = _SHORT.unpack_from(self._incoming)
            begin = _SHORT.size
            if size < 0:
                if len(self._incoming) < begin + _LONG.size:
                    return
                (size,) = _LONG.unpack_from(self._incoming, begin)
                begin += _LONG.size
            if len(self._incoming) < begin + size:
                return
            content = bytes(self._incoming[begin : begin + size])
            del self._incoming[: begin + size]
            yield pickle.loads(content)  # noqa: S301 - of a process that we have made

    def _write(self) -> None:
        loop, descriptor = asyncio.get_running_loop(), self._connection.fileno()
        try:
            while self._outgoing:
                del self._outgoing[: os.write(descriptor, self._outgoing)]
        except BlockingIOError:
            loop.add_writer(descriptor, self._write)
            return
        except OSError:
            self._outgoing.clear()  # the other end is closed: reading tells
        loop.remove_writer(descriptor)
