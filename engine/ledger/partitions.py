"""Partitions and slices in the ledger: what there is to do, what is done, and whether it joins without a gap.

A partition begins at its lower bound (or behind it, when not inclusive) and ends before its upper one; None stands for
the collection's beginning and end. In natural order a bound always belongs to the partition that ends with it. Slice 0 begins
where the partition does, slice n + 1 behind `upto`, the last `_id` of slice n. The last slice is `final`: the partition was
read to its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import asyncpg

from engine.errors import MigrationError
from engine.ledger.altered import Altered, read_altered, sum_sql

CHECKSUM_MODULUS = 2**64


@dataclass(frozen=True, slots=True)
class Partition:
    """A range of one collection. Bounds are `{"_id": value}` as BSON."""

    partition_id: int
    """Unique within the run; chosen by the engine."""
    task_id: int
    lower: bytes | None
    upper: bytes | None
    lower_inclusive: bool = True
    generation: int = 0
    """Above 0 it is read when the table has its key, for documents that have no row yet."""


@dataclass(frozen=True, slots=True)
class Position:
    """A partition, and where its next slice begins."""

    partition: Partition
    next_slice_no: int
    upto: bytes | None
    """Last `_id` of the last slice; None when nothing is committed (or nothing was read)."""
    finished: bool
    """Read to its end."""
    n_read: int
    """Documents in its committed slices."""

    @property
    def lower(self) -> bytes | None:
        """Where the next slice begins."""
        return self.partition.lower if self.upto is None else self.upto

    @property
    def lower_inclusive(self) -> bool:
        """The next slice includes `lower` itself."""
        return self.partition.lower_inclusive if self.upto is None else False


@dataclass(frozen=True, slots=True)
class TableTotals:
    """Committed slices of one table, summed."""

    task_id: int
    n_read: int
    n_written: int
    n_rejected: int
    n_bytes: int
    """BSON bytes read."""
    altered: Altered
    """Values that a policy changed in the rows, by policy."""
    reasons: Mapping[str, int]
    """Its rejects, by the code of their reason."""
    checksum: int
    """Sum mod 2**64 of the slices' checksums."""
    partitions: int
    partitions_done: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A place where the committed slices do not join."""

    task_id: int
    partition_id: int | None
    """None when it lies between partitions."""
    message: str


async def add_partitions(connection: asyncpg.Connection, run_id: str, partitions: Iterable[Partition]) -> None:
    """Write new partitions, all or none."""
    await connection.copy_records_to_table(
        "partition",
        schema_name="mongopg",
        columns=["run_id", "partition_id", "task_id", "lower", "lower_inclusive", "upper", "generation"],
        records=[
            (run_id, p.partition_id, p.task_id, p.lower, p.lower_inclusive, p.upper, p.generation) for p in partitions
        ],
    )


async def replace_partition(
    connection: asyncpg.Connection, run_id: str, partition_id: int, parts: Sequence[Partition]
) -> bool:
    """Cut a partition that was not begun: `parts` together are the same range; their generation is made that of the whole.
    False when it has a slice by now.

    Waits for the end of a transaction that is writing the partition's first slice. Where the same cut is there already, as
    after a COMMIT whose answer was lost, it is done.
    """
    async with connection.transaction():
        # The slices' foreign key holds the row while one is being written; locked, none can begin.
        whole = await connection.fetchrow(
            "SELECT * FROM mongopg.partition WHERE run_id = $1 AND partition_id = $2 FOR UPDATE", run_id, partition_id
        )
        if whole is None:
            there = await connection.fetchval(
                "SELECT count(*) FROM mongopg.partition WHERE run_id = $1 AND partition_id = ANY($2)",
                run_id, [part.partition_id for part in parts],
            )  # fmt: skip
            return bool(there == len(parts))
        if await connection.fetchval(
            "SELECT EXISTS (SELECT FROM mongopg.slice WHERE run_id = $1 AND partition_id = $2)", run_id, partition_id
        ):
            return False
        _check_joined(whole["lower"], whole["lower_inclusive"], whole["upper"], parts)
        await connection.execute(
            "DELETE FROM mongopg.partition WHERE run_id = $1 AND partition_id = $2", run_id, partition_id
        )
        await add_partitions(connection, run_id, [replace(part, generation=whole["generation"]) for part in parts])
    return True


async def positions(connection: asyncpg.Connection, run_id: str) -> list[Position]:
    """Every partition of a run that counts, with its position, by partition id."""
    counts = (
        "AND p.generation >= (SELECT t.first_generation FROM mongopg.table_load t"
        " WHERE t.run_id = p.run_id AND t.task_id = p.task_id)"
    )
    return [_position(row) for row in await connection.fetch(_POSITIONS.format(only=counts), run_id)]


async def position(connection: asyncpg.Connection, run_id: str, partition_id: int) -> Position:
    """One partition's position: after the death of the worker that held it.

    Raises:
        MigrationError: the run has no such partition.
    """
    row = await connection.fetchrow(_POSITIONS.format(only="AND p.partition_id = $2"), run_id, partition_id)
    if row is None:
        raise MigrationError(f"The ledger has no partition {partition_id} of run {run_id}: was the run discarded?")
    return _position(row)


async def totals(connection: asyncpg.Connection, run_id: str) -> dict[int, TableTotals]:
    """What is committed, by task; every task of the run is there."""
    reasons: dict[int, dict[str, int]] = {}
    for row in await connection.fetch(_REASONS, run_id):
        reasons.setdefault(row["task_id"], {})[row["reason"]] = row["n"]
    return {
        row["task_id"]: TableTotals(
            task_id=row["task_id"],
            n_read=row["n_read"],
            n_written=row["n_written"],
            n_rejected=row["n_rejected"],
            n_bytes=row["n_bytes"],
            altered=read_altered(row["altered"]),
            reasons=reasons.get(row["task_id"], {}),
            checksum=int(row["checksum"]) % CHECKSUM_MODULUS,
            partitions=row["partitions"],
            partitions_done=row["partitions_done"],
        )
        for row in await connection.fetch(_TOTALS, run_id)
    }


async def check_complete(
    connection: asyncpg.Connection, run_id: str, ends: Mapping[int, bytes] = MappingProxyType({})
) -> list[Gap]:
    """Where the slices, read back, do not join from each collection's beginning to its end; empty when all is there.

    Within a partition each slice must begin where the one before ended, and the last must be final. Between
    partitions every end must be one other's beginning, and only one may begin and one end with the collection.
    Call it after a durable commit (`ledger.set_state`), so that what it sees cannot be lost any more.

    Args:
        ends: task -> the upper bound that stands for its collection's end, where only the part before it is copied.
    """
    rows = [
        *await connection.fetch(_BROKEN_CHAINS, run_id),
        *await connection.fetch(_BROKEN_JOINTS, run_id, list(ends.keys()), list(ends.values())),
    ]
    return [Gap(row["task_id"], row["partition_id"], row["message"]) for row in rows]


_POSITIONS = """
SELECT p.partition_id, p.task_id, p.lower, p.lower_inclusive, p.upper, p.generation,
       last.slice_no, last.upto, coalesce(last.final, false) AS finished, done.n_read
