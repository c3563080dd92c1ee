"""A worker's seeding: an index range of synthetic users, inserted and reported as it goes."""

from __future__ import annotations

import asyncio
import time

from pymongo.errors import PyMongoError

from engine.errors import ConnectError, MigrationError
from engine.mongo import connect as mongo
from engine.mongo import faults
from engine.mongo.collections import collection_of
from engine.retries import Patience
from engine.work import seeding
from engine.work.context import Work, WorkerContext
from engine.work.messages import Committed, Failed, Problem, Progress, Returned, SeedLease, SeedTask
from engine.work.slots import Field
from engine.work.users import UserPages


class Seeder(Work[SeedTask, SeedLease]):
    """Inserts ranges; keeps its client and its pools from lease to lease."""

    needs_target = False

    def __init__(self, context: WorkerContext) -> None:
        self._start = context.start
        self._slot = context.slot
        self._pace = context.pace
        self._report = context.report
        self._client: mongo.Client | None = None
        self._pages: dict[int, UserPages] = {}
        self._is_aborted = False

    async def work(self, task: SeedTask, lease: SeedLease) -> Returned | Failed:
        """Insert a range, or as much of it as the engine lets us; a range that is redone counts what is there."""
        loop = asyncio.get_running_loop()
        patience = Patience()
        self._is_aborted = False
        self._slot.state = "seeding"
        low = lease.low
        while True:
            try:
                low = await loop.run_in_executor(None, self._insert, loop, task, lease, low)
            except PyMongoError as error:
                failure = faults.failure_of(error)
                if not failure.is_transient or not patience.is_left:
                    is_unreachable = failure.is_transient and faults.is_connection_lost(error)
                    return Failed(lease, failure.code, failure.sentence, fatal=True, is_unreachable=is_unreachable)
                if self._client is not None and faults.is_of_old_client(error):
                    self._client.close()
                    self._client = None
                self._slot.state = "retrying"
                self._report(Problem(failure.code, failure.sentence))
                await patience.wait()
                self._slot.state = "seeding"
                # What was reported of this range stays counted: go on where the last report ended.
                low = max(low, self._reached)
            except MigrationError as error:
                is_unreachable = isinstance(error, ConnectError) and not error.is_final
                return Failed(lease, error.code, error.message, fatal=True, is_unreachable=is_unreachable)
            except asyncio.CancelledError:
                self._is_aborted = True
                raise
            else:
                if low >= lease.high:
                    return Returned(lease, finished=True)
                return Returned(lease, finished=False, rest=SeedLease(lease.task_id, low, lease.high))

    def _insert(self, loop: asyncio.AbstractEventLoop, task: SeedTask, lease: SeedLease, low: int) -> int:
        if self._client is None:
            self._client = mongo.connect(self._start.source_uri, app_name=self._start.app_name)
        pages = self._pages.get(task.seed)
        if pages is None:
            pages = self._pages[task.seed] = UserPages(task.seed)
        self._reached = low

        def inserted(count: int) -> None:
            self._reached += count
            self._slot.add(Field.SENT, count)
            self._slot.add(Field.WRITTEN, count)
            self._slot[Field.PROGRESS_NS] = time.monotonic_ns()
            message = Progress(lease.task_id, Committed(lease.task_id, lease.low, 0, count, count, 0, 0, final=False))
            loop.call_soon_threadsafe(self._report, message)

        return seeding.insert_range(
            collection_of(self._client, task.database, task.collection),
            pages,
            low,
            lease.high,
            on_inserted=inserted,
            should_stop=lambda: self._pace.is_yielding or self._is_aborted,
        )

    async def close(self) -> None:
        """Close the connection to MongoDB."""
        if self._client is not None:
            self._client.close()
