"""Which of the runs that are found is meant: by its target, and what is said of those that are not."""

from __future__ import annotations

import pwd
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from os import getuid
from pathlib import Path

from engine.errors import UsageError
from engine.libpq.resolve import resolve
from engine.protocol import Snapshot

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "localhost.localdomain"})
_RUN_ID = re.compile(r"\d{8}-\d{4}-[a-z0-9]{4}")
_MOST_NAMED = 5


def is_same_target(one: str, other: str) -> bool:
    """Two connection strings, perhaps without their passwords, lead to one database of one server.

    Who connects and how does not matter. Names of a host are compared as they are written, but for those of this machine.
    """
    try:
        return bool(_places(one) & _places(other))
    except UsageError:
        return one.strip() == other.strip()


def _places(target: str) -> set[tuple[str, int, str]]:
    found = resolve(target)
    hosts = ((endpoint.host.lower(), endpoint.port) for endpoint in found.endpoints)
    return {("" if host in _LOOPBACK else host, port, found.database) for host, port in hosts}


def words_of(runs: Mapping[Path, Snapshot]) -> str:
    """Runs with their servers: `20261123-1402-k3f9 (mongodb://... → postgresql://...)`, some of them at most."""
    named = [f"{each.run_id} ({servers_of(each)})" for each in runs.values()]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return ", ".join(named[:_MOST_NAMED]) + more


def servers_of(snapshot: Snapshot) -> str:
    """Where a run reads and writes: `mongodb://... → postgresql://...`; of one that only seeds, where it writes."""
    return " → ".join(filter(None, (snapshot.source, snapshot.target))) or "servers not known yet"


def runs_of_others(run: str = "") -> list[tuple[str, str]]:
    """Engines of other users of this machine, as (run id, user); none where the system hides their processes.

    Args:
        run: the beginning of the id.
    """
    return sorted({found for found in _engines_of_others() if found[0].startswith(run)})  # its workers have its words


def _engines_of_others() -> Iterator[tuple[str, str]]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, KeyError, ValueError):
            uid = process.stat().st_uid
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            at = words.index("engine")
            if uid != getuid() and words[at - 1] == "-m" and _RUN_ID.fullmatch(words[at + 1]):
                yield words[at + 1], pwd.getpwuid(uid).pw_name
