"""Committed slices as what they cover, to be read again: their ranges, checksums and rejects."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from engine.ledger.partitions import CHECKSUM_MODULUS
from engine.postgres.queries import one_row


@dataclass(frozen=True, slots=True)
class Span:
    """What a committed slice read: from `lower` up to and including `last`, or to the partition's end."""

    slice_no: int
    lower: bytes | None
    """`{"_id": value}` as BSON; None is the collection's beginning."""
    lower_inclusive: bool
    last: bytes | None
    """The last `_id` it read; None for a partition's last slice, which reaches to the partition's end."""
    checksum: int | None
    """Sum mod 2**64 of the crc32 of each document's bytes; None where the run kept none."""
    n_read: int
    n_written: int
    n_rejected: int
    """Of those read, still kept as rejects."""


async def spans_of(connection: asyncpg.Connection, run_id: str, partition_id: int, first: int) -> list[Span]:
    """The slices of a partition from number `first` on, in order."""
    rows = await connection.fetch(
        "SELECT slice_no, lower, lower_inclusive, upto, final, checksum, n_read, n_written, n_rejected"
        " FROM mongopg.slice WHERE run_id = $1 AND partition_id = $2 AND slice_no >= $3 ORDER BY slice_no",
        run_id, partition_id, first,
    )  # fmt: skip
    return [
        Span(
            slice_no=row["slice_no"],
            lower=row["lower"],
            lower_inclusive=row["lower_inclusive"],
            last=None if row["final"] else row["upto"],
            checksum=None if row["checksum"] is None else row["checksum"] % CHECKSUM_MODULUS,
            n_read=row["n_read"],
            n_written=row["n_written"],
            n_rejected=row["n_rejected"],
        )
        for row in rows
    ]


async def rejected_ids(connection: asyncpg.Connection, run_id: str, partition_id: int, slice_no: int) -> set[str]:
    """`_id`s of the slice's rejects, as `engine.ledger.rejects.stored_id` spells them."""
    rows = await connection.fetch(
        "SELECT id FROM mongopg.reject WHERE run_id = $1 AND partition_id = $2 AND slice_no = $3",
        run_id, partition_id, slice_no,
    )  # fmt: skip
    return {row["id"] for row in rows}


async def rejected_ids_of(connection: asyncpg.Connection, run_id: str, namespace: str) -> set[str]:
    """The same of a whole collection."""
    sql = "SELECT DISTINCT id FROM mongopg.reject WHERE run_id = $1 AND collection = $2"
    return {row["id"] for row in await connection.fetch(sql, run_id, namespace)}


async def checksum_of(connection: asyncpg.Connection, run_id: str, task_id: int) -> int | None:
    """The sum mod 2**64 of all slices of a table; None where one of them kept none."""
    row = await one_row(
        connection,
        "SELECT coalesce(sum(s.checksum), 0) AS checksum, coalesce(bool_and(s.checksum IS NOT NULL), true) AS is_known"
        " FROM mongopg.partition p JOIN mongopg.slice s USING (run_id, partition_id) WHERE p.run_id = $1 AND p.task_id = $2",
        run_id,
        task_id,
    )
    return int(row["checksum"]) % CHECKSUM_MODULUS if row["is_known"] else None


async def counts_by_task(connection: asyncpg.Connection, run_id: str) -> dict[int, tuple[int, int]]:
    """Slices and documents read, by task."""
    rows = await connection.fetch(
        "SELECT p.task_id, count(*) AS slices, coalesce(sum(s.n_read), 0)::bigint AS documents"
        " FROM mongopg.partition p JOIN mongopg.slice s USING (run_id, partition_id)"
        " WHERE p.run_id = $1 GROUP BY p.task_id",
        run_id,
    )
    return {row["task_id"]: (row["slices"], row["documents"]) for row in rows}
