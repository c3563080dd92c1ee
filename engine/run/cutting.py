"""Cutting partitions that wait again, when a cluster has outgrown their number."""

from __future__ import annotations

import asyncio
import logging

from engine.errors import MigrationError
from engine.knobs import LOCAL_MOST
from engine.ledger.ledger import Ledger
from engine.mongo import catalogue, natural, partition, record_cuts
from engine.mongo import connect as mongo
from engine.mongo.collections import collection_of
from engine.mongo.natural import Numbering
from engine.mongo.reader import Range
from engine.run.context import RunContext
from engine.run.copy_job import CopyJob
from engine.run.copy_leases import partition_of
from engine.run.steps import insist
from engine.work.connections import EXPLAINED, failure_of
from engine.work.messages import CopyLease, CopyTask, Task

ENOUGH_PER_WORKER = 2
"""With fewer partitions waiting for each worker of a grown cluster, waiting ones are cut again."""


log = logging.getLogger(__name__)


class Cutting:
    """Makes enough partitions for the workers of a copy."""

    def __init__(self, context: RunContext, job: CopyJob, ledger: Ledger) -> None:
        self._context = context
        self._job = job
        self._ledger = ledger
        self._cutting: asyncio.Task[None] | None = None
        self._bounds: dict[int, list[bytes]] = {}
        """Of sampled documents of collections that are read in natural order, by task."""

    @property
    def is_going_on(self) -> bool:
        """Some partitions are out of the queue, and come back in pieces."""
        return self._cutting is not None and not self._cutting.done()

    async def stop(self) -> None:
        """End the cutting that is going on."""
        if self._cutting is not None:
            self._cutting.cancel()
            await asyncio.gather(self._cutting, return_exceptions=True)

    def begin(self, workers: int) -> None:
        """When a cluster of so many outgrows the queue, cut waiting partitions."""
        if self._job.may_grow and not self.is_going_on and self._job.tasks:
            self._cutting = asyncio.create_task(self._cut(workers), name="cut partitions")
            self._cutting.add_done_callback(self._done)

    def _done(self, cutting: asyncio.Task[None]) -> None:
        if not cutting.cancelled() and (error := cutting.exception()) is not None:
            log.error("cutting partitions failed", exc_info=error)
            if not isinstance(error, MigrationError):
                error = MigrationError(f"Partitions could not be cut: {failure_of(error).sentence}")
            self._context.fail(error)
        self._context.cluster.dispatch()

    async def _cut(self, workers: int) -> None:
        leases = self._job.leases
        waiting = len(leases.waiting)
        candidates = [
            lease
            for lease in leases.waiting
            if lease.slice_no == 0 and self._has_range_reads(lease) and not self._job.open.has(lease)
        ]
        if not candidates or waiting >= ENOUGH_PER_WORKER * workers:
            return
        parts = -(-ENOUGH_PER_WORKER * workers // max(1, waiting))
        try:
            uri = self._context.settings.source.connection
            client = await asyncio.to_thread(mongo.connect, uri, app_name=self._ledger.app_name)
        except MigrationError as error:
            log.warning("partitions stay as large as they are: %s", error.message)
            return
        try:
            for candidate in candidates:
                lease = leases.withdraw(candidate.key)
                if lease is None:
                    continue  # a worker took it meanwhile
                leases.replace(lease.key, await self._cut_one(client, lease, parts))
                self._context.cluster.dispatch()
        finally:
            client.close()

    def _has_range_reads(self, lease: CopyLease) -> bool:
        task = self._job.tasks[lease.task_id]
        return isinstance(task, CopyTask) and task.has_range_reads

    async def _cut_one(self, client: mongo.Client, lease: CopyLease, parts: int) -> list[CopyLease]:
        """What takes a partition's place among the leases, in the ledger as well; nothing when it is done.

        Raises:
            MigrationError, asyncpg.PostgresError, OSError: nothing is known of what the ledger has now.
        """
        task = self._job.tasks[lease.task_id]
        try:
            spans = await asyncio.to_thread(self._split, client, task, Range(lease.lower, lease.upper), parts)
        except EXPLAINED as error:
            log.warning("partition %d stays as large as it is: %s", lease.partition_id, failure_of(error).sentence)
            return [lease]
        if len(spans) < 2:
            return [lease]
        pieces = [self._job.leases.new(lease.task_id, span.lower, span.upper) for span in spans]
        whole, parts_of_it = lease.partition_id, [partition_of(piece) for piece in pieces]
        if not await insist(self._context, lambda: self._ledger.replace_partition(whole, parts_of_it)):
            # A slice that was in doubt when the lease was given back is committed.
            rest = await self._job.as_in_the_ledger(lease)
            return [rest] if rest is not None else []
        self._job.sizes.cut(lease, pieces)
        return pieces

    def _split(self, client: mongo.Client, task: Task, span: Range, parts: int) -> list[Range]:
        """A range in at most so many parts. Blocks."""
        collection = collection_of(client, task.database, task.collection)
        numbering = task.numbering if isinstance(task, CopyTask) else None
        if numbering is None:
            return partition.split(collection, span, parts)
        if task.task_id not in self._bounds:
            self._bounds[task.task_id] = self._sample(client, task, numbering)
        return record_cuts.split(span, self._bounds[task.task_id], parts)

    def _sample(self, client: mongo.Client, task: Task, numbering: Numbering) -> list[bytes]:
        """Where sampled documents of a collection lie."""
        uri = self._context.settings.source.connection
        pinned = mongo.connect(uri, app_name=self._ledger.app_name, member=numbering.member)
        try:
            collection = collection_of(pinned, task.database, task.collection)
            facts = catalogue.collection_facts(client, task.database, task.collection)
            bounds = record_cuts.some_bounds(collection, facts, ENOUGH_PER_WORKER * LOCAL_MOST)
            natural.require_numbering(collection, numbering, [numbering.top] if numbering.top is not None else [])
            return bounds
        finally:
            pinned.close()
