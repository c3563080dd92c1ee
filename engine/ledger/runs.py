"""Runs in the ledger: made, found, kept alive, ended, discarded; with their tables and events.

No secret is ever stored: source and target are host, database and user (`engine.postgres.connect.Address`).
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import asyncpg

from engine.errors import MigrationError, PlanChanged, TargetExists, UsageError
from engine.ledger import earlier_runs, follow, taking
from engine.ledger.altered import Altered, read_altered, sum_sql
from engine.mapping.names import TableName
from engine.postgres.blockers import naming_blockers
from engine.postgres.ddl import drop_table
from engine.postgres.lock_room import LOCKS_OF_DROP, lock_table
from engine.postgres.sqlstates import describe, may_pass, one_line
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
    host: str
    """Of its engine."""
    state: str = "starting"
    snapshot_time: int | None = None
    """The one time at which documents are read (`engine.mongo.snapshot`); None reads them as they are."""
    start_time: int | None = None
    """Taken before anything was read; None where the source cannot be followed."""
    oplog_from: int | None = None
    """When its oplog began; None where that is not known."""
    source_set: str = "{}"
    """The replica set, as JSON (`engine.mongo.causal.SourceSet`)."""
    cannot_follow: str = ""
    """Why its source cannot be followed."""
    age_s: float = 0.0
    """Seconds since it was accepted."""


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
    unended_s: float
    """Seconds of a time whose end was not written, until the last sign of life; they are not in `seconds`."""
    copied: int
    """Rows written while copying, in times whose end was written; `copying_s` is the seconds that this took."""
    copying_s: float
    retried_rows: int
    """Rows that retries of rejects have written since, of those in `n_written`: in no time that the run was driven."""
    compared: str
    """The level of the newest full verification, since which no row was added; empty without one."""
    verified_before_retry: bool
    """That was a comparison of every document, and a retry of rejects has added rows since."""
    start_time: int | None
    """As in `NewRun`; likewise the next three."""
    oplog_from: int | None
    source_set: str
    cannot_follow: str
    engine_host: str
    """Of the engine that drove it last."""
    write_block: bool
    """MongoDB was made to block all writes for its cut-over, and no engine has lifted that since."""
    follow_phase: str
    """As in `engine.ledger.follow.Followed`; empty for a run that does not follow its source."""

    @property
    def driven_s(self) -> float:
        """Seconds of all times that engines worked on it."""
        return self.seconds + self.unended_s

    @property
    def verification_level(self) -> str:
        """How it is known whether both sides are equal; empty when it is not."""
        return (self.compared or "counts") if self.verification in ("verified", "mismatch") else ""

    @property
    def is_resumable(self) -> bool:
        """There is something left to do."""
        return self.state != COMPLETED

    @property
    def blocks_writes(self) -> bool:
        """MongoDB may block all writes for a cut-over of it that is not done; one that is done leaves that to an operator."""
        return self.write_block and self.is_resumable


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
        UsageError: the role may not make them, or a key that is to be unique is not.
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
                # All at once: each answer would be waited for longer than its statement takes.
                if making_them := [statement for load in group for statement in load.statements]:
                    await connection.execute(";\n".join(making_them))
                if number == 0:
                    later = {load.task_id for each in groups[1:] for load in each}
                    await _write_loads(connection, run.run_id, loads, later)
                else:
                    await connection.execute(
                        "UPDATE mongopg.table_load l SET table_oid = to_regclass(made.name)::oid"
                        " FROM json_to_recordset($2::json) AS made (task_id integer, name text)"
                        " WHERE l.run_id = $1 AND l.task_id = made.task_id",
                        run.run_id,
                        json.dumps([{"task_id": load.task_id, "name": load.loads_into.sql} for load in group]),
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
        if isinstance(error, asyncpg.UniqueViolationError) and error.schema_name != "mongopg":  # rows that were there
            raise UsageError(
                f"Table {one_line(f'{error.schema_name}.{error.table_name}')} cannot be written to in mode upsert, which needs "
                f"a unique key: {one_line(error.detail or str(error)).rstrip('.')}. Remove all rows but one of each key, or "
                "use mode append.",
                code="table_closed",
            ) from error
        raise MigrationError(f"The target tables could not be made: {describe(error)[1]}") from error


async def _write_run(connection: asyncpg.Connection, run: NewRun) -> None:
    await connection.execute(
        "INSERT INTO mongopg.run"
        " (run_id, fingerprint, state, mode, source, target, plan, engine_host, engine_pid, snapshot_time, start_time,"
        " oplog_from, source_set, cannot_follow, started_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,"
        " $14, clock_timestamp() - make_interval(secs => $15))",
        run.run_id, run.fingerprint, run.state, run.mode, run.source, run.target, run.plan,
        run.host, os.getpid(), run.snapshot_time, run.start_time, run.oplog_from, run.source_set,
        run.cannot_follow, run.age_s,
    )  # fmt: skip


async def _write_loads(
    connection: asyncpg.Connection, run_id: str, loads: Sequence[TableLoad], not_yet: Collection[int]
) -> None:
    """Write a run's tables; those of the tasks `not_yet` are still to be made."""
    rows = [
        {
            "task_id": load.task_id,
            "namespace": load.namespace,
            "schema_name": load.target.schema,
            "table_name": load.target.table,
            "staging_table": load.staging.table if load.staging else None,
            "mapping": load.mapping,
            "total": load.total,
            "count_before": load.count_before,
            "made": load.made,
            "loads_into": "" if load.task_id in not_yet else load.loads_into.sql,
        }
        for load in loads
    ]
    await connection.execute(
        "INSERT INTO mongopg.table_load (run_id, task_id, namespace, schema_name, table_name, staging_table,"
        " mapping, total, count_before, made, table_oid)"
        " SELECT $1, task_id, namespace, schema_name, table_name, staging_table, mapping::jsonb, total, count_before, made,"
        " CASE WHEN loads_into = '' THEN 0 ELSE to_regclass(loads_into)::oid END"
        " FROM json_to_recordset($2::json) AS load (task_id integer, namespace text, schema_name text, table_name text,"
        " staging_table text, mapping text, total bigint, count_before bigint, made boolean, loads_into text)",
        run_id,
        json.dumps(rows),
    )


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
        rows = await connection.fetch(_runs(where="starts_with(r.run_id, $1)", limit=10), prefix)
        exact = [row for row in rows if row["run_id"] == prefix]
        if len(exact or rows) > 1:
            names = ", ".join(row["run_id"] for row in rows)
            raise UsageError(f"More than one run begins with {prefix!r}: {names}.")
        if not rows:
            raise UsageError(f"The ledger has no run that begins with {prefix!r}; `mongopg-tui runs` lists them.")
        return _record((exact or rows)[0])
    if fingerprint:
        begun = "NOT EXISTS (SELECT FROM mongopg.table_load l WHERE l.run_id = r.run_id AND l.table_oid = 0)"
        query = _runs(where=f"r.fingerprint = $1 AND {begun}", limit=1).replace(
            "ORDER BY", "ORDER BY r.state = 'completed',"
        )
        rows = await connection.fetch(query, fingerprint)
    else:
        rows = await connection.fetch(_runs(where="true", limit=1))
    return _record(rows[0]) if rows else None


