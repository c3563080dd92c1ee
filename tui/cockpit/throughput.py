"""The throughput of a run over time, in a fixed amount of memory: what the chart draws."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

CELLS = 4_096
"""Cells kept, an even number."""
FINEST_S = 0.25
"""Seconds of a cell at first: 17 minutes fit."""
WINDOW_S = 5.0
"""The rate in a snapshot is a mean over so long."""
MARKS = 64
"""Knob changes kept."""
BUCKETS_S = (0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400)
"""Widths of a chart's column, in seconds."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something the operator changed."""

    at: float
    """Seconds of the run."""
    label: str


@dataclass(frozen=True, slots=True)
class Columns:
    """The run cut into as many equal columns of time as fit."""

    bucket_s: float
    """Seconds in one column."""
    rates: list[float]
    """Mean rows/s of each column, oldest first."""
    marks: list[tuple[int, str]]
    """Column and label of each change."""
    end_s: float = 0.0
    """Seconds of the newest sample."""

    @property
    def peak(self) -> float:
        """The highest column."""
        return max(self.rates, default=0.0)


class ThroughputHistory:
    """Samples of rows/s by second of the run, and marks of what was changed.

    Samples are summed in cells of equal time. When the last cell is taken, neighbours are merged and cells are twice as
    long: a long run is kept whole, at a coarser grain.
    """

    def __init__(self, samples: Iterable[tuple[float, float]] = ()) -> None:
        self.end = 0.0
        """Seconds of the newest sample."""
        self.n_marks = 0
        """Changes so far, those that fell off included."""
        self._grain = FINEST_S
        self._sums: list[float] = []
        self._counts: list[float] = []
        self._marks: deque[Mark] = deque(maxlen=MARKS)
        for at, rate in samples:
            self.add(at, rate)

    def add(self, at: float, rate: float) -> None:
        """Take a sample; one that is not later than the newest is known already."""
        if at <= self.end:
            return
        self.end = at
        while (cell := _place(at, self._grain)) >= CELLS:
            self._grain *= 2
            self._sums = _pairs(self._sums)
            self._counts = _pairs(self._counts)
        missing = cell + 1 - len(self._sums)
        self._sums += [0.0] * missing
        self._counts += [0.0] * missing
        self._sums[cell] += max(0.0, rate)
        self._counts[cell] += 1

    def mark(self, at: float, label: str) -> None:
        """Remember a change."""
        self.n_marks += 1
        self._marks.append(Mark(at, label))

    def columns(self, width: int) -> Columns:
        """The whole run in at most `width` columns. A column without a sample of its own repeats the one before."""
        bucket = next((size for size in BUCKETS_S if self.end <= size * width), BUCKETS_S[-1])
        sums = [0.0] * width
        counts = [0.0] * width
        for cell, (total, count) in enumerate(zip(self._sums, self._counts, strict=True)):
            column = min(width - 1, _place((cell + 1) * self._grain, bucket))
            sums[column] += total
            counts[column] += count
        rates: list[float] = []
        for column in range(min(width, ceil(self.end / bucket))):
            before = rates[-1] if rates else 0.0
            rates.append(sums[column] / counts[column] if counts[column] else before)
        marks = [(min(width - 1, int(mark.at / bucket)), mark.label) for mark in self._marks]
        return Columns(bucket, rates, marks, self.end)


def smoothed(samples: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Samples of what came since the one before, as means over `WINDOW_S`, which is what snapshots tell.

    A worker commits about twice a second, or less often: what came second by second is now nothing, now a lot.
    """
    window: deque[tuple[float, float, float]] = deque()
    """Begin, end and rows of each sample in it."""
    means: list[tuple[float, float]] = []
    before = 0.0
    for at, rate in samples:
        if at <= before:
            continue
        window.append((before, at, max(0.0, rate) * (at - before)))
        before = at
        while window[0][0] < at - WINDOW_S and len(window) > 1:
            window.popleft()
        means.append((at, sum(rows for _, _, rows in window) / (at - window[0][0])))
    return means


def _place(at: float, grain: float) -> int:
    """The cell of a sample: it tells of the time before it, so a whole second belongs to the cell that ends there."""
    return max(0, ceil(at / grain) - 1)


def _pairs(cells: list[float]) -> list[float]:
    padded = [*cells, 0.0] if len(cells) % 2 else cells
    return [sooner + later for sooner, later in zip(padded[::2], padded[1::2], strict=True)]
