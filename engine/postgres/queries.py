"""Calls of the driver with the types that its callers have: one row that is there, and tuples of COPY's binary format."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import asyncpg

from engine.errors import MigrationError
from engine.mapping.names import TableName
from engine.rows import Buffer


async def one_row(connection: asyncpg.Connection, query: str, *arguments: object) -> asyncpg.Record:
    """The row of a query that gives one.

    Raises:
        MigrationError: it gave none, since what it asks for was dropped a moment ago.
        asyncpg.PostgresError, OSError: the server or the connection is at fault.
    """
    row = await connection.fetchrow(query, *arguments)
    if row is None:
        raise MigrationError("The target's catalogue has changed while it was read: try again.")
    return row


async def copy_tuples(
    connection: asyncpg.Connection,
    table: TableName,
    source: AsyncIterator[Buffer],
    columns: Sequence[str] | None = None,
    where: str = "",
) -> str:
    """COPY into a table; returns the command's status, which ends with the number of rows.

    Args:
        source: header, tuples and trailer of COPY's binary format.
        columns: in the order of the tuples; None is the table's.
        where: SQL that a row must meet; empty takes all.
    """
    return await connection.copy_to_table(
        table.table,
        schema_name=table.schema,
        columns=columns,
        source=source,  # type: ignore[arg-type]  # asyncpg takes everything that has a buffer, its stubs know bytes alone
        format="binary",
        where=where or None,
    )
