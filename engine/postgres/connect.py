"""Connections to PostgreSQL: making one, saying in one sentence why there is none, and what a server offers.

Where a string leads is found out by `engine.libpq`; the driver gets addresses, a login and a TLS context, and decides nothing.
Session state that correctness rests on is ours whatever string, role, database and service say: `engine.postgres.session`.

TLS policy: a server that is not on this machine is reached with TLS, certificate and host name verified against the
system's authorities, unless `target.uri` (or PGSSLMODE, or the service that it names) says otherwise. On loopback TLS is used
when the server has it. Where a service leads to is in its file; one that cannot be found counts as another machine.
"""

from __future__ import annotations

import errno
import os
import random
import re
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg

from engine import failures, tls
from engine.errors import ConnectError, UsageError
from engine.libpq import strings
from engine.libpq.passfile import is_open_to_others
from engine.libpq.resolve import Conninfo, Endpoint, passfile_of, pinned, read_words, resolve
from engine.postgres import session, sessions, sqlstates
from engine.postgres.contexts import check_files, context_for
from engine.postgres.driver_internals import know_arrays, peer_of, socket_of, tls_of, wake_writer
from engine.postgres.queries import one_row
from engine.postgres.sqlstates import describe, one_line
from engine.redaction import redact

APPLICATION = sessions.APPLICATION
SPARE_CONNECTIONS = 2
"""Left free for other sessions while a run goes on."""
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 15, 5, 3
"""A network that swallows everything is noticed after 30 s, by either side."""
UNANSWERED_MS = (KEEPALIVE_IDLE_S + KEEPALIVE_INTERVAL_S * KEEPALIVE_COUNT) * 1000
"""The same for what was sent and is not acknowledged: a session that only the server believes in holds claims and locks."""
CONNECT_TIMEOUT_S = 5.0
"""For name lookup, TLS and login with one host together, where connect_timeout says nothing."""
_RESERVED = re.compile(r"[/?#\[\]\s]")
_NOT_CONNECTED: tuple[type[Exception], ...] = (ValueError, *sqlstates.FAILURES)
_FOLLOWS_PRIMARY = frozenset({"read-write", "primary"})
"""Of target_session_attrs: several hosts are then one cluster, whose writable server is looked for at each connection."""
_ERRNO = re.compile(r"\[Errno (\d+)\]")


@dataclass(frozen=True, slots=True)
class TargetReport:
    """What a server offers to the role that is connected."""

    version: str
    """As the server calls itself: `18.4`."""
    latency_ms: float
    max_connections: int
    free_connections: int
    """How many more this role may open on this database now, `SPARE_CONNECTIONS` kept; never below 0."""
    tls: str
    """One of the words of `engine.tls`."""
    started_at: datetime
    """When the server started; another time after a reconnect means that it was restarted, perhaps after a crash."""


@dataclass(frozen=True, slots=True)
class Address:
    """What may be shown and stored of a connection string: no password, no parameters."""

    host: str
    """Host name or socket folder; several are joined by commas, ports included as written."""
    database: str
    user: str

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        return f"postgresql://{user}{self.host}/{self.database}"


