"""A timer of Textual 8.2.8 that never ends: `textual.timer.Timer` with an interval below zero.

`Timer._run` skips ticks that are missed already, and with an interval below zero every next one is, so it counts without ever
waiting and nothing else happens in the program. With zero it divides by it. `Toast` asks for such a timer by itself: for the
time that is left of a notification, which is over when a screen that shows it is mounted too late. Where Textual's timers have
no such interval, there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.timer import Timer

SHORTEST_S = 0.001
"""Of a timer that is due already: it ticks at once, and ends."""


def let_late_timers_end() -> None:
    """Have a timer whose time is over before it starts tick at once."""
    made: Callable[..., None] = Timer.__init__
    if hasattr(made, "lets_end"):
        return

    def make(self: Timer, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        if hasattr(self, "_interval"):
            self._interval = max(self._interval, SHORTEST_S)

    make.lets_end = True  # type: ignore[attr-defined]
    Timer.__init__ = make  # type: ignore[method-assign]
