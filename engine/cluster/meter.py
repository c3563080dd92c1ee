"""Rates, ETA and the bottleneck. Times are monotonic seconds given by the caller, so that tests can hold the clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

RATE_WINDOW_S = 5.0
"""Rates are smoothed over the last seconds: slices are committed about twice a second by each worker."""
ETA_WINDOW_S = 15.0
ETA_AFTER_S = 5.0
ETA_AFTER_SHARE = 0.01
"""No ETA before a hundredth is done, or these seconds have passed, whichever comes later (gh-ost's rule)."""
SAMPLE_EVERY_S = 1.0
"""At first. When there are `MAX_SAMPLES`, neighbours are merged and samples are twice as long: a long run is kept whole."""
MAX_SAMPLES = 3_600


@dataclass(slots=True)
class Window:
    """A counter's growth over the last seconds."""

    span_s: float
    _points: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, now: float, count: int) -> None:
        """The counter is at `count`."""
        self._points.append((now, count))
        while len(self._points) > 2 and self._points[1][0] <= now - self.span_s:
            self._points.popleft()

    def rate(self) -> float:
        """Growth per second over the window; 0 before there are two points."""
        if len(self._points) < 2:
            return 0.0
        (t0, c0), (t1, c1) = self._points[0], self._points[-1]
        return max(0.0, (c1 - c0) / (t1 - t0)) if t1 > t0 else 0.0

    def clear(self) -> None:
        """Forget: the counter was set back, or time stood still."""
        self._points.clear()


@dataclass(slots=True)
class Meter:
    """The run's throughput, from committed rows alone; while seeding, from inserted documents."""

    rows: Window = field(default_factory=lambda: Window(RATE_WINDOW_S))
    bytes: Window = field(default_factory=lambda: Window(RATE_WINDOW_S))
    eta_rows: Window = field(default_factory=lambda: Window(ETA_WINDOW_S))
    samples: list[tuple[float, float]] = field(default_factory=list)
    """(elapsed seconds, rows/s over the time since the sample before), for the chart."""
    moving_s: float = 0.0
    """Time in which the run moved: pauses do not count."""
    moved_rows: int = 0
    _sample_every_s: float = SAMPLE_EVERY_S
    _last: tuple[float, int] | None = None
    _last_sample: tuple[float, int] | None = None

    def tick(self, now: float, written: int, n_bytes: int, *, moving: bool) -> None:
        """Take the counters as they stand; `moving` is False while the run is paused."""
        if self._last is not None:
            before, was = self._last
            if written < was:  # the ledger was asked after a crash, and progress went back
                self._forget()
            elif moving:
                self.moving_s += now - before
                self.moved_rows += written - was
        self._last = (now, written)
        if moving:
            self.rows.add(now, written)
            self.bytes.add(now, n_bytes)
            self.eta_rows.add(now, written)
        else:
            self._forget()
        if self._last_sample is None:
            self._last_sample = (now, written)
        elif now - self._last_sample[0] >= self._sample_every_s:
            at, count = self._last_sample
            self.samples.append((now, max(0.0, (written - count) / (now - at))))
            self._last_sample = (now, written)
            if len(self.samples) >= MAX_SAMPLES:
                pairs = zip(self.samples[::2], self.samples[1::2], strict=True)
                self.samples = [(end, (sooner + later) / 2) for (_, sooner), (end, later) in pairs]
                self._sample_every_s *= 2

    def restart(self) -> None:
        """Something else is counted from here on: seeding is over, the copy begins. The chart goes on."""
        self._forget()
        self.moving_s, self.moved_rows = 0.0, 0
        self._last = self._last_sample = None

    def _forget(self) -> None:
        for window in (self.rows, self.bytes, self.eta_rows):
            window.clear()

    @property
    def mean(self) -> float:
        """Rows per second over the time that the run moved."""
        return self.moved_rows / self.moving_s if self.moving_s > 0 else 0.0

    def eta(self, written: int, total: int) -> float | None:
        """Seconds to go, or None while it cannot be known."""
        rate = self.eta_rows.rate()
        if self.moving_s < ETA_AFTER_S or written < total * ETA_AFTER_SHARE or rate <= 0:
            return None
        return max(0, total - written) / rate


def bottleneck(reading: float, converting: float, writing: float, throttled: float = 0.0) -> str:
    """The sentence that names what the workers wait for most, from their shares of time (0..1 each)."""
    shares = {
        "waiting for MongoDB": reading,
        "converting": converting,
        "waiting for PostgreSQL": writing,
        "held back by the throttle": throttled,
    }
    name, share = max(shares.items(), key=lambda item: item[1])
    if share <= 0:
        return ""
    return f"{name} {share * 100:.0f}% of the workers' time"
