"""What every dialog is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen

if TYPE_CHECKING:
    from tui.app import Cockpit

Result = TypeVar("Result")


class Modal(ModalScreen[Result], Generic[Result]):
    """A dialog that is left once, however fast keys come: a second answer would take the screen below it away."""

    @property
    def copy_key(self) -> str:
        """The key that copies, here as everywhere, for hints."""
        return cast("Cockpit", self.app).keymap.first("app.copy")

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Leave, unless that has happened."""
        return super().dismiss(result) if self.is_active else AwaitComplete()
