"""One run per target table: advisory locks, and which session holds what when one is refused.

Advisory locks belong to a session and vanish with it, so a run whose engine died holds nothing. They are kept on a
connection of their own. Key: `LOCK_CLASS` and a hash of the table's name, so equal whichever version or host asks.

Every session of a run bears the run's id in its application name. So a run that wants a table sees that another is alive whose
session with the tables was ended, and a worker sees that the tables are held for its own run.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Iterable, Sequence

import asyncpg

from engine.errors import TargetHeld
from engine.ledger.schema import LOCK_CLASS, ledger_exists
from engine.mapping.names import TableName
from engine.postgres import sessions
from engine.postgres.blockers import quoted, since
from engine.postgres.lock_room import lock_table
from engine.postgres.sqlstates import one_line

SHARE_OF_LOCKS = 0.25
"""Of the room in the server's lock table: a run with more tables than this holds their schemas."""
DYING_S = 2.0
"""Sessions of a run whose engine has just ended are gone within this."""


async def hold_tables(connection: asyncpg.Connection, tables: Iterable[TableName], run_id: str = "") -> None:
    """Take the tables for one run, all or none, until `release_tables` or the end of the session.

    Each table has a lock of its own. Tables whose locks would fill much of the server's lock table are held by one lock on
    each of their schemas; a run that takes the one kind looks for the other afterwards, so of two runs one at least sees the
    other.

    Args:
        run_id: of the run, or of the engine that will have one.

    Raises:
        TargetHeld: another session has one of them, or an unfinished run of them is alive; the message says which run, which
            session, and since when.
    """
    wanted = sorted(tables, key=str)
    deadline = time.monotonic() + DYING_S
    while alive := await _alive(connection, wanted, run_id):
        if time.monotonic() > deadline:
            raise TargetHeld(_of_run(f"Table {alive[0]}", alive[1]))
        await asyncio.sleep(0.1)
    room = await lock_table(connection)
    are_many = len(wanted) > room.free * SHARE_OF_LOCKS
    schemas = {table.schema: table for table in reversed(wanted)}
    keys = (
        {_schema_key(schema): table for schema, table in schemas.items()} if are_many else {_key(t): t for t in wanted}
    )
    not_had = await connection.fetchval(_TAKE, LOCK_CLASS, _as_text(keys))
    refused = None if not_had is None else (not_had, keys[not_had])
    others = {_key(t): t for t in wanted} if are_many else {_schema_key(schema): t for schema, t in schemas.items()}
    refused = refused or await _held_by_another(connection, others)
    if refused is not None:
        key, table = refused
        what = f"Schema {one_line(table.schema)}" if key == _schema_key(table.schema) else f"Table {table}"
        message = await _holder(connection, table, key, what, run_id)
        await release_tables(connection, wanted)
        raise TargetHeld(message)
    if alive := await _alive(connection, wanted, run_id):  # it came between, and will take them again
        await release_tables(connection, wanted)
        raise TargetHeld(_of_run(f"Table {alive[0]}", alive[1]))


async def held_tables(connection: asyncpg.Connection, tables: Iterable[TableName]) -> dict[TableName, str]:
    """Those of the tables that another run holds, each with the sentence that `hold_tables` would refuse it with.

    Nothing is taken, so nothing is promised: a run may come or go at any time.
    """
    found: dict[TableName, str] = {}
    left = sorted(tables, key=str)
    while left and (alive := await _alive(connection, left, "")):
        table, run = alive
        found[table] = _of_run(f"Table {table}", run)
        left.remove(table)
    keys = {_key(table): table for table in left}
    while keys and (held := await _held_by_another(connection, keys)):
        key, table = held
        found[table] = await _holder(connection, table, key, f"Table {table}", "")
        del keys[key]
    schemas = {_schema_key(table.schema): table for table in left if table not in found}
    while schemas and (held := await _held_by_another(connection, schemas)):
        key, one = held
        message = await _holder(connection, one, key, f"Schema {one_line(one.schema)}", "")
        found |= {table: message for table in left if table.schema == one.schema and table not in found}
        del schemas[key]
    return found


async def is_held_for(connection: asyncpg.Connection, table: TableName, run_id: str) -> bool:
    """A session of the run holds the table, or its schema."""
    keys = [_object(_key(table)), _object(_schema_key(table.schema))]
    found = await connection.fetchval(_IS_HELD_FOR, LOCK_CLASS, keys, sessions.name_of(run_id))
    return bool(found)


async def _held_by_another(connection: asyncpg.Connection, keys: dict[int, TableName]) -> tuple[int, TableName] | None:
    """One of the keys that another session has a lock of, with its table."""
    by_object = {_object(key): key for key in keys}
    found = await connection.fetchval(
        "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND objid = ANY($2::oid[])"
        " AND granted AND objsubid = 2 AND classid = $1::bigint::oid AND pid <> pg_backend_pid()"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1",
        LOCK_CLASS,
        list(by_object),
    )
    return None if found is None else (by_object[found], keys[by_object[found]])


