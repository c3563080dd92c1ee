"""MongoDB's secondary indexes on the target tables, after the load: several at a time, each at no risk to the rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from engine.ledger.ledger import Ledger
from engine.plan import Plan, TablePlan
from engine.postgres.finish import LOCK_TIMEOUT_S
from engine.postgres.indexes import Index, build_by_hand, build_index, take_index_names
from engine.protocol import IndexesBuilt, ProblemReported, RunState, TableStage, TableState
from engine.run.context import RunContext
from engine.run.steps import insist, together

BUILDERS = 4
"""Keys and indexes built at a time, where the target has so many connections free."""
INDEX_PROBLEM = "index"
"""Code of the problem that one could not be built: the run completes, but not with exit code 0."""
LEFT_PROBLEM = "index_left"
"""Code of the problem that PostgreSQL cannot have one: known from the plan on, so not a failure."""


@dataclass(frozen=True, slots=True)
class Builders:
    """How many keys and indexes are built at a time."""

    most: int
    turn: asyncio.Semaphore
    """Of those that build; who waits longest is next."""
    until_clear: Callable[[], Awaitable[None]] | None = None
    """Returns when guards let another one be begun; None where they do not hold the run."""

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """One may be built."""
        async with self.turn:
            if self.until_clear is not None:
                await self.until_clear()
            yield


async def builders_for(ledger: Ledger, until_clear: Callable[[], Awaitable[None]] | None = None) -> Builders:
    """As many as the target has connections for.

    Args:
        until_clear: waited for before each one.
    """
    most = max(1, min(BUILDERS, await ledger.free_connections()))
    return Builders(most, asyncio.Semaphore(most), until_clear)


class Indexing:
    """Builds what the plan has of secondary indexes, and tells what could not be built; each table's when it has its key.

    Tables that were there before are left alone.
    """

    def __init__(self, context: RunContext, ledger: Ledger, plan: Plan, builders: Builders) -> None:
        """Nothing is built yet."""
        self._context = context
        self._ledger = ledger
        self._builders = builders
        self._without_keys = {table.task_id for table in plan.tables}
        self._has_any = any(table.indexes or table.left_indexes for table in plan.tables)
        self._at_once = min(builders.most, sum(len(table.indexes) for table in plan.tables))

    async def build(self, tables: Sequence[TablePlan]) -> None:
        """Build the indexes of tables that have their keys and statistics; others need not have theirs yet."""
        self._without_keys -= {table.task_id for table in tables}
        if self._has_any and not self._without_keys:
            self._context.enter(RunState.FINISHING, "building indexes")
        await together(*(self._build_all(table) for table in tables if table.indexes or table.left_indexes))

    async def _build_all(self, table: TablePlan) -> None:
        context, ledger = self._context, self._ledger
        for sentence in table.left_indexes:
            context.emit(ProblemReported(code=LEFT_PROBLEM, message=sentence, namespace=table.namespace))
        load = ledger.load(table.task_id)
        if not load.made:
            if table.indexes:
                named = ", ".join(index.name for index in table.indexes)
                message = (
                    f"Table {load.target} was there before, so its indexes are left as they are; planned were {named}."
                )
                context.emit(ProblemReported(code=LEFT_PROBLEM, message=message, namespace=table.namespace))
            return

        async def refusal_of(index: Index) -> str | None:
            async with ledger.own_session(lock_timeout_s=LOCK_TIMEOUT_S, is_shared=True) as connection:
                return await build_index(connection, ledger.run_id, load, index, at_once=self._at_once)

        built: list[bool] = []

        async def build(index: Index) -> None:
            async with self._builders.place():
                refusal = await insist(context, lambda: refusal_of(index))
            if refusal is not None:
                context.emit(
                    ProblemReported(
                        code=INDEX_PROBLEM,
                        message=refusal,
                        namespace=table.namespace,
                        advice=build_by_hand(index, load.target),
                    )
                )
            built.append(refusal is None)

        def enter(state: TableState) -> None:
            stage = TableStage(task_id=table.task_id, namespace=table.namespace, state=state.value)
            context.emit(stage.model_copy(update={"indexes": len(table.indexes)}))

        if table.indexes:
            enter(TableState.BUILDING_INDEXES)
        await together(*(build(index) for index in table.indexes))
        if table.indexes:
            enter(TableState.DONE)
        context.emit(IndexesBuilt(task_id=table.task_id, built=built.count(True), failed=built.count(False)))


async def name_indexes(ledger: Ledger, plan: Plan) -> None:
    """After the swap of mode `replace`: the indexes take the names that they were planned with."""
    async with ledger.own_session(lock_timeout_s=LOCK_TIMEOUT_S) as connection:
        for table in plan.tables:
            load = ledger.load(table.task_id)
            await take_index_names(connection, ledger.run_id, load, table.indexes)
