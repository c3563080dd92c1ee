"""Where a server on this machine listens when no host is named."""

from __future__ import annotations

from pathlib import Path

SOCKET_FOLDERS = ("/var/run/postgresql", "/run/postgresql", "/tmp", "/private/tmp")  # noqa: S108 - libpq's own
"""Debian's libpq has the first one built in, PostgreSQL's own the third; they are looked at in this order."""


def default_host(port: int) -> str:
    """The folder with a server's socket for this port; `localhost` without one, for servers in containers."""
    for folder in SOCKET_FOLDERS:
        if (Path(folder) / f".s.PGSQL.{port}").exists():
            return folder
    return "localhost"
