"""What the dialogs of knobs share: where one begins to type, and what becomes of what is typed elsewhere."""

from __future__ import annotations

from string import ascii_lowercase, digits
from typing import ClassVar, Generic, TypeVar

from textual.binding import Binding, BindingType
from textual.events import DescendantFocus, Key
from textual.widgets import Input

from engine.knobs import THROTTLE
from tui.cockpit.dialogs.modal import Modal

Result = TypeVar("Result")


class KnobFields(Modal[Result], Generic[Result]):
    """A dialog with a field for each knob, which begins in that of the throttle: the others have keys or fitting defaults."""

    # With priority, so that of keys in quick succession none is on its way to the button when the field gets the focus.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, f"type('{key}')", show=False, priority=True, system=True) for key in digits + ascii_lowercase
    ]
    _field: Input | None = None
    """The one that had the focus last."""

    def begin(self) -> None:
        """To the throttle, whose value is replaced by what is typed."""
        throttle = self.query_one(f"#knob-{THROTTLE.name}").query_one(Input)
        self._field = throttle
        self.set_focus(throttle)
        throttle.action_select_all()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Remember the field."""
        if isinstance(event.widget, Input):
            self._field = event.widget

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In a field keys are typed anyhow."""
        return super().check_action(action, parameters) and (action != "type" or not isinstance(self.focused, Input))

    def action_type(self, key: str) -> None:
        """What is typed on a button is a value, and meant for the field that was left last."""
        if self._field is not None:
            self.set_focus(self._field)
            self._field.post_message(Key(key, key))  # after the focus, which selects what is there
