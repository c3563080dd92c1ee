# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""The native census's walk over documents. The steps are those of `engine.mapping.census.Census`, in the same order."""

from libc.math cimport isfinite
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memchr, memcmp, memcpy

from engine.convert.native_bson cimport (
    ARRAY,
    DATE,
    DECIMAL128,
    DECIMAL128_SIZE,
    DOCUMENT,
    DOUBLE,
    INT32,
    INT64,
    JAVASCRIPT,
    SHORTEST_DOCUMENT,
    STRING,
    SYMBOL,
    Element,
    kind_of,
    read_element,
    slot_of,
    value_end,
)
from engine.convert.native_census_fields cimport (
    NONE,
    ROOT,
    Counting,
    Entry,
    elements_of,
    entry_at,
    find_field,
)
from engine.convert.native_decimals cimport FINITE, Decimal, compare, of_decimal128
from engine.convert.native_json cimport MAX_DEPTH
from engine.convert.native_memory cimport FAULT, NO_MEMORY, OK, get_32, get_64
from engine.convert.native_text cimport is_plain_ascii, is_utf8, sequence


cdef extern from *:
    """
    /* What PostgreSQL's timestamps hold, in milliseconds since 1970: engine.mapping.limits. */
    #define CENSUS_FIRST_DATE_MS (-211813488000000LL + 946684800000LL)
    #define CENSUS_LAST_DATE_MS (9223371331200000LL + 946684800000LL - 1)
    """
    const int64_t FIRST_DATE_MS "CENSUS_FIRST_DATE_MS"
    const int64_t LAST_DATE_MS "CENSUS_LAST_DATE_MS"


cdef inline int count_documents(Counting *counting) noexcept nogil:
    """Count the documents of the batch from `position` on; `is_broken` says that there is something else."""
    cdef const uint8_t *document
    cdef int32_t length
    cdef uint64_t depth
    cdef int code
    counting.is_broken = False
    while counting.position < counting.size:
        if counting.size - counting.position < SHORTEST_DOCUMENT:
            counting.is_broken = True
            return OK
        document = counting.batch + counting.position
        length = <int32_t>get_32(document)
        if length < SHORTEST_DOCUMENT or <size_t>length > counting.size - counting.position:
            counting.is_broken = True
            return OK
        counting.n_documents += 1
        counting.n_bytes += length
        if <uint64_t>length > counting.largest:
            counting.largest = length
        code = add_fields(counting, ROOT, document + 4, document + length - 1, counting.levels, &depth)
        if code == NO_MEMORY:
            return code
        if code == FAULT:
            counting.n_corrupt += 1
        counting.position += length
    return OK


cdef inline int add_fields(
    Counting *counting, uint32_t parent, const uint8_t *at, const uint8_t *last, uint32_t levels, uint64_t *deepest
) noexcept nogil:
    """Count the elements between `at` and `last`; `deepest` becomes the levels of the deepest value among them."""
    cdef uint32_t previous = NONE, expected = entry_at(counting, parent).expected_child, number
    cdef const Entry *entry
    cdef Element element
    cdef uint64_t depth
    cdef int code
    deepest[0] = 0
    while at < last:
        entry = entry_at(counting, expected)
        if (
            expected != NONE
            and <size_t>(last - at) > entry.key_size + <size_t>1
            and memcmp(at + 1, counting.names.data + entry.key, entry.key_size + 1) == 0
        ):
            number = expected
            element.start = at + entry.key_size + 2
        else:
            element.start = <const uint8_t *>memchr(at + 1, 0, last - at - 1)
            if element.start == NULL:
                return FAULT
            if find_field(counting, parent, at + 1, element.start - at - 1, &number) < 0:
                return NO_MEMORY
            element.start += 1
        element.kind = at[0]
        element.end = value_end(element.kind, element.start, last)
        if element.end == NULL:
            return FAULT
        at = element.end
        if number == NONE:
            counting.n_untracked += 1
            continue
        if number != expected:
            if previous == NONE:
                entry_at(counting, parent).expected_child = number
            else:
                entry_at(counting, previous).expected_next = number
        previous = number
        expected = entry_at(counting, number).expected_next
        add_value(entry_at(counting, number), &element)
        if element.kind != DOCUMENT and element.kind != ARRAY:
            continue
        code = add_inside(counting, number, &element, levels, &depth)
        if code < 0:
            return code
        if depth > entry_at(counting, number).depth:
            entry_at(counting, number).depth = depth
        if depth > deepest[0]:
            deepest[0] = depth
    return OK


cdef inline int add_inside(
    Counting *counting, uint32_t field, const Element *element, uint32_t levels, uint64_t *depth
) noexcept nogil:
    """Count what is inside a field's document or array; `depth` becomes its levels, itself included."""
    cdef uint32_t elements
    cdef int code
    if element.kind == ARRAY:
        if elements_of(counting, field, &elements) < 0:
            return NO_MEMORY
        code = add_elements(entry_at(counting, elements), element.start + 4, element.end - 1, depth)
    elif levels:
        code = add_fields(counting, field, element.start + 4, element.end - 1, levels - 1, depth)
    else:
        return look_through(entry_at(counting, field), element, 1, depth)
    depth[0] += 1
    return code


