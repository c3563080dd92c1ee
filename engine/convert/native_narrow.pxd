# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""Values narrowed to the type of an existing column, byte for byte as `engine.convert.narrow` does it."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcmp, memcpy

from engine.convert.native_dates cimport MS_PER_DAY, floor_divide
from engine.convert.native_memory cimport MISFIT, OK, Buffer, put_32
from engine.convert.native_work cimport (
    NARROW_DATE,
    NARROW_DIGITS,
    NARROW_LABELS,
    NARROW_PADDED,
    NARROW_REAL,
    NARROW_SMALLINT,
    NARROW_STEP,
    Column,
)


cdef extern from *:
    const int64_t INT64_MAX
    const int64_t INT64_MIN
    const int32_t INT32_MAX
    const int32_t INT32_MIN

cdef enum:
    REAL_NAN = 0x7FC00000
    NUMERIC_NAN = 0xC000
    NUMERIC_NEGATIVE = 0x4000
    NUMERIC_HEADER_SIZE = 8
    US_PER_MS = 1000


cdef inline int narrow_content(Buffer *out, size_t begin, const Column *column) noexcept nogil:
    """Narrow the content that begins at `begin` and ends where `out` does; MISFIT where the column does not hold it."""
    cdef uint8_t *content = out.data + begin
    cdef size_t size = out.size - begin
    cdef int64_t number
    if column.narrow == NARROW_SMALLINT:
        number = <int32_t>big_32(content)
        if number != <int16_t>number:
            return MISFIT
        content[0] = content[2]
        content[1] = content[3]
        out.size = begin + 2
        return OK
    if column.narrow == NARROW_REAL:
        return narrow_real(out, begin, big_64(content))
    if column.narrow == NARROW_DATE:
        return narrow_date(out, begin, <int64_t>big_64(content))
    if column.narrow == NARROW_STEP:
        number = <int64_t>big_64(content)
        return OK if number == INT64_MIN or number == INT64_MAX or not number % column.step_us else MISFIT
    if column.narrow == NARROW_DIGITS:
        return OK if has_digits(content, size, column.precision, column.scale) else MISFIT
    if column.narrow == NARROW_LABELS:
        return OK if is_label(content, size, column) else MISFIT
    if column.narrow == NARROW_PADDED:
        return OK if is_within(content, size, column.length) else MISFIT
    return OK


cdef inline uint32_t big_32(const uint8_t *at) noexcept nogil:
    """A big-endian number of four bytes."""
    return <uint32_t>at[0] << 24 | <uint32_t>at[1] << 16 | <uint32_t>at[2] << 8 | at[3]


cdef inline uint64_t big_64(const uint8_t *at) noexcept nogil:
    """A big-endian number of eight bytes."""
    return <uint64_t>big_32(at) << 32 | big_32(at + 4)


cdef inline int big_16(const uint8_t *at) noexcept nogil:
    """A big-endian number of two bytes, without a sign."""
    return <int>at[0] << 8 | at[1]


cdef inline int narrow_real(Buffer *out, size_t begin, uint64_t bits) noexcept nogil:
    """A double as a real, where that is the same number."""
    cdef double number
    cdef float real
    cdef uint32_t word = REAL_NAN
    memcpy(&number, &bits, 8)
    if number == number:
        if number - number == 0 and not -3.5e38 < number < 3.5e38:
            return MISFIT
        real = <float>number
        if <double>real != number:
            return MISFIT
        memcpy(&word, &real, 4)
    put_32(out.data + begin, word)
    out.size = begin + 4
    return OK


cdef inline int narrow_date(Buffer *out, size_t begin, int64_t moment) noexcept nogil:
    """A moment as a day, where it is midnight in UTC."""
    cdef int64_t days
    if moment == INT64_MIN:
        days = INT32_MIN
    elif moment == INT64_MAX:
        days = INT32_MAX
    elif moment % (MS_PER_DAY * US_PER_MS):
        return MISFIT
    else:
        days = floor_divide(moment, MS_PER_DAY * US_PER_MS)
    put_32(out.data + begin, <uint32_t><int32_t>days)
    out.size = begin + 4
    return OK


cdef inline bint has_digits(const uint8_t *content, size_t size, int precision, int scale) noexcept nogil:
    """Whether a numeric is exact with so many digits, of which so many stand behind the point."""
    cdef int sign = big_16(content + 4)
    cdef int weight = <int16_t>big_16(content + 2)
    cdef int n_groups = <int>((size - NUMERIC_HEADER_SIZE) // 2)
    cdef int first, last, n_first = 0, n_zeros = 0
    if sign and sign != NUMERIC_NEGATIVE:
        return sign == NUMERIC_NAN
    if not n_groups:
        return True
    first = big_16(content + NUMERIC_HEADER_SIZE)
    last = big_16(content + size - 2)
    while first:
        first //= 10
        n_first += 1
    while last and not last % 10:
        last //= 10
        n_zeros += 1
    return 4 * (weight - n_groups + 1) + n_zeros >= -scale and 4 * weight + n_first <= precision - scale


cdef inline bint is_label(const uint8_t *content, size_t size, const Column *column) noexcept nogil:
    """Whether a text is one of an enum's labels."""
    cdef uint32_t number
    for number in range(column.n_labels):
        if column.labels[number].size == size and not memcmp(column.labels[number].data, content, size):
            return True
    return False


cdef inline bint is_within(const uint8_t *content, size_t size, uint64_t length) noexcept nogil:
    """Whether a text has no more characters than that and ends in no blank."""
    cdef uint64_t n = 0
    cdef size_t at
    if size and content[size - 1] == c" ":
        return False
    if not length:
        return True
    for at in range(size):
        n += (content[at] & 0xC0) != 0x80
    return n <= length
