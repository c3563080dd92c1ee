"""A dialog to choose one of several names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui.cockpit.dialogs.modal import Modal
from tui.cockpit.signs import MUTED
from tui.cockpit.widgets.options import LINE_KEYS, Options
from tui.words.safe import safe

_NAME = 16
"""Cells of a name with a note, at least."""


class Choices(Options, inherit_bindings=False):
    """The names: the keys of every list of the cockpit, and Enter."""

    BINDINGS: ClassVar[list[BindingType]] = [*LINE_KEYS, Binding("enter", "select", "Select", show=False)]


class ChoosingDialog(Modal[str]):
    """Returns the name. What is known of each may be shown beside it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back", id="dialog.back")]

    def __init__(self, title: str, names: Sequence[str], notes: Sequence[str] = ()) -> None:
        super().__init__()
        self._title = title
        self._names = tuple(names)
        self._notes = tuple(notes) or ("",) * len(self._names)

    def compose(self) -> ComposeResult:
        """The names."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(self._title)
            dialog.border_subtitle = Content("Enter select · Esc cancel")
            width = max(_NAME, *map(len, self._names))
            lines = (_line(name, note, width) for name, note in zip(self._names, self._notes, strict=True))
            yield Choices(*map(Option, lines), markup=False, compact=True)

    @on(OptionList.OptionSelected)
    def _taken(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._names[event.option_index])


def _line(name: str, note: str, width: int) -> Content:
    shown = safe(name, 100)
    return Content.assemble(f"{shown:<{width}}" if note else shown, (f"  {note:>12}" if note else "", MUTED))
