"""MongoDB's connection: made, tested, and its failures put into one sentence that says what to do.

TLS policy, the same as the target's: a server that is not on this machine is reached with TLS, certificate and host name
verified, unless `source.uri` says otherwise (`tls=false`). On this machine TLS is used when `source.uri` asks for it.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from pymongo import MongoClient
from pymongo.driver_info import DriverInfo
from pymongo.errors import (
    ConfigurationError,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.uri_parser import parse_uri

from engine import tls
from engine.errors import ConnectError, MigrationError, UsageError
from engine.source import handshake
from engine.source.faults import AUTHENTICATION_CODES, UNAUTHORIZED, code_of, describe
from engine.source.grants import grant_command

Document = dict[str, Any]
Client = MongoClient[Document]

SCHEMES = ("mongodb://", "mongodb+srv://")
DEFAULT_TIMEOUT_S = 5.0
DEFAULT_PORT = 27017
MIN_VERSION = (4, 4)
_NEEDED = "MongoDB 4.4 or newer is needed"
_PINGS = 3
"""The best of so many is the latency."""
_HOSTS_SHOWN = 3
_HOST_LENGTH = 100
"""Characters of a host shown, at most."""
_PROBE_TIMEOUT_S = 1.0

_URI = re.compile(r"mongodb(?:\+srv)?://(?:[^@/?]*@)?(?P<hosts>[^@/?]+)(?:/(?P<path>[^@?]*))?(?:\?[^@]*)?")
"""Matches only where it is beyond doubt which part is the password, so that nothing of it can be taken for a host."""
_INVALID_URI = (
    "source.uri is not a valid MongoDB connection string: it must look like mongodb://user:password@host:27017/database, "
    "with special characters in user and password percent-encoded."
)


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What a tested connection to MongoDB is like."""

    version: str
    topology: str
    """In words: "replica set rs0", "sharded cluster", "standalone"."""
    latency_ms: float
    tls: str
    """One of the words of `engine.tls`."""


def connect(uri: str, *, app_name: str, timeout_s: float = DEFAULT_TIMEOUT_S, probe: bool = True) -> Client:
    """A client that has reached its server and is logged in; one for each process, closed by its caller.

    Off this machine it uses TLS, unless the URI says something about that; whatever else the URI says of SRV, compressors, read
    preference and timeouts holds. Without `probe` it is for one of many workers, whose engine has asked already: nothing is
    asked of the server yet, nor does it watch its servers all the time, which takes a connection and a thread more for each of
    them. An election is noticed by the read that it fails.

    Raises:
        UsageError: the URI, or an option in it, is wrong.
        ConnectError: the server cannot be reached, refuses the password, or is too old.
    """
    uri = uri.strip()
    parsed = _parsed(uri)
    given = {name.lower() for name in parsed["options"]}
    limits: dict[str, Any] = {
        name: round(timeout_s * 1000)
        for name in ("serverSelectionTimeoutMS", "connectTimeoutMS")
        if name.lower() not in given
    }
    if is_secured_by_default(uri):
        limits["tls"] = True
    if not probe and "servermonitoringmode" not in given:
        limits["serverMonitoringMode"] = "poll"
    try:
        client: Client = MongoClient(uri, appname=app_name, driver=DriverInfo("mongopg-tui"), connect=probe, **limits)
    except (PyMongoError, OSError, ValueError, TypeError) as exc:
        raise _explained(exc, uri) from None
    if not probe:
        return client
    try:
        _check_version(client, hosts_of(uri))
        _check_login(client, parsed["database"] or "admin")
    except (PyMongoError, OSError) as exc:
        error = _explained(exc, uri, client, parsed["nodelist"])
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
        hello = client.admin.command("hello", read_preference=client.read_preference)
        latency_s = min(_ping_s(client) for _ in range(_PINGS))
    except (PyMongoError, OSError) as exc:
        raise _explained(exc, uri, client, []) from None
    return SourceReport(version[:40], _topology(hello), round(latency_s * 1000, 2), tls_in_words(uri))


