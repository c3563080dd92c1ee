"""Changed keys on their way into a table: a lane is applied by one transaction after the other, however many workers there are.

::

    BEGIN
      INSERT INTO mongopg.applied ...       the claim: batch n follows batch n - 1, and there is one n
      SELECT ... FROM mongopg.dirty         keys up to a generation
      (the source is read again, rows are written and deleted)
      DELETE FROM mongopg.dirty             those keys; what changed since has a newer generation, and stays
      INSERT INTO mongopg.changed           those keys, to be compared (`engine.ledger.changed`)
      UPDATE mongopg.dirty                  keys whose rows a constraint refuses for the sake of others stay, too: blocked
      UPDATE mongopg.applied                what became of them
    COMMIT

A worker that was taken for dead holds its claim until its transaction ends: the next one waits, and then reads the source anew.
So an older state of a document never comes behind a newer one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import asyncpg

from engine.ledger import changed
from engine.ledger.altered import merged_sql, stored_altered
from engine.ledger.changed import LaneKey
from engine.ledger.rejects import Rejected, extended_id, storable, stored_id
from engine.mongo.bounds import key_or_none
from engine.postgres.sqlstates import one_line

FENCE_S = 30.0
"""How long a fence waits for a batch that is being applied."""
ROLLED_UP_AT = 256
"""Batches of a lane that are kept, at most; the newest one has the sums of those that are gone."""
NONE_BLOCKED: Mapping[bytes, str] = MappingProxyType({})
NONE_ALTERED: Mapping[str, int] = MappingProxyType({})
_ROLL_UP = f"""
    WITH gone AS (
        DELETE FROM mongopg.applied WHERE run_id = $1 AND task_id = $2 AND lane = $3 AND batch_no < $4 RETURNING *
    ), sums AS (
        SELECT sum(n_upserted) AS u, sum(n_deleted) AS d, sum(n_rejected) AS r, sum(n_keys) AS k FROM gone
    )
    UPDATE mongopg.applied a SET n_upserted = n_upserted + u, n_deleted = n_deleted + d, n_rejected = n_rejected + r,
           n_keys = n_keys + k, altered = {merged_sql("SELECT altered FROM gone UNION ALL SELECT $5::jsonb")}
    FROM sums WHERE a.run_id = $1 AND a.task_id = $2 AND a.lane = $3 AND a.batch_no = $4 AND u IS NOT NULL
"""  # noqa: S608 - our own words


@dataclass(frozen=True, slots=True)
class DirtyKey:
    """A key that is to be read again."""

    hash: bytes
    key: bytes
    """`{"_id": value}` as BSON."""


class LaneTaken(Exception):
    """Another transaction committed this batch, or the one before it is lost: ask for the lane's position."""


async def next_batch(connection: asyncpg.Connection, lane: LaneKey) -> int:
    """The number of the next batch of a lane."""
    return int(
        await connection.fetchval(
            "SELECT coalesce(max(batch_no), -1) + 1 FROM mongopg.applied WHERE run_id = $1 AND task_id = $2 AND lane = $3",
            *lane.values,
        )
    )


async def claim(
    connection: asyncpg.Connection, lane: LaneKey, batch_no: int, worker: int, lock_timeout_s: float
) -> None:
    """Open the transaction of a batch; waits while another one has the same claim.

    Raises:
        LaneTaken: no transaction is open then.
    """
    await connection.execute(
        # What changed a key since it was read must be seen when it is removed, whatever the server's default is.
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET CONSTRAINTS ALL IMMEDIATE;"
        f" SET LOCAL lock_timeout = {round(lock_timeout_s * 1000)}"
    )
    try:
        claimed = await connection.execute(
            "INSERT INTO mongopg.applied (run_id, task_id, lane, batch_no, worker, backend_pid)"
            " SELECT $1::text, $2::integer, $3::integer, $4::bigint, $5, pg_backend_pid()"
            " WHERE $4 = 0 OR EXISTS (SELECT FROM mongopg.applied"
            " WHERE run_id = $1 AND task_id = $2 AND lane = $3 AND batch_no = $4 - 1)",
            *lane.values, batch_no, worker,
        )  # fmt: skip
    except asyncpg.UniqueViolationError:
        await connection.execute("ROLLBACK")
        raise LaneTaken from None
    if claimed == "INSERT 0 0":
        await connection.execute("ROLLBACK")
        raise LaneTaken


async def fence(connection: asyncpg.Connection, run_id: str, task_id: int, lanes: int) -> list[int]:
    """Wait for whatever is being applied to a table; the numbers of batches, by lane, behind which nothing is applied yet.

    Args:
        connection: not in a transaction.
    """
    numbers = []
    for number in range(lanes):
        lane = LaneKey(run_id, task_id, number)
        while True:
            batch_no = await next_batch(connection, lane)
            try:
                await claim(connection, lane, batch_no, 0, FENCE_S)
                break
            except LaneTaken:
                continue
        await settle(connection, lane, batch_no, -1, [], (0, 0, 0))
        numbers.append(batch_no)
    return numbers


