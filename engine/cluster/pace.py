"""How often something is sent: at once as long as that is seldom, gathered when there is much of it."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """So many times a second in the long run; a few at once after a rest."""

    def __init__(self, per_s: float, at_once: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Rested.

        Args:
            clock: in seconds.
        """
        self._per_s, self._at_once, self._clock = per_s, at_once, clock
        self._credit = float(at_once)
        self._counted = clock()

    def sent(self) -> float:
        """It was sent once more; seconds to wait before the next time."""
        now = self._clock()
        self._credit = min(float(self._at_once), self._credit + (now - self._counted) * self._per_s) - 1
        self._counted = now
        return max(0.0, (1 - self._credit) / self._per_s)
