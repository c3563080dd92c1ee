# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""Dates for the native converter: timestamptz and ISO 8601; the algorithm is that of `engine.convert.dates`."""

from libc.stdint cimport int64_t, uint64_t, uint8_t

from engine.convert.native_doubles cimport count_digits, put_digits
from engine.convert.native_memory cimport NO_MEMORY, OK, Buffer, reserve


cdef extern from *:
    """
    #define NATIVE_MS_PER_DAY INT64_C(86400000)
    #define NATIVE_EPOCH_SHIFT_MS INT64_C(946684800000)
    #define NATIVE_FIRST_DATE_MS (INT64_C(-211813488000000) + NATIVE_EPOCH_SHIFT_MS)
    #define NATIVE_LAST_DATE_MS (INT64_C(9223371331200000) + NATIVE_EPOCH_SHIFT_MS - 1)
    """
    const int64_t MS_PER_DAY "NATIVE_MS_PER_DAY"
    const int64_t EPOCH_SHIFT_MS "NATIVE_EPOCH_SHIFT_MS"
    const int64_t FIRST_DATE_MS "NATIVE_FIRST_DATE_MS"
    const int64_t LAST_DATE_MS "NATIVE_LAST_DATE_MS"

cdef enum:
    DAYS_PER_ERA = 146097
    DAYS_TO_MARCH_0000 = 719468
    ISO_SIZE = 40  # bytes that `write_iso` may write


cdef inline int64_t floor_divide(int64_t number, int64_t divisor) noexcept nogil:
    """Rounds down, for a divisor above 0."""
    return number // divisor - (number % divisor < 0)


cdef inline int write_iso(Buffer *out, int64_t ms) noexcept nogil:
    """`2024-01-02T03:04:05.678Z`; years beyond four digits have a sign and at least six."""
    cdef int64_t days = floor_divide(ms, MS_PER_DAY)
    cdef uint64_t ms_of_day = <uint64_t>ms - <uint64_t>days * <uint64_t>MS_PER_DAY
    cdef int64_t era = floor_divide(days + DAYS_TO_MARCH_0000, DAYS_PER_ERA)
    cdef int64_t day_of_era = days + DAYS_TO_MARCH_0000 - era * DAYS_PER_ERA
    cdef int64_t year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // (DAYS_PER_ERA - 1)
    ) // 365
    cdef int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    cdef int64_t month_from_march = (5 * day_of_year + 2) // 153
    cdef int64_t month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    cdef int64_t year = year_of_era + 400 * era + (month <= 2)
    cdef int n = 4
    cdef uint8_t *to
    if reserve(out, ISO_SIZE) < 0:
        return NO_MEMORY
    to = out.data + out.size
    if year < 0 or year > 9999:
        to[0] = c"-" if year < 0 else c"+"
        to += 1
        year = -year if year < 0 else year
        n = count_digits(year)
        n = n if n > 6 else 6
    put_digits(to, year, n)
    to += n
    to[0] = c"-"
    put_digits(to + 1, month, 2)
    to[3] = c"-"
    put_digits(to + 4, day_of_year - (153 * month_from_march + 2) // 5 + 1, 2)
    to[6] = c"T"
    put_digits(to + 7, ms_of_day // 3600000, 2)
    to[9] = c":"
    put_digits(to + 10, ms_of_day // 60000 % 60, 2)
    to[12] = c":"
    put_digits(to + 13, ms_of_day // 1000 % 60, 2)
    to[15] = c"."
    put_digits(to + 16, ms_of_day % 1000, 3)
    to[19] = c"Z"
    out.size = to + 20 - out.data
    return OK
