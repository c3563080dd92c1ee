"""The one place that knows private names of asyncpg: `_transport`, `_protocol` and `_addr` of a connection.

The dependency is bounded to the versions that have them. Without them a connection works all the same: it is noticed later that
its network is dead, a COPY that waits for a dead connection ends only when its caller gives up, and the first of several hosts
is taken for the one that answered. Only how a connection is secured cannot be told in another way.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import asyncpg


def tls_of(connection: asyncpg.Connection) -> ssl.SSLObject | None:
    """What encrypts the connection; None where nothing does."""
    transport: asyncio.Transport = connection._transport  # type: ignore[attr-defined]
    found: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    return found


def peer_of(connection: asyncpg.Connection) -> tuple[str, int] | str | None:
    """The address that took the connection: host and port, or the path of a Unix socket; None where the driver does not say."""
    found: tuple[str, int] | str | None = getattr(connection, "_addr", None)
    return found


def socket_of(connection: asyncpg.Connection) -> socket.socket | None:
    """The socket below the connection, for its options; None where this driver has none."""
    transport: Any = getattr(connection, "_transport", None)
    found: socket.socket | None = transport.get_extra_info("socket") if transport is not None else None
    return found


def wake_writer(connection: object) -> None:
    """End a COPY that waits for the socket to take more, when the connection is gone: asyncpg 0.32 would wait for ever."""
    protocol: Any = getattr(connection, "_protocol", None)
    resume = getattr(protocol, "resume_writing", None)
    if resume is not None:
        resume()
