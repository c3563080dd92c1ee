"""The documents with the most fields: their rows are those that may be too long for a page of PostgreSQL."""

from __future__ import annotations

import heapq

from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from engine.mapping.limits import MAX_ROW_BYTES

KEPT = 20
"""Documents that are kept."""
SHORTEST, LONGEST = MAX_ROW_BYTES // 3, 1024 * 1024
"""Bytes of those that are looked at: no value takes three times as much of a row as of its document, so the row of a shorter
one is never too long."""


class Widest:
    """Gathers them out of a sample."""

    def __init__(self, flatten: int) -> None:
        """None yet.

        Args:
            flatten: levels of nested documents whose fields get columns of their own.
        """
        self._flatten = flatten
        self._found: list[tuple[int, int, bytes]] = []
        self._n_added = 0

    def add(self, document: bytes) -> None:
        """Look at one document; one that cannot be read, or is far too large, is left out."""
        if not SHORTEST <= len(document) <= LONGEST:
            return
        try:
            n_fields = _count(RawBSONDocument(document), self._flatten)
        except (BSONError, ValueError):
            return
        self._n_added += 1
        entry = (n_fields, -self._n_added, document)
        if len(self._found) < KEPT:
            heapq.heappush(self._found, entry)
        else:
            heapq.heappushpop(self._found, entry)

    @property
    def documents(self) -> list[bytes]:
        """Those with the most fields, the widest first."""
        return [document for _, _, document in sorted(self._found, reverse=True)]


def _count(document: RawBSONDocument, levels: int) -> int:
    return sum(
        _count(value, levels - 1) if levels and isinstance(value, RawBSONDocument) else 1 for value in document.values()
    )
