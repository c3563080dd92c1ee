"""How far a run is slowed while something is past its limit, when it is paused, and how it comes back. Pure.

Additive increase, multiplicative decrease: what is past a limit halves the rate at once and again after each step, down to a
twentieth, and then pauses; what is fine again gives back a tenth of the rate after each step. A hard limit pauses at once.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

CUT = 0.5
"""What a step down leaves of the rate."""
FLOOR = 0.05
"""The smallest share of the rate before that a run is slowed to; then it is paused."""
RAISE = 0.1
"""What a step up adds, of the rate before."""


class Level(IntEnum):
    """How things are with all guards together."""

    FINE = 0
    SOFT = 1
    """One is past its limit."""
    HARD = 2
    """One is past the limit from which on the run is paused."""


class Step(StrEnum):
    """What was done."""

    SLOWED = "slowed"
    PAUSED = "paused"
    RESUMED = "resumed"
    """No longer paused, still slowed."""
    RAISED = "raised"
    """Slowed less."""
    LIFTED = "lifted"
    """The run goes as fast as it can, or as its throttle lets it."""


class Governor:
    """Knows how far the run is slowed now. Times are seconds of the caller's clock."""

    def __init__(self, step_s: float) -> None:
        """Nothing is slowed.

        Args:
            step_s: from one step to the next; what was changed has to show meanwhile.
        """
        self.step_s = step_s
        self.is_paused = False
        self.share = 1.0
        """Of the rate before."""
        self._before: float | None = None
        """Rows per second before anything was done; None while nothing is, or where that was not known."""
        self._stepped_at = 0.0
        self._fine_since: float | None = None

    @property
    def is_acting(self) -> bool:
        """The run is slowed or paused."""
        return self.is_paused or self.share < 1.0

    @property
    def rows_per_s(self) -> float | None:
        """Most rows per second that are let through; None is no limit."""
        return self._before * self.share if self._before is not None else None

    def look(self, now: float, level: Level | None, rate: float) -> Step | None:
        """Do what is due; returns what was done, if anything was.

        Args:
            level: how things are; None where that cannot be told just now, and everything stays as it is.
            rate: rows per second of the run as it is, or as its throttle lets it; 0 while nothing moves.
        """
        if level is None:
            self._fine_since = None
            return None
        if level is Level.FINE:
            return self._recovered(now)
        self._fine_since = None
        if level is Level.HARD:
            return self._paused(now, rate) if not self.is_paused else None
        if self.is_paused or (not self.is_acting and rate <= 0):
            return None
        if self.is_acting and now - self._stepped_at < self.step_s:
            return None
        if self.share <= FLOOR:
            return self._paused(now, rate)
        if not self.is_acting:
            self._before = rate
        self._stepped_at = now
        self.share = max(FLOOR, self.share * CUT)
        return Step.SLOWED

    def release(self) -> bool:
        """Let the run go as it is; returns whether it was held."""
        was_acting = self.is_acting
        self.is_paused, self.share, self._before, self._fine_since = False, 1.0, None, None
        return was_acting

    def _paused(self, now: float, rate: float) -> Step:
        if not self.is_acting and rate > 0:
            self._before = rate
        self.is_paused, self.share, self._stepped_at = True, FLOOR, now
        return Step.PAUSED

    def _recovered(self, now: float) -> Step | None:
        if not self.is_acting:
            return None
        if self._fine_since is None:
            self._fine_since = now
        if now - max(self._fine_since, self._stepped_at) < self.step_s:
            return None
        self._stepped_at = now
        if self.is_paused and self._before is not None:
            self.is_paused = False
            return Step.RESUMED
        self.share = round(self.share + RAISE, 6)
        if self.share >= 1.0 or self._before is None:
            self.release()
            return Step.LIFTED
        return Step.RAISED
