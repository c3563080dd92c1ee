"""What later runs did to the tables of a run that is over: replaced, or dropped by another session.

A table is known by its OID. One that was replaced by a rename, or dropped and made anew, has another; one whose contents were
exchanged has the run that did so in the ledger, with the same OID.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import asyncpg

from engine.protocol import ReplacedTables

MOST_RUNS = 3
"""Runs that are named, those with the most tables first."""
_REPLACED = """
    WITH loads AS (
        SELECT l.run_id, l.task_id, l.schema_name, l.table_name, l.table_oid, l.made,
               l.staging_table IS NOT NULL AND NOT l.made AS exchanged, coalesce(r.taken_at, r.started_at) AS began_at
        FROM mongopg.table_load l JOIN mongopg.run r USING (run_id) WHERE l.table_oid <> 0
    ), makers AS MATERIALIZED (
        SELECT DISTINCT ON (table_oid) table_oid, run_id, exchanged, began_at FROM (
            SELECT table_oid, run_id, made, exchanged, began_at FROM loads WHERE made OR exchanged
            UNION ALL
            SELECT table_oid, run_id, false, false, began_at FROM mongopg.former_load
        ) wrote
        WHERE table_oid IN (SELECT oid FROM pg_class)
        ORDER BY table_oid, exchanged DESC, made DESC, began_at DESC
    ), named AS MATERIALIZED (
        SELECT n.nspname::text AS schema_name, c.relname::text AS table_name, c.oid
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')
    ), looked AS (
        SELECT l.run_id, l.task_id, l.schema_name || '.' || l.table_name AS name,
               coalesce(x.run_id, m.run_id, '') AS replaced_by, c.oid IS NULL OR x.run_id IS NOT NULL AS is_lost
        FROM loads l
        LEFT JOIN pg_class c ON c.oid = l.table_oid
        LEFT JOIN makers x ON x.table_oid = c.oid AND x.exchanged AND x.began_at > l.began_at
        LEFT JOIN named n ON c.oid IS NULL AND n.schema_name = l.schema_name AND n.table_name = l.table_name
        LEFT JOIN makers m ON m.table_oid = n.oid
        WHERE $1 IN ('', l.run_id)
    )
    SELECT run_id, replaced_by, count(*) FILTER (WHERE is_lost) AS n_lost, count(*) AS n,
           CASE WHEN $1 <> '' THEN array_agg(name ORDER BY task_id) FILTER (WHERE is_lost) END AS names
    FROM looked GROUP BY run_id, replaced_by
"""
"""`makers` has the run that wrote the whole contents of a table that is there; of runs that were deleted the ledger knows no
more than that they wrote to it. A row for each run and each one that replaced tables of it."""


async def replaced_tables(connection: asyncpg.Connection, run_id: str = "") -> dict[str, ReplacedTables]:
    """Runs of whose tables some are not any more what they wrote, by id; a single query, however many there are.

    Args:
        run_id: look at this one alone, and name its tables.
    """
    rows: dict[str, list[asyncpg.Record]] = {}
    for row in await connection.fetch(_REPLACED, run_id):
        rows.setdefault(row["run_id"], []).append(row)
    return {each: _summary(found) for each, found in rows.items() if any(row["n_lost"] for row in found)}


def _summary(rows: Sequence[asyncpg.Record]) -> ReplacedTables:
    by = Counter({row["replaced_by"]: row["n_lost"] for row in rows})
    dropped = by.pop("", 0)
    return ReplacedTables(
        of=sum(row["n"] for row in rows),
        replaced=by.total(),
        dropped=dropped,
        by=[run_id for run_id, _ in by.most_common(MOST_RUNS)],
        n_by=len(by),
        tables={name: row["replaced_by"] for row in rows for name in row["names"] or ()},
    )
