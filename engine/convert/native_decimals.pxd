# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""Integers, doubles and Decimal128 as text and as PostgreSQL's numeric; formats: `engine.mapping.decimal128` and
`engine.convert.decimals`.
"""

from libc.stdint cimport int64_t, uint16_t, uint64_t, uint8_t
from libc.string cimport memcpy, memset

from engine.convert.native_doubles cimport (
    MOST_WORDS,
    Decimal64,
    Whole,
    count_digits,
    has_exponent,
    is_special,
    put_digits,
    shortest,
    whole_digits,
)
from engine.convert.native_memory cimport NO_MEMORY, OK, Buffer, append, get_64, put_16, reserve


cdef extern from *:
    """
    typedef unsigned __int128 native_uint128;
    """
    ctypedef unsigned long long uint128_t "native_uint128"

cdef enum:
    FINITE
    NOT_A_NUMBER
    INFINITE

cdef enum:
    SIGN_POSITIVE = 0x0000
    SIGN_NEGATIVE = 0x4000
    SIGN_NAN = 0xC000
    SIGN_INFINITY = 0xD000
    SIGN_NEGATIVE_INFINITY = 0xF000

cdef enum:
    DECIMAL128_BIAS = 6176
    DECIMAL128_DIGITS = 34
    GROUP = 10000             # base of numeric's digits
    GROUPS_IN_WORD = 4        # that fit 16 decimal digits
    MOST_GROUPS = 12          # of 37 decimal digits, with room
    NUMERIC_HEADER = 8        # bytes
    INTEGER_SIZE = 20         # bytes of an int64's text
    SCIENTIFIC_SIZE = 48      # bytes of a decimal's text that has no zeros added


cdef struct Decimal:
    # coefficient * 10 ** exponent, signed.
    int special
    bint is_negative
    uint128_t coefficient
    int exponent


cdef inline uint128_t sixteen_digits() noexcept nogil:
    """10 ** 16: the digits that 64 bits hold in whole groups."""
    return <uint64_t>10000000000000000


cdef inline Decimal of_integer(int64_t number) noexcept nogil:
    """An integer as a decimal."""
    cdef Decimal result
    result.special = FINITE
    result.is_negative = number < 0
    result.coefficient = -<uint64_t>number if number < 0 else <uint64_t>number
    result.exponent = 0
    return result


cdef inline Decimal of_double(uint64_t bits) noexcept nogil:
    """What the double's shortest text spells: a whole number has a zero behind its point."""
    cdef Decimal result
    cdef Decimal64 number
    result.is_negative = bits >> 63
    result.coefficient = 0
    result.exponent = 0
    if is_special(bits):
        result.special = NOT_A_NUMBER if bits << 12 else INFINITE
        return result
    result.special = FINITE
    number = shortest(bits)
    result.coefficient = number.digits
    result.exponent = number.exponent
    if number.exponent >= 0 and not has_exponent(&number):
        while result.exponent > -1:
            result.coefficient *= 10
            result.exponent -= 1
    return result


cdef inline Decimal of_decimal128(const uint8_t *value) noexcept nogil:
    """The 16 bytes of a Decimal128 in BSON."""
    cdef uint64_t low = get_64(value), high = get_64(value + 8)
    cdef uint128_t coefficient, most
    cdef Decimal result
    result.is_negative = high >> 63
    result.coefficient = 0
    result.exponent = 0
    result.special = FINITE
    if (high >> 58 & 0x1F) == 0x1F:
        result.special = NOT_A_NUMBER
    elif (high >> 58 & 0x1F) == 0x1E:
        result.special = INFINITE
    elif (high >> 61 & 0x3) == 0x3:
        result.exponent = <int>(high >> 47 & 0x3FFF) - DECIMAL128_BIAS
    else:
        coefficient = high & (<uint64_t>1 << 49) - 1
        coefficient = coefficient << 64 | low
        most = sixteen_digits()
        most = most * most * 100  # 10 ** DECIMAL128_DIGITS
        result.coefficient = coefficient if coefficient < most else 0
        result.exponent = <int>(high >> 49 & 0x3FFF) - DECIMAL128_BIAS
    return result


