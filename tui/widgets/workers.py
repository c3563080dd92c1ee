"""One live throughput bar per worker: a single widget draws all of them, line by line.

A widget per bar costs ten times as much (a `ProgressBar` is four widgets with a timer), and there may be 128 of them.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from enum import StrEnum

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from engine.control.protocol import Snapshot, WorkerState, WorkerView
from tui.format import duration, number
from tui.safe import safe
from tui.widgets.bars import REST, cells
from tui.widgets.words import MUTED, WORKER

SCALE_WINDOW_S = 60.0
"""All bars share the scale of the fastest worker in this time, so that their lengths compare."""
RESORT_S = 2.0
"""An order by a moving number is made anew this often, in seconds of the run, so that lines can be read."""
NARROW = 100
"""Cells below which columns give way."""


class Order(StrEnum):
    """What the lines are sorted by."""

    NUMBER = "number"
    RATE = "rows/s"
    ROWS = "rows"
    STATE = "state"

    def following(self) -> Order:
        """The next one in the cycle."""
        orders = list(Order)
        return orders[(orders.index(self) + 1) % len(orders)]


@dataclass(frozen=True, slots=True)
class Layout:
    """Widths of a line's columns, in cells; the bar takes what is left."""

    is_narrow: bool
    state: int
    collection: int
    partition: int
    bar: int

    @classmethod
    def of(cls, width: int) -> Layout:
        """The layout for a line of `width` cells."""
        is_narrow = width < NARROW
        state, collection, partition = (16, 13, 0) if is_narrow else (17, 24, 10)
        fixed = 4 + state + collection + partition + 2 + 9 + 13 + 1
        return cls(is_narrow, state, collection, partition, max(4, width - fixed))

    def heading(self) -> str:
        """The columns' names."""
        partition = f"{'partition':>{self.partition - 1}} " if self.partition else ""
        return (
            f"{'#':>3} {'state':<{self.state}}{'collection':<{self.collection}}{partition}  {'':<{self.bar}}"
            f"{'rows/s':>9}{'rows':>13}"
        )


