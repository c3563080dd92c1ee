"""The home directory and the name of the user that runs this, as libpq finds them."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path


def home_folder(environment: Mapping[str, str]) -> Path | None:
    """HOME, else the home of the password database; None without one."""
    if environment.get("HOME"):
        return Path(environment["HOME"])
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        return None


def user_name() -> str:
    """The user of the operating system, never LOGNAME or USER; empty for one without a name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""


def expanded(path: str, environment: Mapping[str, str]) -> str:
    """The path with a leading `~/` as the home directory: libpq leaves that to the shell, a pasted string has none."""
    home = home_folder(environment)
    if home is not None and (path == "~" or path.startswith("~/")):
        return str(home) + path[1:]
    return path
