"""Rows of a table that no document has, and whether the source explains them.

The keys of all documents are written into a table by the cluster; one anti-join finds the other rows. A row's slice is told by
its key: where keys sort in the table as MongoDB sorts them, the ranges of the slices whose source changed are compared with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import count, groupby

from engine.convert import Preference, make_converter
from engine.ledger import partitions, spans
from engine.ledger.ledger import Ledger
from engine.mapping.model import Mapping as ColumnMapping
from engine.mongo.filters import encode_filter
from engine.mongo.record_cuts import older_bounds
from engine.postgres import keys
from engine.postgres.keys import Bounds, KeyRange
from engine.rows import Piece
from engine.verify.compared_table import ComparedTable
from engine.verify.job import VerifyJob
from engine.work.messages import KeysTask, VerifyLease
from engine.work.verify import keys_only


async def find_extra(
    ledger: Ledger,
    job: VerifyJob,
    work_through: Callable[[Iterable[VerifyLease]], Awaitable[None]],
    tables: dict[int, ComparedTable],
    preference: Preference,
    samples: int,
) -> None:
    """Count and describe the extra rows of these tables.

    Args:
        ledger: connected, of the run.
        job: of an idle cluster.
        work_through: has partitions gone through.
        tables: by task.
        preference: which converter.
        samples: rows that are described for each table.
    """
    names = {task_id: keys.keys_table(ledger.run_id, task_id) for task_id in tables}
    try:
        await _write_keys(ledger, job, work_through, tables, names)
        for task_id, table in tables.items():
            bounds = await _changed_bounds(ledger, table, preference)
            async with ledger.own_session() as connection:
                table.add_extra(
                    await keys.find_extra(connection, table.name, names[task_id], table.plan.mapping, bounds, samples)
                )
    finally:
        async with ledger.session() as connection:
            for name in names.values():
                await keys.drop(connection, name)


async def _write_keys(
    ledger: Ledger,
    job: VerifyJob,
    work_through: Callable[[Iterable[VerifyLease]], Awaitable[None]],
    tables: dict[int, ComparedTable],
    names: dict[int, str],
) -> None:
    first = max(job.tasks) + 1
    numbers = {task_id: number for number, task_id in enumerate(tables, first)}
    async with ledger.session() as connection:
        for task_id, table in tables.items():
            plan = table.plan
            await keys.create(connection, names[task_id], table.name, plan.mapping)
            job.tasks[numbers[task_id]] = KeysTask(
                run_id=ledger.run_id,
                task_id=numbers[task_id],
                database=plan.database,
                collection=plan.collection,
                mapping=keys_only(plan.mapping),
                keys_table=names[task_id],
                filter=encode_filter(plan.filter),
            )
        wholes = [position.partition for position in await partitions.positions(connection, ledger.run_id)]
    by_id = {numbers[task_id]: table for task_id, table in tables.items() if table.ranges}
    leases = [
        VerifyLease(numbers[whole.task_id], whole.partition_id, 0, whole.upper)
        for whole in wholes
        if whole.task_id in numbers and numbers[whole.task_id] not in by_id
    ]
    await work_through(leases + own_leases(by_id, 1 + max((whole.partition_id for whole in wholes), default=0)))


def own_leases(tables: Mapping[int, ComparedTable], first: int) -> list[VerifyLease]:
    """The own ranges of tables, by the task that they are leases of, numbered from `first` on."""
    numbers = count(first)
    return [
        VerifyLease(
            task_id,
            next(numbers),
            0,
            span.upper,
            span.lower,
            is_own=True,
            older=older_bounds(table.ranges, place) if table.numbering is not None else (),
        )
        for task_id, table in tables.items()
        for place, span in enumerate(table.ranges)
    ]


async def _changed_bounds(ledger: Ledger, table: ComparedTable, preference: Preference) -> Bounds | None:
    """The ranges of the slices whose source changed; None where the order of keys does not tell."""
    if table.ranges or not keys.sorts_like_bson(table.plan.mapping):
        return None
    found: list[tuple[bytes | None, bool, bytes | None, bool]] = []
    async with ledger.session() as connection:
        for partition_id, changed in groupby(sorted(table.changed_slices), key=lambda place: place[0]):
            numbers = {slice_no for _, slice_no in changed}
            upper = (await partitions.position(connection, ledger.run_id, partition_id)).partition.upper
            for span in await spans.spans_of(connection, ledger.run_id, partition_id, 0):
                if span.slice_no not in numbers:
                    continue
                high, inclusive = (upper, False) if span.last is None else (span.last, True)
                if found and span.lower is not None and found[-1][2:] == (span.lower, True):
                    found[-1] = (*found[-1][:2], high, inclusive)  # it begins where the one before it ends
                else:
                    found.append((span.lower, span.lower_inclusive, high, inclusive))
    return await asyncio.to_thread(_as_keys, keys_only(table.plan.mapping), found, preference)


def _as_keys(
    mapping: ColumnMapping, ranges: list[tuple[bytes | None, bool, bytes | None, bool]], preference: Preference
) -> Bounds:
    """The bounds as the table's keys. One that no row could have as its key stands for no bound."""
    documents = [bound for low, _, high, _ in ranges for bound in (low, high) if bound is not None]
    batch = b"".join(documents)
    converted = make_converter(mapping, preference).convert(batch, 0, len(documents))
    row_at = {place: row for row, place in enumerate(converted.row_documents)}
    offset = 0
    rows: list[int | None] = []
    for document in documents:
        rows.append(row_at.get(offset))
        offset += len(document)
    left = iter(rows)
    return Bounds(
        piece=Piece(batch, converted),
        ranges=tuple(
            KeyRange(
                lower=next(left) if low is not None else None,
                lower_inclusive=low_inclusive,
                upper=next(left) if high is not None else None,
                upper_inclusive=high_inclusive,
            )
            for low, low_inclusive, high, high_inclusive in ranges
        ),
    )
