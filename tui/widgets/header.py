"""The line at the top: name, screens, source and target, state of the run."""

from __future__ import annotations

from textual.content import Content
from textual.style import Style
from textual.widget import Widget

from tui.commands import Place
from tui.safe import safe
from tui.session import EngineSession
from tui.uri import place
from tui.widgets.words import MUTED, NO_RUN, run_sign

_TABS = ((Place.SETUP, "1 Setup", "app.show_setup"), (Place.RUN, "2 Run", "app.show_run"))


class Header(Widget):
    """One line; a click on a screen's name shows it."""

    session: EngineSession | None = None
    """The run to name; None before the first one."""

    def __init__(self, current: Place) -> None:
        super().__init__()
        self._current = current

    def render(self) -> Content:
        """The line, cut to the width from the middle: the state is always there."""
        width = self.content_size.width
        left = Content.assemble((" mongopg-tui ", "bold $primary"), *self._tabs())
        sign = run_sign(self.session.snapshot, self.session.is_lost) if self.session else NO_RUN
        chip = Content.styled(f" {sign} ", f"bold {sign.colour}")
        way = Content.empty()
        if self.session is not None and self.session.snapshot.source:
            snapshot = self.session.snapshot
            way = Content.styled(f"{safe(place(snapshot.source), 60)} → {safe(place(snapshot.target), 60)} ", MUTED)
        room = width - left.cell_length - chip.cell_length - 1
        way = way.truncate(max(0, room), ellipsis=True)
        gap = max(1, width - left.cell_length - way.cell_length - chip.cell_length)
        return left + Content(" " * gap) + way + chip

    def _tabs(self) -> list[Content]:
        tabs = []
        for screen, label, action in _TABS:
            if screen is Place.RUN and self.session is None:
                continue
            colour = "bold $text on $primary 30%" if screen is self._current else MUTED
            click = Style.from_meta({"@click": action})
            tabs.append(Content.styled(f" {label} ", colour).stylize(click))
        return tabs
