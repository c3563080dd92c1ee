"""Passwords asked for in the terminal, as psql and mongosh do with `-W` and `-p`: never echoed, kept in memory only."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterable

from pydantic import SecretStr

from engine.config import Loaded, secrets_of, with_password
from engine.errors import UsageError
from engine.redaction import know
from tui.safe import safe
from tui.uri import shown


def ask_passwords(loaded: Loaded, sides: Iterable[str]) -> None:
    """Fill in the password of each side ("source", "target") whose connection string has room for one.

    Raises:
        UsageError: there is nobody to ask.
    """
    for side in sides:
        section = loaded.settings.source if side == "source" else loaded.settings.target
        uri = section.uri.get_secret_value()
        if with_password(uri, "x") == uri:  # it holds one, names no user, or is not set
            continue
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(f"-W asks for a password, but there is no terminal: set MONGOPG_{side.upper()}_PASSWORD.")
        try:
            section.password = SecretStr(getpass.getpass(f"Password for {safe(shown(uri))}: "))
        except EOFError:
            raise UsageError(f"No password was given for the {side}.") from None
        know(secrets_of(loaded.settings))
        loaded.provenance[f"{side}.password"] = "terminal"
