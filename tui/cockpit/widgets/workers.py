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
from textual.events import Click
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from engine.protocol import Snapshot, WorkerState, WorkerView
from tui.cockpit.signs import MUTED, WORKER
from tui.cockpit.widgets.bars import REST, cells
from tui.cockpit.widgets.filter import FilterField, has
from tui.words.format import duration, number, share
from tui.words.safe import safe

SCALE_WINDOW_S = 60.0
"""All bars share the scale of the fastest worker in this time, so that their lengths compare."""
RESORT_S = 2.0
"""An order by a moving number is made anew this often, in seconds of the run, so that lines can be read."""
CURSOR = "›"
"""After the number of the worker that commands are about."""
NARROW = 100
"""Cells below which columns give way."""
WIDE = 116
"""Cells from which a line also says where the worker's time goes, and how long ago it made progress: a screen of 120."""
ROOMY = 140
"""Cells from which that does not take room from the names."""
_TIME = len("r100 c100 w100")
"""Reading, converting, writing."""
_AGE = len("  59m")
"""Of its last progress."""


class WorkerOrder(StrEnum):
    """What the lines are sorted by."""

    NUMBER = "number"
    RATE = "rows/s"
    ROWS = "rows"
    STATE = "state"

    def following(self) -> WorkerOrder:
        """The next one in the cycle."""
        orders = list(WorkerOrder)
        return orders[(orders.index(self) + 1) % len(orders)]


@dataclass(frozen=True, slots=True)
class Layout:
    """Widths of a line's columns, in cells; the bar takes what is left."""

    is_narrow: bool
    state: int
    collection: int
    partition: int
    share: int
    bar: int
    is_wide: bool

    @classmethod
    def of(cls, width: int) -> Layout:
        """The layout for a line of `width` cells."""
        is_narrow = width < NARROW
        state, collection, partition, share = (16, 13, 0, 5) if is_narrow else (17, 24, 10, 5)
        is_wide = width >= WIDE
        if is_wide and width < ROOMY:
            collection -= 4
        fixed = 4 + state + collection + partition + share + 2 + 9 + 13 + 1 + is_wide * (2 + _TIME + _AGE)
        return cls(is_narrow, state, collection, partition, share, max(4, width - fixed), is_wide)

    def heading(self) -> str:
        """The columns' names."""
        partition = f"{'partition':>{self.partition}}" if self.partition else ""
        return (
            f"{'#':>3} {'state':<{self.state}}{'collection':<{self.collection}}{partition}{'done':>{self.share}}"
            f"  {'':<{self.bar}}"
            f"{'rows/s':>9}{'rows':>13}" + (f"  {'time in %':<{_TIME}}{'age':>{_AGE}}" if self.is_wide else "")
        )