def database_of(uri: str) -> str:
    """The database that the URI's path names.

    Raises:
        UsageError: it names none.
    """
    _check_scheme(uri)
    shape = _URI.fullmatch(uri.strip())
    if shape is None:
        raise UsageError(_INVALID_URI)
    name = unquote(shape["path"] or "").split(".", 1)[0]
    if not name:
        raise UsageError("source.uri names no database: put it behind the host, as in mongodb://host:27017/shop.")
    return name


def hosts_of(uri: str) -> str:
    """The hosts of the URI for messages: no user, no password, at most three of them."""
    shape = _URI.fullmatch(uri.strip())
    if shape is None:
        return "the host of source.uri"
    hosts = [_printable(unquote(host)) for host in shape["hosts"].split(",")]
    return ", ".join(hosts[:_HOSTS_SHOWN]) + (f" and {len(hosts) - _HOSTS_SHOWN} more" if hosts[_HOSTS_SHOWN:] else "")


def tls_in_words(uri: str) -> str:
    """How connections of this URI are secured: one of the words of `engine.tls`.

    Raises:
        UsageError: it is no connection string.
    """
    return handshake.tls_of(_options(uri))


def is_local(uri: str) -> bool:
    """Every host of the URI is this machine."""
    shape = _URI.fullmatch(uri.strip())
    hosts = [unquote(host) for host in shape["hosts"].split(",")] if shape else [""]
    return all(tls.is_local(re.sub(r":\d*$", "", host).strip("[]")) for host in hosts)


def is_secured_by_default(uri: str) -> bool:
    """TLS is used though the URI says nothing about it, since a host of it is not this machine."""
    if uri.strip().startswith("mongodb+srv"):
        return False  # the driver uses TLS with it by itself
    return not is_local(uri) and not _parsed(uri)["options"].keys() & {"tls", "ssl"}


def _options(uri: str) -> dict[str, Any]:
    """What holds for connections of this URI, names in lower case: what it says, and TLS by default."""
    options = {name.lower(): value for name, value in _parsed(uri)["options"].items()}
    return options | {"tls": True} if is_secured_by_default(uri) else options


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:_HOST_LENGTH])


def _check_scheme(uri: str) -> None:
    if not uri.strip():
        raise UsageError("source.uri is empty: set it to mongodb://host:27017/database.")
    if not uri.strip().startswith(SCHEMES):
        raise UsageError("source.uri must begin with mongodb:// or mongodb+srv://.")


def _parsed(uri: str) -> dict[str, Any]:
    """The URI's parts; unlike MongoClient, which only warns, this refuses options that do not exist."""
    _check_scheme(uri)
    try:
        return parse_uri(uri, validate=True, warn=False)
    except (PyMongoError, OSError, ValueError, TypeError) as exc:
        raise _explained(exc, uri) from None


def _check_version(client: Client, at: str) -> None:
    info = client.server_info()
    version = tuple(int(part) for part in info["versionArray"][:2])
    if version < MIN_VERSION:
        raise ConnectError(f"MongoDB at {at} is version {version[0]}.{version[1]}; {_NEEDED}.")


def _check_login(client: Client, database: str) -> None:
    """Ask for something that every logged in user may know, but nobody else: the names of the collections it can read."""
    names: Document = {"listCollections": 1, "nameOnly": True, "authorizedCollections": True, "filter": {"name": ""}}
    client[database].command(names, read_preference=client.read_preference)


def _ping_s(client: Client) -> float:
    begin = time.perf_counter()
    client.admin.command("ping", read_preference=client.read_preference)
    return time.perf_counter() - begin


def _topology(hello: Document) -> str:
    if hello.get("msg") == "isdbgrid":
        return "sharded cluster"
    if "setName" in hello:
        return f"replica set {str(hello['setName'])[:60]}"
    if "serviceId" in hello:
        return "load balanced"
    return "standalone"


