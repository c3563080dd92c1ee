# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""The shortest decimal that reads back as the same double, for the native converter.

Raffaele Giulietti, "The Schubfach way to render doubles" (2020); names as in the paper. Of all shortest decimals it
finds the closest, as Python's `repr` does.
"""

from libc.stdint cimport uint64_t, uint8_t
from libc.string cimport memmove, memset

from engine.convert.native_memory cimport NO_MEMORY, OK, Buffer, append, get_64, reserve


cdef extern from *:
    """
    /* 10**k for k from -292 to 324 as 128 bits, the highest of them set, rounded up; made when the module is loaded. */
    static uint64_t native_powers[617][2];

    #define NATIVE_BITS_OF_1E16 UINT64_C(0x4341C37937E08000)
    #define NATIVE_BITS_OF_INFINITY UINT64_C(0x7FF0000000000000)
    #define NATIVE_WORD_BASE UINT64_C(10000000000000000)

    /* The high 64 bits of g * c, the lowest of them also set when anything not 0 is cut off. */
    static inline uint64_t native_round_to_odd(const uint64_t *g, uint64_t c) {
        unsigned __int128 x = (unsigned __int128)g[1] * c;
        unsigned __int128 y = (unsigned __int128)g[0] * c + (uint64_t)(x >> 64);
        return (uint64_t)(y >> 64) | ((uint64_t)y > 1);
    }
    """
    uint64_t powers "native_powers"[617][2]
    const uint64_t BITS_OF_1E16 "NATIVE_BITS_OF_1E16"
    const uint64_t BITS_OF_INFINITY "NATIVE_BITS_OF_INFINITY"
    const uint64_t WORD_BASE "NATIVE_WORD_BASE"
    uint64_t round_to_odd "native_round_to_odd"(const uint64_t *g, uint64_t c) noexcept nogil

cdef enum:
    FIRST_POWER = -292
    LAST_POWER = 324
    SIGNIFICAND_BITS = 52
    EXPONENT_BIAS = 1075  # of a significand that is an integer
    REPR_SIZE = 32  # bytes that `put_double` may write
    WORD_DIGITS = 16  # decimal digits in a word of a `Whole`
    MOST_WORDS = 20  # of 309 digits
    SHIFT_BITS = 10  # that a word has to spare

cdef enum:
    # `repr` writes 1e16 and 1e-05 with an exponent.
    FIRST_POINT_FIXED = -3
    LAST_POINT_FIXED = 16


cdef struct Decimal64:
    # digits * 10 ** exponent; the last digit is not 0 unless it is the only one.
    uint64_t digits
    int exponent


cdef struct Whole:
    # A whole number to the base 10 ** 16, the last digits first.
    uint64_t words[MOST_WORDS]
    int n


cdef inline Decimal64 shortest(uint64_t bits) noexcept nogil:
    """The shortest decimal of a finite double, whatever its sign."""
    cdef uint64_t fraction = bits & (<uint64_t>1 << SIGNIFICAND_BITS) - 1
    cdef int biased = <int>(bits >> SIGNIFICAND_BITS & 0x7FF)
    cdef uint64_t c = fraction | (<uint64_t>1 << SIGNIFICAND_BITS if biased else 0)
    cdef int q = (biased if biased else 1) - EXPONENT_BIAS
    cdef bint is_irregular = fraction == 0 and biased > 1
    cdef uint64_t is_odd = c & 1
    cdef uint64_t lower, middle, upper, s, tenth
    cdef const uint64_t *g
    cdef int k, h
    cdef bint is_down_inside, is_up_inside
    cdef Decimal64 result
    if not c or -SIGNIFICAND_BITS <= q <= 0 and not c & (<uint64_t>1 << -q) - 1:
        result.digits = c >> -q if c else 0
        result.exponent = 0
        return without_zeros(result)
    # floor(log10(2**q)), of three quarters of it when the double below is only half as far as the one above.
    k = (q * 1262611 - (524031 if is_irregular else 0)) >> 22
    h = q + (-k * 1741647 >> 19) + 1
    g = powers[-k - FIRST_POWER]
    lower = round_to_odd(g, (4 * c - 2 + is_irregular) << h) + is_odd
    middle = round_to_odd(g, 4 * c << h)
    upper = round_to_odd(g, (4 * c + 2) << h) - is_odd
    s = middle >> 2
    result.exponent = k
    if s >= 10:
        tenth = s // 10
        is_down_inside = lower <= 40 * tenth
        is_up_inside = 40 * tenth + 40 <= upper
        if is_down_inside != is_up_inside:
            result.digits = tenth + is_up_inside
            result.exponent = k + 1
            return without_zeros(result)
    is_down_inside = lower <= 4 * s
    is_up_inside = 4 * s + 4 <= upper
    if is_down_inside != is_up_inside:
        result.digits = s + is_up_inside
    else:
        result.digits = s + (middle > 4 * s + 2 or (middle == 4 * s + 2 and s & 1 != 0))
    return without_zeros(result)


cdef inline Decimal64 without_zeros(Decimal64 number) noexcept nogil:
    """The same number with no zeros at its end."""
    if number.digits == 0:
        number.exponent = 0
        return number
    while number.digits % 10 == 0:
        number.digits //= 10
        number.exponent += 1
    return number


cdef inline int count_digits(uint64_t number) noexcept nogil:
    """Decimal digits of a number, at least one."""
    cdef int n = 1
    while number >= 10:
        number //= 10
        n += 1
    return n


cdef inline void put_digits(uint8_t *to, uint64_t number, int n) noexcept nogil:
    """The last `n` decimal digits of a number."""
    while n:
        n -= 1
        to[n] = c"0" + number % 10
        number //= 10


cdef inline bint has_exponent(const Decimal64 *number) noexcept nogil:
    """Whether `repr` writes this double with an exponent."""
    cdef int point = count_digits(number.digits) + number.exponent
    return number.digits != 0 and not FIRST_POINT_FIXED <= point <= LAST_POINT_FIXED


cdef inline int write_double(Buffer *out, const uint8_t *value) noexcept nogil:
    """A double in BSON as Python's `repr` writes it, or `NaN`, `Infinity`, `-Infinity`."""
    cdef uint64_t bits = get_64(value)
    cdef Decimal64 number
    cdef int n, point
    cdef uint8_t *to
    if is_special(bits):
        if bits << 12:
            return append(out, b"NaN", 3)
        return append(out, b"-Infinity", 9) if bits >> 63 else append(out, b"Infinity", 8)
    if reserve(out, REPR_SIZE) < 0:
        return NO_MEMORY
    number = shortest(bits)
    n = count_digits(number.digits)
    point = n + number.exponent
    to = out.data + out.size
    if bits >> 63:
        to[0] = c"-"
        to += 1
    if has_exponent(&number):
        to = put_scientific(to, number.digits, n, point - 1)
    elif number.exponent >= 0:
        put_digits(to, number.digits, n)
        memset(to + n, c"0", number.exponent)
        to += point
        to[0] = c"."
        to[1] = c"0"
        to += 2
    elif point <= 0:
        memset(to, c"0", 2 - point)
        to[1] = c"."
        put_digits(to + 2 - point, number.digits, n)
        to += 2 - point + n
    else:
        put_digits(to + 1, number.digits, n)
        memmove(to, to + 1, point)
        to[point] = c"."
        to += n + 1
    out.size = to - out.data
    return OK


