"""Connections to PostgreSQL: making one, saying in one sentence why there is none, and what a server offers.

TLS policy: a server that is not on this machine is reached with TLS, certificate and host name verified against the
system's authorities, unless `target.uri` (or PGSSLMODE, or the service that it names) says otherwise. On loopback TLS is used
when the server has it. Where a service leads to is in its file; one that cannot be found counts as another machine.
"""

from __future__ import annotations

import configparser
import os
import re
import socket
import ssl
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from engine import tls
from engine.errors import ConnectError, UsageError
from engine.redaction import redact
from engine.target import sqlstates
from engine.target.sqlstates import describe, one_line

APPLICATION = "mongopg-tui"
"""Beginning of every application name of ours, as pg_stat_activity shows it."""
SPARE_CONNECTIONS = 2
"""Left free for people who want to look at the server while we fill it."""
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 15, 5, 3
"""A network that swallows everything is noticed after 30 s, by either side."""
UNANSWERED_MS = (KEEPALIVE_IDLE_S + KEEPALIVE_INTERVAL_S * KEEPALIVE_COUNT) * 1000
"""The same for what was sent and is not acknowledged: a session that only the server believes in holds claims and locks."""
_TLS_PARAMETERS = frozenset({"ssl", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl"})
_RESERVED = re.compile(r"[/?#\[\]\s]")
_ERRNO = re.compile(r"\[Errno (\d+)\]")


@dataclass(frozen=True, slots=True)
class TargetReport:
    """What a server offers to the one who is connected."""

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
    uri: str, *, application_name: str = APPLICATION, timeout_s: float = 5.0, synchronous_commit: bool = True
) -> asyncpg.Connection:
    """A connection with our session settings; no statement on it has a time limit, since a COPY may take any time.

    Args:
        uri: `postgresql://user@host:port/database`; what it leaves out comes from PG* variables and ~/.pgpass.
        application_name: shown in pg_stat_activity.
        timeout_s: seconds for name lookup, TLS and login together.
        synchronous_commit: False lets COMMIT return before the disk has it; the ledger makes that safe (DESIGN.md 5).

    Raises:
        UsageError: `target.uri` is no PostgreSQL connection string.
        ConnectError: there is no connection; the message says why and what to do.
    """
    address = address_of(uri)
    _check_files(uri)
    settings = {
        "application_name": application_name,
        "timezone": "UTC",
        "client_min_messages": "warning",
        "tcp_keepalives_idle": str(KEEPALIVE_IDLE_S),
        "tcp_keepalives_interval": str(KEEPALIVE_INTERVAL_S),
        "tcp_keepalives_count": str(KEEPALIVE_COUNT),
        "tcp_user_timeout": str(UNANSWERED_MS),  # keepalives do not count while an answer of the server's is on its way
        "synchronous_commit": "on" if synchronous_commit else "off",
        "statement_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
    }
    try:
        connection = await asyncpg.connect(
            uri, ssl=_tls(uri), timeout=timeout_s, command_timeout=None, server_settings=settings
        )
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _explained(error, uri, address, timeout_s) from error
    _keep_alive(connection)
    connection.add_termination_listener(_wake_writer)
    return connection


async def inspect(connection: asyncpg.Connection) -> TargetReport:
    """Measure and ask what a screen shows about the server, and how many workers it has room for."""
    began = time.monotonic()
    await connection.fetchval("SELECT 1")
    latency_ms = (time.monotonic() - began) * 1000
    room = await connection.fetchrow(_ROOM)
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
    """What may be shown of `uri`.

    Raises:
        UsageError: it is not a PostgreSQL connection string.
    """
    if not uri.strip():
        raise UsageError("target.uri is not set: give postgresql://user@host:port/database.")
    try:
        parts = urlsplit(redact(uri))
        query = parse_qs(parts.query)
    except ValueError as error:
        raise UsageError(f"target.uri is not a valid connection string: {one_line(str(error))}.") from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise UsageError(
            f"target.uri must begin with postgresql://, not {one_line(parts.scheme or uri, 20)!r}: "
            "give postgresql://user@host:port/database."
        )
    userinfo, _, hosts = parts.netloc.rpartition("@")
    parameters = {name: values[-1] for name, values in query.items()}
    service = _service(uri)
    return Address(
        host=one_line(
            unquote(hosts)
            or parameters.get("host", "")
            or service.get("host", "")
            or os.environ.get("PGHOST", "")
            or "localhost"
        ),
        database=one_line(unquote(parts.path.lstrip("/")) or parameters.get("dbname", "") or service.get("dbname", "")),
        user=one_line(unquote(userinfo.partition(":")[0]) or parameters.get("user", "") or service.get("user", "")),
    )


_ROOM = """
WITH used AS (
    SELECT count(*) AS server,
           count(*) FILTER (WHERE usename = current_user) AS role,
           count(*) FILTER (WHERE datname = current_database()) AS database
    FROM pg_stat_activity
    -- Of other users' sessions an ordinary role sees the database, but not what kind of process it is.
    WHERE backend_type = 'client backend' OR (backend_type IS NULL AND datid IS NOT NULL)
), me AS (
    SELECT rolsuper, rolconnlimit FROM pg_roles WHERE rolname = current_user
), database AS (
    SELECT datconnlimit FROM pg_database WHERE datname = current_database()
)
SELECT current_setting('server_version') AS version,
       current_setting('max_connections')::int AS max_connections,
       pg_postmaster_start_time() AS started_at,
       current_setting('max_connections')::int - used.server
         - CASE WHEN rolsuper THEN 0 ELSE current_setting('superuser_reserved_connections')::int
                + coalesce(current_setting('reserved_connections', true)::int, 0) END AS server_free,
       CASE WHEN NOT rolsuper AND rolconnlimit >= 0 THEN rolconnlimit - used.role END AS role_free,
       CASE WHEN NOT rolsuper AND datconnlimit >= 0 THEN datconnlimit - used.database END AS database_free
FROM used, me, database
"""


def _hosts(uri: str) -> list[str]:
    """Host names, addresses and socket folders that `uri` leads to; "" stands for one that nobody here knows."""
    parts = urlsplit(uri)
    listed = unquote(parts.netloc.rpartition("@")[2]) or parse_qs(parts.query).get("host", [""])[-1]
    if not listed and "service" in parse_qs(parts.query):
        listed = _service(uri).get("host", "")
        if not listed:
            return [""]
    if not listed and os.environ.get("PGSERVICE"):
        return [""]  # asyncpg 0.32 passes it over, others of its versions may not
    listed = listed or os.environ.get("PGHOST", "")
    return [re.sub(r":\d*$", "", host).strip("[]") if "/" not in host else host for host in listed.split(",") if host]


def _service(uri: str) -> Mapping[str, str]:
    """What the service that `uri` names stands for, found and read as asyncpg does: it takes from there what the URI leaves
    out. Empty when it names none, or there is none of the name.
    """
    name = parse_qs(urlsplit(uri).query).get("service", [""])[-1]
    services = configparser.ConfigParser()
    try:
        services.read(_service_file())
        return dict(services[name]) if name in services.sections() else {}
    except (configparser.Error, UnicodeDecodeError, OSError):
        return {}


def _service_file() -> str:
    return os.environ.get("PGSERVICEFILE") or os.path.expanduser("~/.pg_service.conf")


def is_local(uri: str) -> bool:
    """Every host of the URI is this machine."""
    return all(tls.is_local(host) for host in _hosts(uri))


def _tls(uri: str) -> Any:
    """asyncpg's `ssl` argument: None follows the connection string, True verifies against the system's authorities."""
    parameters = {name: values[-1] for name, values in parse_qs(urlsplit(uri).query).items()}
    service = _service(uri)
    authorities = parameters.get("sslrootcert") or service.get("sslrootcert") or os.environ.get("PGSSLROOTCERT", "")
    if authorities == "system":
        return True
    if "sslmode" in parameters or "sslmode" in service or os.environ.get("PGSSLMODE"):
        return None
    if is_local(uri):
        return None
    return "verify-full" if authorities else True


def _check_files(uri: str) -> None:
    """asyncpg's own error for a missing file names neither the file nor the parameter."""
    for name, values in parse_qs(urlsplit(uri).query).items():
        file = os.path.expanduser(values[-1])
        if name in ("sslrootcert", "sslcert", "sslkey", "sslcrl") and file != "system" and not os.access(file, os.R_OK):
            raise UsageError(f"{name} of target.uri names a file that cannot be read: {one_line(file)}.")
        if name == "service" and not _service(uri):  # asyncpg would connect to another server without a word
            raise UsageError(
                f"target.uri names the service {one_line(values[-1], 80)}, which cannot be read from "
                f"{one_line(_service_file())}: correct either."
            )


def without_tls_offer(uri: str, connection: asyncpg.Connection) -> str:
    """`uri` for further connections like this one: a server on this machine that has no TLS is not asked for it again, which
    would take a second connection (and a context of the TLS library) each time. What the operator decided stands.
    """
    if tls_in_words(connection) != tls.NO_TLS or not is_local(uri) or _is_decided(uri):
        return uri
    return f"{uri}{'&' if urlsplit(uri).query else '?'}sslmode=disable"


def _is_decided(uri: str) -> bool:
    """The operator said something about TLS."""
    parameters = parse_qs(urlsplit(uri).query)
    return bool(
        (parameters.keys() | _service(uri).keys()) & _TLS_PARAMETERS
        or any(os.environ.get(f"PG{name.upper()}") for name in _TLS_PARAMETERS)
    )


def tls_in_words(connection: asyncpg.Connection) -> str:
    """How the connection is secured: one of the words of `engine.tls`."""
    secured = connection._transport.get_extra_info("ssl_object")
    if secured is None:
        return tls.NO_TLS
    if secured.context.verify_mode == ssl.CERT_NONE:
        return tls.NOT_VERIFIED
    return tls.VERIFIED if secured.context.check_hostname else tls.HOST_NOT_VERIFIED


def _keep_alive(connection: asyncpg.Connection) -> None:
    """Have the kernel notice a dead network under a connection that only waits; asyncpg has no option for it."""
    wire = connection._transport.get_extra_info("socket")
    if wire.family not in (socket.AF_INET, socket.AF_INET6):
        return
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPALIVE", KEEPALIVE_IDLE_S),  # macOS spells it so
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", KEEPALIVE_COUNT),
        ("TCP_USER_TIMEOUT", UNANSWERED_MS),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            wire.setsockopt(socket.IPPROTO_TCP, option, value)


def _wake_writer(connection: asyncpg.Connection) -> None:
    """End a COPY that waits for the socket to take more, when the connection is gone: asyncpg 0.32 would wait for ever."""
    if connection._protocol is not None:
        connection._protocol.resume_writing()


def _explained(error: Exception, uri: str, address: Address, timeout_s: float) -> ConnectError | UsageError:
    """The one sentence for a connection that was not made."""
    server = f"PostgreSQL at {address.host}"
    if isinstance(error, asyncpg.PostgresError):
        is_full = error.sqlstate == sqlstates.TOO_MANY_CONNECTIONS
        return ConnectError(
            _refusal(error, server, address, uri), code=sqlstates.TOO_MANY_CONNECTIONS if is_full else "connect"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConnectError(tls.distrust(error, server, "target.uri", "sslrootcert"))
    if isinstance(error, ssl.SSLError):
        return ConnectError(f"TLS with {server} failed ({one_line(error.reason or str(error))}).")
    if isinstance(error, TimeoutError):
        return ConnectError(
            f"{server} did not answer within {timeout_s:g} s: check host, port and firewall of target.uri."
        )
    if isinstance(error, socket.gaierror):
        return ConnectError(f"The host of target.uri is unknown: {address.host}.")
    if isinstance(error, OSError):
        return ConnectError(_unreachable(error, server))
    if _RESERVED.search(uri.rpartition("@")[0].partition("://")[2]):  # the driver's message would quote a part of it
        return UsageError(
            "Special characters in the user and password of target.uri must be percent-encoded: / is %2F."
        )
    if isinstance(error, asyncpg.ClientConfigurationError) or not isinstance(error, asyncpg.InterfaceError):
        return UsageError(f"target.uri is not a valid connection string: {one_line(str(error.args[0]))}.")
    return ConnectError(f"No connection to {server}: {one_line(str(error))}.")


def _refusal(error: asyncpg.PostgresError, server: str, address: Address, uri: str) -> str:
    user = address.user or "the user"
    match error.sqlstate:
        case "28P01":
            return _refused_password(server, user, uri)
        case "28000":
            return f"{server} does not let {user} in: {one_line(str(error.args[0]))}; check the user in target.uri."
        case "3D000":
            return f"{server} has no database {address.database!r}: create it, or correct target.uri."
        case sqlstates.TOO_MANY_CONNECTIONS:
            return f"{server} has no free connection for {user}: end other sessions, or raise the limit."
        case "57P03":
            return f"{server} is starting up, shutting down or recovering: try again in a moment."
        case "42704" | "42601" | "08P01":
            return (
                f"{server} refuses a session setting ({one_line(str(error.args[0]))}): connect to it without a pooler."
            )
    return f"{server} refuses the connection. {describe(error)[1]}"


def _refused_password(server: str, user: str, uri: str) -> str:
    """Where the password came from is known here, for neither the server nor asyncpg tells."""
    parts = urlsplit(uri)
    parameters = parse_qs(parts.query)
    if parts.password or "password" in parameters or os.environ.get("PGPASSWORD"):
        return f"{server} refuses the password of {user}: correct it in target.uri, PGPASSWORD or ~/.pgpass."
    file = Path(parameters.get("passfile", [os.environ.get("PGPASSFILE") or "~/.pgpass"])[-1])
    with suppress(OSError, RuntimeError):  # the home of nobody
        file = file.expanduser()
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            path = one_line(str(file))
            return f"{server} wants a password of {user}; {path} is not used, since others may read it: chmod 600 it."
    return (
        f"{server} wants a password of {user} and there is none that it takes: give it in target.password, PGPASSWORD or "
        "~/.pgpass."
    )


def _unreachable(error: OSError, server: str) -> str:
    found = _ERRNO.search(str(error))  # for several addresses of one host asyncio only leaves them in its message
    number = error.errno or (int(found[1]) if found else 0)
    if isinstance(error, FileNotFoundError):
        return f"{server} has no socket there: start it, or correct target.uri."
    if "SSL" in str(error):
        return (
            f"{server} offers no TLS: turn it on there, or add sslmode=disable to target.uri if the network is trusted."
        )
    reason = os.strerror(number).lower() if number else one_line(str(error))
    return f"{server} cannot be reached ({reason}): check that it runs, and host and port of target.uri."
