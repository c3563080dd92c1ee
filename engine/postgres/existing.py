"""Tables that are there already, as a plan begins with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg

from engine.mapping.model import EarlierMapping
from engine.mapping.names import TableName
from engine.postgres.tables import ExistingColumn, describe_table

ADDING = ("append", "upsert")
"""Modes that write into tables that are there."""


@dataclass(frozen=True, slots=True)
class ExistingTable:
    """What a table is, and what earlier runs have written into it."""

    columns: tuple[ExistingColumn, ...]
    """In order."""
    earlier: tuple[EarlierMapping, ...] = ()
    """The mappings of runs of ours, the newest first."""


EarlierOf = Callable[[asyncpg.Connection, TableName], Awaitable[tuple[EarlierMapping, ...]]]
"""Reads the mappings with which earlier runs wrote into a table, the newest run first (`engine.ledger.earlier_runs`)."""


async def look(connection: asyncpg.Connection, table: TableName, earlier: EarlierOf) -> ExistingTable | None:
    """A table as it is; None where there is none.

    Args:
        earlier: the mappings with which earlier runs wrote into a table, as a ledger has them.

    Raises:
        UsageError: it is something that rows cannot be copied into.
    """
    if await connection.fetchval("SELECT to_regclass($1) IS NULL", table.sql):
        return None
    columns = await describe_table(connection, table)
    return ExistingTable(tuple(columns), await earlier(connection, table))
