"""Whole collections compared with their tables, where changes of a run are not known any more: what differs is applied again.

Nothing is applied meanwhile. Documents that have no equal row become keys to be applied; rows of which no document has the key
are deleted at the end, unless something was applied since the beginning, by a worker that was taken for dead: then it begins
again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from engine.errors import MissingCollection
from engine.follow.compare_job import CompareJob
from engine.ledger import follow, lanes
from engine.ledger.ledger import Ledger
from engine.mapping.names import TableName
from engine.mongo import catalogue, partition
from engine.mongo import connect as mongo
from engine.mongo.causal import CausalTime
from engine.mongo.collections import collection_of
from engine.mongo.reader import Range
from engine.plan import TablePlan
from engine.plurals import counted
from engine.postgres import keys, removed
from engine.postgres.sqlstates import UNREACHABLE
from engine.protocol import ProblemReported, RunState
from engine.run.context import RunContext
from engine.run.steps import insist
from engine.work.messages import COMPARE_TASKS, ApplyTask, CompareLease

COMPARED = "compared"
"""Code of the news of what was found."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What was found of all tables."""

    n_documents: int
    n_differ: int
    """Documents, to be applied."""
    n_deleted: int
    """Rows of no document."""
    another: frozenset[int]
    """Tasks of tables whose collection became another one meanwhile: none of their rows were deleted."""


