"""Rows that go, by their keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import asyncpg

from engine.mapping.names import TableName, quote_identifier
from engine.postgres.ddl import LEDGER_SCHEMA
from engine.postgres.keys import MEMORY
from engine.postgres.queries import copy_tuples
from engine.rows import COPY_HEADER, COPY_TRAILER, Buffer

GOING = TableName("pg_temp", "mongopg_going")
"""Where the keys are collected; gone at COMMIT."""
REFERRED = (asyncpg.ForeignKeyViolationError, asyncpg.RestrictViolationError)
"""Rows of other tables refer to one that is to be deleted."""


async def delete_keys(connection: asyncpg.Connection, table: TableName, key: str, keys: Sequence[Buffer]) -> int:
    """Delete the rows of these keys; how many there were.

    Args:
        connection: in a transaction.
        table: has an index of the key.
        key: its column.
        keys: as tuples of COPY's binary format, each of nothing but the key.
    """
    if not keys:
        return 0
    column = quote_identifier(key)
    await connection.execute(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {quote_identifier(GOING.table)} ON COMMIT DROP AS"  # noqa: S608 - quoted
        f" SELECT {column} FROM {table.sql} WITH NO DATA"
    )
    await copy_tuples(connection, GOING, _stream(keys), [key])
    status = await connection.execute(
        f"DELETE FROM {table.sql} t USING {GOING.sql} k WHERE t.{column} = k.{column}"  # noqa: S608 - quoted names
    )
    await connection.execute(f"TRUNCATE {GOING.sql}")
    return int(status.rpartition(" ")[2])


async def delete_others(connection: asyncpg.Connection, table: TableName, key: str, keys_table: str) -> int:
    """Delete the rows whose key is not among some keys; how many there were.

    Args:
        connection: in a transaction.
        key: the table's column.
        keys_table: in the ledger's schema, with the keys (`engine.postgres.keys`).
    """
    column, keys = quote_identifier(key), TableName(LEDGER_SCHEMA, keys_table).sql
    kind = await connection.fetchval("SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)", table.sql)
    only = "ONLY " if kind == "r" else ""  # rows of tables that inherit from it are theirs
    await connection.execute(f"SET LOCAL work_mem = '{MEMORY}'")
    status = await connection.execute(
        f"DELETE FROM {only}{table.sql} t WHERE NOT EXISTS (SELECT FROM {keys} k WHERE k.{column} = t.{column})"  # noqa: S608
    )
    return int(status.rpartition(" ")[2])


async def delete_free_keys(
    connection: asyncpg.Connection, table: TableName, key: str, keys: Sequence[Buffer]
) -> tuple[int, dict[int, str]]:
    """Delete the rows of these keys to which no row of another table refers; how many there were, and which keys stay, by their
    place among `keys`, each with the constraint that keeps it. The arguments are as those of `delete_keys`.
    """
    deleted, staying = 0, dict[int, str]()
    todo = [(0, len(keys))] if keys else []
    while todo:
        first, end = todo.pop()
        await connection.execute("SAVEPOINT going")
        try:
            deleted += await delete_keys(connection, table, key, keys[first:end])
            await connection.execute("RELEASE SAVEPOINT going")
        except REFERRED as error:
            await connection.execute("ROLLBACK TO SAVEPOINT going; RELEASE SAVEPOINT going")
            if end - first == 1:
                staying[first] = error.constraint_name or "foreign key"
                continue
            middle = (first + end) // 2
            todo += [(first, middle), (middle, end)]
    return deleted, staying


async def _stream(keys: Sequence[Buffer]) -> AsyncIterator[Buffer]:
    yield COPY_HEADER
    for key in keys:
        yield key
    yield COPY_TRAILER
