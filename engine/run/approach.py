"""Whether a run that follows catches up, how fast, and when it is through. Pure."""

from __future__ import annotations

from collections import deque

OVER_S = 10.0
"""It is told from what happened in the last seconds."""
SHORTEST_S = 5.0
"""Before so much is known it is not told."""


class Approach:
    """What waits and what was applied, from time to time."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._seen: deque[tuple[float, int, int]] = deque()

    def add(self, now: float, waiting: int, applied: int) -> None:
        """So many keys wait now.

        Args:
            now: seconds of a clock that is not set back.
            applied: keys that were applied until now.
        """
        self._seen.append((now, waiting, applied))
        while len(self._seen) > 2 and self._seen[1][0] <= now - OVER_S:
            self._seen.popleft()

    def clear(self) -> None:
        """Forget: nothing was applied meanwhile."""
        self._seen.clear()

    @property
    def _span(self) -> tuple[float, int, int] | None:
        """Seconds, keys fewer that wait, keys applied; None before that is known."""
        if len(self._seen) < 2:
            return None
        (began, before, applied_before), (now, waiting, applied) = self._seen[0], self._seen[-1]
        return (now - began, before - waiting, applied - applied_before) if now - began >= SHORTEST_S else None

    @property
    def speed(self) -> float | None:
        """Keys that are applied for each one that comes; None before that is known, and while none comes."""
        span = self._span
        if span is None:
            return None
        _, fewer, applied = span
        come = applied - fewer
        return applied / come if come > 0 else None

    @property
    def ready_in_s(self) -> float | None:
        """Seconds until no key waits, at this speed; None before that is known, and where it never will be."""
        span = self._span
        if span is None or span[1] <= 0:
            return None
        return self._seen[-1][1] / (span[1] / span[0])

    @property
    def is_never(self) -> bool:
        """At this speed there will always be keys that wait."""
        span = self._span
        return span is not None and span[1] <= 0 and self._seen[-1][1] > 0
