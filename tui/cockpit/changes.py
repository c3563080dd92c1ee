"""What the screens of a cockpit are told of, as signals that they subscribe to while they are mounted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from textual.app import App
from textual.signal import Signal

from engine.config import Settings
from tui.cockpit.commands import Situation


class Changes:
    """The signals of one cockpit; a subscriber is called once it has handled its earlier messages."""

    def __init__(self, app: App[None]) -> None:
        self.settings: Signal[Settings] = Signal(app, "settings")
        """Other settings were applied."""
        self.situation: Signal[Situation] = Signal(app, "situation")
        """The run's state, which run it is, or what a screen is busy with may be another now."""
        self.idle_engine: Signal[None] = Signal(app, "idle engine")
        """There is an engine to test connections with."""
        self.redraw: Signal[None] = Signal(app, "redraw")
        """The run is to be drawn at once, without waiting for the clock."""
        self.held: Situation | None = None
        """The situation while nothing can change."""

    @contextmanager
    def none_within(self, situation: Situation) -> Iterator[None]:
        """What is asked within, and does not wait, is asked in this situation: it is not looked at again and again."""
        self.held = situation
        try:
            yield
        finally:
            self.held = None
