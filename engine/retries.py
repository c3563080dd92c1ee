"""How long a worker keeps trying when a server struggles: back-off with a cap, and an end."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 2.0
"""A server that comes back is noticed within this."""
LIMIT_S = 120.0
"""A server that is away for longer ends the lease, and with it a run, unless that follows: it waits."""


class Patience:
    """Waits that double up to a cap, with jitter, until so many seconds have passed without progress."""

    def __init__(
        self,
        limit_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        first_wait_s: float = FIRST_WAIT_S,
        longest_wait_s: float = LONGEST_WAIT_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._limit_s = LIMIT_S if limit_s is None else limit_s
        self._clock = clock
        self._first_wait_s = self._wait_s = first_wait_s
        self._longest_wait_s = longest_wait_s
        self._sleep = sleep
        self._since: float | None = None

    @property
    def is_left(self) -> bool:
        """Whether to try once more."""
        return self._since is None or self._clock() - self._since < self._limit_s

    async def wait(self) -> None:
        """Wait before the next try; workers that failed together do not come back together."""
        if self._since is None:
            self._since = self._clock()
        await self._sleep(self._wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
        self._wait_s = min(2 * self._wait_s, self._longest_wait_s)

    def renew(self) -> None:
        """There was progress: the next failure starts anew."""
        self._wait_s = self._first_wait_s
        self._since = None
