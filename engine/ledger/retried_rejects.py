"""Rejects that are written again: taken out of `mongopg.reject` in the transaction of their rows, and with which mapping."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping as Dictionary
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from engine.ledger.altered import Altered, read_altered, stored_altered
from engine.ledger.rejects import Cause, storable
from engine.mapping.kinds import kinds_that_always_fit
from engine.mapping.model import Column, ColumnType, Mapping, Role
from engine.mapping.names import EXTRA_NAME
from engine.mapping.options import POLICIES, MappingOptions
from engine.postgres.sqlstates import one_line
from engine.postgres.tables import ExistingColumn, held_by

BATCH_REJECTS = 1_000
BATCH_BYTES = 16 * 1024 * 1024
"""What one transaction takes on, at most: so many rejects, or about so many bytes of documents."""
Place = tuple[int, int, int]
"""Partition, slice and number of a reject: its key within a run."""
FIRST: Place = (-1, -1, -1)


@dataclass(frozen=True, slots=True)
class KeptReject:
    """A document that waits to be written."""

    place: Place
    raw: bytes
    namespace: str
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class FailedAgain:
    """Why a reject stays one."""

    place: Place
    reason: str
    field: str
    sqlstate: str
    detail: str


async def pending(
    connection: asyncpg.Connection, run_id: str, task_id: int, after: Place, causes: Sequence[Cause] = ()
) -> list[KeptReject]:
    """The next rejects of a table behind `after`, locked until the transaction ends; those of some causes, if any are given."""
    rows = await connection.fetch(
        "SELECT r.partition_id, r.slice_no, r.reject_no, r.raw, r.collection, r.field, r.reason FROM mongopg.reject r"
        " JOIN mongopg.partition p USING (run_id, partition_id)"
        " WHERE r.run_id = $1 AND p.task_id = $2 AND (r.partition_id, r.slice_no, r.reject_no) > ($3, $4, $5)"
        " AND ($7 OR (r.collection, r.reason, r.field, r.sqlstate) IN"
        " (SELECT * FROM unnest($8::text[], $9::text[], $10::text[], $11::text[])))"
        " ORDER BY r.partition_id, r.slice_no, r.reject_no LIMIT $6 FOR UPDATE OF r",
        run_id, task_id, *after, await _batch_size(connection, run_id, after),
        not causes, *([cause[part] for cause in causes] for part in range(4)),
    )  # fmt: skip
    return [
        KeptReject(
            (row["partition_id"], row["slice_no"], row["reject_no"]),
            row["raw"], row["collection"], row["field"], row["reason"],
        )
        for row in rows
    ]  # fmt: skip


async def settle(
    connection: asyncpg.Connection,
    run_id: str,
    task_id: int,
    done: Sequence[Place],
    failed: Sequence[FailedAgain],
    n_written: int,
    altered: Dictionary[tuple[int, int], Altered],
) -> None:
    """Within the transaction of the rows: remove the rejects that are rows now, count them as written, say of the others why.

    Args:
        n_written: rows that the table has more now.
        altered: values that a policy changed in them, by policy, for each slice.
    """
    await connection.executemany(
        "DELETE FROM mongopg.reject WHERE run_id = $1 AND partition_id = $2 AND slice_no = $3 AND reject_no = $4",
        [(run_id, *place) for place in done],
    )
    slices: dict[tuple[int, int], int] = {}
    for partition_id, slice_no, _ in done:
        slices[partition_id, slice_no] = slices.get((partition_id, slice_no), 0) + 1
    await connection.executemany(
        "UPDATE mongopg.slice SET n_written = n_written + $4, n_rejected = n_rejected - $4"
        " WHERE run_id = $1 AND partition_id = $2 AND slice_no = $3",
        [(run_id, *key, count) for key, count in slices.items()],
    )
    for key, counts in altered.items():
        before = await connection.fetchval(
            "SELECT altered FROM mongopg.slice WHERE run_id = $1 AND partition_id = $2 AND slice_no = $3", run_id, *key
        )
        now = Counter(read_altered(before)) + Counter(counts)
        await connection.execute(
            "UPDATE mongopg.slice SET altered = $4 WHERE run_id = $1 AND partition_id = $2 AND slice_no = $3",
            run_id, *key, stored_altered(now),
        )  # fmt: skip
    await connection.executemany(
        "UPDATE mongopg.reject SET reason = $5, field = $6, sqlstate = $7, detail = $8"
        " WHERE run_id = $1 AND partition_id = $2 AND slice_no = $3 AND reject_no = $4",
        [
            (run_id, *each.place, each.reason, storable(each.field), each.sqlstate, one_line(each.detail))
            for each in failed
        ],
    )
    await connection.execute(
        "UPDATE mongopg.table_load SET target_count = target_count + $3 WHERE run_id = $1 AND task_id = $2",
        run_id, task_id, n_written,
    )  # fmt: skip


async def begin(connection: asyncpg.Connection, run_id: str, task_id: int, mapping: Mapping) -> None:
    """Remember the mapping that rejects are written with, in the transaction of the first of them.

    A verification needs it: the run's own mapping rejects these documents.
    """
    await connection.execute(
        "INSERT INTO mongopg.retry (run_id, task_id, retry_no, mapping)"
        " SELECT $1, $2, coalesce(max(retry_no), -1) + 1, $3 FROM mongopg.retry WHERE run_id = $1 AND task_id = $2"
        " HAVING NOT coalesce(bool_or(mapping = $3), false)",
        run_id, task_id, mapping.model_dump_json(),
    )  # fmt: skip


async def mappings(connection: asyncpg.Connection, run_id: str, task_id: int) -> list[Mapping]:
    """The mappings with which rejects of one table were written, in order."""
    rows = await connection.fetch(
        "SELECT mapping FROM mongopg.retry WHERE run_id = $1 AND task_id = $2 ORDER BY retry_no", run_id, task_id
    )
    return [Mapping.model_validate_json(row["mapping"]) for row in rows]


def with_policies(mapping: Mapping, policies: Dictionary[str, str]) -> Mapping:
    """The mapping with other choices for some policies, those of single fields included."""
    if not policies:
        return mapping
    columns = tuple(column.model_copy(update=dict.fromkeys(policies, "")) for column in mapping.columns)
    return mapping.model_copy(update={"columns": columns, "options": mapping.options.model_copy(update=dict(policies))})


def policy_in_force(mapping: Mapping, policy: str, field: str) -> str:
    """What a policy is for a field, given as a dotted path or by its column's name."""
    column = next(
        (each for each in mapping.columns if each.path and (".".join(each.path) == field or each.name == field)),
        None,
    ) or next((each for each in mapping.columns if each.path and field.startswith(".".join(each.path) + ".")), None)
    own = getattr(column, policy) if column is not None else ""
    return str(own or getattr(mapping.options, policy))


