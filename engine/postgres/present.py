"""Which of some keys a table has already."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import asyncpg

from engine.mapping.names import TableName, quote_identifier
from engine.postgres.queries import copy_tuples
from engine.rows import COPY_HEADER, COPY_TRAILER, Buffer, Piece

KEYS = TableName("pg_temp", "mongopg_keys")
"""Where they are collected; empty after each question, gone at COMMIT."""


async def rows_present(connection: asyncpg.Connection, table: TableName, key: str, pieces: Sequence[Piece]) -> set[int]:
    """Numbers of those rows whose key is in the table, which must have an index of it.

    Args:
        connection: in a transaction.
        table: the table.
        key: its column.
        pieces: rows of nothing but a key; they are numbered through all of them.
    """
    column, keys = quote_identifier(key), KEYS.sql
    await connection.execute(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {quote_identifier(KEYS.table)} ON COMMIT DROP AS"  # noqa: S608 - quoted
        f" SELECT {column} FROM {table.sql} WITH NO DATA"
    )
    await copy_tuples(connection, KEYS, _tuples(pieces), [key])
    found = await connection.fetch(
        f"SELECT n FROM (SELECT {column}, row_number() OVER (ORDER BY ctid) - 1 AS n FROM {keys}) s"  # noqa: S608
        f" WHERE EXISTS (SELECT FROM {table.sql} t WHERE t.{column} = s.{column})"
    )
    await connection.execute(f"TRUNCATE {keys}")
    return {row["n"] for row in found}


async def _tuples(pieces: Sequence[Piece]) -> AsyncIterator[Buffer]:
    yield COPY_HEADER
    for piece in pieces:
        if piece.rows.row_ends:
            yield piece.rows.copy
    yield COPY_TRAILER
