"""What a connection string means here and now: the string, then its service, then PG* variables, then defaults.

A word of another tool becomes libpq's word where its meaning is clear, and a warning where it has none here. What asks for
something that this program cannot do, and what is no word of any tool known, is refused by name.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

from engine.errors import UsageError
from engine.libpq import strings
from engine.libpq.home import expanded, home_folder, user_name
from engine.libpq.keywords import BY_NAME, FOREIGN, NUMBERS, SERVER_SETTINGS, SSL_MODES, TLS_KEYWORDS, Keyword
from engine.libpq.passfile import find_password
from engine.libpq.services import NoService, read_service
from engine.libpq.sockets import default_host
from engine.plurals import counted
from engine.redaction import redact

DEFAULT_PORT = 5432
SETTING = "target.uri"
"""What messages call the string."""
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir", "passfile")
_SCHEMA = "schema"
_NO_VERIFY = frozenset({"no-verify", "noverify"})
"""Values of sslmode that Node.js has for `require`."""
_SECRETS = frozenset({"password", "sslpassword", "oauth_client_secret"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place where the server may be."""

    host: str
    """Name, address or socket folder: what a certificate is checked for, and what people know."""
    address: str
    """Where the connection goes: `hostaddr`, else the host."""
    port: int
    password: str | None = field(repr=False, default=None)

    @property
    def is_socket(self) -> bool:
        """A socket in the file system: no network, and no TLS."""
        return self.address.startswith("/")

    def __str__(self) -> str:
        if self.is_socket:
            return self.host if self.port == DEFAULT_PORT else f"{self.host}:{self.port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Conninfo:
    """A connection as libpq would make it; nothing is left for a driver to find out."""

    endpoints: tuple[Endpoint, ...]
    user: str
    database: str
    values: Mapping[str, str] = field(repr=False)
    """Keywords of libpq that are given somewhere, with their values."""
    origins: Mapping[str, str]
    """Keyword -> "target.uri", "the service NAME" or a variable's name."""
    schema: str = ""
    """Schema for tables, as Prisma and JDBC name it in the string."""
    warnings: tuple[str, ...] = ()
    """Sentences about words of the string that do nothing here."""

    @property
    def says_tls(self) -> bool:
        """Something about TLS is decided."""
        return any(name in self.values for name in TLS_KEYWORDS)

    def number(self, name: str) -> int | None:
        """The value of one of `NUMBERS`."""
        text = self.values.get(name, "").strip()
        return int(text) if text else None


@dataclass(frozen=True, slots=True)
class Words:
    """What the string itself says, in libpq's words."""

    values: dict[str, str] = field(repr=False)
    settings: dict[str, str] = field(repr=False)
    """Settings of the server that are parameters of the string."""
    schema: str
    warnings: tuple[str, ...]


def read_words(text: str) -> Words:
    """The words of the string, with those of other tools as libpq's.

    Raises:
        UsageError: it is not a connection string, or says what cannot be done.
    """
    if not text.strip():
        raise UsageError(f"{SETTING} is not set: give postgresql://user@host:port/database.")
    if not strings.is_connection_string(text):
        raise UsageError(
            f"{SETTING} must begin with postgresql://, not {_scheme(text)!r}: give postgresql://user@host:port/database."
        )
    try:
        pairs = strings.parse(text)
    except strings.Malformed as error:
        raise _invalid(str(error)) from None
    values: dict[str, str] = {}
    settings: dict[str, str] = {}
    warnings: list[str] = []
    for (previous, _), (name, value) in pairwise([("", ""), *pairs]):
        if name in BY_NAME:
            if name == "sslmode" and value.lower() in _NO_VERIFY:
                value = "require"
            values[name] = value
        elif name in FOREIGN:
            _take_foreign(name, value, values, warnings)
        elif name.lower() in SERVER_SETTINGS:
            settings[name] = value
        elif previous in _SECRETS and re.search(rf"{previous}\s*=", text):
            raise UsageError(  # what is not quoted or percent-encoded may be a part of the password
                f"{SETTING} has a parameter that is none of libpq's after its password: take it out, or write & in a password "
                "as %26 in a URI, and a password with blanks in quotes elsewhere."
            )
        else:
            raise UsageError(_unknown(name))
    schema = values.pop(_SCHEMA, "").partition(",")[0].strip().strip('"')
    if values.get("client_encoding", "auto").lower().replace("-", "") not in ("auto", "utf8", "unicode", ""):
        warnings.append(f"client_encoding of {SETTING} is ignored: text is sent as UTF-8 always.")
    return Words(values, settings, schema, tuple(warnings))


