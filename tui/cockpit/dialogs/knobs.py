"""The knobs of a run that is to be started, from the question that starts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static

from engine.config import Settings
from engine.knobs import CLUSTER_SIZE, PAGE_SIZE, THROTTLE, Knob, KnobValue
from tui.cockpit.dialogs.knob_fields import KnobFields
from tui.cockpit.widgets.fields import KnobField


def knobs_of(settings: Settings) -> dict[Knob, KnobValue]:
    """The knobs of a copy with these settings."""
    run = settings.run
    return {CLUSTER_SIZE: run.size, PAGE_SIZE: run.page_size, THROTTLE: run.throttle}


class KnobsDialog(KnobFields[dict[Knob, KnobValue]]):
    """A field for each knob. Returns the values that were changed; what is out of bounds is said under its field."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back", id="dialog.back")]

    def __init__(self, values: Mapping[Knob, KnobValue], *, is_on_one_host: bool) -> None:
        """Show these first.

        Args:
            is_on_one_host: the bounds are those of one host.
        """
        super().__init__()
        self._values = values
        self._is_on_one_host = is_on_one_host

    def compose(self) -> ComposeResult:
        """The dialog."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content("Knobs of the run")
            dialog.border_subtitle = Content("Tab next · Enter apply · Esc back")
            for knob, value in self._values.items():
                field = KnobField(knob, value)
                field.is_on_one_host = self._is_on_one_host
                yield field
            yield Static("All of them can be changed while the run goes on.", classes="note", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Apply", variant="primary", id="apply", compact=True)
                yield Button("Back", id="back", compact=True)

    def on_mount(self) -> None:
        """Start in the field of the throttle, as where a run is tuned: the other two have defaults that fit the machine."""
        self.begin()

    @on(Button.Pressed, "#back")
    def _back(self) -> None:
        self.dismiss()

    @on(Button.Pressed, "#apply")
    @on(Input.Submitted)
    def _apply(self) -> None:
        changed: dict[Knob, KnobValue] = {}
        for field in self.query(KnobField):
            value = field.value
            if value is None:
                return
            if value != self._values[field.knob]:
                changed[field.knob] = value
        self.dismiss(changed)
