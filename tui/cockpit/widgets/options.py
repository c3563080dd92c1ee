"""Textual's list of options, for a window of any size."""

from __future__ import annotations

from textual.binding import Binding, BindingType
from textual.widgets import OptionList

LINE_KEYS: list[BindingType] = [
    Binding("up,k", "cursor_up", "Up", show=False),
    Binding("down,j", "cursor_down", "Down", show=False),
    Binding("home", "first", "First", show=False),
    Binding("end", "last", "Last", show=False),
    Binding("pageup", "page_up", "Page up", show=False),
    Binding("pagedown", "page_down", "Page down", show=False),
]
"""Of a list of lines: Textual's and vi's, without Enter, which belongs to the screen."""


class Options(OptionList, inherit_bindings=False):
    """Does not page while it has no room: Textual fails then, because no line has a place."""

    def action_page_up(self) -> None:
        """One page up."""
        if self.scrollable_content_region:
            super().action_page_up()  # type: ignore[no-untyped-call]

    def action_page_down(self) -> None:
        """One page down."""
        if self.scrollable_content_region:
            super().action_page_down()  # type: ignore[no-untyped-call]
