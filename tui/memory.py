"""What a cockpit remembers from one start to the next: the last servers, never with a password, and the theme.

It is state, not configuration: one small file in the folder of the logs, which only the user may read. What cannot be read or
written is forgotten without a word.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tui.words.uri import without_secrets

MOST = 5
"""Pairs of servers that are kept."""
_LONGEST = 100_000
"""Bytes of a file that is read."""


@dataclass(frozen=True, slots=True)
class Servers:
    """A source and a target that were reached, without their secrets."""

    source: str
    target: str
    database: str = ""
    """The source's, where its connection string names none."""


def memory_file() -> Path:
    """`$XDG_STATE_HOME/mongopg-tui/cockpit.json`."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "mongopg-tui" / "cockpit.json"


class Memory:
    """The newest of it; what other cockpits remember meanwhile is kept, too."""

    def __init__(self, file: Path | None = None) -> None:
        """Read what is there.

        Args:
            file: where it is kept; without one it is forgotten at the end.
        """
        self._file = file
        self.servers: tuple[Servers, ...] = ()
        """The newest first."""
        self.theme = ""
        """The one that was chosen last; empty when none was."""
        self._read()

    def keep_servers(self, source: str, target: str, database: str = "") -> None:
        """Remember a pair of servers, without their secrets."""
        newest = Servers(without_secrets(source), without_secrets(target), database)
        if self.servers[:1] == (newest,):
            return
        self._read()
        self.servers = _without_doubles([newest, *self.servers])
        self._write()

    def keep_theme(self, name: str) -> None:
        """Remember the theme."""
        if self.theme != name:
            self._read()
            self.theme = name
            self._write()

    def _read(self) -> None:
        if self._file is None:
            return
        try:
            with self._file.open(encoding="utf-8") as file:
                found: Any = json.loads(file.read(_LONGEST))
        except (OSError, ValueError):
            return
        if isinstance(found, dict):
            pairs = found.get("servers")
            self.servers = _without_doubles(filter(None, map(_servers, pairs if isinstance(pairs, list) else [])))
            self.theme = found["theme"] if isinstance(found.get("theme"), str) else ""

    def _write(self) -> None:
        if self._file is None:
            return
        content = {"servers": [asdict(each) for each in self.servers], "theme": self.theme}
        beside = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside.unlink(missing_ok=True)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(content, file, indent=1)
            os.replace(beside, self._file)


def _servers(found: Any) -> Servers | None:
    """A pair as it was written; None for anything else. A secret that was put there by hand is not taken."""
    if not isinstance(found, dict):
        return None
    source, target, database = (found.get(name, "") for name in ("source", "target", "database"))
    if not (isinstance(source, str) and isinstance(target, str) and isinstance(database, str) and source and target):
        return None
    return Servers(without_secrets(source), without_secrets(target), database)


def _without_doubles(pairs: Iterable[Servers]) -> tuple[Servers, ...]:
    return tuple(dict.fromkeys(pairs))[:MOST]
