# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""Memory of the native converter: growing buffers, numbers in either byte order, hashes. Nothing here needs the GIL."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t, uint8_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy, memset


cdef extern from *:
    """
    /* Fuzzing sets this: a buffer is then never larger than asked for, and a sanitizer sees every byte too many. */
    #ifndef NATIVE_TIGHT_BUFFERS
    #define NATIVE_TIGHT_BUFFERS 0
    #endif
    """
    const bint TIGHT_BUFFERS "NATIVE_TIGHT_BUFFERS"
    const size_t SIZE_MAX

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject **string, Py_ssize_t size)
    char *PyBytes_AS_STRING(PyObject *string)
    void PyErr_Clear()


cdef enum:
    OK = 0
    MISFIT = 1       # the value does not fit the column
    NULL_VALUE = 2   # the value becomes NULL
    FAULT = -1       # the document cannot become a row; `Work.reason` says why
    NO_MEMORY = -2

cdef enum:
    FIRST_CAPACITY = 4096  # bytes


cdef struct Buffer:
    # Bytes that grow at their end.
    uint8_t *data
    size_t size
    size_t capacity
    PyObject *owner  # the bytes object that `data` lies in; NULL: `data` comes from malloc


cdef struct Span:
    # Some bytes that are kept elsewhere.
    const uint8_t *data
    size_t size


cdef inline int grow(Buffer *buffer, size_t more) noexcept nogil:
    """Grow the buffer by at least `more` bytes; called by `reserve`."""
    cdef size_t capacity = buffer.size + more
    cdef void *data
    if capacity < more or capacity > SIZE_MAX // 4:
        return NO_MEMORY
    if not TIGHT_BUFFERS:
        if capacity < FIRST_CAPACITY:
            capacity = FIRST_CAPACITY
        if capacity < buffer.capacity + buffer.capacity // 2:
            capacity = buffer.capacity + buffer.capacity // 2
    if buffer.owner != NULL:
        with gil:
            if _PyBytes_Resize(&buffer.owner, <Py_ssize_t>capacity) < 0:
                PyErr_Clear()
                buffer.data = NULL
                buffer.size = buffer.capacity = 0
                return NO_MEMORY
            buffer.data = <uint8_t *>PyBytes_AS_STRING(buffer.owner)
    else:
        data = realloc(buffer.data, capacity)
        if data == NULL:
            return NO_MEMORY
        buffer.data = <uint8_t *>data
    buffer.capacity = capacity
    return OK


cdef inline int reserve(Buffer *buffer, size_t more) noexcept nogil:
    """Make sure that `more` bytes may be written at `data + size`; moves `data`."""
    if buffer.capacity - buffer.size >= more:
        return OK
    return grow(buffer, more)


cdef inline int append(Buffer *buffer, const void *data, size_t size) noexcept nogil:
    """Add bytes that do not lie in this buffer."""
    if reserve(buffer, size) < 0:
        return NO_MEMORY
    if size:
        memcpy(buffer.data + buffer.size, data, size)
    buffer.size += size
    return OK


cdef inline int append_byte(Buffer *buffer, uint8_t value) noexcept nogil:
    """Add one byte."""
    if reserve(buffer, 1) < 0:
        return NO_MEMORY
    buffer.data[buffer.size] = value
    buffer.size += 1
    return OK


cdef inline int append_int32(Buffer *buffer, int64_t value) noexcept nogil:
    """Add a big-endian number of four bytes."""
    if reserve(buffer, 4) < 0:
        return NO_MEMORY
    put_32(buffer.data + buffer.size, <uint32_t>value)
    buffer.size += 4
    return OK


# BSON is little-endian, PostgreSQL's formats are big-endian; compilers make one instruction of each of these.

cdef inline uint32_t get_32(const uint8_t *at) noexcept nogil:
    return at[0] | <uint32_t>at[1] << 8 | <uint32_t>at[2] << 16 | <uint32_t>at[3] << 24


cdef inline uint64_t get_64(const uint8_t *at) noexcept nogil:
    return get_32(at) | <uint64_t>get_32(at + 4) << 32


cdef inline void put_16(uint8_t *at, uint16_t value) noexcept nogil:
    at[0] = <uint8_t>(value >> 8)
    at[1] = <uint8_t>value


cdef inline void put_32(uint8_t *at, uint32_t value) noexcept nogil:
    at[0] = <uint8_t>(value >> 24)
    at[1] = <uint8_t>(value >> 16)
    at[2] = <uint8_t>(value >> 8)
    at[3] = <uint8_t>value


cdef inline void put_64(uint8_t *at, uint64_t value) noexcept nogil:
    put_32(at, <uint32_t>(value >> 32))
    put_32(at + 4, <uint32_t>value)


cdef inline uint32_t get_big_32(const uint8_t *at) noexcept nogil:
    return at[3] | <uint32_t>at[2] << 8 | <uint32_t>at[1] << 16 | <uint32_t>at[0] << 24


cdef inline uint64_t load_word(const uint8_t *at) noexcept nogil:
    """Eight bytes in the machine's order, from anywhere."""
    cdef uint64_t word
    memcpy(&word, at, 8)
    return word


cdef inline uint32_t hash_bytes(const uint8_t *data, size_t size, uint64_t seed) noexcept nogil:
    """A hash for tables in memory; with a random seed no keys can be chosen that collide.

    Multiply and fold, as in wyhash (github.com/wangyi-fudan/wyhash).
    """
    cdef uint64_t state = seed ^ (size * <uint64_t>0x9E3779B97F4A7C15)
    cdef uint64_t word = 0
    cdef const uint8_t *end = data + size
    while end - data >= 8:
        state = fold(state ^ load_word(data), <uint64_t>0xA0761D6478BD642F ^ seed)
        data += 8
    memcpy(&word, data, end - data)
    state = fold(state ^ word, <uint64_t>0xE7037ED1A0B428DB ^ seed)
    return <uint32_t>(state ^ state >> 32)


cdef extern from *:
    """
    static inline uint64_t native_fold(uint64_t a, uint64_t b) {
        unsigned __int128 product = (unsigned __int128)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    """
    uint64_t fold "native_fold"(uint64_t a, uint64_t b) noexcept nogil


cdef inline bint is_sorted(const uint8_t *data, size_t size) noexcept nogil:
    """Whether bytes are in order."""
    cdef size_t at
    for at in range(1, size):
        if data[at] < data[at - 1]:
            return False
    return True


cdef inline void sort_bytes(uint8_t *data, size_t size) noexcept nogil:
    """Put bytes in order, by counting them: a damaged document may have millions."""
    cdef size_t counts[256]
    cdef size_t at, n
    cdef int byte
    if is_sorted(data, size):
        return
    memset(counts, 0, sizeof(counts))
    for at in range(size):
        counts[data[at]] += 1
    at = 0
    for byte in range(256):
        n = counts[byte]
        memset(data + at, byte, n)
        at += n