async def connect(
    uri: str,
    *,
    application_name: str = APPLICATION,
    timeout_s: float | None = None,
    synchronous_commit: bool = True,
) -> asyncpg.Connection:
    """A connection with our session settings; no statement on it has a time limit, since a COPY may take any time.

    Args:
        uri: any connection string of libpq's; what it leaves out comes from its service, PG* variables and ~/.pgpass.
        application_name: shown in pg_stat_activity.
        timeout_s: seconds for name lookup, TLS and login with one host together; without it connect_timeout of the string.
        synchronous_commit: False lets COMMIT return before the disk has it; the ledger makes that safe.

    Raises:
        UsageError: `target.uri` is no connection string, or asks for what cannot be done.
        ConnectError: there is no connection; the message says why and what to do.
    """
    conninfo = resolve(uri)
    check_files(conninfo)
    if timeout_s is None:
        given = conninfo.number("connect_timeout") or 0
        timeout_s = float(given) if given > 0 else CONNECT_TIMEOUT_S
    arguments: dict[str, Any] = {
        "user": conninfo.user,
        "database": conninfo.database,
        "timeout": timeout_s,
        "command_timeout": None,
        "krbsrvname": conninfo.values.get("krbsrvname") or None,
        "gsslib": "gssapi",
        "server_settings": {
            **({"options": conninfo.values["options"]} if conninfo.values.get("options") else {}),
            **session.STARTUP,
            "application_name": application_name,
            "tcp_keepalives_idle": str(KEEPALIVE_IDLE_S),
            "tcp_keepalives_interval": str(KEEPALIVE_INTERVAL_S),
            "tcp_keepalives_count": str(KEEPALIVE_COUNT),
            "tcp_user_timeout": str(
                UNANSWERED_MS
            ),  # keepalives do not count while an answer of the server's is on its way
            "synchronous_commit": "on" if synchronous_commit else "off",
        },
    }
    try:
        connection = await _first_that_answers(conninfo, arguments)
    except _NOT_CONNECTED as error:
        raise _explained(error, uri, address_of(uri), timeout_s) from error
    _keep_alive(connection, conninfo)
    connection.add_termination_listener(wake_writer)
    know_arrays(connection)
    try:
        await session.make_ours(connection)
    except sqlstates.FAILURES as error:
        connection.terminate()
        raise _explained(error, uri, address_of(uri), timeout_s) from error
    except BaseException:
        connection.terminate()
        raise
    return connection


async def whereabouts(connection: asyncpg.Connection, uri: str) -> Address:
    """Where a connection has led to: the host of the string that took it, and what the server says of the rest."""
    database, user = await one_row(
        connection, "SELECT pg_catalog.current_database()::pg_catalog.text, session_user::pg_catalog.text"
    )
    conninfo = resolve(uri)
    only = len(conninfo.endpoints) == 1
    host = _hosts_as_written(conninfo) if only else str(_endpoint_of(connection, conninfo))
    return Address(host=one_line(host), database=one_line(database), user=one_line(user))


def pinned_uri(uri: str, connection: asyncpg.Connection) -> str:
    """`uri` for further connections to the server of this one, whichever of several hosts took it; unchanged where the string
    follows the primary server of a cluster.
    """
    conninfo = resolve(uri)
    if conninfo.values.get("target_session_attrs", "any") in _FOLLOWS_PRIMARY:
        return uri
    return pinned(uri, _endpoint_of(connection, conninfo), conninfo)


async def inspect(connection: asyncpg.Connection) -> TargetReport:
    """Measure and ask what a screen shows about the server, and how many workers it has room for."""
    began = time.monotonic()
    await connection.fetchval("SELECT 1")
    latency_ms = (time.monotonic() - began) * 1000
    room = await one_row(connection, ROOM)
    limits = [room["server_free"], room["role_free"], room["database_free"]]
    free = min(limit for limit in limits if limit is not None) - SPARE_CONNECTIONS
    return TargetReport(
        version=str(room["version"]).split(" ")[0],
        latency_ms=latency_ms,
        max_connections=room["max_connections"],
        free_connections=max(free, 0),
        tls=tls_in_words(connection),
        started_at=room["started_at"],
    )


def address_of(uri: str) -> Address:
    """What may be shown of `uri` before there is a connection.

    Raises:
        UsageError: it is not a PostgreSQL connection string.
    """
    words = read_words(uri)
    if strings.is_uri(uri) and uri.count("@") > 1:  # what is not percent-encoded may be a part of the password
        try:
            parts = urlsplit(redact(uri.strip()))
        except ValueError:
            raise UsageError(
                "target.uri is not a valid connection string: what is in brackets is no address; in user and password "
                "[ is written %5B and @ is %40."
            ) from None
        host, database, user = parts.netloc.rpartition("@")[2], parts.path.lstrip("/"), parts.username or ""
        return Address(one_line(unquote(host)), one_line(unquote(database)), one_line(unquote(user)))
    conninfo = resolve(uri)
    user = conninfo.user if "user" in conninfo.values else ""
    database = conninfo.values.get("dbname", "") or (user if "service" not in words.values else "")
    return Address(host=one_line(_hosts_as_written(conninfo)), database=one_line(database), user=one_line(user))


