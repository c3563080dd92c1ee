"""Runs in the ledger: made, found, kept alive, ended, discarded; with their tables and events.

No secret is ever stored: source and target are host, database and user (`engine.postgres.connect.Address`).
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import asyncpg

from engine.errors import MigrationError, PlanChanged, TargetExists, UsageError
from engine.ledger import earlier_runs
from engine.ledger.altered import Altered, read_altered, sum_sql
from engine.mapping.names import TableName
from engine.postgres.blockers import naming_blockers
from engine.postgres.ddl import drop_table
from engine.postgres.lock_room import LOCKS_OF_DROP, lock_table
from engine.postgres.sqlstates import describe, may_pass
from engine.protocol import Event
from engine.rows import TableLoad

COMPLETED = "completed"
"""The one state from which there is nothing to resume."""
DISCARD_LOCK_S = 10.0
"""How long dropping a table waits for sessions that use it; new readers wait behind it."""
_EVENTS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that is about to begin."""

    run_id: str
    fingerprint: str
    """Of the plan: what resume compares."""
    mode: str
    source: str
    """Host, database and user; never a password."""
    target: str
    plan: str
    """The plan as JSON."""
    state: str = "starting"
    snapshot_time: int | None = None
    """The one time at which documents are read (`engine.mongo.snapshot`); None reads them as they are."""


@dataclass(frozen=True, slots=True)
class LedgerRun:
    """A run as the ledger has it."""

    run_id: str
    fingerprint: str
    state: str
    mode: str
    source: str
    target: str
    plan: str
    verification: str
    error: str
    seconds: float
    started_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None
    snapshot_time: int | None
    namespaces: tuple[str, ...]
    n_read: int
    n_written: int
    n_rejected: int
    altered: Altered
    """Values that a policy changed in its rows, by policy."""

    @property
    def is_resumable(self) -> bool:
        """There is something left to do."""
        return self.state != COMPLETED


