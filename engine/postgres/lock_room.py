"""The server's table of locks: how many it has room for, and how many a run takes at once.

A transaction that locks more than there is room for fails with 53200, "out of shared memory", whatever memory the machine has.
So tables are made in groups, a run of very many tables holds their schemas instead of each of them, and a swap that cannot be
one transaction is refused before anything is loaded.
https://www.postgresql.org/docs/current/runtime-config-locks.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from engine.errors import UsageError
from engine.plurals import counted
from engine.postgres.queries import one_row

LOCKS_OF_NEW = 8
"""Of a table that is made: itself, its TOAST and key, and some for one that is made like another."""
LOCKS_OF_DROP = 16
"""Of a staging table that is dropped, with its constraints and types."""
LOCKS_OF_EXCHANGE = 14
"""Of the staging table whose rows go into another, and of what is kept for a moment."""
LOCKS_OF_RENAME = 3
"""Of a staging table that takes a name, with its key."""
LOCKS_OF_LOOKS = 40
"""Of the catalogue's tables and the ledger's, that every swap looks into."""
TABLES_AT_ONCE = 100
"""Made in one transaction at most."""

_ROOM = """
    SELECT current_setting('max_locks_per_transaction')::bigint AS per_transaction,
           current_setting('max_locks_per_transaction')::bigint * (
               current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint
               + coalesce(current_setting('autovacuum_worker_slots', true),
                          current_setting('autovacuum_max_workers'))::bigint
               + current_setting('max_worker_processes')::bigint + current_setting('max_wal_senders')::bigint + 1
           ) AS capacity,
           (SELECT count(*) FROM (SELECT DISTINCT locktype, database, relation, page, tuple, virtualxid, transactionid::text,
                                         classid, objid, objsubid FROM pg_locks WHERE NOT fastpath) held) AS in_use
"""
"""NLOCKENTS of lock.c: the setting times every process that may hold locks; the server has a little more than that."""
_SIZE = """
    WITH family AS (SELECT $1::oid AS oid UNION SELECT relid::oid FROM pg_partition_tree($1::oid::regclass)),
    tables AS (SELECT c.* FROM pg_class c WHERE c.oid IN (SELECT f.oid FROM family f))
    SELECT (SELECT sum(CASE WHEN t.reltoastrelid = 0 THEN 1 ELSE 3 END) FROM tables t)
         + (SELECT count(*) FROM pg_index i WHERE i.indrelid IN (SELECT f.oid FROM family f))
         + (SELECT count(*) FROM pg_constraint c WHERE c.conrelid IN (SELECT f.oid FROM family f))
         + (SELECT count(*) FROM pg_attrdef d WHERE d.adrelid IN (SELECT f.oid FROM family f))
         + (SELECT count(*) FROM pg_trigger t WHERE t.tgrelid IN (SELECT f.oid FROM family f))
         + 2
"""
"""What TRUNCATE or DROP of a table locks: it, its TOAST, indexes, constraints, defaults, triggers, types."""


@dataclass(frozen=True, slots=True)
class LockTable:
    """Room for locks, of all sessions together."""

    per_transaction: int
    """The setting `max_locks_per_transaction`."""
    capacity: int
    in_use: int

    @property
    def free(self) -> int:
        """Room that is left now."""
        return max(0, self.capacity - self.in_use)

    def tables_at_once(self, locks_of_each: int = LOCKS_OF_NEW) -> int:
        """How many tables one transaction may make or drop, with half of the room left to others."""
        return max(1, min(TABLES_AT_ONCE, self.free // 2 // locks_of_each))


async def lock_table(connection: asyncpg.Connection) -> LockTable:
    """The server's table of locks as it is now."""
    return LockTable(**dict((await one_row(connection, _ROOM)).items()))


async def locks_of_swap(connection: asyncpg.Connection, old: int | None, *, exchanged: bool, n_indexes: int = 0) -> int:
    """How many locks the swap takes for one table.

    Args:
        old: OID of the table that is there.
        exchanged: its contents are exchanged.
        n_indexes: that the run makes.
    """
    if old is None:
        return LOCKS_OF_RENAME + n_indexes
    size = int(await connection.fetchval(_SIZE, old))
    return size + (LOCKS_OF_EXCHANGE if exchanged else LOCKS_OF_RENAME + n_indexes)


async def require_room(connection: asyncpg.Connection, locks: Sequence[int]) -> None:
    """Raise UsageError where a swap that takes so many locks, a number for each table, cannot be one transaction."""
    needed = sum(locks) + LOCKS_OF_LOOKS
    room = await lock_table(connection)
    if needed <= room.free:
        return
    processes = max(1, room.capacity // room.per_transaction)
    least = -(-(needed + room.in_use) // processes)
    raise UsageError(
        f"Replacing {counted(len(locks), 'table')} in one transaction takes about {needed:,} locks, and the target's lock "
        f"table has room for {room.free:,} more (max_locks_per_transaction = {room.per_transaction}, {room.capacity:,} in "
        f"all): set max_locks_per_transaction to {least + least // 10 + 1} or more and restart the server, or replace fewer "
        "tables in one run.",
        code="locks",
    )
