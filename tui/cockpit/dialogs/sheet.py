"""A dialog to read: text of any length, which can be scrolled and copied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.cockpit.clipboard import copy
from tui.cockpit.dialogs.modal import Modal


class Sheet(Modal[str]):
    """Arrow and page keys scroll it; the keys of screens lead to them. Returns the answer of a key that leads on."""

    HINT: ClassVar[str] = "{copy} copy · Esc close"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter", "dismiss", "Back", id="dialog.back"),
        Binding("y", "copy", "Copy the text", id="dialog.copy"),
        *(
            Binding(key, f"lead('{action}')", show=False)
            for key, action in zip("12345", ("setup", "plan", "run", "verify", "history"), strict=True)
        ),
    ]

    def __init__(
        self,
        title: str,
        text: Content | Callable[[int], Content],
        what: str,
        copy_key: str,
        ways: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        """Show this first.

        Args:
            text: where its lines follow the width of the terminal, what makes it.
            what: how the text is called when it was copied: "the event".
            copy_key: the key that copies, for the hint.
            ways: keys that lead on: what each does, in a word or two, and the answer.
        """
        super().__init__()
        self._ways = ways or {}
        self._title = title
        self._fitted = text if callable(text) else None
        self._text = text(self.app.size.width) if callable(text) else text
        self._what = what
        self._copy_key = copy_key

    def compose(self) -> ComposeResult:
        """The text."""
        with Vertical(classes="dialog wide") as dialog:
            dialog.border_title = Content(self._title)
            leads = "".join(f"{key} {words} · " for key, (words, _) in self._ways.items())
            dialog.border_subtitle = Content(leads + self.HINT.format(copy=self._copy_key))
            with VerticalScroll(classes="dialog-text"):
                yield Static(self._text, id="sheet-text", markup=False)

    def on_resize(self) -> None:
        """Lines follow the width."""
        if self._fitted is not None:
            self.write(self._fitted(self.app.size.width))

    def write(self, text: Content) -> None:
        """Show another text."""
        self._text = text
        self.query_one("#sheet-text", Static).update(text)

    def on_key(self, event: events.Key) -> None:
        """A key that leads on."""
        if event.key in self._ways:
            event.stop()
            self.dismiss(self._ways[event.key][1])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Above another dialog it leads nowhere: that one would stay behind."""
        if action == "lead" and isinstance(self.app.screen_stack[-2], Modal):
            return False
        return super().check_action(action, parameters)

    def action_lead(self, screen: str) -> None:
        """Close it, and show a screen."""
        self.dismiss()
        self.app.call_later(self.app.run_action, f"show_{screen}")

    def action_copy(self) -> None:
        """All of it, also what is scrolled out of sight."""
        copy(self.app, self._text.plain, self._what)
