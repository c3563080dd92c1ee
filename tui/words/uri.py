"""Connection strings on the screen: shown without their passwords, and put together again after an edit."""

from __future__ import annotations

import re

from engine.config import redact
from engine.redaction import password_span, userinfo_end

HIDDEN = "***"
"""What `redact` puts in the place of a secret."""
_HIDDEN = re.compile(r"^([a-z0-9+.-]+://[^:@/?#]*:)\*\*\*(?=@)", re.IGNORECASE)
"""A connection string up to a password that is hidden."""
_OPTION = re.compile(r"(?<=[?&])(\w*passw(?:or)?d|authMechanismProperties)=([^&#]*)", re.IGNORECASE)
_WORD = re.compile(r"(?:^|\s+)\w*passw(?:or)?d\s*=\s*\*\*\*", re.IGNORECASE)
"""Of a connection string that consists of words: a password that is hidden."""
_LOOPBACK = re.compile(r"localhost|127(?:\.\d{1,3}){3}|\[::1\]|[^\[\]]*\.sock", re.IGNORECASE)
"""Hosts of this machine, a port left out."""


def shown(uri: str) -> str:
    """`uri` with each secret in it as `***`."""
    return redact(uri)


def without_secrets(uri: str) -> str:
    """`uri` without its secrets: the user stays, the password goes. Also of words, `host=pg1 password=x`."""
    rest = re.sub(r"(?<=[^/]):\*\*\*(?=@)|://:\*\*\*@", lambda found: "://" if "/" in found[0] else "", shown(uri))
    rest = rest if "://" in rest else _WORD.sub("", rest).strip()
    return re.sub(r"\?$", "", re.sub(r"(?<=\?)&", "", re.sub(r"(?:(?<=\?)|&)[^&=?#]*=\*\*\*", "", rest)))


def merged(text: str, known: str) -> str:
    """The connection string meant by `text`, edited on the screen: a `***` left in place keeps `known`'s secret."""
    if text == shown(known):
        return known
    password = password_span(known)
    options = {found[1].lower(): found[2] for found in _OPTION.finditer(known)}

    def with_password(found: re.Match[str]) -> str:
        return found[1] + (known[password[0] : password[1]] if password else HIDDEN)

    def with_option(found: re.Match[str]) -> str:
        return f"{found[1]}={options.get(found[1].lower(), HIDDEN) if found[2] == HIDDEN else found[2]}"

    return _OPTION.sub(with_option, _HIDDEN.sub(with_password, text))


def place(uri: str) -> str:
    """Host and database for a header: `mongodb://app:x@db1:27017/shop?tls=true` is `db1:27017/shop`."""
    return uri[userinfo_end(uri) :].partition("?")[0].partition("#")[0]


def hosts_in(uri: str) -> str:
    """Hosts and ports of a connection string, without its database."""
    return place(uri).partition("/")[0]


def is_on_this_machine(uri: str) -> bool:
    """Every host of MongoDB's connection string is this machine, by name; of names that DNS has to tell none is."""
    hosts = [re.sub(r":\d+$", "", host) for host in hosts_in(uri).split(",")]
    return uri.startswith("mongodb://") and all(_LOOPBACK.fullmatch(host) for host in hosts)


def database_in(uri: str) -> str:
    """The database that a connection string names; empty when it names none."""
    return place(uri).partition("/")[2].partition(".")[0]
