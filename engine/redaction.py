"""Secrets taken out of text: connection strings, messages of servers and drivers, reprs.

What counts as a secret: the password in a URI's userinfo, plain or inside a percent-encoded URI; `password=`, `sslpassword=`,
`tlsCertificateKeyFilePassword=` and their like in URIs, conninfo strings and reprs; the whole of `authMechanismProperties`,
which may hold session tokens. What only looks like one stays readable: a path, a sentence about passwords, a port, an example.
`scrub` also knows the secrets themselves, as a log needs it: a driver's message may quote a password alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, unquote

MASK = "***"
MIN_SCRUBBED = 4
"""Characters of a secret that is looked for by itself: a shorter one is in every text, and masking it would tell it."""

# --- a URI's userinfo -------------------------------------------------------------------------------------------------

_URI = re.compile(
    r"(?=(?:mongodb(?:\+srv)?|postgres(?:ql)?):?/|[a-z][a-z0-9+.\-]*://)(?P<scheme>[a-z][a-z0-9+.\-]*):?//?(?P<rest>\S*)",
    re.IGNORECASE,
)
"""One of ours also without its colon, and with one slash: as the name of a file it has no more."""
_AGAIN = re.compile(r"(?<=[^\w/:@])(?=(?:mongodb(?:\+srv)?|postgres(?:ql)?|https?)://)", re.IGNORECASE)
"""Where another URI begins behind one, with no blank between them."""
_OURS = re.compile(r"mongodb(?:\+srv)?|postgres(?:ql)?", re.IGNORECASE)
_HOST = r"(?:\[[^\s\[\]@/?#]*\]|[^\s:@/?#\[\],]*)(?::\d{1,5})?"
_SOUND = re.compile(
    r"(?P<user>[^\s:/@?#]*):(?P<password>[^\s@/?#]*)@(?P<hosts>[^\s@/?#]*)(?:/[^\s@?#]*)?(?P<query>\?[^\s#]*)?(?:#[^\s@]*)?"
)
"""As the grammar has it: no reserved character in user and password. It is beyond doubt where the password ends."""
_WITHOUT = re.compile(rf"(?:[^\s:@/?#]*@)?{_HOST}(?:,{_HOST})*(?:/[^\s@?#]*)?(?P<query>\?[^\s#]*)?(?:#[^\s@]*)?")
"""Without a password."""
_MAY_HOLD_AT = frozenset({
    "appname", "application_name", "fallback_application_name", "authmechanismproperties", "authsource", "dbname", "options",
    "password", "proxypassword", "proxyusername", "replicaset", "service", "sslcert", "sslkey", "sslpassword", "sslrootcert",
    "tlscafile", "tlscertificatekeyfile", "tlscertificatekeyfilepassword", "tlscrlfile", "user",
})  # fmt: skip
"""Parameters in whose value an `@` is no sign of a password that holds a `?`."""
_EXAMPLE = r"\*{3,}|\.{3}|…|<[\w -]+>|\$\{\w+\}"
_PLACEHOLDER = re.compile(_EXAMPLE)
"""What stands for a password in an example, or in text that was redacted before."""
_EXAMPLE_LOGIN = ("user", "password")
"""As sentences of ours write it, for a host that begins with "host"."""
_ENCODED_USERINFO = re.compile(r"(%3A%2F%2F(?:(?!%3A|%40|%2F)[^\s&])*%3A)((?:(?!%40)[^\s&])*)(?=%40)", re.IGNORECASE)

# --- names of secrets -------------------------------------------------------------------------------------------------

_NAMES = r"\w*(?:passw(?:or)?d|passphrase|secret_access_key|session_token|client_secret)|authmechanismproperties"
_OPTION = re.compile(rf"([?&](?:{_NAMES})=)([^\s&#]*)", re.IGNORECASE)
"""In a URI, where only `&` and `#` end a value: a comma, a quote or a bracket belongs to it."""
_QUOTED = r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\""
_NEXT = r"[&,;]\s*[\w\"']+\s*[=:]"
"""What begins the next pair of a list."""
_LOOSE = rf"(?:{_EXAMPLE})(?![^\s&,;)}}\]'\".])|(?:\\.|(?!{_NEXT})[^\s\\])+?(?=[,;)}}\]'\".]*(?:\s|\Z|{_NEXT}))"
"""A value without quotes; what closes a bracket or a sentence behind it is none of it."""
_EQUALS = re.compile(rf"((?<![\w/\\])(?:{_NAMES})\\?['\"]?\s*=(?!=)\s*)({_QUOTED}|{_LOOSE})", re.IGNORECASE | re.DOTALL)
_COLON = re.compile(rf"((\\?['\"])(?:{_NAMES})\2\s*:\s*)(\\\"[^\"]*\"|{_QUOTED}|{_LOOSE})", re.IGNORECASE | re.DOTALL)
"""In JSON, and in a repr: the name has quotes."""
_OWN = r"(?:(?<![\w/\\.])|(?<=\bsource\.)|(?<=\btarget\.))"
"""A name behind a dot is a collection's or a table's, unless it is one of our settings."""
_TIGHT = re.compile(rf"({_OWN}(?:{_NAMES}):)(?!//)({_LOOSE})", re.IGNORECASE)
_LINE = re.compile(rf"({_OWN}(?:{_NAMES}):[ \t]+)({_QUOTED}|\S+?)(?=[,;)}}\]]*[ \t]*$)", re.IGNORECASE | re.MULTILINE)
"""As in YAML: one word, up to the end of its line. Otherwise it is a sentence that speaks of a password."""
_PROSE = re.compile(
    r"(?:ask|check|choose|empty|enter|expected|give|missing|needed|no|none|not|required|see|set|try|unknown|use|wrong)[.!?:]*|\W*",
    re.IGNORECASE,
)
_HARMLESS = frozenset({
    "SERVICE_NAME", "SERVICE_HOST", "SERVICE_REALM", "CANONICALIZE_HOST_NAME", "ENVIRONMENT", "TOKEN_RESOURCE",
})  # fmt: skip
"""Of authMechanismProperties: these hold no secret."""
_MOST_REPEATED = 5

_known: set[str] = set()
"""Secrets of this process."""


def redact(text: str) -> str:
    """`text`, a URI or any other, with its secrets as `***`."""
    text = _without_passwords(text)
    text = _ENCODED_USERINFO.sub(rf"\1{MASK}", text)
    text = _OPTION.sub(_masked, text)
    for pattern in (_EQUALS, _TIGHT):
        text = pattern.sub(_masked, text)
    text = _COLON.sub(lambda found: found[0] if _PLACEHOLDER.fullmatch(found[3]) else found[1] + MASK, text)
    return _LINE.sub(lambda found: found[0] if _PROSE.fullmatch(found[2]) else _masked(found), text)


def _masked(found: re.Match[str]) -> str:
    return found[0] if _PLACEHOLDER.fullmatch(found[2]) else found[1] + MASK


def _without_passwords(text: str) -> str:
    whole = _span_of_whole(text)
    if whole is not None:
        return text[: whole[0]] + MASK + text[whole[1] :]
    parts: list[str] = []
    done = 0
    at = 0
    while (found := _URI.search(text, at)) is not None:
        begin, end = found.start("rest"), _end_of(text, found)
        span = _password_span(found["scheme"], text[begin:end])
        if span is None and "@" in text[end : found.end()] and _SOUND.fullmatch(text[begin:end]) is None:
            end = found.end()  # what looked like its end was part of a password
            span = _password_span(found["scheme"], text[begin:end])
        if span is not None:
            parts += [text[done : begin + span[0]], MASK]
            done = begin + span[1]
        at = max(end, begin)
    return "".join(parts) + text[done:]


def _end_of(text: str, found: re.Match[str]) -> int:
    """Where a URI ends at the latest: at the quote that it began with, or where another begins."""
    begin, end = found.start("rest"), found.end()
    before = text[found.start() - 1 : found.start()]
    if before in ("'", '"') and (closing := text.find(before, begin, end)) >= 0:
        inner = _WITHOUT.fullmatch(text, begin, closing) or _SOUND.fullmatch(text, begin, closing)
        end = closing if inner is not None or "@" in text[begin:closing] else end
    again = _AGAIN.search(text, begin, end)
    return again.start() if again is not None else end


def _span_of_whole(text: str) -> tuple[int, int] | None:
    """Of a password that holds blanks, in text that is one URI."""
    found = _URI.match(text)
    if found is None or not _OURS.fullmatch(found["scheme"]) or "@" not in text[found.end() :] or "\n" in text.strip():
        return None
    first = found["rest"]
    if "@" in first or ":" not in first:
        return None
    is_two_words = re.fullmatch(r"\S+ \S*@\S+", text) is not None
    if (_WITHOUT.fullmatch(first) or _WITHOUT.fullmatch(first.rstrip(":,;.)"))) and not is_two_words:
        return None
    begin = found.start("rest") + first.index(":") + 1
    return begin, text.rindex("@")


def _password_span(scheme: str, rest: str) -> tuple[int, int] | None:
    """Where the password is in what follows `scheme://`; None when there is none."""
    sound = _SOUND.fullmatch(rest)
    if sound is not None and _has_no_stray_at(sound["query"] or ""):
        is_example = (sound["user"], sound["password"]) == _EXAMPLE_LOGIN and sound["hosts"].startswith("host")
        if is_example or _PLACEHOLDER.fullmatch(sound["password"]):
            return None
        return sound.span("password")
    without = _WITHOUT.fullmatch(rest)
    if without is not None and _has_no_stray_at(without["query"] or ""):
        return None
    # A password that should have been percent-encoded, `p@ss/word`, must not show either: to the last @.
    place = rest if _OURS.fullmatch(scheme) else re.split(r"[/?#]", rest, maxsplit=1)[0]
    before, _, _ = place.rpartition("@")
    user, colon, password = before.partition(":")
    has_at = "@" in user and not re.search(r"[/?#]", password)  # `me@server:password@server.example`, as Azure has them
    if not colon or re.search(r"[/?#'\"<>]" if has_at else r"[/@?#'\"<>]", user):
        return None
    return len(user) + 1, len(before)


def _has_no_stray_at(query: str) -> bool:
    pairs = [pair.partition("=") for pair in re.split(r"[&;]", query[1:])]
    return all("@" not in name + value or name.lower() in _MAY_HOLD_AT for name, _, value in pairs)


def userinfo_end(uri: str) -> int:
    """Where the hosts of a connection string begin: behind the `@` of its user and password, else behind `://`."""
    found = _URI.match(uri)
    if found is None:
        return 0
    begin, rest = found.start("rest"), uri[found.start("rest") :]
    span = _span_of_whole(uri)
    if span is not None:
        return span[1] + 1
    inner = _password_span(found["scheme"], rest)
    if inner is not None:
        return begin + inner[1] + 1
    sound = _SOUND.fullmatch(rest)  # an example, or redacted before
    if sound is not None:
        return begin + sound.end("password") + 1
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return begin + place.rfind("@") + 1


def password_span(uri: str) -> tuple[int, int] | None:
    """Where the password of a connection string's userinfo stands; None when there is none, or an empty one."""
    found = _URI.match(uri)
    if found is None:
        return None
    whole = _span_of_whole(uri)
    if whole is None:
        begin = found.start("rest")
        inner = _password_span(found["scheme"], uri[begin:])
        if inner is None:  # an example, but it may have been taken as it is
            sound = _SOUND.fullmatch(uri[begin:])
            inner = sound.span("password") if sound is not None and sound["password"] != MASK else None
        whole = None if inner is None else (begin + inner[0], begin + inner[1])
    return whole if whole is not None and whole[0] < whole[1] else None


