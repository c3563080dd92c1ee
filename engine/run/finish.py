"""The end of a copy: proof that nothing is missing, keys, ANALYZE, counts of both sides, the swap of mode `replace`."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from engine.errors import MigrationError
from engine.ledger.earlier_runs import mappings_of
from engine.plan import TablePlan
from engine.postgres import finish as ending
from engine.protocol import ProblemReported, RunState, TableCounted, Verification, VerificationEnded
from engine.retries import insist, together
from engine.rows import TableLoad
from engine.run.indexing import build_indexes, builders_for, name_indexes
from engine.run.journal import signatures
from engine.verify.counts import blame, explain

if TYPE_CHECKING:
    from engine.run.copy import Copying
    from engine.run.run import Migration

GAPS_SHOWN = 3
WRITTEN_SINCE = "written_since"
"""Code of the news that others write to a table that the run has put in its place."""


async def take_back_lost(copying: Copying, migration: Migration) -> bool:
    """Look whether everything is in the ledger; True when ends of partitions are not and are being copied again.

    A server that comes back without its last commits, such as a replica that lagged behind, has lost rows and ledger alike.

    Raises:
        MigrationError: committed slices do not join, and copying again cannot mend it.
    """
    assert copying.plan is not None
    plan = copying.plan
    migration.enter(RunState.FINISHING, "looking for gaps in the ledger")
    await insist(migration, copying.require_same_source)
    gaps = await insist(migration, lambda: copying.journal.gaps(plan))
    if not gaps:
        return False
    lost = await insist(migration, copying.journal.unfinished)
    if not lost:
        named = "; ".join(gap.message for gap in gaps[:GAPS_SHOWN])
        raise MigrationError(
            f"The ledger has gaps at {len(gaps)} places ({named}): the copy is not complete. Start a new run.",
            code="gaps",
        )
    message = (
        f"The target has lost what was committed last: {len(lost)} partitions are copied again from where they stand."
    )
    migration.emit(ProblemReported(code="lost_commits", message=message, retry=True))
    await insist(migration, copying.tally.recount)
    copying.reopen(lost)
    return True


async def finish(copying: Copying, migration: Migration) -> None:
    """Finish all tables; sets the run's verification.

    Raises:
        MigrationError: a key cannot be built.
    """
    assert copying.plan is not None
    plan = copying.plan
    migration.enter(RunState.FINISHING, "building keys and counting")
    target_counts: dict[int, int] = {}
    counting = asyncio.create_task(insist(migration, lambda: copying.consistency.count(plan.tables)))
    try:
        builders = await insist(migration, lambda: builders_for(copying))
        await together(*(_finish_table(copying, migration, table, builders, target_counts) for table in plan.tables))
        await build_indexes(copying, migration, builders)
        source_counts = await counting
    finally:
        counting.cancel()
    await insist(migration, lambda: copying.journal.keep_counts(source_counts, target_counts))
    await insist(migration, copying.tally.recount)
    await _judge(copying, migration, source_counts, target_counts)
    if migration.settings.run.mode == "replace":
        migration.enter(RunState.FINISHING, "swapping tables")
        await insist(migration, lambda: _require_all_rows(copying, migration, target_counts))
        await insist(migration, lambda: _swap(copying, migration))
        await insist(migration, lambda: _analyze_exchanged(copying))


async def _require_all_rows(copying: Copying, migration: Migration, target: dict[int, int]) -> None:
    """Raise MigrationError when a staging table does not hold what the ledger says was written to it."""
    for task_id, counters in migration.record.tables.items():
        if await _is_swapped(copying, copying.journal.load(task_id)):
            continue
        if target[task_id] != counters.written or counters.read != counters.written + counters.rejected:
            raise MigrationError(
                f"{counters.table} was not replaced: the table loaded beside it has {target[task_id]:,} rows, "
                f"{counters.written:,} were written. The old table stays as it is.",
                code="mismatch",
            )


async def _is_swapped(copying: Copying, load: TableLoad) -> bool:
    async with copying.journal.session() as connection:
        return await ending.is_swapped(connection, load)


async def _tell_of_others(copying: Copying, migration: Migration, table: TablePlan, counted: int) -> None:
    """Rows of a table that is in place already may be more or less than the run's: say so, it is no mismatch."""
    now = await copying.journal.count_rows(table.task_id)
    if now != counted:
        message = (
            f"{table.target} was put in its place with {counted:,} rows before this run was resumed. It has {now:,} now: "
            "others have written to it since. What the run is judged by are the rows counted before that."
        )
        migration.emit(ProblemReported(code=WRITTEN_SINCE, message=message, namespace=table.namespace))


