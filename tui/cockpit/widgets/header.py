"""The line at the top: name, screens, source and target, state of the run."""

from __future__ import annotations

import asyncio

from textual import events
from textual.content import Content
from textual.style import Style
from textual.widget import Widget

from tui.cockpit.commands import BY_ACTION, SCREENS, Place, Situation
from tui.cockpit.keymap import Keymap
from tui.cockpit.shown import ShownRun
from tui.cockpit.signs import MUTED, NO_RUN, Sign
from tui.words.safe import safe
from tui.words.uri import place

_OFF = "$foreground 30%"
"""The style of a screen that cannot be gone to now."""
NARROW = 100
"""Cells below which only the current screen has its name, the others their keys."""
_WHY_NOT = {
    Place.PLAN: "A plan needs both servers: their URIs are on Setup.",
    Place.RUN: "There is no run yet: Setup starts one.",
    Place.VERIFY: "What is in the target is not known: its URI is on Setup.",
    Place.HISTORY: "The ledger is in the target: its URI is on Setup.",
}
"""Why a screen cannot be gone to."""
_MIN_WAY = 16
"""Cells that source and target need to tell anything."""


class Header(Widget):
    """One line; a click on a screen's name shows it."""

    run: ShownRun | None = None
    """The run to name; None before the first one."""
    situation = Situation()

    def __init__(self, current: Place, keymap: Keymap) -> None:
        super().__init__()
        self._keymap = keymap
        self._own = self._current = current
        self._is_drawn = asyncio.Event()

    def show(self, run: ShownRun | None, situation: Situation) -> None:
        """Draw this run, and the screens that can be gone to."""
        self.run, self.situation = run, situation
        self._current = self._own
        self.refresh()

    def lead_to(self, place: Place) -> asyncio.Event:
        """Show that another screen comes, until this one is shown again. What is returned tells when it is drawn."""
        self._current = place
        self._is_drawn = asyncio.Event()
        self.refresh()
        return self._is_drawn

    def render(self) -> Content:
        """The line, cut to the width from the middle: the state is always there."""
        self._is_drawn.set()
        width = self.content_size.width
        left = Content.assemble((" mongopg-tui ", "bold $text-primary"), *self._tabs(width))
        sign = self.run.sign if self.run else NO_RUN
        if self.situation.doing:
            sign = Sign("◌", f"{self.situation.doing}…", "$warning")
        chip = Content.styled(f" {sign} ", f"bold {sign.colour}")
        way = Content.empty()
        room = width - left.cell_length - chip.cell_length - 1
        if self.run is not None and self.run.snapshot.source and room >= _MIN_WAY:
            snapshot = self.run.snapshot
            way = Content.assemble(
                *((f"! {safe(words, 40)}  ", "$warning") for words in snapshot.weak_tls),
                (f"{safe(place(snapshot.source), 60)} → {safe(place(snapshot.target), 60)} ", MUTED),
            )
        way = way.truncate(max(0, room), ellipsis=True)
        gap = max(1, width - left.cell_length - way.cell_length - chip.cell_length)
        return left + Content(" " * gap) + way + chip

    def _tabs(self, width: int) -> list[Content]:
        tabs = []
        for screen in SCREENS:
            key = self._keymap.first(f"app.{screen.value}")
            is_current = screen is self._current
            name = f"{key} {screen.value.capitalize()}" if is_current or width >= NARROW else key
            tab = Content.styled(f" {name} ", "bold $text on $primary 30%" if is_current else MUTED)
            command = BY_ACTION.get((Place.APP, f"show_{screen.value}"))
            if command is not None and command.works(self.situation):
                tab = tab.stylize(Style.from_meta({"@click": f"app.{command.action}", "help": command.help}))
            elif not is_current:
                why_not = Style.from_meta({"help": _WHY_NOT.get(screen, "")})
                tab = Content.styled(f" {name} ", _OFF).stylize(why_not)
            tabs.append(tab)
        if self._current not in SCREENS:
            tabs.append(Content.styled(f" {self._current.value.capitalize()} ", "bold $text on $primary 30%"))
        return tabs

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """The tooltip is that of the name under the pointer: of one that is dimmed, why."""
        self.tooltip = event.style.meta.get("help")
