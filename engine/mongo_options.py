"""The options of MongoDB's connection strings: what each takes, and what becomes of one that is not understood.

Names and values are those of the drivers' specification (https://github.com/mongodb/specifications, source/uri-options): an
option that does not exist, and a value that an option does not take, is a warning, and the connection goes on without it.
Where leaving it out would make a connection less safe than it was asked for, it is refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass

MECHANISMS = (
    "SCRAM-SHA-256", "SCRAM-SHA-1", "MONGODB-X509", "MONGODB-AWS", "MONGODB-OIDC", "GSSAPI", "PLAIN", "DEFAULT",
)  # fmt: skip
READ_CONCERNS = ("local", "available", "majority", "linearizable", "snapshot")
READ_PREFERENCES = ("primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest")
COMPRESSORS = ("snappy", "zlib", "zstd")
_PROPERTIES = frozenset({
    "SERVICE_NAME", "SERVICE_HOST", "SERVICE_REALM", "CANONICALIZE_HOST_NAME", "AWS_SESSION_TOKEN", "ENVIRONMENT",
    "TOKEN_RESOURCE",
})  # fmt: skip
"""Of authMechanismProperties."""
_HOLDS_AT = frozenset({
    "appname", "authmechanismproperties", "authsource", "replicaset", "tlscafile", "tlscertificatekeyfile", "tlscrlfile",
    "tlscertificatekeyfilepassword", "proxyhost", "proxyusername", "proxypassword",
})  # fmt: skip
"""Options whose value may hold an @, as Azure's appName does. In that of another it is a sign of a password with a ? in it."""
_ZERO_IS_NONE = frozenset({"maxidletimems", "waitqueuetimeoutms"})
"""Options that the driver takes no 0 for, which means that there is no limit: as without the option."""
_APP_NAME_BYTES = 128
_MOST_MS = 10**9


@dataclass(frozen=True, slots=True)
class Option:
    """One option."""

    name: str
    takes: str
    """In words."""
    fits: Callable[[str], bool]
    """Whether it takes a value, percent-decoded."""
    is_given_on: bool = True
    """It is in the string that the driver gets; otherwise it is passed in another way, or has no meaning here."""
    must_hold: bool = False
    """A value that it does not take is refused: without it, the connection would not be what was asked for."""
    instead: str = ""
    """Why it has no meaning here, where that is worth a warning."""
    is_secret: bool = False

    def may_hold_at(self) -> bool:
        """Its value may have an @ in it that was not percent-encoded."""
        return self.name.lower() in _HOLDS_AT

    def is_as_without(self, value: str) -> bool:
        """The value says what holds without the option, and the driver does not take it."""
        return self.name.lower() in _ZERO_IS_NONE and float(value) == 0


def _number(low: float, high: float = _MOST_MS) -> Callable[[str], bool]:
    def fits(value: str) -> bool:
        return re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,6})?", value) is not None and low <= float(value) <= high

    return fits


def _whole(low: int, high: int = 2**31 - 1) -> Callable[[str], bool]:
    def fits(value: str) -> bool:
        return re.fullmatch(r"-?[0-9]{1,12}", value) is not None and low <= int(value) <= high

    return fits


def _are_tags(value: str) -> bool:
    return value == "" or all(tag.count(":") == 1 and not tag.startswith(":") for tag in value.split(","))


def properties_of(value: str) -> dict[str, str] | None:
    """The pairs of authMechanismProperties; None when they are none."""
    pairs = [pair.partition(":") for pair in value.split(",")]
    if any(name not in _PROPERTIES or not what for name, _, what in pairs):
        return None
    return {name: what for name, _, what in pairs}


def _any_text(_: str) -> bool:
    return True


def _switch(name: str, *, is_given_on: bool = True, must_hold: bool = False) -> Option:
    return Option(
        name, "true or false", lambda value: value in ("true", "false"), is_given_on=is_given_on, must_hold=must_hold
    )


def _milliseconds(name: str, low: int = 0) -> Option:
    return Option(name, f"milliseconds, {low} or more", _number(low))


def _count(name: str, low: int) -> Option:
    return Option(name, f"a whole number, {low} or more", _whole(low))


def _choice(name: str, words: tuple[str, ...], *, must_hold: bool = False) -> Option:
    return Option(name, "one of " + ", ".join(words), lambda value: value in words, must_hold=must_hold)


def _text(name: str, *, is_secret: bool = False) -> Option:
    return Option(name, "text", _any_text, is_secret=is_secret)


def _file(name: str) -> Option:
    # Not passed as it is written: the driver knows no ~.
    return Option(name, "the name of a file", _any_text, is_given_on=False, must_hold=True)


def _proxy(name: str, *, is_secret: bool = False) -> Option:
    why = "connections through a SOCKS proxy cannot be made"
    return Option(name, "text", _any_text, is_given_on=False, instead=why, is_secret=is_secret)


def _codec(name: str, why: str = "how documents are read is said in [mapping]") -> Option:
    return Option(name, "text", _any_text, is_given_on=False, instead=why)


