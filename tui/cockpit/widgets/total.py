"""The run as a whole: the bar, the rates, what it waits for."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

from engine.protocol import RunState, Snapshot
from tui.cockpit.signs import MUTED
from tui.cockpit.widgets.bars import bar
from tui.words.census import phase_words
from tui.words.format import bytes_size, duration, moment, number, percent, share
from tui.words.safe import safe

_GAP = "   "


class TotalPanel(Widget):
    """Three lines drawn from a snapshot."""

    BORDER_TITLE = "Total"
    snapshot: Snapshot | None = None

    def show(self, snapshot: Snapshot) -> None:
        """Draw this snapshot."""
        if snapshot is not self.snapshot:
            self.snapshot = snapshot
            self.refresh()

    def render(self) -> Content:
        """The lines, as wide as there is room."""
        if self.snapshot is None:
            return Content.styled("Connecting to the engine…", MUTED)
        width = self.content_size.width
        return Content("\n").join(draw(self.snapshot, width) for draw in (progress_line, rates_line, words_line))


def done_and_total(snapshot: Snapshot) -> tuple[int, int, str]:
    """What counts towards the end now, how much there is of it, and what it is."""
    if snapshot.state is RunState.SEEDING:
        return snapshot.seeded, snapshot.seed_count, "documents"
    return snapshot.written, snapshot.total, "rows"


def progress_line(snapshot: Snapshot, width: int) -> Content:
    """`━━━━━━━━────  58.3%   2,952,110 / 5,063,558 rows`, the bar as wide as is left."""
    done, total, unit = done_and_total(snapshot)
    accounted = done if unit == "documents" else done + snapshot.rejected
    fraction = 1.0 if snapshot.state is RunState.COMPLETED else share(accounted, total)
    known = f"{number(done)} / {number(total)} {unit}" if total else f"{number(done)} {unit}"
    words = f"  {percent(fraction):>6}   {known:>25}"
    colours = {RunState.FAILED: "$error", RunState.CANCELLED: "$warning", RunState.COMPLETED: "$success"}
    colour = colours.get(snapshot.state, "$primary")
    return bar(fraction, max(4, width - len(words)), colour) + Content.styled(words, "bold")


def rates_line(snapshot: Snapshot, width: int) -> Content:
    """Rates and times; a counter that is zero is not shown, the least important ones give way to a narrow screen."""
    mean = number(snapshot.rows_per_s_mean)
    time = Content(times_words(snapshot))
    parts = [
        Content.styled(f"{number(snapshot.rows_per_s):>7} rows/s", "bold"),
        Content.styled(f"mean {mean}", MUTED),
        *([Content(f"{bytes_size(snapshot.bytes_per_s)}/s")] if snapshot.bytes_per_s else []),
        time,
        Content(eta_words(snapshot)),
    ]
    if snapshot.state.is_over:
        parts = [time, Content(f"mean {mean} rows/s")]
    if snapshot.rejected:
        parts.append(Content.styled(f"! rejected {number(snapshot.rejected)}", "$warning"))
    if snapshot.retried:
        parts.append(Content.styled(f"↻ retried {number(snapshot.retried)}", "$warning"))
    if _cells(parts) > width:
        del parts[1]
    if _cells(parts) > width:
        parts = [Content(duration(snapshot.elapsed)) if part is time else part for part in parts]
    return Content(_GAP if _cells(parts) <= width else "  ").join(parts)


def _cells(parts: Sequence[Content]) -> int:
    """As one line."""
    return sum(part.cell_length for part in parts) + len(_GAP) * (len(parts) - 1)


def times_words(snapshot: Snapshot) -> str:
    """`01:21`; after seeding `copy 01:15   total 01:21`, of which the first is the one that the report has."""
    total = duration(snapshot.elapsed)
    is_apart = 0 < snapshot.seconds < snapshot.elapsed - 1 and snapshot.state is not RunState.SEEDING
    return f"copy {duration(snapshot.seconds)}   total {total}" if is_apart else total


def eta_words(snapshot: Snapshot) -> str:
    """ "ETA 00:51", or the reason why there is none."""
    if snapshot.eta_s is not None:
        return f"ETA {duration(snapshot.eta_s)}"
    return f"ETA – {safe(snapshot.eta_reason, 60)}" if snapshot.eta_reason else "ETA –"


def words_line(snapshot: Snapshot, width: int) -> Content:
    """The phase, the bottleneck and how far the partitions are."""
    words = [phase_words(snapshot)]
    if snapshot.bottleneck and snapshot.state.is_active:
        words.append(safe(snapshot.bottleneck, 120))
    if snapshot.partitions_total:
        words.append(f"partitions {number(snapshot.partitions_done)}/{number(snapshot.partitions_total)}")
    if snapshot.converter:
        words.append(f"{safe(snapshot.converter, 20)} converter")
    if snapshot.snapshot_unix:
        words.append(f"as of {moment(snapshot.snapshot_unix)}")
    return Content.styled(" · ".join(filter(None, words)), MUTED).truncate(width, ellipsis=True)


def one_line(snapshot: Snapshot) -> str:
    """Everything that fits on a screen too small for anything."""
    done, total, _ = done_and_total(snapshot)
    fraction = 1.0 if snapshot.state is RunState.COMPLETED else share(done + snapshot.rejected, total)
    return f"{percent(fraction)}  {number(snapshot.rows_per_s)} rows/s  {eta_words(snapshot)}"