async def list_runs(connection: asyncpg.Connection, limit: int = 1000) -> list[LedgerRun]:
    """Runs in the ledger, newest first."""
    return [_record(row) for row in await connection.fetch(_runs(where="true", limit=limit))]


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
    """The engine that drives the run by now (`taking.claim`) resumes it; hold its tables first."""
    await connection.execute(
        f"UPDATE mongopg.run r SET state = $2, ended_at = NULL, error = '', seconds = seconds + {_UNENDED},"  # noqa: S608
        " heartbeat_at = clock_timestamp(), taken_at = clock_timestamp() WHERE run_id = $1",
        run_id, state,
    )  # fmt: skip


async def move_snapshot(connection: asyncpg.Connection, run_id: str, at: int) -> bool:
    """Let the run read at another time; False, and nothing is changed, when it has committed something already."""
    status = await connection.execute(
        "UPDATE mongopg.run SET snapshot_time = $2 WHERE run_id = $1"
        " AND NOT EXISTS (SELECT FROM mongopg.slice WHERE run_id = $1)",
        run_id, at,
    )  # fmt: skip
    return bool(status == "UPDATE 1")


async def set_cannot_follow(connection: asyncpg.Connection, run_id: str, why: str) -> None:
    """Keep why the source of a run cannot be followed any more."""
    await connection.execute("UPDATE mongopg.run SET cannot_follow = $2 WHERE run_id = $1", run_id, why)