class WorkerBars(ScrollView, can_focus=True):
    """The lines, one under the cursor. Moves with the arrow keys, j and k, the page keys and the mouse."""

    COMPONENT_CLASSES = {"bar", "bar--rest", "bar--good", "bar--warning", "bar--error", "bar--muted"}  # noqa: RUF012
    BINDINGS = [  # noqa: RUF012
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "move(-1000)", "First", show=False),
        Binding("end", "move(1000)", "Last", show=False),
    ]
    _COLOURS = {"$success": "bar--good", "$warning": "bar--warning", "$error": "bar--error"}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.order = WorkerOrder.NUMBER
        self.is_reversed = False
        self.sought = ""
        """Only workers with this in their number, state or collection are shown."""
        self.cursor = 0
        """The line that commands are about."""
        self.chosen_id: int | None = None
        """The worker on that line: the cursor stays on it wherever it goes."""
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
        place = next((row for row, worker in enumerate(self.rows) if worker.id == self.chosen_id), self.cursor)
        self._point_at(place)
        self._refresh_changed()

    def _point_at(self, row: int) -> None:
        self.cursor = max(0, min(row, len(self.rows) - 1))
        chosen = self.chosen
        self.chosen_id = chosen.id if chosen is not None else None

    @property
    def chosen(self) -> WorkerView | None:
        """The worker under the cursor."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    def action_move(self, by: int) -> None:
        """Another line under the cursor, in sight."""
        self._point_at(self.cursor + by)
        self._scroll_to_cursor()
        self._refresh_changed()

    def _scroll_to_cursor(self) -> None:
        top, height = round(self.scroll_y), self.scrollable_content_region.height
        if not top <= self.cursor < top + height:
            self.scroll_to(y=self.cursor if self.cursor < top else self.cursor - height + 1, animate=False)

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
        layout = Layout.of(width)
        top = round(self.scroll_y)
        now = {
            row - top: self._words(worker, layout, is_chosen=self._is_chosen(row))
            for row, worker in enumerate(self.rows[top : top + height], top)
        }
        changed = [y for y in now.keys() | self._drawn.keys() if now.get(y) != self._drawn.get(y)]
        self._drawn = now
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def sort_by(self, order: WorkerOrder, snapshot: Snapshot) -> None:
        """Change the order, at once."""
        self.order = order
        self._ranked_at = float("-inf")
        self.show(snapshot)
        self._scroll_to_cursor()

    def _is_chosen(self, row: int) -> bool:
        return row == self.cursor and self.has_focus

    def reverse(self, snapshot: Snapshot) -> None:
        """Turn the order round, at once."""
        self.is_reversed = not self.is_reversed
        self.sort_by(self.order, snapshot)

    def seek(self, sought: str, snapshot: Snapshot) -> None:
        """Show only workers with this in their number, state or collection; with `!` before it, only the others."""
        self.sought = sought
        self.show(snapshot)

    def _rank(self, workers: list[WorkerView], now: float) -> None:
        if now - self._ranked_at >= RESORT_S or now < self._ranked_at or self.order is WorkerOrder.NUMBER:
            self._ranked_at = now
            keys = {
                WorkerOrder.NUMBER: lambda worker: worker.id,
                WorkerOrder.RATE: lambda worker: -worker.rows_per_s,
                WorkerOrder.ROWS: lambda worker: -worker.written,
                WorkerOrder.STATE: lambda worker: worker.state.value,
            }
            ordered = sorted(sorted(workers, key=lambda worker: worker.id), key=keys[self.order])
            if self.is_reversed:
                ordered.reverse()
            self._ranks = {worker.id: rank for rank, worker in enumerate(ordered)}
        last = len(self._ranks)
        shown = (each for each in workers if has(f"{each.id} {each.state.value} {each.collection}", self.sought))
        self.rows = sorted(shown, key=lambda worker: (self._ranks.get(worker.id, last), worker.id))

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
        words = self._words(worker, Layout.of(width), is_chosen=self._is_chosen(row))
        segments = self._segments(worker, words)
        return Strip(segments).adjust_cell_length(width, self._style(""))

    def _words(self, worker: WorkerView, layout: Layout, *, is_chosen: bool) -> tuple[str, ...]:
        """The line in pieces: number, state, collection, range, filled and empty part of the bar, numbers, time and age."""
        sign = WORKER[worker.state]
        state = f"{sign} {duration(worker.idle_s)}" if worker.state is WorkerState.STALLED else str(sign)
        collection = safe(worker.collection.partition(".")[2] if layout.is_narrow else worker.collection, 80)
        cropped = Content(collection).truncate(layout.collection - 1, ellipsis=True)
        partition = str(worker.partition) if worker.partition >= 0 and layout.partition else ""
        name = cropped.plain + " " * (layout.collection - cropped.cell_length)
        filled = cells(worker.rows_per_s / self.scale if self.scale else 0.0, layout.bar)
        return (
            f"{worker.id:>3}{CURSOR if is_chosen else ' '}",
            f"{state[: layout.state - 1]:<{layout.state}}",
            name,
            f"{partition:>{layout.partition}}{range_words(worker):>{layout.share}}  ",
            filled,
            REST * (layout.bar - len(filled)),
            f"{number(worker.rows_per_s):>9}{number(worker.written):>13}",
            f"  {time_words(worker)}{age_words(worker.idle_s):>{_AGE}}" if layout.is_wide else "",
        )

    def _segments(self, worker: WorkerView, words: tuple[str, ...]) -> list[Segment]:
        colour = self._COLOURS.get(WORKER[worker.state].colour, "bar--muted")
        styles = ("bar--muted", colour, "", "bar--muted", "bar", "bar--rest", "", "bar--muted")
        return [Segment(text, self._style(style)) for text, style in zip(words, styles, strict=True)]

    def _style(self, name: str) -> Style:
        if name not in self._styles:
            self._styles[name] = self.get_component_rich_style(name) if name else self.rich_style
        return self._styles[name]


def range_words(worker: WorkerView) -> str:
    """How far it is with its range: `62%`, with `~` before it when that is an estimate; empty without a range."""
    if worker.range is None or not worker.range.total:
        return ""
    done = share(worker.range.done, worker.range.total)
    return f"{done:.0%}" if worker.range.is_exact else f"~{min(done, 0.99):.0%}"


def time_words(worker: WorkerView) -> str:
    """What its time goes to, in per cent: `r 12 c 30 w 58`; nothing while it does none of the three, as when it seeds."""
    if not worker.reading + worker.converting + worker.writing:
        return " " * _TIME
    return f"r{worker.reading * 100:>3.0f} c{worker.converting * 100:>3.0f} w{worker.writing * 100:>3.0f}"


def age_words(seconds: float) -> str:
    """How long ago it made progress, in at most four cells: `0s`, `12s`, `59m`, `7h`."""
    for unit, size in (("s", 60), ("m", 60), ("h", 24)):
        if seconds < size:
            return f"{int(seconds)}{unit}"
        seconds /= size
    return f"{int(seconds)}d"


class Heading(Widget):
    """The columns' names above the bars."""

    def render(self) -> Content:
        """One line."""
        return Content.styled(Layout.of(self.content_size.width).heading(), MUTED)