OPTIONS = {
    option.name.lower(): option
    for option in (
        Option("appName", "text of at most 128 bytes", lambda value: len(value.encode()) <= _APP_NAME_BYTES),
        _choice("authMechanism", MECHANISMS, must_hold=True),
        Option(
            "authMechanismProperties", "NAME:value pairs with commas between them, NAME being one of "
            + ", ".join(sorted(_PROPERTIES)), lambda value: properties_of(value) is not None, is_given_on=False,
            is_secret=True,
        ),
        _text("authSource"),
        Option("compressors", "a list of " + ", ".join(COMPRESSORS), _any_text),
        _milliseconds("connectTimeoutMS"),
        _switch("directConnection"),
        _switch("enableOverloadRetargeting"),
        _milliseconds("heartbeatFrequencyMS", 500),
        _switch("journal"),
        _switch("loadBalanced"),
        _milliseconds("localThresholdMS"),
        _count("maxAdaptiveRetries", 0),
        _count("maxConnecting", 1),
        _milliseconds("maxIdleTimeMS"),
        _count("maxPoolSize", 0),
        Option("maxStalenessSeconds", "-1, or seconds from 90", lambda value: value == "-1" or _whole(90)(value)),
        _count("minPoolSize", 0),
        _proxy("proxyHost"),
        _proxy("proxyPassword", is_secret=True),
        _proxy("proxyPort"),
        _proxy("proxyUsername"),
        _choice("readConcernLevel", READ_CONCERNS),
        _choice("readPreference", READ_PREFERENCES),
        Option("readPreferenceTags", "NAME:value pairs with commas between them", _are_tags),
        _text("replicaSet"),
        _switch("retryReads"),
        _switch("retryWrites"),
        _choice("serverMonitoringMode", ("auto", "stream", "poll")),
        _milliseconds("serverSelectionTimeoutMS"),
        _switch("serverSelectionTryOnce", is_given_on=False),  # for drivers with one thread
        _milliseconds("socketTimeoutMS"),
        _text("srvAllowedHostsSuffix"),
        _count("srvMaxHosts", 0),
        _text("srvServiceName"),
        _switch("ssl", must_hold=True),
        _milliseconds("timeoutMS"),
        _switch("tls", must_hold=True),
        _switch("tlsAllowInvalidCertificates"),
        _switch("tlsAllowInvalidHostnames"),
        _file("tlsCAFile"),
        _file("tlsCertificateKeyFile"),
        _text("tlsCertificateKeyFilePassword", is_secret=True),
        _file("tlsCRLFile"),
        _switch("tlsDisableCertificateRevocationCheck", is_given_on=False),  # lists are looked at only as tlsCRLFile
        _switch("tlsDisableOCSPEndpointCheck"),
        _switch("tlsInsecure"),
        Option("w", "a number of servers, 0 or more, or a name", lambda value: not re.match(r"-\d", value)),
        _milliseconds("waitQueueTimeoutMS"),
        _milliseconds("wTimeoutMS"),
        Option("zlibCompressionLevel", "a whole number between -1 and 9", _whole(-1, 9)),
        # Of drivers for one language each, where connection strings are carried over from.
        _codec("uuidRepresentation", "what legacy UUIDs become is said by mapping.uuid_legacy"),
        _codec("unicode_decode_error_handler"),
        _codec("datetime_conversion"),
        _codec("tz_aware"),
        _codec("connect", "this program connects at once"),
    )
}  # fmt: skip
"""By the names in lower case, which is how they are compared."""

_RENAMED = {
    "j": "journal", "wtimeout": "wTimeoutMS", "slaveok": "readPreference=secondaryPreferred", "safe": "w",
    "ssl_ca_certs": "tlsCAFile", "sslcertificateauthorityfile": "tlsCAFile", "sslca": "tlsCAFile",
    "ssl_certfile": "tlsCertificateKeyFile", "sslclientcertificatekeyfile": "tlsCertificateKeyFile",
    "ssl_keyfile": "tlsCertificateKeyFile", "sslpemkeyfile": "tlsCertificateKeyFile",
    "ssl_pem_passphrase": "tlsCertificateKeyFilePassword", "ssl_crlfile": "tlsCRLFile",
    "ssl_cert_reqs": "tlsAllowInvalidCertificates", "sslvalidate": "tlsAllowInvalidCertificates",
    "ssl_match_hostname": "tlsAllowInvalidHostnames", "sslallowinvalidcertificates": "tlsAllowInvalidCertificates",
    "sslallowinvalidhostnames": "tlsAllowInvalidHostnames", "poolsize": "maxPoolSize", "max_pool_size": "maxPoolSize",
    "gssapiservicename": "authMechanismProperties=SERVICE_NAME:...", "readpref": "readPreference",
    "read_preference": "readPreference", "authdb": "authSource", "authenticationdatabase": "authSource",
    "authenticationmechanism": "authMechanism", "rs_name": "replicaSet", "setname": "replicaSet",
}  # fmt: skip
"""Names of other times and other programs."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


def unknown_words(name: str) -> str:
    """The warning about an option that does not exist."""
    if not _NAME.fullmatch(name):  # it may be anything, and perhaps must not be shown
        return "source.uri has an option that MongoDB's connection strings do not have, which is left out."
    meant = _RENAMED.get(name.lower())
    if meant is None:
        near = difflib.get_close_matches(name.lower(), OPTIONS, 1, cutoff=0.75)
        meant = OPTIONS[near[0]].name if near else ""
    hint = f" Did you mean {meant}?" if meant else ""
    return f"source.uri has an option {name}, which MongoDB's connection strings do not have: it is left out.{hint}"


def misfit_words(option: Option, value: str) -> str:
    """What is wrong with a value, without what becomes of it: "source.uri: tls takes true or false"."""
    words = f"source.uri: {option.name} takes {option.takes}"
    if option.is_secret or not _NAME.fullmatch(value.lstrip("-0123456789") or "x") or len(value) > 40:
        return words
    near = difflib.get_close_matches(value, _words_of(option), 1)
    return f"{words}, not {value}" + (f"; did you mean {near[0]}?" if near else "")


def _words_of(option: Option) -> tuple[str, ...]:
    of_option = {"authMechanism": MECHANISMS, "readConcernLevel": READ_CONCERNS, "readPreference": READ_PREFERENCES}
    return of_option.get(option.name, ("true", "false"))
