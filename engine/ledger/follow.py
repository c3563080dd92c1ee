"""A source that is followed, in the ledger: how far its changes are read, and which keys changed and are still to be applied.

::

    BEGIN
      INSERT INTO mongopg.stream_slice ...                 the claim: slice n follows slice n - 1, and there is one n
      INSERT INTO mongopg.dirty ... ON CONFLICT UPDATE     the keys that changed, each once, with n as its generation
    COMMIT

So keys and the position behind them are committed together. A key stays until it was read again after the newest of its
generations (`engine.ledger.lanes`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg

from engine.ledger import halts
from engine.ledger.halts import Halt
from engine.mongo.by_key import key_hash, lane_of

ROLLED_UP_AT = 256
"""Slices of a stream that are kept, at most; the newest one has the sums of those that are gone."""
COPYING = "copying"
"""The phase of a run whose copy goes on."""
CLOSING = "closing"
"""The phase of a run that copies no more, and whose tables get their keys."""
COMPARING = "comparing"
"""The phase of a run whose tables are compared with the source first, since not all of its changes are known."""
DONE = "done"
"""The phase of a run that was cut over."""


@dataclass(frozen=True, slots=True)
class Followed:
    """A run that follows its source."""

    phase: str
    """`copying`, `comparing`, `closing`, `catching_up`, `following`, `draining`, `done`."""
    lanes: int
    """Into how many the keys of each collection are divided; the same as long as it is followed."""
    mark_time: int | None
    """The source's last write, of the cut-over in hand or of the one that was done."""
    seen_time: int
    """The newest time of which is known that the source's majority had a write then; 0 before there is any."""
    write_stop_s: float | None = None
    """Seconds from the mark to the end of the cut-over that was done."""
    write_block: bool = False
    """MongoDB blocks all writes for its cut-over, or did so when its engine ended."""


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """The newest slice of a stream."""

    slice_no: int
    token: bytes
    token_time: int


@dataclass(slots=True)
class StreamSlice:
    """What one transaction takes on."""

    slice_no: int
    token: bytes
    token_time: int
    events: dict[str, int] = field(default_factory=dict)
    """By kind; other kinds than those of documents are left out."""
    keys: dict[tuple[int, int], set[bytes]] = field(default_factory=dict)
    """By task and lane."""
    halts: dict[int, Halt] = field(default_factory=dict)
    """What became of collections, by task; `keys` of these came behind it."""

    @property
    def n_keys(self) -> int:
        """How many there are."""
        return sum(map(len, self.keys.values()))


class StreamTaken(Exception):
    """Another follower reads the stream, or the server came back without its last slices: go on behind what the ledger has."""


async def begin(connection: asyncpg.Connection, run_id: str, lanes: int, databases: Sequence[str], phase: str) -> None:
    """Follow the source of a run from its start time on; twice does no harm. In the caller's transaction."""
    await connection.execute(
        "INSERT INTO mongopg.follow (run_id, phase, lanes) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        run_id,
        phase,
        lanes,
    )
    await connection.executemany(
        "INSERT INTO mongopg.stream (run_id, stream_id, database) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        [(run_id, stream_id, database) for stream_id, database in enumerate(databases)],
    )


async def find(connection: asyncpg.Connection, run_id: str) -> Followed | None:
    """What is followed; None where the run does not follow its source."""
    row = await connection.fetchrow(
        "SELECT phase, lanes, mark_time, seen_time, write_stop_s, write_block FROM mongopg.follow WHERE run_id = $1",
        run_id,
    )
    return None if row is None else Followed(**dict(row.items()))


async def settled_phase(connection: asyncpg.Connection, run_id: str) -> str | None:
    """How far a run is with following; None where it does not follow.

    A transaction that changes it, such as one whose client has lost the connection behind its COMMIT, has the row locked: this
    waits until it is committed or gone, so that the answer stays true. In a transaction of its own.
    """
    found: str | None = await connection.fetchval(
        "SELECT phase FROM mongopg.follow WHERE run_id = $1 FOR UPDATE", run_id
    )
    return found


