"""A table of lines under a heading: one line is under the cursor, Enter opens it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui.cockpit.signs import MUTED
from tui.cockpit.widgets.options import LINE_KEYS, Options

NARROW = 98
"""Cells below which the columns that are not `on_narrow` are left out."""
_GAP = 2

Cell = str | Content


@dataclass(frozen=True, slots=True)
class ListColumn:
    """One column; those without a width share what is left, by weight."""

    title: str
    width: int = 0
    """Cells; 0 takes a share."""
    weight: int = 1
    is_right: bool = False
    on_narrow: bool = True
    """It stays when there is little room."""


class Lines(Options, inherit_bindings=False):
    """The lines, each an option."""

    BINDINGS = LINE_KEYS


class Listing(Vertical):
    """Heading and lines; the columns follow the width."""

    class Moved(Message):
        """Another line is under the cursor."""

    def __init__(self, columns: Sequence[ListColumn], *, id: str) -> None:
        super().__init__(id=id)
        self._columns = columns
        self._rows: list[Sequence[Cell]] = []

    def compose(self) -> ComposeResult:
        """Heading and lines."""
        yield Static(classes="heading", markup=False)
        yield Lines(markup=False, compact=True)

    def fill(self, rows: Sequence[Sequence[Cell]]) -> None:
        """Show these rows, each with a cell for every column; text in them must be harmless. The cursor stays."""
        self._rows = list(rows)
        self._draw()

    @property
    def index(self) -> int | None:
        """The row under the cursor."""
        highlighted = self.query_one(Lines).highlighted
        return highlighted if highlighted is not None and highlighted < len(self._rows) else None

    def on_resize(self) -> None:
        """The columns follow the width."""
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        lines = self.query_one(Lines)
        width = lines.scrollable_content_region.width
        shown = _widths(self._columns, width)
        heading = _line(self._columns, [column.title for column in self._columns], shown)
        self.query_one(".heading", Static).update(Content.styled(heading.plain, MUTED), layout=False)
        highlighted = lines.highlighted or 0
        lines.set_options(Option(_line(self._columns, row, shown)) for row in self._rows)
        if self._rows:
            lines.highlighted = min(highlighted, len(self._rows) - 1)

    @on(OptionList.OptionHighlighted)
    def _moved(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self.post_message(self.Moved())

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()


def _widths(columns: Sequence[ListColumn], width: int) -> list[int]:
    """Cells of each column; 0 for one that is left out."""
    is_narrow = width < NARROW
    used = [column for column in columns if column.on_narrow or not is_narrow]
    shares = sum(column.weight for column in used if not column.width)
    room = width - sum(column.width for column in used) - _GAP * (len(used) - 1)
    return [
        0 if column not in used else column.width or max(4, room * column.weight // max(1, shares))
        for column in columns
    ]


def _line(columns: Sequence[ListColumn], cells: Sequence[Cell], widths: Sequence[int]) -> Content:
    drawn = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        if width:
            content = (cell if isinstance(cell, Content) else Content(cell)).truncate(width, ellipsis=True)
            blank = " " * (width - content.cell_length)
            drawn.append(Content(blank) + content if column.is_right else content + blank)
    return Content(" " * _GAP).join(drawn)