FROM mongopg.partition p
LEFT JOIN LATERAL (
    SELECT slice_no, upto, final FROM mongopg.slice s
    WHERE s.run_id = p.run_id AND s.partition_id = p.partition_id ORDER BY slice_no DESC LIMIT 1
) last ON true
CROSS JOIN LATERAL (
    SELECT coalesce(sum(n_read), 0)::bigint AS n_read FROM mongopg.slice s
    WHERE s.run_id = p.run_id AND s.partition_id = p.partition_id
) done
WHERE p.run_id = $1 {only}
ORDER BY p.partition_id
"""

_ALTERED = sum_sql(
    "mongopg.partition p JOIN mongopg.slice s USING (run_id, partition_id)",
    "p.run_id = t.run_id AND p.task_id = t.task_id",
    "a.run_id = t.run_id AND a.task_id = t.task_id",
)

_TOTALS = f"""
SELECT t.task_id, {_ALTERED} AS altered,
       coalesce(sum(s.n_read), 0)::bigint AS n_read, coalesce(sum(s.n_written), 0)::bigint AS n_written,
       coalesce(sum(s.n_rejected), 0)::bigint AS n_rejected, coalesce(sum(s.bytes), 0)::bigint AS n_bytes,
       coalesce(sum(s.checksum), 0) AS checksum, count(DISTINCT p.partition_id) AS partitions,
       count(*) FILTER (WHERE s.final) AS partitions_done
