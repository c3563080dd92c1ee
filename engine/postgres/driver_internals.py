"""The one place that knows private names of asyncpg: `_transport`, `_protocol` and `_addr` of a connection.

The dependency is bounded to the versions that have them. Without them a connection works all the same: it is noticed later that
its network is dead, a COPY that waits for a dead connection ends only when its caller gives up, the first of several hosts is
taken for the one that answered, and a new session costs its server more. Only how a connection is secured cannot be told in
another way.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import asyncpg

_ARRAYS = {
    "bool": (16, 1000),
    "bytea": (17, 1001),
    "char": (18, 1002),
    "name": (19, 1003),
    "int8": (20, 1016),
    "int2": (21, 1005),
    "int4": (23, 1007),
    "tid": (27, 1010),
    "float8": (701, 1022),
    "varchar": (1043, 1015),
    "timestamptz": (1184, 1185),
    "numeric": (1700, 1231),
    "uuid": (2950, 2951),
    "jsonb": (3802, 3807),
}
"""PostgreSQL's own types and the arrays of them, with the OIDs that they have in every database (pg_type.dat)."""


def know_arrays(connection: asyncpg.Connection) -> None:
    """Tell the driver what arrays of PostgreSQL's own types are; it knows text[] and oid[] by itself.

    For each other one it asks the catalogue of each session anew, in three or four questions, the first of which takes a new
    session's server longer than all else that a worker asks before its first row.
    """
    protocol: Any = getattr(connection, "_protocol", None)
    if hasattr(protocol, "get_settings") and hasattr(protocol.get_settings(), "register_data_types"):
        protocol.get_settings().register_data_types([_array(name, *oids) for name, oids in _ARRAYS.items()])


def _array(name: str, element_oid: int, oid: int) -> dict[str, Any]:
    """An array type, as the driver's own question describes it."""
    return {
        "oid": oid,
        "ns": "pg_catalog",
        "name": f"_{name}",
        "kind": b"b",
        "basetype": None,
        "elemtype": element_oid,
        "elemdelim": ",",
        "range_subtype": None,
        "attrtypoids": None,
        "attrnames": None,
        "basetype_name": None,
        "elemtype_name": name,
        "range_subtype_name": None,
    }


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
