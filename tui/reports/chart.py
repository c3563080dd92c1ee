"""The throughput of a run as a picture within a page of HTML."""

from __future__ import annotations

from collections.abc import Sequence

from tui.words.format import compact, duration

WIDTH, HEIGHT = 900, 220
LEFT, RIGHT, TOP, BOTTOM = 60, 12, 14, 26
"""Cells of the axes."""


def chart(samples: Sequence[tuple[float, float]], overall: float | None) -> str:
    """SVG of (seconds, rows per second), with the overall rate as a line; empty without two samples."""
    if len(samples) < 2 or max(rate for _, rate in samples) <= 0:
        return ""
    began, ended = samples[0][0], samples[-1][0]
    top = max(*(rate for _, rate in samples), overall or 0.0) * 1.08
    span = max(ended - began, 0.001)

    def x(at: float) -> float:
        return round(LEFT + (at - began) / span * (WIDTH - LEFT - RIGHT), 1)

    def y(rate: float) -> float:
        return round(HEIGHT - BOTTOM - rate / top * (HEIGHT - TOP - BOTTOM), 1)

    line = " ".join(f"{x(at)},{y(rate)}" for at, rate in samples)
    base = y(0)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Rows per second over the run">',
        f'<polygon class="area" points="{x(began)},{base} {line} {x(ended)},{base}"/>',
        f'<polyline class="line" points="{line}"/>',
        f'<line class="axis" x1="{LEFT}" y1="{base}" x2="{WIDTH - RIGHT}" y2="{base}"/>',
    ]
    for rate in (top / 1.08, top / 2.16):
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y(rate)}" x2="{WIDTH - RIGHT}" y2="{y(rate)}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(rate) + 4}" text-anchor="end">{compact(rate)}</text>')
    parts.append(f'<text x="{LEFT - 6}" y="{base + 4}" text-anchor="end">0</text>')
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        at = began + share * span
        parts.append(f'<text x="{x(at)}" y="{HEIGHT - 8}" text-anchor="{anchor}">{duration(at)}</text>')
    if overall:
        parts.append(f'<line class="mean" x1="{LEFT}" y1="{y(overall)}" x2="{WIDTH - RIGHT}" y2="{y(overall)}"/>')
        where = f'x="{WIDTH - RIGHT}" y="{y(overall) - 5}"'
        parts.append(f'<text class="mean-label" {where} text-anchor="end">overall {compact(overall)}</text>')
    return "\n".join([*parts, "</svg>"])