def _hosts_as_written(conninfo: Conninfo) -> str:
    """The hosts with the ports that are given for them."""
    has_port = "port" in conninfo.values
    return ",".join(
        str(each) if has_port else each.host if ":" not in each.host or each.is_socket else f"[{each.host}]"
        for each in conninfo.endpoints
    )


ROOM = """
WITH used AS (
    SELECT count(*) AS server,
           count(*) FILTER (WHERE usename = session_user) AS role,
           count(*) FILTER (WHERE datname = current_database()) AS database
    FROM pg_stat_activity
    -- Of other users' sessions an ordinary role sees the database, but not what kind of process it is.
    WHERE backend_type = 'client backend' OR (backend_type IS NULL AND datid IS NOT NULL)
), me AS (
    -- Limits are those of the user that logs in, whatever role it is made to play.
    SELECT rolsuper, rolconnlimit,
           EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'pg_use_reserved_connections'
                   AND pg_has_role(session_user, r.oid, 'USAGE')) AS may_use_reserved
    FROM pg_roles WHERE rolname = session_user
), database AS (
    SELECT datconnlimit FROM pg_database WHERE datname = current_database()
)
SELECT current_setting('server_version') AS version,
       current_setting('max_connections')::int AS max_connections,
       pg_postmaster_start_time() AS started_at,
       current_setting('max_connections')::int - used.server
         - CASE WHEN rolsuper THEN 0 ELSE current_setting('superuser_reserved_connections')::int
                + CASE WHEN may_use_reserved THEN 0
                       ELSE coalesce(current_setting('reserved_connections', true)::int, 0) END END AS server_free,
       CASE WHEN NOT rolsuper AND rolconnlimit >= 0 THEN rolconnlimit - used.role END AS role_free,
       CASE WHEN NOT rolsuper AND datconnlimit >= 0 THEN datconnlimit - used.database END AS database_free
FROM used, me, database
"""


async def _first_that_answers(conninfo: Conninfo, arguments: dict[str, Any]) -> asyncpg.Connection:
    """A connection with the first host that takes one, as libpq tries them: a host that refuses a login ends it."""
    endpoints = list(conninfo.endpoints)
    if conninfo.values.get("load_balance_hosts") == "random":
        random.shuffle(endpoints)
    wanted = conninfo.values.get("target_session_attrs") or "any"
    last: Exception | None = None
    for kind in ("standby", "any") if wanted == "prefer-standby" else (wanted,):
        for endpoint in endpoints:
            try:
                return await _dialled(conninfo, endpoint, {**arguments, "target_session_attrs": kind})
            except ssl.SSLError:
                raise
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched) as error:
                last = error
    assert last is not None
    raise last


async def _dialled(conninfo: Conninfo, endpoint: Endpoint, arguments: dict[str, Any]) -> asyncpg.Connection:
    """A connection with one endpoint, in clear or with TLS as sslmode has it."""
    arguments |= {"host": [endpoint.address], "port": [endpoint.port], "password": endpoint.password or ""}
    is_direct = conninfo.values.get("sslnegotiation") == "direct"
    mode, by_system = _mode_of(conninfo)
    ways: Sequence[str] = {"disable": ("",), "allow": ("", "allow"), "prefer": ("prefer", "")}.get(mode, (mode,))
    if endpoint.is_socket:
        ways = ("",)
    for number, way in enumerate(ways, 1):
        context: Any = context_for(conninfo, endpoint, way, by_system=by_system) if way else False
        try:
            return await asyncpg.connect(**arguments, ssl=context, direct_tls=bool(way) and is_direct)
        except (ssl.SSLError, ConnectionError, asyncpg.InvalidAuthorizationSpecificationError) as error:
            # The other way may be open, as pg_hba.conf has it; but a server that is not there is not there for that either,
            # and a password that is wrong is so both ways.
            wrong_password = isinstance(error, asyncpg.InvalidPasswordError)
            if number == len(ways) or wrong_password or isinstance(error, ConnectionRefusedError):
                raise
    raise AssertionError("there is one way at least")


