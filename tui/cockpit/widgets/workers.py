"""One live bar per worker: how fast it is, what its time goes into, and how that went over the last seconds.

Workers of a cluster of several hosts stand below a line for each host, which folds them away and sums them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from engine.protocol import HostView, Snapshot, WorkerState, WorkerView
from tui.cockpit.signs import MUTED, WORKER
from tui.cockpit.widgets.bar_list import COLOURS, CONVERT, CURSOR, READ, WRITE, BarList, Piece
from tui.cockpit.widgets.bars import REST, cells, parts, sparkline
from tui.cockpit.widgets.filter import FilterField, has
from tui.words.format import compact, number
from tui.words.safe import safe
from tui.words.sentences import host_words, hosts_words

SCALE_WINDOW_S = 60.0
"""All bars share the scale of the fastest worker in this time, so that their lengths compare."""
RESORT_S = 2.0
"""An order by a moving number is made anew this often, in seconds of the run, so that lines can be read."""
SAMPLE_S = 1.0
"""Seconds of the run between two columns of a worker's line of rates."""
SAMPLES = 16
"""Columns that are kept of each."""
NARROW = 100
"""Cells below which columns give way."""
WIDE = 116
"""Cells from which a line also says how long ago the worker made progress: a screen of 120."""
ROOMY = 140
"""Cells from which that does not take room from the names."""
_RANGE = len("13.7k/~18.8k ")
"""Documents of its range that are done, and of how many."""
_AGE = len("  59m")
"""Of its last progress."""
FOLDED_FROM = 40
"""Lines from which hosts are folded, until they are unfolded."""
FOLDED, UNFOLDED = "▷", "▼"
SHADES = {"r": READ, "c": CONVERT, "w": WRITE}
"""What a worker's time goes into: reading, converting, writing."""


class WorkerOrder(StrEnum):
    """What the lines are sorted by."""

    NUMBER = "#"
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
    range: int
    trend: int
    rate: int
    rows: int
    bar: int
    is_wide: bool

    @classmethod
    def of(cls, width: int) -> Layout:
        """The layout for a line of `width` cells."""
        is_narrow = width < NARROW
        state, collection, trend, rate, rows = (16, 12, 6, 8, 8) if is_narrow else (17, 24, 10, 9, 13)
        is_wide = width >= WIDE
        if is_wide and width < ROOMY:
            collection -= 6
        fixed = 4 + state + collection + _RANGE + 1 + trend + 1 + rate + rows + 1 + is_wide * _AGE
        return cls(is_narrow, state, collection, _RANGE, trend, rate, rows, max(4, width - fixed), is_wide)

    def heading(self) -> str:
        """The columns' names."""
        bar = "speed: read convert write" if self.bar >= 26 else "speed r c w" if self.bar >= 12 else "speed"
        return (
            f"{'#':>3} {'state':<{self.state}}{'collection':<{self.collection}}{'done/range':>{self.range - 1}}  "
            f"{bar[: self.bar]:<{self.bar}} {'trend':<{self.trend}}"
            f"{'rows/s':>{self.rate}}{'rows':>{self.rows}}" + (f"{'age':>{_AGE}}" if self.is_wide else "")
        )


