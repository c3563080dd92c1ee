"""One worker in full, while it works."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from engine.protocol import WorkerState, WorkerView
from tui.cockpit.dialogs.modal import KeptModal
from tui.cockpit.dialogs.sheet import Sheet
from tui.cockpit.signs import MUTED, WORKER
from tui.cockpit.widgets.bars import bar
from tui.cockpit.widgets.workers import WorkerBars
from tui.words.format import bytes_size, counted, duration, number, rate, share
from tui.words.safe import safe

REDRAW_S = 0.25
_LABEL = 14
_BAR = 20
_ADVICE = {
    WorkerState.STALLED: "It has a range and makes no progress: a lock, a slow server, or a network that drops packets. "
    "After 30 seconds without a sign of life it is ended and its range goes to another.",
    WorkerState.RETRYING: "It met an error that passes, and tries again; the log says which.",
    WorkerState.THROTTLED: "Waiting: throttled.",
    WorkerState.DRAINING: "It ends its page, commits and leaves: the cluster is to be smaller.",
}
"""What a state means for the operator, where it is not plain."""


class WorkerDialog(Sheet, KeptModal[None]):
    """Follows the worker that was under the cursor of the bars, to its end; up and down go to its neighbours."""

    KEPT_AS = "worker"
    HINT = "↑↓ next worker · {copy} copy · Esc close"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Previous", show=False, priority=True),
        Binding("down,j", "move(1)", "Next", show=False, priority=True),
    ]

    bars: WorkerBars
    """The bars that the worker is one of."""

    def __init__(self, copy_key: str) -> None:
        super().__init__("Worker", Content.empty(), "the worker", copy_key)
        self._worker_id: int | None = None

    def on_mount(self) -> None:
        """Draw by the clock."""
        self.redraws(REDRAW_S, self._draw)

    def on_screen_resume(self) -> None:
        """Draw the worker under the cursor."""
        self._worker_id = self.bars.chosen_id
        self._draw()

    def action_move(self, by: int) -> None:
        """Another worker."""
        self.bars.action_move(by)
        if self.bars.chosen_id is None:  # the line of a host
            self.bars.action_move(by)
        self._worker_id = self.bars.chosen_id or self._worker_id
        self._draw()

    def _draw(self) -> None:
        worker = next((each for each in self.bars.worker_rows if each.id == self._worker_id), None)
        self.query_one(".dialog").border_title = Content(
            "Workers" if self._worker_id is None else f"Worker {self._worker_id}"
        )
        if worker is not None:
            self.write(worker_text(worker, self.bars.scale))
        else:
            self.write(
                Content(
                    "No worker is alive now." if self._worker_id is None else f"Worker {self._worker_id} has ended."
                )
            )


def worker_text(worker: WorkerView, scale: float) -> Content:
    """What it works on, how far it is, how fast, and what its time goes to.

    Args:
        scale: rows/s of a full bar.
    """
    sign = WORKER[worker.state]
    sent = worker.sent - worker.written
    rows = [f"{number(worker.written)} committed"]
    rows += [f"{number(sent)} in flight"] if sent > 0 else []
    rows += [f"{number(worker.rejected)} rejected"] if worker.rejected else []
    lines = [
        _line("state", Content.styled(str(sign), f"bold {sign.colour}")),
        _line("process", Content(f"pid {worker.pid}" + (f" on {safe(worker.host, 80)}" if worker.host else ""))),
        _line("collection", Content(safe(worker.collection, 120) or "none")),
    ]
    if worker.range is not None and worker.range.total:
        lines.append(_line("range", range_line(worker)))
    fraction = worker.rows_per_s / scale if scale else 0.0
    speed = bar(fraction, _BAR, "$primary") + Content(f"  {rate(worker.rows_per_s)}")
    lines += [
        _line("rows", Content(", ".join(rows))),
        _line("speed", speed),
        _line("last progress", Content(f"{duration(worker.idle_s)} ago")),
    ]
    for what in ("reading", "converting", "writing", "throttled"):
        spent = float(getattr(worker, what))
        if spent or what != "throttled":
            lines.append(_line(what, bar(spent, _BAR, "$secondary") + Content(f"  {spent:.0%} of its time")))
    lines.append(_line("processor", bar(worker.cpu, _BAR, "$secondary") + Content(f"  {worker.cpu:.0%} of a core")))
    if worker.memory:
        lines.append(_line("memory", Content(bytes_size(worker.memory))))
    if advice := _ADVICE.get(worker.state):
        lines += [Content(""), Content(advice)]
    return Content("\n").join(lines)


def range_line(worker: WorkerView) -> Content:
    """`━━━━──  5,410 of ~8,700 documents`; where an estimate was too low, that is said, not that it is nearly done."""
    if worker.range is None:
        return Content.empty()
    about = "" if worker.range.is_exact else "~"
    words = f"  {number(worker.range.done)} of {about}{counted(worker.range.total, 'document')}"
    if not worker.range.is_exact and worker.range.done > worker.range.total:
        words += ": more than estimated"
    return bar(share(worker.range.done, worker.range.total), _BAR, "$primary") + Content(words)


def _line(label: str, words: Content) -> Content:
    return Content.assemble((f"{label:<{_LABEL}}", MUTED), words)
