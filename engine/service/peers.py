"""Who is at the other end of a Unix socket, as the kernel says (SO_PEERCRED of Linux's unix(7))."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass

_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Peer:
    """A process and its user."""

    pid: int
    uid: int


def peer_of(writer: asyncio.StreamWriter) -> Peer | None:
    """The process at the other end; None where the kernel does not tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    wire: socket.socket = writer.get_extra_info("socket")
    pid, uid, _ = _CREDENTIALS.unpack(wire.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return Peer(pid, uid)