class WorkerBars(BarList[WorkerView | HostView]):
    """The lines, one under the cursor."""

    BINDINGS = [Binding("escape", "leave", "All workers", show=False)]  # noqa: RUF012

    class Left(Message):
        """The operator is done with the workers of one collection."""

    def action_leave(self) -> None:
        """All workers again, and back to the collections."""
        self.post_message(self.Left())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Esc is only for what was filtered: elsewhere it has another meaning."""
        return bool(self.sought) if action == "leave" else super().check_action(action, parameters)

    def __init__(self) -> None:
        super().__init__()
        self.order = WorkerOrder.NUMBER
        self.is_reversed = False
        self.sought = ""
        """Only workers with this in their number, state or collection are shown."""
        self._ranks: dict[int, int] = {}
        self._ranked_at = float("-inf")
        self.scale = 0.0
        """Rows/s of a full bar."""
        self._fastest: deque[tuple[float, float]] = deque()
        self._rates: dict[int, deque[float]] = {}
        """By worker: its rates, a second each, the newest last."""
        self._sampled_at = float("-inf")
        self.n_workers = 0
        """Those that are shown, or folded away below the line of their host."""
        self._folds: dict[str, bool] = {}
        """Hosts that were folded, or unfolded, by the operator."""
        self._fastest_host = 0.0

    @property
    def chosen_id(self) -> int | None:
        """The worker under the cursor."""
        return self.chosen_key if isinstance(self.chosen_key, int) else None

    @property
    def chosen_worker(self) -> WorkerView | None:
        """The same one; None on the line of a host."""
        return self.chosen if isinstance(self.chosen, WorkerView) else None

    @property
    def worker_rows(self) -> list[WorkerView]:
        """Those that have a line."""
        return [row for row in self.rows if isinstance(row, WorkerView)]

    def key_of(self, row: WorkerView | HostView) -> Hashable:
        """A worker's number, a host's name."""
        return row.id if isinstance(row, WorkerView) else row.name

    def fold(self, snapshot: Snapshot) -> bool:
        """Fold the workers of the host under the cursor away, or show them again; False on another line."""
        host = self.chosen
        if not isinstance(host, HostView):
            return False
        self._folds[host.name] = not self._is_folded(host.name, snapshot)
        self.show(snapshot)
        return True

    def _is_folded(self, host: str, snapshot: Snapshot) -> bool:
        by_itself = len(snapshot.workers) + len(snapshot.hosts) > FOLDED_FROM
        return not self.sought and self._folds.get(host, by_itself)

    def show(self, snapshot: Snapshot) -> None:
        """Draw this snapshot's workers."""
        now = snapshot.elapsed
        self._fastest.append((now, max((worker.rows_per_s for worker in snapshot.workers), default=0.0)))
        while self._fastest[0][0] < now - SCALE_WINDOW_S or self._fastest[0][0] > now:
            self._fastest.popleft()
        self.scale = max(rate for _, rate in self._fastest)
        self._sample(snapshot.workers, now)
        workers = self._ranked(snapshot.workers, now)
        self.n_workers = len(workers)
        self._fastest_host = max((host.rows_per_s for host in snapshot.hosts), default=0.0)
        self.fill(self._grouped(workers, snapshot) if snapshot.hosts else workers)

    def _grouped(self, workers: list[WorkerView], snapshot: Snapshot) -> list[WorkerView | HostView]:
        """Each host with its workers below it, those of the engine's own host first."""
        rows: list[WorkerView | HostView] = [worker for worker in workers if not worker.host]
        for host in snapshot.hosts:
            there = [worker for worker in workers if worker.host == host.name]
            if there or not self.sought:
                rows.append(host)
            if not self._is_folded(host.name, snapshot):
                rows += there
        return rows

    def _sample(self, workers: list[WorkerView], now: float) -> None:
        if self._sampled_at <= now < self._sampled_at + SAMPLE_S:
            return
        if now < self._sampled_at:
            self._rates.clear()
        self._sampled_at = now
        self._rates = {worker.id: self._rates.get(worker.id, deque(maxlen=SAMPLES)) for worker in workers}
        for worker in workers:
            self._rates[worker.id].append(worker.rows_per_s)

    def sort_by(self, order: WorkerOrder, snapshot: Snapshot) -> None:
        """Change the order, at once."""
        self.order = order
        self._ranked_at = float("-inf")
        self.show(snapshot)
        self.scroll_to_cursor()

    def reverse(self, snapshot: Snapshot) -> None:
        """Reverse the order, at once."""
        self.is_reversed = not self.is_reversed
        self.sort_by(self.order, snapshot)

    def seek(self, sought: str, snapshot: Snapshot) -> None:
        """Show only workers with this in their number, state or collection; with `!` before it, only the others."""
        self.sought = sought
        self.show(snapshot)

    def _ranked(self, workers: list[WorkerView], now: float) -> list[WorkerView]:
        is_due = now - self._ranked_at >= RESORT_S and (not self.keeps_order or self._ranked_at < 0)
        if is_due or now < self._ranked_at or self.order is WorkerOrder.NUMBER:
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
        shown = (
            each for each in workers if has(f"{each.id} {each.state.value} {each.collection} {each.host}", self.sought)
        )
        return sorted(shown, key=lambda worker: (self._ranks.get(worker.id, last), worker.id))

    def hidden_changed(self) -> None:
        """Sum them anew."""
        if self.is_attached and isinstance(self.parent, WorkersPanel):
            self.parent.show_hidden()

    def pieces(self, row: WorkerView | HostView, width: int, *, is_chosen: bool) -> tuple[Piece, ...]:
        """Number, state, collection, range, bar with its parts, trend, numbers, age; a host's line has its sums there."""
        layout = Layout.of(width)
        if isinstance(row, HostView):
            return self._host_pieces(row, layout, is_chosen=is_chosen)
        sign = WORKER[row.state]
        state = f"{sign} {age_words(row.idle_s)}" if row.state is WorkerState.STALLED else str(sign)
        collection = safe(row.collection.partition(".")[2] if layout.is_narrow else row.collection, 80)
        cropped = Content(collection).truncate(layout.collection - 1, ellipsis=True)
        filled = cells(row.rows_per_s / self.scale if self.scale else 0.0, layout.bar)
        trend = sparkline(list(self._rates.get(row.id, ())), layout.trend, self.scale)
        rows = compact(row.written) if layout.is_narrow else number(row.written)
        return (
            (f"{row.id:>3}{CURSOR if is_chosen else ' '}", "bar--muted"),
            (f"{state[: layout.state - 1]:<{layout.state}}", COLOURS.get(sign.colour, "bar--muted")),
            (cropped.plain + " " * (layout.collection - cropped.cell_length), ""),
            (f"{range_words(row):>{layout.range - 1}}  ", "bar--muted"),
            *_split(row, filled),
            (REST * (layout.bar - len(filled)) + " ", "bar--rest"),
            (trend, "bar"),
            (f"{number(row.rows_per_s):>{layout.rate}}{rows:>{layout.rows}}", ""),
            (f"{age_words(row.idle_s):>{_AGE}}" if layout.is_wide else "", "bar--muted"),
        )

    def _host_pieces(self, host: HostView, layout: Layout, *, is_chosen: bool) -> tuple[Piece, ...]:
        below = self.rows.index(host) + 1
        has_lines = below < len(self.rows) and isinstance(self.rows[below], WorkerView)
        sign = UNFOLDED if has_lines else FOLDED
        begin = f"{sign:>3}{CURSOR if is_chosen else ' '}"
        name = safe(host.name, 80)
        style = "bar--error" if host.problem else "bar--muted"
        room = layout.state + layout.collection + layout.range
        if host.problem:
            room += layout.bar + 1 + layout.trend + layout.rate + layout.rows
        name = Content(name).truncate(min(room - 1, max(layout.state, room // 3)), ellipsis=True).plain
        space = max(1, room - Content(name).cell_length - 1)
        said = Content(f" {_fitting_words(host, space - 1)}").truncate(space, ellipsis=True)
        left = room - Content(name).cell_length - said.cell_length
        start: tuple[Piece, ...] = (
            (begin, "bar--muted"), (name, ""), (said.plain, style), (" " * left, ""),
        )  # fmt: skip
        if host.problem:
            return start
        filled = cells(host.rows_per_s / self._fastest_host if self._fastest_host else 0.0, layout.bar)
        rows = compact(host.written) if layout.is_narrow else number(host.written)
        return (
            *start,
            (filled, "bar"),
            (REST * (layout.bar - len(filled)) + " " * (1 + layout.trend), "bar--rest"),
            (f"{number(host.rows_per_s):>{layout.rate}}{rows:>{layout.rows}}", ""),
        )


def _fitting_words(host: HostView, room: int) -> str:
    """What there is to know of it, as far as it fits: what is missed least is left out first."""
    words = host_words(host)
    for shorter in (host_words(host, with_version=False), host_words(host, with_version=False, is_short=True)):
        words = words if cell_len(words) <= room else shorter
    return words


def _split(worker: WorkerView, filled: str) -> list[Piece]:
    """The filled part of a bar, cut by what the time went into; whole where that is not known, as while it seeds."""
    cut = parts([("r", worker.reading), ("c", worker.converting), ("w", worker.writing)], len(filled))
    return [(text, SHADES[letter]) for letter, text in cut] or [(filled, "bar")]


def range_words(worker: WorkerView) -> str:
    """How far it is with its range: `5.4k/~8.7k` documents, with `~` where that is an estimate; empty without a range.

    An estimate can be too low, and the numbers show it: a share of it would say 99 % for a long time.
    """
    if worker.range is None or not worker.range.total:
        return ""
    about = "" if worker.range.is_exact else "~"
    return f"{compact(worker.range.done)}/{about}{compact(worker.range.total)}"


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

    _title = ""
    _scale = ""

    def compose(self) -> ComposeResult:
        """The three of them, and the filter."""
        yield FilterField(WorkerBars)
        yield Heading()
        yield WorkerBars()
        yield Static(id="hidden-workers", markup=False)

    @property
    def wanted_height(self) -> int:
        """Lines that it takes to show every worker."""
        is_filtering = self.query_one(FilterField).display
        return max(1, len(self.query_one(WorkerBars).rows)) + 1 + is_filtering + self.gutter.height

    def show(self, snapshot: Snapshot) -> None:
        """Draw this snapshot."""
        bars = self.query_one(WorkerBars)
        bars.show(snapshot)
        title = f"Workers {len(snapshot.workers)}"
        title += f" on {hosts_words(snapshot)}" if snapshot.hosts else ""
        if bars.sought:
            title = f'Workers {bars.n_workers}/{len(snapshot.workers)} matching "{safe(bars.sought, 40)}"'
        if title != self._title:
            self._title = title
            self.border_title = Content(title)
        way = ", reversed" if bars.is_reversed else ""
        scale = f"sort: {bars.order}{way} · bar max {number(bars.scale)} rows/s"
        if scale != self._scale:
            self._scale = scale
            self.border_subtitle = Content(scale)
        self.show_hidden()

    def show_hidden(self) -> None:
        """Sum the workers out of sight; without any there is no such line."""
        bars = self.query_one(WorkerBars)
        # The line itself takes one: what fits without it is not hidden.
        is_filtering = self.query_one(FilterField).display
        room = self.content_size.height  # none before it was laid out, when nothing can be told
        has_more = bool(room) and len(bars.rows) > room - 1 - is_filtering
        hidden = [row for row in bars.hidden() if isinstance(row, WorkerView)] if has_more else []
        line = self.query_one("#hidden-workers", Static)
        is_empty = bool(bars.sought) and not bars.rows
        line.display = bool(hidden) or is_empty
        if is_empty:
            line.update(Content("  No worker is at it now. Esc: all workers"), layout=False)
        elif hidden:
            states = Counter(worker.state.value for worker in hidden)
            rates = sum(worker.rows_per_s for worker in hidden)
            rows = sum(worker.written for worker in hidden)
            doing = ", ".join(f"{count} {state}" for state, count in states.most_common(3))
            line.update(
                Content(f"  … {len(hidden)} more: {number(rates)} rows/s · {number(rows)} rows · {doing}"), layout=False
            )