cdef inline bint is_huge(uint64_t bits) noexcept nogil:
    """A finite double that `repr` writes with an exponent above 0: all of them are whole."""
    cdef uint64_t size = bits << 1 >> 1
    return BITS_OF_1E16 <= size < BITS_OF_INFINITY


cdef inline Whole whole_digits(uint64_t bits) noexcept nogil:
    """All digits of such a double, whatever its sign."""
    cdef int to_shift = <int>(bits >> SIGNIFICAND_BITS & 0x7FF) - EXPONENT_BIAS
    cdef int at, shift
    cdef uint64_t word, carry
    cdef Whole whole
    whole.words[0] = bits & (<uint64_t>1 << SIGNIFICAND_BITS) - 1 | <uint64_t>1 << SIGNIFICAND_BITS
    whole.n = 1
    while to_shift:
        shift = to_shift if to_shift < SHIFT_BITS else SHIFT_BITS
        carry = 0
        for at in range(whole.n):
            word = (whole.words[at] << shift) + carry
            whole.words[at] = word % WORD_BASE
            carry = word // WORD_BASE
        if carry:
            whole.words[whole.n] = carry
            whole.n += 1
        to_shift -= shift
    return whole


cdef inline bint is_short_exact(uint64_t bits) noexcept nogil:
    """Whether the shortest text of such a double is exactly its value and has fewer characters than all its digits.

    When it is exact, the two odd numbers are equal that are left of them without their factors of two.
    """
    cdef Decimal64 number = shortest(bits)
    cdef uint64_t c = bits & (<uint64_t>1 << SIGNIFICAND_BITS) - 1 | <uint64_t>1 << SIGNIFICAND_BITS
    cdef uint64_t odd = number.digits
    cdef int exponent = number.exponent
    if exponent <= 4 + (number.digits >= 10):  # what `.` and `e+16` take
        return False
    while not c & 1:
        c >>= 1
    while not odd & 1:
        odd >>= 1
    while exponent and odd < c:
        odd *= 5
        exponent -= 1
    return exponent == 0 and odd == c