def resolve(text: str, environment: Mapping[str, str] | None = None) -> Conninfo:
    """What the string means here and now.

    Args:
        text: in one of the notations.
        environment: PG* variables and HOME; this process's without it.

    Raises:
        UsageError: in one sentence, what is wrong with it, with its service or with a variable.
    """
    environment = os.environ if environment is None else environment
    words = read_words(text)
    values = dict(words.values)
    origins = dict.fromkeys(values, SETTING)
    service = values.get("service", environment.get("PGSERVICE"))
    if service is not None:
        origin = SETTING if "service" in values else "PGSERVICE"
        try:
            found = read_service(service, environment, frozenset(BY_NAME))
        except NoService as error:
            raise UsageError(f"{origin} names {redact(str(error))}.") from None
        for name, value in found.items():
            if name not in values:
                values[name], origins[name] = value, f"the service {service}"
    for keyword in BY_NAME.values():
        if keyword.variable and keyword.name not in values and keyword.variable in environment:
            values[keyword.name], origins[keyword.name] = environment[keyword.variable], keyword.variable
    if "sslmode" not in values and environment.get("PGREQUIRESSL", "").startswith("1"):
        values["sslmode"], origins["sslmode"] = "require", "PGREQUIRESSL"
    for name in _FILES:
        if values.get(name):
            values[name] = expanded(values[name], environment)
    for name in list(values):
        _check(BY_NAME[name], values[name], origins[name])
    _check_together(values, origins)
    if words.settings:
        values["options"] = " ".join(
            [values.get("options", ""), *(f"-c {name}={_escaped(value)}" for name, value in words.settings.items())]
        ).strip()
    user = values.get("user") or user_name()
    if not user:
        raise UsageError(
            f"{SETTING} names no user, and the operating system has no name for this one: name a user there."
        )
    database = values.get("dbname") or user
    endpoints = _endpoints(values, origins)
    return Conninfo(
        tuple(_with_password(each, user, database, values, environment) for each in endpoints),
        user, database, values, origins, words.schema, words.warnings,
    )  # fmt: skip


def pinned(text: str, endpoint: Endpoint, conninfo: Conninfo) -> str:
    """The string for more connections to the server behind one of its endpoints; unchanged when it has no other.

    Names and addresses that lead to several servers are no matter of the string.
    """
    if len(conninfo.endpoints) == 1:
        return text
    pinned_text = strings.with_parameter(text, "host", endpoint.host)
    if conninfo.values.get("hostaddr"):
        pinned_text = strings.with_parameter(pinned_text, "hostaddr", endpoint.address)
    return strings.with_parameter(pinned_text, "port", str(endpoint.port))


def is_password_of_service(text: str) -> bool:
    """The service that the string or PGSERVICE names gives the password.

    Raises:
        UsageError: as `resolve`.
    """
    return bool(text.strip()) and resolve(text).origins.get("password", "").startswith("the service ")


def has_password(text: str) -> bool:
    """The string has a password in it."""
    try:
        return any(name == "password" and value for name, value in strings.parse(text))
    except strings.Malformed:
        return False


def with_password(text: str, password: str) -> str:
    """The string with the password, where it holds none."""
    return text if not text.strip() or has_password(text) else strings.with_parameter(text, "password", password)


def secrets_of(text: str) -> set[str]:
    """Passwords in the string, as they are written there and as they are meant."""
    try:
        pairs = strings.parse(text)
    except strings.Malformed:
        return set()
    found = {value for name, value in pairs if name in _SECRETS and value}
    return found | {quote(each, safe="") for each in found}


def _scheme(text: str) -> str:
    scheme, separator, _ = text.strip().partition("://")
    shown = scheme if separator else text.strip().partition(":")[0]
    return shown[:20] + ("…" if len(shown) > len(shown[:20]) else "")


def _invalid(reason: str) -> UsageError:
    return UsageError(f"{SETTING} is not a valid connection string: {reason}.")


def _take_foreign(name: str, value: str, values: dict[str, str], warnings: list[str]) -> None:
    word = FOREIGN[name]
    known = word.becomes.get(value.strip().lower()) or word.becomes.get("*")
    if known is not None:
        if known[0]:
            values[known[0]] = value if known[1] == "*" else known[1]
        return
    if word.advice:
        raise UsageError(f"{SETTING} has {name}, a word of {word.tool} that means nothing to libpq: {word.advice}")
    warnings.append(f"{name} of {SETTING} is a word of {word.tool} and does nothing here.")


def _unknown(name: str) -> str:
    shown = redact(name if len(name) <= 40 else name[:40] + "…")
    shown = "".join(letter if letter.isprintable() else " " for letter in shown)
    lower = {known.lower(): known for known in [*FOREIGN, *BY_NAME]}
    near = lower.get(name.lower()) or next(
        (lower[each] for each in difflib.get_close_matches(name.lower(), lower, 1, cutoff=0.75)), ""
    )
    hint = (
        f"did you mean {near}?"
        if near
        else "take it out; a setting of the server is written options=-c%20NAME%3DVALUE in a URI."
    )
    return f"{SETTING} has {shown}, which is no parameter of libpq's; {hint}"


