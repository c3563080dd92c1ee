"""Rates, ETA and the bottleneck. Times are monotonic seconds given by the caller, so that tests can hold the clock."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

RATE_WINDOW_S = 5.0
"""Rates are smoothed over the last seconds: slices are committed about twice a second by each worker."""
ETA_WINDOW_S = 15.0
SILENT_S = 5.0
"""Without a row for so long there is no ETA: it would tell of a speed that is no more."""
ETA_AFTER_S = 5.0
ETA_AFTER_SHARE = 0.01
"""No ETA before a hundredth is done, or these seconds have passed, whichever comes later (gh-ost's rule). They begin anew with
a pause: the first slice after it comes at once or late, and would tell of any speed."""
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

    @property
    def last_at(self) -> float:
        """When the counter was looked at last; before all times where it was not."""
        return self._points[-1][0] if self._points else -math.inf

    def rate(self) -> float:
        """Growth per second over the window; 0 before there are two points."""
        if len(self._points) < 2:
            return 0.0
        (t0, c0), (t1, c1) = self._points[0], self._points[-1]
        return max(0.0, (c1 - c0) / (t1 - t0)) if t1 > t0 else 0.0

    @property
    def covers_s(self) -> float:
        """Seconds between its first point and its last."""
        return self._points[-1][0] - self._points[0][0] if self._points else 0.0

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
    rows_before: int = 0
    """What earlier engines of the run had moved, in `moving_before_s`."""
    moving_before_s: float = 0.0
    tables: dict[int, Window] = field(default_factory=dict)
    """Documents read and committed, by table that workers are at, or were a moment ago."""
    grew_at: float | None = None
    """When there was another row last; None before, and after a pause."""
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
        if not moving:
            self.grew_at = None
        elif self._last is None or self.grew_at is None or written > self._last[1]:
            self.grew_at = now
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

    def tick_tables(self, now: float, read: Mapping[int, int], *, moving: bool) -> None:
        """Take the documents that are committed of each table that workers are at."""
        if not moving:
            self.tables.clear()
            return
        for task_id, documents in read.items():
            window = self.tables.get(task_id)
            if window is None:
                window = self.tables[task_id] = Window(ETA_WINDOW_S)
            window.add(now, documents)
        for task_id in [each for each, window in self.tables.items() if window.last_at < now - ETA_WINDOW_S]:
            del self.tables[task_id]  # no worker has been at it for so long

    def table_rate(self, task_id: int) -> float:
        """Documents per second of a table."""
        window = self.tables.get(task_id)
        return window.rate() if window is not None else 0.0

    def silent_s(self, now: float) -> float:
        """Seconds without another row while the run moves."""
        return now - self.grew_at if self.grew_at is not None else 0.0

    def restart(self) -> None:
        """Something else is counted from here on: seeding is over, the copy begins. The chart goes on."""
        self._forget()
        self.moving_s, self.moved_rows = 0.0, 0
        self._last = self._last_sample = None

    def take_up(self, rows: int, seconds: float) -> None:
        """A run is resumed: earlier engines of it moved so many rows in so many seconds."""
        self.restart()
        self.rows_before, self.moving_before_s = rows, seconds

    def _forget(self) -> None:
        self.tables.clear()
        for window in (self.rows, self.bytes, self.eta_rows):
            window.clear()

    @property
    def mean(self) -> float:
        """Rows per second over the time that the run moved, also in earlier engines."""
        seconds = self.moving_s + self.moving_before_s
        return (self.moved_rows + self.rows_before) / seconds if seconds > 0 else 0.0

    def eta(self, written: int, total: int) -> float | None:
        """Seconds to go, or None while it cannot be known."""
        covers_s = self.eta_rows.covers_s
        lacks_s = max(0.0, ETA_WINDOW_S - covers_s)  # after a pause, what is known from before it fills the window up
        rate = (self.eta_rows.rate() * covers_s + self.mean * lacks_s) / (covers_s + lacks_s)
        if covers_s < ETA_AFTER_S or written < total * ETA_AFTER_SHARE or rate <= 0:
            return None
        return max(0, total - written) / rate


def bottleneck(reading: float, converting: float, writing: float, throttled: float = 0.0) -> str:
    """The sentence that names what the workers wait for most, from their shares of time (0..1 each)."""
    shares = {
        "waiting for MongoDB": reading,
        "converting": converting,
        "waiting for PostgreSQL": writing,
        "throttled": throttled,
    }
    name, share = max(shares.items(), key=lambda item: item[1])
    if share <= 0:
        return ""
    return f"{name} {share * 100:.0f}% of worker time"
