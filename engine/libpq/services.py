"""Service files: named sets of keywords for connections.

The user's file is PGSERVICEFILE or `~/.pg_service.conf`; the system's is `pg_service.conf` in PGSYSCONFDIR. A service of the
user's file wins over one of the system's. https://www.postgresql.org/docs/18/libpq-pgservice.html, parseServiceInfo.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.libpq.home import home_folder

_SYSTEM_FOLDERS = (
    "/etc/postgresql-common",
    "/etc/sysconfig/pgsql",
    "/usr/local/etc/postgresql",
    "/usr/local/pgsql/etc",
)
"""Where packages of PostgreSQL have it when PGSYSCONFDIR is not set; Debian's first."""


class NoService(ValueError):
    """There is no such service, or its file is not one; the message says which file."""


def read_service(name: str, environment: Mapping[str, str], known: frozenset[str]) -> dict[str, str]:
    """What the service stands for.

    Args:
        known: the keywords that there are.

    Raises:
        NoService: as its name says.
    """
    own = environment.get("PGSERVICEFILE")
    files = [Path(own)] if own is not None else []
    if own is None and (home := home_folder(environment)) is not None and (home / ".pg_service.conf").exists():
        files.append(home / ".pg_service.conf")
    folders = [environment["PGSYSCONFDIR"]] if "PGSYSCONFDIR" in environment else _SYSTEM_FOLDERS
    files += [file for folder in folders if (file := Path(folder) / "pg_service.conf").exists()]
    for file in files:
        found = _section(file, name, known)
        if found is not None:
            return found
    looked = " or ".join(map(str, files)) or "~/.pg_service.conf, which is not there"
    raise NoService(f"the service {name}, which cannot be read from {looked}: correct either")


def _section(file: Path, service: str, known: frozenset[str]) -> dict[str, str] | None:
    """The keywords of the first section of this name; None without one."""
    try:
        lines = file.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError as error:
        raise NoService(
            f"the service {service}, which cannot be read from {file} ({error.strerror}): correct either"
        ) from error
    found: dict[str, str] | None = None
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            if found is not None:
                return found
            if line[1:].startswith(f"{service}]"):
                found = {}
            continue
        if found is None:
            continue
        keyword, separator, value = line.partition("=")
        if keyword == "service":
            raise NoService(
                f"the service {service}, which names another service in line {number} of {file}: leave that out"
            )
        if not separator or keyword not in known:
            raise NoService(
                f"the service {service}, but line {number} of {file} is not KEYWORD=VALUE with a keyword of libpq, without "
                "blanks around the ="
            )
        found.setdefault(keyword, value)
    return found
