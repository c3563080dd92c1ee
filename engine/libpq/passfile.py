"""The password file: `host:port:database:user:password` a line. https://www.postgresql.org/docs/18/libpq-pgpass.html"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from engine.libpq.sockets import SOCKET_FOLDERS


def is_open_to_others(file: Path) -> bool:
    """Others than the owner may read it, so that it is not used; False when it is not there."""
    try:
        return bool(file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False


def find_password(file: Path, host: str, port: int, database: str, user: str) -> str | None:
    """The password of the first line that fits; None without one, or without a file that may be used.

    Args:
        host: name, address or socket folder as the string gives it; the default folder counts as localhost.
    """
    try:
        if not file.is_file() or is_open_to_others(file):
            return None
        lines = os.fsdecode(file.read_bytes()).split("\n")
    except OSError:
        return None
    wanted = ("localhost" if not host or host in SOCKET_FOLDERS else host, str(port), database, user)
    for raw in lines:
        line = raw.removesuffix("\r")
        if line.startswith("#"):
            continue
        fields = _fields(line)
        if len(fields) >= len(wanted) + 1 and all(
            written == "*" or _plain(written) == value for written, value in zip(fields, wanted, strict=False)
        ):
            return _plain(fields[len(wanted)])
    return None


def _fields(line: str) -> list[str]:
    """Cut at the colons before which there is no backslash; backslashes stay."""
    fields = [""]
    at = 0
    while at < len(line):
        if line[at] == ":":
            fields.append("")
        else:
            length = 2 if line[at] == "\\" else 1
            fields[-1] += line[at : at + length]
            at += length - 1
        at += 1
    return fields


def _plain(field: str) -> str:
    """Without the backslashes that keep a colon or a backslash."""
    text, at = "", 0
    while at < len(field):
        if field[at] == "\\" and at + 1 < len(field):
            at += 1
        text += field[at]
        at += 1
    return text
