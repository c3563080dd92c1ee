"""What earlier runs have written: the mappings of a table, and the tables of a source.

A table is known by its OID, whatever it is called now. Of a run that was discarded the ledger keeps the mappings of tables
that have rows of it (`mongopg.former_load`): they say which columns are ours.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

import asyncpg
from pydantic import ValidationError

from engine.ledger.schema import ledger_exists
from engine.mapping.model import EarlierMapping, Mapping
from engine.mapping.names import TableName
from engine.postgres.names import KnownNames, blocked_names

_MAPPINGS = """
    SELECT l.run_id, l.namespace, l.mapping, l.made, false AS by_name,
           coalesce(r.taken_at, r.started_at) AS began_at, 2147483647 AS nth
    FROM mongopg.table_load l JOIN mongopg.run r USING (run_id) WHERE l.table_oid = to_regclass($1)
    UNION ALL
    SELECT l.run_id, l.namespace, t.mapping, false, false, coalesce(r.taken_at, r.started_at), t.retry_no
    FROM mongopg.retry t JOIN mongopg.table_load l USING (run_id, task_id) JOIN mongopg.run r USING (run_id)
    WHERE l.table_oid = to_regclass($1)
    UNION ALL
    SELECT run_id, namespace, mapping, false, false, began_at, -load_no
    FROM mongopg.former_load WHERE table_oid = to_regclass($1)
    ORDER BY began_at DESC, run_id, nth DESC
"""
"""Of runs that are in the ledger, where rejects that were written again may have had other columns; and of those that were
discarded."""
_MAPPINGS_BY_NAME = """
    SELECT l.run_id, l.namespace, l.mapping, false AS made, true AS by_name,
           (SELECT array_agg(attname::text) FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0
            AND NOT attisdropped) AS columns
    FROM mongopg.table_load l JOIN mongopg.run r USING (run_id)
    WHERE l.schema_name = $2 AND l.table_name = $3 AND r.state = 'completed' AND to_regclass($1) IS NOT NULL
          AND NOT EXISTS (SELECT FROM pg_class WHERE oid = l.table_oid AND relkind IN ('r', 'p'))
    ORDER BY coalesce(r.taken_at, r.started_at) DESC, run_id
"""
"""Of tables that are gone and had the name, as before a dump was restored."""
_REMEMBER = """
    INSERT INTO mongopg.former_load (run_id, load_no, table_oid, namespace, mapping, began_at)
    SELECT l.run_id, row_number() OVER (ORDER BY l.task_id, m.nth) - 1, l.table_oid, l.namespace, m.mapping,
           coalesce(r.taken_at, r.started_at)
    FROM mongopg.table_load l JOIN mongopg.run r USING (run_id)
    CROSS JOIN LATERAL (
        SELECT l.mapping, -1 AS nth
        UNION ALL
        SELECT t.mapping, t.retry_no FROM mongopg.retry t WHERE t.run_id = l.run_id AND t.task_id = l.task_id
    ) m
    WHERE l.run_id = $1 AND EXISTS (SELECT FROM pg_class WHERE oid = l.table_oid) AND EXISTS (
        SELECT FROM mongopg.partition p JOIN mongopg.slice s USING (run_id, partition_id)
        WHERE p.run_id = l.run_id AND p.task_id = l.task_id AND s.n_written > 0
    )
    ON CONFLICT DO NOTHING
"""


async def mappings_of(connection: asyncpg.Connection, table: TableName) -> tuple[EarlierMapping, ...]:
    """The mappings of all runs that wrote into the table, the newest run first; none where nothing was ever written by us.

    A table that no run wrote into, yet has every column of one that is gone and had its name, is taken for it: a dump that was
    restored, or a table that was made anew.
    """
    if not await connection.fetchval("SELECT to_regclass('mongopg.former_load') IS NOT NULL"):
        return ()
    found = _readable(await connection.fetch(_MAPPINGS, table.sql))
    if found:
        return found
    return _readable(
        [
            row
            for row in await connection.fetch(_MAPPINGS_BY_NAME, table.sql, table.schema, table.table)
            if {each["name"] for each in json.loads(row["mapping"])["columns"]} <= {*row["columns"]}
        ]
    )


def _readable(rows: Iterable[asyncpg.Record]) -> tuple[EarlierMapping, ...]:
    found = []
    for row in rows:
        try:
            mapping = Mapping.model_validate_json(row["mapping"])
        except ValidationError:
            continue  # of another version of this program: the columns are found by their names
        found.append(EarlierMapping(row["run_id"], row["namespace"], mapping, row["made"], row["by_name"]))
    return tuple(found)


async def known_names(connection: asyncpg.Connection, source: str, schemas: Collection[str]) -> KnownNames:
    """What the target says about names: those that are blocked, and the tables of earlier runs from the same source.

    Args:
        source: hosts of the source, as the ledger keeps them.
        schemas: where tables may be made whose names are ours to choose.
    """
    earlier: dict[str, tuple[TableName, ...]] = {}
    if await ledger_exists(connection):
        rows = await connection.fetch(
            "SELECT t.namespace, t.schema_name, t.table_name FROM mongopg.table_load t JOIN mongopg.run r USING (run_id)"
            " WHERE r.source = $1 AND t.schema_name = ANY($2) AND (r.state <> 'completed' OR EXISTS ("
            "   SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            "   WHERE n.nspname = t.schema_name AND c.relname = t.table_name AND c.relkind IN ('r', 'p')))"
            " GROUP BY 1, 2, 3 ORDER BY max(r.started_at) DESC",
            source,
            list(schemas),
        )
        for namespace, schema, table in rows:
            earlier[namespace] = (*earlier.get(namespace, ()), TableName(schema, table))
    return KnownNames(earlier, await blocked_names(connection, schemas))


async def remember(connection: asyncpg.Connection, run_id: str) -> None:
    """Keep the mappings of a run that is about to leave the ledger, of tables that keep its rows."""
    await connection.execute(
        "DELETE FROM mongopg.former_load WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = table_oid)"
    )
    await connection.execute(_REMEMBER, run_id)
