"""What a run may do to the servers, and what it does about it when that is too much."""

from __future__ import annotations

from typing import Literal

from engine.protocol.wire import Wire

GuardState = Literal["fine", "slows", "pauses", "waiting", "unseen"]
"""`waiting`: it was not looked at yet; `unseen`: it cannot be seen, and the guard does nothing."""


class GuardView(Wire):
    """One guard."""

    name: str
    """As in section `[guard]`: `standby_lag`."""
    state: GuardState
    words: str = ""
    """What it sees, with the limit that is passed: "standby standby1 replays 14 s behind (limit 10 s)"."""
    value: float | None = None
    """What it sees as a number, in the unit of its setting; null where there is none."""
    limit: float | None = None
    """From where on it slows the run down; null where it only pauses."""
    hard: float | None = None
    """From where on it pauses the run; null where it only slows down."""
    remedy: str = ""
    """A command for an administrator, with which it could see; empty where there is none."""


class GuardsView(Wire):
    """All guards of a run that are on, and what they do."""

    on: bool = True
    """False: they are turned off."""
    action: Literal["", "slowed", "paused"] = ""
    """What is done to the run now."""
    reason: str = ""
    """What the most severe one sees, while something is done; what it saw last, while the run comes back."""
    share: float = 1.0
    """Of the rate before, that is let through."""
    rows_per_s: int | None = None
    """Most rows per second that guards let through; null where they set no limit."""
    guards: list[GuardView] = []
    """The most severe first."""
