"""The line at the top: name, screens, source and target, state of the run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rich.cells import cell_len
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
"""Cells below which the program's name gives way to those of the screens; where they have no room, only the current one has
its name, the others their keys.
"""
_WHY_NOT = {
    Place.PLAN: "A plan needs both servers: their URIs are on Setup.",
    Place.RUN: "There is no run yet: Setup starts one.",
    Place.VERIFY: "What is in the target is not known: its URI is on Setup.",
    Place.HISTORY: "The ledger is in the target: its URI is on Setup.",
}
"""Why a screen cannot be gone to."""
_MIN_WAY = 16
"""Cells that source and target need to tell anything."""
_NAME = (" mongopg-tui ", "bold $text-primary")


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
        chip = self._chip()
        weak = Content.assemble(*((f"! {safe(words, 40)}  ", "$warning") for words in self._weak_tls))
        left = Content.assemble(_NAME, *self._tabs(with_names=True))
        if width < NARROW:
            named = Content.empty().join(self._tabs(with_names=True))
            least = weak.cell_length + _MIN_WAY if weak else 0
            has_room = named.cell_length + least + chip.cell_length < width
            left = named if has_room else Content.empty().join(self._tabs(with_names=False))
        room = width - left.cell_length - chip.cell_length - 1
        way = Content.empty()
        if self.run is not None and self.run.snapshot.source and room >= _MIN_WAY:
            source, target = (safe(place(uri), 60) for uri in (self.run.snapshot.source, self.run.snapshot.target))
            way = weak + _fitting(source, target, room - weak.cell_length)
        way = way.truncate(max(0, room), ellipsis=True)
        gap = max(1, width - left.cell_length - way.cell_length - chip.cell_length)
        return left + Content(" " * gap) + way + chip

    @property
    def state_width(self) -> int:
        """Cells that the state takes at the right."""
        return self._chip().cell_length

    def _chip(self) -> Content:
        """The state of the run, or what is about to become of it."""
        sign = self.run.sign if self.run else NO_RUN
        if self.situation.doing:
            sign = Sign("◌", f"{self.situation.doing}…", "$warning")
        return Content.styled(f" {sign} ", f"bold {sign.colour}")

    @property
    def _weak_tls(self) -> Sequence[str]:
        return self.run.snapshot.weak_tls if self.run is not None else ()

    def _tabs(self, *, with_names: bool) -> list[Content]:
        tabs = []
        for screen in SCREENS:
            key = self._keymap.first(f"app.{screen.value}")
            is_current = screen is self._current
            name = f"{key} {screen.value.capitalize()}" if is_current or with_names else key
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


def _fitting(source: str, target: str, room: int) -> Content:
    """From where to where; where hardly anything of the target would be seen, the target alone: it is what is written to."""
    both = Content.styled(f"{source} → {target} ", MUTED)
    is_told = cell_len(f"{source} → ") + _MIN_WAY <= room or both.cell_length <= room
    return both if is_told else Content.styled(f"→ {target} ", MUTED)