async def create_run_and_tables(
    connection: asyncpg.Connection,
    run: NewRun,
    loads: Sequence[TableLoad],
    statements: Sequence[str],
    *,
    tables_at_once: int = 0,
    at_end: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Write the run and make its tables, together or not at all.

    More tables than the server's lock table has room for are made in groups, a transaction each. The first writes the run; as
    long as a table of it has no OID in the ledger the run has not begun, and is cleared away rather than resumed.

    Args:
        connection: not in a transaction.
        run: its row.
        loads: its tables with their statements; each must exist when the statements are through.
        statements: executed before those of the tables, such as CREATE SCHEMA.
        tables_at_once: made in one transaction; 0 is all.
        at_end: called in the last transaction.

    Raises:
        TargetExists: a table that the statements make is there already.
        UsageError: the role may not make them.
        MigrationError: the server refuses a statement for another reason.
        asyncpg.PostgresError, OSError: the server or the connection is at fault; trying again may help.
    """
    making = [load for load in loads if load.statements]
    at_once = tables_at_once or len(loads)
    groups = [making[first : first + at_once] for first in range(0, len(making), at_once)] or [[]]
    try:
        for number, group in enumerate(groups):
            async with connection.transaction():
                if number == 0:
                    await _write_run(connection, run)
                    for statement in statements:
                        await connection.execute(statement)
                for load in group:
                    for statement in load.statements:
                        await connection.execute(statement)
                if number == 0:
                    later = {load.task_id for each in groups[1:] for load in each}
                    await _write_loads(connection, run.run_id, loads, later)
                else:
                    await connection.executemany(
                        "UPDATE mongopg.table_load SET table_oid = to_regclass($3)::oid WHERE run_id = $1 AND task_id = $2",
                        [(run.run_id, load.task_id, load.loads_into.sql) for load in group],
                    )
                if group is groups[-1] and at_end is not None:
                    await at_end()
    except asyncpg.DuplicateTableError as error:
        raise TargetExists(
            f"The target has it already: {describe(error)[1]} Choose another table, or mode append, replace or upsert."
        ) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise UsageError(f"The target's user may not make the tables: {describe(error)[1]}") from error
    except asyncpg.PostgresError as error:
        if may_pass(error):
            raise
        raise MigrationError(f"The target tables could not be made: {describe(error)[1]}") from error


async def _write_run(connection: asyncpg.Connection, run: NewRun) -> None:
    await connection.execute(
        "INSERT INTO mongopg.run"
        " (run_id, fingerprint, state, mode, source, target, plan, engine_host, engine_pid, snapshot_time)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        run.run_id, run.fingerprint, run.state, run.mode, run.source, run.target, run.plan,
        socket.gethostname(), os.getpid(), run.snapshot_time,
    )  # fmt: skip


async def _write_loads(
    connection: asyncpg.Connection, run_id: str, loads: Sequence[TableLoad], not_yet: Collection[int]
) -> None:
    """Write a run's tables; those of the tasks `not_yet` are still to be made."""
    await connection.executemany(
        "INSERT INTO mongopg.table_load (run_id, task_id, namespace, schema_name, table_name, staging_table,"
        " mapping, total, count_before, made, table_oid)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, CASE WHEN $12 THEN 0 ELSE to_regclass($11)::oid END)",
        [
            (
                run_id, load.task_id, load.namespace, load.target.schema, load.target.table,
                load.staging.table if load.staging else None, load.mapping, load.total, load.count_before,
                load.made, load.loads_into.sql, load.task_id in not_yet,
            )
            for load in loads
        ],
    )  # fmt: skip


async def clear_unbegun(connection: asyncpg.Connection, run_id: str, tables: Sequence[TableName]) -> None:
    """Clear away runs that ended while their tables were made: nothing was ever written to those.

    Args:
        connection: not in a transaction.
        run_id: the run that is about to begin; an earlier try of its own may be among them.
        tables: those that it holds. A run with another table, which a session may hold, is left alone.
    """
    rows = await connection.fetch(
        "SELECT run_id, array_agg(schema_name ORDER BY task_id) AS schemas, array_agg(table_name ORDER BY task_id) AS tables"
        " FROM mongopg.table_load GROUP BY run_id HAVING bool_or(table_oid = 0)"
    )
    held = set(tables)
    for row in rows:
        named = {TableName(*name) for name in zip(row["schemas"], row["tables"], strict=True)}
        if row["run_id"] == run_id or named <= held:
            await discard(connection, row["run_id"])


async def is_unbegun(connection: asyncpg.Connection, run_id: str) -> bool:
    """The run ended while its tables were made: there is nothing to resume."""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM mongopg.table_load WHERE run_id = $1 AND table_oid = 0)", run_id
        )
    )


async def has_run(connection: asyncpg.Connection, run_id: str) -> bool:
    """The run is in the ledger."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM mongopg.run WHERE run_id = $1)", run_id))


async def find_run(connection: asyncpg.Connection, *, prefix: str = "", fingerprint: str = "") -> LedgerRun | None:
    """A run by a unique prefix of its id, or the one to resume for a plan, or the newest.

    For a plan that is its newest unfinished run, otherwise its newest completed one. None when there is none.

    Raises:
        UsageError: no run, or more than one, has an id that begins with `prefix`.
    """
    if prefix:
        rows = await connection.fetch(
            _RUNS.format(altered=_ALTERED, where="starts_with(r.run_id, $1)", limit=10), prefix
        )
        exact = [row for row in rows if row["run_id"] == prefix]
        if len(exact or rows) > 1:
            names = ", ".join(row["run_id"] for row in rows)
            raise UsageError(f"More than one run begins with {prefix!r}: {names}.")
        if not rows:
            raise UsageError(f"The ledger has no run that begins with {prefix!r}; `mongopg-tui runs` lists them.")
        return _record((exact or rows)[0])
    if fingerprint:
        begun = "NOT EXISTS (SELECT FROM mongopg.table_load l WHERE l.run_id = r.run_id AND l.table_oid = 0)"
        query = _RUNS.format(altered=_ALTERED, where=f"r.fingerprint = $1 AND {begun}", limit=1).replace(
            "ORDER BY", "ORDER BY r.state = 'completed',"
        )
        rows = await connection.fetch(query, fingerprint)
    else:
        rows = await connection.fetch(_RUNS.format(altered=_ALTERED, where="true", limit=1))
    return _record(rows[0]) if rows else None


async def list_runs(connection: asyncpg.Connection, limit: int = 1000) -> list[LedgerRun]:
    """Runs in the ledger, newest first."""
    return [_record(row) for row in await connection.fetch(_RUNS.format(altered=_ALTERED, where="true", limit=limit))]


async def table_loads(connection: asyncpg.Connection, run_id: str) -> list[TableLoad]:
    """The run's tables, by task."""
    rows = await connection.fetch("SELECT * FROM mongopg.table_load WHERE run_id = $1 ORDER BY task_id", run_id)
    return [_load(row) for row in rows]


