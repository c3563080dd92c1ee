# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""The framing of BSON for the native converter: the checks of `engine.mapping.bson`, on pointers."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memchr

from engine.convert.native_memory cimport get_32


cdef enum:
    # Element types, and behind them the kinds that are told apart by the subtype of a binary.
    DOUBLE = 0x01
    STRING = 0x02
    DOCUMENT = 0x03
    ARRAY = 0x04
    BINARY = 0x05
    UNDEFINED = 0x06
    OBJECT_ID = 0x07
    BOOL = 0x08
    DATE = 0x09
    NULL_KIND = 0x0A
    REGEX = 0x0B
    DB_POINTER = 0x0C
    JAVASCRIPT = 0x0D
    SYMBOL = 0x0E
    CODE_WITH_SCOPE = 0x0F
    INT32 = 0x10
    TIMESTAMP = 0x11
    INT64 = 0x12
    DECIMAL128 = 0x13
    MAX_KEY = 0x7F
    MIN_KEY = 0xFF
    UUID = 0x105
    UUID_LEGACY = 0x205
    VECTOR_FLOAT32 = 0x305
    VECTOR_INT8 = 0x405
    VECTOR_BITS = 0x505

cdef enum:
    # The same as small numbers, to find a kind's entry in a table.
    MAX_KEY_SLOT = 0x14
    MIN_KEY_SLOT = 0x15
    UUID_SLOT = 0x16
    UUID_LEGACY_SLOT = 0x17
    VECTOR_FLOAT32_SLOT = 0x18
    VECTOR_INT8_SLOT = 0x19
    VECTOR_BITS_SLOT = 0x1A
    N_SLOTS = 0x1B

cdef enum:
    SHORTEST_DOCUMENT = 5
    SHORTEST_CODE_WITH_SCOPE = 14
    UUID_VALUE_SIZE = 21  # length, subtype, 16 bytes
    DECIMAL128_SIZE = 16
    SUBTYPE_OLD_BINARY = 2
    SUBTYPE_UUID_LEGACY = 3
    SUBTYPE_UUID = 4
    SUBTYPE_VECTOR = 9
    VECTOR_START = 7      # length, subtype, type of the elements, bits that do not count
    DTYPE_INT8 = 0x03
    DTYPE_BITS = 0x10
    DTYPE_FLOAT32 = 0x27


cdef struct Element:
    # A value of a document, under its key; all of it lies inside the document.
    uint8_t kind
    const uint8_t *key
    size_t key_size
    const uint8_t *start
    const uint8_t *end


cdef inline bint read_element(Element *element, const uint8_t *at, const uint8_t *last) noexcept nogil:
    """Read the element that begins at `at`, before `last`; False when it cannot be one."""
    cdef const uint8_t *key_end = <const uint8_t *>memchr(at + 1, 0, last - at - 1)
    if key_end == NULL:
        return False
    element.kind = at[0]
    element.key = at + 1
    element.key_size = key_end - element.key
    element.start = key_end + 1
    element.end = value_end(element.kind, element.start, last)
    return element.end != NULL


cdef inline int slot_of(int kind) noexcept nogil:
    """The number of a kind that `value_end` has accepted."""
    if kind <= DECIMAL128:
        return kind
    if kind == MAX_KEY:
        return MAX_KEY_SLOT
    if kind == MIN_KEY:
        return MIN_KEY_SLOT
    if kind == UUID:
        return UUID_SLOT
    if kind == UUID_LEGACY:
        return UUID_LEGACY_SLOT
    if kind == VECTOR_FLOAT32:
        return VECTOR_FLOAT32_SLOT
    return VECTOR_INT8_SLOT if kind == VECTOR_INT8 else VECTOR_BITS_SLOT


