"""What columns that are there already hold less of than the type whose bytes a value has been given.

A value is made for the wider type first: an integer for smallint, a double for real, a timestamptz for date and timestamp(p),
text for character(n) and enums. Then its content is narrowed, or does not fit, since PostgreSQL would round it, cut it or
refuse it. The native converter does the same in `native_narrow`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from struct import Struct

from engine.convert.dates import MS_PER_DAY
from engine.mapping.model import Column, ColumnType

Narrow = Callable[[bytes], bytes | None]

_SMALLINT_LOW, _SMALLINT_HIGH = -(2**15), 2**15 - 1
_DAY_US = MS_PER_DAY * 1000
_FIRST_MOMENT, _LAST_MOMENT = b"\x80" + bytes(7), b"\x7f" + b"\xff" * 7
"""-infinity and infinity of timestamptz; likewise of date."""
_FIRST_DAY, _LAST_DAY = b"\x80" + bytes(3), b"\x7f" + b"\xff" * 3
_REAL_NAN = b"\x7f\xc0\x00\x00"
_NUMERIC_SIGN, _NAN, _FINITE_SIGNS = slice(4, 6), b"\xc0\x00", (b"\x00\x00", b"\x40\x00")
_double, _real, _short, _day = Struct(">d"), Struct(">f"), Struct(">h"), Struct(">i")


def narrowing(column: Column) -> Narrow | None:
    """How to narrow the content of a value for a column, or of an array's element; None where its type takes all as it is."""
    match column.type:
        case ColumnType.SMALLINT:
            return _smallint
        case ColumnType.REAL:
            return _as_real
        case ColumnType.DATE:
            return _as_date
        case ColumnType.TIMESTAMPTZ if column.step_us > 1:
            return lambda content: content if _is_multiple(content, column.step_us) else None
        case ColumnType.NUMERIC if column.precision:
            return lambda content: content if _has_digits(content, column.precision, column.scale) else None
        case ColumnType.TEXT if column.labels:
            labels = frozenset(label.encode() for label in column.labels)
            return lambda content: content if content in labels else None
        case ColumnType.TEXT if column.is_padded:
            return lambda content: content if _is_within(content, column.length) else None
    return None


def _smallint(content: bytes) -> bytes | None:
    number = int.from_bytes(content, "big", signed=True)
    return _short.pack(number) if _SMALLINT_LOW <= number <= _SMALLINT_HIGH else None


def _as_real(content: bytes) -> bytes | None:
    (number,) = _double.unpack(content)
    if math.isnan(number):
        return _REAL_NAN
    try:
        narrowed = _real.pack(number)
    except OverflowError:
        return None
    return narrowed if _real.unpack(narrowed)[0] == number else None


def _as_date(content: bytes) -> bytes | None:
    if content in (_FIRST_MOMENT, _LAST_MOMENT):
        return _FIRST_DAY if content == _FIRST_MOMENT else _LAST_DAY
    days, rest = divmod(int.from_bytes(content, "big", signed=True), _DAY_US)
    return None if rest else _day.pack(days)


def _is_multiple(content: bytes, step_us: int) -> bool:
    return content in (_FIRST_MOMENT, _LAST_MOMENT) or not int.from_bytes(content, "big", signed=True) % step_us


def _has_digits(content: bytes, precision: int, scale: int) -> bool:
    """Whether a numeric is exact with so many digits, of which so many stand behind the point."""
    sign = content[_NUMERIC_SIGN]
    if sign not in _FINITE_SIGNS:
        return sign == _NAN
    groups = [int.from_bytes(content[at : at + 2], "big") for at in range(8, len(content), 2)]
    if not groups:
        return True
    weight = int.from_bytes(content[2:4], "big", signed=True)
    last = len(str(groups[-1])) - len(str(groups[-1]).rstrip("0"))
    return 4 * (weight - len(groups) + 1) + last >= -scale and 4 * weight + len(str(groups[0])) <= precision - scale


def _is_within(content: bytes, length: int) -> bool:
    return not content.endswith(b" ") and (not length or len(content.decode()) <= length)
