"""What natural order leaves to be read when the tables have their keys, and what is done when record ids mean nothing any more.

::

    every partition is copied, no gap
    -> the key is built: what workers had in hand is committed or gone then
    -> what lies behind the last record of the run's beginning is read: documents that came later, or were inserted again
    -> or, where the member is lost or numbers its records anew, everything is read by `_id`, on whatever member there is

A document that has a row by then, or is a reject of the run, does not count again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from functools import partial

from engine.errors import MigrationError
from engine.ledger.ledger import Ledger
from engine.mapping.cautions import listed
from engine.mongo import catalogue, partition
from engine.mongo import connect as mongo
from engine.mongo.collections import collection_of
from engine.mongo.reader import Range
from engine.plan import Plan, TablePlan
from engine.plurals import counted
from engine.protocol import ProblemReported
from engine.rows import TableLoad
from engine.run.context import RunContext
from engine.run.copy_job import CopyJob
from engine.run.copy_leases import partition_of
from engine.run.finish import Finishing
from engine.run.steps import insist
from engine.work.messages import CopyLease

READ_AGAIN = "they are read once more, by _id"
COMPARED = "they are missing until everything is compared with the source"
"""What becomes of documents that were read twice."""


class Due(Enum):
    """What is to be read again."""

    END = auto()
    """What lies behind the last record."""
    BY_ID = auto()
    """Everything."""


class FillIn:
    """The fill-ins of one run."""

    def __init__(
        self, context: RunContext, ledger: Ledger, plan: Plan, job: CopyJob, on_keys_built: Callable[[], None]
    ) -> None:
        """Nothing is read yet.

        Args:
            on_keys_built: called when workers have to be told other tasks.
        """
        self._context = context
        self._ledger = ledger
        self._plan = plan
        self._job = job
        self._on_keys_built = on_keys_built

    async def due(self) -> dict[int, Due]:
        """What is still to be begun, by task."""
        generations = await insist(self._context, self._ledger.generations)
        loads = {table.task_id: self._ledger.load(table.task_id) for table in self._plan.tables}
        return {task_id: due for task_id, load in loads.items() if (due := self._due(load, generations[task_id]))}

    def _due(self, load: TableLoad, generation: int) -> Due | None:
        if load.read_order != "natural":
            return None
        if load.first_generation:
            return Due.BY_ID if generation < load.first_generation else None
        if load.task_id in self._job.lost_numberings:
            return Due.BY_ID
        return Due.END if load.last_record is not None and generation == 0 else None

    async def begin(self, due: Mapping[int, Due], finishing: Finishing) -> None:
        """Build the keys of these tables, and add to the job what is to be read.

        Raises:
            MigrationError: a key cannot be built, or the source cannot be cut.
        """
        tables = [table for table in self._plan.tables if table.task_id in due]
        due = dict(due) | dict.fromkeys(await self._build_keys(tables, finishing, READ_AGAIN), Due.BY_ID)
        leases: list[CopyLease] = []
        for table in tables:
            leases += await self._partitions(table, due[table.task_id])
        await insist(self._context, self._ledger.read_loads)
        self._on_keys_built()
        self._job.begin_fill_in(leases)

    async def build_missing_keys(self, finishing: Finishing) -> None:
        """Build the keys that a copy in natural order has not come to, since it ended before: a comparison is to find what is
        missing in these tables.

        Raises:
            MigrationError: a key cannot be built.
        """
        without = [
            table
            for table in self._plan.tables
            if self._ledger.load(table.task_id).read_order == "natural"
            and not await insist(self._context, partial(self._ledger.has_key, table.task_id))
        ]
        if without:
            await self._build_keys(without, finishing, COMPARED)

    async def _build_keys(self, tables: Sequence[TablePlan], finishing: Finishing, then: str) -> list[int]:
        """Build keys; tasks of tables that had a key twice, whose rows are gone.

        Args:
            then: what becomes of these, in a sentence's end.
        """
        twice = await finishing.build_keys_of(tables)
        if twice:
            for table in twice:
                await self._remove_doubles(table, then)
            if again := await finishing.build_keys_of(twice):
                named = listed([str(self._ledger.load(table.task_id).target) for table in again])
                raise MigrationError(f"Keys come twice again in {named}: does another session write there?", code="key")
        return [table.task_id for table in twice]

    async def _remove_doubles(self, table: TablePlan, then: str) -> None:
        """A record id was given twice, as after a restart of the server: a document was read at both of its places."""
        partition_id = self._job.leases.new_id()
        n_rows = await insist(self._context, lambda: self._ledger.remove_doubles(table.task_id, partition_id))
        await insist(self._context, self._ledger.read_loads)
        message = (
            f"Of {table.namespace}, {counted(n_rows, 'row')} had a key that came twice, as documents were inserted again under "
            f"their _id while they were read: {then}."
        )
        self._context.emit(ProblemReported(code="read_twice", message=message, namespace=table.namespace, retry=True))
        await insist(self._context, self._job.progress.recount)

    async def _partitions(self, table: TablePlan, due: Due) -> list[CopyLease]:
        """The partitions of a fill-in, written to the ledger."""
        load = self._ledger.load(table.task_id)
        generation = 1 + (await insist(self._context, self._ledger.generations))[table.task_id]
        if due is Due.END:
            first, ranges = None, [Range(load.last_record, None)]
        else:
            first = generation = max(generation, load.first_generation)
            ranges = await insist(self._context, lambda: asyncio.to_thread(self._cut, table))
        leases = [self._job.leases.new(table.task_id, span.lower, span.upper) for span in ranges]
        parts = [partition_of(lease, generation) for lease in leases]
        await insist(self._context, lambda: self._ledger.begin_fill_in(parts, first_generation=first))
        return leases

    def _cut(self, table: TablePlan) -> list[Range]:
        client = mongo.connect(self._context.settings.source.connection, app_name=self._ledger.app_name)
        try:
            facts = catalogue.collection_facts(client, table.database, table.collection)
            collection = collection_of(client, table.database, table.collection)
            return partition.partitions(collection, facts, self._context.record.knobs["cluster_size"])
        finally:
            client.close()