async def check_same_tables(connection: asyncpg.Connection, run_id: str) -> None:
    """Make sure that the run's tables are still those it wrote to.

    Raises:
        PlanChanged: a table was dropped, or another has taken its name.
    """
    for load in await table_loads(connection, run_id):
        found = await connection.fetchrow(
            "SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1",
            load.table_oid,
        )
        # After the swap of mode `replace` the staging table bears the target's name.
        if found is None or TableName(*found) not in (load.loads_into, load.target):
            raise PlanChanged(
                f"Table {load.loads_into} is no longer the one that run {run_id} wrote to: it cannot be resumed; "
                f"discard it with `mongopg-tui runs --discard {run_id}` and start anew."
            )


async def take_over(connection: asyncpg.Connection, run_id: str, state: str) -> None:
    """This process now drives the run (a resume); hold its tables first."""
    await connection.execute(
        "UPDATE mongopg.run SET state = $2, engine_host = $3, engine_pid = $4, ended_at = NULL, error = '',"
        " heartbeat_at = clock_timestamp(), taken_at = clock_timestamp() WHERE run_id = $1",
        run_id, state, socket.gethostname(), os.getpid(),
    )  # fmt: skip


async def move_snapshot(connection: asyncpg.Connection, run_id: str, at: int) -> bool:
    """Let the run read at another time; False, and nothing is changed, when it has committed something already."""
    status = await connection.execute(
        "UPDATE mongopg.run SET snapshot_time = $2 WHERE run_id = $1"
        " AND NOT EXISTS (SELECT FROM mongopg.slice WHERE run_id = $1)",
        run_id, at,
    )  # fmt: skip
    return bool(status == "UPDATE 1")


async def set_state(
    connection: asyncpg.Connection,
    run_id: str,
    state: str,
    *,
    ended: bool = False,
    seconds: float | None = None,
    verification: str | None = None,
    error: str | None = None,
) -> None:
    """Write the run's state, durably; what is None stays as it is. An engine that another one has followed writes nothing.

    Args:
        seconds: added up over all times that the run was driven.
        error: one redacted sentence.
    """
    async with connection.transaction():
        # Also everything that was committed asynchronously before is on disk once this commit is.
        await connection.execute("SET LOCAL synchronous_commit = on")
        await connection.execute(
            "UPDATE mongopg.run SET state = $2, ended_at = CASE WHEN $3 THEN clock_timestamp() ELSE ended_at END,"
            " seconds = seconds + coalesce($4::float8, 0), verification = coalesce($5, verification),"
            " error = coalesce($6, error), heartbeat_at = clock_timestamp()"
            " WHERE run_id = $1 AND engine_host = $7 AND engine_pid = $8",
            run_id, state, ended, seconds, verification, error, socket.gethostname(), os.getpid(),
        )  # fmt: skip


