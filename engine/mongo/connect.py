"""MongoDB's connection: made, tested, and its failures put into one sentence that says what to do.

TLS policy, the same as the target's: a server that is not on this machine is reached with TLS, certificate and host name
verified, unless `source.uri` says otherwise (`tls=false`). On this machine TLS is used when `source.uri` asks for it.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from dataclasses import dataclass, replace
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
from engine.mongo import handshake
from engine.mongo.faults import AUTHENTICATION_CODES, UNAUTHORIZED, code_of, describe
from engine.mongo.grants import grant_command
from engine.mongo_needs import file_that_fails, require_usable
from engine.mongo_options import OPTIONS
from engine.mongo_uri import SRV_SCHEME, MongoHost, MongoUri, read_uri

Document = dict[str, Any]
Client = MongoClient[Document]

DEFAULT_TIMEOUT_S = 5.0
MIN_VERSION = (4, 4)
_NEEDED = "MongoDB 4.4 or newer is needed"
_PINGS = 3
"""The best of so many is the latency."""
_HOSTS_SHOWN = 3
_HOST_LENGTH = 100
"""Characters of a host shown, at most."""
_PROBE_TIMEOUT_S = 1.0
_FILE_OPTIONS = ("tlscafile", "tlscertificatekeyfile", "tlscrlfile")

_SHAPE = re.compile(r"mongodb(?:\+srv)?://(?:[^@/?]*@)?(?P<hosts>[^@/?]+)(?:/[^@?]*)?(?:\?(?P<options>.*))?", re.DOTALL)
"""Matches only where it is beyond doubt which part is the password, so that nothing of it can be taken for a host."""
_OF_THE_SET = frozenset({
    "replicaset", "directconnection", "readpreference", "maxstalenessseconds", "loadbalanced", "srvmaxhosts", "srvservicename",
})  # fmt: skip
"""Options that say which of several servers is asked."""
_OPTION_NAMES = {option.name for option in OPTIONS.values()}


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What a tested connection to MongoDB is like."""

    version: str
    topology: str
    """In words: "replica set rs0", "sharded cluster", "standalone"."""
    latency_ms: float
    tls: str
    """One of the words of `engine.tls`."""


def connect(
    uri: str, *, app_name: str, timeout_s: float = DEFAULT_TIMEOUT_S, probe: bool = True, member: str = ""
) -> Client:
    """A client that has reached its server and is logged in; one for each process, closed by its caller.

    Off this machine it uses TLS, unless the URI says something about that; whatever else the URI says of SRV, compressors, read
    preference and timeouts holds. Without `probe` it is for one of many workers, whose engine has asked already: nothing is
    asked of the server yet, nor does it watch its servers all the time, which takes a connection and a thread more for each of
    them. An election is noticed by the read that it fails. With a `member`, `host:port`, everything is asked of that member of
    the replica set, whatever it is.

    Raises:
        UsageError: the URI, or an option in it, is wrong.
        ConnectError: the server cannot be reached, refuses the password, or is too old.
    """
    found = read_uri(uri)
    require_usable(found)
    if member:
        found = _pinned(found, member)
    more: dict[str, Any] = {
        name: round(timeout_s * 1000)
        for name in ("serverSelectionTimeoutMS", "connectTimeoutMS")
        if name.lower() not in found.options
    }
    more |= {name: os.path.expanduser(found.options[name]) for name in _FILE_OPTIONS if name in found.options}
    if found.properties:
        more["authMechanismProperties"] = found.properties
    if "appname" not in found.options:
        more["appname"] = app_name
    if is_secured_by_default(uri) or (member and is_srv(uri) and not found.options.keys() & {"tls", "ssl"}):
        more["tls"] = True
    if not probe and "servermonitoringmode" not in found.options:
        more["serverMonitoringMode"] = "poll"
    try:
        client: Client = MongoClient(found.text, driver=DriverInfo("mongopg-tui"), connect=probe, **more)
    except (PyMongoError, OSError, ValueError, TypeError, UnicodeError) as exc:
        raise _explained(exc, uri) from None
    if not probe:
        return client
    try:
        _check_version(client, hosts_of(uri))
        _check_login(client, found.database or "admin")
    except (PyMongoError, OSError, ValueError) as exc:
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
        hello = client.admin.command("hello", read_preference=client.read_preference)
        latency_s = min(_ping_s(client) for _ in range(_PINGS))
    except (PyMongoError, OSError) as exc:
        raise _explained(exc, uri, client) from None
    return SourceReport(version[:40], _topology(hello), round(latency_s * 1000, 2), tls_in_words(uri))


