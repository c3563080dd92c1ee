"""Numbers as text: counts, rates, times and sizes as short text. Pure; every front end uses it."""

from __future__ import annotations

from datetime import datetime

NO_NUMBER = "–"
"""In the place of a number that is not known."""
_MINUTE_S = 60
_HOUR_S = 3_600
_DAY_S = 86_400


def number(value: float) -> str:
    """A count with thousands separators: 12345 is "12,345"."""
    return f"{round(value):,}"


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun: 1 is "1 document", 1200 is "1,200 documents".

    Args:
        many: of several, where that is not `one` with an s.
    """
    return f"{number(count)} {one if count == 1 else many or f'{one}s'}"


def rate(rows_per_s: float) -> str:
    """A throughput, in rows per second: 41220.3 is "41,220 rows/s"."""
    return f"{number(rows_per_s)} rows/s"


def compact(value: float) -> str:
    """A count in at most six characters: 41220 is "41.2k", 52000 is "52k", 999999 is "1M"."""
    magnitude = abs(value)
    for unit, size in (("", 1), ("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)):
        digits = 0 if size == 1 else 1
        if round(magnitude / size, digits) < 1_000 or unit == "G":
            short = f"{value / size:.{digits}f}"
            return (short.removesuffix(".0") if digits else short) + unit
    raise AssertionError("the last unit takes every number")


def duration(seconds: float | None) -> str:
    """How long something takes, in seconds, in at most seven characters that no time of day has.

    12 is "12s", 75 is "1m 15s", 3675 is "1h 01m", 90061 is "1d 01h", None is a dash.
    """
    if seconds is None:
        return NO_NUMBER
    whole = max(0, round(seconds))
    if whole < _MINUTE_S:
        return f"{whole}s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}m {whole % _MINUTE_S:02}s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S}h {whole % _HOUR_S // _MINUTE_S:02}m"
    return f"{whole // _DAY_S}d {whole % _DAY_S // _HOUR_S:02}h"


def about(seconds: float) -> str:
    """An estimated time: 0.2 is "under 1 s", 75.2 is "about 1m 15s"."""
    return "under 1 s" if seconds < 1 else f"about {duration(seconds)}"


_FEW_S = 5.0
"""Seconds below which an estimate of a copy says no number: it has its start, its keys and its checks besides the rows."""


def about_copy(seconds: float) -> str:
    """How long a copy is estimated to take: "a few seconds", "about 1m 15s"."""
    return "a few seconds" if seconds < _FEW_S else about(seconds)


def moment(unix: float) -> str:
    """A point in time, from seconds since 1970, by the clock of this machine with its zone: "2026-11-23 22:09:31 +0100"."""
    return f"{datetime.fromtimestamp(unix).astimezone():%Y-%m-%d %H:%M:%S %z}"


def time_of_day(unix: float, *, since: float = 0.0, seconds: bool = False) -> str:
    """A point in time by the clock of this machine, from seconds since 1970: "14:07", with `seconds` "14:07:31".

    Args:
        since: where that was another day, the day is told, too: "Tue 04:40", after a week "2026-12-08 04:40".
    """
    at = datetime.fromtimestamp(unix).astimezone()
    clock = f"{at:%H:%M:%S}" if seconds else f"{at:%H:%M}"
    before = datetime.fromtimestamp(since or unix).astimezone()
    if at.date() == before.date():
        return clock
    return f"{at:%a} {clock}" if abs((at.date() - before.date()).days) < 7 else f"{at:%Y-%m-%d} {clock}"


def bytes_size(size: float) -> str:
    """A size, in bytes, in powers of 1,024: 2_040_109_466 is "1.9 GiB"."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1_023.95:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1_024
    return f"{value:.1f} TiB"


def percent(fraction: float) -> str:
    """A share, 0..1: 0.583 is "58.3%". Anything below the whole stays below "100.0%", so that done means done."""
    if fraction < 1.0:
        fraction = min(fraction, 0.999)
    return f"{fraction:.1%}"


def part(percent: float) -> str:
    """A share of what was seen, in per cent, as the engine's warnings have it: 97.25 is "97.2%"; 0 and 100 are exactly that."""
    if 99.9 < percent < 100 or 0 < percent < 0.1:
        return ">99.9%" if percent > 50 else "<0.1%"
    return f"{percent:.3g}%"


def share(done: int, total: int) -> float:
    """`done` of `total` as a fraction 0..1; 0 while nothing is expected."""
    return min(1.0, done / total) if total > 0 else 0.0