async def set_verification(connection: asyncpg.Connection, run_id: str, verification: str) -> None:
    """Write what a later verification of a run found."""
    await connection.execute("UPDATE mongopg.run SET verification = $2 WHERE run_id = $1", run_id, verification)


async def heartbeat(connection: asyncpg.Connection, run_id: str, state: str | None = None) -> None:
    """Say that the run's engine lives: for people, and for the message to another run that wants its tables.

    Args:
        state: that of the run now; None leaves it as it is.
    """
    await connection.execute(
        "UPDATE mongopg.run SET heartbeat_at = clock_timestamp(), state = coalesce($4, state)"
        " WHERE run_id = $1 AND engine_host = $2 AND engine_pid = $3",
        run_id, socket.gethostname(), os.getpid(), state,
    )  # fmt: skip


async def set_counts(
    connection: asyncpg.Connection, run_id: str, task_id: int, *, source_count: int | None, target_count: int | None
) -> None:
    """Keep what was counted on both sides at the end; None stays as it is."""
    await connection.execute(
        "UPDATE mongopg.table_load SET source_count = coalesce($3, source_count),"
        " target_count = coalesce($4, target_count) WHERE run_id = $1 AND task_id = $2",
        run_id, task_id, source_count, target_count,
    )  # fmt: skip


async def age_of_load(connection: asyncpg.Connection, run_id: str, task_id: int) -> int:
    """How many transactions ago the table of a run was written into the ledger, which is before any of its rows were."""
    sql = "SELECT age(xmin) FROM mongopg.table_load WHERE run_id = $1 AND task_id = $2"
    return int(await connection.fetchval(sql, run_id, task_id))


async def append_events(
    connection: asyncpg.Connection, run_id: str, events: Sequence[tuple[int, float, str, Mapping[str, Any]]]
) -> None:
    """Keep facts for history and replay, each (sequence number, seconds of the run, kind, facts); twice does no harm."""
    await connection.executemany(
        "INSERT INTO mongopg.event VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        [(run_id, seq, at, kind, json.dumps(facts)) for seq, at, kind, facts in events],
    )


async def append_afterwards(connection: asyncpg.Connection, run_id: str, event: Event) -> None:
    """Keep a fact about a run that is over; it has the time of the run's last event."""
    await connection.execute(
        "INSERT INTO mongopg.event (run_id, seq, at, kind, facts) SELECT $1, coalesce(max(seq), -1) + 1,"
        " coalesce((array_agg(at ORDER BY seq DESC))[1], 0), $2, $3 FROM mongopg.event WHERE run_id = $1",
        run_id, event.kind, json.dumps(event.facts),
    )  # fmt: skip


async def next_event_seq(connection: asyncpg.Connection, run_id: str) -> int:
    """The sequence number behind the last event kept."""
    last = await connection.fetchval("SELECT max(seq) FROM mongopg.event WHERE run_id = $1", run_id)
    return 0 if last is None else int(last) + 1


async def recorded_events(
    connection: asyncpg.Connection, run_id: str
) -> AsyncIterator[tuple[float, str, dict[str, Any], int | None]]:
    """The facts kept, in order: seconds of the run, kind, facts, and for a slice the worker that committed it."""
    async with connection.transaction(readonly=True):
        rows = connection.cursor(
            "SELECT e.at, e.kind, e.facts, s.worker FROM mongopg.event e LEFT JOIN mongopg.slice s"
            " ON e.kind = 'slice' AND s.run_id = e.run_id AND s.partition_id = (e.facts ->> 'partition')::integer"
            " AND s.slice_no = (e.facts ->> 'slice_no')::integer WHERE e.run_id = $1 ORDER BY e.seq",
            run_id,
            prefetch=_EVENTS_AT_ONCE,
        )
        async for row in rows:
            yield row["at"], row["kind"], json.loads(row["facts"]), row["worker"]


