"""Which session's lock keeps a statement of ours waiting, in words for people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Literal

import asyncpg

from engine.errors import MigrationError
from engine.failures import LOCK_NOT_AVAILABLE
from engine.mapping.cautions import listed
from engine.mapping.names import TableName
from engine.postgres.sqlstates import FAILURES, one_line

_AGAINST_COPY = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
LockMode = Literal[
    "AccessShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock", "AccessExclusiveLock"
]
_CONFLICTS: dict[LockMode, tuple[str, ...]] = {
    "AccessShareLock": ("AccessExclusiveLock",),
    "RowExclusiveLock": _AGAINST_COPY,
    "ShareUpdateExclusiveLock": ("ShareUpdateExclusiveLock", *_AGAINST_COPY),
    "ShareLock": ("RowExclusiveLock", "ShareUpdateExclusiveLock", *_AGAINST_COPY[1:]),
    "AccessExclusiveLock": (
        "AccessShareLock",
        "RowShareLock",
        "RowExclusiveLock",
        "ShareUpdateExclusiveLock",
        *_AGAINST_COPY,
    ),
}
"""Lock that a statement wants -> those that keep it waiting; `RowExclusiveLock` is COPY's.

https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES
"""
_BLOCKERS_SHOWN = 3


@asynccontextmanager
async def naming_blockers(
    connection: asyncpg.Connection, tables: Sequence[TableName], wanted: LockMode
) -> AsyncIterator[None]:
    """Within the block, a lock on one of the tables that does not come in time is an error that names its holder.

    Args:
        connection: in no transaction before and after the block.
        tables: that the lock is wanted on.
        wanted: the lock.

    Raises:
        MigrationError: of code 55P03; trying again may help.
    """
    try:
        yield
    except asyncpg.LockNotAvailableError as error:
        found = []
        for table in tables:
            try:
                words = await blockers(connection, table, wanted)
            except FAILURES:
                words = ""  # the sentence about the lock itself has to do
            if words:
                found.append(f"Table {table} is locked: {words}.")
        named = listed([str(table) for table in tables])
        message = " ".join(found) or f"A lock on {named} did not come in time."
        raise MigrationError(message, code=LOCK_NOT_AVAILABLE) from error


async def blockers(connection: asyncpg.Connection, table: TableName, wanted: LockMode = "RowExclusiveLock") -> str:
    """The sessions whose locks on the table keep another waiting, as text; empty when none does (any more).

    Args:
        connection: any.
        table: that the lock is wanted on.
        wanted: the lock; COPY's when it is not given.
    """
    rows = await connection.fetch(
        """
        SELECT DISTINCT l.pid, coalesce(a.usename, a.backend_type) AS usename, a.application_name, a.xact_start, l.mode
        FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
        WHERE l.locktype = 'relation' AND l.granted AND l.relation = to_regclass($1)::oid
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.mode = ANY($2) AND l.pid IS DISTINCT FROM pg_backend_pid()
        ORDER BY a.xact_start
        """,
        table.sql,
        list(_CONFLICTS[wanted]),
    )
    more = f"; and {len(rows) - _BLOCKERS_SHOWN} more" if len(rows) > _BLOCKERS_SHOWN else ""
    words = "; ".join(
        f"{_session(row)} holds a {row['mode']}{since(row['xact_start'])}" for row in rows[:_BLOCKERS_SHOWN]
    )
    return words + more


def _session(row: asyncpg.Record) -> str:
    if row["pid"] is None:
        return "a prepared transaction (pg_prepared_xacts)"
    return f"session {row['pid']} of {quoted(row['usename'])} ({quoted(row['application_name'])})"


def quoted(name: str | None) -> str:
    """A name of a role, host or application, for people; `unknown` where there is none."""
    return one_line(name, 80) if name else "unknown"


def since(moment: datetime | None) -> str:
    """` since` a moment, as UTC; empty without one."""
    return f" since {moment:%Y-%m-%d %H:%M:%S} UTC" if moment else ""
