"""The keys of a collection, as its table would have them, to find rows of the table that no document has.

They are written by all workers into one table of the ledger's schema that lives for one verification.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg

from engine.mapping.model import Mapping
from engine.mapping.names import quote_identifier
from engine.target.compare import SHOWN_VALUE, key_definition
from engine.target.ddl import TableName
from engine.target.page import COPY_HEADER, COPY_TRAILER, Buffer, Piece
from engine.target.schema import SCHEMA

TABLE_PREFIX = "verify_"
MEMORY = "64MB"
"""work_mem for the search: hashes of some million keys stay in memory."""


@dataclass(frozen=True, slots=True)
class ExtraRows:
    """Rows of the table whose key no document has."""

    count: int
    keys: tuple[str, ...]
    """The first few, as text."""


def keys_table(run_id: str, task_id: int) -> str:
    """Name of the table of keys of one task."""
    return f"{TABLE_PREFIX}{run_id}_{task_id}"


async def create(connection: asyncpg.Connection, name: str, target: TableName, mapping: Mapping) -> None:
    """Make an empty table for the keys of `target`; one that a killed verification left behind is dropped."""
    definition = await key_definition(connection, target, mapping.id_column)
    table = TableName(SCHEMA, name).sql
    await connection.execute(f"DROP TABLE IF EXISTS {table}; CREATE UNLOGGED TABLE {table} ({definition})")


async def drop(connection: asyncpg.Connection, name: str) -> None:
    """Drop it."""
    await connection.execute(f"DROP TABLE IF EXISTS {TableName(SCHEMA, name).sql}")


async def add(connection: asyncpg.Connection, name: str, mapping: Mapping, piece: Piece) -> None:
    """Write the keys of some documents; twice does no harm."""
    if piece.rows.row_ends:
        await connection.copy_to_table(
            name, schema_name=SCHEMA, columns=[mapping.id_column.name], source=_tuples(piece), format="binary"
        )


async def find_extra(
    connection: asyncpg.Connection, table: TableName, name: str, mapping: Mapping, limit: int
) -> ExtraRows:
    """Rows of `table` whose key is not among the keys.

    Args:
        limit: so many keys are named.
    """
    key, keys = quote_identifier(mapping.id_column.name), TableName(SCHEMA, name).sql
    await connection.execute(f"ANALYZE {keys}")
    async with connection.transaction():
        await connection.execute(f"SET LOCAL work_mem = '{MEMORY}'")
        row = await connection.fetchrow(
            "SELECT count(*) AS n, (array_agg(shown) FILTER (WHERE nth <= $1)) AS keys FROM ("  # noqa: S608 - quoted
            f"SELECT left(t.{key}::text, {SHOWN_VALUE}) AS shown, row_number() OVER () AS nth FROM {table.sql} t"
            f" WHERE NOT EXISTS (SELECT FROM {keys} k WHERE k.{key} = t.{key})) extra",
            limit,
        )
    return ExtraRows(row["n"], tuple(row["keys"] or ()))


async def _tuples(piece: Piece) -> AsyncIterator[Buffer]:
    yield COPY_HEADER
    yield piece.rows.copy
    yield COPY_TRAILER