cdef inline const uint8_t *value_end(uint8_t kind, const uint8_t *start, const uint8_t *last) noexcept nogil:
    """Where a value ends that begins at `start`; NULL when it cannot be one.

    `last` is the NUL that ends the enclosing document: no value reaches beyond it.
    """
    cdef size_t room = last - start
    cdef int32_t length
    cdef const uint8_t *end
    if kind == OBJECT_ID:
        return start + 12 if room >= 12 else NULL
    if kind == STRING or kind == JAVASCRIPT or kind == SYMBOL:
        return string_end(start, last)
    if kind == INT32:
        return start + 4 if room >= 4 else NULL
    if kind == DOUBLE or kind == DATE or kind == TIMESTAMP or kind == INT64:
        return start + 8 if room >= 8 else NULL
    if kind == BOOL:
        return start + 1 if room >= 1 else NULL
    if kind == DOCUMENT or kind == ARRAY or kind == CODE_WITH_SCOPE:
        if room < 4:
            return NULL
        length = <int32_t>get_32(start)
        if length < (SHORTEST_CODE_WITH_SCOPE if kind == CODE_WITH_SCOPE else SHORTEST_DOCUMENT):
            return NULL
        return start + length if <size_t>length <= room and not start[length - 1] else NULL
    if kind == NULL_KIND or kind == UNDEFINED or kind == MAX_KEY or kind == MIN_KEY:
        return start
    if kind == BINARY:
        if room < 5:
            return NULL
        length = <int32_t>get_32(start)
        return start + 5 + length if length >= 0 and <size_t>length <= room - 5 else NULL
    if kind == DECIMAL128:
        return start + DECIMAL128_SIZE if room >= DECIMAL128_SIZE else NULL
    if kind == REGEX:
        end = text_end(start, last)
        return text_end(end, last) if end != NULL else NULL
    if kind == DB_POINTER:
        end = string_end(start, last)
        return end + 12 if end != NULL and last - end >= 12 else NULL
    return NULL


cdef inline const uint8_t *string_end(const uint8_t *start, const uint8_t *last) noexcept nogil:
    """Behind the NUL of a string with its length; NULL when it cannot be one."""
    cdef size_t room = last - start
    cdef int32_t length
    if room < 5:
        return NULL
    length = <int32_t>get_32(start)
    return start + 4 + length if length >= 1 and <size_t>length <= room - 4 and not start[3 + length] else NULL


cdef inline const uint8_t *text_end(const uint8_t *start, const uint8_t *last) noexcept nogil:
    """Behind the NUL of a text without a length; NULL when there is none before `last`."""
    cdef const uint8_t *end = <const uint8_t *>memchr(start, 0, last - start)
    return end + 1 if end != NULL else NULL


cdef inline int kind_of(const Element *element) noexcept nogil:
    """The kind of a value, binaries told apart by subtype: only 16 bytes are a UUID, and only a sound vector is one."""
    if element.kind == BINARY and element.start[4] == SUBTYPE_VECTOR:
        return vector_kind(element)
    if element.kind == BINARY and element.end - element.start == UUID_VALUE_SIZE:
        if element.start[4] == SUBTYPE_UUID:
            return UUID
        if element.start[4] == SUBTYPE_UUID_LEGACY:
            return UUID_LEGACY
    return element.kind


cdef inline int vector_kind(const Element *element) noexcept nogil:
    """The kind of a vector; one that breaks the rules is a binary like others."""
    cdef const uint8_t *start = element.start
    cdef int64_t size = element.end - start - VECTOR_START
    cdef uint8_t dtype, padding
    if size < 0:
        return BINARY
    dtype = start[5]
    padding = start[6]
    if dtype == DTYPE_BITS and padding < 8:
        if size:
            return VECTOR_BITS if not (element.end - 1)[0] & (1 << padding) - 1 else BINARY
        return BINARY if padding else VECTOR_BITS
    if padding:
        return BINARY
    if dtype == DTYPE_INT8:
        return VECTOR_INT8
    return VECTOR_FLOAT32 if dtype == DTYPE_FLOAT32 and size % 4 == 0 else BINARY


cdef inline const uint8_t *binary_payload(const Element *element) noexcept nogil:
    """Where the bytes of a binary begin; subtype 2 has a second length before them, NULL when that is not right."""
    cdef const uint8_t *start = element.start
    if start[4] != SUBTYPE_OLD_BINARY:
        return start + 5
    if element.end - start < 9 or <int32_t>get_32(start + 5) != element.end - start - 9:
        return NULL
    return start + 9