def adapted(mapping: Mapping, existing: Sequence[ExistingColumn], options: MappingOptions) -> Mapping:
    """The run's columns under the policies of `options`, and with the types that the table has today.

    Other policies than the run's change no value that the table has already.
    A column of another type takes every kind that the type can hold; a table that was given `_extra` uses it.
    """
    by_name = {column.name: column for column in existing}
    columns = [_retyped(column, by_name.get(column.name), mapping.options) for column in mapping.columns]
    extra = by_name.get(EXTRA_NAME)
    if extra is not None and extra.base in ("jsonb", "json") and all(each.role is not Role.EXTRA for each in columns):
        columns.append(Column(name=EXTRA_NAME, type=ColumnType(extra.base), role=Role.EXTRA))
    policies = {name: getattr(options, name) for name in POLICIES}
    return mapping.model_copy(
        update={"columns": tuple(columns), "options": mapping.options.model_copy(update=policies)}
    )


def _retyped(column: Column, found: ExistingColumn | None, options: MappingOptions) -> Column:
    if found is None or column.array or column.role is Role.MISSING:
        return column
    now, is_array = held_by(found) or (column.type, False)
    if is_array or now is column.type or column.role is Role.ID:
        return column
    return column.model_copy(update={"type": now, "kinds": kinds_that_always_fit(now, options)})


async def _batch_size(connection: asyncpg.Connection, run_id: str, after: Place) -> int:
    """How many of the next rejects are about `BATCH_BYTES` of documents."""
    size = await connection.fetchval(
        "SELECT avg(octet_length(raw)) FROM (SELECT raw FROM mongopg.reject WHERE run_id = $1"
        " AND (partition_id, slice_no, reject_no) > ($2, $3, $4)"
        " ORDER BY partition_id, slice_no, reject_no LIMIT $5) next",
        run_id, *after, BATCH_REJECTS,
    )  # fmt: skip
    return max(1, min(BATCH_REJECTS, int(BATCH_BYTES / float(size)))) if size else BATCH_REJECTS
