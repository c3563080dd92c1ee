"""Textual 8.2.8's command palette, for keys that come faster than it closes, for windows that have no room for its list, and
to be shown more than once: `CommandPalette._action_command_list`, `_watch__list_visible`, `_watch__show_busy`, `_on_mount`,
`_list_visible` and `_selected_command`.
"""

from __future__ import annotations

from textual.command import CommandInput, CommandList, CommandPalette
from textual.events import Mount
from textual.widgets import Input

CAN_BEGIN_ANEW = hasattr(CommandPalette, "_on_mount")
"""A palette can be kept; otherwise each is a new one."""


class CalmPalette(CommandPalette):
    """Does nothing for a list that has no room, or is not there any more."""

    def _action_command_list(self, action: str) -> None:
        if self.query_one(CommandList).scrollable_content_region:
            super()._action_command_list(action)

    # A search that ends while the palette is being removed sets these, when there is nothing left to show them.

    def _watch__list_visible(self) -> None:
        if self.query(CommandList):
            super()._watch__list_visible()

    async def _watch__show_busy(self) -> None:
        if self.query(CommandList):
            await super()._watch__show_busy()


class LastingPalette(CalmPalette):
    """A palette that is mounted before it is shown, and shown again and again."""

    def _on_mount(self, event: Mount) -> None:
        """Textual's would look for commands now, when nothing is below it yet; and show nothing before it has found some."""
        event.prevent_default()
        self.add_class("-ready")

    def begin_anew(self) -> None:
        """Nothing is typed; what works now is offered."""
        with self.prevent(Input.Changed):
            self.query_one(CommandInput).value = ""
        self.query_one(CommandList).clear_options()
        self._list_visible = False
        self._selected_command = None
        CommandPalette._on_mount(self, Mount())
