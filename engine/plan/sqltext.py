"""Fields of COPY's binary format as the text that PostgreSQL would show: what a preview of rows consists of.

Formats: the `*_send` and `*_out` functions of PostgreSQL's utils/adt; the session's time zone is taken to be UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ctypes import c_float
from decimal import Decimal
from fractions import Fraction
from math import inf, isfinite, nextafter
from struct import Struct, unpack
from typing import Any
from uuid import UUID

from engine.convert.dates import civil_date
from engine.mapping.model import Column, ColumnType

_NUMERIC_SPECIAL = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
_NEGATIVE = 0x4000
_US_PER_DAY = 86_400_000_000
_DAYS_TO_2000 = 10_957
"""From 1970-01-01."""
_LAST, _FIRST = 2**63 - 1, -(2**63)
_LAST_DAY, _FIRST_DAY = 2**31 - 1, -(2**31)
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_SPACES = frozenset(" \t\n\r\v\f")

_unpack_length: Any = Struct(">i").unpack_from


def fields_of(row: bytes | memoryview) -> Iterator[bytes | None]:
    """The fields of one tuple, None for NULL."""
    position = 2
    while position < len(row):
        length = _unpack_length(row, position)[0]
        position += 4
        if length < 0:
            yield None
        else:
            yield bytes(row[position : position + length])
            position += length


def sql_text(column: Column, content: bytes) -> str:
    """A field that is not NULL, as text."""
    if column.array:
        return _array_text(content, _TEXTS[column.type])
    return _TEXTS[column.type](content)


def _utf8(content: bytes) -> str:
    return content.decode()


def _jsonb(content: bytes) -> str:
    return content[1:].decode()  # behind the version


def _integer(content: bytes) -> str:
    return str(int.from_bytes(content, "big", signed=True))


def _bool(content: bytes) -> str:
    return "true" if content[0] else "false"


def _bytea(content: bytes) -> str:
    return "\\x" + content.hex()


def _uuid(content: bytes) -> str:
    return str(UUID(bytes=content))


def _double(content: bytes) -> str:
    """The shortest digits that read back as the same double; an exponent below 1e-4 and from 1e15 on."""
    number = unpack(">d", content)[0]
    return _float_text(shortest_inside(number), 15) if isfinite(number) else _NOT_FINITE[repr(number)]


def _real(content: bytes) -> str:
    """The fewest digits that read back as the same 32-bit float; an exponent below 1e-4 and from 1e6 on."""
    number = unpack(">f", content)[0]
    if not isfinite(number):
        return _NOT_FINITE[repr(number)]
    shortest = next(text for n in range(1, 10) if c_float(float(text := f"{number:.{n}g}")).value == number)
    return _float_text(shortest, 6)


def _float_text(text: str, first_with_exponent: int) -> str:
    """Digits as common/d2s.c and f2s.c lay them out: with an exponent below -4, and from `first_with_exponent` on."""
    sign = "-" if text.startswith("-") else ""
    mantissa, _, power = text.lstrip("-").partition("e")
    whole, _, behind = mantissa.partition(".")
    digits = (whole + behind).lstrip("0")
    if not digits:
        return sign + "0"
    exponent = int(power or 0) + len(whole) - 1 - (len(whole + behind) - len(digits))
    digits = digits.rstrip("0")
    if not -4 <= exponent < first_with_exponent:
        point = "." if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{point}{digits[1:]}e{exponent:+03d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    digits = digits.ljust(exponent + 1, "0")
    point = "." if len(digits) > exponent + 1 else ""
    return f"{sign}{digits[: exponent + 1]}{point}{digits[exponent + 1 :]}"


def shortest_inside(number: float) -> str:
    """The shortest text between the halfway points to a double's neighbours, neither of them included.

    Python takes a halfway point where reading it gives this double again (1e+23). PostgreSQL does not, since other readers
    round it the other way (common/d2s.c, `acceptBounds`); below 2 ** 53 it writes integers as they are.
    """
    text, size = repr(number), abs(number)
    if size == 0 or (size < 2**53 and number.is_integer()):
        return text
    exact = Fraction(size)
    above = nextafter(size, inf)
    low = (Fraction(nextafter(size, 0.0)) + exact) / 2
    high = (exact + Fraction(above)) / 2 if isfinite(above) else exact + (exact - low)
    if low < Fraction(Decimal(text).copy_abs()) < high:
        return text
    for n_digits in range(1, 18):
        unit = Decimal(1).scaleb(Decimal(size).adjusted() + 1 - n_digits)
        below = int(exact / Fraction(unit))
        inside = [count for count in (below, below + 1) if low < count * Fraction(unit) < high]
        if inside:
            nearest = min(inside, key=lambda count: abs(count * Fraction(unit) - exact))
            return f"{'-' if number < 0 else ''}{nearest}e{unit.adjusted()}"
    return text


def _numeric(content: bytes) -> str:
    n_digits, weight, sign, scale = unpack(">HhHH", content[:8])
    if sign in _NUMERIC_SPECIAL:
        return _NUMERIC_SPECIAL[sign]
    # Digits of base 10,000, the first of which counts 10,000 ** weight; without a number of Python's, which has a longest one.
    digits = "".join(f"{digit:04d}" for digit in unpack(f">{n_digits}H", content[8:]))
    point = 4 * (weight + 1)
    whole = digits[: max(0, point)].ljust(point, "0").lstrip("0") or "0"
    behind = ("0" * max(0, -point) + digits[max(0, point) :])[:scale].ljust(scale, "0")
    return ("-" if sign == _NEGATIVE else "") + (f"{whole}.{behind}" if scale else whole)


def _timestamptz(content: bytes) -> str:
    us = int.from_bytes(content, "big", signed=True)
    if us in (_FIRST, _LAST):
        return "infinity" if us == _LAST else "-infinity"
    days, us_of_day = divmod(us, _US_PER_DAY)
    year, month, day = civil_date(days + _DAYS_TO_2000)
    era = ""
    if year <= 0:
        year, era = 1 - year, " BC"
    seconds, fraction = divmod(us_of_day, 1_000_000)
    point = f".{fraction:06d}".rstrip("0") if fraction else ""
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}"
    return f"{year:04d}-{month:02d}-{day:02d} {clock}+00{era}"


def _date(content: bytes) -> str:
    days = int.from_bytes(content, "big", signed=True)
    if days in (_FIRST_DAY, _LAST_DAY):
        return "infinity" if days == _LAST_DAY else "-infinity"
    year, month, day = civil_date(days + _DAYS_TO_2000)
    return f"{year:04d}-{month:02d}-{day:02d}" if year > 0 else f"{1 - year:04d}-{month:02d}-{day:02d} BC"


def _array_text(content: bytes, text_of: Callable[[bytes], str]) -> str:
    """One dimension, as `array_out` writes it."""
    if not unpack(">i", content[:4])[0]:
        return "{}"
    parts = []
    position = 20
    while position < len(content):
        length = _unpack_length(content, position)[0]
        position += 4
        if length < 0:
            parts.append("NULL")
        else:
            parts.append(_element(text_of(content[position : position + length])))
            position += length
    return "{" + ",".join(parts) + "}"


def _element(text: str) -> str:
    acts = not text or text.upper() == "NULL" or any(each in '{},"\\' or each in _SPACES for each in text)
    if not acts:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _bits(content: bytes) -> str:
    n_bits = int.from_bytes(content[:4], "big")
    return "".join(f"{byte:08b}" for byte in content[4:])[:n_bits]


def _vector(content: bytes) -> str:
    return "[" + ",".join(_real(content[at : at + 4]) for at in range(4, len(content), 4)) + "]"


_TEXTS: dict[ColumnType, Callable[[bytes], str]] = {
    ColumnType.REAL_ARRAY: lambda content: _array_text(content, _real),
    ColumnType.SMALLINT_ARRAY: lambda content: _array_text(content, _integer),
    ColumnType.BIT_VARYING: _bits,
    ColumnType.VECTOR: _vector,
    ColumnType.TEXT: _utf8,
    ColumnType.INTEGER: _integer,
    ColumnType.BIGINT: _integer,
    ColumnType.DOUBLE: _double,
    ColumnType.NUMERIC: _numeric,
    ColumnType.BOOLEAN: _bool,
    ColumnType.TIMESTAMPTZ: _timestamptz,
    ColumnType.UUID: _uuid,
    ColumnType.BYTEA: _bytea,
    ColumnType.JSONB: _jsonb,
    ColumnType.JSON: _utf8,
    ColumnType.SMALLINT: _integer,
    ColumnType.REAL: _real,
    ColumnType.DATE: _date,
}