class Comparing:
    """Compares all tables of a run, on its cluster; any number of times."""

    def __init__(self, context: RunContext, ledger: Ledger) -> None:
        """Nothing is compared yet."""
        self.job = CompareJob(context)
        self._context = context
        self._ledger = ledger
        self._numbers = count(1)

    async def run(self, tables: Sequence[TablePlan], tasks: Mapping[int, ApplyTask], after: CausalTime) -> Compared:
        """Compare tables with their collections, and have what differs applied. A collection that is known not to be there, by
        the UUID of its task, has no document.

        Args:
            tasks: by task of the ledger.
            after: documents are read as they were then, or later; what changes from then on is collected.

        Raises:
            MigrationError: a server failed it. Cancelled: so asked.
        """
        context = self._context
        is_draining = context.record.state is RunState.DRAINING
        context.enter(RunState.DRAINING if is_draining else RunState.RUNNING, "comparing with the source")
        names = {task_id: keys.keys_table(self._ledger.run_id, task_id) for task_id in tasks}
        deletes = context.settings.run.mode != "upsert"
        for task_id, task in tasks.items():
            number = COMPARE_TASKS + task_id
            self.job.tasks[number] = replace(task, task_id=number, keys_table=names[task_id] if deletes else "")
        context.cluster.forget_tasks()
        n_deleted = 0
        self.job.n_documents = self.job.n_differ = 0
        another: set[int] = set()
        left = list(tables)
        try:
            while left:
                behind = {
                    table.task_id: await insist(context, partial(self._begin, table, tasks, names)) for table in left
                }
                there = [table for table in left if tasks[table.task_id].uuid]
                ranges = await insist(context, partial(asyncio.to_thread, self._cut, there))
                self.job.add(
                    [
                        CompareLease(COMPARE_TASKS + task_id, next(self._numbers), span.lower, True, span.upper, after)
                        for task_id, spans in ranges.items()
                        for span in spans
                    ]
                )
                context.cluster.dispatch()
                await context.until(lambda: self.job.is_finished and not context.is_paused)
                again = []
                # Asked when all is read: one that was dropped meanwhile reads as empty.
                another |= await insist(context, partial(asyncio.to_thread, self._another, left, tasks))
                for table in left:
                    if table.task_id in another:
                        continue
                    task = tasks[table.task_id]
                    ended = await insist(context, partial(self._end, task, behind[table.task_id], deletes=deletes))
                    if ended is None:
                        again.append(table)
                    else:
                        n_deleted += ended
                left = again
        finally:
            for lease in self.job.stop():  # where that is broken off
                context.cluster.recall(lease)
            # A target that is away is no reason for the run to end; what stays there is dropped before it is made again.
            with contextlib.suppress(*UNREACHABLE):
                async with self._ledger.session() as connection:
                    for name in names.values():
                        await keys.drop(connection, name)
        found = Compared(self.job.n_documents, self.job.n_differ, n_deleted, frozenset(another))
        self._tell(found, deletes=deletes)
        return found

    async def _begin(self, table: TablePlan, tasks: Mapping[int, ApplyTask], names: Mapping[int, str]) -> Sequence[int]:
        """Wait for what is being applied; rejects are looked at again, whatever became of their documents."""
        task = tasks[table.task_id]
        async with self._ledger.own_session() as connection:
            await keys.create(connection, names[table.task_id], TableName(task.schema, task.table), task.mapping)
            behind = await lanes.fence(connection, task.run_id, task.table_id, task.lanes)
            async with connection.transaction():
                await follow.add_rejects(connection, task.run_id, task.table_id, task.lanes)
        return behind

    def _cut(self, tables: Sequence[TablePlan]) -> dict[int, list[Range]]:
        """Ranges of `_id` of each table's collection, by task; none of one that has gone meanwhile. Blocks."""
        context = self._context
        client = mongo.connect(context.settings.source.connection, app_name=self._ledger.app_name)
        workers = context.record.knobs["cluster_size"]
        ranges = {}
        try:
            for table in tables:
                with contextlib.suppress(MissingCollection):  # the look at the end finds that it is another one
                    facts = catalogue.collection_facts(client, table.database, table.collection)
                    collection = collection_of(client, table.database, table.collection)
                    ranges[table.task_id] = partition.partitions(collection, facts, workers)
            return ranges
        finally:
            client.close()

    def _another(self, tables: Sequence[TablePlan], tasks: Mapping[int, ApplyTask]) -> set[int]:
        """Tasks of those whose collection is not the one that is compared. Blocks."""
        client = mongo.connect(self._context.settings.source.connection, app_name=self._ledger.app_name)
        try:
            uuids = catalogue.uuids_of(client, [(table.database, table.collection) for table in tables])
        finally:
            client.close()
        return {
            table.task_id
            for table in tables
            if uuids.get((table.database, table.collection), "") != tasks[table.task_id].uuid
        }

    async def _end(self, task: ApplyTask, behind: Sequence[int], *, deletes: bool) -> int | None:
        """Delete the rows of no document; how many, or None when something was applied meanwhile, or a crash of the server has
        emptied the table of keys: then all is compared again."""
        if not deletes:
            return 0
        name = keys.keys_table(task.run_id, task.table_id)
        async with self._ledger.own_session() as connection:
            try:
                async with connection.transaction(isolation="read_committed"):
                    await lanes.claim_all(connection, task.run_id, task.table_id, behind)
                    if not await keys.is_whole(connection, name, task.mapping):
                        return None  # rows of keys that are missing now would be taken for rows of no document
                    return await removed.delete_others(
                        connection, TableName(task.schema, task.table), task.mapping.id_column.name, name
                    )
            except lanes.LaneTaken:
                return None
            except removed.REFERRED as error:
                message = (
                    f"Rows of no document stay in {task.schema}.{task.table}: rows of other tables refer to them"
                    f" ({error.constraint_name})."
                )
                self._context.emit(ProblemReported(code="referred", message=message))
                return 0

    def _tell(self, found: Compared, *, deletes: bool) -> None:
        message = (
            f"The source was compared with the tables: of {counted(found.n_documents, 'document')} "
            f"{counted(found.n_differ, 'differs and is', 'differ and are')} applied"
        )
        deleted = counted(found.n_deleted, "row of no document was", "rows of no document were")
        message += (
            f"; {deleted} deleted." if deletes else ". Rows of no document stay: in mode upsert they may be others'."
        )
        self._context.emit(ProblemReported(code=COMPARED, message=message))
