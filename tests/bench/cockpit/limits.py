"""What the cockpit has to keep, and the verdict that stands beside each figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median, quantiles

PAINT_S = 1.0
HELP_S = 0.4
"""Of the median."""
KEY_P95_MS = 100.0
CORE = {16: 0.05, 128: 0.10}
"""Most of a core with as many workers, or with fewer that are more than the one before."""
ENGINE = {64: 0.25}
"""Likewise of an engine."""
EXTRA = 0.03
"""Most that a run may take longer than without a cockpit."""
SETTLED_MINUTES = 3
"""Every screen and dialog has been opened a few times by then;"""
GROWTH = 0.03
"""and from there on memory is called flat when it grows by no more than this."""


def judged(figures: str, found: float, most: float, shown: str) -> str:
    """The figures with the limit and its verdict behind them."""
    return f"{figures}  [at most {shown}: {'kept' if found <= most else 'MISSED'}]"


def judged_seconds(figures: str, seconds: Sequence[float], most_s: float) -> str:
    """Of several times the median counts."""
    return judged(figures, median(seconds), most_s, f"{most_s:g} s")


def judged_keys(figures: str, delays_ms: Sequence[float]) -> str:
    """Of the delays of keys the 95th percentile counts."""
    return judged(figures, p95(delays_ms), KEY_P95_MS, f"{KEY_P95_MS:.0f} ms p95")


def judged_core(figures: str, share: float, workers: int) -> str:
    """A share of a core; of more workers than any limit speaks of, only the figures."""
    return _judged_share(figures, share, workers, CORE)


def judged_engine(figures: str, share: float, workers: int) -> str:
    """The engine's share of a core, likewise."""
    return _judged_share(figures, share, workers, ENGINE)


def _judged_share(figures: str, share: float, workers: int, limits: Mapping[int, float]) -> str:
    most = next((most for size, most in sorted(limits.items()) if workers <= size), None)
    return figures if most is None else judged(figures, share, most, f"{most:.0%} of a core")


def judged_run(figures: str, extra: float) -> str:
    """How much longer a run takes."""
    return judged(figures, extra, EXTRA, f"{EXTRA:.0%} longer")


def judged_memory(every_minute: Sequence[float]) -> str:
    """How the resident size went on after the first minutes.

    Args:
        every_minute: MiB, the first one from the beginning.
    """
    settled = every_minute[SETTLED_MINUTES:]
    if len(settled) < 2:
        return f"too short to say whether memory is flat: it takes more than {SETTLED_MINUTES} minutes"
    growth = settled[-1] / settled[0] - 1
    figures = f"RSS {growth:+.1%} from minute {SETTLED_MINUTES} to minute {len(every_minute) - 1}"
    return judged(figures, growth, GROWTH, f"{GROWTH:+.0%}")


def p95(values: Sequence[float]) -> float:
    """The 95th percentile."""
    return quantiles(values, n=20)[-1] if len(values) > 1 else values[0]