async def begin_anew(
    connection: asyncpg.Connection,
    run_id: str,
    start_time: int,
    oplog_from: int | None,
    source_set: str,
    phase: str = COMPARING,
    to_do: Sequence[Halt] = (),
) -> None:
    """Follow the source from another time on; everything is to be compared with it, whatever was known of its changes.

    Args:
        to_do: what is done about each collection, where that is not the same for all (`COMPARING`).
    """
    async with connection.transaction():
        await connection.execute("SET LOCAL synchronous_commit = on")
        await connection.execute(
            "UPDATE mongopg.run SET start_time = $2, oplog_from = $3, source_set = $4, cannot_follow = '' WHERE run_id = $1",
            run_id, start_time, oplog_from, source_set,
        )  # fmt: skip
        await connection.execute("DELETE FROM mongopg.stream_slice WHERE run_id = $1", run_id)
        await connection.execute("DELETE FROM mongopg.changed WHERE run_id = $1", run_id)
        # Their generations are those of slices that are gone, and all documents are looked at.
        await forget(connection, run_id)
        await halts.add(connection, run_id, to_do)
        await halts.done(connection, run_id, halts.ALL)
        await connection.execute(
            "UPDATE mongopg.follow SET phase = $2, mark_time = NULL, seen_time = 0 WHERE run_id = $1", run_id, phase
        )


async def set_phase(connection: asyncpg.Connection, run_id: str, phase: str, mark_time: int | None = None) -> None:
    """Keep how far it is, durably; of several marks of a cut-over the first one counts for how long writers stood still."""
    async with connection.transaction():
        await connection.execute("SET LOCAL synchronous_commit = on")
        await connection.execute(
            "UPDATE mongopg.follow SET phase = $2, mark_time = $3,"
            " marked_at = CASE WHEN $3::bigint IS NOT NULL THEN coalesce(marked_at, clock_timestamp()) END WHERE run_id = $1",
            run_id, phase, mark_time,
        )  # fmt: skip


async def set_write_block(connection: asyncpg.Connection, run_id: str, *, blocked: bool) -> None:
    """Keep, durably, that MongoDB blocks all writes for the run's cut-over: before that is so, and when it is over."""
    async with connection.transaction():
        await connection.execute("SET LOCAL synchronous_commit = on")
        await connection.execute("UPDATE mongopg.follow SET write_block = $2 WHERE run_id = $1", run_id, blocked)


async def finish(connection: asyncpg.Connection, run_id: str, mark_time: int) -> None:
    """The run is cut over; in the caller's transaction, which is durable then."""
    await connection.execute("SET LOCAL synchronous_commit = on")
    await connection.execute(
        "UPDATE mongopg.follow SET phase = $2, mark_time = $3,"
        " write_stop_s = extract(epoch FROM clock_timestamp() - coalesce(marked_at, clock_timestamp())) WHERE run_id = $1",
        run_id, DONE, mark_time,
    )  # fmt: skip


async def keep_seen(connection: asyncpg.Connection, run_id: str, at: int) -> None:
    """Keep that the source's majority had a write then."""
    await connection.execute("UPDATE mongopg.follow SET seen_time = $2 WHERE run_id = $1", run_id, at)


async def streams(connection: asyncpg.Connection, run_id: str) -> dict[str, int]:
    """Numbers of the streams, by database."""
    rows = await connection.fetch("SELECT stream_id, database FROM mongopg.stream WHERE run_id = $1", run_id)
    return {row["database"]: row["stream_id"] for row in rows}


async def position(connection: asyncpg.Connection, run_id: str, stream_id: int) -> StreamPosition | None:
    """Where a stream goes on; None at its beginning."""
    row = await connection.fetchrow(
        "SELECT slice_no, token, token_time FROM mongopg.stream_slice WHERE run_id = $1 AND stream_id = $2"
        " ORDER BY slice_no DESC LIMIT 1",
        run_id, stream_id,
    )  # fmt: skip
    return None if row is None else StreamPosition(**dict(row.items()))


async def add_slice(connection: asyncpg.Connection, run_id: str, stream_id: int, taken: StreamSlice) -> None:
    """Commit the keys that changed with the position behind them.

    Args:
        connection: not in a transaction.

    Raises:
        StreamTaken: it does not join what is committed; nothing is changed.
    """
    counts = [taken.events.get(kind, 0) for kind in ("insert", "update", "replace", "delete")]
    try:
        async with connection.transaction(isolation="read_committed"):
            claimed = await connection.execute(
                "INSERT INTO mongopg.stream_slice (run_id, stream_id, slice_no, token, token_time, n_insert, n_update,"
                " n_replace, n_delete, n_keys, backend_pid, committed_at)"
                " SELECT $1::text, $2::integer, $3::bigint, $4, $5, $6, $7, $8, $9, $10, pg_backend_pid(), clock_timestamp()"
                " WHERE $3 = 1 OR EXISTS (SELECT FROM mongopg.stream_slice"
                " WHERE run_id = $1 AND stream_id = $2 AND slice_no = $3 - 1)",
                run_id, stream_id, taken.slice_no, taken.token, taken.token_time, *counts, taken.n_keys,
            )  # fmt: skip
            if claimed == "INSERT 0 0":
                raise StreamTaken
            await halts.add(connection, run_id, taken.halts.values())
            for (task_id, lane), keys in sorted(taken.keys.items()):
                await add_dirty(connection, run_id, task_id, lane, keys, taken.slice_no)
            if taken.slice_no % ROLLED_UP_AT == 0:
                await _roll_up(connection, run_id, stream_id, taken.slice_no)
    except asyncpg.UniqueViolationError:
        raise StreamTaken from None


