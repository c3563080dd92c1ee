"""Who started a run, with which program, and which servers are at its ends: kept with the run, for a report of it."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import socket

from engine import __version__
from engine.errors import MigrationError
from engine.ledger.ledger import Ledger
from engine.mongo import connect as mongo
from engine.postgres.sqlstates import FAILURES
from engine.protocol import RunEnvironment


async def environment(ledger: Ledger, source: str, taken_unix: float) -> RunEnvironment:
    """Asks both servers; one that does not say its version now is no reason for a run to fail."""
    versions = {"source_version": "", "target_version": ""}
    with contextlib.suppress(MigrationError, *FAILURES):
        async with ledger.session() as connection:
            versions["target_version"] = str(await connection.fetchval("SHOW server_version")).partition(" ")[0]
        versions["source_version"] = await asyncio.to_thread(mongo.version_of, source, ledger.app_name)
    return RunEnvironment(by=whoami(), program=__version__, unix=round(taken_unix, 3), **versions)


def whoami() -> str:
    """`user@host` of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without an entry
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
