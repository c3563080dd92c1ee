"""Horizontal bars with a resolution of half a cell, split bars, and lines of little columns."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

FULL = "━"
HALF = "╸"
REST = "─"
LEVELS = "▁▂▃▄▅▆▇█"


def cells(fraction: float, width: int) -> str:
    """The filled part of a bar of `width` cells; anything above nothing shows at least half a cell."""
    halves = round(min(1.0, max(0.0, fraction)) * width * 2)
    if fraction > 0.0:
        halves = max(1, halves)
    return FULL * (halves // 2) + HALF * (halves % 2)


def bar(fraction: float, width: int, colour: str) -> Content:
    """A whole bar of `width` cells; the rest is a thin line."""
    filled = cells(fraction, width)
    return Content.assemble((filled, colour), (REST * (width - len(filled)), "$foreground 25%"))


def parts(shares: Sequence[tuple[str, float]], width: int) -> list[tuple[str, str]]:
    """A bar of `width` cells cut by shares: `r━━━c━w━━━━━`, each part with its letter first.

    Args:
        shares: letter and share of each part; only their proportions count.

    Returns:
        The letter of each part that is a cell wide at least, and its cells; together `width` of them.
    """
    whole = sum(share for _, share in shares)
    if whole <= 0 or width < 1:
        return []
    cut: list[tuple[str, str]] = []
    begin, passed = 0, 0.0
    for letter, share in shares:
        passed += share
        end = round(passed / whole * width)
        if end > begin:
            cut.append((letter, letter + FULL * (end - begin - 1)))
            begin = end
    return cut


def sparkline(values: Sequence[float], width: int, top: float) -> str:
    """The last `width` values as columns of one line, the newest on the right; `top` is the highest column."""
    shown = values[-width:]
    drawn = "".join(_column(value, top) for value in shown)
    return drawn.rjust(width)


def _column(value: float, top: float) -> str:
    if value <= 0 or top <= 0:
        return " "
    return LEVELS[min(len(LEVELS) - 1, int(min(1.0, value / top) * len(LEVELS)))]
