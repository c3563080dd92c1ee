"""What is committed of a run: each slice is counted once, whichever worker reports it, and however often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from engine.ledger.ledger import Ledger
from engine.ledger.partitions import Position
from engine.protocol import Event, SliceCommitted
from engine.work.claims import as_committed
from engine.work.messages import Committed


class CopyProgress:
    """Turns reports of committed slices, and the ledger where no worker lived to report, into events that count them."""

    def __init__(self, emit: Callable[[Event], None], ledger: Ledger) -> None:
        self._emit = emit
        self._ledger = ledger
        self._n_counted: dict[int, int] = {}
        """Partition -> how many of its slices are in the counters."""
        self._n_read: Counter[int] = Counter()
        """Partition -> documents in its committed slices."""

    def begin_at(self, position: Position) -> None:
        """A partition of a resumed run: what the ledger has of it is counted by `recount`."""
        self._n_counted[position.partition.partition_id] = position.next_slice_no
        self._n_read[position.partition.partition_id] = position.n_read

    def n_read(self, partition_id: int) -> int:
        """Documents of a partition that are committed as rows or as rejects."""
        return self._n_read[partition_id]

    def committed(self, message: Committed) -> None:
        """Count a slice that is committed, once."""
        if message.slice_no < self._n_counted.get(message.partition_id, 0):
            return
        self._n_counted[message.partition_id] = message.slice_no + 1
        self._n_read[message.partition_id] += message.n_read
        self._emit(
            SliceCommitted(
                task_id=message.task_id,
                partition=message.partition_id,
                slice_no=message.slice_no,
                read=message.n_read,
                written=message.n_written,
                rejected=message.n_rejected,
                bytes=message.n_bytes,
                reasons=dict(message.reasons),
                policies=dict(message.policy_hits),
            )
        )

    async def catch_up(self, task_id: int, partition_id: int) -> Position:
        """Count what a dead worker committed without a word; returns where its partition is."""
        known = self._n_counted.get(partition_id, 0)
        position, claims = await self._ledger.position(partition_id, known)
        for claim in claims:
            self.committed(as_committed(task_id, partition_id, claim))
        return position

    async def recount(self) -> None:
        """Take the counters from the ledger, while no worker has a lease."""
        self._emit(await self._ledger.totals())

    async def last_count(self) -> None:
        """The run has ended: a slice that was being committed just then is in the ledger, or it is not."""
        totals = await self._ledger.last_totals()
        if totals is not None:
            self._emit(totals)
