"""Decimal128 and PostgreSQL's numeric: exact decimals in two binary formats.

Decimal128: BSON Decimal128 specification, binary integer decimal encoding of IEEE 754-2008. Numeric: `numeric_send` in
PostgreSQL's utils/adt/numeric.c: four 16-bit words (number of digits, weight of the first digit, sign, digits behind
the point), then digits to the base 10,000.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct, pack
from typing import Any

EXPONENT_BIAS = 6176
LARGEST_COEFFICIENT = 10**34 - 1
"""Anything above, which 113 bits could hold, counts as zero by the specification."""

_POSITIVE, _NEGATIVE = 0x0000, 0x4000
_NOT_A_NUMBER, _INFINITY, _NEGATIVE_INFINITY = 0xC000, 0xD000, 0xF000
_BASE = 10_000

_unpack_halves: Any = Struct("<QQ").unpack_from


def _special(sign: int) -> bytes:
    return pack(">iHhHH", 8, 0, 0, sign, 0)


NUMERIC_NAN = _special(_NOT_A_NUMBER)
NUMERIC_INFINITY = _special(_INFINITY)
NUMERIC_NEGATIVE_INFINITY = _special(_NEGATIVE_INFINITY)
"""PostgreSQL 14 or newer; each with its length, as COPY wants it."""


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


def parse_double(text: str) -> Decimal:
    """The decimal that `repr` of a finite double spells: the shortest that reads back as the same double."""
    mantissa, _, exponent = text.partition("e")
    whole, _, behind_point = mantissa.lstrip("-").partition(".")
    return Decimal(text[0] == "-", int(whole + behind_point), int(exponent or 0) - len(behind_point))


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


def encode_numeric(number: Decimal) -> bytes:
    """The number as a field of binary COPY: its length, then `numeric`. Zeros behind the point are kept, -0 is 0."""
    if number.special:
        return {"NaN": NUMERIC_NAN, "Infinity": NUMERIC_INFINITY}.get(number.special, NUMERIC_NEGATIVE_INFINITY)
    # A digit to the base 10,000 is four decimal ones, so the exponent has to become a multiple of four.
    weight, shift = divmod(number.exponent, 4)
    rest = number.coefficient * 10**shift
    digits = []
    while rest:
        rest, digit = divmod(rest, _BASE)
        digits.append(digit)
    weight += len(digits) - 1
    digits.reverse()
    while digits and not digits[-1]:
        digits.pop()
    if not digits:
        weight = 0
    sign = _NEGATIVE if number.negative and digits else _POSITIVE
    scale = max(0, -number.exponent)
    return pack(f">iHhHH{len(digits)}H", 8 + 2 * len(digits), len(digits), weight, sign, scale, *digits)


def encode_integer(number: int) -> bytes:
    """An integer as a `numeric` field of binary COPY."""
    return encode_numeric(Decimal(number < 0, abs(number), 0))
