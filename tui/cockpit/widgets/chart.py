"""Throughput over time as a chart with a zero baseline, and marks where a knob was changed."""

from __future__ import annotations

from itertools import pairwise

from textual.content import Content
from textual.widget import Widget

from tui.cockpit.signs import MUTED
from tui.cockpit.throughput import Columns, ThroughputHistory
from tui.words.format import compact, duration

_LEVELS = " ▁▂▃▄▅▆▇█"
_GUTTER = len("999.9k┤")
"""Cells left of the chart, for the scale."""
_NOTE = len("  peak 999.9k")
_FADING = 35
"""Per cent of its colour that the lowest line has less than the highest."""


class ThroughputChart(Widget):
    """The whole run, however long, in as many columns as there are cells."""

    BORDER_TITLE = "Throughput, rows/s"
    history: ThroughputHistory | None = None
    _drawn: tuple[ThroughputHistory, int, int] | None = None

    def show(self, history: ThroughputHistory, *, is_part: bool = False) -> None:
        """Draw this history: once a second of the run, and when something was changed.

        Args:
            is_part: the run was resumed, and this is what came after that.
        """
        title = f"{self.BORDER_TITLE} since resume" if is_part else self.BORDER_TITLE
        if str(self.border_title) != title:
            self.border_title = Content(title)
        drawn = (history, int(history.end), history.n_marks)
        if drawn != self._drawn:
            self._drawn = drawn
            self.history = history
            self.refresh()

    def render(self) -> Content:
        """The chart; on one line only the bars and the peak."""
        width, height = self.content_size
        if self.history is None or width <= _GUTTER + 8 or height < 1:
            return Content.empty()
        if height == 1:
            columns = self.history.columns(width - _NOTE)
            note = f"  peak {compact(columns.peak)}"
            bars = _rows(columns, 1)[0].ljust(width - _NOTE)
            return Content.assemble((bars, "$primary"), (note, MUTED))
        columns = self.history.columns(width - _GUTTER)
        peak = columns.peak
        rows = _rows(columns, height - 1)
        lines = []
        for index, row in enumerate(rows):
            scale = compact(peak) if index == 0 and peak else ""
            shade = 100 - round(_FADING * index / max(1, len(rows) - 1))
            lines.append(Content.assemble((f"{scale:>{_GUTTER - 1}}┤", MUTED), (row, f"$primary {shade}%")))
        zero = Content.styled(f"{'0':>{_GUTTER - 1}}┼", MUTED)
        lines.append(zero + _axis(columns, width - _GUTTER))
        return Content("\n").join(lines)


def _rows(columns: Columns, height: int) -> list[str]:
    """Bars as `height` lines from the top; the highest is the whole height, nothing is an empty cell."""
    peak = columns.peak
    eighths = [max(1, round(rate / peak * height * 8)) if rate > 0 else 0 for rate in columns.rates]
    return [
        "".join(_LEVELS[min(8, max(0, level - 8 * (height - 1 - line)))] for level in eighths) for line in range(height)
    ]


def _axis(columns: Columns, width: int) -> Content:
    """The time axis: marks with what was changed, and the time at its end, where no mark is."""
    end = f" {duration(columns.end_s)} "
    edge = min(max(len(columns.rates), 1), width - len(end))
    has_end = all(column < edge for column, _ in columns.marks)
    axis = ["─"] * width
    if has_end:
        axis[edge : edge + len(end)] = end
    else:
        edge = width
    marked = [False] * width
    taken = 0
    """Cells from the left that have something in them."""
    for (column, label), (following, _) in pairwise([*columns.marks, (edge, "")]):
        axis[column], marked[column] = "▲", True
        words = f" {label} "
        begin = column + 1
        if begin + len(words) > following == edge and column - len(words) >= taken:
            begin = column - len(words)  # the newest change is often where no room is left after it
        taken = column + 1
        if begin + len(words) <= following:
            axis[begin : begin + len(words)] = words
            marked[begin : begin + len(words)] = [True] * len(words)
            taken = max(taken, begin + len(words))
    spans = [(cell, "$warning" if is_mark else MUTED) for cell, is_mark in zip(axis, marked, strict=True)]
    return Content.assemble(*_runs(spans))


def _runs(cells: list[tuple[str, str]]) -> list[tuple[str, str]]:
    joined: list[tuple[str, str]] = []
    for cell, style in cells:
        if joined and joined[-1][1] == style:
            joined[-1] = (joined[-1][0] + cell, style)
        else:
            joined.append((cell, style))
    return joined
