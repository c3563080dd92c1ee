"""A dialog that asks for the password of a server; what is typed is not shown."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static

from tui.cockpit.dialogs.modal import Modal
from tui.words.safe import safe


class PasswordDialog(Modal[str]):
    """Returns the password; nothing when it was left."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back", id="dialog.back")]

    def __init__(self, side: str, uri: str, refusal: str) -> None:
        """Nothing is typed yet.

        Args:
            side: "source" or "target".
            uri: of the server, without a secret.
            refusal: what it said.
        """
        super().__init__()
        self._side, self._uri, self._refusal = side, uri, refusal

    def compose(self) -> ComposeResult:
        """The dialog."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(f"Password for the {self._side}")
            text = f"{safe(self._uri, 200)}\n\n{safe(self._refusal, 400)}\n\nIt is kept in memory only."
            yield Static(text, classes="dialog-text", markup=False)
            yield Input(password=True, compact=True, placeholder="password")
            with Horizontal(classes="buttons"):
                yield Button("Connect", variant="primary", id="connect", compact=True)
                yield Button("Back", id="back", compact=True)

    def on_mount(self) -> None:
        """Start in the field."""
        self.set_focus(self.query_one(Input))

    @on(Button.Pressed, "#back")
    def _back(self) -> None:
        self.dismiss()

    @on(Button.Pressed, "#connect")
    @on(Input.Submitted)
    def _go(self) -> None:
        self.dismiss(self.query_one(Input).value or None)