def version_of(uri: str, app_name: str) -> str:
    """The server's version. Blocks.

    Raises:
        MigrationError: it cannot be reached.
    """
    client = connect(uri, app_name=app_name)
    try:
        return str(client.server_info()["version"])[:40]
    except (PyMongoError, OSError) as exc:
        raise _explained(exc, uri, client) from None
    finally:
        client.close()


def database_of(uri: str) -> str:
    """The database that the URI's path names.

    Raises:
        UsageError: it names none.
    """
    name = read_uri(uri).database
    if not name:
        raise UsageError("source.uri names no database: put it behind the host, as in mongodb://host:27017/shop.")
    return name


def hosts_of(uri: str) -> str:
    """The hosts of the URI for messages: no user, no password, at most three of them."""
    shape = _SHAPE.fullmatch(uri.strip())
    if shape is None or ("@" in (shape["options"] or "") and not _is_sound(uri)):
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
    return _is_sound(uri) and all(host.is_socket or tls.is_local(host.name) for host in read_uri(uri).hosts)


def is_secured_by_default(uri: str) -> bool:
    """TLS is used though the URI says nothing about it, since a host of it is not this machine."""
    if is_srv(uri):
        return False  # the driver uses TLS with it by itself
    return not is_local(uri) and not read_uri(uri).options.keys() & {"tls", "ssl"}


def is_srv(uri: str) -> bool:
    """Its servers are looked up in DNS."""
    return uri.strip().startswith(SRV_SCHEME)


def _pinned(found: MongoUri, member: str) -> MongoUri:
    """The same login at one member of the replica set."""
    options = {name: value for name, value in found.options.items() if name not in _OF_THE_SET}
    if found.is_srv:
        # What the TXT record says of the login holds for the member, too.
        resolved = parse_uri(found.text, warn=False)["options"]
        options |= {name: str(resolved[name]) for name in ("authsource",) if name in resolved and name not in options}
    host, _, port = member.rpartition(":")
    hosts = (MongoHost(host.strip("[]"), int(port)),)
    return replace(found, is_srv=False, hosts=hosts, options=options | {"directconnection": "true"}, tags=())


def _is_sound(uri: str) -> bool:
    try:
        read_uri(uri)
    except UsageError:
        return False
    return True


def _options(uri: str) -> dict[str, Any]:
    """What holds for connections of this URI, names in lower case: what it says, and TLS by default."""
    found = read_uri(uri)
    options: dict[str, Any] = {
        name: {"true": True, "false": False}.get(value, value) for name, value in found.options.items()
    }
    options |= {name: os.path.expanduser(options[name]) for name in _FILE_OPTIONS if name in options}
    if is_secured_by_default(uri) or (found.is_srv and not found.options.keys() & {"tls", "ssl"}):
        options["tls"] = True
    return options


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:_HOST_LENGTH])


def _check_version(client: Client, at: str) -> None:
    info = client.server_info()
    version = tuple(int(part) for part in info["versionArray"][:2])
    if version < MIN_VERSION:
        raise ConnectError(f"MongoDB at {at} is version {version[0]}.{version[1]}; {_NEEDED}.")


def _check_login(client: Client, database: str) -> None:
    """Ask for something that every logged in user may know, but no other: the names of the collections it can read."""
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


