"""Private names of asyncpg: the installed version has them, and connections work where a version has not."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from engine import tls
from engine.postgres import connect as postgres
from engine.postgres import driver_internals

if TYPE_CHECKING:
    from tests.conftest import Target


async def test_this_driver_has_the_transport_and_the_protocol(target: Target) -> None:
    connection = await postgres.connect(target.uri)
    try:
        wire = driver_internals.socket_of(connection)
        assert wire is not None
        assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert driver_internals.tls_of(connection) is None
        assert driver_internals.peer_of(connection) == (urlsplit(target.uri).hostname, urlsplit(target.uri).port)
        assert postgres.tls_in_words(connection) == tls.NO_TLS
        assert callable(getattr(connection, "_protocol").resume_writing)  # noqa: B009
        driver_internals.wake_writer(connection)
        assert await connection.fetchval("SELECT 1") == 1
    finally:
        await connection.close()


class _Hidden:
    """A connection without the private names."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        if name in ("_transport", "_protocol", "_addr"):
            raise AttributeError(name)
        return getattr(self._connection, name)


async def test_a_connection_works_with_a_driver_without_them(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    make = asyncpg.connect

    async def hiding(*args: Any, **kwargs: Any) -> Any:
        return _Hidden(await make(*args, **kwargs))

    monkeypatch.setattr(asyncpg, "connect", hiding)
    connection = await postgres.connect(target.uri)
    try:
        assert isinstance(connection, _Hidden)
        assert driver_internals.socket_of(connection) is None
        driver_internals.wake_writer(connection)
        assert await connection.fetchval("SELECT 1") == 1
    finally:
        await connection.close()
