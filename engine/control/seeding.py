"""The seeding of a run: synthetic users into one collection, by the whole cluster, in leases of index ranges."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.control.leases import SeedLeases
from engine.control.protocol import RunState
from engine.errors import KnobError, UsageError
from engine.source import mongo
from engine.work import seed
from engine.work.messages import Committed, Returned, SeedLease, SeedTask

if TYPE_CHECKING:
    from engine.control.copying import Copying
    from engine.control.migration import Migration

SEED_TASK_ID = 0


class Seeding:
    """Fills the collection up to the seed count, which may move while it does."""

    def __init__(self, migration: Migration) -> None:
        self._migration = migration
        settings = migration.settings.seed
        database, _, collection = settings.collection.partition(".")
        if not database or not collection:
            raise UsageError(f'seed.collection must be "database.collection", not {settings.collection!r}.')
        self.task = SeedTask(SEED_TASK_ID, database, collection, settings.seed)
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
        migration.emit("seeded", documents=there)
        migration.dispatch()
        await migration.until(lambda: self.leases.is_finished)

    def _count_existing(self) -> int:
        client = mongo.connect(self._migration.source_uri, app_name=f"mongopg-tui {self._migration.run_id}")
        try:
            collection = client[self.task.database][self.task.collection]
            there, has_others = seed.existing_seeded(collection, self.task.seed)
        finally:
            client.close()
        if has_others and not self._migration.settings.seed.into_existing:
            raise UsageError(
                f"{self.task.database}.{self.task.collection} holds documents that this seed did not make: "
                "choose another collection, or allow it with --into-existing (seed.into_existing)."
            )
        return there

    def next_lease(self, page_size: int) -> SeedLease | None:
        """The next range; None when the count is reached."""
        return None if self._is_counting else self.leases.take(page_size)

    def set_count(self, count: int, copying: Copying | None) -> str:
        """Move the seed count; says when that applies. Raises KnobError when the copy is past the point to raise it."""
        if copying is not None and not self._is_counting and count > self.leases.count:
            if not copying.is_open:
                raise KnobError("seed_count cannot be raised any more: the copy has ended.")
            copying.expect_more(seed.first_key(self.task.seed, self.leases.n_expected))
        self.leases.count = count
        return "at once"

    def committed(self, message: Committed) -> None:
        """A part of a range is inserted."""
        lease = self._lease_of(message)
        if lease is not None:
            self.leases.progress(lease, message.n_written)
            self._migration.emit("seeded", documents=self.leases.n_seeded)

    def _lease_of(self, message: Committed) -> SeedLease | None:
        """Ranges are told apart by where they begin, which travels as the message's partition."""
        return next((lease for lease in self.leases.out if lease.low == message.partition_id), None)

    def returned(self, message: Returned) -> None:
        """A range is done, or its rest is given back."""
        assert isinstance(message.lease, SeedLease)
        if message.finished:
            self.leases.finish(message.lease)
        else:
            assert isinstance(message.rest, SeedLease)
            self.leases.give_back(message.lease, message.rest)
        copying = self._migration.copying
        if copying is not None and self.leases.is_finished:
            copying.no_more()