cdef inline int add_elements(Entry *elements, const uint8_t *at, const uint8_t *last, uint64_t *deepest) noexcept nogil:
    """Count an array's elements."""
    cdef Element element
    cdef uint64_t depth
    deepest[0] = 0
    while at < last:
        if not read_element(&element, at, last):
            return FAULT
        at = element.end
        add_value(elements, &element)
        if element.kind == DOCUMENT or element.kind == ARRAY:
            if look_through(elements, &element, 2, &depth) < 0:
                return FAULT
            if depth > elements.depth:
                elements.depth = depth
            if depth > deepest[0]:
                deepest[0] = depth
    return OK


cdef inline int look_through(Entry *entry, const Element *container, int level, uint64_t *depth) noexcept nogil:
    """Texts in a document or array whose fields are not told apart; `level` is its own, below the field's column."""
    cdef const uint8_t *at = container.start + 4
    cdef const uint8_t *last = container.end - 1
    cdef Element element
    cdef uint64_t below
    depth[0] = 1
    if level > MAX_DEPTH:
        return FAULT
    while at < last:
        element.key = at + 1
        element.start = <const uint8_t *>memchr(element.key, 0, last - element.key)
        if element.start == NULL:
            return FAULT
        if container.kind == DOCUMENT and not is_utf8(element.key, element.start - element.key):
            entry.n_bad_utf8 += 1
        element.start += 1
        element.kind = at[0]
        element.end = value_end(element.kind, element.start, last)
        if element.end == NULL:
            return FAULT
        at = element.end
        if is_text(element.kind):
            add_text(entry, element.start + 4, element.end - element.start - 5)
        elif element.kind == DOCUMENT or element.kind == ARRAY:
            if look_through(entry, &element, level + 1, &below) < 0:
                return FAULT
            if below + 1 > depth[0]:
                depth[0] = below + 1
    return OK


cdef inline bint is_text(uint8_t kind) noexcept nogil:
    """Whether it is stored as a length, text and a NUL."""
    return kind == STRING or kind == JAVASCRIPT or kind == SYMBOL


cdef inline void add_value(Entry *entry, const Element *element) noexcept nogil:
    """Count one value."""
    cdef uint8_t kind = element.kind
    cdef int slot
    cdef int64_t number
    if is_text(kind):
        add_string(entry, element.start + 4, element.end - element.start - 5)
    elif kind == INT32:
        add_integer(entry, <int32_t>get_32(element.start))
    elif kind == INT64:
        add_integer(entry, <int64_t>get_64(element.start))
    elif kind == DOUBLE:
        add_double(entry, element.start)
    elif kind == DECIMAL128:
        add_decimal(entry, element.start)
    elif kind == DATE:
        number = <int64_t>get_64(element.start)
        if number < FIRST_DATE_MS or number > LAST_DATE_MS:
            entry.n_bad_dates += 1
    slot = slot_of(kind_of(element))
    if not entry.counts[slot]:
        entry.order[entry.n_kinds] = slot
        entry.n_kinds += 1
    entry.counts[slot] += 1


cdef inline void add_integer(Entry *entry, int64_t number) noexcept nogil:
    """Widen the range of integers."""
    if not entry.has_integer or number < entry.low:
        entry.low = number
    if not entry.has_integer or number > entry.high:
        entry.high = number
    entry.has_integer = True


cdef inline void add_double(Entry *entry, const uint8_t *at) noexcept nogil:
    """Widen the range of doubles; those without a place in it are left out."""
    cdef uint64_t bits = get_64(at)
    cdef double number
    memcpy(&number, &bits, 8)
    if isfinite(number):
        if not entry.has_double or number < entry.low_double:
            entry.low_double = number
        if not entry.has_double or number > entry.high_double:
            entry.high_double = number
        entry.has_double = True


cdef inline void add_decimal(Entry *entry, const uint8_t *at) noexcept nogil:
    """Widen the range of Decimal128; those without a place in it are left out."""
    cdef Decimal number = of_decimal128(at), extreme
    if number.special != FINITE:
        return
    if entry.has_decimal:
        extreme = of_decimal128(entry.low_decimal)
    if not entry.has_decimal or compare(&number, &extreme) < 0:
        memcpy(entry.low_decimal, at, DECIMAL128_SIZE)
    if entry.has_decimal:
        extreme = of_decimal128(entry.high_decimal)
    if not entry.has_decimal or compare(&number, &extreme) > 0:
        memcpy(entry.high_decimal, at, DECIMAL128_SIZE)
    entry.has_decimal = True


cdef inline void add_string(Entry *entry, const uint8_t *text, size_t size) noexcept nogil:
    """Count a field's string."""
    cdef uint64_t length = 0
    cdef size_t at = 0
    cdef int part
    if is_plain_ascii(text, size):
        if size > entry.longest:
            entry.longest = size
        return
    if size > entry.longest:
        while at < size:
            part = sequence(text + at, size - at)
            at += part if part > 0 else -part
            length += 1
        if length > entry.longest:
            entry.longest = length
    add_text(entry, text, size)


cdef inline void add_text(Entry *entry, const uint8_t *text, size_t size) noexcept nogil:
    """What PostgreSQL would refuse in a string."""
    if is_plain_ascii(text, size):
        return
    if memchr(text, 0, size) != NULL:
        entry.n_nul += 1
    if not is_utf8(text, size):
        entry.n_bad_utf8 += 1
