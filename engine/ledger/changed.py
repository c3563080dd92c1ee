"""Changes that were applied, in the ledger until they are compared with the source.

What a batch of a lane applied is kept as one row with all its keys, in the transaction that applied them. A key that is found
to differ is kept once more, as a suspect: it is looked at again when the stream has passed the first look. If it is not to be
applied again, and was not since, its row is wrong: it is to be written again, and is kept as a difference. One that differs
once more behind that stands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from engine.mapping.bson import documents
from engine.mongo.by_key import key_hash

MENDED_TWICE = 2
"""A document that was found to differ so often is not written again for it."""


@dataclass(frozen=True, slots=True)
class LaneKey:
    """A lane of one collection of a run."""

    run_id: str
    task_id: int
    lane: int

    @property
    def values(self) -> tuple[str, int, int]:
        """As parameters of a statement."""
        return self.run_id, self.task_id, self.lane


@dataclass(frozen=True, slots=True)
class ToCompare:
    """What of a lane waits to be compared."""

    task_id: int
    lane: int
    upto: int
    """The newest row."""
    n_keys: int
    since: int
    """All changes up to that time are compared."""
    at: int
    """It can be compared when the stream has come there."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Keys to be compared."""

    rows: list[int]
    """That have them."""
    since: int
    keys: list[bytes]
    """For the first time."""
    suspects: list[bytes]
    """For the second time."""


async def add(
    connection: asyncpg.Connection, lane: LaneKey, since: int, at: int, keys: Sequence[bytes], *, suspect: bool = False
) -> None:
    """Keep keys that were applied, in the transaction that did so; with `suspect` those that differed."""
    await connection.execute(
        "INSERT INTO mongopg.changed (run_id, task_id, lane, since, at, suspect, n_keys, keys)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        *lane.values, since, at, suspect, len(keys), b"".join(keys),
    )  # fmt: skip


async def waiting(connection: asyncpg.Connection, run_id: str) -> list[ToCompare]:
    """What waits, by lane."""
    rows = await connection.fetch(
        "SELECT task_id, lane, max(changed_id) AS upto, sum(n_keys) AS n_keys, min(since) AS since, max(at) AS at"
        " FROM mongopg.changed WHERE run_id = $1 GROUP BY task_id, lane ORDER BY min(since)",
        run_id,
    )
    return [ToCompare(**dict(row.items())) for row in rows]


async def take(connection: asyncpg.Connection, lane: LaneKey, upto: int, most: int) -> Batch | None:
    """The oldest keys of a lane, locked in the caller's transaction; None where there are none any more.

    Args:
        most: rows are taken until there are so many keys; one is taken whatever it has.
    """
    rows = await connection.fetch(
        "SELECT changed_id, since, suspect, keys FROM (SELECT *, sum(n_keys) OVER (ORDER BY changed_id) - n_keys AS before"
        " FROM mongopg.changed WHERE run_id = $1 AND task_id = $2 AND lane = $3 AND changed_id <= $4) c"
        " WHERE before < $5 ORDER BY changed_id",
        *lane.values, upto, most,
    )  # fmt: skip
    if not rows:
        return None
    plain = dict.fromkeys(key for row in rows if not row["suspect"] for key in documents(row["keys"]))
    suspects = dict.fromkeys(
        key for row in rows if row["suspect"] for key in documents(row["keys"]) if key not in plain
    )
    return Batch(
        rows=[row["changed_id"] for row in rows],
        since=min(row["since"] for row in rows),
        keys=[*plain],
        suspects=[*suspects],
    )


async def unchanged(
    connection: asyncpg.Connection, lane: LaneKey, keys: Sequence[bytes], rows: list[int]
) -> list[bytes]:
    """Those of some keys that are not to be applied again, and were not since.

    Args:
        rows: those in hand, which are known.
    """
    if not keys:
        return []
    # In this order: a key goes from one to the other.
    dirty = await connection.fetch(
        "SELECT key FROM mongopg.dirty WHERE run_id = $1 AND task_id = $2 AND lane = $3 AND key_hash = ANY($4)",
        *lane.values, list(map(key_hash, keys)),
    )  # fmt: skip
    newer = await connection.fetch(
        "SELECT keys FROM mongopg.changed WHERE run_id = $1 AND task_id = $2 AND lane = $3 AND changed_id <> ALL($4)",
        *lane.values, rows,
    )  # fmt: skip
    gone = {row["key"] for row in dirty} | {key for row in newer for key in documents(row["keys"])}
    return [key for key in keys if key not in gone]


async def settle(connection: asyncpg.Connection, lane: LaneKey, batch: Batch) -> bool:
    """Remove what was compared; False where another worker has done so meanwhile, and nothing may be committed."""
    status = await connection.execute(
        "DELETE FROM mongopg.changed WHERE run_id = $1 AND task_id = $2 AND lane = $3 AND changed_id = ANY($4)",
        *lane.values, batch.rows,
    )  # fmt: skip
    return bool(status == f"DELETE {len(batch.rows)}")


async def keep_differences(connection: asyncpg.Connection, lane: LaneKey, keys: Iterable[bytes]) -> list[bytes]:
    """These documents differ from their rows; those among them that are worth being written again."""
    ordered = sorted(keys)
    rows = await connection.fetch(
        "INSERT INTO mongopg.difference AS d (run_id, task_id, lane, key_hash, key)"
        " SELECT $1, $2, $3, hash, key FROM unnest($4::bytea[], $5::bytea[]) AS k (hash, key)"
        " ON CONFLICT (run_id, task_id, key_hash) DO UPDATE SET n_found = CASE WHEN d.mended_at IS NULL THEN d.n_found + 1"
        " ELSE 1 END, found_at = clock_timestamp(), mended_at = NULL RETURNING key, n_found",
        *lane.values, list(map(key_hash, ordered)), ordered,
    )  # fmt: skip
    return [row["key"] for row in rows if row["n_found"] < MENDED_TWICE]


async def mend(connection: asyncpg.Connection, lane: LaneKey, equal: Collection[bytes]) -> None:
    """Documents that are equal to their rows: those that had differed do not any more."""
    sql = "SELECT EXISTS (SELECT FROM mongopg.difference WHERE run_id = $1 AND task_id = $2 AND mended_at IS NULL)"
    if equal and await connection.fetchval(sql, lane.run_id, lane.task_id):
        await connection.execute(
            "UPDATE mongopg.difference SET mended_at = clock_timestamp()"
            " WHERE run_id = $1 AND task_id = $2 AND key_hash = ANY($3) AND mended_at IS NULL",
            lane.run_id, lane.task_id, list(map(key_hash, equal)),
        )  # fmt: skip


async def differences(connection: asyncpg.Connection, run_id: str) -> Mapping[int, tuple[int, int]]:
    """How many documents differ though they were written again, and how many had differed and do not any more; by task."""
    rows = await connection.fetch(
        "SELECT task_id, count(*) FILTER (WHERE mended_at IS NULL AND n_found >= $2) AS stand,"
        " count(*) FILTER (WHERE mended_at IS NOT NULL) AS mended"
        " FROM mongopg.difference WHERE run_id = $1 GROUP BY task_id",
        run_id, MENDED_TWICE,
    )  # fmt: skip
    return {row["task_id"]: (row["stand"], row["mended"]) for row in rows}
