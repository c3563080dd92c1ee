"""The end of a copy: proof that nothing is missing, keys, ANALYZE, counts of both sides, the swap of mode `replace`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial

import asyncpg

from engine.errors import MigrationError
from engine.ledger.earlier_runs import mappings_of
from engine.ledger.follow import DONE
from engine.ledger.ledger import Ledger, signatures
from engine.ledger.partitions import Position
from engine.mapping.equal_keys import key_doubts
from engine.mapping.names import TableName
from engine.mongo.causal import CausalTime
from engine.plan import Plan, TablePlan
from engine.plurals import counted
from engine.postgres import finish as ending
from engine.postgres.lock_room import LOCKS_OF_NEW, lock_table
from engine.postgres.small_tables import AT_ONCE, SmallTable, finish_together
from engine.postgres.small_tables import ROWS as SMALL_ROWS
from engine.postgres.sqlstates import describe
from engine.protocol import (
    ProblemReported,
    RunState,
    TableCounted,
    TableStage,
    TableState,
    Verification,
    VerificationEnded,
)
from engine.rows import TableLoad
from engine.run.consistency import Consistency
from engine.run.context import RunContext
from engine.run.indexing import BUILDERS, Builders, Indexing, builders_for, name_indexes
from engine.run.progress import CopyProgress
from engine.run.same_source import require_same_collections
from engine.run.steps import insist, together
from engine.verify.counts import blame, count_source, explain, explain_followed
from engine.work.connections import EXPLAINED, failure_of

GAPS_SHOWN = 3
FEWEST_TOGETHER = 3
"""Small tables that are worth a group."""
WRITTEN_SINCE = "written_since"
"""Code of the news that others write to a table that the run has put in its place."""

log = logging.getLogger(__name__)


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
        self._followed: dict[int, tuple[int, int, int]] = {}
        """Of a run that follows, by task: documents, rows and rejects when it was cut over."""
        self.key_s: dict[int, float] = {}
        """Seconds that the keys took that this engine has built for a run that follows, by task."""
        self._rows_written: dict[int, int | None] = {}
        """Rows that an upsert wrote to, by task, where keys of several documents may be one; None where that is not known."""
        self._at_once = 1
        """Keys that may be built at a time."""
        self._counting: asyncio.Task[dict[int, int]] | None = None
        """Of the source."""

    async def lost(
        self, ends: Mapping[int, bytes], without: Collection[int], changed: Collection[int] = ()
    ) -> list[Position]:
        """Partitions that were done and whose ends are not in the ledger any more, to be copied again.

        A server that comes back without its last commits, such as a replica that lagged behind, has lost rows and ledger alike.

        Args:
            ends: where collections end as long as what lies behind is not begun, by task.
            without: tasks that are read once more and not looked at before.
            changed: tasks of collections that need not be those of the plan.

        Raises:
            MigrationError: committed slices do not join, and copying again cannot mend it.
        """
        self._context.enter(RunState.FINISHING, "looking for gaps in the ledger")
        uri = self._context.settings.source.connection
        same = [table for table in self._plan.tables if table.task_id not in changed]
        await insist(
            self._context, lambda: asyncio.to_thread(require_same_collections, uri, self._ledger.app_name, same)
        )
        gaps = await insist(self._context, lambda: self._ledger.gaps(self._plan, ends))
        gaps = [gap for gap in gaps if gap.task_id not in without]
        if not gaps:
            return []
        unfinished = await insist(self._context, self._ledger.unfinished)
        lost = [position for position in unfinished if position.partition.task_id not in without]
        if not lost:
            named = "; ".join(gap.message for gap in gaps[:GAPS_SHOWN])
            raise MigrationError(
                f"The ledger has gaps at {counted(len(gaps), 'place')} ({named}): the copy is not complete. Start a new run.",
                code="gaps",
            )
        again = counted(
            len(lost), "partition is copied again from where it is", "partitions are copied again from where they are"
        )
        message = f"The target has lost what was committed last: {again}."
        self._context.emit(ProblemReported(code="lost_commits", message=message, retry=True))
        await insist(self._context, self._progress.recount)
        return lost

    def begin_counting(self) -> None:
        """Count the source beside what is done next."""
        if self._counting is None:
            counted = insist(self._context, lambda: self._consistency.count(self._plan.tables))
            self._counting = asyncio.create_task(counted, name="count the source")

    async def stop_counting(self) -> None:
        """What is counted of the source is not to be used, or not needed any more."""
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.gather(self._counting, return_exceptions=True)
            self._counting = None

    async def build_keys_of(self, tables: Sequence[TablePlan]) -> list[TablePlan]:
        """Make `_id` the primary key of tables, while the run goes on; those that have none, since a key comes twice in them.

        Raises:
            MigrationError: one cannot be built.
        """
        self._context.enter(RunState.FINISHING, "building keys")
        builders = await insist(self._context, lambda: builders_for(self._ledger))
        at_once = min(builders.most, len(tables))
        refused: list[TablePlan] = []

        async def build(table: TablePlan) -> None:
            load, wait_s = self._ledger.load(table.task_id), ending.LOCK_TIMEOUT_S
            async with self._ledger.own_session(lock_timeout_s=wait_s, is_shared=True) as connection:
                await ending.build_key(
                    connection, load, table.mapping, has_key=table.has_key, key_name=table.key, at_once=at_once
                )

        async def build_in_turn(table: TablePlan) -> None:
            async with builders.place():
                try:
                    await insist(self._context, partial(build, table))
                except ending.KeyTwice:
                    refused.append(table)

        try:
            await self._context.interruptible(together(*map(build_in_turn, tables)))
        finally:
            await self._ledger.close_spares()
        return refused

    async def finish(self) -> None:
        """Finish all tables; sets the run's verification.

        Raises:
            MigrationError: a key cannot be built.
        """
        self._context.enter(RunState.FINISHING, "building keys and counting")
        target_counts: dict[int, int] = {}
        self.begin_counting()
        assert self._counting is not None
        try:
            builders = await insist(self._context, lambda: builders_for(self._ledger, self._context.until_clear))
            small = await insist(self._context, self._small_groups)
            grouped = {table.task_id for group in small for table in group}
            others = [table for table in self._plan.tables if table.task_id not in grouped]
            self._at_once = min(builders.most, max(1, len(others)))
            indexing = Indexing(self._context, self._ledger, self._plan, builders)

            async def finish_one(table: TablePlan) -> None:
                await self._finish_table(table, builders, target_counts)
                await indexing.build([table])  # those of a small table need not wait for a large one's key

            async def finish_group(group: list[TablePlan]) -> None:
                await self._finish_group(group, builders, target_counts)
                await indexing.build(group)

            await together(*map(finish_one, others), *map(finish_group, small))
            source_counts = await self._counting
        finally:
            await self.stop_counting()
            await self._ledger.close_spares()
        await insist(self._context, lambda: self._ledger.keep_counts(source_counts, target_counts))
        await insist(self._context, self._progress.recount)
        await self._judge(source_counts, target_counts)
        if self._context.settings.run.mode == "replace":
            self._context.enter(RunState.FINISHING, "swapping tables")
            await insist(self._context, lambda: self._require_all_rows(target_counts))
            await insist(self._context, lambda: self._swap())
            await insist(self._context, lambda: name_indexes(self._ledger, self._plan))
            await insist(self._context, lambda: self._analyze_exchanged())

    # --- a run that follows its source --------------------------------------------------------------------------------

    async def build_keys(self) -> None:
        """Keys and statistics of all tables: changes are found by keys.

        Raises:
            MigrationError: a key cannot be built.
        """
        self._context.enter(RunState.FINISHING, "building keys")
        builders = await insist(self._context, lambda: builders_for(self._ledger))

        async def build(table: TablePlan) -> None:
            load = self._ledger.load(table.task_id)

            async def step() -> None:
                wait_s = ending.LOCK_TIMEOUT_S
                async with self._ledger.own_session(lock_timeout_s=wait_s, is_shared=True) as connection:
                    began = time.monotonic()
                    if await ending.build_key(
                        connection, load, table.mapping, has_key=table.has_key, key_name=table.key
                    ):
                        self.key_s[table.task_id] = time.monotonic() - began
                    await ending.analyze(connection, load, rows_made=self._rows_made(table))

            async with builders.place():
                self._enter(table, TableState.BUILDING_KEY)
                await insist(self._context, step)
            self._enter(table, TableState.FOLLOWING)

        try:
            await together(*(build(table) for table in self._plan.tables))
        finally:
            await self._ledger.close_spares()

    async def count_followed(self, after: CausalTime, without: Collection[int] = ()) -> list[str]:
        """Count both sides of a source that is still, and say what does not hold, in a few words each.

        Args:
            after: its last write; the source is counted as it was then or later.
            without: tasks of tables that need not be what their collections are.
        """
        self._context.enter(RunState.FINISHING, "counting both sides")
        uri = self._context.settings.source.connection
        source = await insist(
            self._context, lambda: asyncio.to_thread(count_source, uri, self._plan.tables, after=after)
        )
        target = {
            table.task_id: await insist(self._context, partial(self._ledger.count_rows, table.task_id))
            for table in self._plan.tables
        }
        rejected = await insist(self._context, self._ledger.kept_rejects)
        self._followed = {task_id: (source[task_id], target[task_id], rejected.get(task_id, 0)) for task_id in source}
        for task_id in without:  # what the table has is what there was to read
            _, rows, rejects = self._followed[task_id]
            self._followed[task_id] = (rows - self._ledger.load(task_id).count_before + rejects, rows, rejects)
        mode = self._context.settings.run.mode
        return [
            f"{table.namespace}: {problem}"
            for table in self._plan.tables
            if table.task_id not in without
            for problem in explain_followed(mode, self._ledger.load(table.task_id), *self._followed[table.task_id])
        ]

    async def swap_obstacles(self) -> list[str]:
        """Why the tables of mode `replace` could not be put in their places now, a sentence each."""
        if self._context.settings.run.mode != "replace":
            return []
        loads = [self._ledger.load(table.task_id) for table in self._plan.tables]
        async with self._ledger.session() as connection:
            return await ending.swap_obstacles(
                connection,
                loads,
                mappings_of,
                drops=self._context.settings.run.drops,
                planned_indexes=signatures(self._plan),
            )

    async def complete_followed(
        self, mark: int, last_look: Callable[[bool], None], is_undone: Callable[[], None]
    ) -> None:
        """Put the tables of mode `replace` in their places, keep what was counted, and let the run be cut over: one
        transaction. Nothing is to do where that is committed.

        Args:
            mark: the source's last write.
            last_look: called right before the commit, with whether everything up to the mark is applied; what it raises rolls
                everything back.
            is_undone: called before each try, and when it is given up, if it is certain that none before it was or will be
                committed.

        Raises:
            MigrationError: something keeps a table from being replaced.
            asyncpg.PostgresError: the server refuses it.
        """
        is_replacing = self._context.settings.run.mode == "replace"
        self._context.enter(RunState.FINISHING, "swapping tables" if is_replacing else "completing")

        async def seal(connection: asyncpg.Connection) -> None:
            last_look(await self._ledger.keep_followed(connection, mark, self._followed))

        async def is_done() -> bool:
            async with self._ledger.own_session(lock_timeout_s=ending.LOCK_TIMEOUT_S) as connection:
                return await self._ledger.settled_phase(connection) == DONE

        async def step() -> None:
            if await is_done():  # where the answer to its COMMIT was lost
                return
            is_undone()
            if is_replacing:
                await self._swap(seal)
                return
            async with (
                self._ledger.own_session(lock_timeout_s=ending.LOCK_TIMEOUT_S) as connection,
                connection.transaction(),
            ):
                await seal(connection)

        try:
            await insist(self._context, step)
        except EXPLAINED:
            # Refused, maybe as late as at its COMMIT, as by a constraint that is looked at then.
            with contextlib.suppress(*EXPLAINED, TimeoutError):
                async with asyncio.timeout(ending.LOCK_TIMEOUT_S):
                    if await is_done():
                        return
                    is_undone()
            raise

    async def set_sequences(self) -> list[str]:
        """Let sequences of columns that the run has written go on behind their largest values; those that were behind."""
        found: list[str] = []
        for table in self._plan.tables:
            columns = [column.name for column in table.mapping.columns]

            async def step(table: TablePlan = table, columns: list[str] = columns) -> list[str]:
                async with self._ledger.own_session(lock_timeout_s=ending.LOCK_TIMEOUT_S) as connection:
                    return await ending.set_sequences(connection, TableName(table.schema_name, table.table), columns)

            try:
                found += await insist(self._context, step)
            except asyncpg.PostgresError as error:
                message = (
                    f"Sequences of {table.target} were not set behind the largest values: {describe(error)[1]} Do it before "
                    "your application inserts rows."
                )
                self._context.emit(ProblemReported(code="sequence", message=message, namespace=table.namespace))
        return found

    async def end_followed(self, without: Mapping[int, str]) -> None:
        """The run is cut over: make known what was kept, which holds.

        Args:
            without: tasks of tables that need not be what their collections are, each with why.
        """
        if self._context.settings.run.mode == "replace":
            await insist(self._context, lambda: name_indexes(self._ledger, self._plan))
            await insist(self._context, lambda: self._analyze_exchanged())
        await insist(self._context, self._progress.recount)
        counted = await insist(self._context, self._ledger.kept_counts)
        for table in self._plan.tables:
            if table.task_id in without:
                message = f"{table.namespace}: {without[table.task_id]}, so its table was not compared with the source."
                self._context.emit(ProblemReported(code="not_compared", message=message, namespace=table.namespace))
                self._enter(table, TableState.STOPPED)
                continue
            source, target = counted[table.task_id]
            self._context.emit(TableCounted(task_id=table.task_id, source=source, target=target, ok=True))
            self._enter(table, TableState.DONE)
        self._context.emit(VerificationEnded(verification=Verification.VERIFIED))

    # --- parts of it --------------------------------------------------------------------------------------------------

    async def _require_all_rows(self, target: dict[int, int]) -> None:
        """Raise MigrationError when a staging table does not hold what the ledger says was written to it."""
        for task_id, counters in self._context.record.tables.items():
            if await self._is_swapped(self._ledger.load(task_id)):
                continue
            if target[task_id] != counters.written or counters.read != counters.written + counters.rejected:
                raise MigrationError(
                    f"{counters.table} was not replaced: the table loaded beside it has {counted(target[task_id], 'row')}, "
                    f"{counted(counters.written, 'was', 'were')} written. The old table stays as it is.",
                    code="mismatch",
                )

    async def _is_swapped(self, load: TableLoad) -> bool:
        async with self._ledger.session() as connection:
            return await ending.is_swapped(connection, load)

    async def _tell_of_others(self, table: TablePlan, before: int) -> None:
        """Rows of a table that is in place already may be more or less than the run's: say so, it is no mismatch."""
        now = await self._ledger.count_rows(table.task_id)
        if now != before:
            message = (
                f"{table.target} was put in its place with {counted(before, 'row')} before this run was resumed. It has "
                f"{now:,} now: others have written to it since. What the run is judged by are the rows counted before that."
            )
            self._context.emit(ProblemReported(code=WRITTEN_SINCE, message=message, namespace=table.namespace))

    async def _swap(self, seal: Callable[[asyncpg.Connection], Awaitable[None]] | None = None) -> None:
        """Put the staging tables in place.

        Args:
            seal: what belongs into the same transaction, at its end.
        """
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
                seal=seal,
            )

    async def _analyze_exchanged(self) -> None:
        """Tables that stayed have other rows than their statistics tell of."""
        for load in await self._ledger.exchanged():
            async with self._ledger.own_session(lock_timeout_s=ending.LOCK_TIMEOUT_S) as connection:
                await ending.analyze(connection, load)

    async def _finish_table(self, table: TablePlan, builders: Builders, rows: dict[int, int]) -> None:
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
            wait_s = ending.LOCK_TIMEOUT_S
            async with self._ledger.own_session(lock_timeout_s=wait_s, is_shared=True) as connection:
                # Both only read: neither waits for the other. A key takes all the processors that the server gives it; these
                # and the count of the source, which has begun, take one each, so they come before it.
                await together(ending.analyze(connection, load, rows_made=self._rows_made(table)), count())
                await ending.build_key(
                    connection, load, table.mapping, has_key=table.has_key, key_name=table.key, at_once=self._at_once
                )

        async with builders.place():
            self._enter(table, TableState.BUILDING_KEY)
            await insist(self._context, finish)
            if not table.indexes:
                self._enter(table, TableState.DONE)

    def _rows_made(self, table: TablePlan) -> int:
        """Rows that the run has written to a table that it has made; 0 of a table of others."""
        load = self._ledger.load(table.task_id)
        is_new = load.made or load.staging is not None
        return self._context.record.counters(table.task_id).written if is_new else 0

    async def _small_groups(self) -> list[list[TablePlan]]:
        """Small tables that the run has made, in groups that are finished together."""
        small = [table for table in self._plan.tables if self._is_small(table)]
        if len(small) < FEWEST_TOGETHER:
            return []
        async with self._ledger.session() as connection:
            room = (await lock_table(connection)).tables_at_once(LOCKS_OF_NEW * BUILDERS)
        at_once = min(AT_ONCE, room, -(-len(small) // BUILDERS))
        return [small[first : first + at_once] for first in range(0, len(small), at_once)]

    def _is_small(self, table: TablePlan) -> bool:
        load = self._ledger.load(table.task_id)
        has_doubts = bool(key_doubts(table.mapping, self._context.settings.run.mode))
        return (
            load.made
            and load.target_count is None
            and not has_doubts
            and self._context.record.counters(table.task_id).written <= SMALL_ROWS
        )

    async def _finish_group(self, tables: list[TablePlan], builders: Builders, rows: dict[int, int]) -> None:
        """Keys, statistics and counts of small tables; each by itself where they cannot be had together."""
        small = [
            SmallTable(
                self._ledger.load(table.task_id),
                table.mapping.id_column.name if table.has_key else "",
                table.key,
            )
            for table in tables
        ]
        found: dict[int, int] | None = None
        async with builders.place():
            for table in tables:
                self._enter(table, TableState.BUILDING_KEY)
            try:
                wait_s = ending.LOCK_TIMEOUT_S
                async with self._ledger.own_session(lock_timeout_s=wait_s, is_shared=True) as connection:
                    found = await finish_together(connection, small)
            except EXPLAINED as error:
                log.info("small tables are finished one by one: %s", failure_of(error).sentence)
            if found is not None:
                rows.update(found)
                for table in tables:
                    if not table.indexes:
                        self._enter(table, TableState.DONE)
        if found is None:
            await together(*(self._finish_table(table, builders, rows) for table in tables))

    def _enter(self, table: TablePlan, state: TableState) -> None:
        self._context.emit(TableStage(task_id=table.task_id, namespace=table.namespace, state=state.value))

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
                    f"{counted(counters.written, 'document was', 'documents were')} written to {counted(rows, 'row')}, since "
                    "keys that MongoDB keeps apart are one in the table; a full verification names them"
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
