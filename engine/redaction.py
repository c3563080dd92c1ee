"""Secrets taken out of text: connection strings, messages of servers and drivers, reprs.

What counts as a secret: the password in a URI's userinfo, plain or inside a percent-encoded URI; `password=`,
`sslpassword=`, `tlsCertificateKeyFilePassword=` and their like; the whole of `authMechanismProperties`, which may hold
session tokens. `scrub` also knows the secrets themselves, as a log needs it: a driver's message may quote a password alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

MASK = "***"
MIN_SCRUBBED = 4
"""Characters of a secret that is looked for by itself: a shorter one is in every text, and masking it would tell it."""

_NAMES = r"\w*(?:passw(?:or)?d|passphrase|secret_access_key|session_token)|authmechanismproperties"

_USERINFO = re.compile(
    r"(\A[a-z][a-z0-9+.\-]*://[^\s:/@]*):(.*)@|([a-z][a-z0-9+.\-]*://[^\s:/@'\"<>]*):(\S*)@", re.IGNORECASE
)
"""Greedy to the last `@`: a password that should have been percent-encoded, `p@ss/word`, must not show either. It may hold
blanks only in text that is a URI as a whole."""
_ENCODED_USERINFO = re.compile(r"(%3A%2F%2F(?:(?!%3A|%40|%2F)[^\s&])*%3A)((?:(?!%40)[^\s&])*)(?=%40)", re.IGNORECASE)
_OPTION = re.compile(rf"([?&](?:{_NAMES})=)([^\s&#]*)", re.IGNORECASE)
"""In a URI, where only `&` and `#` end a value: a comma, a quote or a bracket belongs to it."""
_KEY_VALUE = re.compile(rf"(\b(?:{_NAMES})['\"]?\s*[=:]\s*)" r"('[^']*'|\"[^\"]*\"|[^\s&,;)}\]'\"]+)", re.IGNORECASE)

_known: set[str] = set()
"""Secrets of this process."""


def redact(text: str) -> str:
    """`text`, a URI or any other, with its secrets as `***`."""
    text = _USERINFO.sub(lambda found: f"{found[1] or found[3]}:{MASK}@", text)
    text = _ENCODED_USERINFO.sub(rf"\1{MASK}", text)
    text = _OPTION.sub(rf"\1{MASK}", text)
    return _KEY_VALUE.sub(rf"\1{MASK}", text)


def holds_secret(uri: str) -> bool:
    """A connection string has a password or a token in it."""
    return bool(_password_of(uri)) or _KEY_VALUE.search(uri) is not None


def _password_of(uri: str) -> str:
    userinfo = _USERINFO.search(uri)
    return (userinfo[2] or userinfo[4] or "") if userinfo else ""


def secrets_in(uri: str) -> set[str]:
    """The secret parts of a connection string, as they are written there and as they are meant."""
    written = {_password_of(uri), *(found[2] for found in _OPTION.finditer(uri))}
    for properties in [found[2] for found in _OPTION.finditer(uri) if "mechanism" in found[1].lower()]:
        written |= {value for _, _, value in (pair.partition(":") for pair in unquote(properties).split(","))}
    return {form for secret in written if secret for form in (secret, unquote(secret))}


def know(secrets: Iterable[str]) -> None:
    """Have `scrub` keep these, too, out of what this process writes."""
    _known.update(secrets)


def scrub(text: str) -> str:
    """`text` redacted, and each known secret masked wherever it stands, also percent-encoded."""
    forms = {form for secret in _known for form in (secret, quote(secret, safe=""), repr(secret)[1:-1])}
    for form in sorted(forms, key=len, reverse=True):  # one may be part of another
        if len(form) >= MIN_SCRUBBED:
            text = text.replace(form, MASK)
    return redact(text)
