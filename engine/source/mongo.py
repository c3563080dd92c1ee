"""MongoDB's connection: made, tested, and its failures put into one sentence that says what to do."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from pymongo import MongoClient
from pymongo.driver_info import DriverInfo
from pymongo.errors import (
    ConfigurationError,
    InvalidName,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.uri_parser import parse_uri

from engine.errors import ConnectError, MigrationError, UsageError
from engine.source.faults import AUTHENTICATION_CODES, UNAUTHORIZED, causes, describe

Document = dict[str, Any]
Client = MongoClient[Document]

SCHEMES = ("mongodb", "mongodb+srv")
DEFAULT_TIMEOUT_S = 5.0
MIN_VERSION = (4, 4)
_PINGS = 3
"""The best of so many is the latency."""
_HOSTS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What a tested connection to MongoDB is like."""

    version: str
    topology: str
    """In words: "replica set rs0", "sharded cluster", "standalone"."""
    latency_ms: float
    tls: str
    """"TLS, verified", "TLS, not verified" or "no TLS"."""


def connect(uri: str, *, app_name: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> Client:
    """A client that has reached its server and is logged in; one for each process, closed by its caller.

    Whatever the URI says about TLS, SRV, compressors, read preference and timeouts holds.

    Raises:
        UsageError: the URI, or an option in it, is wrong.
        ConnectError: the server cannot be reached, refuses the password, or is too old.
    """
    options = _parsed(uri)
    arguments: dict[str, Any] = {"appname": app_name, "driver": DriverInfo("mongopg-tui")}
    given = {name.lower() for name in options}
    if "serverselectiontimeoutms" not in given:
        arguments["serverSelectionTimeoutMS"] = round(timeout_s * 1000)
    if "connecttimeoutms" not in given:
        arguments["connectTimeoutMS"] = round(timeout_s * 1000)
    try:
        client: Client = MongoClient(uri, **arguments)
    except (PyMongoError, OSError, ValueError, TypeError) as exc:
        raise _explained(exc, uri, None) from None
    try:
        hello = client.admin.command("hello")
        # A wrong password shows with the first command that needs a login; "hello" needs none.
        client.admin.command("ping")
        _check_version(client, hello)
    except (PyMongoError, OSError) as exc:
        error = _explained(exc, uri, client)
        client.close()
        raise error from None
    except ConnectError:
        client.close()
        raise
    return client


def inspect(client: Client, uri: str) -> SourceReport:
    """What the connected server is.

    Raises:
        ConnectError: it does not answer any more.
    """
    try:
        version = str(client.server_info()["version"])
        hello = client.admin.command("hello")
        latency_s = min(_ping_s(client) for _ in range(_PINGS))
    except (PyMongoError, OSError) as exc:
        raise _explained(exc, uri, client) from None
    return SourceReport(version[:40], _topology(hello), round(latency_s * 1000, 2), _tls(_parsed(uri)))


def database_of(uri: str) -> str:
    """The database that the URI's path names.

    Raises:
        UsageError: it names none.
    """
    _check_scheme(uri)
    name = unquote(urlsplit(uri).path.lstrip("/")).split(".", 1)[0]
    if not name:
        raise UsageError("source.uri names no database: put it behind the host, as in mongodb://host:27017/shop.")
    return name


def hosts_of(uri: str) -> str:
    """The hosts of the URI for messages: no user, no password, at most three of them."""
    netloc = urlsplit(uri).netloc.rpartition("@")[2]
    hosts = "".join(c if c.isprintable() else "?" for c in unquote(netloc)).split(",")
    shown = ", ".join(host[:100] for host in hosts[:_HOSTS_SHOWN])
    return shown + (f" and {len(hosts) - _HOSTS_SHOWN} more" if len(hosts) > _HOSTS_SHOWN else "")


def _check_scheme(uri: str) -> None:
    if not uri.strip():
        raise UsageError("source.uri is empty: set it to mongodb://host:27017/database.")
    if uri.split("://", 1)[0] not in SCHEMES or "://" not in uri:
        raise UsageError("source.uri must begin with mongodb:// or mongodb+srv://.")


def _parsed(uri: str) -> dict[str, Any]:
    """The URI's options; unlike MongoClient, which only warns, this refuses those that do not exist."""
    _check_scheme(uri)
    try:
        return dict(parse_uri(uri, validate=True, warn=False)["options"])
    except (PyMongoError, OSError, ValueError, TypeError) as exc:
        raise _explained(exc, uri, None) from None


def _check_version(client: Client, hello: Document) -> None:
    info = client.server_info()
    version = tuple(int(part) for part in info["versionArray"][:2])
    if version < MIN_VERSION:
        raise ConnectError(
            f"MongoDB at {_address(hello)} is version {version[0]}.{version[1]}; "
            f"at least {MIN_VERSION[0]}.{MIN_VERSION[1]} is needed."
        )


def _address(hello: Document) -> str:
    return str(hello.get("me", "source.uri"))[:100]


def _ping_s(client: Client) -> float:
    begin = time.perf_counter()
    client.admin.command("ping")
    return time.perf_counter() - begin


def _topology(hello: Document) -> str:
    if hello.get("msg") == "isdbgrid":
        return "sharded cluster"
    if "setName" in hello:
        return f"replica set {str(hello['setName'])[:60]}"
    if "serviceId" in hello:
        return "load balanced"
    return "standalone"


def _tls(options: dict[str, Any]) -> str:
    given = {name.lower(): value for name, value in options.items()}
    if not given.get("tls", given.get("ssl", False)):
        return "no TLS"
    lax = ("tlsinsecure", "tlsallowinvalidcertificates", "tlsallowinvalidhostnames")
    return "TLS, not verified" if any(given.get(name) for name in lax) else "TLS, verified"


def _explained(exc: Exception, uri: str, client: Client | None) -> MigrationError:
    """The error for a failed connection, decided by class and code of what the driver raised."""
    at = hosts_of(uri)
    if isinstance(exc, OperationFailure):
        if exc.code in AUTHENTICATION_CODES:
            return ConnectError(
                f"MongoDB at {at} refused the user name or the password: check them, and authSource, in source.uri.",
                code="18",
            )
        if exc.code == UNAUTHORIZED:
            return ConnectError(
                f"MongoDB at {at} wants a login: put user and password into source.uri, or grant the user the role "
                f"read.",
                code="13",
            )
        return ConnectError(f"MongoDB at {at} refused the connection: {describe(exc)[1]}")
    if isinstance(exc, ServerSelectionTimeoutError):
        return ConnectError(_no_server(at, exc, client))
    if isinstance(exc, InvalidURI | InvalidName):
        return UsageError(
            "source.uri is not a valid MongoDB connection string: it must look like "
            "mongodb://user:password@host:27017/database, with special characters in user and password "
            "percent-encoded."
        )
    if isinstance(exc, ConfigurationError):
        if client is not None:
            return ConnectError(
                f"MongoDB at {at} does not fit this driver or the options of source.uri: at least MongoDB "
                f"{MIN_VERSION[0]}.{MIN_VERSION[1]} is needed."
            )
        if uri.startswith("mongodb+srv"):
            return ConnectError(
                f"The DNS entries of {at} cannot be found: check the host in source.uri (mongodb+srv needs SRV "
                f"entries)."
            )
        return UsageError("source.uri has an option that MongoDB's driver does not know, or a wrong value of one.")
    for cause in causes(exc):
        if isinstance(cause, FileNotFoundError | PermissionError):
            return UsageError(
                "A certificate file named in source.uri (tlsCAFile, tlsCertificateKeyFile) is unreadable."
            )
    if isinstance(exc, ValueError | TypeError):
        return UsageError("source.uri is not a valid MongoDB connection string: check host, port and options.")
    return ConnectError(f"MongoDB at {at} cannot be reached: {describe(exc)[1]}")


def _no_server(at: str, exc: Exception, client: Client | None) -> str:
    """Why no server was selected: the driver keeps the last failure of each server, as an exception."""
    failures: list[BaseException] = list(causes(exc))
    answered = False
    if client is not None:
        for server in client.topology_description.server_descriptions().values():
            answered = answered or server.server_type_name != "Unknown"
            if server.error is not None:
                failures.extend(causes(server.error))
    if any(isinstance(failure, ssl.SSLError) for failure in failures):
        return (
            f"The TLS handshake with MongoDB at {at} failed: check tls, tlsCAFile and the server's certificate "
            f"in source.uri."
        )
    if any(isinstance(failure, socket.gaierror) for failure in failures):
        return f"The host name in {at} cannot be resolved: check source.uri."
    if any(isinstance(failure, ConnectionRefusedError) for failure in failures):
        return f"MongoDB at {at} refuses connections: check host and port in source.uri, and that the server runs."
    if answered:
        return (
            f"MongoDB at {at} answers, but has no server that fits: check replicaSet and readPreference in "
            f"source.uri, and that the set has a primary."
        )
    if any(isinstance(failure, ConnectionResetError) for failure in failures):
        return f"MongoDB at {at} closes connections at once: check whether it wants TLS (tls=true in source.uri)."
    return f"MongoDB at {at} does not answer: check host and port in source.uri, and firewalls in between."
