"""Progress on a terminal without the cockpit: a total bar and a line per worker, redrawn in place by rich."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engine.config import Loaded
from engine.protocol import Event, Snapshot, WorkerView
from tui.cli.printers import Clock, Closing
from tui.words.census import phase_words
from tui.words.events import told
from tui.words.format import counted, duration, number, percent, rate, share
from tui.words.safe import safe
from tui.words.sentences import progress_words
from tui.words.vitals import step_fraction

REDRAW_EVERY_S = 0.25
"""Above 4 a second drawing takes time from the databases for nothing that an eye sees."""
MAX_WORKER_LINES = 16
_OTHER_LINES = 4
"""Lines of the terminal that are not for workers: two of the total, the sum of hidden workers, the cursor's."""
_BAR_CELLS = 24


class LivePrinter:
    """rich on stdout, which must be a terminal."""

    draws = True

    def __init__(
        self, clock: Clock = time.monotonic, console: Console | None = None, loaded: Loaded | None = None
    ) -> None:
        self._clock = clock
        self._last = float("-inf")
        self._console = console or Console(highlight=False)
        self._live = self._new_live()
        self._closing = Closing(loaded)

    def show(self, snapshot: Snapshot) -> None:
        """Redraw when it is time."""
        if self._clock() - self._last < REDRAW_EVERY_S:
            return
        self._last = self._clock()
        if not self._live.is_started:
            self._live.start()
        lines = min(MAX_WORKER_LINES, max(1, self._console.height - _OTHER_LINES))
        self._live.update(Group(*_drawn(snapshot, lines)), refresh=True)

    def tell(self, event: Event) -> None:
        """Print an event above the bars."""
        self._closing.tell(event)
        for line in told(event):
            self._console.print(Text(f"[{duration(event.at)}] {line}"))

    def note(self, text: str) -> None:
        """Sentences above the bars."""
        self._console.print(Text(text))

    def finish(self, facts: dict[str, Any]) -> None:
        """Take the bars away and print the summary."""
        self._live.stop()
        text = self._closing.text(facts)
        if text:
            self._console.print(Text(text))

    def close(self) -> None:
        """Show the cursor again. What is drawn later begins where the cursor is then, below what others have printed."""
        with contextlib.suppress(OSError):  # the terminal is gone, and its cursor with it
            self._live.stop()
        self._live = self._new_live()  # the other one would go up by as many lines as it had

    def _new_live(self) -> Live:
        return Live(console=self._console, auto_refresh=False, transient=True)


def _drawn(snapshot: Snapshot, max_lines: int) -> list[RenderableType]:
    total = Table.grid(padding=(0, 1), expand=False)
    built = step_fraction(snapshot)  # after the last row, of the key or index that is furthest behind
    fraction = share(snapshot.written, snapshot.total) if built is None else built
    total.add_row(
        Text(phase_words(snapshot), style="bold"),
        ProgressBar(total=1.0, completed=fraction, width=_BAR_CELLS * 2),
        Text(percent(fraction) if snapshot.total or built is not None else ""),
    )
    drawn: list[RenderableType] = [total, Text("  ".join(progress_words(snapshot)), no_wrap=True, overflow="ellipsis")]
    if snapshot.workers:
        drawn.append(_workers(snapshot.workers, max_lines))
    hidden = snapshot.workers[max_lines:]
    if hidden:
        together = sum(worker.rows_per_s for worker in hidden)
        drawn.append(Text(f"… and {counted(len(hidden), 'more worker')}, {rate(together)} together"))
    return drawn


def _workers(workers: list[WorkerView], max_lines: int) -> Table:
    """One line a worker; all bars share the scale of the fastest, so that their lengths compare."""
    fastest = max(1.0, *(worker.rows_per_s for worker in workers))
    table = Table.grid(padding=(0, 1))
    for justify in ("right", "left", "left", "left", "right", "right"):
        table.add_column(justify=justify, no_wrap=True)
    for worker in workers[:max_lines]:
        table.add_row(
            Text(str(worker.id)),
            Text(worker.state.value),
            Text(safe(worker.collection, 30)),
            ProgressBar(total=fastest, completed=worker.rows_per_s, width=_BAR_CELLS),
            Text(rate(worker.rows_per_s)),
            Text(number(worker.written)),
        )
    return table
