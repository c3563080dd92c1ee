"""The throughput of a run over time, in a fixed amount of memory: what the chart draws."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

CAPACITY = 4_096
"""Samples kept; when they are full, neighbours are merged, so a long run is kept whole at a coarser grain."""
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


class ThroughputHistory:
    """Samples of rows/s by second of the run, and marks of what was changed."""

    def __init__(self, samples: Iterable[tuple[float, float]] = ()) -> None:
        self._samples: list[tuple[float, float]] = []
        self._marks: deque[Mark] = deque(maxlen=MARKS)
        for at, rate in samples:
            self.add(at, rate)

    def add(self, at: float, rate: float) -> None:
        """Take a sample; one that is not later than the newest is known already."""
        if self._samples and at <= self._samples[-1][0]:
            return
        self._samples.append((at, max(0.0, rate)))
        if len(self._samples) >= CAPACITY:
            pairs = zip(self._samples[::2], self._samples[1::2], strict=True)
            self._samples = [(later[0], (sooner[1] + later[1]) / 2) for sooner, later in pairs]

    def mark(self, at: float, label: str) -> None:
        """Remember a change."""
        self._marks.append(Mark(at, label))

    @property
    def peak(self) -> float:
        """The highest sample."""
        return max((rate for _, rate in self._samples), default=0.0)

    @property
    def end(self) -> float:
        """Seconds of the newest sample."""
        return self._samples[-1][0] if self._samples else 0.0

    def columns(self, width: int) -> Columns:
        """The whole run in at most `width` columns. A column without a sample of its own repeats the one before."""
        bucket = next((size for size in BUCKETS_S if self.end <= size * width), BUCKETS_S[-1])
        sums = [0.0] * width
        counts = [0] * width
        for at, rate in self._samples:
            column = min(width - 1, max(0, ceil(at / bucket) - 1))
            sums[column] += rate
            counts[column] += 1
        rates: list[float] = []
        for column in range(min(width, ceil(self.end / bucket))):
            before = rates[-1] if rates else 0.0
            rates.append(sums[column] / counts[column] if counts[column] else before)
        marks = [(min(width - 1, int(mark.at / bucket)), mark.label) for mark in self._marks]
        return Columns(bucket, rates, marks)
