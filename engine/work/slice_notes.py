"""What a worker notes of the slice in hand: how much went into it, and what its time went into."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from engine.ledger.partitions import age_of_rows
from engine.ledger.slices import PageResult
from engine.mapping.equal_keys import may_share_rows
from engine.mapping.names import TableName
from engine.postgres.page import CopyTarget
from engine.rows import Piece
from engine.work.feed import Feed
from engine.work.messages import Committed, CopyLease, CopyTask
from engine.work.slots import Field, Slot

SLICE_BYTES = 8 * 1024 * 1024
SLICE_S = 0.5
"""A slice ends at the first page end after so many bytes of BSON, or so long."""


@dataclass(slots=True)
class SliceNotes:
    """What went into the slice in hand."""

    began: float = field(default_factory=time.monotonic)
    seen: int = 0
    """Documents that were read, whether they count or not."""
    read: int = 0
    written: int = 0
    rejected: int = 0
    n_bytes: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    policy_hits: Counter[str] = field(default_factory=Counter)

    @property
    def is_full(self) -> bool:
        """It ends at the end of the page in hand."""
        return self.n_bytes >= SLICE_BYTES or time.monotonic() - self.began >= SLICE_S

    def add(self, written: PageResult) -> None:
        """A page is written."""
        self.read += written.n_read
        self.written += written.n_written
        self.rejected += written.n_rejected
        self.n_bytes += written.n_bytes
        self.reasons.update(written.reasons)

    def committed(self, lease: CopyLease, *, final: bool) -> Committed:
        """The report of it, for the partition that a lease is of."""
        return Committed(
            task_id=lease.task_id,
            partition_id=lease.partition_id,
            slice_no=lease.slice_no,
            n_read=self.read,
            n_written=self.written,
            n_rejected=self.rejected,
            n_bytes=self.n_bytes,
            final=final,
            reasons=tuple(self.reasons.items()),
            policy_hits=tuple(self.policy_hits.items()),
        )

    def show(self, slot: Slot) -> None:
        """It is committed."""
        slot.add(Field.WRITTEN, self.written)
        slot.add(Field.REJECTED, self.rejected)
        slot[Field.PROGRESS_NS] = time.monotonic_ns()


class WritingTime:
    """What of a worker's time is PostgreSQL's: all that does not go into reading, converting and the throttle."""

    def __init__(self, slot: Slot) -> None:
        """It counts from now on."""
        self._slot = slot
        self._at_ns, self._others_ns = time.monotonic_ns(), self._others()

    def account(self) -> None:
        """Add what has passed since it was last looked at."""
        now_ns, others_ns = time.monotonic_ns(), self._others()
        self._slot.add(Field.WRITING_NS, max(0, now_ns - self._at_ns - (others_ns - self._others_ns)))
        self._at_ns, self._others_ns = now_ns, others_ns

    def _others(self) -> int:
        return sum(self._slot[field] for field in (Field.READING_NS, Field.CONVERTING_NS, Field.THROTTLED_NS))


async def noted(
    feed: Feed, notes: SliceNotes, writing: WritingTime, slot: Slot, *, may_end_early: bool
) -> AsyncIterator[Piece]:
    """The pieces of a page, noted when they come and when they are sent."""
    async for piece in feed.page(may_end_early=may_end_early):
        notes.policy_hits.update(piece.rows.policy_hits)
        notes.seen += piece.rows.n_read
        yield piece
        writing.account()
        slot.add(Field.SENT, len(piece.rows.row_ends))


def target_of(task: CopyTask) -> CopyTarget:
    """Where the rows of a task go."""
    shares = may_share_rows(task.mapping, task.mode, is_view=not task.has_range_reads)
    return CopyTarget(
        table=TableName(task.schema, task.table),
        columns=tuple(column.name for column in task.mapping.columns),
        namespace=f"{task.database}.{task.collection}",
        upsert_key=task.mapping.id_column.name if task.mode == "upsert" else "",
        written_since=age_of_rows(task.run_id) if shares else "",
    )
