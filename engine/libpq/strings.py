"""The two notations of a connection string: a URI, and keywords with values, each as it is read by libpq.

::

    postgresql://user:password@host1:5432,[::1]/database?sslmode=require      conninfo_uri_parse_options
    host=host1 port=5432 dbname='my database' user=user                       conninfo_parse

Beyond libpq: blanks and line ends around the string do not count, for they come with pasting; SQLAlchemy's name of a driver
(`postgresql+asyncpg://`) and `jdbc:` before the scheme neither.
"""

from __future__ import annotations

import re
import string as alphabets
from urllib.parse import quote

Pair = tuple[str, str]
"""A keyword and its value."""

_SCHEME = re.compile(r"(jdbc:)?(postgres(?:ql)?|postgis)(\+\w+)?://")
_BARE_NAME = re.compile(r"[A-Za-z_][\w$-]*")
_BLANK = " \t\n\v\f\r"
"""What C's isspace says of ASCII."""
_HEX = frozenset(alphabets.hexdigits)


class Malformed(ValueError):
    """The string is not a connection string; the message says what is wrong, without a value."""


def is_uri(text: str) -> bool:
    """The string is in the notation of a URI."""
    return _SCHEME.match(text.strip()) is not None


def is_connection_string(text: str) -> bool:
    """The string is in one of the notations, or the bare name of a database, well-formed or not."""
    text = text.strip()
    if "://" in text.partition("=")[0]:
        return is_uri(text)
    return "=" in text or _BARE_NAME.fullmatch(text) is not None


def parse(text: str) -> list[Pair]:
    """Keywords and values in the order of the string; the last one of a keyword counts.

    Raises:
        Malformed: it is none.
    """
    text = text.strip()
    if scheme := _SCHEME.match(text):
        return _uri(text[scheme.end() :])
    if "=" in text:
        return _words(text)
    return [("dbname", text)] if text else []


def with_parameter(text: str, name: str, value: str) -> str:
    """The string with one more parameter, which wins over the same one before it."""
    if is_uri(text):
        text = text.strip()
        separator = "?" if "?" not in text else "" if text.endswith(("?", "&")) else "&"
        return f"{text}{separator}{name}={quote(value, safe='')}"
    escaped = value.replace("\\", r"\\").replace("'", r"\'")
    written = f"{name}={value}" if re.fullmatch(r"[\w./:-]+", value) else f"{name}='{escaped}'"
    if text.strip() and "=" not in text:
        text = f"dbname={text.strip()}"
    return f"{text} {written}".lstrip()


def _decoded(text: str) -> str:
    """Percent signs resolved; blanks that are not written so do not count, as in libpq 17."""
    text = text.strip(" ")
    if "%" not in text:
        return text
    decoded = bytearray()
    raw, at = text.encode(), 0
    while at < len(raw):
        if raw[at : at + 1] != b"%":
            decoded.append(raw[at])
            at += 1
            continue
        digits = raw[at + 1 : at + 3].decode("ascii", errors="replace")
        if len(digits) != 2 or not set(digits) <= _HEX:
            raise Malformed("a percent sign must be followed by two hexadecimal digits; a percent sign itself is %25")
        if digits == "00":
            raise Malformed("%00 cannot stand in it")
        decoded.append(int(digits, 16))
        at += 3
    try:
        return decoded.decode()
    except UnicodeDecodeError:
        raise Malformed("a part that is percent-encoded is not UTF-8") from None


def _uri(rest: str) -> list[Pair]:
    """What follows the scheme."""
    found: list[Pair] = []
    before_slash = rest.partition("/")[0]
    if "@" in before_slash:
        userinfo, _, rest = rest.partition("@")
        user, _, password = userinfo.partition(":")
        found += [(name, _decoded(value)) for name, value in (("user", user), ("password", password)) if value]
    hosts, ports, rest = _hosts(rest)
    if any(hosts) or len(hosts) > 1:
        found.append(("host", _decoded(",".join(hosts))))
    if any(ports) or len(ports) > 1:
        found.append(("port", _decoded(",".join(ports))))
    path, _, query = rest.partition("?")
    if path.removeprefix("/"):
        found.append(("dbname", _decoded(path.removeprefix("/"))))
    return found + _query(query)


def _hosts(rest: str) -> tuple[list[str], list[str], str]:
    """Hosts, their ports ("" where there is none), and what follows, from its `/` or `?` on."""
    hosts: list[str] = []
    ports: list[str] = []
    while True:
        if rest.startswith("["):
            host, bracket, rest = rest[1:].partition("]")
            if not bracket:
                raise Malformed('the "]" after an IPv6 address is missing')
            if not host:
                raise Malformed("an IPv6 address is empty")
            if rest and rest[0] not in ":/?,":
                raise Malformed(f"after an IPv6 address there may be a colon or a slash, not {rest[0]!r}")
        else:
            host = re.match(r"[^:/?,]*", rest)[0]  # type: ignore[index]  # it matches always
            rest = rest[len(host) :]
        port = ""
        if rest.startswith(":"):
            port = re.match(r"[^/?,]*", rest[1:])[0]  # type: ignore[index]
            rest = rest[1 + len(port) :]
        hosts.append(host)
        ports.append(port)
        if not rest.startswith(","):
            return hosts, ports, rest
        rest = rest[1:]


def _query(query: str) -> list[Pair]:
    found: list[Pair] = []
    pieces = query.split("&")
    if pieces[-1] == "":
        pieces.pop()
    for piece in pieces:
        name, separator, value = piece.partition("=")
        if not separator:
            raise Malformed("a parameter has no value; write NAME=VALUE, and & as %26")
        if "=" in value:
            raise Malformed("the value of a parameter holds =; write it as %3D")
        found.append((_decoded(name), _decoded(value)))
    return found


def _words(text: str) -> list[Pair]:
    """Keywords and values with blanks between them."""
    found: list[Pair] = []
    at = 0
    while (at := _skipped(text, at)) < len(text):
        begin = at
        while at < len(text) and text[at] != "=" and text[at] not in _BLANK:
            at += 1
        name = text[begin:at]
        at = _skipped(text, at)
        if at >= len(text) or text[at] != "=":
            raise Malformed("a word has no = after it; a value with blanks needs quotes, as in password='a b'")
        at = _skipped(text, at + 1)
        value, at = _quoted(text, at + 1) if text[at : at + 1] == "'" else _plain(text, at)
        found.append((name, value))
    return found


def _skipped(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at


def _plain(text: str, at: int) -> tuple[str, int]:
    value = ""
    while at < len(text) and text[at] not in _BLANK:
        if text[at] == "\\":
            at += 1
        value += text[at : at + 1]
        at += 1
    return value, at


def _quoted(text: str, at: int) -> tuple[str, int]:
    value = ""
    while at < len(text) and text[at] != "'":
        if text[at] == "\\":
            at += 1
        value += text[at : at + 1]
        at += 1
    if at >= len(text):
        raise Malformed("a quote (') is not closed")
    return value, at + 1