async def add_dirty(
    connection: asyncpg.Connection, run_id: str, task_id: int, lane: int, keys: set[bytes], generation: int
) -> None:
    """These keys are to be read again, in a transaction."""
    # In the order in which they are removed: two transactions meet on some of them.
    hashed = sorted((key_hash(key), key) for key in keys)
    await connection.execute(
        "INSERT INTO mongopg.dirty (run_id, task_id, lane, key_hash, key, gen)"
        " SELECT $1, $2, $3, k.hash, k.key, $6 FROM unnest($4::bytea[], $5::bytea[]) WITH ORDINALITY AS k (hash, key, n)"
        " ORDER BY k.n ON CONFLICT (run_id, task_id, lane, key_hash)"
        " DO UPDATE SET gen = greatest(mongopg.dirty.gen, excluded.gen), blocked = ''",
        run_id, task_id, lane, [each[0] for each in hashed], [each[1] for each in hashed], generation,
    )  # fmt: skip


async def add_rejects(
    connection: asyncpg.Connection, run_id: str, task_id: int, lanes: int, sqlstates: Collection[str] = ()
) -> None:
    """The documents of rejects of a table are to be read again, in a transaction.

    Args:
        sqlstates: those that PostgreSQL refused for one of these; empty takes all.
    """
    rows = await connection.fetch(
        "SELECT key FROM mongopg.reject WHERE run_id = $1 AND task_id = $2 AND key IS NOT NULL"
        " AND ($3::text[] = '{}' OR sqlstate = ANY($3))",
        run_id, task_id, list(sqlstates),
    )  # fmt: skip
    by_lane: dict[int, set[bytes]] = {}
    for row in rows:
        by_lane.setdefault(lane_of(row["key"], lanes), set()).add(row["key"])
    for lane, keys in sorted(by_lane.items()):
        await add_dirty(connection, run_id, task_id, lane, keys, 0)


async def _roll_up(connection: asyncpg.Connection, run_id: str, stream_id: int, newest: int) -> None:
    """The newest slice takes the sums of the others, which go: the next one needs no other before it."""
    await connection.execute(
        "WITH gone AS (DELETE FROM mongopg.stream_slice WHERE run_id = $1 AND stream_id = $2 AND slice_no < $3 RETURNING *),"
        " sums AS (SELECT sum(n_insert) AS i, sum(n_update) AS u, sum(n_replace) AS r, sum(n_delete) AS d, sum(n_keys) AS k"
        " FROM gone) UPDATE mongopg.stream_slice s SET n_insert = n_insert + i, n_update = n_update + u,"
        " n_replace = n_replace + r, n_delete = n_delete + d, n_keys = n_keys + k FROM sums"
        " WHERE s.run_id = $1 AND s.stream_id = $2 AND s.slice_no = $3 AND i IS NOT NULL",
        run_id, stream_id, newest,
    )  # fmt: skip


async def events(connection: asyncpg.Connection, run_id: str) -> dict[str, int]:
    """Events by kind, of all streams and slices."""
    row = await connection.fetchrow(
        "SELECT coalesce(sum(n_insert), 0)::bigint AS insert, coalesce(sum(n_update), 0)::bigint AS update,"
        " coalesce(sum(n_replace), 0)::bigint AS replace, coalesce(sum(n_delete), 0)::bigint AS delete"
        " FROM mongopg.stream_slice WHERE run_id = $1",
        run_id,
    )
    assert row is not None
    return dict(row.items())


async def applied_keys(connection: asyncpg.Connection, run_id: str) -> int:
    """Keys that were applied."""
    sql = "SELECT coalesce(sum(n_keys), 0)::bigint FROM mongopg.applied WHERE run_id = $1"
    return int(await connection.fetchval(sql, run_id))


async def waiting(connection: asyncpg.Connection, run_id: str) -> Mapping[tuple[int, int], int]:
    """Keys that are still to be applied, by task and lane."""
    rows = await connection.fetch(
        "SELECT task_id, lane, count(*) AS n FROM mongopg.dirty WHERE run_id = $1 GROUP BY task_id, lane", run_id
    )
    return {(row["task_id"], row["lane"]): row["n"] for row in rows}


