"""Tables that are there already, as a plan begins with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

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


COUNTED_ROWS = 100_000
"""Rows that are counted; of more the server's estimate will do."""
COUNTING_S = 2.0
"""Longer than this no count takes, nor waits for another session's lock."""

RowsAre = Literal["exact", "about", "at least"]
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


async def rows_known(connection: asyncpg.Connection, table: TableName) -> tuple[int | None, RowsAre]:
    """Rows of a table, as far as that can be told at once; None where it cannot.

    Large tables are not counted: theirs is the estimate that PostgreSQL itself plans queries with.
    """
    row = await connection.fetchrow(_SIZE, table.sql)
    if row is None:
        return None, "exact"
    estimated = round(row["rows"]) if row["rows"] is not None and row["rows"] >= 0 else None
    if estimated is not None and estimated > COUNTED_ROWS:
        return estimated, "about"
    # Rows of tables that inherit from it are theirs; those of partitions are the table's.
    only = "ONLY " if row["kind"] == "r" else ""
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = {round(COUNTING_S * 1000)}")
            await connection.execute(f"SET LOCAL statement_timeout = {round(COUNTING_S * 1000)}")
            counted = int(
                await connection.fetchval(
                    f"SELECT count(*) FROM (SELECT FROM {only}{table.sql} LIMIT {COUNTED_ROWS + 1}) some_rows"  # noqa: S608
                )
            )
    except asyncpg.PostgresError:  # locked, slow, or not ours to read
        return estimated, "about"
    return (counted, "exact") if counted <= COUNTED_ROWS else (COUNTED_ROWS, "at least")


_SIZE = """
    SELECT c.relkind::text AS kind, CASE
        WHEN c.relkind = 'r' THEN c.reltuples::float8
        WHEN c.relkind = 'p' THEN (
            SELECT CASE WHEN bool_and(l.reltuples >= 0) THEN sum(l.reltuples::float8) END
            FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid WHERE t.isleaf AND l.relkind <> 'p')
        END AS rows
    FROM pg_class c WHERE c.oid = to_regclass($1)
"""
"""-1 stands for a table that was never analyzed."""
