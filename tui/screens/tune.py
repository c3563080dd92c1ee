"""The Tune dialog: exact values of all knobs of a running run."""

from __future__ import annotations

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static

from engine.errors import MigrationError
from tui.screens.modal import Modal
from tui.session import EngineSession
from tui.widgets.fields import KnobField


class TuneDialog(Modal[None]):
    """Fields for the knobs; what the engine refuses is said under the field, and the dialog stays."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back", id="dialog.back")]

    def __init__(self, session: EngineSession) -> None:
        super().__init__()
        self._session = session
        self._knobs = session.knobs()

    def compose(self) -> ComposeResult:
        """The dialog."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content("Tune the run")
            for knob in self._knobs:
                yield KnobField(knob, self._session.knob_value(knob))
            yield Static("The run goes on while this is open. Enter applies.", classes="note", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Apply", variant="primary", id="apply", compact=True)
                yield Button("Close", id="close", compact=True)

    def on_mount(self) -> None:
        """Start in the first field."""
        self.set_focus(self.query(Input).first())

    @on(Button.Pressed, "#close")
    def _close(self) -> None:
        self.dismiss()

    @on(Button.Pressed, "#apply")
    @on(Input.Submitted)
    def _apply(self) -> None:
        self._turn_changed()

    @work(group="tune", exclusive=True)
    async def _turn_changed(self) -> None:
        fields = list(self.query(KnobField))
        values = [field.value for field in fields]
        if None in values:
            return
        refused = False
        for field, value in zip(fields, values, strict=True):
            if value is None or value == self._session.knob_value(field.knob):
                continue
            try:
                self._session.wish(field.knob, value)
                await self._session.grant(field.knob)
            except MigrationError as error:
                field.say(error.message)
                refused = True
        if not refused:
            self.dismiss()