def _explained(exc: Exception, uri: str, client: Client | None = None) -> MigrationError:
    """The error for a failed connection, decided by class and code of what the driver raised."""
    at = hosts_of(uri)
    found = read_uri(uri)
    if isinstance(exc, OperationFailure):
        return _refused(at, exc, found)
    if isinstance(exc, ServerSelectionTimeoutError) and client is not None:
        return ConnectError(_no_server(at, client, found, uri))
    if isinstance(exc, ssl.SSLError) or (isinstance(exc, ConfigurationError) and file_that_fails(found)):
        which = file_that_fails(found) or "an option for TLS"
        return UsageError(
            f"The file that {which} in source.uri names cannot be used: it must be PEM, with what the option is for, and "
            "tlsCertificateKeyFilePassword must fit its key."
        )
    named = sorted(name for name in _OPTION_NAMES if re.search(rf"\b{re.escape(name)}\b", str(exc)))
    if isinstance(exc, ConfigurationError | InvalidURI) and found.is_srv and not named:
        return ConnectError(
            f"The DNS entries (SRV) of {at} cannot be found: check the host in source.uri, and that this machine can ask DNS."
        )
    if isinstance(exc, ConfigurationError) and client is not None and found.is_on("loadBalanced"):
        return ConnectError(f"MongoDB at {at} is behind no load balancer: take loadBalanced=true out of source.uri.")
    if found.options.get("authmechanism") == "MONGODB-OIDC" and not isinstance(exc, PyMongoError):
        return ConnectError(
            f"MongoDB at {at} wants a token (authMechanism=MONGODB-OIDC in source.uri), and the environment of this machine "
            f"gives none: {_token_words(exc)}. Check ENVIRONMENT in authMechanismProperties."
        )
    if isinstance(exc, ConfigurationError) and client is not None and not named:
        return ConnectError(f"MongoDB at {at} is too old or does not fit the options of source.uri; {_NEEDED}.")
    if isinstance(exc, ConfigurationError | InvalidURI | ValueError | TypeError):
        which = ", ".join(named) if named else "a host or an option"
        return UsageError(f"source.uri has {which} with a value that MongoDB's driver does not accept: check it.")
    if isinstance(exc, FileNotFoundError | PermissionError):
        return UsageError("A file named in source.uri (tlsCAFile, tlsCertificateKeyFile, tlsCRLFile) cannot be read.")
    return ConnectError(f"MongoDB at {at} cannot be reached: {describe(exc)[1]}")


def _token_words(exc: Exception) -> str:
    """Why there is no token, as far as what the driver raised says so without what it was answered."""
    if isinstance(exc, FileNotFoundError | PermissionError) and exc.filename:
        return f"{_printable(str(exc.filename))}: {exc.strerror}"
    return "what should have it does not answer" if isinstance(exc, OSError | ValueError) else type(exc).__name__


def _refused(at: str, exc: OperationFailure, uri: MongoUri) -> ConnectError:
    code = code_of(exc)
    database = uri.database or "admin"
    defined_in = uri.options.get("authsource", database)
    if exc.code in AUTHENTICATION_CODES:
        where = (
            "" if "authsource" in uri.options or not uri.database else
            f" The user was looked for in database {_printable(database)}: if it is defined elsewhere, add authSource=admin."
        )  # fmt: skip
        return ConnectError(
            f"MongoDB at {at} refused the user name or the password; check both, and authSource, in source.uri.{where}",
            code=code,
            is_final=True,
            wants_password=True,
        )
    if exc.code == UNAUTHORIZED:
        if not uri.user:
            return ConnectError(
                f"MongoDB at {at} wants a login: put user and password into source.uri.", code=code, is_final=True
            )
        command = grant_command(uri.user, defined_in, "read", [database])
        return ConnectError(
            f"The user of source.uri has no rights in that database of MongoDB at {at}; as an administrator, run: {command}",
            code=code,
            is_final=True,
        )
    return ConnectError(f"MongoDB at {at} refused the connection: {describe(exc)[1]}", code=code)


