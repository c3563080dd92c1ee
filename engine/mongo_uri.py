"""MongoDB's connection strings, read as the drivers' specification says, and each mistake put into one sentence.

The driver's own reading says neither which option is wrong nor why, takes `+` in a password for a blank, and only warns where
it is shown nowhere. It gets the string written anew from what was read here: see `MongoUri.text`.

Grammar: https://github.com/mongodb/specifications/blob/master/source/connection-string/connection-string-spec.md
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote, unquote

from engine.errors import UsageError
from engine.mongo_options import COMPRESSORS, OPTIONS, Option, misfit_words, properties_of, unknown_words

SCHEME = "mongodb://"
SRV_SCHEME = "mongodb+srv://"
DEFAULT_PORT = 27017
INVALID = (
    "source.uri is not a valid MongoDB connection string: it must look like mongodb://user:password@host:27017/database, "
    "with special characters in user and password percent-encoded."
)
_ENCODED = "in a user's name and password % @ : / ? # must be percent-encoded: % as %25, @ as %40, : as %3A, / as %2F"
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BAD_IN_DATABASE = re.compile(r'[/\\"$\0]')
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+(?:%25[\w.~-]+)?\]|[^:\[\]\s/%]+)(?::(?P<port>.*))?", re.DOTALL)
_MOST_PORTS = 65_535


@dataclass(frozen=True, slots=True)
class MongoHost:
    """One server, or a Unix socket of one."""

    name: str
    """Host name, address without brackets, or path of a socket."""
    port: int | None
    """None for a Unix socket, and for a name that is looked up in DNS (SRV)."""
    is_socket: bool = False


@dataclass(frozen=True, slots=True)
class MongoUri:
    """A connection string, taken apart."""

    is_srv: bool
    user: str | None
    password: str | None = field(repr=False)
    hosts: tuple[MongoHost, ...]
    database: str
    """Empty when it names none."""
    options: dict[str, str] = field(repr=False)
    """Those that hold, by names in lower case, values percent-decoded; of readPreferenceTags see `tags`."""
    tags: tuple[str, ...]
    """Each readPreferenceTags, in their order."""
    warnings: tuple[str, ...]
    """A sentence for each option that is left out."""

    def is_on(self, option: str) -> bool | None:
        """A switch: on, off, or not named."""
        value = self.options.get(option.lower())
        return None if value is None else value == "true"

    @property
    def text(self) -> str:
        """The string for the driver, without files and authMechanismProperties, which are passed apart."""
        userinfo = "" if self.user is None else quote(self.user, safe="")
        if self.password is not None:
            userinfo += f":{quote(self.password, safe='')}"
        given = [
            (OPTIONS[name].name, value)
            for name, value in self.options.items()
            if OPTIONS[name].is_given_on and not OPTIONS[name].is_as_without(value)
        ]
        given += [("readPreferenceTags", tags) for tags in self.tags]
        options = "&".join(f"{name}={quote(value, safe=',:')}" for name, value in given)
        return (
            f"{SRV_SCHEME if self.is_srv else SCHEME}{userinfo}{'@' if userinfo else ''}"
            f"{','.join(map(_written, self.hosts))}/{quote(self.database, safe='')}{'?' if options else ''}{options}"
        )

    @property
    def properties(self) -> dict[str, str]:
        """The pairs of authMechanismProperties."""
        return properties_of(self.options.get("authmechanismproperties", "")) or {}


def is_mongo(uri: str) -> bool:
    """It begins as a connection string of MongoDB does."""
    return uri.strip().startswith((SCHEME, SRV_SCHEME))


@lru_cache(maxsize=16)
def read_uri(uri: str) -> MongoUri:
    """Take a connection string apart.

    Raises:
        UsageError: it is none, or options in it exclude each other; the sentence shows nothing that may be a password.
    """
    uri = uri.strip()
    if not uri:
        raise UsageError("source.uri is empty: set it to mongodb://host:27017/database.")
    if not is_mongo(uri):
        raise UsageError("source.uri must begin with mongodb:// or mongodb+srv://.")
    is_srv = uri.startswith(SRV_SCHEME)
    before, question, query = uri.partition("://")[2].partition("?")
    place, slash, path = before.partition("/")
    userinfo, at, hosts = place.rpartition("@")
    if at:
        user, password = _user_of(userinfo)
    else:
        user, password = None, None
    if "@" in path:  # of a password, most likely
        raise UsageError(f"{INVALID[:-1]}; {_ENCODED}.")
    taken = _hosts_of(hosts, is_srv=is_srv, slash=slash, path=path)
    database = _database_of(path)
    options, tags, warnings = _options_of(query) if question and query else ({}, (), ())
    found = MongoUri(is_srv, user, password, taken, database, options, tags, warnings)
    _check_together(found)
    return found


def _written(host: MongoHost) -> str:
    if host.is_socket:
        return quote(host.name, safe="")
    name = f"[{host.name.replace('%', '%25')}]" if ":" in host.name else host.name
    return name if host.port is None else f"{name}:{host.port}"


def _user_of(userinfo: str) -> tuple[str, str | None]:
    user, colon, password = userinfo.partition(":")
    if "@" in userinfo or ":" in password or _BAD_PERCENT.search(userinfo):
        raise UsageError(f"{INVALID[:-1]}; {_ENCODED}.")
    if not user:
        raise UsageError(
            "source.uri has a password or an @, but no user before it: mongodb://user:password@host/database."
        )
    try:
        return unquote(user, errors="strict"), unquote(password, errors="strict") if colon else None
    except UnicodeDecodeError:
        raise UsageError("source.uri: user and password must be percent-encoded as UTF-8.") from None


def _hosts_of(text: str, *, is_srv: bool, slash: str, path: str) -> tuple[MongoHost, ...]:
    if not text and slash and path:
        raise UsageError(
            "source.uri names no host; the path of a Unix socket must be percent-encoded, / as %2F: "
            "mongodb://%2Ftmp%2Fmongodb-27017.sock/database."
        )
    if not text:
        raise UsageError("source.uri names no host: it must look like mongodb://user:password@host:27017/database.")
    if is_srv and "," in text:
        raise UsageError("source.uri: mongodb+srv:// takes one host; for several servers write mongodb://.")
    return tuple(_host_of(part, is_srv=is_srv) for part in text.split(","))


def _host_of(text: str, *, is_srv: bool) -> MongoHost:
    if not text:
        raise UsageError("source.uri has an empty host: there is a comma too many between its hosts.")
    if text.endswith(".sock") and not is_srv:
        if _BAD_PERCENT.search(text):
            raise UsageError("source.uri: in the path of a Unix socket / is written as %2F and % as %25.")
        return MongoHost(unquote(text), None, is_socket=True)
    found = _HOST.fullmatch(text)
    if found is None:
        # Nothing of it is shown: it may be a password whose @ or / should have been percent-encoded.
        raise UsageError(
            "source.uri has a host that cannot be one: it is written as host:port, an IPv6 address as [::1]:27017, the path of "
            f"a Unix socket as %2Ftmp%2Fmongodb-27017.sock; {_ENCODED}."
        )
    port = found["port"]
    if port is not None and is_srv:
        raise UsageError("source.uri: mongodb+srv:// takes no port, DNS tells it: take it out.")
    if port is not None and not (re.fullmatch(r"[0-9]{1,9}", port) and 1 <= int(port) <= _MOST_PORTS):
        raise UsageError(
            f"source.uri has a port that is no number between 1 and {_MOST_PORTS:,}; "
            f"if that is a part of a password, {_ENCODED}."
        )
    name = found["host"].strip("[]").replace("%25", "%").lower()
    return MongoHost(name, None if is_srv else int(port) if port is not None else DEFAULT_PORT)


def _database_of(path: str) -> str:
    """What the path names, without a collection that may follow it."""
    name = unquote(path).split(".", 1)[0]
    if _BAD_IN_DATABASE.search(name):
        raise UsageError(
            'source.uri: the name of a database cannot hold any of / \\ . " $ and blanks: '
            "mongodb://host:27017/database?options."
        )
    return name


def _options_of(query: str) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    """Those that hold, the tags apart, and the warnings about the others."""
    options: dict[str, str] = {}
    tags: list[str] = []
    warnings: list[str] = []
    separator = ";" if ";" in query and "&" not in query else "&"
    for pair in filter(None, query.split(separator)):
        name, equals, raw = pair.partition("=")
        option = OPTIONS.get(name.lower())
        if not equals:
            which = f"{option.name} has no value: write {option.name}=..." if option else "an option has no value"
            raise UsageError(f"source.uri: {which}. Options are name=value, with & between them.")
        if "@" in raw and not (option and option.may_hold_at()):  # of a password, most likely
            raise UsageError(f"{INVALID[:-1]}; {_ENCODED}.")
        if option is None:
            warnings.append(unknown_words(name))
            continue
        value = unquote(raw)
        if not value and option.name != "readPreferenceTags":  # there it means any server
            warnings.append(f"source.uri: {option.name} has no value and is left out.")
        elif not option.fits(value):
            words = misfit_words(option, value)
            if option.must_hold:
                raise UsageError(words if words.endswith("?") else f"{words}.")
            warnings.append(f"{words.removesuffix('?')}{'?' if words.endswith('?') else '.'} It is left out.")
        elif option.name == "readPreferenceTags":
            tags.append(value)
        else:
            _take(option, value, options, warnings)
    return options, tuple(tags), tuple(warnings)


def _take(option: Option, value: str, options: dict[str, str], warnings: list[str]) -> None:
    key = option.name.lower()
    if key in options and (option.must_hold or key.startswith("proxy")) and options[key] != value:
        raise UsageError(f"source.uri gives {option.name} twice, with different values: take one out.")
    if key in options:
        warnings.append(f"source.uri gives {option.name} twice: the last one counts.")
    if option.instead:
        warnings.append(f"source.uri: {option.name} is left out: {option.instead}.")
    options[key] = _compressors(value, warnings) if key == "compressors" else value
    if not options[key]:
        del options[key]


def _compressors(value: str, warnings: list[str]) -> str:
    names = [name.strip() for name in value.split(",")]
    for name in names:
        if name not in COMPRESSORS:
            shown = f" {name}" if re.fullmatch(r"[A-Za-z0-9_-]{1,20}", name) else ""
            warnings.append(f"source.uri: compressors takes {', '.join(COMPRESSORS)}; another name{shown} is left out.")
    return ",".join(name for name in names if name in COMPRESSORS)


def _check_together(uri: MongoUri) -> None:
    """Raise UsageError for options that exclude each other."""
    named = uri.options.keys()

    def refuse_both(*names: str) -> None:
        if all(name.lower() in named for name in names):
            raise UsageError(f"source.uri: {' and '.join(names)} exclude each other: take one out.")

    refuse_both("tlsInsecure", "tlsAllowInvalidCertificates")
    refuse_both("tlsInsecure", "tlsAllowInvalidHostnames")
    refuse_both("tlsInsecure", "tlsDisableCertificateRevocationCheck")
    refuse_both("tlsInsecure", "tlsDisableOCSPEndpointCheck")
    refuse_both("tlsAllowInvalidCertificates", "tlsDisableCertificateRevocationCheck")
    refuse_both("tlsAllowInvalidCertificates", "tlsDisableOCSPEndpointCheck")
    refuse_both("tlsDisableCertificateRevocationCheck", "tlsDisableOCSPEndpointCheck")
    for rule in _RULES:
        if rule.is_broken(uri):
            raise UsageError(f"source.uri: {rule.words}.")


@dataclass(frozen=True, slots=True)
class _Rule:
    words: str
    is_broken: Callable[[MongoUri], bool]


def _is_both(uri: MongoUri, one: str, other: str) -> bool:
    return bool(uri.is_on(one)) and bool(uri.is_on(other))


def _hosts_at_most(uri: MongoUri) -> int:
    return int(uri.options.get("srvmaxhosts", "0"))


_CREDENTIALS = ("proxyusername", "proxypassword")
_RULES = (
    _Rule("tls and ssl are two names of one option and contradict each other: take one out",
          lambda uri: {"tls", "ssl"} <= uri.options.keys() and uri.is_on("tls") != uri.is_on("ssl")),
    _Rule("directConnection=true takes one host: name one, or take the option out",
          lambda uri: bool(uri.is_on("directConnection")) and len(uri.hosts) > 1),
    _Rule("directConnection=true does not go with mongodb+srv://, which may find several hosts: take it out",
          lambda uri: bool(uri.is_on("directConnection")) and uri.is_srv),
    _Rule("loadBalanced=true takes one host: name one, or take the option out",
          lambda uri: bool(uri.is_on("loadBalanced")) and len(uri.hosts) > 1),
    _Rule("loadBalanced=true and directConnection=true exclude each other: take one out",
          lambda uri: _is_both(uri, "loadBalanced", "directConnection")),
    _Rule("loadBalanced=true and replicaSet exclude each other: take one out",
          lambda uri: bool(uri.is_on("loadBalanced")) and "replicaset" in uri.options),
    _Rule("readPreferenceTags and maxStalenessSeconds go with another readPreference than primary: name one, such as secondary",
          lambda uri: uri.options.get("readpreference", "primary") == "primary"
          and (any(uri.tags) or uri.options.get("maxstalenessseconds", "-1") != "-1")),
    _Rule("minPoolSize must not be above maxPoolSize",
          lambda uri: 0 < int(uri.options.get("maxpoolsize", "100")) < int(uri.options.get("minpoolsize", "0"))),
    _Rule("w=0 and journal=true exclude each other: take one out",
          lambda uri: uri.options.get("w") == "0" and bool(uri.is_on("journal"))),
    _Rule("srvServiceName goes with mongodb+srv:// only: take it out",
          lambda uri: "srvservicename" in uri.options and not uri.is_srv),
    _Rule("srvAllowedHostsSuffix goes with mongodb+srv:// only: take it out",
          lambda uri: "srvallowedhostssuffix" in uri.options and not uri.is_srv),
    _Rule("srvMaxHosts goes with mongodb+srv:// only: take it out",
          lambda uri: _hosts_at_most(uri) > 0 and not uri.is_srv),
    _Rule("srvMaxHosts and replicaSet exclude each other: take one out",
          lambda uri: _hosts_at_most(uri) > 0 and "replicaset" in uri.options),
    _Rule("srvMaxHosts and loadBalanced=true exclude each other: take one out",
          lambda uri: _hosts_at_most(uri) > 0 and bool(uri.is_on("loadBalanced"))),
    _Rule("proxyPort, proxyUsername and proxyPassword need a proxyHost",
          lambda uri: "proxyhost" not in uri.options
          and any(name.startswith("proxy") for name in uri.options)),
    _Rule("proxyUsername and proxyPassword go together: give both, or none",
          lambda uri: sum(name in uri.options for name in _CREDENTIALS) == 1),
)  # fmt: skip
