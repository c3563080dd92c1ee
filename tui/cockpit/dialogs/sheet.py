"""A dialog to read: text of any length, which can be scrolled and copied."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.cockpit.clipboard import copy
from tui.cockpit.dialogs.modal import Modal


class Sheet(Modal[None]):
    """Arrow and page keys scroll it."""

    HINT: ClassVar[str] = "{copy} copies, esc closes"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter", "dismiss", "Back", id="dialog.back"),
        Binding("y", "copy", "Copy the text", id="dialog.copy"),
    ]

    def __init__(self, title: str, text: Content, what: str, copy_key: str) -> None:
        """Show this first.

        Args:
            what: how the text is called when it was copied: "the event".
            copy_key: the key that copies, for the hint.
        """
        super().__init__()
        self._title = title
        self._text = text
        self._what = what
        self._copy_key = copy_key

    def compose(self) -> ComposeResult:
        """The text."""
        with Vertical(classes="dialog wide") as dialog:
            dialog.border_title = Content(self._title)
            dialog.border_subtitle = Content(self.HINT.format(copy=self._copy_key))
            with VerticalScroll(classes="dialog-text"):
                yield Static(self._text, id="sheet-text", markup=False)

    def write(self, text: Content) -> None:
        """Show another text."""
        self._text = text
        self.query_one("#sheet-text", Static).update(text)

    def action_copy(self) -> None:
        """All of it, also what is scrolled out of sight."""
        copy(self.app, self._text.plain, self._what)