cdef inline int compare(const Decimal *one, const Decimal *other) noexcept nogil:
    """Below 0, 0 or above 0: one finite Decimal128 is less than another, equal, or greater; -0 is 0."""
    cdef int sign = sign_of(one), other_sign = sign_of(other)
    cdef uint128_t coefficient = one.coefficient, other_coefficient = other.coefficient
    cdef int exponent = one.exponent, other_exponent = other.exponent
    if sign != other_sign or not sign:
        return sign - other_sign
    if exponent != other_exponent:
        fill_up(&coefficient, &exponent)
        fill_up(&other_coefficient, &other_exponent)
    if exponent != other_exponent:
        return sign if exponent > other_exponent else -sign
    if coefficient == other_coefficient:
        return 0
    return sign if coefficient > other_coefficient else -sign


cdef inline int sign_of(const Decimal *number) noexcept nogil:
    """-1, 0 or 1."""
    if not number.coefficient:
        return 0
    return -1 if number.is_negative else 1


cdef inline void fill_up(uint128_t *coefficient, int *exponent) noexcept nogil:
    """Give a coefficient that is not 0 all the digits it can have: then the larger exponent is the larger number."""
    cdef uint128_t least = sixteen_digits()
    least = least * least * 10  # 10 ** (DECIMAL128_DIGITS - 1)
    while coefficient[0] < least:
        coefficient[0] *= 10
        exponent[0] -= 1


cdef inline int write_integer(Buffer *out, int64_t number) noexcept nogil:
    """Decimal digits."""
    cdef uint64_t rest = -<uint64_t>number if number < 0 else <uint64_t>number
    cdef int n = count_digits(rest)
    if reserve(out, INTEGER_SIZE) < 0:
        return NO_MEMORY
    if number < 0:
        out.data[out.size] = c"-"
        out.size += 1
    put_digits(out.data + out.size, rest, n)
    out.size += n
    return OK


cdef inline int put_long_digits(uint8_t *to, uint128_t number) noexcept nogil:
    """All digits of a coefficient; returns how many."""
    cdef uint128_t high = number // sixteen_digits()
    cdef uint128_t top = high // sixteen_digits()
    cdef int n = 0
    if top:
        n = count_digits(<uint64_t>top)
        put_digits(to, <uint64_t>top, n)
        put_digits(to + n, <uint64_t>(high % sixteen_digits()), 16)
        n += 16
    elif high:
        n = count_digits(<uint64_t>high)
        put_digits(to, <uint64_t>high, n)
    else:
        n = count_digits(<uint64_t>number)
        put_digits(to, <uint64_t>number, n)
        return n
    put_digits(to + n, <uint64_t>(number % sixteen_digits()), 16)
    return n + 16


cdef inline int write_decimal(Buffer *out, const Decimal *number) noexcept nogil:
    """"to-scientific-string" of the General Decimal Arithmetic specification."""
    cdef uint8_t digits[DECIMAL128_DIGITS + 16]
    cdef uint8_t *to
    cdef int n, adjusted, point
    if number.special == NOT_A_NUMBER:
        return append(out, b"NaN", 3)
    if number.special == INFINITE:
        return append(out, b"-Infinity", 9) if number.is_negative else append(out, b"Infinity", 8)
    if reserve(out, SCIENTIFIC_SIZE) < 0:
        return NO_MEMORY
    n = put_long_digits(digits, number.coefficient)
    adjusted = number.exponent + n - 1
    to = out.data + out.size
    if number.is_negative:
        to[0] = c"-"
        to += 1
    if number.exponent > 0 or adjusted < -6:
        to[0] = digits[0]
        to += 1
        if n > 1:
            to[0] = c"."
            memcpy(to + 1, digits + 1, n - 1)
            to += n
        to[0] = c"E"
        to[1] = c"-" if adjusted < 0 else c"+"
        adjusted = -adjusted if adjusted < 0 else adjusted
        n = count_digits(adjusted)
        put_digits(to + 2, adjusted, n)
        to += 2 + n
    elif number.exponent == 0:
        memcpy(to, digits, n)
        to += n
    else:
        point = n + number.exponent
        if point <= 0:
            memset(to, c"0", 2 - point)
            to[1] = c"."
            to += 2 - point
            memcpy(to, digits, n)
            to += n
        else:
            memcpy(to, digits, point)
            to[point] = c"."
            memcpy(to + point + 1, digits + point, n - point)
            to += n + 1
    out.size = to - out.data
    return OK