async def set_state(
    connection: asyncpg.Connection,
    run_id: str,
    generation: int,
    state: str,
    *,
    ended: bool = False,
    seconds: float | None = None,
    verification: str | None = None,
    error: str | None = None,
) -> None:
    """Write the run's state, durably; what is None stays as it is.

    Args:
        generation: of the engine that writes.
        seconds: added up over all times that the run was driven.
        error: one redacted sentence.

    Raises:
        RunTaken: another engine has taken it over.
    """
    async with connection.transaction():
        # Also everything that was committed asynchronously before is on disk once this commit is.
        await connection.execute("SET LOCAL synchronous_commit = on")
        status = await connection.execute(
            "UPDATE mongopg.run SET state = $2, ended_at = CASE WHEN $3 THEN clock_timestamp() ELSE ended_at END,"
            " seconds = seconds + coalesce($4::float8, 0), verification = coalesce($5, verification),"
            " error = coalesce($6, error), heartbeat_at = clock_timestamp()"
            " WHERE run_id = $1 AND generation = $7",
            run_id, state, ended, seconds, verification, error, generation,
        )  # fmt: skip
    if status == "UPDATE 0":
        await taking.require_generation(connection, run_id, generation)


async def set_verification(connection: asyncpg.Connection, run_id: str, verification: str) -> None:
    """Write what a later verification of a run found."""
    await connection.execute("UPDATE mongopg.run SET verification = $2 WHERE run_id = $1", run_id, verification)


async def heartbeat(connection: asyncpg.Connection, run_id: str, generation: int, state: str | None = None) -> None:
    """Say that the run's engine lives: for people, and for the message to another run that wants its tables.

    Args:
        generation: of the engine.
        state: that of the run now; None leaves it as it is.

    Raises:
        RunTaken: another engine has taken it over.
    """
    status = await connection.execute(
        "UPDATE mongopg.run SET heartbeat_at = clock_timestamp(), state = coalesce($3, state)"
        " WHERE run_id = $1 AND generation = $2",
        run_id, generation, state,
    )  # fmt: skip
    if status == "UPDATE 0":
        await taking.require_generation(connection, run_id, generation)


async def set_counts(
    connection: asyncpg.Connection, run_id: str, source: Mapping[int, int], target: Mapping[int, int]
) -> None:
    """Keep what was counted on both sides at the end, by task; where nothing was, it stays as it is."""
    rows = [
        {"task_id": task_id, "source": source.get(task_id), "target": target.get(task_id)}
        for task_id in source.keys() | target.keys()
    ]
    await connection.execute(
        "UPDATE mongopg.table_load l SET source_count = coalesce(c.source, source_count),"
        " target_count = coalesce(c.target, target_count)"
        " FROM json_to_recordset($2::json) AS c (task_id integer, source bigint, target bigint)"
        " WHERE l.run_id = $1 AND l.task_id = c.task_id",
        run_id,
        json.dumps(rows),
    )


_WRITES = (
    "(SELECT sum(s.n_tup_ins + s.n_tup_upd + s.n_tup_del)::bigint FROM pg_stat_all_tables s WHERE s.relid = l.table_oid"
    " OR s.relid IN (SELECT relid FROM pg_partition_tree(l.table_oid::regclass)))"
)


