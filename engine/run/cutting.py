"""Cutting partitions that wait again, when a cluster has outgrown their number."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from engine.errors import MigrationError
from engine.mongo import connect as mongo
from engine.mongo import partition
from engine.mongo.collections import collection_of
from engine.mongo.reader import Range
from engine.retries import insist
from engine.work.connections import EXPLAINED, explain
from engine.work.messages import CopyLease

if TYPE_CHECKING:
    from engine.run.copy import Copying
    from engine.run.run import Migration

ENOUGH_PER_WORKER = 2
"""With fewer partitions waiting for each worker of a grown cluster, waiting ones are cut again."""


log = logging.getLogger(__name__)


class Cutting:
    """Makes enough partitions for the workers of a copy."""

    def __init__(self, copying: Copying, migration: Migration) -> None:
        self._copying = copying
        self._migration = migration
        self._cutting: asyncio.Task[None] | None = None

    @property
    def is_going_on(self) -> bool:
        """Some partitions are out of the queue, and come back in pieces."""
        return self._cutting is not None and not self._cutting.done()

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What goes on, to be ended with the run."""
        return [self._cutting] if self._cutting is not None and not self._cutting.done() else []

    def begin(self, workers: int) -> None:
        """When a cluster of so many outgrows the queue, cut waiting partitions."""
        if self._copying.is_open and not self.is_going_on and self._copying.tasks:
            self._cutting = asyncio.create_task(self._cut(workers), name="cut partitions")
            self._cutting.add_done_callback(self._done)

    def _done(self, cutting: asyncio.Task[None]) -> None:
        if not cutting.cancelled() and (error := cutting.exception()) is not None:
            log.error("cutting partitions failed", exc_info=error)
            if not isinstance(error, MigrationError):
                error = MigrationError(f"Partitions could not be cut: {explain(error)[1]}")
            self._migration.fail(error)
        self._migration.dispatch()

    async def _cut(self, workers: int) -> None:
        waiting = len(self._copying.leases.waiting)
        candidates = [
            lease
            for lease in self._copying.leases.waiting
            if lease.slice_no == 0
            and self._copying.tasks[lease.task_id].has_range_reads
            and not self._copying.tail.has(lease)
        ]
        if not candidates or waiting >= ENOUGH_PER_WORKER * workers:
            return
        parts = -(-ENOUGH_PER_WORKER * workers // max(1, waiting))
        try:
            client = await asyncio.to_thread(
                mongo.connect, self._migration.source_uri, app_name=self._copying.journal.app_name
            )
        except MigrationError as error:
            log.warning("partitions stay as large as they are: %s", error.message)
            return
        try:
            for candidate in candidates:
                lease = self._copying.leases.withdraw(candidate.partition_id)
                if lease is None:
                    continue  # somebody took it meanwhile
                self._copying.leases.add(await self._cut_one(client, lease, parts))
                self._migration.dispatch()
        finally:
            client.close()

    async def _cut_one(self, client: mongo.Client, lease: CopyLease, parts: int) -> list[CopyLease]:
        """What takes a partition's place among the leases, in the ledger as well.

        Raises:
            MigrationError, asyncpg.PostgresError, OSError: nobody knows what the ledger has now.
        """
        task = self._copying.tasks[lease.task_id]
        collection = collection_of(client, task.database, task.collection)
        try:
            spans = await asyncio.to_thread(partition.split, collection, Range(lease.lower, lease.upper), parts)
        except EXPLAINED as error:
            log.warning("partition %d stays as large as it is: %s", lease.partition_id, explain(error)[1])
            return [lease]
        if len(spans) < 2:
            return [lease]
        pieces = [self._copying.leases.new(lease.task_id, span.lower, span.upper) for span in spans]
        journal = self._copying.journal
        if not await insist(self._migration, lambda: journal.replace_partition(lease.partition_id, pieces)):
            # A slice that was in doubt when the lease was given back is committed.
            rest = await self._copying.as_in_the_ledger(lease)
            if rest is None:
                self._copying.leases.n_done += 1
            return [rest] if rest is not None else []
        self._copying.extents.cut(lease, pieces)
        return pieces
