"""Ranges of natural order as every kind of work reads them: from one member, whose numbering is looked at with each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pymongo.collection import Collection

from engine.mongo.causal import CausalTime
from engine.mongo.connect import Document
from engine.mongo.faults import is_connection_lost
from engine.mongo.natural import NUMBERING_LOST, NaturalReader, Numbering, require_numbering
from engine.mongo.reader import BatchSize
from engine.work.messages import Failed

MEMBER_LOST = "member_lost"
"""Code of a failure to reach the member whose record ids the bounds have."""

ORDER_LOST = frozenset({NUMBERING_LOST, MEMBER_LOST})
"""Codes of failures after which a collection cannot be read in natural order to its end."""


class NaturalRanges:
    """Makes readers, and remembers of which collections the file is known to be the one that it was."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        """Tasks."""

    def reader(
        self,
        task_id: int,
        numbering: Numbering,
        collection: Collection[Document],
        lower: bytes | None,
        upper: bytes | None,
        *,
        older: Sequence[bytes | None] | None = None,
        batch_size: BatchSize | None = None,
        projection: Document | None = None,
        at: int | None = None,
        after: CausalTime | None = None,
    ) -> NaturalReader:
        """A reader that raises `NumberingLost` where the bounds are of another numbering; see `NaturalReader`."""
        known = [lower, *(older or ()), upper, numbering.top]
        bounds = [bound for bound in known if bound is not None]

        def check() -> None:
            require_numbering(collection, numbering, bounds, looks_at_file=task_id not in self._known)
            self._known.add(task_id)

        return NaturalReader(
            collection,
            lower,
            upper,
            check=check,
            older=older,
            batch_size=batch_size,
            projection=projection,
            at=at,
            after=after,
        )

    def forget(self, task_id: int) -> None:
        """Something failed: the file is looked at again."""
        self._known.discard(task_id)


def told_apart(failed: Failed, error: Exception) -> Failed:
    """The failure of a range of natural order: that its member cannot be reached has a code, and is not this host's."""
    return replace(failed, code=MEMBER_LOST, is_unreachable=False) if is_connection_lost(error) else failed