async def keep_writes(connection: asyncpg.Connection, run_id: str) -> None:
    """Keep how many rows PostgreSQL has counted as written in each table of a run, which is complete."""
    await connection.execute(
        f"UPDATE mongopg.table_load l SET writes_then = {_WRITES} WHERE run_id = $1"  # noqa: S608
        " AND EXISTS (SELECT FROM pg_class c WHERE c.oid = l.table_oid)",
        run_id,
    )


async def writes_since(connection: asyncpg.Connection, run_id: str) -> dict[int, int | None]:
    """Rows that were written in each table since the run was complete, by task; None where the statistics do not tell."""
    rows = await connection.fetch(
        f"SELECT task_id, CASE WHEN EXISTS (SELECT FROM pg_class c WHERE c.oid = l.table_oid) THEN {_WRITES} END"  # noqa: S608
        " - writes_then AS n FROM mongopg.table_load l WHERE run_id = $1",
        run_id,
    )
    # Less than before: the statistics began anew meanwhile.
    return {row["task_id"]: row["n"] if row["n"] is not None and row["n"] >= 0 else None for row in rows}


async def age_of_load(connection: asyncpg.Connection, run_id: str, task_id: int) -> int:
    """How many transactions ago the table of a run was written into the ledger, which is before any of its rows were."""
    sql = "SELECT age(xmin) FROM mongopg.table_load WHERE run_id = $1 AND task_id = $2"
    return int(await connection.fetchval(sql, run_id, task_id))


async def append_events(
    connection: asyncpg.Connection, run_id: str, events: Sequence[tuple[int, float, str, Mapping[str, Any]]]
) -> None:
    """Keep facts for history and replay, each (sequence number, seconds of the run, kind, facts); twice does no harm."""
    rows = [{"seq": seq, "at": at, "kind": kind, "facts": facts} for seq, at, kind, facts in events]
    await connection.execute(
        "INSERT INTO mongopg.event SELECT $1, seq, at, kind, facts"
        " FROM json_to_recordset($2::json) AS event (seq bigint, at float8, kind text, facts jsonb)"
        " ON CONFLICT DO NOTHING",
        run_id,
        json.dumps(rows),
    )


async def append_afterwards(connection: asyncpg.Connection, run_id: str, event: Event) -> None:
    """Keep a fact about a run that is over; it has the time of the run's last event."""
    await connection.execute(
        "INSERT INTO mongopg.event (run_id, seq, at, kind, facts) SELECT $1, coalesce(max(seq), -1) + 1,"
        " coalesce((array_agg(at ORDER BY seq DESC))[1], 0), $2, $3 FROM mongopg.event WHERE run_id = $1",
        run_id, event.kind, json.dumps(event.facts),
    )  # fmt: skip


async def kept_counts(connection: asyncpg.Connection, run_id: str) -> dict[int, tuple[int, int]]:
    """What was counted in source and target at the run's end, by task; rejects that were written since are in the target's."""
    rows = await connection.fetch(
        "SELECT task_id, source_count, target_count FROM mongopg.table_load"
        " WHERE run_id = $1 AND source_count IS NOT NULL AND target_count IS NOT NULL",
        run_id,
    )
    return {row["task_id"]: (row["source_count"], row["target_count"]) for row in rows}


async def count_events(connection: asyncpg.Connection, run_id: str) -> int:
    """How many facts are kept of a run."""
    return int(await connection.fetchval("SELECT count(*) FROM mongopg.event WHERE run_id = $1", run_id))


async def loads_with_rows(connection: asyncpg.Connection, run_id: str) -> list[tuple[TableLoad, int]]:
    """The run's tables, each with the rows that the run has written into it."""
    written = {
        row["task_id"]: int(row["written"])
        for row in await connection.fetch(
            "SELECT p.task_id, sum(s.n_written) AS written FROM mongopg.partition p"
            " JOIN mongopg.slice s USING (run_id, partition_id) WHERE p.run_id = $1 GROUP BY p.task_id",
            run_id,
        )
    }
    return [(load, written.get(load.task_id, 0)) for load in await table_loads(connection, run_id)]