async def discard(
    connection: asyncpg.Connection, run_id: str, *, drop_tables: bool = False, lock_timeout_s: float = DISCARD_LOCK_S
) -> list[TableName]:
    """Drop a run's staging tables and all it has in the ledger; returns the tables dropped.

    Of tables that stay, the ledger goes on knowing which columns the run has written.

    Hold the run's tables first (`engine.ledger.table_locks`). Waits for the end of a forgotten worker's transaction, but
    for sessions that use a table that is to be dropped no longer than `lock_timeout_s`.

    Args:
        drop_tables: also drop the target tables that the run made itself. Others always stay.

    Raises:
        UsageError: something depends on such a table; nothing is changed then, unless there are so many that they are dropped
            in groups: those before are gone, and discarding again goes on.
        MigrationError: a session goes on using one, and is named; likewise.
    """
    dropped: list[TableName] = []
    loads = await table_loads(connection, run_id)
    is_unbegun = any(load.table_oid == 0 for load in loads)
    owned = [(load, table) for load in loads for table in _own_tables(load, drop_tables=drop_tables or is_unbegun)]
    wanted = [table for _, table in owned]
    at_once = (await lock_table(connection)).tables_at_once(LOCKS_OF_DROP)
    groups = [owned[first : first + at_once] for first in range(0, len(owned), at_once)] or [[]]
    try:
        for group in groups:
            async with naming_blockers(connection, wanted, "AccessExclusiveLock"), connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = {round(lock_timeout_s * 1000)}")
                for load, table in group:
                    oid = await connection.fetchval("SELECT to_regclass($1)::oid", table.sql)
                    if oid == load.table_oid:  # never drop another table that has taken the name
                        await connection.execute(drop_table(table))
                        dropped.append(table)
                if group is groups[-1]:
                    await connection.execute(
                        "SET LOCAL lock_timeout = 0"
                    )  # a forgotten worker's transaction ends by itself
                    await earlier_runs.remember(connection, run_id)
                    await connection.execute("DELETE FROM mongopg.run WHERE run_id = $1", run_id)
    except asyncpg.DependentObjectsStillExistError as error:
        raise UsageError(f"A table of run {run_id} cannot be dropped: {describe(error)[1]}") from error
    return dropped


def _own_tables(load: TableLoad, *, drop_tables: bool) -> list[TableName]:
    """Names that the run gave to the table it made; after a swap it bears the target's."""
    names = [load.staging] if load.staging is not None else []
    return [*names, load.target] if drop_tables and load.made else names


_ALTERED = sum_sql("mongopg.slice s", "s.run_id = r.run_id")
_RUNS = """
SELECT r.*, t.namespaces, s.n_read, s.n_written, s.n_rejected, {altered} AS altered
FROM mongopg.run r
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(namespace ORDER BY task_id), '{{}}') AS namespaces
    FROM mongopg.table_load WHERE run_id = r.run_id
) t
CROSS JOIN LATERAL (
    SELECT coalesce(sum(n_read), 0)::bigint AS n_read, coalesce(sum(n_written), 0)::bigint AS n_written,
           coalesce(sum(n_rejected), 0)::bigint AS n_rejected
    FROM mongopg.slice WHERE run_id = r.run_id
) s
WHERE {where}
ORDER BY r.started_at DESC LIMIT {limit}
"""


def _record(row: asyncpg.Record) -> LedgerRun:
    values = {each.name: row[each.name] for each in fields(LedgerRun)}
    values["namespaces"] = tuple(values["namespaces"])
    values["altered"] = read_altered(values["altered"])
    return LedgerRun(**values)


def _load(row: asyncpg.Record) -> TableLoad:
    target = TableName(row["schema_name"], row["table_name"])
    return TableLoad(
        task_id=row["task_id"],
        namespace=row["namespace"],
        target=target,
        mapping=row["mapping"],
        total=row["total"],
        count_before=row["count_before"],
        made=row["made"],
        staging=TableName(target.schema, row["staging_table"]) if row["staging_table"] else None,
        table_oid=row["table_oid"],
        target_count=row["target_count"],
    )