cdef inline int write_whole(Buffer *out, uint64_t bits) noexcept nogil:
    """All digits of a double that `is_huge`."""
    cdef Whole whole = whole_digits(bits)
    cdef uint8_t *to
    cdef int n
    if reserve(out, (MOST_WORDS + 1) * WORD_DIGITS) < 0:
        return NO_MEMORY
    to = out.data + out.size
    if bits >> 63:
        to[0] = c"-"
        to += 1
    whole.n -= 1
    n = count_digits(whole.words[whole.n])
    put_digits(to, whole.words[whole.n], n)
    to += n
    while whole.n:
        whole.n -= 1
        put_digits(to, whole.words[whole.n], WORD_DIGITS)
        to += WORD_DIGITS
    out.size = to - out.data
    return OK


cdef inline int write_full_double(Buffer *out, const uint8_t *value) noexcept nogil:
    """A double in BSON as `write_double` does, but all digits of one that `is_huge`."""
    return write_whole(out, get_64(value)) if is_huge(get_64(value)) else write_double(out, value)


cdef inline int write_exact_double(Buffer *out, const uint8_t *value) noexcept nogil:
    """The same, but for those whose shortest text `is_short_exact`."""
    if is_huge(get_64(value)) and not is_short_exact(get_64(value)):
        return write_whole(out, get_64(value))
    return write_double(out, value)


cdef inline bint is_special(uint64_t bits) noexcept nogil:
    """Whether a double is NaN or infinite."""
    return (bits >> SIGNIFICAND_BITS & 0x7FF) == 0x7FF


cdef inline uint8_t *put_scientific(uint8_t *to, uint64_t digits, int n, int exponent) noexcept nogil:
    """`d.ddde+xx`: at least two digits of exponent; returns where it ends."""
    put_digits(to + 1, digits, n)
    to[0] = to[1]
    if n > 1:
        to[1] = c"."
        to += n + 1
    else:
        to += 1
    to[0] = c"e"
    to[1] = c"-" if exponent < 0 else c"+"
    exponent = -exponent if exponent < 0 else exponent
    n = 3 if exponent >= 100 else 2
    put_digits(to + 2, exponent, n)
    return to + 2 + n
