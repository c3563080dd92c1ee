"""The run as a whole: the bar, the rates, what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from textual.content import Content
from textual.widget import Widget

from engine.protocol import RunState, Snapshot
from tui.cockpit.signs import MUTED
from tui.cockpit.widgets.bars import bar
from tui.words.census import phase_words
from tui.words.follow import has_counts_of_the_copy, position_words
from tui.words.format import NO_NUMBER, bytes_size, duration, moment, number, percent, share, time_of_day
from tui.words.guards import slowed_words
from tui.words.run_status import worked_s
from tui.words.safe import safe
from tui.words.uri import place
from tui.words.vitals import step_fraction, steps_words

_GAP = "   "
_HEADER_HAS_SERVERS = 96
"""Cells of a line on a screen whose header names the servers."""


class TotalPanel(Widget):
    """Four lines drawn from a snapshot."""

    BORDER_TITLE = "Total"
    snapshot: Snapshot | None = None

    def __init__(self, rejects_key: str = "") -> None:
        """Nothing is drawn yet.

        Args:
            rejects_key: shows the rejects.
        """
        super().__init__()
        self._rejects_key = rejects_key

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
        rates = partial(rates_line, rejects_key=self._rejects_key)
        return Content("\n").join(draw(self.snapshot, width) for draw in (progress_line, rates, place_line, words_line))


def done_and_total(snapshot: Snapshot) -> tuple[int, int, str]:
    """What counts towards the end now, how much there is of it, and what it is."""
    if snapshot.state is RunState.SEEDING:
        return snapshot.seeded, snapshot.seed_count, "documents"
    return snapshot.written, snapshot.total, "rows copied" if has_counts_of_the_copy(snapshot.follow) else "rows"


def progress_line(snapshot: Snapshot, width: int) -> Content:
    """`━━━━━━━━────  58.3%   2,952,110 / 5,063,558 rows`, the bar as wide as is left.

    After the last row, `━━━━────────  43.0%   building key of shop.orders 43%`.
    """
    if (built := step_fraction(snapshot)) is not None:
        words = f"  {percent(built):>6}   {steps_words(snapshot)}"
        return (bar(built, max(4, width - len(words)), "$secondary") + Content.styled(words, "bold")).truncate(width)
    done, total, unit = done_and_total(snapshot)
    if snapshot.state is RunState.STARTING and not (done or total):  # what a resumed run has committed is not read yet
        words = f"  {NO_NUMBER:>6}   {phase_words(snapshot)}"
        return (bar(0.0, max(4, width - len(words)), "$primary") + Content.styled(words, "bold")).truncate(width)
    accounted = done if unit == "documents" else done + snapshot.rejected
    fraction = 1.0 if snapshot.state is RunState.COMPLETED else share(accounted, total)
    known = f"{number(done)} / {number(total)} {unit}" if total else f"{number(done)} {unit}"
    words = f"  {percent(fraction):>6}   {known:>25}"
    colours = {RunState.FAILED: "$error", RunState.CANCELLED: "$warning", RunState.COMPLETED: "$success"}
    colour = colours.get(snapshot.state, "$primary")
    return bar(fraction, max(4, width - len(words)), colour) + Content.styled(words, "bold")


def rates_line(snapshot: Snapshot, width: int, *, rejects_key: str = "") -> Content:
    """Rates and times; a counter that is zero is not shown, the least important ones give way to a narrow screen."""
    time = Content(times_words(snapshot))
    overall, copying = mean_words(snapshot)
    volume = [Content(f"{bytes_size(snapshot.bytes_per_s)}/s")] if snapshot.bytes_per_s else []
    means = [Content.styled(words, MUTED) for words in (copying, overall) if words]
    parts = [
        Content.styled(f"{number(snapshot.rows_per_s):>7} rows/s", "bold"), *means, *volume, time, Content(eta_words(snapshot)),
    ]  # fmt: skip
    if snapshot.state.is_over:
        volume, parts = [], [time, *means]
    if snapshot.rejected:
        key = f" ({rejects_key})" if rejects_key else ""
        parts.append(Content.styled(f"! rejected {number(snapshot.rejected)}{key}", "$warning"))
    if snapshot.retried:
        parts.append(Content.styled(f"↻ retried {number(snapshot.retried)}", "$warning"))
    for least in (*volume, time, *(means if not snapshot.state.is_over else [])):
        if _cells(parts) <= width:
            break
        parts = [
            Content(duration(worked_s(snapshot))) if part is least and least is time else part
            for part in parts
            if part is not least or least is time
        ]
    return Content(_GAP if _cells(parts) <= width else "  ").join(parts)


def _cells(parts: Sequence[Content]) -> int:
    """As one line."""
    return sum(part.cell_length for part in parts) + len(_GAP) * (len(parts) - 1)


def mean_words(snapshot: Snapshot) -> tuple[str, str]:
    """`overall 38,100` and `while copying 39,361`, each empty where it is not known; the first counts all of the time."""
    overall = f"overall {number(snapshot.rows_per_s_overall)}" if snapshot.rows_per_s_overall else ""
    copying = f"while copying {number(snapshot.rows_per_s_mean)}" if snapshot.rows_per_s_mean else ""
    return overall, copying


def place_line(snapshot: Snapshot, width: int) -> Content:
    """Which run, from where to where, since when, and when something was committed last."""
    now = snapshot.started_unix + snapshot.elapsed
    parts = [
        f"run {safe(snapshot.run_id, 40)}",
        f"{source_words(snapshot)} → {safe(place(snapshot.target), 60)}" if snapshot.source else "",
        started_words(snapshot, now) if snapshot.started_unix else "",
        f"last commit {time_of_day(snapshot.last_commit_unix, since=now, seconds=True)}"
        if snapshot.last_commit_unix
        else "",
    ]
    parts = [part for part in parts if part]
    while len(parts) > 1 and len(" · ".join(parts)) > width:
        # On a wide screen the header has the servers, too; on a narrow one the start is worth less than they are.
        parts.remove(parts[-2] if len(parts) == 4 and width < _HEADER_HAS_SERVERS else parts[1])
    return Content.styled(" · ".join(parts), MUTED).truncate(width, ellipsis=True)


def started_words(snapshot: Snapshot, now: float) -> str:
    """`started 14:02`; of a run that was resumed `started 14:02, resumed 16:40`.

    Args:
        now: seconds since 1970; a time of another day is told with its day.
    """
    this_time = time_of_day(snapshot.started_unix, since=now)
    if not snapshot.first_started_unix:
        return f"started {this_time}"
    return f"started {time_of_day(snapshot.first_started_unix, since=now)}, resumed {this_time}"


def source_words(snapshot: Snapshot) -> str:
    """`db1:27017/shop`; where collections of other databases than the URI's are copied, `db1:27017 crm, shop`."""
    where = safe(place(snapshot.source), 60)
    databases = sorted({table.namespace.partition(".")[0] for table in snapshot.tables})
    if not databases or (where.endswith(f"/{databases[0]}") and len(databases) == 1):
        return where
    named = ", ".join(databases[:3]) + (" …" if len(databases) > 3 else "")
    return f"{where.rpartition('/')[0] or where} {safe(named, 80)}"


