"""A dialog that asks for a file's name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static

from engine.errors import UsageError
from tui.cockpit.dialogs.modal import Modal
from tui.files import typed_path
from tui.words.safe import safe


class FileDialog(Modal[Path]):
    """Writes a file under the name that is typed; what keeps it from that is said under the field.

    Returns:
        The file that was written.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back", id="dialog.back")]

    def __init__(
        self,
        title: str,
        note: str,
        name: str,
        write: Callable[[str], Path],
        go: str = "Write",
        *,
        shows_path: bool = True,
    ) -> None:
        """Nothing is done yet.

        Args:
            note: a sentence above the field.
            name: what it holds at first.
            write: does it; raises UsageError.
            go: the button that does it.
            shows_path: say below the field which file the name is, with its folder.
        """
        super().__init__()
        self._go_label = go
        self._title, self._note, self._first = title, note, name
        self._write = write
        self._shows_path = shows_path

    def compose(self) -> ComposeResult:
        """The dialog."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(self._title)
            dialog.border_subtitle = Content(f"Enter {self._go_label.lower()} · ←→ edit the name · Esc back")
            yield Static(self._note, classes="dialog-text", markup=False)
            yield Input(self._first, compact=True)
            if self._shows_path:
                yield Static(_place(self._first), classes="note", markup=False)
            yield Static(classes="field-error", markup=False)
            with Horizontal(classes="buttons"):
                yield Button(self._go_label, variant="primary", id="write", compact=True)
                yield Button("Back", id="back", compact=True)

    def on_mount(self) -> None:
        """Start in the field."""
        self.set_focus(self.query_one(Input))

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        if self._shows_path:
            self.query_one(".note", Static).update(_place(event.value))

    @on(Button.Pressed, "#back")
    def _back(self) -> None:
        self.dismiss()

    @on(Button.Pressed, "#write")
    @on(Input.Submitted)
    def _go(self) -> None:
        try:
            path = self._write(self.query_one(Input).value)
        except UsageError as error:
            line = self.query_one(".field-error", Static)
            line.update(Content(safe(error.message, 400)))
            line.display = True
        else:
            self.dismiss(path)


def _place(name: str) -> Content:
    """Which file that is, with its folder; nothing of a name that cannot be one, which is said when it is taken."""
    if not name.strip():
        return Content("")
    with suppress(UsageError, ValueError, OSError):
        return Content(f"File: {safe(str(typed_path(name).absolute()), 300)}")
    return Content("")
