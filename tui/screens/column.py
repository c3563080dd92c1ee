"""The dialog that renames or retypes a column of the plan."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static

from engine.control.protocol import ColumnView
from tui.safe import safe
from tui.screens.modal import Modal


class ColumnDialog(Modal[tuple[str, str]]):
    """Returns the column's name and type; the engine judges them."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back", id="dialog.back")]

    def __init__(self, column: ColumnView) -> None:
        super().__init__()
        self._column = column

    def compose(self) -> ComposeResult:
        """Two fields."""
        kinds = ", ".join(f"{safe(kind, 20)} {share:.0f}%" for kind, share in self._column.kinds.items())
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(f"Field {safe(self._column.field, 50)}")
            for label, value in (("Column", self._column.column), ("Type", self._column.type)):
                with Horizontal(classes="named-field"):
                    yield Static(label, classes="field-label", markup=False)
                    yield Input(value, id=label.lower(), compact=True, select_on_focus=False)
            yield Static(f"Seen: {kinds or 'nothing'}", classes="note", markup=False)
            yield Static(
                "A value that the type cannot hold goes to _extra, or its document is rejected, as the policy says.",
                classes="note",
                markup=False,
            )
            with Horizontal(classes="buttons"):
                yield Button("Apply", variant="primary", id="apply", compact=True)
                yield Button("Back", id="back", compact=True)

    def on_mount(self) -> None:
        """Start with the type: it is what is changed most."""
        self.set_focus(self.query_one("#type", Input))

    @on(Button.Pressed, "#back")
    def _back(self) -> None:
        self.dismiss()

    @on(Button.Pressed, "#apply")
    @on(Input.Submitted)
    def _apply(self) -> None:
        self.dismiss((self.query_one("#column", Input).value.strip(), self.query_one("#type", Input).value.strip()))