def times_words(snapshot: Snapshot) -> str:
    """The time that both rates are of: `1m 21s`; after a resume with that of earlier engines, `1m 40s, 19s since resume`.

    After seeding `copy 1m 15s   total 1m 21s`, of which the first is the one that the report has.
    """
    if snapshot.seconds_before:
        return f"{duration(worked_s(snapshot))}, {duration(snapshot.elapsed)} since resume"
    total = duration(snapshot.elapsed)
    is_apart = 0 < snapshot.seconds < snapshot.elapsed - 1 and snapshot.state is not RunState.SEEDING
    return f"copy {duration(snapshot.seconds)}   total {total}" if is_apart else total


def eta_words(snapshot: Snapshot) -> str:
    """ "ETA 51s ≈ 14:58", with the time of day, or the reason why there is none."""
    if snapshot.eta_s is not None:
        return f"ETA {duration(snapshot.eta_s)}{end_words(snapshot)}"
    if snapshot.eta_reason.startswith("paused"):
        return safe(snapshot.eta_reason, 100)
    if snapshot.eta_reason == "measuring":
        return "ETA: calculating…"
    if not snapshot.eta_reason or snapshot.state in (RunState.HALTED, RunState.CANCELLING):
        return "ETA –"  # the phase says why
    return f"ETA: {safe(snapshot.eta_reason, 60)}"


def end_words(snapshot: Snapshot) -> str:
    """` ≈ 04:40`: when the run is expected to end; empty when that is not known."""
    if snapshot.eta_s is None or not snapshot.started_unix:
        return ""
    now = snapshot.started_unix + snapshot.elapsed
    return f" ≈ {time_of_day(now + snapshot.eta_s, since=now)}"


def words_line(snapshot: Snapshot, width: int) -> Content:
    """The phase, the bottleneck and how far the partitions are."""
    slowed = slowed_words(snapshot)
    words = [phase_words(snapshot)] if not slowed else []
    if snapshot.bottleneck and snapshot.state.is_active:
        words.append(safe(snapshot.bottleneck, 120))
    if snapshot.follow is not None and snapshot.state.is_active:
        words += position_words(snapshot.follow)
    if snapshot.partitions_total:
        added = snapshot.partitions_total - snapshot.partitions_first if snapshot.partitions_first else 0
        more = f" ({number(added)} added)" if added > 0 else ""
        words.append(f"partitions {number(snapshot.partitions_done)} of {number(snapshot.partitions_total)}{more}")
    if snapshot.converter and snapshot.converter != "native":
        words.append(f"{safe(snapshot.converter, 20)} converter")  # worth a word only where it is the slow one
    if snapshot.mode != "create":
        words.append(f"mode {safe(snapshot.mode, 20)}")
    if snapshot.snapshot_unix:
        words.append(f"as of {moment(snapshot.snapshot_unix)}")
    line = Content.styled(" · ".join(filter(None, words)), MUTED)
    if slowed:
        line = Content.styled(f"! {slowed}", "$warning") + Content.styled(" · ", MUTED) + line
    return line.truncate(width, ellipsis=True)


def one_line(snapshot: Snapshot) -> str:
    """Everything that fits on a screen too small for anything."""
    done, total, _ = done_and_total(snapshot)
    fraction = 1.0 if snapshot.state is RunState.COMPLETED else share(done + snapshot.rejected, total)
    return f"{percent(fraction)}  {number(snapshot.rows_per_s)} rows/s  {eta_words(snapshot)}"
