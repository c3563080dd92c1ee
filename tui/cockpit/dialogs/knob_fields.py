"""What the dialogs of knobs share: where one begins to type, and what becomes of what is typed elsewhere."""

from __future__ import annotations

from typing import Generic, TypeVar

from textual.events import DescendantFocus, Key
from textual.widgets import Input

from engine.knobs import THROTTLE
from tui.cockpit.dialogs.modal import Modal

Result = TypeVar("Result")


class KnobFields(Modal[Result], Generic[Result]):
    """A dialog with a field for each knob, which begins in that of the throttle: the others have keys or fitting defaults."""

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

    def on_key(self, event: Key) -> None:
        """What is typed on a button is a value, and meant for the field that was left last."""
        if self._field is None or isinstance(self.focused, Input):
            return
        if event.character is not None and event.character.isalnum():
            event.stop()
            self.set_focus(self._field)
            self._field.post_message(Key(event.key, event.character))  # after the focus, which selects what is there
