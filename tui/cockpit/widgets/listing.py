"""A table of lines under a heading: one line is under the cursor, Enter opens it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
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
_LEAST = 16
"""Cells of a column, if it needs so many, without which those that are not `on_narrow` give way."""

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
    gives_room: bool = False
    """Of its width it keeps only what its cells need while another column could use the rest."""


class Lines(Options, inherit_bindings=False):
    """The lines, each an option."""

    BINDINGS = LINE_KEYS


class Listing(Vertical):
    """Heading and lines; the columns follow the width."""

    class Moved(Message):
        """Another line is under the cursor."""

        def __init__(self, listing: Listing) -> None:
            super().__init__()
            self.listing = listing

        @property
        def control(self) -> Listing:
            """Where that is."""
            return self.listing

    def __init__(self, columns: Sequence[ListColumn], *, id: str, is_fitted: bool = False) -> None:
        """No lines yet.

        Args:
            is_fitted: a column takes no more room than its cells need while another could use it.
        """
        super().__init__(id=id)
        self._columns = columns
        self._is_fitted = is_fitted
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

    @property
    def left_out(self) -> list[str]:
        """The titles of columns that there is no room for."""
        width = self.query_one(Lines).scrollable_content_region.width
        used = _used(self._columns, width, self._needed() if self._is_fitted else None)
        return [column.title for number, column in enumerate(self._columns) if number not in used]

    def on_resize(self) -> None:
        """The columns follow the width."""
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        lines = self.query_one(Lines)
        width = lines.scrollable_content_region.width
        shown = widths(self._columns, width, self._needed() if self._is_fitted else None)
        heading = _line(self._columns, [column.title for column in self._columns], shown)
        self.query_one(".heading", Static).update(Content.styled(heading.plain, MUTED), layout=False)
        highlighted = lines.highlighted or 0
        lines.set_options(Option(_line(self._columns, row, shown)) for row in self._rows)
        if self._rows:
            lines.highlighted = min(highlighted, len(self._rows) - 1)

    @on(OptionList.OptionHighlighted)
    def _moved(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self.post_message(self.Moved(self))

    def _needed(self) -> list[int]:
        """Cells of the longest of each column."""
        rows = [[column.title for column in self._columns], *self._rows]
        return [
            max((cell.cell_length if isinstance(cell, Content) else cell_len(cell) for cell in cells), default=0)
            for cells in zip(*rows, strict=True)
        ]

    def go_to(self, index: int) -> None:
        """Put the cursor on a line."""
        self.query_one(Lines).highlighted = index

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()


def widths(columns: Sequence[ListColumn], width: int, needed: Sequence[int] | None = None) -> list[int]:
    """Cells of each column; 0 for one that is left out.

    Args:
        needed: cells of the longest in each; None shares by weight alone.
    """
    used = _used(columns, width, needed)
    open_ = [number for number in used if not columns[number].width]
    room = width - sum(columns[number].width for number in used) - _GAP * (len(used) - 1)
    found = [column.width if number in used else 0 for number, column in enumerate(columns)]
    if needed is not None and open_:
        room += _given(columns, found, sum(needed[number] for number in open_) - room, needed)
        return _fitted(columns, found, open_, room, needed)
    shares = sum(columns[number].weight for number in open_)
    for number in open_:
        found[number] = max(4, room * columns[number].weight // max(1, shares))
    return found


def _given(columns: Sequence[ListColumn], found: list[int], wanted: int, needed: Sequence[int]) -> int:
    """Take up to `wanted` cells from columns with a width that their cells do not fill; returns how many."""
    given = 0
    for number, column in enumerate(columns):
        if found[number] and column.gives_room:
            cells = max(0, min(wanted - given, found[number] - needed[number]))
            found[number] -= cells
            given += cells
    return given


def _fitted(
    columns: Sequence[ListColumn], found: list[int], open_: list[int], room: int, needed: Sequence[int]
) -> list[int]:
    """Every column has the room that it needs, or at least `_LEAST`, and the rest is shared; what is left is the last one's."""
    least = [min(needed[number], _LEAST) for number in open_]
    if sum(least) > room:
        least = [max(4, each * room // sum(least)) for each in least]
    for number, cells in zip(open_, least, strict=True):
        found[number] = max(4, cells)
    rest = room - sum(found[number] for number in open_)
    wanting = [number for number in open_ if needed[number] > found[number]]
    while rest > 0 and wanting:
        shares = sum(columns[number].weight for number in wanting)
        for number in wanting:
            more = min(needed[number] - found[number], max(1, rest * columns[number].weight // shares))
            found[number] += more
        rest = room - sum(found[number] for number in open_)
        wanting = [number for number in wanting if needed[number] > found[number]]
    found[open_[-1]] = max(4, found[open_[-1]] + rest)
    return found


def _used(columns: Sequence[ListColumn], width: int, needed: Sequence[int] | None) -> list[int]:
    """The columns that are not left out, by their places."""
    if needed is None:
        return [number for number, column in enumerate(columns) if column.on_narrow or width >= NARROW]
    least = [
        (min(need, column.width) if column.gives_room else column.width) or min(need, _LEAST)
        for column, need in zip(columns, needed, strict=True)
    ]
    used = list(range(len(columns)))
    for number in [number for number in used if not columns[number].on_narrow]:
        if sum(least[each] for each in used) + _GAP * (len(used) - 1) > width:
            used.remove(number)
    return used


def _line(columns: Sequence[ListColumn], cells: Sequence[Cell], widths: Sequence[int]) -> Content:
    drawn = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        if width:
            content = (cell if isinstance(cell, Content) else Content(cell)).truncate(width, ellipsis=True)
            blank = " " * (width - content.cell_length)
            drawn.append(Content(blank) + content if column.is_right else content + blank)
    return Content(" " * _GAP).join(drawn)
