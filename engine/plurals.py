"""Counts in sentences."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun, and what else agrees with it: 1 is "1 row", 1200 is "1,200 rows".

    Args:
        many: of several, where that is not `one` with an s.
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
