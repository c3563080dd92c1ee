"""Textual's list of options, for a window of any size."""

from __future__ import annotations

from textual.widgets import OptionList


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
