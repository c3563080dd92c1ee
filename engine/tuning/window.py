"""How much a cluster of one size commits in a second."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

LEAST_S = 4.0
"""A window is at least so long."""
LONGEST_S = 20.0
"""It tells something after so long, however few slices were committed."""
SLICES, SLICES_EACH = 20, 5
"""Slices of all workers together, and of each of them, that it has before that."""
CERTAIN, UNCERTAIN_S = 0.03, 8.0
"""What a window with a larger error has found is certain after so long."""
PARTS, PART_S = 4, 0.8
"""Least parts of it whose rates are compared, and least length of one. Each worker commits about one slice in a part: workers
that were started together commit together, and between that nothing is committed.
"""
TRIMMED = 0.2
"""Of the parts, the slowest and the fastest that do not count: what happens for a moment is no property of a size."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a window has found."""

    rate: float
    """Bytes a second."""
    error: float
    """Standard error of the rate, relative to it."""
    long_s: float

    @property
    def noise(self) -> float:
        """The error of a second."""
        return self.error * sqrt(self.long_s)

    @property
    def is_certain(self) -> bool:
        """Others can be compared with it."""
        return self.error <= CERTAIN or self.long_s >= UNCERTAIN_S


class Window:
    """Slices that are committed from some time on."""

    def __init__(self, workers: int, begin: float) -> None:
        """Nothing is committed.

        Args:
            begin: slices before this time do not count.
        """
        self.begin = begin
        self._workers = workers
        self._wanted = max(SLICES, SLICES_EACH * workers)
        self._commits: list[tuple[float, int]] = []

    def add(self, at: float, n_bytes: int) -> None:
        """A slice was committed."""
        if at >= self.begin:
            self._commits.append((at, n_bytes))

    def measured(self, now: float) -> Measured | None:
        """What it has found so far; None as long as it is too short."""
        long_s = now - self.begin
        if long_s < LEAST_S or len(self._commits) <= PARTS:
            return None
        if len(self._commits) <= self._wanted and long_s < LONGEST_S:
            return None
        part_s = max(PART_S, long_s * self._workers / len(self._commits))
        rates = sorted(_rates(self._commits, part_s))
        if len(rates) < PARTS:
            return None
        n_trimmed = int(TRIMMED * len(rates))
        mean = fmean(rates[n_trimmed : len(rates) - n_trimmed])
        if mean <= 0:
            return None
        # The standard error of a trimmed mean is that of the values with the outliers pulled in to their neighbours (Yuen).
        low, high = rates[n_trimmed], rates[-1 - n_trimmed]
        error = stdev(min(max(rate, low), high) for rate in rates) / (1 - 2 * TRIMMED) / sqrt(len(rates))
        return Measured(mean, error / mean, long_s)


def _rates(commits: list[tuple[float, int]], part_s: float) -> list[float]:
    """Bytes a second of parts, each from a commit to a commit: what is committed between two looks belongs to both."""
    rates: list[float] = []
    begin, n_bytes = commits[0][0], 0
    for at, committed in commits[1:]:
        n_bytes += committed
        if at - begin >= part_s:
            rates.append(n_bytes / (at - begin))
            begin, n_bytes = at, 0
    return rates