class WorkerBars(ScrollView, can_focus=True):
    """The lines. Scrolls with the arrow keys, j and k, the page keys and the wheel."""

    COMPONENT_CLASSES = {"bar", "bar--rest", "bar--good", "bar--warning", "bar--error", "bar--muted"}  # noqa: RUF012
    BINDINGS = [  # noqa: RUF012
        Binding("up,k", "scroll_up", "Up", show=False),
        Binding("down,j", "scroll_down", "Down", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown", "page_down", "Page down", show=False),
        Binding("home", "scroll_home", "First", show=False),
        Binding("end", "scroll_end", "Last", show=False),
    ]
    _COLOURS = {"$success": "bar--good", "$warning": "bar--warning", "$error": "bar--error"}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.order = Order.NUMBER
        self.rows: list[WorkerView] = []
        """In the order of the lines."""
        self._ranks: dict[int, int] = {}
        self._ranked_at = float("-inf")
        self._fastest: deque[tuple[float, float]] = deque()
        self._styles: dict[str, Style] = {}
        self._drawn: dict[int, tuple[str, ...]] = {}
        """What each visible line says."""

    @property
    def scale(self) -> float:
        """Rows/s of a full bar."""
        return max((rate for _, rate in self._fastest), default=0.0)

    def show(self, snapshot: Snapshot) -> None:
        """Draw this snapshot's workers."""
        now = snapshot.elapsed
        self._fastest.append((now, max((worker.rows_per_s for worker in snapshot.workers), default=0.0)))
        while self._fastest[0][0] < now - SCALE_WINDOW_S or self._fastest[0][0] > now:
            self._fastest.popleft()
        self._rank(snapshot.workers, now)
        if len(self.rows) != self.virtual_size.height or self.virtual_size.width != self.size.width:
            self.virtual_size = Size(self.scrollable_content_region.width, len(self.rows))
            self._drawn.clear()
        self._refresh_changed()

    def _refresh_changed(self) -> None:
        """Paint only the lines that read differently now: painting is what a cockpit costs."""
        width, height = self.scrollable_content_region.size
        layout = Layout.of(width)
        top = round(self.scroll_y)
        now = {row - top: self._words(worker, layout) for row, worker in enumerate(self.rows[top : top + height], top)}
        changed = [y for y in now.keys() | self._drawn.keys() if now.get(y) != self._drawn.get(y)]
        self._drawn = now
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def sort_by(self, order: Order, snapshot: Snapshot) -> None:
        """Change the order, at once."""
        self.order = order
        self._ranked_at = float("-inf")
        self.show(snapshot)

    def _rank(self, workers: list[WorkerView], now: float) -> None:
        if now - self._ranked_at >= RESORT_S or now < self._ranked_at or self.order is Order.NUMBER:
            self._ranked_at = now
            keys = {
                Order.NUMBER: lambda worker: worker.id,
                Order.RATE: lambda worker: -worker.rows_per_s,
                Order.ROWS: lambda worker: -worker.written,
                Order.STATE: lambda worker: worker.state.value,
            }
            ordered = sorted(sorted(workers, key=lambda worker: worker.id), key=keys[self.order])
            self._ranks = {worker.id: rank for rank, worker in enumerate(ordered)}
        last = len(self._ranks)
        self.rows = sorted(workers, key=lambda worker: (self._ranks.get(worker.id, last), worker.id))

    def hidden(self) -> list[WorkerView]:
        """The workers that are scrolled out of sight."""
        top = round(self.scroll_y)
        height = self.scrollable_content_region.height
        return [worker for row, worker in enumerate(self.rows) if not top <= row < top + height]

    def notify_style_update(self) -> None:
        """Another theme, or the focus: the component styles are different now."""
        super().notify_style_update()
        self._styles.clear()
        self._drawn.clear()

    def on_resize(self) -> None:
        """Other lines are out of sight now."""
        self._drawn.clear()
        self._sum_hidden()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Keep the sum of the hidden lines right."""
        super().watch_scroll_y(old_value, new_value)
        self._drawn.clear()
        self._sum_hidden()

    def _sum_hidden(self) -> None:
        if self.is_attached and isinstance(self.parent, WorkersPanel):
            self.parent.show_hidden()

    def render_line(self, y: int) -> Strip:
        """One worker."""
        row = y + round(self.scroll_y)
        width = self.scrollable_content_region.width
        if row >= len(self.rows):
            return Strip.blank(width, self._style(""))
        worker = self.rows[row]
        segments = self._segments(worker, self._words(worker, Layout.of(width)))
        return Strip(segments).adjust_cell_length(width, self._style(""))

    def _words(self, worker: WorkerView, layout: Layout) -> tuple[str, ...]:
        """The line in pieces: number, state, collection, partition, filled and empty part of the bar, numbers."""
        sign = WORKER[worker.state]
        state = f"{sign} {duration(worker.idle_s)}" if worker.state is WorkerState.STALLED else str(sign)
        collection = safe(worker.collection.partition(".")[2] if layout.is_narrow else worker.collection, 80)
        cropped = Content(collection).truncate(layout.collection - 1, ellipsis=True)
        partition = str(worker.partition) if worker.partition >= 0 else ""
        name = cropped.plain + " " * (layout.collection - cropped.cell_length)
        filled = cells(worker.rows_per_s / self.scale if self.scale else 0.0, layout.bar)
        return (
            f"{worker.id:>3} ",
            f"{state[: layout.state - 1]:<{layout.state}}",
            name,
            f"{partition:>{layout.partition - 1}}   " if layout.partition else "  ",
            filled,
            REST * (layout.bar - len(filled)),
            f"{number(worker.rows_per_s):>9}{number(worker.written):>13}",
        )

    def _segments(self, worker: WorkerView, words: tuple[str, ...]) -> list[Segment]:
        colour = self._COLOURS.get(WORKER[worker.state].colour, "bar--muted")
        styles = ("bar--muted", colour, "", "bar--muted", "bar", "bar--rest", "")
        return [Segment(text, self._style(style)) for text, style in zip(words, styles, strict=True)]

    def _style(self, name: str) -> Style:
        if name not in self._styles:
            self._styles[name] = self.get_component_rich_style(name) if name else self.rich_style
        return self._styles[name]


class Heading(Widget):
    """The columns' names above the bars."""

    def render(self) -> Content:
        """One line."""
        return Content.styled(Layout.of(self.content_size.width).heading(), MUTED)


class WorkersPanel(Vertical):
    """Heading, bars, and a line that sums the workers out of sight."""

    _height = 0
    _scale = ""

    def compose(self) -> ComposeResult:
        """The three of them."""
        yield Heading()
        yield WorkerBars()
        yield Static(id="hidden-workers", markup=False)

    def show(self, snapshot: Snapshot) -> None:
        """Draw this snapshot."""
        bars = self.query_one(WorkerBars)
        bars.show(snapshot)
        height = max(1, len(snapshot.workers)) + 1 + self.gutter.height
        if height != self._height:  # even an equal value would make Textual lay out the screen anew
            self._height = height
            self.styles.max_height = height
            self.border_title = Content(f"Workers {len(snapshot.workers)}")
        scale = f"sorted by {bars.order} · full bar {number(bars.scale)} rows/s"
        if scale != self._scale:
            self._scale = scale
            self.border_subtitle = Content(scale)
        self.show_hidden()

    def show_hidden(self) -> None:
        """Sum the workers out of sight; without any there is no such line."""
        bars = self.query_one(WorkerBars)
        # The line itself takes one: what fits without it is not hidden.
        hidden = bars.hidden() if len(bars.rows) > self.content_size.height - 1 else []
        line = self.query_one("#hidden-workers", Static)
        line.display = bool(hidden)
        if hidden:
            states = Counter(worker.state.value for worker in hidden)
            rates = sum(worker.rows_per_s for worker in hidden)
            rows = sum(worker.written for worker in hidden)
            doing = ", ".join(f"{count} {state}" for state, count in states.most_common(3))
            line.update(
                Content(f"  … {len(hidden)} more: {number(rates)} rows/s · {number(rows)} rows · {doing}"), layout=False
            )
