"""Decimals as PostgreSQL's numeric.

Format: `numeric_send` in PostgreSQL's utils/adt/numeric.c: four 16-bit words (number of digits, weight of the first digit,
sign, digits behind the point), then digits to the base 10,000.
"""

from __future__ import annotations

from struct import pack

from engine.mapping.decimal128 import Decimal

_POSITIVE, _NEGATIVE = 0x0000, 0x4000
_NOT_A_NUMBER, _INFINITY, _NEGATIVE_INFINITY = 0xC000, 0xD000, 0xF000
_BASE = 10_000


def _special(sign: int) -> bytes:
    return pack(">iHhHH", 8, 0, 0, sign, 0)


NUMERIC_NAN = _special(_NOT_A_NUMBER)
NUMERIC_INFINITY = _special(_INFINITY)
NUMERIC_NEGATIVE_INFINITY = _special(_NEGATIVE_INFINITY)
"""PostgreSQL 14 or newer; each with its length, as COPY wants it."""


def parse_double(text: str) -> Decimal:
    """The decimal that `repr` of a finite double spells: the shortest that reads back as the same double."""
    mantissa, _, exponent = text.partition("e")
    whole, _, behind_point = mantissa.lstrip("-").partition(".")
    return Decimal(text[0] == "-", int(whole + behind_point), int(exponent or 0) - len(behind_point))


def is_number_itself(text: str, number: float) -> bool:
    """Whether the shortest text of a double that is whole, written with an exponent, is exactly its value."""
    spelled = parse_double(text)
    value: int = spelled.coefficient * 10**spelled.exponent
    return value == abs(int(number))


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
