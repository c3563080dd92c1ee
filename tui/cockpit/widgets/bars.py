"""Horizontal bars with a resolution of half a cell."""

from __future__ import annotations

from textual.content import Content

FULL = "━"
HALF = "╸"
REST = "─"


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
