"""The sockets that an engine listens on: opened, watched, and made anew when they are gone.

A session's folder goes with the session, and a temporary one is swept. A run that takes days must be found all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine import protocol
from engine.errors import MigrationError
from engine.service import sockets

LOOK_EVERY_S = 1.0
"""How long a socket that was removed is missing, at most."""

Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Door:
    listener: socket.socket
    inode: int
    server: asyncio.Server | None = None


class Doors:
    """Lets clients in once it is open, and sees to it that they can come in."""

    def __init__(self, run_id: str, listeners: Mapping[Path, socket.socket]) -> None:
        self._run_id = run_id
        self._doors = {path: _Door(listener, _inode(path)) for path, listener in listeners.items()}
        self._converse: Converse | None = None

    async def open(self, converse: Converse) -> None:
        """Let clients in, those that wait already, too."""
        self._converse = converse
        for door in self._doors.values():
            await self._let_in(door)

    async def keep_open(self) -> None:
        """Until cancelled, listen anew where a socket is gone; clients that are connected stay."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for path in await asyncio.to_thread(self._missing):
                with contextlib.suppress(OSError):
                    door = _Door(sockets.listen(path), _inode(path))
                    log.info("the socket %s was gone, and is there again", path)
                    old = self._doors.get(path)
                    self._doors[path] = door
                    await self._let_in(door)
                    if old is not None and old.server is not None:
                        old.server.close()

    def close(self) -> None:
        """Let no client in any more."""
        for door in self._doors.values():
            if door.server is not None:
                door.server.close()

    def _missing(self) -> list[Path]:
        """Where a socket of ours should be and is not; folders are made."""
        wanted = list(self._doors)
        # A session's folder that cannot be made again is no reason to be nowhere.
        with contextlib.suppress(MigrationError, OSError):
            wanted = list(dict.fromkeys([*wanted, *sockets.socket_paths(self._run_id)]))
        return [path for path in wanted if path not in self._doors or _inode(path) != self._doors[path].inode]

    async def _let_in(self, door: _Door) -> None:
        assert self._converse is not None
        door.server = await asyncio.start_unix_server(self._converse, sock=door.listener, limit=protocol.MAX_LINE)


def _inode(path: Path) -> int:
    """Of what is at `path`; 0 when there is nothing."""
    try:
        return path.lstat().st_ino
    except OSError:
        return 0