def _mode_of(conninfo: Conninfo) -> tuple[str, bool]:
    """The sslmode that holds, and whether the system's authorities serve where none are named."""
    by_system = conninfo.values.get("sslrootcert") == "system"
    if given := conninfo.values.get("sslmode"):
        return given, by_system
    if by_system or not _is_local(conninfo):
        return "verify-full", True
    return ("require" if conninfo.values.get("sslnegotiation") == "direct" else "prefer"), False


def _endpoint_of(connection: asyncpg.Connection, conninfo: Conninfo) -> Endpoint:
    """The one that took the connection."""
    address = peer_of(connection)
    for each in conninfo.endpoints:
        if each.is_socket and isinstance(address, str) and address.startswith(f"{each.address}/"):
            return each
        if not each.is_socket and address == (each.address, each.port):
            return each
    return conninfo.endpoints[0]


def is_local(uri: str) -> bool:
    """Every host that the string leads to is this machine."""
    try:
        return _is_local(resolve(uri))
    except UsageError:
        return False  # such as a service that is not there


def _is_local(conninfo: Conninfo) -> bool:
    return all(tls.is_local(each.address) for each in conninfo.endpoints)


def without_tls_offer(uri: str, connection: asyncpg.Connection) -> str:
    """`uri` for connections that do not ask for TLS, where this one found none, the server is on this machine, and the
    operator decided nothing about it; else `uri`.
    """
    if tls_in_words(connection) != tls.NO_TLS or not is_local(uri) or resolve(uri).says_tls:
        return uri
    return strings.with_parameter(uri, "sslmode", "disable")


def tls_in_words(connection: asyncpg.Connection) -> str:
    """How the connection is secured: one of the words of `engine.tls`."""
    secured = tls_of(connection)
    if secured is None:
        return tls.NO_TLS
    if secured.context.verify_mode == ssl.CERT_NONE:
        return tls.NOT_VERIFIED
    return tls.VERIFIED if secured.context.check_hostname else tls.HOST_NOT_VERIFIED


