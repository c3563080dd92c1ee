"""Dates: BSON's milliseconds since 1970 as timestamptz and as ISO 8601."""

from __future__ import annotations

from struct import pack

from engine.mapping.limits import EPOCH_SHIFT_MS

MS_PER_DAY = 86_400_000
_DAYS_PER_ERA = 146_097
"""Days of 400 Gregorian years."""
_DAYS_TO_MARCH_0000 = 719_468
"""Days from 0000-03-01 to 1970-01-01."""

TIMESTAMP_INFINITY = pack(">iq", 8, 2**63 - 1)
TIMESTAMP_NEGATIVE_INFINITY = pack(">iq", 8, -(2**63))


def encode_timestamp(ms: int) -> bytes:
    """A date within PostgreSQL's range as a timestamptz field of binary COPY: microseconds since 2000."""
    return pack(">iq", 8, (ms - EPOCH_SHIFT_MS) * 1000)


def iso_text(ms: int) -> str:
    """The date as `2024-01-02T03:04:05.678Z`, in the proleptic Gregorian calendar, whatever its year.

    Years outside 0000 .. 9999 have a sign and at least six digits, as ISO 8601 and ECMAScript expand them; year 0000 is
    1 BC.
    """
    days, ms_of_day = divmod(ms, MS_PER_DAY)
    year, month, day = civil_date(days)
    minutes, ms_of_minute = divmod(ms_of_day, 60_000)
    seconds, fraction = divmod(ms_of_minute, 1000)
    years = f"{year:04d}" if 0 <= year <= 9999 else f"{year:+07d}"
    return f"{years}-{month:02d}-{day:02d}T{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}.{fraction:03d}Z"


def civil_date(days: int) -> tuple[int, int, int]:
    """Year, month and day of a number of days since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date
    Algorithms", civil_from_days)."""
    era, day_of_era = divmod(days + _DAYS_TO_MARCH_0000, _DAYS_PER_ERA)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    return year_of_era + 400 * era + (month <= 2), month, day
