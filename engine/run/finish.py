"""The end of a copy: proof that nothing is missing, keys, ANALYZE, counts of both sides, the swap of mode `replace`."""

from __future__ import annotations

import asyncio
from functools import partial

from engine.errors import MigrationError
from engine.ledger.earlier_runs import mappings_of
from engine.ledger.ledger import Ledger, signatures
from engine.ledger.partitions import Position
from engine.plan import Plan, TablePlan
from engine.plan.bounds import key_doubts
from engine.postgres import finish as ending
from engine.protocol import ProblemReported, RunState, TableCounted, Verification, VerificationEnded
from engine.rows import TableLoad
from engine.run.consistency import Consistency
from engine.run.context import RunContext
from engine.run.indexing import build_indexes, builders_for, name_indexes
from engine.run.progress import CopyProgress
from engine.run.same_source import require_same_collections
from engine.run.steps import insist, together
from engine.verify.counts import blame, explain

GAPS_SHOWN = 3
WRITTEN_SINCE = "written_since"
"""Code of the news that others write to a table that the run has put in its place."""


class Finishing:
    """The end of one copy, when every partition is done."""

    def __init__(
        self, context: RunContext, ledger: Ledger, plan: Plan, consistency: Consistency, progress: CopyProgress
    ) -> None:
        self._context = context
        self._ledger = ledger
        self._plan = plan
        self._consistency = consistency
        self._progress = progress
        self._rows_written: dict[int, int | None] = {}
        """Rows that an upsert wrote to, by task, where keys of several documents may be one; None where that is not known."""

    async def lost(self) -> list[Position]:
        """Partitions that were done and whose ends are not in the ledger any more, to be copied again.

        A server that comes back without its last commits, such as a replica that lagged behind, has lost rows and ledger alike.

        Raises:
            MigrationError: committed slices do not join, and copying again cannot mend it.
        """
        self._context.enter(RunState.FINISHING, "looking for gaps in the ledger")
        uri = self._context.settings.source.connection
        await insist(
            self._context,
            lambda: asyncio.to_thread(require_same_collections, uri, self._ledger.app_name, self._plan.tables),
        )
        gaps = await insist(self._context, lambda: self._ledger.gaps(self._plan))
        if not gaps:
            return []
        lost = await insist(self._context, self._ledger.unfinished)
        if not lost:
            named = "; ".join(gap.message for gap in gaps[:GAPS_SHOWN])
            raise MigrationError(
                f"The ledger has gaps at {len(gaps)} places ({named}): the copy is not complete. Start a new run.",
                code="gaps",
            )
        message = (
            f"The target has lost what was committed last: {len(lost)} partitions are copied again from where they are."
        )
        self._context.emit(ProblemReported(code="lost_commits", message=message, retry=True))
        await insist(self._context, self._progress.recount)
        return lost

    async def finish(self) -> None:
        """Finish all tables; sets the run's verification.

        Raises:
            MigrationError: a key cannot be built.
        """
        self._context.enter(RunState.FINISHING, "building keys and counting")
        target_counts: dict[int, int] = {}
        counting = asyncio.create_task(insist(self._context, lambda: self._consistency.count(self._plan.tables)))
        try:
            builders = await insist(self._context, lambda: builders_for(self._ledger))
            await together(*(self._finish_table(table, builders, target_counts) for table in self._plan.tables))
            await build_indexes(self._context, self._ledger, self._plan, builders)
            source_counts = await counting
        finally:
            counting.cancel()
        await insist(self._context, lambda: self._ledger.keep_counts(source_counts, target_counts))
        await insist(self._context, self._progress.recount)
        await self._judge(source_counts, target_counts)
        if self._context.settings.run.mode == "replace":
            self._context.enter(RunState.FINISHING, "swapping tables")
            await insist(self._context, lambda: self._require_all_rows(target_counts))
            await insist(self._context, lambda: self._swap())
            await insist(self._context, lambda: self._analyze_exchanged())

    async def _require_all_rows(self, target: dict[int, int]) -> None:
        """Raise MigrationError when a staging table does not hold what the ledger says was written to it."""
        for task_id, counters in self._context.record.tables.items():
            if await self._is_swapped(self._ledger.load(task_id)):
                continue
            if target[task_id] != counters.written or counters.read != counters.written + counters.rejected:
                raise MigrationError(
                    f"{counters.table} was not replaced: the table loaded beside it has {target[task_id]:,} rows, "
                    f"{counters.written:,} were written. The old table stays as it is.",
                    code="mismatch",
                )

    async def _is_swapped(self, load: TableLoad) -> bool:
        async with self._ledger.session() as connection:
            return await ending.is_swapped(connection, load)

    async def _tell_of_others(self, table: TablePlan, counted: int) -> None:
        """Rows of a table that is in place already may be more or less than the run's: say so, it is no mismatch."""
        now = await self._ledger.count_rows(table.task_id)
        if now != counted:
            message = (
                f"{table.target} was put in its place with {counted:,} rows before this run was resumed. It has {now:,} now: "
                "others have written to it since. What the run is judged by are the rows counted before that."
            )
            self._context.emit(ProblemReported(code=WRITTEN_SINCE, message=message, namespace=table.namespace))

    async def _swap(self) -> None:
        """Put the staging tables in place."""
        async with self._ledger.own_session(lock_timeout_s=ending.LOCK_TIMEOUT_S) as connection:
            loads = [self._ledger.load(task_id) for task_id in self._context.record.tables]
            planned = signatures(self._plan)
            drops = self._context.settings.run.drops
            names = {table.task_id: table.key for table in self._plan.tables}
            await ending.swap(
                connection,
                self._ledger.run_id,
                loads,
                mappings_of,
                drops=drops,
                planned_indexes=planned,
                key_names=names,
            )
        await name_indexes(self._ledger, self._plan)

    async def _analyze_exchanged(self) -> None:
        """Tables that stayed have other rows than their statistics tell of."""
        for load in await self._ledger.exchanged():
            async with self._ledger.own_session(lock_timeout_s=ending.LOCK_TIMEOUT_S) as connection:
                await ending.analyze(connection, load)

    async def _finish_table(self, table: TablePlan, builders: asyncio.Semaphore, rows: dict[int, int]) -> None:
        """Its key and statistics; its `rows` are counted."""
        load = self._ledger.load(table.task_id)
        if load.target_count is not None and await insist(self._context, lambda: self._is_swapped(load)):
            # An earlier engine of the run has done all this, found every row, and swapped. Since then others write to it.
            rows[table.task_id] = load.target_count
            await insist(self._context, lambda: self._tell_of_others(table, load.target_count or 0))
            return

        async def count() -> None:
            rows[table.task_id] = await self._ledger.count_rows(table.task_id)
            if key_doubts(table.mapping, self._context.settings.run.mode):
                self._rows_written[table.task_id] = await self._ledger.count_written(table.task_id)

        async def finish() -> None:
            async with self._ledger.own_session(lock_timeout_s=ending.LOCK_TIMEOUT_S) as connection:
                await ending.build_key(connection, load, table.mapping, has_key=table.has_key, key_name=table.key)
                await together(ending.analyze(connection, load), count())  # both only read: neither waits for the other

        async with builders:
            await insist(self._context, finish)

    async def _judge(self, source: dict[int, int], target: dict[int, int]) -> None:
        """Whether the counts that must hold do."""
        all_ok = True
        for task_id, counters in self._context.record.tables.items():
            problems = explain(
                self._ledger.load(task_id),
                self._context.settings.run.mode,
                counters.read,
                counters.written,
                counters.rejected,
                source[task_id],
                target[task_id],
            )
            rows = self._rows_written.get(task_id)
            if rows is not None and rows < counters.written and not problems:
                problems.append(
                    f"{counters.written:,} documents were written to {rows:,} rows, since keys that MongoDB keeps apart are "
                    "one in the table; a full verification names them"
                )
            if problems:
                mode = self._context.settings.run.mode
                triggers = await insist(self._context, partial(self._ledger.triggers, task_id, mode))
                problems += [blame(triggers)] if triggers else []
            for problem in problems:
                self._context.emit(
                    ProblemReported(
                        code="mismatch",
                        message=f"{counters.namespace}: {problem}.",
                        namespace=counters.namespace,
                    )
                )
            all_ok = all_ok and not problems
            self._context.emit(
                TableCounted(task_id=task_id, source=source[task_id], target=target[task_id], ok=not problems)
            )
        verification = Verification.VERIFIED if all_ok else Verification.MISMATCH
        self._context.emit(VerificationEnded(verification=verification))