@dataclass(frozen=True, slots=True)
class Blocked:
    """Keys of a lane that one constraint blocks."""

    task_id: int
    lane: int
    by: str
    """The constraint, or the unique index."""
    n_keys: int


async def blocked(connection: asyncpg.Connection, run_id: str) -> list[Blocked]:
    """Keys that wait until a constraint takes their rows."""
    rows = await connection.fetch(
        "SELECT task_id, lane, blocked AS by, count(*) AS n_keys FROM mongopg.dirty WHERE run_id = $1 AND blocked <> ''"
        " GROUP BY task_id, lane, blocked ORDER BY task_id, lane, blocked",
        run_id,
    )
    return [Blocked(**dict(row.items())) for row in rows]


async def keys_left(connection: asyncpg.Connection, run_id: str) -> tuple[int, int]:
    """How many keys are left to be applied, and how many of them are blocked; what is gone is so on disk."""
    async with connection.transaction():
        await connection.execute("SET LOCAL synchronous_commit = on")
        await connection.execute("UPDATE mongopg.follow SET lanes = lanes WHERE run_id = $1", run_id)
        # What other sessions committed before is on disk once this is committed.
        found = await connection.fetchrow(
            "SELECT count(*) AS n, count(*) FILTER (WHERE blocked <> '') AS b FROM mongopg.dirty WHERE run_id = $1",
            run_id,
        )
    assert found is not None
    return found["n"], found["b"]


async def is_compared(connection: asyncpg.Connection, run_id: str) -> bool:
    """No key is left to be applied, nor to be compared."""
    return not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM mongopg.dirty WHERE run_id = $1)"
        " OR EXISTS (SELECT FROM mongopg.changed WHERE run_id = $1)",
        run_id,
    )


async def is_drained(connection: asyncpg.Connection, run_id: str, mark: int) -> bool:
    """Every change up to the mark is known and applied, as the ledger has it now."""
    left = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM mongopg.dirty WHERE run_id = $1) OR EXISTS (SELECT FROM mongopg.stream s"
        " WHERE s.run_id = $1 AND coalesce((SELECT max(x.token_time) FROM mongopg.stream_slice x"
        " WHERE x.run_id = $1 AND x.stream_id = s.stream_id), 0) < $2)",
        run_id, mark,
    )  # fmt: skip
    return not left


async def forget(connection: asyncpg.Connection, run_id: str) -> None:
    """Remove the keys of a run that is discarded, in its transaction."""
    await connection.execute("DELETE FROM mongopg.dirty WHERE run_id = $1", run_id)


async def kept_rejects(connection: asyncpg.Connection, run_id: str) -> dict[int, int]:
    """How many documents of each table are rejects, by task; those without any are left out."""
    rows = await connection.fetch(
        "SELECT task_id, count(*) AS n FROM mongopg.reject WHERE run_id = $1 GROUP BY task_id", run_id
    )
    return {row["task_id"]: row["n"] for row in rows}


async def settle_counts(
    connection: asyncpg.Connection, run_id: str, task_id: int, n_read: int, n_written: int, n_rejected: int
) -> None:
    """Let the slices of a table have these sums: a slice of its own makes up for all that changed since the copy.

    The others cannot be read again as they were: from here on none of them counts for what a complete copy needs.
    """
    async with connection.transaction():
        await connection.execute(
            "WITH sums AS (SELECT coalesce(sum(s.n_read), 0) AS r, coalesce(sum(s.n_written), 0) AS w,"
            " coalesce(sum(s.n_rejected), 0) AS x FROM mongopg.partition p JOIN mongopg.slice s USING (run_id, partition_id)"
            " WHERE p.run_id = $1 AND p.task_id = $2),"
            " made AS (INSERT INTO mongopg.partition (run_id, partition_id, task_id)"
            " SELECT $1, max(partition_id) + 1, $2 FROM mongopg.partition WHERE run_id = $1 RETURNING partition_id)"
            " INSERT INTO mongopg.slice (run_id, partition_id, slice_no, lower_inclusive, final, worker, backend_pid, n_read,"
            " n_written, n_rejected, committed_at)"
            " SELECT $1, partition_id, 0, true, true, 0, pg_backend_pid(), $3 - r, $4 - w, $5 - x, clock_timestamp()"
            " FROM sums, made",
            run_id, task_id, n_read, n_written, n_rejected,
        )  # fmt: skip
        await connection.execute(
            "UPDATE mongopg.table_load SET first_generation = 1 + (SELECT max(generation) FROM mongopg.partition"
            " WHERE run_id = $1 AND task_id = $2) WHERE run_id = $1 AND task_id = $2",
            run_id, task_id,
        )  # fmt: skip
