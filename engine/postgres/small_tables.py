"""The end of a load for several small tables at once: their keys and statistics in one transaction, their counts by one query.

For a table of a hundred rows each of these takes the server less time than to be asked for it and to wait for the disk. What
is in the way of one table undoes the whole group: then each goes by itself (`engine.postgres.finish`), which says what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from engine.mapping.names import TableName
from engine.postgres import ddl
from engine.postgres.names import taken_relations
from engine.rows import TableLoad

ROWS = 10_000
"""A table with more is no small one: its key and statistics are worth the question, and are best made beside others."""
AT_ONCE = 50
"""Tables of a group at most: their locks are held until all of them are through."""

_FOUND = """
SELECT c.oid, n.nspname, c.relname,
       EXISTS (
           SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
           WHERE i.indrelid = c.oid AND a.attname = w.key_column AND i.indnkeyatts = 1
             AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
       ) AS has_key
FROM unnest($1::oid[], $2::text[]) AS w (oid, key_column)
JOIN pg_class c ON c.oid = w.oid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'
"""


@dataclass(frozen=True, slots=True)
class SmallTable:
    """One that the run has made."""

    load: TableLoad
    key_column: str
    """Becomes the primary key; empty for a table that gets none."""
    key_name: str
    """What the key is to be called once the table has its name; empty is what PostgreSQL would call it."""


async def finish_together(connection: asyncpg.Connection, small: Sequence[SmallTable]) -> dict[int, int] | None:
    """Give the tables their keys, analyze and count them: the rows of each by task. None where one needs a look of its own.

    Args:
        connection: not in a transaction; its `lock_timeout` bounds the wait for others.
        small: tables that the run has made.

    Raises:
        asyncpg.PostgresError, OSError: no table has got a key or statistics.
    """
    rows = await connection.fetch(_FOUND, [each.load.table_oid for each in small], [each.key_column for each in small])
    found = {row["oid"]: row for row in rows}
    if any(each.load.table_oid not in found for each in small):
        return None  # it was dropped
    names: dict[int, TableName] = {}
    keys: dict[TableName, str] = {}
    for each in small:
        row = found[each.load.table_oid]
        name = names[each.load.task_id] = TableName(row["nspname"], row["relname"])
        if each.key_column and not row["has_key"]:
            key = each.key_name if each.key_name and name == each.load.target else ddl.key_name(name)
            keys[TableName(name.schema, key)] = ddl.add_primary_key(name, each.key_column, key)
    for schema in {key.schema for key in keys}:
        if await taken_relations(connection, schema, [key.table for key in keys if key.schema == schema]):
            return None  # since it was chosen
    statements = [*keys.values(), f"ANALYZE {', '.join(name.sql for name in names.values())}"]
    async with connection.transaction():
        await connection.execute("; ".join(statements))
    counts = " UNION ALL ".join(
        f"SELECT {task_id} AS task_id, count(*) AS n FROM ONLY {name.sql}"  # noqa: S608 - quoted names
        for task_id, name in names.items()
    )
    return {row["task_id"]: row["n"] for row in await connection.fetch(counts)}