async def release_tables(connection: asyncpg.Connection, tables: Iterable[TableName]) -> None:
    """Release the tables of the session."""
    wanted = list(tables)
    keys = [*(_key(table) for table in wanted), *(_schema_key(schema) for schema in {table.schema for table in wanted})]
    await connection.execute(
        "SELECT pg_advisory_unlock($1::integer, objid::bigint::bit(32)::integer) FROM pg_locks"
        " WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted AND objsubid = 2"
        " AND classid = $1::bigint::oid AND objid = ANY($2::oid[])",
        LOCK_CLASS,
        [_object(key) for key in keys],
    )


def _as_text(keys: Iterable[int]) -> list[str]:
    """For an array that the driver knows: for most others it first reads the catalogue, in each session anew."""
    return [str(key) for key in keys]


_TAKE = """
SELECT key FROM (
    SELECT u.key, pg_try_advisory_lock($1::integer, u.key) AS is_had FROM unnest($2::text[]::integer[]) u (key) OFFSET 0
) tried WHERE NOT is_had LIMIT 1
"""
"""Tries to lock them up to the first that it does not get, which is what it returns."""
_IS_HELD_FOR = """
SELECT EXISTS (
    SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.objid = ANY($2::oid[]) AND l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = $1::bigint::oid
      AND a.application_name = $3
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
"""
_IS_ALIVE = """
SELECT EXISTS (SELECT FROM pg_stat_activity
               WHERE application_name = $1 AND datname = current_database() AND pid <> pg_backend_pid())
"""
_HOLDER = """
SELECT a.pid, a.usename, a.application_name, a.backend_start, host(a.client_addr) AS client
FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = $1::bigint::oid
  AND l.objid = ($2::bigint & 4294967295)::oid
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def _key(table: TableName) -> int:
    """The second lock key, a signed 32-bit hash of both names."""
    return zlib.crc32(f"{table.schema}\0{table.table}".encode()) - 2**31


def _object(key: int) -> int:
    """A lock key as pg_locks shows it."""
    return key % 2**32


def _schema_key(schema: str) -> int:
    """That of a schema; no table has an empty name."""
    return _key(TableName(schema, ""))


async def _alive(
    connection: asyncpg.Connection, tables: Sequence[TableName], run_id: str
) -> tuple[TableName, asyncpg.Record] | None:
    """One of the tables with another run of the ledger that is not finished and has sessions; None without one."""
    if not await ledger_exists(connection):
        return None
    for run in await _unfinished(connection, tables):
        if run["run_id"] != run_id and await connection.fetchval(_IS_ALIVE, sessions.name_of(run["run_id"])):
            return TableName(run["schema_name"], run["table_name"]), run
    return None


async def _unfinished(connection: asyncpg.Connection, tables: Sequence[TableName]) -> list[asyncpg.Record]:
    """Runs of the ledger that write to one of the tables and have no end yet, the one heard last first."""
    found: list[asyncpg.Record] = await connection.fetch(
        """
        SELECT DISTINCT ON (r.heartbeat_at, r.run_id) r.run_id, r.engine_host, r.engine_pid, t.schema_name, t.table_name,
               coalesce(r.taken_at, r.started_at) AS taken_at,
               extract(epoch FROM clock_timestamp() - r.heartbeat_at)::int AS silent_s
        FROM mongopg.run r JOIN mongopg.table_load t USING (run_id)
        JOIN unnest($1::text[], $2::text[]) AS wanted (schema_name, table_name) USING (schema_name, table_name)
        WHERE r.ended_at IS NULL
        ORDER BY r.heartbeat_at DESC, r.run_id
        """,
        [table.schema for table in tables],
        [table.table for table in tables],
    )
    return found


def _of_run(what: str, run: asyncpg.Record) -> str:
    return (
        f"{what} is held by run {run['run_id']}{since(run['taken_at'])} (engine {run['engine_pid']} on "
        f"{quoted(run['engine_host'])}, last heard {max(run['silent_s'], 0)} s ago): attach to it, or wait until it ends."
    )


async def _holder(connection: asyncpg.Connection, table: TableName, key: int, what: str, own_run_id: str) -> str:
    """The holder of a table, or of its schema, told by the run in its session's name; never the run that asks.

    Args:
        key: of the lock that was refused.
        what: was refused, as text.
    """
    session = await connection.fetchrow(_HOLDER, LOCK_CLASS, key)
    name = (session["application_name"] if session is not None else "") or ""
    if await ledger_exists(connection):
        runs = await _unfinished(connection, [table])
        for run in runs:
            if name == sessions.name_of(run["run_id"]):
                return _of_run(what, run)
        others = [run for run in runs if run["run_id"] != own_run_id]
        if others and not name.startswith(sessions.name_of("")):  # it bears no run's name, so not another run's
            return _of_run(what, others[0])
    if session is not None:
        return (
            f"{what} is held by another run: session {session['pid']} of {quoted(session['usename'])} from "
            f"{session['client'] or 'this machine'}{since(session['backend_start'])}; wait for its end."
        )
    return f"{what} was held by another run a moment ago: try again."
