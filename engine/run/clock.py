"""How long a run has been going on, and how long of that counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class RunClock:
    """Stands at 0 until it is started."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started: float | None = None
        self._stopped: float | None = None
        self._left_out_s = 0.0

    def start(self) -> None:
        """Count from now on: the run is accepted."""
        self._started = self._clock()

    def stop(self) -> None:
        """Count no more: the run is over."""
        self._stopped = self._clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the start, standing still after the end."""
        if self._started is None:
            return 0.0
        return (self._stopped or self._clock()) - self._started

    @property
    def seconds(self) -> float:
        """`elapsed` without what was left out."""
        return self.elapsed - self._left_out_s

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """Within the block time does not count: seeding, starting embedded servers."""
        began = self._clock()
        try:
            yield
        finally:
            self._left_out_s += self._clock() - began
