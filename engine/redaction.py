"""Secrets taken out of text: connection strings, messages of servers and drivers, reprs.

What counts as a secret: the password in a URI's userinfo, plain or inside a percent-encoded URI; `password=`,
`sslpassword=`, `tlsCertificateKeyFilePassword=` and their like; the whole of `authMechanismProperties`, which may hold
session tokens.
"""

from __future__ import annotations

import re

MASK = "***"

_USERINFO = re.compile(r"([a-z][a-z0-9+.\-]*://[^\s:/@'\"<>]*):([^\s'\"<>]*)@", re.IGNORECASE)
"""Greedy to the last `@`: a password that should have been percent-encoded, `p@ss/word`, must not show either."""
_ENCODED_USERINFO = re.compile(r"(%3A%2F%2F(?:(?!%3A|%40|%2F)[^\s&])*%3A)((?:(?!%40)[^\s&])*)(?=%40)", re.IGNORECASE)
_KEY_VALUE = re.compile(
    r"(\b\w*(?:passw(?:or)?d|passphrase|secret_access_key|session_token|authmechanismproperties)['\"]?\s*[=:]\s*)"
    r"('[^']*'|\"[^\"]*\"|[^\s&,;)}\]'\"]+)",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """`text`, a URI or any other, with its secrets as `***`."""
    text = _USERINFO.sub(rf"\1:{MASK}@", text)
    text = _ENCODED_USERINFO.sub(rf"\1{MASK}", text)
    return _KEY_VALUE.sub(rf"\1{MASK}", text)


def holds_secret(uri: str) -> bool:
    """A connection string has a password or a token in it."""
    userinfo = _USERINFO.search(uri)
    return bool(userinfo and userinfo[2]) or _KEY_VALUE.search(uri) is not None
