"""Progress by collection: state, bar, rows, rate, rejects and ETA of each; what needs attention stands on top."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.protocol import Snapshot, TableProgress, TableState
from tui.cockpit.signs import MUTED, table_sign
from tui.cockpit.widgets.bar_list import COLOURS, CURSOR, BarList, Piece
from tui.cockpit.widgets.bars import REST, cells
from tui.words.format import compact, counted, duration, number, percent, share
from tui.words.safe import safe

RESORT_S = 2.0
"""The order follows the states this often, in seconds of the run, so that lines can be read."""
NARROW = 100
"""Cells below which columns give way."""
_RANKS = {
    TableState.PARKED: 0, TableState.DIFFERS: 0, TableState.STOPPED: 1, TableState.COPYING: 2, TableState.PAUSED: 2,
    TableState.BUILDING_KEY: 3, TableState.BUILDING_INDEXES: 3, TableState.WAITING: 4, TableState.COPIED: 5,
    TableState.FOLLOWING: 6, TableState.DONE: 6,
}  # fmt: skip
"""What stands above what; collections with rejects stand above all that are well."""
_SUMMED = (
    TableState.PARKED, TableState.DIFFERS, TableState.COPYING, TableState.PAUSED, TableState.BUILDING_KEY,
    TableState.BUILDING_INDEXES, TableState.WAITING, TableState.COPIED, TableState.FOLLOWING, TableState.STOPPED,
    TableState.DONE,
)  # fmt: skip
"""The order in which a sum names the states."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Widths of a line's columns, in cells; the bar takes what is left."""

    is_narrow: bool
    name: int
    state: int
    rows: int
    total: int
    rate: int
    rejects: int
    eta: int
    bar: int

    @classmethod
    def of(cls, width: int) -> Layout:
        """The layout for a line of `width` cells."""
        if is_narrow := width < NARROW:
            name, state, rows, total, rate, rejects, eta = 14, 15, 7, 8, 7, 8, 8
        else:
            name, state, rows, total, rate, rejects, eta = 24 + max(0, width - 140), 15, 13, 15, 10, 9, 9
        fixed = 2 + name + state + 7 + rows + total + rate + rejects + eta
        return cls(is_narrow, name, state, rows, total, rate, rejects, eta, max(4, width - fixed))

    def heading(self) -> str:
        """The columns' names."""
        return (
            f" {'collection':<{self.name}}{'state':<{self.state}}{'':<{self.bar}}{'done':>7}{'rows':>{self.rows}}"
            f"{'of':>{self.total}}{'rows/s':>{self.rate}}{'rejects':>{self.rejects}}{'ETA':>{self.eta}}"
        )


class CollectionBars(BarList[TableProgress]):
    """The lines, one under the cursor."""

    def __init__(self) -> None:
        super().__init__()
        self._ranks: dict[str, int] = {}
        self._ranked_at = float("-inf")

    def key_of(self, row: TableProgress) -> Hashable:
        """Its table: one collection may go to several."""
        return row.table

    def show(self, snapshot: Snapshot) -> None:
        """Draw the tables of this snapshot."""
        now, known = snapshot.elapsed, len(self._ranks)
        is_due = now - self._ranked_at >= RESORT_S and not self.keeps_order
        if is_due or now < self._ranked_at or known != len(snapshot.tables):
            self._ranked_at = now
            ordered = sorted(snapshot.tables, key=rank)  # stable: else as in the plan
            self._ranks = {table.table: place for place, table in enumerate(ordered)}
        self.fill(sorted(snapshot.tables, key=lambda table: self._ranks.get(table.table, known)))

    def hidden_changed(self) -> None:
        """Sum them anew."""
        if self.is_attached and isinstance(self.parent, ProgressPanel):
            self.parent.show_hidden()

    def pieces(self, row: TableProgress, width: int, *, is_chosen: bool) -> tuple[Piece, ...]:
        """Name, state, bar, share, numbers, rejects, ETA."""
        layout = Layout.of(width)
        sign = table_sign(row.state)
        name = safe(row.namespace.partition(".")[2] if layout.is_narrow else row.namespace, 120)
        cropped = Content(name).truncate(layout.name - 1, ellipsis=True)
        fraction = share(row.read, row.total) if row.total else float(row.state in {TableState.DONE, TableState.COPIED})
        is_whole = row.state in {
            TableState.DONE,
            TableState.FOLLOWING,
            TableState.COPIED,
            TableState.BUILDING_KEY,
            TableState.BUILDING_INDEXES,
        }
        filled = cells(1.0 if is_whole else min(fraction, 0.999), layout.bar)
        figure = compact if layout.is_narrow else number
        rate = figure(row.rows_per_s) if row.rows_per_s else ""
        return (
            (CURSOR if is_chosen else " ", "bar--muted"),
            (cropped.plain + " " * (layout.name - cropped.cell_length), ""),
            (f"{str(sign)[: layout.state - 1]:<{layout.state}}", COLOURS.get(sign.colour, "bar--muted")),
            (filled, "bar--good" if is_whole else "bar"),
            (REST * (layout.bar - len(filled)), "bar--rest"),
            (f"{'100.0%' if is_whole else percent(fraction):>7}{figure(row.written):>{layout.rows}}", ""),
            (f"{figure(row.total):>{layout.total}}", "bar--muted"),
            (f"{rate:>{layout.rate}}", ""),
            (f"{figure(row.rejected):>{layout.rejects}}", "bar--warning" if row.rejected else "bar--muted"),
            (f"{duration(row.eta_s):>{layout.eta}} ", "bar--muted"),
        )


