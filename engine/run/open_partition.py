"""The last partition of a collection that is seeded beside its copy: it stays open until no more documents come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.errors import KnobError
from engine.protocol import TotalChanged
from engine.work.messages import CopyLease, CopyTask

if TYPE_CHECKING:
    from engine.run.copy import Copying
    from engine.run.run import Migration

POLL_S = 0.01


class Tail:
    """It has no upper end, so documents to come are its own."""

    def __init__(self, copying: Copying, migration: Migration) -> None:
        self._copying = copying
        self._migration = migration
        self._is_kept = False
        """Documents are being seeded: it waits for them."""

    def has(self, lease: CopyLease) -> bool:
        """This lease is it, or the rest of it."""
        return lease.upper is None and self._is_seeded(self._copying.tasks[lease.task_id])

    def takes(self, rest: CopyLease) -> bool:
        """What a worker gives back is to be held, not to be given on."""
        return self._is_kept and self.has(rest)

    async def keep_open(self) -> None:
        """More documents are about to be seeded: keep it back until `release`.

        Raises:
            KnobError: it is read to its end already.
        """
        copying, leases = self._copying, self._copying.leases
        self._is_kept = True
        while copying.is_open:
            if any(self.has(lease) for lease in leases.held.values()):
                return
            waiting = next((lease for lease in leases.waiting if self.has(lease)), None)
            if waiting is not None:
                leases.withdraw(waiting.partition_id)
                leases.hold(waiting)
                return
            out = next((lease for lease in leases.out.values() if self.has(lease)), None)
            if out is None and copying.tasks and not copying.is_recovering and not copying.cutting.is_going_on:
                break
            if out is not None and self._migration.supervisor is not None:
                self._migration.supervisor.recall(out.partition_id)
            await asyncio.sleep(POLL_S)  # its holder ends a page, or the plan is still being made
        self._is_kept = False
        raise KnobError("seed_count cannot be raised any more: the copy has read the collection to its end.")

    def release(self) -> None:
        """Seeding has ended: it is copied."""
        self._is_kept = False
        self._copying.leases.release()
        self._migration.dispatch()

    def expect(self, documents: int) -> None:
        """The seeded collection will hold so many documents."""
        for task_id, task in self._copying.tasks.items():
            if self._is_seeded(task):
                limit = self._migration.settings.run.limit or documents
                self._migration.emit(TotalChanged(task_id=task_id, total=min(documents, limit)))

    def _is_seeded(self, task: CopyTask) -> bool:
        seeding = self._migration.seeding
        if seeding is None:
            return False
        return (task.database, task.collection) == (seeding.task.database, seeding.task.collection)
