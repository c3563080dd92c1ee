"""The process of a Dask cluster on this host (`engine.cluster.dask_local`), from the engine's side.

Imports nothing of Dask: the process imports it on another core while the engine does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from typing import Any

from engine.errors import MigrationError

START_S = 60.0
"""How long it may take to start."""
END_S = 10.0
"""How long it may take to end."""
QUIET = {
    "DASK_LOGGING__DISTRIBUTED": "critical",  # what counts is in our log already
    # It measures itself all the time: with this, and nothing to do, it takes 0.7 % of a core instead of 5.
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "5s",
}
"""Settings of Dask for it."""


class DaskProcess:
    """So many hosts of so many slots each, which end with us."""

    def __init__(self, hosts: int, slots: int) -> None:
        """It is being started.

        Raises:
            OSError: it cannot be.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engine.cluster.dask_local", str(hosts), str(slots)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, env=os.environ | QUIET,
        )  # fmt: skip
        self._line: asyncio.Future[bytes] | None = None
        """What it says when it has started."""

    @property
    def exit_code(self) -> int | None:
        """None while it lives."""
        return self._process.poll()

    async def told(self) -> dict[str, Any]:
        """Where its scheduler is, and what is needed to be let in.

        Raises:
            MigrationError: it did not start.
        """
        assert self._process.stdout is not None
        if self._line is None:
            # Kept: when the wait for it is cancelled, its thread reads on, and the next wait is for the same line.
            self._line = asyncio.ensure_future(asyncio.to_thread(self._process.stdout.readline))
        try:
            async with asyncio.timeout(START_S):
                line = await asyncio.shield(self._line)
            told: dict[str, Any] = json.loads(line)
        except (TimeoutError, ValueError):
            self._process.kill()  # or the thread would read for ever
            raise MigrationError(
                "The Dask cluster on this host did not start; the engine's log says why.", code="dask"
            ) from None
        return told

    def scale(self, hosts: int) -> None:
        """Have so many hosts at least.

        Raises:
            OSError: it has ended.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d\n" % hosts)
        self._process.stdin.flush()

    async def end(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            await asyncio.to_thread(self._process.wait, END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        if self._line is not None:
            await asyncio.wait({self._line})  # at its end by now, which its thread has read to
        self._process.stdout.close()