def _explained(
    exc: Exception, uri: str, client: Client | None = None, seeds: Sequence[tuple[str, int | None]] = ()
) -> MigrationError:
    """The error for a failed connection, decided by class and code of what the driver raised."""
    at = hosts_of(uri)
    if isinstance(exc, OperationFailure):
        return _refused(at, exc, uri)
    if isinstance(exc, ServerSelectionTimeoutError) and client is not None:
        return ConnectError(_no_server(at, client, seeds, uri))
    if isinstance(exc, InvalidURI):
        return UsageError(_INVALID_URI)
    if isinstance(exc, ConfigurationError) and client is not None:
        return ConnectError(f"MongoDB at {at} is too old or does not fit the options of source.uri; {_NEEDED}.")
    if isinstance(exc, ConfigurationError) and uri.startswith("mongodb+srv") and not _is_option_error(uri):
        return ConnectError(f"The DNS entries (SRV) of {at} cannot be found: check the host in source.uri.")
    if isinstance(exc, ConfigurationError | ValueError | TypeError):
        return UsageError("source.uri has a host, a port or an option that MongoDB's driver does not accept.")
    if isinstance(exc, FileNotFoundError | PermissionError):
        return UsageError("A file named in source.uri (tlsCAFile, tlsCertificateKeyFile) cannot be read.")
    return ConnectError(f"MongoDB at {at} cannot be reached: {describe(exc)[1]}")


def _is_option_error(uri: str) -> bool:
    """Whether it is the options of an SRV connection string that are wrong, not its DNS entries."""
    try:
        parse_uri("mongodb://localhost/" + uri[uri.find("?") :] if "?" in uri else "mongodb://localhost/", warn=False)
    except (PyMongoError, ValueError, TypeError):
        return True
    return False


def _refused(at: str, exc: OperationFailure, uri: str) -> ConnectError:
    code = code_of(exc)
    if exc.code in AUTHENTICATION_CODES:
        return ConnectError(
            f"MongoDB at {at} refused the user name or the password; check both, and authSource, in source.uri.",
            code=code,
        )
    if exc.code == UNAUTHORIZED:
        parsed = _parsed(uri)
        if not parsed["username"]:
            return ConnectError(f"MongoDB at {at} wants a login: put user and password into source.uri.", code=code)
        database = parsed["database"] or "admin"
        defined_in = parsed["options"].get("authSource", database)
        command = grant_command(parsed["username"], defined_in, "read", [database])
        return ConnectError(
            f"The user of source.uri has no rights in that database of MongoDB at {at}; as an administrator, run: {command}",
            code=code,
        )
    return ConnectError(f"MongoDB at {at} refused the connection: {describe(exc)[1]}", code=code)


def _no_server(at: str, client: Client, seeds: Sequence[tuple[str, int | None]], uri: str) -> str:
    """Why no server was selected: what the driver knows of the servers, and how the first unknown one takes a connection.

    The driver keeps the failure of each server as text only, so the cause is found out by trying.
    """
    servers = client.topology_description.server_descriptions()
    unknown = [address for address, server in servers.items() if server.server_type_name == "Unknown"]
    if len(unknown) < len(servers) or not servers:
        return (
            f"MongoDB at {at} answers, but has no server that fits: check replicaSet and readPreference in source.uri, "
            f"and that the set has a primary."
        )
    named = [address for address in unknown if address not in seeds]
    if named:
        return (
            f"MongoDB at {at} answers, but calls itself {_printable(named[0][0])}:{named[0][1]}, which cannot be reached "
            f"from here: make that name known, or add directConnection=true to source.uri."
        )
    try:
        host, port = unknown[0]
        with socket.create_connection((host, port or DEFAULT_PORT), timeout=_PROBE_TIMEOUT_S) as connection:
            found = handshake.trouble(connection, host, at, _options(uri), by_default=is_secured_by_default(uri))
    except socket.gaierror:
        return f"The host name in {at} cannot be resolved: check source.uri."
    except ConnectionRefusedError:
        return f"MongoDB at {at} refuses connections: check host and port in source.uri, and that the server runs."
    except OSError:
        return f"MongoDB at {at} does not answer: check host and port in source.uri, and firewalls in between."
    return found or f"{at} takes connections but does not answer as MongoDB: check the port in source.uri."
