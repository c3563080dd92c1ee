"""What was read of the source for a plan, kept while the plan is edited: the evidence does not change under an operator."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from engine.mapping.census import Census
from engine.mongo.catalogue import CollectionFacts
from engine.mongo.id_kinds import IdKinds
from engine.mongo.indexes import SourceIndex
from engine.mongo.record_cuts import Lying

MOST_BYTES = 256 * 1024 * 1024
"""Of documents that are kept for previews, of all collections together; without them a collection is read again."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What came of a sample."""

    census: Census
    """Of its documents; of none where they were not to be counted."""
    kept: list[bytes]
    """Some of its documents, where they are to be looked at."""
    is_cut: bool
    """The bound in bytes ended it."""
    is_whole: bool
    """It was the whole collection."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was read of one collection."""

    facts: CollectionFacts
    part: CollectionFacts
    """The same of what is to be copied."""
    drawn: Drawn | None
    """The sample; None where none was needed."""
    id_kinds: IdKinds
    indexes: Sequence[SourceIndex] | None
    """None where they do not matter."""
    lying: Lying
    """How its documents lie; not told where that is not looked at."""


@dataclass(frozen=True, slots=True)
class LookKey:
    """What a look depends on, but for the levels of documents that were counted."""

    uri: str
    namespace: str
    query: bytes
    limit: int
    sample_size: int
    sample_bytes: int
    converter: str
    counts: bool
    """The documents of the sample were counted; otherwise they were only kept."""


class KnownLooks:
    """The looks of an engine, the one that was used last at the end. Threads may share it."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """Nothing is known yet.

        Args:
            most_bytes: of documents to keep.
        """
        self._most_bytes = most_bytes
        self._kept: OrderedDict[LookKey, tuple[int, Look]] = OrderedDict()
        self._lock = threading.Lock()
        self.out_of_reach: dict[str, str] = {}
        """Targets that could not be connected to, by connection string, and why."""

    def find(self, key: LookKey, levels: int) -> Look | None:
        """The look of that key, if it counted documents at least so many levels down."""
        with self._lock:
            counted, look = self._kept.get(key, (-1, None))
            if look is None or counted < levels:
                return None
            self._kept.move_to_end(key)
            return look

    def keep(self, key: LookKey, levels: int, look: Look) -> None:
        """Know this from now on; what was used longest ago goes when there is no room for all."""
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = (levels, look)
            room = self._most_bytes - sum(map(_size, self._kept.values()))
            while room < 0 and self._kept:
                _, dropped = self._kept.popitem(last=False)
                room += _size(dropped)

    def forget(self) -> None:
        """Know nothing."""
        with self._lock:
            self._kept.clear()
        self.out_of_reach.clear()


def _size(entry: tuple[int, Look]) -> int:
    drawn = entry[1].drawn
    return sum(map(len, drawn.kept)) if drawn is not None else 0