def _no_server(at: str, client: Client, found: MongoUri, uri: str) -> str:
    """Why no server was selected: what the driver knows of the servers, and how the first unknown one takes a connection.

    The driver keeps the failure of each server as text only, so the cause is found out by trying.
    """
    servers = client.topology_description.server_descriptions()
    unknown = [address for address, server in servers.items() if server.server_type_name == "Unknown"]
    if len(unknown) < len(servers) or not servers:
        return _other_set(at, found, uri) or (
            f"MongoDB at {at} answers, but has no server that fits: check replicaSet and readPreference in source.uri, "
            f"and that the set has a primary."
        )
    seeds = [(host.name, host.port) for host in found.hosts]
    named = [address for address in unknown if address not in seeds and not found.is_srv]
    if named:
        return (
            f"MongoDB at {at} answers, but calls itself {_printable(named[0][0])}:{named[0][1]}, which cannot be reached "
            f"from here: make that name known, or add directConnection=true to source.uri."
        )
    host, port = unknown[0]
    if port is None:
        return _no_socket(host)
    try:
        with socket.create_connection((host, port), timeout=_PROBE_TIMEOUT_S) as connection:
            trouble = handshake.trouble(connection, host, at, _options(uri), by_default=is_secured_by_default(uri))
    except (socket.gaierror, UnicodeError):
        return f"The host name in {at} cannot be resolved: check source.uri."
    except ConnectionRefusedError:
        return f"MongoDB at {at} refuses connections: check host and port in source.uri, and that the server runs."
    except OSError:
        return f"MongoDB at {at} does not answer: check host and port in source.uri, and firewalls in between."
    return trouble or f"{at} takes connections but does not answer as MongoDB: check the port in source.uri."


def _no_socket(path: str) -> str:
    """Why the server behind a Unix socket was not reached."""
    shown = _printable(path)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PROBE_TIMEOUT_S)
            connection.connect(path)
    except FileNotFoundError:
        return (
            f"There is no Unix socket {shown}: check its path in source.uri, and that the server runs on this machine."
        )
    except ConnectionRefusedError:
        return f"No server listens on the Unix socket {shown}: check source.uri, and that the server runs."
    except PermissionError:
        return f"The Unix socket {shown} may not be used by this user: check its rights, or use a host and port in source.uri."
    except OSError:
        return f"The Unix socket {shown} of source.uri cannot be used: its path may be too long, or it is no socket."
    return f"The Unix socket {shown} takes connections but does not answer as MongoDB: check its path in source.uri."


def _other_set(at: str, found: MongoUri, uri: str) -> str:
    """The sentence for a replicaSet that is not that of the servers; empty when it is not that."""
    wanted = found.options.get("replicaset")
    if wanted is None:
        return ""
    kept = {name: value for name, value in found.options.items() if name.startswith(("tls", "ssl"))}
    alone = replace(
        found, user=None, password=None, hosts=found.hosts[:1], options={**kept, "directconnection": "true"}, tags=(),
        is_srv=False,
    )  # fmt: skip
    more = {"tls": True} if is_secured_by_default(uri) else {}
    try:
        limit_ms = round(_PROBE_TIMEOUT_S * 1000)
        with MongoClient[Document](alone.text, serverSelectionTimeoutMS=limit_ms, **more) as client:  # type: ignore[arg-type]
            name = client.admin.command("hello").get("setName")
    except (PyMongoError, OSError, ValueError):
        return ""
    if name is None:
        return f"MongoDB at {at} is no replica set, but source.uri says replicaSet={_printable(wanted)}: take it out."
    if name != wanted:
        return (
            f"MongoDB at {at} is the replica set {_printable(str(name))}, but source.uri says replicaSet={_printable(wanted)}: "
            "correct it, or take it out."
        )
    return ""
