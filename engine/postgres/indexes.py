"""Secondary indexes of target tables: their SQL, and building them after the load.

Building looks at what is there first, so a run that broke off can go through all of them again. An index that cannot be
built (two rows share a key that is to be unique) costs that index, never the rows.
"""

from __future__ import annotations

import asyncpg
from pydantic import BaseModel, ConfigDict

from engine.mapping.names import TableName, quote_identifier
from engine.postgres import sqlstates
from engine.postgres.attachments import index_signature
from engine.postgres.blockers import naming_blockers
from engine.postgres.ddl import STAGING_MARK, fitted
from engine.postgres.finish import current_name
from engine.postgres.maintenance import raise_means
from engine.postgres.names import taken_relations
from engine.rows import TableLoad

BUILD_MEMORY = "128MB"
"""maintenance_work_mem while an index is built, where the server's own is lower; several are built at a time."""


class IndexKey(BaseModel):
    """One column of an index."""

    model_config = ConfigDict(frozen=True)

    column: str
    descending: bool = False


class Index(BaseModel):
    """A B-tree to build on a target table."""

    model_config = ConfigDict(frozen=True)

    name: str
    """In PostgreSQL, unquoted."""
    source_name: str
    """In MongoDB."""
    keys: tuple[IndexKey, ...]
    unique: bool = False
    where: str = ""
    """SQL, every name in it quoted: only rows for which it is true are indexed."""


def signature(index: Index) -> str:
    """The index as the look at a table that is to be replaced compares it."""
    keys = [(key.column, key.descending) for key in index.keys]
    return index_signature(index.name, keys, unique=index.unique, partial=bool(index.where))


def create_index(index: Index, table: TableName, name: str = "", *, concurrently: bool = False) -> str:
    """CREATE INDEX on `table`, under another `name` than the index's own when one is given; `concurrently`, while it is written
    to."""
    unique = "UNIQUE " if index.unique else ""
    how = "CONCURRENTLY " if concurrently else ""
    keys = ", ".join(quote_identifier(key.column) + (" DESC" if key.descending else "") for key in index.keys)
    where = f" WHERE {index.where}" if index.where else ""
    return f"CREATE {unique}INDEX {how}{quote_identifier(name or index.name)} ON {table.sql} ({keys}){where}"


async def build_index(
    connection: asyncpg.Connection, run_id: str, load: TableLoad, index: Index, *, at_once: int = 1
) -> str | None:
    """Build one index, unless the table has it; returns the sentence that says why it cannot be built.

    Args:
        connection: not in a transaction; its `lock_timeout` bounds the wait for others.
        load: the table; a staging table's index has a name of the run's until the tables are swapped.
        index: to be built.
        at_once: indexes that may be built at a time.

    Raises:
        MigrationError: another session locks the table; trying again may help.
        asyncpg.PostgresError, OSError: the server or the connection is at fault; trying again may help.
    """
    table = await current_name(connection, load)
    name = index.name if table == load.target else staged_name(index, run_id)
    if await is_built(connection, run_id, load, index):
        return None
    try:
        async with naming_blockers(connection, [table], "ShareLock"), connection.transaction():
            await raise_means(connection, BUILD_MEMORY, at_once)
            await connection.execute(create_index(index, table, name))
    except asyncpg.PostgresError as error:
        if sqlstates.may_pass(error):
            raise
        # The session of an engine that died may have built it a moment ago.
        return None if await is_built(connection, run_id, load, index) else _refusal(index, load, error)
    return None


async def build_concurrently(connection: asyncpg.Connection, run_id: str, load: TableLoad, index: Index) -> str | None:
    """The same while rows are written. An attempt that broke off has left an index that refuses rows and serves no query: it is
    dropped first, and behind an attempt that fails.

    Raises:
        MigrationError: the table is gone.
        asyncpg.PostgresError, OSError: the server or the connection is at fault; trying again may help.
    """
    if await is_built(connection, run_id, load, index):
        return None
    table = await current_name(connection, load)
    await drop_index(connection, run_id, load, index)
    name = index.name if table == load.target else staged_name(index, run_id)
    try:
        await connection.execute(create_index(index, table, name, concurrently=True))
    except asyncpg.PostgresError as error:
        if not connection.is_closed():
            await drop_index(connection, run_id, load, index)
        if sqlstates.may_pass(error):
            raise
        return _refusal(index, load, error)
    return None


async def drop_index(connection: asyncpg.Connection, run_id: str, load: TableLoad, index: Index) -> None:
    """Drop an index that the run has built on its table, valid or not; not in a transaction."""
    for name in (index.name, staged_name(index, run_id)):
        found = await connection.fetchval(
            "SELECT n.nspname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n"
            " ON n.oid = c.relnamespace WHERE i.indrelid = $1 AND c.relname = $2",
            load.table_oid,
            name,
        )
        if found is not None:
            await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {TableName(found, name).sql}")


async def take_index_names(
    connection: asyncpg.Connection, run_id: str, load: TableLoad, indexes: tuple[Index, ...]
) -> None:
    """After a swap: the indexes of the staging table get the names that they were planned with."""
    for index in indexes:
        if await _has_index(connection, load, staged_name(index, run_id)):
            staged = TableName(load.target.schema, staged_name(index, run_id))
            if not await taken_relations(connection, load.target.schema, [index.name]):  # else it keeps the one it has
                await connection.execute(f"ALTER INDEX {staged.sql} RENAME TO {quote_identifier(index.name)}")


async def is_built(connection: asyncpg.Connection, run_id: str, load: TableLoad, index: Index) -> bool:
    """The table has the index, under its own name or the run's, and it is valid."""
    return await _has_index(connection, load, index.name) or await _has_index(
        connection, load, staged_name(index, run_id)
    )


def staged_name(index: Index, run_id: str) -> str:
    """What an index of a staging table is called until the tables are swapped."""
    return fitted(index.name, STAGING_MARK + run_id)


async def _has_index(connection: asyncpg.Connection, load: TableLoad, name: str) -> bool:
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " WHERE i.indrelid = $1 AND c.relname = $2 AND i.indisvalid)",
            load.table_oid,
            name,
        )
    )


def build_by_hand(index: Index, table: TableName) -> str:
    """What to do about an index that could not be built, as SQL."""
    statement = create_index(index, table)
    if not index.unique:
        return f"When the cause is gone: {statement};"
    columns = ", ".join(quote_identifier(key.column) for key in index.keys)
    present = " AND ".join(f"{quote_identifier(key.column)} IS NOT NULL" for key in index.keys)
    where = f"({index.where}) AND {present}" if index.where else present
    twice = f"SELECT {columns}, count(*) FROM {table.sql} WHERE {where} GROUP BY {columns} HAVING count(*) > 1"  # noqa: S608
    return f"Rows that share a key: {twice}; settle them, then: {statement};"


def _refusal(index: Index, load: TableLoad, error: asyncpg.PostgresError) -> str:
    name = (
        f"Index {sqlstates.one_line(index.name)} of {load.target} ({sqlstates.one_line(index.source_name)} in MongoDB)"
    )
    if sqlstates.sqlstate_of(error) == sqlstates.UNIQUE_VIOLATION:
        columns = ", ".join(sqlstates.one_line(key.column) for key in index.keys)
        return (
            f"{name} cannot be built: several rows have the same {columns}, which is to be unique. All rows are there."
        )
    return f"{name} cannot be built: {sqlstates.describe(error)[1]} All rows are there."