async def _swap(copying: Copying, migration: Migration) -> None:
    """Put the staging tables in place."""
    async with copying.journal.own_session(lock_timeout_s=ending.LOCK_TIMEOUT_S) as connection:
        loads = [copying.journal.load(task_id) for task_id in migration.record.tables]
        assert copying.plan is not None
        planned = signatures(copying.plan)
        drops = migration.settings.run.drops
        names = {table.task_id: table.key for table in copying.plan.tables}
        await ending.swap(
            connection,
            copying.journal.run_id,
            loads,
            mappings_of,
            drops=drops,
            planned_indexes=planned,
            key_names=names,
        )
    await name_indexes(copying)


async def _analyze_exchanged(copying: Copying) -> None:
    """Tables that stayed have other rows than their statistics tell of."""
    for load in await copying.journal.exchanged():
        async with copying.journal.own_session(lock_timeout_s=ending.LOCK_TIMEOUT_S) as connection:
            await ending.analyze(connection, load)


async def _finish_table(
    copying: Copying, migration: Migration, table: TablePlan, builders: asyncio.Semaphore, rows: dict[int, int]
) -> None:
    """Its key and statistics; its `rows` are counted."""
    load = copying.journal.load(table.task_id)
    if load.target_count is not None and await insist(migration, lambda: _is_swapped(copying, load)):
        # An earlier engine of the run has done all this, found every row, and swapped. Since then the table is everybody's.
        rows[table.task_id] = load.target_count
        await insist(migration, lambda: _tell_of_others(copying, migration, table, load.target_count or 0))
        return

    async def count() -> None:
        rows[table.task_id] = await copying.journal.count_rows(table.task_id)

    async def finish() -> None:
        async with copying.journal.own_session(lock_timeout_s=ending.LOCK_TIMEOUT_S) as connection:
            await ending.build_key(connection, load, table.mapping, has_key=table.has_key, key_name=table.key)
            await together(ending.analyze(connection, load), count())  # both only read: neither waits for the other

    async with builders:
        await insist(migration, finish)


async def _judge(copying: Copying, migration: Migration, source: dict[int, int], target: dict[int, int]) -> None:
    """Whether the counts that must hold do."""
    all_ok = True
    for task_id, counters in migration.record.tables.items():
        problems = explain(
            copying.journal.load(task_id),
            migration.settings.run.mode,
            counters.read,
            counters.written,
            counters.rejected,
            source[task_id],
            target[task_id],
        )
        if problems:
            mode = migration.settings.run.mode
            triggers = await insist(migration, partial(copying.journal.triggers, task_id, mode))
            problems += [blame(triggers)] if triggers else []
        for problem in problems:
            message = f"{counters.namespace}: {problem}."
            migration.emit(ProblemReported(code="mismatch", message=message, namespace=counters.namespace))
        all_ok = all_ok and not problems
        migration.emit(TableCounted(task_id=task_id, source=source[task_id], target=target[task_id], ok=not problems))
    verification = Verification.VERIFIED if all_ok else Verification.MISMATCH
    migration.emit(VerificationEnded(verification=verification))
