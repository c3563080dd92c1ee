"""The seeding of a run: synthetic users into one collection, by the whole cluster, in leases of index ranges."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.cluster.leases import SeedLeases
from engine.mongo import connect as mongo
from engine.mongo import rights
from engine.mongo.collections import collection_of
from engine.notation import parsed_source
from engine.protocol import DocumentsSeeded, RunState
from engine.work import seeding
from engine.work.messages import Committed, Returned, SeedLease, SeedTask

if TYPE_CHECKING:
    from engine.run.run import Migration

SEED_TASK_ID = 0


class Seeding:
    """Fills the collection up to the seed count, which may move while it does."""

    def __init__(self, migration: Migration) -> None:
        self._migration = migration
        settings = migration.settings.seed
        named = parsed_source(settings.collection, "seed.collection")
        self.task = SeedTask(SEED_TASK_ID, named.database, named.collection, settings.seed)
        self.leases = SeedLeases(SEED_TASK_ID, 0, 0)
        self._is_counting = True
        """What is there already is being counted: no leases yet."""

    async def run(self) -> None:
        """Seed until the count is reached and every range is done."""
        migration = self._migration
        migration.enter(RunState.SEEDING, "seeding")
        supervisor = migration.supervisor
        assert supervisor is not None
        supervisor.resize(migration.record.knobs["cluster_size"])
        there = await migration.interruptible(asyncio.to_thread(self._count_existing))
        self.leases = SeedLeases(SEED_TASK_ID, there, migration.record.knobs["seed_count"])
        self._is_counting = False
        migration.emit(DocumentsSeeded(documents=there))
        migration.dispatch()
        await migration.until(lambda: self.leases.is_finished)

    def _count_existing(self) -> int:
        client = mongo.connect(self._migration.source_uri, app_name=f"mongopg-tui {self._migration.run_id}")
        try:
            rights.require(client, [(self.task.database, self.task.collection)], "readWrite")
            there = seeding.existing(collection_of(client, self.task.database, self.task.collection), self.task.seed)
        finally:
            client.close()
        namespace = f"{self.task.database}.{self.task.collection}"
        seeding.check_collection(there, namespace, self._migration.settings.seed.into_existing)
        return there.users

    def next_lease(self, page_size: int) -> SeedLease | None:
        """The next range; None when the count is reached."""
        return None if self._is_counting else self.leases.take(page_size)

    async def set_count(self, count: int) -> str:
        """Move the seed count; says when that applies.

        Raises:
            KnobError: it is raised, and the copy that follows has read the collection's end already.
        """
        copying = self._migration.copying
        if copying is not None and count > self.leases.n_expected:
            await copying.tail.keep_open()
        self.leases.count = count
        if copying is not None:
            copying.tail.expect(self.leases.n_expected)
            if self.leases.is_finished:
                copying.tail.release()
        return "at once"

    def committed(self, message: Committed) -> None:
        """A part of a range is inserted."""
        lease = self._lease_of(message)
        if lease is not None:
            self.leases.progress(lease, message.n_written)
            self._migration.emit(DocumentsSeeded(documents=self.leases.n_seeded))

    def _lease_of(self, message: Committed) -> SeedLease | None:
        """Ranges are told apart by where they begin, which travels as the message's partition."""
        return next((lease for lease in self.leases.out if lease.low == message.partition_id), None)

    def returned(self, message: Returned) -> None:
        """A range is done, or its rest is given back."""
        lease, rest = message.lease, message.rest
        assert isinstance(lease, SeedLease)
        if message.finished:
            self.leases.finish(lease)
        elif isinstance(rest, SeedLease) and rest.low > lease.low:
            self.leases.give_back(lease, rest)
        else:
            self.leases.lose(lease)
        if self._migration.copying is not None and self.leases.is_finished:
            self._migration.copying.tail.release()