async def next_event_seq(connection: asyncpg.Connection, run_id: str) -> int:
    """The sequence number behind the last event kept."""
    last = await connection.fetchval("SELECT max(seq) FROM mongopg.event WHERE run_id = $1", run_id)
    return 0 if last is None else int(last) + 1


async def stable_size(connection: asyncpg.Connection, run_id: str) -> int | None:
    """The cluster size that a run kept last, by its events; None where it never turned that itself."""
    found = await connection.fetchval(
        "SELECT facts ->> 'stable' FROM mongopg.event WHERE run_id = $1 AND kind = 'tuned' ORDER BY seq DESC LIMIT 1",
        run_id,
    )
    return None if found is None else int(found)


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
                    await follow.forget(connection, run_id)
                    await connection.execute("DELETE FROM mongopg.run WHERE run_id = $1", run_id)
    except asyncpg.DependentObjectsStillExistError as error:
        raise UsageError(f"A table of run {run_id} cannot be dropped: {describe(error)[1]}") from error
    return dropped


def _own_tables(load: TableLoad, *, drop_tables: bool) -> list[TableName]:
    """Names that the run gave to the table it made; after a swap it bears the target's."""
    names = [load.staging] if load.staging is not None else []
    return [*names, load.target] if drop_tables and load.made else names


_UNENDED = (
    "CASE WHEN r.ended_at IS NULL THEN"
    " greatest(0, extract(epoch FROM r.heartbeat_at - coalesce(r.taken_at, r.started_at))::float8) ELSE 0 END"
)
"""Of a run `r`: seconds of a time whose end was not written."""
_ALTERED = sum_sql("mongopg.slice s", "s.run_id = r.run_id", "a.run_id = r.run_id")
_RUNS = """
SELECT r.*, coalesce((SELECT f.write_block FROM mongopg.follow f WHERE f.run_id = r.run_id), false) AS write_block,
       coalesce((SELECT f.phase FROM mongopg.follow f WHERE f.run_id = r.run_id), '') AS follow_phase,
       t.namespaces, s.n_read, s.n_written, s.n_rejected, {altered} AS altered, {unended} AS unended_s,
       e.copied, e.copying_s, e.retried_rows,
       coalesce(CASE WHEN e.verified_seq > e.added_seq THEN e.level END, '') AS compared,
       coalesce(e.level = 'full' AND e.verified_seq < e.added_seq, false) AS verified_before_retry
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
CROSS JOIN LATERAL (
    SELECT coalesce(sum((facts ->> 'copied')::bigint), 0)::bigint AS copied,
           coalesce(sum((facts ->> 'copying_s')::float8), 0) AS copying_s,
           coalesce(sum((facts ->> 'written')::bigint + coalesce((facts ->> 'already_there')::bigint, 0))
               FILTER (WHERE kind = 'retried'), 0)::bigint AS retried_rows,
           max(seq) FILTER (WHERE kind = 'verified') AS verified_seq,
           coalesce(max(seq) FILTER (WHERE kind = 'retried' AND (facts ->> 'written')::bigint > 0), -1) AS added_seq,
           (array_agg(coalesce(facts ->> 'verification_level', 'full') ORDER BY seq DESC)
               FILTER (WHERE kind = 'verified'))[1] AS level
    FROM mongopg.event WHERE run_id = r.run_id AND kind IN ('finished', 'verified', 'retried')
) e
WHERE {where}
ORDER BY r.started_at DESC LIMIT {limit}
"""


def _runs(where: str, limit: int) -> str:
    """The query for the newest runs of which `where` holds."""
    return _RUNS.format(altered=_ALTERED, unended=_UNENDED, where=where, limit=limit)


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
        read_order=row["read_order"],
        member=row["member"],
        collection_file=row["collection_file"],
        last_record=row["last_record"],
        first_generation=row["first_generation"],
    )
