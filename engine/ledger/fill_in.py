"""What a run reads again when its table has its key: the end of natural order, or all by `_id` where record ids are lost.

A document that has a row, or is a reject of the run, counts once: a slice of a fill-in counts the others only. Where it takes
something back, such as a reject that is a row now, its sums are negative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from engine.ledger.partitions import Partition, add_partitions
from engine.mapping.names import TableName, quote_identifier
from engine.mongo.natural import Numbering


@dataclass(frozen=True, slots=True)
class EarlierReject:
    """A reject of the run, kept by another slice."""

    place: tuple[int, int, int]
    """Partition, slice and number."""
    id: str
    reason: str
    raw: bytes


async def set_numberings(connection: asyncpg.Connection, run_id: str, numberings: Mapping[int, Numbering]) -> None:
    """Write which tables are read in natural order, and whose record ids their bounds have; by task."""
    await connection.executemany(
        "UPDATE mongopg.table_load SET read_order = 'natural', member = $3, collection_file = $4, last_record = $5"
        " WHERE run_id = $1 AND task_id = $2",
        [(run_id, task_id, each.member, each.file, each.top) for task_id, each in numberings.items()],
    )


async def begin(
    connection: asyncpg.Connection, run_id: str, parts: Sequence[Partition], *, first_generation: int | None = None
) -> None:
    """Add partitions of a later generation, all or none; twice does no harm.

    Args:
        first_generation: earlier ones do not count any more; None leaves that as it is.
    """
    async with connection.transaction():
        there = await connection.fetchval(
            "SELECT count(*) FROM mongopg.partition WHERE run_id = $1 AND partition_id = ANY($2)",
            run_id, [part.partition_id for part in parts],
        )  # fmt: skip
        if there == len(parts):
            return
        if first_generation is not None:
            await connection.execute(
                "UPDATE mongopg.table_load SET first_generation = $3 WHERE run_id = $1 AND task_id = $2",
                run_id, parts[0].task_id, first_generation,
            )  # fmt: skip
        await add_partitions(connection, run_id, parts)


async def generations(connection: asyncpg.Connection, run_id: str) -> dict[int, int]:
    """The highest generation of each task's partitions."""
    rows = await connection.fetch(
        "SELECT task_id, max(generation) AS generation FROM mongopg.partition WHERE run_id = $1 GROUP BY task_id",
        run_id,
    )
    return {row["task_id"]: row["generation"] for row in rows}


async def next_partition_id(connection: asyncpg.Connection, run_id: str) -> int:
    """A number that no partition of the run has."""
    sql = "SELECT coalesce(max(partition_id), -1) + 1 FROM mongopg.partition WHERE run_id = $1"
    return int(await connection.fetchval(sql, run_id))


async def bounds_of(connection: asyncpg.Connection, run_id: str, task_id: int) -> list[bytes]:
    """Every bound of a task that is read in natural order, of partitions and of slices."""
    rows = await connection.fetch(
        "SELECT lower AS bound FROM mongopg.partition WHERE run_id = $1 AND task_id = $2 AND lower IS NOT NULL"
        " UNION SELECT s.upto FROM mongopg.slice s JOIN mongopg.partition p USING (run_id, partition_id)"
        " WHERE p.run_id = $1 AND p.task_id = $2 AND s.upto IS NOT NULL",
        run_id, task_id,
    )  # fmt: skip
    return [row["bound"] for row in rows]


async def remove_doubles(
    connection: asyncpg.Connection, run_id: str, task_id: int, partition_id: int, table: TableName, key: str
) -> int:
    """Delete all rows of keys that come twice, so that the key can be built; everything has to be read again by `_id`.

    Returns how many were deleted. They are taken out of the run's counts by a partition of its own.
    """
    column = quote_identifier(key)
    async with connection.transaction():
        if await connection.fetchval(
            "SELECT EXISTS (SELECT FROM mongopg.slice WHERE run_id = $1 AND partition_id = $2)", run_id, partition_id
        ):
            return 0  # an earlier try was committed without an answer
        n_rows = await connection.fetchval(
            f"WITH twice AS (SELECT {column} AS key FROM {table.sql} GROUP BY 1 HAVING count(*) > 1),"  # noqa: S608
            f" gone AS (DELETE FROM {table.sql} t USING twice WHERE t.{column} = twice.key RETURNING 1)"
            " SELECT count(*) FROM gone"
        )
        await add_partitions(connection, run_id, [Partition(partition_id, task_id, None, None)])
        await connection.execute(
            "INSERT INTO mongopg.slice (run_id, partition_id, slice_no, lower_inclusive, final, worker, backend_pid,"
            " n_read, n_written, committed_at) VALUES ($1, $2, 0, true, true, 0, pg_backend_pid(), -$3::bigint,"
            " -$3::bigint, clock_timestamp())",
            run_id, partition_id, n_rows,
        )  # fmt: skip
        await connection.execute(
            "UPDATE mongopg.table_load SET first_generation = 1 + (SELECT max(generation) FROM mongopg.partition"
            " WHERE run_id = $1 AND task_id = $2) WHERE run_id = $1 AND task_id = $2",
            run_id, task_id,
        )  # fmt: skip
    return int(n_rows)


async def has_rejects(connection: asyncpg.Connection, run_id: str, namespace: str) -> bool:
    """The run keeps rejects of a collection."""
    sql = "SELECT EXISTS (SELECT FROM mongopg.reject WHERE run_id = $1 AND collection = $2)"
    return bool(await connection.fetchval(sql, run_id, namespace))


async def find_rejects(
    connection: asyncpg.Connection, run_id: str, namespace: str, ids: Sequence[str], raws: Sequence[bytes]
) -> list[EarlierReject]:
    """Rejects of a collection that may be of these documents.

    Args:
        ids: `_id`s of documents, as `engine.ledger.rejects.stored_id` spells them; of two long ones the same may be kept.
        raws: documents without a legible `_id`.
    """
    rows = await connection.fetch(
        "SELECT partition_id, slice_no, reject_no, id, reason, raw FROM mongopg.reject"
        " WHERE run_id = $1 AND collection = $2 AND (id = ANY($3) OR raw = ANY($4))",
        run_id, namespace, list(ids), list(raws),
    )  # fmt: skip
    return [
        EarlierReject((row["partition_id"], row["slice_no"], row["reject_no"]), row["id"], row["reason"], row["raw"])
        for row in rows
    ]


async def delete_rejects(connection: asyncpg.Connection, run_id: str, rejects: Sequence[EarlierReject]) -> None:
    """Delete rejects that the slice in hand has as rows, or as rejects of its own."""
    await connection.execute(
        "DELETE FROM mongopg.reject r USING unnest($2::integer[], $3::integer[], $4::integer[]) AS u (p, s, n)"
        " WHERE r.run_id = $1 AND r.partition_id = u.p AND r.slice_no = u.s AND r.reject_no = u.n",
        run_id, *(list(numbers) for numbers in zip(*(reject.place for reject in rejects), strict=True)),
    )  # fmt: skip