cdef inline int write_numeric(Buffer *out, const Decimal *number) noexcept nogil:
    """The content of a `numeric` field; zeros behind the point are kept, -0 is 0."""
    cdef uint128_t rest = number.coefficient
    cdef uint16_t groups[MOST_GROUPS]  # the last first
    cdef int n = 0, first = 0, at
    cdef int weight = number.exponent >> 2
    cdef int sign = SIGN_POSITIVE
    cdef int scale = -number.exponent if number.exponent < 0 else 0
    cdef uint64_t word
    if number.special != FINITE:
        sign = SIGN_INFINITY
        if number.special == NOT_A_NUMBER:
            sign = SIGN_NAN
        elif number.is_negative:
            sign = SIGN_NEGATIVE_INFINITY
        return write_numeric_header(out, 0, 0, sign, 0)
    # A group is four decimal digits, so the exponent has to become a multiple of four.
    for at in range(number.exponent & 3):
        rest *= 10
    while rest:
        word = <uint64_t>(rest % sixteen_digits())
        rest //= sixteen_digits()
        for at in range(GROUPS_IN_WORD):
            groups[n + at] = word % GROUP
            word //= GROUP
        n += GROUPS_IN_WORD
    while n and not groups[n - 1]:
        n -= 1
    weight += n - 1
    while first < n and not groups[first]:
        first += 1
    if first == n:
        weight = 0
    elif number.is_negative:
        sign = SIGN_NEGATIVE
    if write_numeric_header(out, n - first, weight, sign, scale) < 0 or reserve(out, 2 * MOST_GROUPS) < 0:
        return NO_MEMORY
    while n > first:
        n -= 1
        put_16(out.data + out.size, groups[n])
        out.size += 2
    return OK


cdef inline int write_whole_numeric(Buffer *out, uint64_t bits) noexcept nogil:
    """A double that `is_huge` as the content of a `numeric` field, exactly."""
    cdef Whole whole = whole_digits(bits)
    cdef uint16_t groups[MOST_WORDS * GROUPS_IN_WORD]  # the last first
    cdef int n = 0, first = 0, at
    cdef uint64_t word
    for at in range(whole.n):
        word = whole.words[at]
        for _ in range(GROUPS_IN_WORD):
            groups[n] = word % GROUP
            word //= GROUP
            n += 1
    while not groups[n - 1]:
        n -= 1
    while not groups[first]:
        first += 1
    if write_numeric_header(out, n - first, n - 1, SIGN_NEGATIVE if bits >> 63 else SIGN_POSITIVE, 0) < 0:
        return NO_MEMORY
    if reserve(out, 2 * (n - first)) < 0:
        return NO_MEMORY
    while n > first:
        n -= 1
        put_16(out.data + out.size, groups[n])
        out.size += 2
    return OK


cdef inline int write_numeric_header(Buffer *out, int n, int weight, int sign, int scale) noexcept nogil:
    """Number of digits, weight of the first, sign, digits behind the point."""
    cdef uint8_t *to
    if reserve(out, NUMERIC_HEADER) < 0:
        return NO_MEMORY
    to = out.data + out.size
    put_16(to, <uint16_t>n)
    put_16(to + 2, <uint16_t>weight)
    put_16(to + 4, <uint16_t>sign)
    put_16(to + 6, <uint16_t>scale)
    out.size += NUMERIC_HEADER
    return OK