def _keep_alive(connection: asyncpg.Connection, conninfo: Conninfo) -> None:
    """Have the kernel notice a dead network under a connection that only waits; asyncpg has no option for it."""
    wire = socket_of(connection)
    if wire is None or wire.family not in (socket.AF_INET, socket.AF_INET6):
        return
    if conninfo.values.get("keepalives") != "0":
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, keyword, value in (
        ("TCP_KEEPIDLE", "keepalives_idle", KEEPALIVE_IDLE_S),
        ("TCP_KEEPALIVE", "keepalives_idle", KEEPALIVE_IDLE_S),  # macOS spells it so
        ("TCP_KEEPINTVL", "keepalives_interval", KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", "keepalives_count", KEEPALIVE_COUNT),
        ("TCP_USER_TIMEOUT", "tcp_user_timeout", UNANSWERED_MS),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            given = conninfo.number(keyword)
            _set_option(wire, option, given if given is not None and given > 0 else value)


def _set_option(wire: socket.socket, option: int, value: int) -> None:
    """A number that the kernel does not take is no reason to go without a connection."""
    with suppress(OSError):
        wire.setsockopt(socket.IPPROTO_TCP, option, value)


def _explained(error: Exception, uri: str, address: Address, timeout_s: float) -> ConnectError | UsageError:
    """The one sentence for a connection that was not made."""
    server = f"PostgreSQL at {address.host}"
    if isinstance(error, asyncpg.PostgresError):
        sentence = _refusal(error, server, address, uri)
        if error.sqlstate == failures.TOO_MANY_CONNECTIONS:
            return ConnectError(sentence, code=failures.TOO_MANY_CONNECTIONS)
        return ConnectError(
            sentence,
            is_final=not sqlstates.may_pass_at_login(error),
            wants_password=isinstance(error, asyncpg.InvalidPasswordError),
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConnectError(tls.distrust(error, server, "target.uri", "sslrootcert"), is_final=True)
    if isinstance(error, ssl.SSLError):
        return ConnectError(f"TLS with {server} failed ({one_line(error.reason or str(error))}).")
    if isinstance(error, TimeoutError):
        return ConnectError(
            f"{server} did not answer within {timeout_s:g} s: check host, port and firewall of target.uri."
        )
    if strings.is_uri(uri) and uri.count("@") > 1 and isinstance(error, OSError):
        return UsageError(
            "Special characters in the user and password of target.uri must be percent-encoded: / is %2F, @ is %40."
        )
    if isinstance(error, socket.gaierror):
        return ConnectError(f"The host of target.uri is unknown: {address.host}.")
    if isinstance(error, OSError):
        return ConnectError(_unreachable(error, server, uri))
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return ConnectError(f"{server} is not what target_session_attrs asks for, nor is another host of target.uri.")
    if isinstance(error, asyncpg.ClientConfigurationError) or not isinstance(error, asyncpg.InterfaceError):
        return UsageError(f"target.uri is not a valid connection string: {one_line(str(error.args[0]))}.")
    return ConnectError(f"No connection to {server}: {one_line(str(error))}.")


def _refusal(error: asyncpg.PostgresError, server: str, address: Address, uri: str) -> str:
    user = address.user or "the user"
    role = f"user {user}" if address.user else user
    said = one_line(str(error.args[0]))
    match error.sqlstate:
        case "28P01":
            return _refused_password(server, user, uri)
        case "28000":
            return f"{server} rejects {role}: {said}; check the user in target.uri."
        case "3D000":
            database = address.database or resolve(uri).database
            return f"{server} has no database {database!r}: create it, or correct target.uri."
        case "42501" | "55000" | "57P04":
            return (
                f"{server} does not allow {role} to connect to the database: {said}; have that changed there, or "
                "correct target.uri."
            )
        case failures.TOO_MANY_CONNECTIONS:
            return f"{server} has no free connection for {user}: end other sessions, or raise the limit."
        case "57P03":
            return f"{server} is starting up, shutting down or recovering: try again in a moment."
        case sqlstates.PROTOCOL_VIOLATION:
            return f"{server} refuses a session setting ({said}): connect to it without a pooler."
        case "42704" | "42601" | "22023":
            origin = resolve(uri).origins.get("options", "")
            if origin:
                return f"{server} refuses a session setting ({said}): correct options in {origin}."
    return f"{server} refuses the connection. {describe(error)[1]}"


def _refused_password(server: str, user: str, uri: str) -> str:
    """Where the password came from is known here, for neither the server nor asyncpg tells."""
    conninfo = resolve(uri)
    file = passfile_of(conninfo.values, os.environ)
    if conninfo.values.get("password"):
        return f"{server} refuses the password of {user}: correct it in target.uri, PGPASSWORD or ~/.pgpass."
    path = one_line(str(file)) if file is not None else "~/.pgpass"
    if any(each.password for each in conninfo.endpoints):
        return f"{server} refuses the password of {user} that {path} has for it: correct it there."
    if file is not None and is_open_to_others(file):
        return f"{server} wants a password of {user}; {path} is not used, since others may read it: chmod 600 it."
    return (
        f"{server} wants a password of {user} and there is none that it takes: give it in target.password, PGPASSWORD or "
        "~/.pgpass."
    )


def _unreachable(error: OSError, server: str, uri: str) -> str:
    found = _ERRNO.search(str(error))  # for several addresses of one host asyncio only leaves them in its message
    number = error.errno or (int(found[1]) if found else 0)
    if isinstance(error, FileNotFoundError):
        return f"{server} has no socket there: start it, or correct target.uri."
    if "SSL" in str(error):
        return (
            f"{server} offers no TLS: turn it on there, or add sslmode=disable to target.uri if the network is trusted."
        )
    if (
        resolve(uri).values.get("sslnegotiation") == "direct"
        and isinstance(error, ConnectionError)
        and number != errno.ECONNREFUSED
    ):
        return (
            f"{server} does not take TLS at once: leave sslnegotiation=direct out, which wants PostgreSQL 17 with TLS."
        )
    reason = os.strerror(number).lower() if number else one_line(str(error)) or "it closed the connection"
    return f"{server} cannot be reached ({reason}): check that it runs, and host and port of target.uri."
