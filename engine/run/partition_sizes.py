"""How large the partitions of a run are thought to be. Nothing counts them: their cuts are made for parts of one size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from engine.protocol import RangeView
from engine.work.messages import CopyLease


class PartitionSizes:
    """Documents in each partition, estimated."""

    def __init__(self) -> None:
        self._documents: dict[int, float] = {}
        """By partition."""

    def spread(self, leases: Sequence[CopyLease], documents_of: Callable[[int], int]) -> None:
        """All partitions of each table are known: its documents are spread over them.

        Args:
            documents_of: documents expected in a task's collection.
        """
        n_partitions = Counter(lease.task_id for lease in leases)
        for lease in leases:
            self._documents[lease.partition_id] = documents_of(lease.task_id) / n_partitions[lease.task_id]

    def cut(self, whole: CopyLease, pieces: Sequence[CopyLease]) -> None:
        """A partition was cut into others."""
        documents = self._documents.pop(whole.partition_id, 0.0)
        for piece in pieces:
            self._documents[piece.partition_id] = documents / len(pieces)

    def documents(self, lease: CopyLease) -> float:
        """How many there are thought to be in a partition."""
        return self._documents.get(lease.partition_id, 0.0)

    def view(self, leases: Sequence[CopyLease], done: int) -> RangeView:
        """How far partitions are, with so many documents of them done: they may be more than was thought."""
        return RangeView(done=done, total=round(sum(map(self.documents, leases))), is_exact=False)