def rank(table: TableProgress) -> int:
    """Where a table stands among the others: problems, then what is copied, what waits, what is done."""
    try:
        place = _RANKS[TableState(table.state)]
    except ValueError:
        place = 2
    return min(place, 1) if table.rejected else place


class ProgressHeading(Widget):
    """The columns' names above the lines."""

    def render(self) -> Content:
        """One line."""
        return Content.styled(Layout.of(self.content_size.width).heading(), MUTED)


class ProgressPanel(Vertical):
    """Heading, lines, and a line that sums the collections out of sight."""

    _title = ""
    _sum = ""

    def compose(self) -> ComposeResult:
        """The three of them."""
        yield ProgressHeading()
        yield CollectionBars()
        yield Static(id="hidden-collections", markup=False)

    @property
    def wanted_height(self) -> int:
        """Lines that it takes to show every collection."""
        return len(self.query_one(CollectionBars).rows) + 1 + self.gutter.height

    def show(self, snapshot: Snapshot) -> None:
        """Draw this snapshot."""
        self.query_one(CollectionBars).show(snapshot)
        title, summed = f"Collections {len(snapshot.tables)}", states_words(snapshot.tables)
        if (title, summed) != (self._title, self._sum):
            self._title, self._sum = title, summed
            self.border_title, self.border_subtitle = Content(title), Content(summed)
        self.show_hidden()

    def show_hidden(self) -> None:
        """Sum the collections out of sight; without any there is no such line."""
        bars = self.query_one(CollectionBars)
        # The line itself takes one: what fits without it is not hidden.
        room = self.content_size.height  # none before it was laid out, when nothing can be told
        hidden = bars.hidden() if room and len(bars.rows) > room - 1 else []
        line = self.query_one("#hidden-collections", Static)
        line.display = bool(hidden)
        if hidden:
            written, total = sum(table.written for table in hidden), sum(table.total for table in hidden)
            line.update(
                Content(
                    f"  … {len(hidden)} more: {states_words(hidden)} · {compact(written)} of {compact(total)} rows"
                ),
                layout=False,
            )


def collection_words(table: TableProgress) -> str:
    """A collection in full, to be copied: nothing of it is cut off."""
    copied = " copied" if table.state == TableState.FOLLOWING else ""
    words = [
        f"{safe(table.namespace)} → {safe(table.table)}: {table_sign(table.state).word}",
        f"{number(table.written)} of {counted(table.total, 'row')}{copied}, {number(table.rejected)} rejected",
    ]
    if table.rows_per_s:
        words.append(f"{number(table.rows_per_s)} rows/s, {counted(table.workers, 'worker')}")
    if table.eta_s is not None:
        words.append(f"ETA {duration(table.eta_s)}")
    return ", ".join(words)


def states_words(tables: Sequence[TableProgress]) -> str:
    """`1 parked, 2 copying, 5 waiting, 32 done`; with rejects also how many collections have some."""
    found = Counter(table.state for table in tables)
    words = [f"{found[state]} {table_sign(state).word}" for state in _SUMMED if found[state]]
    if with_rejects := sum(1 for table in tables if table.rejected):
        words.append(f"{with_rejects} with rejects")
    return ", ".join(words)