# --- known secrets ----------------------------------------------------------------------------------------------------


def holds_secret(uri: str) -> bool:
    """A connection string has a password or a token in it."""
    return bool(_password_of(uri)) or _EQUALS.search(uri) is not None


def _password_of(uri: str) -> str:
    span = password_span(uri)
    return uri[span[0] : span[1]] if span is not None else ""


def secrets_in(uri: str) -> set[str]:
    """The secret parts of a connection string, as they are written there and as they are meant."""
    options = [(found[1], found[2]) for found in _OPTION.finditer(uri)]
    if not _URI.match(uri):  # `host=... password='...'`
        options += [(found[1], _unquoted(found[2])) for found in _EQUALS.finditer(uri)]
    written = {_password_of(uri), *(value for _, value in options)}
    for properties in [value for name, value in options if "mechanism" in name.lower()]:
        pairs = [pair.partition(":") for pair in unquote(properties).split(",")]
        written |= {value for name, _, value in pairs if name not in _HARMLESS}
    return {form for secret in written if secret for form in (secret, unquote(secret))}


def _unquoted(value: str) -> str:
    inner = value[1:-1] if value[:1] in ("'", '"') and value[-1:] == value[:1] and len(value) > 1 else value
    return re.sub(r"\\(.)", r"\1", inner)


