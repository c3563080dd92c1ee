"""One run per target table: advisory locks, and who holds what when one is refused.

Advisory locks belong to a session and vanish with it, so a run whose engine died holds nothing. They are kept on a
connection of their own. Key: `LOCK_CLASS` and a hash of the table's name, so equal whichever version or host asks.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from datetime import datetime

import asyncpg

from engine.errors import TargetHeld
from engine.target.ddl import TableName
from engine.target.schema import LOCK_CLASS, ledger_exists
from engine.target.sqlstates import one_line


async def hold_tables(connection: asyncpg.Connection, tables: Iterable[TableName]) -> None:
    """Take the tables for one run, all or none, until `release_tables` or the end of the session.

    Raises:
        TargetHeld: another session has one of them; the message says which run, who, and since when.
    """
    held: list[TableName] = []
    for table in sorted(tables, key=str):
        if await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", LOCK_CLASS, _key(table)):
            held.append(table)
            continue
        message = await _holder(connection, table)
        await release_tables(connection, held)
        raise TargetHeld(message)


async def release_tables(connection: asyncpg.Connection, tables: Iterable[TableName]) -> None:
    """Let the tables go."""
    for table in tables:
        await connection.execute("SELECT pg_advisory_unlock($1, $2)", LOCK_CLASS, _key(table))


async def blockers(connection: asyncpg.Connection, table: TableName) -> str:
    """Who holds a lock on the table that keeps COPY waiting, in words; empty when nobody does (any more)."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT a.pid, a.usename, a.application_name, a.xact_start, l.mode
        FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
        WHERE l.locktype = 'relation' AND l.granted AND l.relation = to_regclass($1)::oid
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
        """,
        table.sql,
    )
    return "; ".join(
        f"session {row['pid']} of {_quoted(row['usename'])} ({_quoted(row['application_name'])}) "
        f"holds a {row['mode']}{_since(row['xact_start'])}"
        for row in rows
    )


def _key(table: TableName) -> int:
    """The second lock key, a signed 32-bit hash of both names."""
    return zlib.crc32(f"{table.schema}\0{table.table}".encode()) - 2**31


async def _holder(connection: asyncpg.Connection, table: TableName) -> str:
    session = await connection.fetchrow(
        """
        SELECT a.pid, a.usename, a.application_name, a.backend_start, host(a.client_addr) AS client
        FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = $1::bigint::oid
          AND l.objid = ($2::bigint & 4294967295)::oid
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        """,
        LOCK_CLASS,
        _key(table),
    )
    run = None
    if await ledger_exists(connection):
        run = await connection.fetchrow(
            """
            SELECT r.run_id, r.engine_host, r.engine_pid, coalesce(r.taken_at, r.started_at) AS taken_at,
                   extract(epoch FROM clock_timestamp() - r.heartbeat_at)::int AS silent_s
            FROM mongopg.run r JOIN mongopg.table_load t USING (run_id)
            WHERE t.schema_name = $1 AND t.table_name = $2 AND r.ended_at IS NULL
            ORDER BY r.heartbeat_at DESC LIMIT 1
            """,
            table.schema,
            table.table,
        )
    if run is not None:
        return (
            f"Table {table} is held by run {run['run_id']}{_since(run['taken_at'])} (engine {run['engine_pid']} on "
            f"{_quoted(run['engine_host'])}, last heard {max(run['silent_s'], 0)} s ago): attach to it, or wait until it ends."
        )
    if session is not None:
        return (
            f"Table {table} is held by another run: session {session['pid']} of {_quoted(session['usename'])} from "
            f"{session['client'] or 'this machine'}{_since(session['backend_start'])}; wait for its end."
        )
    return f"Table {table} was held by another run a moment ago: try again."


def _quoted(name: str | None) -> str:
    return one_line(name, 80) if name else "unknown"


def _since(moment: datetime | None) -> str:
    return f" since {moment:%Y-%m-%d %H:%M:%S} UTC" if moment else ""
