"""When a run has too many rejects to be worth going on: the operator's limit, and a table of nothing but rejects."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from engine.errors import MigrationError
from engine.ledger import history
from engine.ledger.ledger import Ledger
from engine.plurals import counted
from engine.postgres.sqlstates import UNREACHABLE
from engine.protocol import RejectGroup
from engine.run.record import ADVICE, RunRecord

ALL_REJECTED = 10_000
"""Without a limit, a table whose first so many documents are all rejects ends the run: there is no sense in trying the rest."""
ENOUGH_FOR_SHARE = 1_000
"""Documents that are read before a share is judged, unless the run has fewer."""

log = logging.getLogger(__name__)


class RejectGuard:
    """Watches the counters of a run, and ends it with the one cause named."""

    def __init__(self, limit: str, record: RunRecord, ledger: Ledger, fail: Callable[[MigrationError], None]) -> None:
        """Nothing is watched by itself: call `look` after each slice.

        Args:
            limit: the setting `run.max_rejects`: "" for none, "250", or "1%" of the documents expected.
            record: the run's counters.
            ledger: knows the rejects.
            fail: ends the run.
        """
        self._limit = limit
        self._record = record
        self._ledger = ledger
        self._fail = fail
        self._ending: asyncio.Task[None] | None = None

    def look(self) -> None:
        """End the run when there are too many by now."""
        words = self._too_many(is_end=False)
        if words and self._ending is None:
            self._ending = asyncio.create_task(self._end(words), name="too many rejects")

    async def look_at_end(self) -> None:
        """Everything is copied: raise MigrationError when there are too many after all."""
        words = self._too_many(is_end=True)
        if words:
            raise await self._error(words)

    def _too_many(self, *, is_end: bool) -> str:
        """What is too much, as text; empty while nothing is."""
        record = self._record
        if not self._limit:
            for table in record.tables.values():
                if table.rejected >= ALL_REJECTED and not table.written:
                    return f"all of the first {table.read:,} documents of {table.namespace} were rejected"
            return ""
        if not self._limit.endswith("%"):
            if record.rejected > int(self._limit):
                documents = counted(record.rejected, "document was", "documents were")
                return f"{documents} rejected, more than run.max_rejects = {self._limit} allows"
            return ""
        allowed = record.total * float(self._limit[:-1]) / 100
        if record.rejected > allowed and (is_end or record.read >= ENOUGH_FOR_SHARE):
            were = "was" if record.rejected == 1 else "were"
            return (
                f"{record.rejected:,} of {counted(record.total, 'document')} {were} rejected, more than run.max_rejects = "
                f'"{self._limit}" allows'
            )
        return ""

    async def _end(self, words: str) -> None:
        self._fail(await self._error(words))

    async def _error(self, words: str) -> MigrationError:
        return MigrationError(
            f"The run was stopped: {words}.{await self._cause()} Remove the cause and start a new run, or set "
            "run.max_rejects higher and resume this one.",
            code="max_rejects",
        )

    async def _cause(self) -> str:
        """A sentence about the biggest group of rejects."""
        try:
            groups = (await history.list_rejects(self._ledger, self._ledger.run_id, 0)).groups
        except UNREACHABLE:
            log.exception("the rejects cannot be looked at")
            return ""
        return f" {_sentence(groups[0])}" if groups else ""


def _sentence(group: RejectGroup) -> str:
    where = f" in field {group.field}" if group.field else ""
    state = f" ({group.sqlstate})" if group.sqlstate else ""
    advice = ADVICE.get(group.reason, "")
    cause = f"The biggest cause is {group.reason}{state}{where} of {group.namespace}, {counted(group.count, 'time')}."
    return f"{cause} {advice}".rstrip()