FROM mongopg.table_load t
LEFT JOIN mongopg.partition p USING (run_id, task_id)
LEFT JOIN mongopg.slice s USING (run_id, partition_id)
WHERE t.run_id = $1
GROUP BY t.run_id, t.task_id
"""  # noqa: S608 - our own words

_REASONS = """
SELECT task_id, reason, count(*) AS n FROM mongopg.reject
WHERE run_id = $1 AND task_id IS NOT NULL GROUP BY task_id, reason ORDER BY task_id, n DESC, reason
"""

_BROKEN_CHAINS = """
WITH chain AS (
    SELECT p.task_id, p.partition_id, s.slice_no, s.lower, s.lower_inclusive, s.final,
           p.lower AS first_lower, p.lower_inclusive AS first_inclusive, s.committed_at,
           row_number() OVER slices - 1 AS nth,
           lag(s.upto) OVER slices AS before_upto, lag(s.final) OVER slices AS before_final,
           lead(s.slice_no) OVER slices IS NULL AS is_last
    FROM mongopg.partition p JOIN mongopg.table_load t ON t.run_id = p.run_id AND t.task_id = p.task_id
    LEFT JOIN mongopg.slice s ON s.run_id = p.run_id AND s.partition_id = p.partition_id
    WHERE p.run_id = $1 AND p.generation >= t.first_generation
    WINDOW slices AS (PARTITION BY p.partition_id ORDER BY s.slice_no)
), judged AS (
    SELECT task_id, partition_id, CASE
        WHEN slice_no IS NULL THEN 'nothing of it is committed'
        WHEN slice_no <> nth THEN format('slice %s is missing', nth)
        WHEN committed_at IS NULL THEN format('slice %s was claimed and not written', slice_no)
        WHEN before_final THEN format('slice %s comes after its end', slice_no)
        WHEN nth = 0 AND (lower IS DISTINCT FROM first_lower OR lower_inclusive <> first_inclusive)
            THEN 'slice 0 does not begin with the partition'
        WHEN nth > 0 AND (lower IS DISTINCT FROM before_upto OR lower_inclusive)
            THEN format('slice %s does not begin behind slice %s', slice_no, slice_no - 1)
        WHEN is_last AND NOT final THEN format('its end is missing behind slice %s', slice_no)
    END AS message
    FROM chain
)
SELECT task_id, partition_id, message FROM judged WHERE message IS NOT NULL ORDER BY partition_id
"""

# An edge is what a partition covers: from (begin, behind) up to stop. Of ranges that cover a collection once,
# every stop but the collection's end is exactly one other's begin.
_BROKEN_JOINTS = """
WITH edge AS (
    SELECT p.task_id, p.partition_id, p.lower AS begin, NOT p.lower_inclusive AS behind,
           nullif(p.upper, e.upper) AS stop
    FROM mongopg.partition p JOIN mongopg.table_load t ON t.run_id = p.run_id AND t.task_id = p.task_id
    LEFT JOIN unnest($2::integer[], $3::bytea[]) AS e (task_id, upper) ON e.task_id = p.task_id
    WHERE p.run_id = $1 AND p.generation >= t.first_generation
), point AS (
    SELECT task_id, begin AS at, behind, partition_id, 1 AS begins, 0 AS stops FROM edge WHERE begin IS NOT NULL
    UNION ALL
    SELECT task_id, stop, false, partition_id, 0, 1 FROM edge WHERE stop IS NOT NULL
)
SELECT task_id, min(partition_id) AS partition_id,
       format('ends of partitions at one of its bounds: %s, beginnings: %s', sum(stops), sum(begins)) AS message
FROM point GROUP BY task_id, at, behind HAVING sum(begins) <> 1 OR sum(stops) <> 1
UNION ALL
SELECT t.task_id, NULL, format('partitions that begin with the collection: %s, that end with it: %s',
       count(*) FILTER (WHERE e.partition_id IS NOT NULL AND e.begin IS NULL),
       count(*) FILTER (WHERE e.partition_id IS NOT NULL AND e.stop IS NULL))
FROM mongopg.table_load t LEFT JOIN edge e USING (task_id)
WHERE t.run_id = $1 GROUP BY t.task_id
HAVING count(*) FILTER (WHERE e.partition_id IS NOT NULL AND e.begin IS NULL) <> 1
    OR count(*) FILTER (WHERE e.partition_id IS NOT NULL AND e.stop IS NULL) <> 1
"""


def _check_joined(lower: bytes | None, inclusive: bool, upper: bytes | None, parts: Sequence[Partition]) -> None:
    """A wrong cut would lose documents: better to fail here than to find the gap at the end."""
    at, at_inclusive = lower, inclusive
    for part in parts:
        if (part.lower, part.lower_inclusive) != (at, at_inclusive):
            raise ValueError(f"partition {part.partition_id} does not begin where the one before it ends")
        at, at_inclusive = part.upper, True
    if not parts or at != upper:
        raise ValueError("the new partitions do not end where the old one does")


def _position(row: asyncpg.Record) -> Position:
    return Position(
        partition=Partition(
            row["partition_id"], row["task_id"], row["lower"], row["upper"], row["lower_inclusive"], row["generation"]
        ),
        next_slice_no=0 if row["slice_no"] is None else row["slice_no"] + 1,
        upto=row["upto"],
        finished=row["finished"],
        n_read=row["n_read"],
    )


def age_of_rows(run_id: str) -> str:
    """SQL for how many transactions ago a run wrote down what it reads: its rows are younger, also when it is over."""
    return f"SELECT max(age(xmin)) FROM mongopg.partition WHERE run_id = {_literal(run_id)}"  # noqa: S608 - quoted


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