def _check(keyword: Keyword, value: str, origin: str) -> None:
    """Refuse what libpq would not take, and what cannot be done."""
    if keyword.treatment == "refused":
        if value and value.lower() not in keyword.words:
            raise UsageError(_refusal(keyword, value, origin))
        return
    if keyword.name in NUMBERS:
        if value and not re.fullmatch(r"\s*[+-]?\d{1,9}\s*", value):
            raise _wrong(keyword, value, origin, "a whole number")
        return
    if keyword.treatment == "honoured" and keyword.words:
        if value not in keyword.words and (value or keyword.name == "sslmode"):
            raise _wrong(keyword, value, origin, "one of " + ", ".join(keyword.words))
        if value in keyword.refused_words:
            raise UsageError(_refusal(keyword, value, origin))


def _refusal(keyword: Keyword, value: str, origin: str) -> str:
    shown = f"{keyword.name}={value}" if keyword.refused_words or keyword.name == "require_auth" else keyword.name
    where = origin if origin == keyword.variable else f"{origin} has {redact(shown)}"
    if origin == keyword.variable:
        where = f"{origin} asks for {redact(shown)}"
    return f"{where}, which is not possible here, since {keyword.note}: {keyword.advice}."


def _wrong(keyword: Keyword, value: str, origin: str, wanted: str) -> UsageError:
    near = difflib.get_close_matches(value, keyword.words, 1)
    shown = "".join(letter if letter.isprintable() else " " for letter in redact(value[:40]))
    hint = f"; did you mean {near[0]}?" if near else "."
    subject = f"{SETTING} is not a valid connection string: {keyword.name}"
    if origin != SETTING:
        subject = f"{keyword.name} of {origin}" if origin != keyword.variable else origin
    return UsageError(f"{subject} must be {wanted}, not {shown!r}{hint}")


def _check_together(values: Mapping[str, str], origins: Mapping[str, str]) -> None:
    """What libpq says of values that do not go together."""
    mode = values.get("sslmode", "")
    if values.get("sslrootcert") == "system" and mode not in ("", "verify-full"):
        raise UsageError(
            f"sslmode={mode} ({origins['sslmode']}) is too weak for sslrootcert=system, as any host could have such a "
            "certificate: write sslmode=verify-full."
        )
    if values.get("sslnegotiation") == "direct" and mode in SSL_MODES[:3]:
        raise UsageError(
            f"sslmode={mode} ({origins['sslmode']}) is too weak for sslnegotiation=direct: write sslmode=require, "
            "verify-ca or verify-full."
        )
    if values.get("sslsni") == "0" and mode == "verify-full":
        raise UsageError(
            f"sslsni=0 ({origins['sslsni']}) is not possible with sslmode=verify-full, since the name that is checked is "
            "sent, too: leave out sslsni, or write sslmode=verify-ca."
        )


def _endpoints(values: Mapping[str, str], origins: Mapping[str, str]) -> Iterable[Endpoint]:
    hosts = values["host"].split(",") if values.get("host") else []
    addresses = values["hostaddr"].split(",") if values.get("hostaddr") else []
    ports = values["port"].split(",") if values.get("port") else [""]
    if hosts and addresses and len(hosts) != len(addresses):
        raise _invalid(f"there are {counted(len(hosts), 'host')} and {counted(len(addresses), 'value')} of hostaddr")
    count = max(len(hosts), len(addresses), 1)
    if len(ports) not in (1, count):
        raise _invalid(f"there are {counted(len(ports), 'port')} and {counted(count, 'host')}")
    for number in range(count):
        port = _port(ports[number if len(ports) > 1 else 0], origins.get("port", SETTING))
        host = hosts[number].strip() if hosts else ""
        address = addresses[number].strip() if addresses else ""
        if host.startswith("@") and not address:
            raise UsageError(f"{origins['host']} names the abstract socket {host}: name a folder or a host.")
        if not host and not address:
            host = default_host(port)
        yield Endpoint(host or address, address or host, port)


def _port(text: str, origin: str) -> int:
    if not text.strip():
        return DEFAULT_PORT
    if re.fullmatch(r"\s*\+?\d{1,6}\s*", text) and 1 <= int(text) <= 65535:
        return int(text)
    if origin == SETTING:  # what is there may be a part of a password
        raise _invalid(
            "its port is not a number between 1 and 65535; special characters in user and password must be "
            "percent-encoded (/ is %2F)"
        )
    raise UsageError(f"The port of {origin} must be a number between 1 and 65535.")


def _with_password(
    endpoint: Endpoint, user: str, database: str, values: Mapping[str, str], environment: Mapping[str, str]
) -> Endpoint:
    password = values.get("password")
    if not password:
        file = passfile_of(values, environment)
        password = find_password(file, endpoint.host, endpoint.port, database, user) if file is not None else None
    return replace(endpoint, password=password)


def passfile_of(values: Mapping[str, str], environment: Mapping[str, str]) -> Path | None:
    """The password file that is looked at; None without a home."""
    if values.get("passfile"):
        return Path(values["passfile"])
    home = home_folder(environment)
    return home / ".pgpass" if home is not None else None


def _escaped(value: str) -> str:
    """A value within `options`: blanks and backslashes with a backslash before them."""
    return re.sub(r"([\\\s])", r"\\\1", value)
