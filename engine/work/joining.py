"""A worker's session as one of a run that holds its tables."""

from __future__ import annotations

import asyncio
import time

import asyncpg

from engine.errors import ConnectError
from engine.ledger import table_locks, taking
from engine.mapping.names import TableName
from engine.postgres import sessions

HOLD_S = 5.0
"""The engine takes the tables again within this, when their session was ended with the worker's."""


async def join_run(connection: asyncpg.Connection, run_id: str, table: TableName, generation: int) -> None:
    """Make the session one of the run.

    Args:
        generation: of the engine that the worker is of.

    Raises:
        RunTaken: another engine has taken the run over.
        ConnectError: no session of the run holds the table: another run may have it, as after a restart of the server.
    """
    await sessions.rename(connection, run_id)  # an engine that resumes a run has workers before it knows which
    deadline = time.monotonic() + HOLD_S
    while not await table_locks.is_held_for(connection, table, run_id):
        if time.monotonic() > deadline:
            raise ConnectError(f"Table {table} is not held for this run at the moment: it has to be taken again first.")
        await asyncio.sleep(0.05)
    await taking.require_generation(connection, run_id, generation)
