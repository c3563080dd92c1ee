"""Private names of asyncpg: the installed version has them, and connections work where a version has not."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

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


ARRAYS: dict[str, list[object]] = {
    "bool": [True, None, False],
    "bytea": [b"\0a", b""],
    "char": [b"r", b"p"],
    "name": ["users", 'odd "name"'],
    "int8": [2**40, None, -1],
    "int2": [1, -2],
    "int4": [1, None, 2**31 - 1],
    "tid": [(0, 1), (7, 65_535)],
    "float8": [1.5, None],
    "varchar": ["a,b", "{}"],
    "timestamptz": [datetime(2026, 11, 30, tzinfo=UTC), None],
    "numeric": [Decimal("1.50"), None],
    "uuid": [UUID(int=5), None],
    "jsonb": ['{"a": 1}', None],
}


async def test_a_new_session_asks_the_catalogue_for_no_array_of_a_type_of_postgresql(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked(*_: object, **__: object) -> None:
        raise AssertionError("the driver asks the catalogue what a type is")

    with monkeypatch.context() as silent:
        silent.setattr(asyncpg.Connection, "_introspect_types", asked)
        connection = await postgres.connect(target.uri)
        try:
            for name, values in ARRAYS.items():
                quoted = f'"{name}"' if name == "char" else name
                assert await connection.fetchval(f"SELECT $1::{quoted}[]", values) == values, name
                assert await connection.fetchval(f"SELECT ARRAY[$1::{quoted}[]]", values) == [values], name
        finally:
            await connection.close()
    oids = target.rows("SELECT substr(typname, 2) AS name, typelem, oid FROM pg_type WHERE typname = ANY($1)",
                       [f"_{name}" for name in ARRAYS])  # fmt: skip
    assert {row["name"]: (row["typelem"], row["oid"]) for row in oids} == driver_internals._ARRAYS


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
