"""MongoDB's secondary indexes of a run that follows its source.

Those that are not unique are built when the tables have their keys, before changes are applied. A unique one may not hold
while changes are applied in any order: rows that it refuses wait for others (`engine.work.apply`). It is built while the run
follows, or, with `run.unique = "after"`, in the cut-over, when the writers are stopped; one that was built in a cut-over that
is called off is dropped again. One that cannot be built, since rows share a key, costs that index.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from engine.errors import MigrationError
from engine.ledger.ledger import Ledger
from engine.plan import Plan, TablePlan
from engine.postgres.finish import LOCK_TIMEOUT_S
from engine.postgres.indexes import (
    Index,
    build_by_hand,
    build_concurrently,
    build_index,
    drop_index,
    is_built,
    staged_name,
)
from engine.protocol import FollowReason, IndexesBuilt, ProblemReported, RunState, TableStage, TableState
from engine.run.context import RunContext
from engine.run.indexing import INDEX_PROBLEM, Indexing, builders_for
from engine.run.steps import insist, together
from engine.work.connections import EXPLAINED, failure_of

OTHERS_S = 60.0
"""To build one while rows are written waits so long for transactions of others; then it is begun anew."""
AGAIN_S = 10.0
"""One that could not be built is tried again so often: rows that shared a key may not any more."""

log = logging.getLogger(__name__)


class FollowedIndexes:
    """The indexes that the plan has, of tables that the run has made."""

    def __init__(self, context: RunContext, ledger: Ledger, plan: Plan, *, at_the_end: bool) -> None:
        """Nothing is built yet.

        Args:
            at_the_end: unique ones are built in the cut-over.
        """
        self._context = context
        self._ledger = ledger
        self._plan = plan
        self._at_the_end = at_the_end
        self._unique = [
            (table, index) for table in plan.tables for index in table.indexes if index.unique and self._is_ours(table)
        ]
        self._refusals: dict[str, str | None] = {}
        """Of those that were tried, by table and name; None of those that are there."""
        self._built_last: list[tuple[TablePlan, Index]] = []
        """In the cut-over in hand."""
        self._keeping: asyncio.Task[None] | None = None

    def _is_ours(self, table: TablePlan) -> bool:
        return self._ledger.load(table.task_id).made

    # --- before changes are applied -----------------------------------------------------------------------------------

    async def begin(self, *, was_broken_off: bool) -> None:
        """Build those that are not unique, on tables that have their keys.

        Args:
            was_broken_off: an earlier engine ended in a cut-over, and may have built unique ones in it.
        """
        if self._at_the_end and was_broken_off:
            await together(*(self._drop(table, index) for table, index in self._unique))
        plain = [
            table.model_copy(update={"indexes": tuple(index for index in table.indexes if not index.unique)})
            for table in self._plan.tables
        ]
        if any(table.indexes or table.left_indexes for table in plain):
            builders = await insist(self._context, lambda: builders_for(self._ledger))
            plan = self._plan.model_copy(update={"tables": plain})
            try:
                await Indexing(self._context, self._ledger, plan, builders).build(plain)
            finally:
                await self._ledger.close_spares()
            for table in plain:
                if table.indexes and self._is_ours(table):  # which are not done by that
                    stage = TableStage(
                        task_id=table.task_id, namespace=table.namespace, state=TableState.FOLLOWING.value
                    )
                    self._context.emit(stage)

    # --- while it follows ---------------------------------------------------------------------------------------------

    def keep_building(self) -> None:
        """Build the unique ones beside all else, unless they are to be built in the cut-over."""
        if self._unique and not self._at_the_end and self._keeping is None:
            self._keeping = asyncio.create_task(self._keep(), name="unique indexes")
            self._keeping.add_done_callback(self._kept)

    def _kept(self, task: asyncio.Task[None]) -> None:
        """All are there, or it was stopped; nothing else ends it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("unique indexes are not built any more", exc_info=error)
            self._context.fail(MigrationError(f"The engine failed with {type(error).__name__}.", code="internal"))

    async def stop(self) -> None:
        """Build none beside all else; what was being built is left half done."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None

    async def _keep(self) -> None:
        while missing := self._missing():
            for table, index in missing:
                await self._build_beside(table, index)
            await asyncio.sleep(AGAIN_S if self._missing() else 0)

    async def _build_beside(self, table: TablePlan, index: Index) -> None:
        try:
            async with self._ledger.own_session(lock_timeout_s=OTHERS_S) as connection:
                load = self._ledger.load(table.task_id)
                self._refusals[_name(table, index)] = await build_concurrently(
                    connection, self._ledger.run_id, load, index
                )
        except EXPLAINED as error:
            log.info("index %s is tried again: %s", index.name, failure_of(error).sentence)

    def _missing(self) -> list[tuple[TablePlan, Index]]:
        return [
            (table, index) for table, index in self._unique if self._refusals.get(_name(table, index), "") is not None
        ]

    @property
    def reasons(self) -> list[FollowReason]:
        """Why the run is not ready to be cut over: a unique index was not tried yet."""
        if self._at_the_end:
            return []
        waiting = [index.name for table, index in self._unique if _name(table, index) not in self._refusals]
        if not waiting:
            return []
        return [FollowReason(code="indexes", message=f"unique indexes are being built ({', '.join(waiting)})")]

    def notes(self, key_s: Mapping[int, float]) -> list[FollowReason]:
        """What to know before a cut-over.

        Args:
            key_s: seconds that the key of a table took, by task; where that is known.
        """
        if not self._at_the_end:
            return [
                FollowReason(code="index_refused", message=sentence) for sentence in self._refusals.values() if sentence
            ]
        if not self._unique:
            return []
        known = [key_s.get(table.task_id) for table, _ in self._unique]
        names = ", ".join(index.name for _, index in self._unique)
        seconds = [each for each in known if each is not None]
        how_long = f", about {sum(seconds):.0f} s by what the keys took" if len(seconds) == len(known) else ""
        return [
            FollowReason(code="indexes_after", message=f"unique indexes are built in the cut-over{how_long}: {names}")
        ]

    @property
    def names(self) -> dict[str, str]:
        """What the indexes of staging tables will be called, by what they are called now."""
        return {staged_name(index, self._ledger.run_id): index.name for _, index in self._unique}

    # --- in the cut-over ----------------------------------------------------------------------------------------------

    async def build_last(self) -> None:
        """Build the unique ones that are missing, while no row is written."""
        await self.stop()
        missing = self._missing()
        if not missing:
            return
        self._context.enter(RunState.FINISHING, "building unique indexes")
        builders = await insist(self._context, lambda: builders_for(self._ledger))
        at_once = min(builders.most, len(missing))

        async def build(table: TablePlan, index: Index) -> None:
            load = self._ledger.load(table.task_id)

            async def step() -> str | None:
                async with self._ledger.own_session(lock_timeout_s=LOCK_TIMEOUT_S, is_shared=True) as connection:
                    if not await is_built(connection, self._ledger.run_id, load, index):
                        await drop_index(connection, self._ledger.run_id, load, index)
                    return await build_index(connection, self._ledger.run_id, load, index, at_once=at_once)

            async with builders.place():
                self._built_last.append((table, index))
                self._refusals[_name(table, index)] = await insist(self._context, step)

        try:
            await together(*(build(table, index) for table, index in missing))
        finally:
            await self._ledger.close_spares()

    async def called_off(self) -> None:
        """Following goes on: what was built in the cut-over goes, and unique ones are built beside all else again."""
        dropped, self._built_last = self._built_last, []
        await together(*(self._drop(table, index) for table, index in dropped))
        self.keep_building()

    async def _drop(self, table: TablePlan, index: Index) -> None:
        async def step() -> None:
            async with self._ledger.own_session(lock_timeout_s=LOCK_TIMEOUT_S) as connection:
                await drop_index(connection, self._ledger.run_id, self._ledger.load(table.task_id), index)

        await insist(self._context, step)
        self._refusals.pop(_name(table, index), None)

    async def tell(self) -> None:
        """The run is cut over: what it has of its indexes."""
        for table in self._plan.tables:
            if not table.indexes or not self._is_ours(table):
                continue
            async with self._ledger.session() as connection:
                load = self._ledger.load(table.task_id)
                there = [await is_built(connection, self._ledger.run_id, load, index) for index in table.indexes]
            for index, has_it in zip(table.indexes, there, strict=True):
                if not has_it and index.unique:
                    sentence = (
                        self._refusals.get(_name(table, index)) or f"Index {index.name} of {load.target} is missing."
                    )
                    self._context.emit(
                        ProblemReported(
                            code=INDEX_PROBLEM,
                            message=sentence,
                            namespace=table.namespace,
                            advice=build_by_hand(index, load.target),
                        )
                    )
            self._context.emit(IndexesBuilt(task_id=table.task_id, built=there.count(True), failed=there.count(False)))


def _name(table: TablePlan, index: Index) -> str:
    return f"{table.target} {index.name}"
