"""The Tune dialog: exact values of all knobs of a running run, or of a comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static

from engine.errors import MigrationError
from engine.knobs import KNOBS, SEED_COUNT
from tui.cockpit.dialogs.knob_fields import KnobFields
from tui.cockpit.dialogs.modal import KeptModal
from tui.cockpit.session import EngineSession
from tui.cockpit.widgets.fields import KnobField
from tui.words.knobs import problem_words


class TuneDialog(KnobFields[None], KeptModal[None]):
    """Fields for the knobs; what the engine refuses is said under the field, and the dialog stays."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back", id="dialog.back")]

    def __init__(self, say_problem: Callable[[str], None], what: Literal["run", "comparison"] = "run") -> None:
        """Nothing is tuned yet.

        Args:
            say_problem: tells what was refused after the dialog was left.
            what: whose knobs are turned.
        """
        super().__init__()
        self.session: EngineSession | None = None
        """The engine of it."""
        self._say_problem = say_problem
        self._what = what

    @property
    def kept_as(self) -> str:
        """One for a run, and one for comparisons."""
        return f"tune-{self._what}"

    def compose(self) -> ComposeResult:
        """The dialog."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(f"Tune the {self._what}")
            dialog.border_subtitle = Content("Tab next · Enter apply · Esc close")
            for knob in KNOBS.values():
                yield KnobField(knob, knob.low)
            yield Static(f"The {self._what} goes on while this is open. Enter applies.", classes="note", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Apply", variant="primary", id="apply", compact=True)
                yield Button("Close", id="close", compact=True)

    def on_screen_resume(self) -> None:
        """The knobs with their values; start in the field of the throttle: the others have keys of their own."""
        if self.session is None:
            return
        self.session.look()
        knobs = self.session.knobs()
        if self._what == "comparison":
            knobs = [knob for knob in knobs if knob is not SEED_COUNT]
        for field in self.query(KnobField):
            field.display = field.knob in knobs
            field.is_on_one_host = self.session.is_on_one_host
            field.fill(self.session.knob_setting(field.knob))
            field.say("")
        self.begin()

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
            if value is None or value == session.knob_setting(field.knob):
                continue
            try:
                session.wish(field.knob, value)
                await session.grant(field.knob)
            except MigrationError as error:
                refused = True
                if self.is_active:
                    field.say(error.message)
                else:
                    self._say_problem(problem_words(field.knob, error.message))
        if not refused:
            self.dismiss()
