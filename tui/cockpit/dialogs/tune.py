"""The Tune dialog: exact values of all knobs of a running run."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static

from engine.errors import MigrationError
from engine.knobs import KNOBS
from tui.cockpit.dialogs.modal import KeptModal
from tui.cockpit.session import EngineSession
from tui.cockpit.widgets.fields import KnobField


class TuneDialog(KeptModal[None]):
    """Fields for the knobs; what the engine refuses is said under the field, and the dialog stays."""

    KEPT_AS = "tune"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back", id="dialog.back")]

    def __init__(self, say_problem: Callable[[str], None]) -> None:
        """No run is tuned yet.

        Args:
            say_problem: tells what was refused after the dialog was left.
        """
        super().__init__()
        self.session: EngineSession | None = None
        """The run whose knobs are turned."""
        self._say_problem = say_problem

    def compose(self) -> ComposeResult:
        """The dialog."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content("Tune the run")
            for knob in KNOBS.values():
                yield KnobField(knob, knob.low)
            yield Static("The run goes on while this is open. Enter applies.", classes="note", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Apply", variant="primary", id="apply", compact=True)
                yield Button("Close", id="close", compact=True)

    def on_screen_resume(self) -> None:
        """The run's knobs with their values; start in the first field."""
        if self.session is None:
            return
        knobs = self.session.knobs()
        for field in self.query(KnobField):
            field.display = field.knob in knobs
            field.fill(self.session.knob_value(field.knob))
            field.say("")
        first = self._fields[0].query_one(Input)
        self.set_focus(first)
        first.action_select_all()

    @property
    def _fields(self) -> list[KnobField]:
        return [field for field in self.query(KnobField) if field.display]

    @on(Button.Pressed, "#close")
    def _close(self) -> None:
        self.dismiss()

    @on(Button.Pressed, "#apply")
    @on(Input.Submitted)
    def _apply(self) -> None:
        self._turn_changed()

    @work(group="tune", exclusive=True)
    async def _turn_changed(self) -> None:
        values = [(field, field.value) for field in self._fields]
        session = self.session
        if session is None or any(value is None for _, value in values):
            return
        refused = False
        for field, value in values:
            if value is None or value == session.knob_value(field.knob):
                continue
            try:
                session.wish(field.knob, value)
                await session.grant(field.knob)
            except MigrationError as error:
                refused = True
                if self.is_active:
                    field.say(error.message)
                else:
                    self._say_problem(error.message)
        if not refused:
            self.dismiss()
