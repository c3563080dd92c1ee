"""MongoDB's secondary indexes on the target tables, after the load: several at a time, each at no risk to the rows."""

from __future__ import annotations

import asyncio

from engine.ledger.ledger import Ledger
from engine.plan import Plan, TablePlan
from engine.postgres.finish import LOCK_TIMEOUT_S
from engine.postgres.indexes import Index, build_by_hand, build_index, take_index_names
from engine.protocol import IndexesBuilt, ProblemReported, RunState
from engine.run.context import RunContext
from engine.run.steps import insist, together

BUILDERS = 4
"""Keys and indexes built at a time, where the target has so many connections free."""
INDEX_PROBLEM = "index"
"""Code of the problem that one could not be built: the run completes, but not with exit code 0."""
LEFT_PROBLEM = "index_left"
"""Code of the problem that PostgreSQL cannot have one: known from the plan on, so not a failure."""


async def builders_for(ledger: Ledger) -> asyncio.Semaphore:
    """As many as the target has connections for."""
    return asyncio.Semaphore(max(1, min(BUILDERS, await ledger.free_connections())))


async def build_indexes(context: RunContext, ledger: Ledger, plan: Plan, builders: asyncio.Semaphore) -> None:
    """Build what the plan has, and tell what could not be built. Tables that were there before are left alone."""
    tables = [table for table in plan.tables if table.indexes or table.left_indexes]
    if not tables:
        return
    context.enter(RunState.FINISHING, "building indexes")
    await together(*(_build_all(context, ledger, table, builders) for table in tables))


async def name_indexes(ledger: Ledger, plan: Plan) -> None:
    """After the swap of mode `replace`: the indexes take the names that they were planned with."""
    async with ledger.own_session(lock_timeout_s=LOCK_TIMEOUT_S) as connection:
        for table in plan.tables:
            load = ledger.load(table.task_id)
            await take_index_names(connection, ledger.run_id, load, table.indexes)


async def _build_all(context: RunContext, ledger: Ledger, table: TablePlan, builders: asyncio.Semaphore) -> None:
    for sentence in table.left_indexes:
        context.emit(ProblemReported(code=LEFT_PROBLEM, message=sentence, namespace=table.namespace))
    load = ledger.load(table.task_id)
    if not load.made:
        if table.indexes:
            named = ", ".join(index.name for index in table.indexes)
            context.emit(
                ProblemReported(
                    code=LEFT_PROBLEM,
                    message=f"Table {load.target} was there before, so its indexes are left as they are; planned were {named}.",
                    namespace=table.namespace,
                )
            )
        return

    async def refusal_of(index: Index) -> str | None:
        async with ledger.own_session(lock_timeout_s=LOCK_TIMEOUT_S) as connection:
            return await build_index(connection, ledger.run_id, load, index)

    built: list[bool] = []

    async def build(index: Index) -> None:
        async with builders:
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

    await together(*(build(index) for index in table.indexes))
    context.emit(IndexesBuilt(task_id=table.task_id, built=built.count(True), failed=built.count(False)))
