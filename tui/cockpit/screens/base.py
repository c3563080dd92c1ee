"""What the cockpit's screens share: header, footer, breakpoints, and which commands work."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import ActiveBinding
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from tui import garbage
from tui.cockpit.api import CockpitApi
from tui.cockpit.commands import BY_ACTION, Place, Situation
from tui.cockpit.dialogs.help import HelpScreen
from tui.cockpit.textual_internals.restyling import KeepsStyles
from tui.cockpit.widgets.footer import Footer
from tui.cockpit.widgets.header import Header

LEAST_WIDTH, LEAST_HEIGHT = 60, 14
"""Cells and lines below which one line takes the place of everything between header and footer."""


DRAWN_WITHIN_S = 0.1
"""A key is not held up for longer by what it has drawn first."""


class CockpitScreen(KeepsStyles, Screen[None]):
    """A screen with the header above, the footer below, and commands that depend on the situation."""

    PLACE: ClassVar[Place]
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (LEAST_WIDTH, "-narrow"), (100, "-normal"), (150, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (LEAST_HEIGHT, "-short"), (32, "-tall")]  # noqa: RUF012
    _had_focus: Widget | None = None
    """What is to have it again when there is room."""

    def __init__(self, cockpit: CockpitApi) -> None:
        super().__init__()
        self.cockpit = cockpit
        self.start_styled()
        self.help = HelpScreen(self.PLACE)

    @property
    def copy_key(self) -> str:
        """The key that copies, for the hints of dialogs."""
        return self.cockpit.keymap.first("app.copy")

    def compose(self) -> ComposeResult:
        """Header, body, footer."""
        self.cockpit.keymap.bind(self, self.PLACE)
        yield Header(self.PLACE, self.cockpit.keymap)
        yield Static(id="tiny-line", markup=False)
        yield from self.body()
        yield Footer()

    def body(self) -> Iterable[Widget]:
        """The widgets between header and footer."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A command is there only while it works."""
        command = BY_ACTION.get((self.PLACE, action))
        now = self.cockpit.situation
        return True if command is None else command.works(now) and command.by_key(now)

    @property
    def active_bindings(self) -> dict[str, ActiveBinding]:
        """The keys that work; each is asked for by itself, and the footer asks for all of them whenever one may be another."""
        with self.cockpit.changes.none_within(self.cockpit.situation):
            return super().active_bindings

    def adjusted(self, now: Situation) -> Situation:
        """The situation with what this screen adds to it."""
        return now

    def ignores(self, event: events.Key) -> bool:
        """Whether a key means nothing now, neither a command nor a letter."""
        return False

    def to_copy(self) -> tuple[str, str]:
        """What `y` copies now, and how that is called; an empty text when there is nothing."""
        raise NotImplementedError

    def follow_situation(self, _: Situation | None = None) -> None:
        """The run's state, or which run it is, may be another now."""
        # Another mode's screen draws what has changed when it is shown; one that is being removed has no header.
        if self.is_mounted and self in self.app.screen_stack and self.query(Header):
            self.show_situation()

    def show_situation(self) -> None:
        """Draw what depends on the situation."""
        header = self.query_one(Header)
        header.show(self.cockpit.runs.shown, self.cockpit.situation)
        for messages in self.query("ToastRack"):  # which come over the header: never over the state
            messages.styles.padding = (0, header.state_width, 0, 0)
        self.show_tiny()
        self.refresh_bindings()

    async def lead_to(self, place: Place) -> None:
        """Draw that another screen comes: while every core is busy, mounting and drawing all of it takes its time."""
        drawn = self.query_one(Header).lead_to(place)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(drawn.wait(), DRAWN_WITHIN_S)

    @property
    def is_too_small(self) -> bool:
        """There is room for one line only."""
        return self.has_class("-tiny") or self.has_class("-flat")

    def tiny_words(self) -> str:
        """What that line says."""
        goes_on = " The run goes on." if self.cockpit.situation.is_live else ""
        return f"{self.PLACE.value.capitalize()} needs a larger terminal: {LEAST_WIDTH}x{LEAST_HEIGHT}.{goes_on}"

    def show_tiny(self) -> None:
        """Draw that line, where there is room for nothing else."""
        if self.is_too_small:
            for line in self.query("#tiny-line").results(Static):
                line.update(Content(self.tiny_words()), layout=False)

    def on_resize(self) -> None:
        """What is hidden loses the focus; it gets it back."""
        if self.focused is not None:
            self._had_focus = self.focused
        self.call_after_refresh(self._resized)

    def _resized(self) -> None:
        self.show_tiny()
        widget = self._had_focus
        if widget is not None and self.focused is None and not self.is_too_small and widget.focusable:
            self.set_focus(widget)

    def shown(self) -> None:
        """The operator came to this screen; closing a dialog over it does not count."""

    def on_mount(self) -> None:
        """Draw what changed while the screen was made."""
        self.cockpit.changes.situation.subscribe(self, self.follow_situation)
        self.call_after_refresh(self.follow_situation)
        # What a screen consists of stays: looking for garbage in it takes the time in which a key is to be answered.
        self.call_after_refresh(garbage.settle)

    def on_screen_resume(self) -> None:
        """Draw what changed while another screen was shown."""
        self.follow_situation()