class WorkersPanel(Vertical):
    """Heading, bars, a line that sums the workers out of sight; above them what they are filtered by."""

    _height = 0
    _title = ""
    _scale = ""

    def compose(self) -> ComposeResult:
        """The three of them, and the filter."""
        yield FilterField(WorkerBars)
        yield Heading()
        yield WorkerBars()
        yield Static(id="hidden-workers", markup=False)

    def show(self, snapshot: Snapshot) -> None:
        """Draw this snapshot."""
        bars = self.query_one(WorkerBars)
        bars.show(snapshot)
        is_filtering = self.query_one(FilterField).display
        height = max(1, len(snapshot.workers)) + 1 + is_filtering + self.gutter.height
        if height != self._height:  # even an equal value would make Textual lay out the screen anew
            self._height = height
            self.styles.max_height = height
        title = f"Workers {len(snapshot.workers)}"
        if bars.sought:
            title = f"{title}, {len(bars.rows)} with {safe(bars.sought, 20)}"
        if title != self._title:
            self._title = title
            self.border_title = Content(title)
        way = ", reversed" if bars.is_reversed else ""
        scale = f"sorted by {bars.order}{way} · full bar {number(bars.scale)} rows/s"
        if scale != self._scale:
            self._scale = scale
            self.border_subtitle = Content(scale)
        self.show_hidden()

    def show_hidden(self) -> None:
        """Sum the workers out of sight; without any there is no such line."""
        bars = self.query_one(WorkerBars)
        # The line itself takes one: what fits without it is not hidden.
        is_filtering = self.query_one(FilterField).display
        hidden = bars.hidden() if len(bars.rows) > self.content_size.height - 1 - is_filtering else []
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