async def claim_all(connection: asyncpg.Connection, run_id: str, task_id: int, behind: Sequence[int]) -> None:
    """Claim the next batch of every lane of a table, in the caller's transaction.

    Args:
        behind: from `fence`.

    Raises:
        LaneTaken: something was applied since; the transaction is of no use any more.
    """
    try:
        await connection.executemany(
            "INSERT INTO mongopg.applied (run_id, task_id, lane, batch_no, worker, backend_pid, committed_at)"
            " VALUES ($1, $2, $3, $4, 0, pg_backend_pid(), clock_timestamp())",
            [(run_id, task_id, lane, batch_no + 1) for lane, batch_no in enumerate(behind)],
        )
    except asyncpg.UniqueViolationError:
        raise LaneTaken from None


async def dirty_keys(
    connection: asyncpg.Connection,
    lane: LaneKey,
    upto: int,
    after: bytes,
    limit: int,
    most_bytes: int,
    *,
    with_blocked: bool = True,
) -> tuple[list[DirtyKey], bool]:
    """The next keys of a lane behind one, none newer than a generation; at least one where there are any; and whether there are
    more behind them.

    Args:
        with_blocked: those that are blocked, too.
    """
    rows = await connection.fetch(
        "SELECT key_hash, key FROM mongopg.dirty WHERE run_id = $1 AND task_id = $2 AND lane = $3 AND key_hash > $4"
        " AND gen <= $5 AND ($7 OR blocked = '') ORDER BY key_hash LIMIT $6",
        *lane.values, after, upto, limit, with_blocked,
    )  # fmt: skip
    found: list[DirtyKey] = []
    room = most_bytes
    for row in rows:
        room -= len(row["key"])
        if room < 0 and found:
            break
        found.append(DirtyKey(row["key_hash"], row["key"]))
    return found, len(found) < len(rows) or len(rows) == limit


async def settle(
    connection: asyncpg.Connection,
    lane: LaneKey,
    batch_no: int,
    upto: int,
    keys: Sequence[DirtyKey],
    counts: tuple[int, int, int],
    since: int = 0,
    at: int = 0,
    blocked: Mapping[bytes, str] = NONE_BLOCKED,
    altered: Mapping[str, int] = NONE_ALTERED,
) -> None:
    """Remove the keys that are applied, keep what became of them, and commit.

    Args:
        counts: rows written, rows deleted, documents rejected.
        since: a time that is not after the oldest of their changes.
        at: the documents were read as they were then, or later.
        blocked: hashes of keys that stay, each with the constraint for whose sake.
        altered: values that a policy changed in the rows, by policy.
    """
    for constraint in sorted(set(blocked.values())):
        await connection.execute(
            "UPDATE mongopg.dirty SET blocked = $5 WHERE run_id = $1 AND task_id = $2 AND lane = $3 AND key_hash = ANY($4)"
            " AND gen <= $6",
            *lane.values, [key for key, by in blocked.items() if by == constraint], constraint, upto,
        )  # fmt: skip
    await connection.execute(
        # By a look into the index for each, whatever statistics say: a join of thousands by loops takes minutes.
        "DELETE FROM mongopg.dirty WHERE run_id = $1 AND task_id = $2 AND lane = $3 AND key_hash = ANY($4) AND gen <= $5",
        *lane.values, [key.hash for key in keys if key.hash not in blocked], upto,
    )  # fmt: skip
    await connection.execute(
        "UPDATE mongopg.applied SET n_upserted = $5, n_deleted = $6, n_rejected = $7, n_keys = $8, altered = $9,"
        " committed_at = clock_timestamp() WHERE run_id = $1 AND task_id = $2 AND lane = $3 AND batch_no = $4",
        *lane.values, batch_no, *counts, len(keys) - len(blocked), stored_altered(altered),
    )  # fmt: skip
    if applied := [key.key for key in keys if key.hash not in blocked]:
        await changed.add(connection, lane, since, at, applied)
    if batch_no % ROLLED_UP_AT == 0:
        await connection.execute(_ROLL_UP, *lane.values, batch_no, stored_altered(altered))
    await connection.execute("COMMIT")


async def replace_rejects(
    connection: asyncpg.Connection,
    lane: LaneKey,
    collection: str,
    keys: Sequence[bytes],
    rejected: Sequence[Rejected],
) -> None:
    """The rejects of these keys are those given, and no others; those of the copy among them are rejects of it no longer."""
    sql = "SELECT EXISTS (SELECT FROM mongopg.reject WHERE run_id = $1 AND task_id = $2)"
    if await connection.fetchval(sql, lane.run_id, lane.task_id):
        await connection.execute(
            "DELETE FROM mongopg.reject WHERE run_id = $1 AND task_id = $2"
            " AND sha256(key) IN (SELECT sha256(k) FROM unnest($3::bytea[]) k) AND key = ANY($3)",
            lane.run_id, lane.task_id, list(keys),
        )  # fmt: skip
    if rejected:
        await connection.copy_records_to_table(
            "reject",
            schema_name="mongopg",
            columns=["run_id", "task_id", "key", "collection", "id", "field", "reason", "sqlstate", "detail", "raw"],
            records=[
                (
                    lane.run_id, lane.task_id, key_or_none(each.raw), collection, stored_id(extended_id(each.raw)),
                    storable(each.field), each.reason, each.sqlstate, one_line(each.detail), each.raw,
                )
                for each in rejected
            ],
        )  # fmt: skip