def know(secrets: Iterable[str]) -> None:
    """Have `scrub` keep these, too, out of what this process writes."""
    _known.update(secrets)


def scrub(text: str) -> str:
    """`text` redacted, and each known secret masked wherever it stands, also percent-encoded or escaped, whole or in part."""
    for secret in sorted(_known, key=len, reverse=True):  # one may be part of another
        if len(secret) >= MIN_SCRUBBED:
            text = _written_anyhow(secret).sub(MASK, text)
    return redact(text)


@lru_cache(maxsize=64)
def _written_anyhow(secret: str) -> re.Pattern[str]:
    return re.compile("".join(map(_character, secret)))


def _character(character: str) -> str:
    """A pattern for the ways to write a character: as it is, in a URI, in JSON, in Python."""
    raw = character.encode("utf-8", "surrogatepass")
    ways = {re.escape(character), re.escape(quote(raw, safe="")), re.escape(quote(raw, safe="").lower())}
    ways |= {re.escape("".join(f"%{byte:02X}" for byte in raw)), re.escape("".join(f"%{byte:02x}" for byte in raw))}
    ways |= {re.escape(json.dumps(character)[1:-1]), re.escape(repr(character)[1:-1])}
    if character in "'\"\\":
        ways.add(re.escape("\\" + character))
    if character == " ":
        ways.add(r"\+")
    return "(?:" + "|".join(sorted(ways, key=len, reverse=True)) + ")"


# --- what was typed ---------------------------------------------------------------------------------------------------


def may_be_repeated(typed: str) -> bool:
    """Whether a message may repeat a value that a setting does not take: not what may be a password in the wrong field.

    A number may, a name such as `shop.users`, bounds such as `auto:9-4`, and what is too short to be one; what is nearly one of
    the words that the setting takes is for the caller.
    """
    is_plain = re.fullmatch(r"[-+]?[\d.,_ ]{1,20}%?|[A-Za-z_]+(\.[A-Za-z_]+)+|auto:[\d-]{1,12}", typed) is not None
    return is_plain or len(typed) <= _MOST_REPEATED
