"""A line to type into, above or below a list: the list shows what has those letters in it, as they are typed."""

from __future__ import annotations

from textual import on
from textual.binding import Binding
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from tui.cockpit.widgets.fields import TextField


class FilterField(TextField):
    """Hidden while nothing is typed and it has no focus. Enter goes to the list, Esc lets it show all again."""

    BINDINGS = [  # noqa: RUF012
        Binding("escape", "give_up", "Show all"),
        Binding("down", "leave", "To the list", show=False),
    ]

    class Typed(Message):
        """Another text is looked for; empty is none."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, listing: type[Widget]) -> None:
        """Begin hidden.

        Args:
            listing: the kind of widget, of which the screen has one, that is filtered.
        """
        super().__init__(placeholder="type to filter, ! before it leaves out", classes="filter")
        self._listing = listing

    def open(self) -> None:
        """Show it and type."""
        self.display = True
        self.focus()

    def action_give_up(self) -> None:
        """Show all, and hide."""
        self.value = ""
        self.action_leave()

    def action_leave(self) -> None:
        """Back to the list; a text goes on to count."""
        self.display = bool(self.value)
        self.screen.query_one(self._listing).focus()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_leave()

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Typed(event.value))

    def on_blur(self) -> None:
        """Nothing typed, nothing to show."""
        self.display = bool(self.value)


def has(text: str, sought: str) -> bool:
    """`text` has `sought` in it, in capitals or not; with `!` before it: has it not. `\\!` is an exclamation mark itself."""
    if sought.startswith("!"):
        return sought[1:].casefold() not in text.casefold() or sought == "!"
    if sought.startswith("\\!"):
        sought = sought[1:]
    return sought.casefold() in text.casefold()
