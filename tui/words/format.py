"""Numbers as text: counts, rates, times and sizes as short text. Pure; every front end uses it."""

from __future__ import annotations

from datetime import UTC, datetime

NO_NUMBER = "–"
"""In the place of a number that is not known."""
_MINUTE_S = 60
_HOUR_S = 3_600
_DAY_S = 86_400


def number(value: float) -> str:
    """A count with thousands separators: 12345 is "12,345"."""
    return f"{round(value):,}"


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
    """A time, in seconds: 75 is "01:15", 3675 is "1:01:15", 90061 is "1d 01:01", None is a dash."""
    if seconds is None:
        return NO_NUMBER
    whole = max(0, round(seconds))
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S:02}:{whole % _MINUTE_S:02}"
    hours, rest = divmod(whole, _HOUR_S)
    if whole < _DAY_S:
        return f"{hours}:{rest // _MINUTE_S:02}:{rest % _MINUTE_S:02}"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours:02}:{rest // _MINUTE_S:02}"


def moment(unix: float) -> str:
    """A point in time, from seconds since 1970, as servers say it: "2026-11-23 22:09:31 UTC"."""
    return f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%d %H:%M:%S} UTC"


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


def share(done: int, total: int) -> float:
    """`done` of `total` as a fraction 0..1; 0 while nothing is expected."""
    return min(1.0, done / total) if total > 0 else 0.0
