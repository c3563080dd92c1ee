"""Lines of numbers and bars, drawn one by one by a single widget: one is under the cursor, what is out of sight is scrolled to.

A widget per line costs ten times as much (a `ProgressBar` is four widgets with a timer), and there may be 128 of them.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding
from textual.events import Click
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

Row = TypeVar("Row")
Piece = tuple[str, str]
"""Text, and the component class that has its style; empty for that of the list."""
CURSOR = "›"
"""Marks the line that commands are about."""
STILL_S = 4.0
"""So long after the cursor was moved the lines keep their order: the next key means the line that is seen there."""
READ, CONVERT, WRITE = "bar--read", "bar--convert", "bar--write"
"""What a worker's time goes into, in shades."""
COLOURS = {"$success": "bar--good", "$warning": "bar--warning", "$error": "bar--error"}
"""The style for the colour of a sign; another one is muted."""


class BarList(ScrollView, Generic[Row], can_focus=True):
    """The lines. The cursor moves with the arrow keys, j and k, the page keys and the mouse, and stays on its row."""

    COMPONENT_CLASSES = {  # noqa: RUF012
        "bar", "bar--rest", "bar--good", "bar--warning", "bar--error", "bar--muted", READ, CONVERT, WRITE,
    }  # fmt: skip
    BINDINGS = [  # noqa: RUF012
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "move(-1000)", "First", show=False),
        Binding("end", "move(1000)", "Last", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []
        """In the order of the lines."""
        self.cursor = 0
        """The line that commands are about."""
        self.chosen_key: Hashable | None = None
        """The row on that line: the cursor stays on it wherever it goes."""
        self._moved_at: float | None = None
        """When the operator moved the cursor last: seconds of `time.monotonic`."""
        self._styles: dict[str, Style] = {}
        self._drawn: dict[int, tuple[Piece, ...]] = {}
        """What each visible line says."""

    @abstractmethod
    def key_of(self, row: Row) -> Hashable:
        """What tells a row from the others, from snapshot to snapshot."""

    @abstractmethod
    def pieces(self, row: Row, width: int, *, is_chosen: bool) -> tuple[Piece, ...]:
        """The line of a row, `width` cells wide."""

    def hidden_changed(self) -> None:
        """Other lines are out of sight than before."""

    @property
    def keeps_order(self) -> bool:
        """The operator is about to do something in it: lines that go elsewhere would be gone from under the cursor."""
        return self._moved_at is not None and time.monotonic() - self._moved_at < STILL_S

    def fill(self, rows: Sequence[Row]) -> None:
        """Draw these rows."""
        was_seen = self._moved_at is not None and self._is_seen(self.cursor)
        self.rows = list(rows)
        if len(self.rows) != self.virtual_size.height or self.virtual_size.width != self.size.width:
            self.virtual_size = Size(self.scrollable_content_region.width, len(self.rows))
            self._drawn.clear()
        place = next((at for at, row in enumerate(self.rows) if self.key_of(row) == self.chosen_key), self.cursor)
        self._point_at(place)
        if was_seen:
            self.scroll_to_cursor()
        self._refresh_changed()

    def _point_at(self, line: int) -> None:
        self.cursor = max(0, min(line, len(self.rows) - 1))
        chosen = self.chosen
        self.chosen_key = self.key_of(chosen) if chosen is not None else None

    @property
    def chosen(self) -> Row | None:
        """The row under the cursor."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    def action_move(self, by: int) -> None:
        """Another line under the cursor, in sight."""
        self._moved_at = time.monotonic()
        self._point_at(self.cursor + by)
        self.scroll_to_cursor()
        self._refresh_changed()

    def scroll_to_cursor(self) -> None:
        """Have the line under the cursor in sight."""
        top, height = round(self.scroll_y), self.scrollable_content_region.height
        if not self._is_seen(self.cursor):
            self.scroll_to(y=self.cursor if self.cursor < top else self.cursor - height + 1, animate=False)

    def _is_seen(self, line: int) -> bool:
        top = round(self.scroll_y)
        return top <= line < top + self.scrollable_content_region.height

    def action_page(self, by: int) -> None:
        """A page on, or back."""
        self.action_move(by * max(1, self.scrollable_content_region.height))

    def on_click(self, event: Click) -> None:
        """The line under the pointer."""
        self.action_move(round(self.scroll_y) + event.y - self.cursor)

    def on_focus(self) -> None:
        """The cursor is seen where it counts."""
        self._refresh_changed()

    on_blur = on_focus

    def _refresh_changed(self) -> None:
        """Paint only the lines that read differently now: painting is what a cockpit costs."""
        width, height = self.scrollable_content_region.size
        top = round(self.scroll_y)
        now = {
            line - top: self.pieces(row, width, is_chosen=self._is_chosen(line))
            for line, row in enumerate(self.rows[top : top + height], top)
        }
        changed = [y for y in now.keys() | self._drawn.keys() if now.get(y) != self._drawn.get(y)]
        self._drawn = now
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def _is_chosen(self, line: int) -> bool:
        return line == self.cursor and self.has_focus

    def hidden(self) -> list[Row]:
        """The rows that are scrolled out of sight."""
        top = round(self.scroll_y)
        height = self.scrollable_content_region.height
        return [row for line, row in enumerate(self.rows) if not top <= line < top + height]

    def notify_style_update(self) -> None:
        """Another theme, or the focus: the component styles are different now."""
        super().notify_style_update()
        self._styles.clear()
        self._drawn.clear()

    def on_resize(self) -> None:
        """Other lines are out of sight now."""
        self._drawn.clear()
        self.hidden_changed()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Keep the sum of the hidden lines right."""
        super().watch_scroll_y(old_value, new_value)
        self._drawn.clear()
        self.hidden_changed()

    def render_line(self, y: int) -> Strip:
        """One line."""
        line = y + round(self.scroll_y)
        width = self.scrollable_content_region.width
        if line >= len(self.rows):
            return Strip.blank(width, self._style(""))
        pieces = self.pieces(self.rows[line], width, is_chosen=self._is_chosen(line))
        segments = [Segment(text, self._style(style)) for text, style in pieces if text]
        return Strip(segments).adjust_cell_length(width, self._style(""))

    def _style(self, name: str) -> Style:
        if name not in self._styles:
            self._styles[name] = self.get_component_rich_style(name) if name else self.rich_style
        return self._styles[name]
