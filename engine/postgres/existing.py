"""Tables that are there already, as a plan begins with them."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from engine.ledger.earlier_mappings import EarlierMapping, mappings_of
from engine.mapping.names import TableName
from engine.postgres.tables import ExistingColumn, describe_table

ADDING = ("append", "upsert")
"""Modes that write into tables that are there."""


@dataclass(frozen=True, slots=True)
class ExistingTable:
    """What a table is, and who has written it."""

    columns: tuple[ExistingColumn, ...]
    """In order."""
    earlier: tuple[EarlierMapping, ...] = ()
    """The mappings of runs of ours, the newest first."""


async def look(connection: asyncpg.Connection, table: TableName) -> ExistingTable | None:
    """A table as it is; None where there is none.

    Raises:
        UsageError: it is something that rows cannot be copied into.
    """
    if await connection.fetchval("SELECT to_regclass($1) IS NULL", table.sql):
        return None
    columns = await describe_table(connection, table)
    return ExistingTable(tuple(columns), await mappings_of(connection, table))
