"""Decimal128 of BSON: exact decimal numbers, read and spelled.

BSON Decimal128 specification: binary integer decimal encoding of IEEE 754-2008.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Any

EXPONENT_BIAS = 6176
LARGEST_COEFFICIENT = 10**34 - 1
"""Anything above, which 113 bits could hold, counts as zero by the specification."""

_unpack_halves: Any = Struct("<QQ").unpack_from


@dataclass(frozen=True, slots=True)
class Decimal:
    """A decimal number as BSON or a double's shortest text gives it: `coefficient * 10 ** exponent`, signed."""

    negative: bool
    coefficient: int
    exponent: int
    special: str = ""
    """`NaN`, `Infinity` or `-Infinity`; the number counts for nothing then."""


def read_decimal128(document: bytes, start: int) -> Decimal:
    """The 16 bytes at `start` as a number; signalling NaNs and the sign and payload of NaNs are not told apart."""
    low, high = _unpack_halves(document, start)
    negative = bool(high >> 63)
    if high >> 58 & 0x1F == 0x1F:
        return Decimal(False, 0, 0, "NaN")
    if high >> 58 & 0x1F == 0x1E:
        return Decimal(negative, 0, 0, "-Infinity" if negative else "Infinity")
    if high >> 61 & 0x3 == 0x3:
        return Decimal(negative, 0, (high >> 47 & 0x3FFF) - EXPONENT_BIAS)
    coefficient = (high & (1 << 49) - 1) << 64 | low
    if coefficient > LARGEST_COEFFICIENT:
        coefficient = 0
    return Decimal(negative, coefficient, (high >> 49 & 0x3FFF) - EXPONENT_BIAS)


def decimal_text(number: Decimal) -> str:
    """The number as text that JSON can read: "to-scientific-string" of the General Decimal Arithmetic specification."""
    if number.special:
        return number.special
    sign = "-" if number.negative else ""
    digits = str(number.coefficient)
    adjusted = number.exponent + len(digits) - 1
    if number.exponent > 0 or adjusted < -6:
        point = "." if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{point}{digits[1:]}E{adjusted:+d}"
    if number.exponent == 0:
        return sign + digits
    digits = digits.rjust(1 - number.exponent, "0")
    return f"{sign}{digits[: number.exponent]}.{digits[number.exponent :]}"
