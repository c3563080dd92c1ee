# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""Encoders of the native converter: one BSON value to the content of one field of COPY's binary format.

What each operation does is said in `engine.convert.encoders`, which these agree with byte for byte.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memchr, memcpy

from engine.convert.native_bson cimport (
    DOUBLE,
    INT32,
    INT64,
    VECTOR_START,
    Element,
    binary_payload,
    kind_of,
    read_element,
    slot_of,
)
from engine.convert.native_dates cimport EPOCH_SHIFT_MS, FIRST_DATE_MS, LAST_DATE_MS, write_iso
from engine.convert.native_decimals cimport (
    Decimal,
    of_decimal128,
    of_double,
    of_integer,
    write_decimal,
    write_integer,
    write_numeric,
    write_whole_numeric,
)
from engine.convert.native_doubles cimport is_huge, write_full_double
from engine.convert.native_json cimport read_uuid, write_bool, write_value
from engine.convert.native_memory cimport (
    MISFIT,
    NO_MEMORY,
    NULL_VALUE,
    OK,
    Buffer,
    Span,
    append,
    append_byte,
    append_int32,
    get_32,
    get_64,
    put_32,
    put_64,
    reserve,
    sort_bytes,
)
from engine.convert.native_narrow cimport narrow_content
from engine.convert.native_text cimport clean, is_plain_ascii, write_base64, write_hex, write_text, write_uuid_text
from engine.convert.native_work cimport (
    CLAMP,
    HIT_DATE_CLAMP,
    HIT_DATE_INFINITY,
    HIT_DATE_NULL,
    MAKE_NULL,
    N_HITS,
    OP_ARRAY,
    OP_BASE64,
    OP_BITS,
    OP_BOOL,
    OP_BOOL_TEXT,
    OP_BYTEA,
    OP_DATE,
    OP_DATE_TEXT,
    OP_DECIMAL128_TEXT,
    OP_DOUBLE_AS_BIGINT,
    OP_DOUBLE_AS_INTEGER,
    OP_DOUBLE_AS_NUMERIC,
    OP_DOUBLE_TEXT,
    OP_INT32_AS_BIGINT,
    OP_INT32_AS_DOUBLE,
    OP_INT32_AS_NUMERIC,
    OP_INT32_TEXT,
    OP_INT64_AS_DOUBLE,
    OP_INT64_AS_INTEGER,
    OP_INT64_AS_NUMERIC,
    OP_INT64_TEXT,
    OP_JSON,
    OP_NULL,
    OP_NUMBERS_AS_VECTOR,
    OP_OBJECT_ID_BYTES,
    OP_OBJECT_ID_TEXT,
    OP_REAL_ARRAY,
    OP_REGEX,
    OP_SMALLINT_ARRAY,
    OP_STRING,
    OP_TURN_4,
    OP_TURN_8,
    OP_UUID,
    OP_UUID_TEXT,
    OP_VECTOR,
    REASON_DATE_RANGE,
    REJECT,
    Column,
    Style,
    Work,
    add_key,
    corrupt,
    fault,
    hit,
)


cdef enum:
    LENGTH_SIZE = 4  # bytes before each field's content
    NULL_LENGTH = -1
    INT32_MAX = 0x7FFFFFFF
    JSONB_VERSION = 1
    REAL_OID = 700
    SMALLINT_OID = 21
    MOST_DIMENSIONS = 16000  # of `engine.convert.encoders`

cdef extern from *:
    """
    #define NATIVE_EXACT_INTEGER (INT64_C(1) << 53)
    #define NATIVE_INT64_END 9223372036854775808.0
    """
    const double INT64_END "NATIVE_INT64_END"
    const int64_t EXACT_INTEGER "NATIVE_EXACT_INTEGER"
    const int64_t INT64_MAX
    const int64_t INT64_MIN


cdef inline int write_field(
    Work *work, Buffer *out, const Column *column, const uint8_t *operations, const Element *element
) noexcept nogil:
    """A whole field: its length and its content. NULL_VALUE when it is a NULL; after MISFIT `out` is as before."""
    cdef size_t begin = out.size
    cdef int operation = operations[slot_of(kind_of(element))]
    cdef int code
    if not operation:
        return MISFIT
    if reserve(out, LENGTH_SIZE) < 0:
        return NO_MEMORY
    out.size += LENGTH_SIZE
    if column.narrow and operation != OP_ARRAY:
        code = write_narrowed(work, out, column, operation, element)
    else:
        code = write_content(work, out, column, operation, element)
    if code < 0:
        return code
    if code == MISFIT:
        out.size = begin
        return MISFIT
    if code == NULL_VALUE:
        out.size = begin + LENGTH_SIZE
        put_32(out.data + begin, <uint32_t>NULL_LENGTH)
        return NULL_VALUE
    return end_field(work, out, begin)


cdef inline int write_narrowed(
    Work *work, Buffer *out, const Column *column, int operation, const Element *element
) noexcept nogil:
    """The content of a field of a column that holds less than the type which the operation writes."""
    cdef size_t begin = out.size
    cdef uint64_t hits[N_HITS]
    cdef int code
    memcpy(hits, work.hits, sizeof(hits))
    code = write_content(work, out, column, operation, element)
    if code == OK:
        code = narrow_content(out, begin, column)
        if code == MISFIT:
            memcpy(work.hits, hits, sizeof(hits))
    return code


cdef inline int end_field(Work *work, Buffer *out, size_t begin) noexcept nogil:
    """Fill in the length of the field that began at `begin` and ends where `out` does."""
    cdef size_t size = out.size - begin - LENGTH_SIZE
    if size > INT32_MAX:
        return corrupt(work)
    put_32(out.data + begin, <uint32_t>size)
    return OK


cdef inline int write_content(
    Work *work, Buffer *out, const Column *column, int operation, const Element *element
) noexcept nogil:
    """The content of a field; MISFIT when the value does not fit, NULL_VALUE when it becomes NULL."""
    cdef const uint8_t *start = element.start
    cdef const uint8_t *end = element.end
    cdef int64_t number
    cdef const uint8_t *payload
    cdef uint8_t uuid[16]
    if operation == OP_STRING:
        return write_text(work, out, &column.style, start + 4, end - start - 5)
    if operation == OP_JSON:
        if column.is_jsonb and append_byte(out, JSONB_VERSION) < 0:
            return NO_MEMORY
        return write_value(work, out, &column.style, element, 0)
    if operation == OP_NULL:
        return NULL_VALUE
    if operation == OP_TURN_4:
        return append_int32(out, get_32(start))
    if operation == OP_TURN_8:
        return append_int64(out, get_64(start))
    if operation == OP_OBJECT_ID_TEXT:
        return write_hex(out, start, 12)
    if operation == OP_BOOL:
        return append_byte(out, start[0]) if start[0] <= 1 else corrupt(work)
    if operation == OP_DATE:
        return write_date(work, out, &column.style, <int64_t>get_64(start))
    if operation == OP_ARRAY:
        return write_elements(work, out, column, element)
    if operation == OP_INT64_AS_INTEGER:
        number = <int64_t>get_64(start)
        return append_int32(out, number) if number == <int32_t>number else MISFIT
    if operation == OP_INT32_AS_BIGINT:
        return append_int64(out, <uint64_t><int64_t><int32_t>get_32(start))
    if operation == OP_INT32_AS_DOUBLE:
        return append_double(out, <double><int32_t>get_32(start))
    if operation == OP_INT64_AS_DOUBLE:
        number = <int64_t>get_64(start)
        return append_double(out, <double>number) if -EXACT_INTEGER <= number <= EXACT_INTEGER else MISFIT
    if operation == OP_DOUBLE_AS_INTEGER or operation == OP_DOUBLE_AS_BIGINT:
        return write_double_as_integer(out, operation, get_64(start))
    if operation == OP_UUID or operation == OP_UUID_TEXT:
        read_uuid(uuid, &column.style, element)
        return append(out, uuid, 16) if operation == OP_UUID else write_uuid_text(out, uuid)
    if operation == OP_BYTEA or operation == OP_BASE64:
        payload = binary_payload(element)
        if payload == NULL:
            return corrupt(work)
        if operation == OP_BYTEA:
            return append(out, payload, end - payload)
        return write_base64(out, payload, end - payload)
    if OP_REAL_ARRAY <= operation <= OP_VECTOR:
        return write_vector(out, operation, start, end)
    if operation == OP_NUMBERS_AS_VECTOR:
        return write_numbers_as_vector(work, out, element)
    if operation == OP_OBJECT_ID_BYTES:
        return append(out, start, 12)
    if operation == OP_REGEX:
        return write_regex_text(work, out, &column.style, element)
    if operation == OP_BOOL_TEXT:
        return write_bool(work, out, start)
    return write_as_decimal(out, operation, start)


cdef inline int write_vector(Buffer *out, int operation, const uint8_t *start, const uint8_t *end) noexcept nogil:
    """A vector as an array, as bits, or as pgvector's `vector`."""
    cdef const uint8_t *at = start + VECTOR_START
    cdef size_t size = end - at
    cdef size_t n = size if operation == OP_SMALLINT_ARRAY else size // 4
    if operation == OP_BITS:
        return append(out, at, size) if append_int32(out, 8 * size - start[6]) == OK else NO_MEMORY
    if operation == OP_VECTOR:
        if not 0 < n <= MOST_DIMENSIONS:
            return MISFIT
        if append_int32(out, n << 16) < 0:
            return NO_MEMORY
        while at < end:
            if append_int32(out, get_32(at)) < 0:
                return NO_MEMORY
            at += 4
        return OK
    if append_int32(out, 1 if n else 0) < 0 or append_int32(out, 0) < 0:
        return NO_MEMORY
    if append_int32(out, SMALLINT_OID if operation == OP_SMALLINT_ARRAY else REAL_OID) < 0:
        return NO_MEMORY
    if n and (append_int32(out, n) < 0 or append_int32(out, 1) < 0):
        return NO_MEMORY
    while at < end:
        if operation == OP_REAL_ARRAY:
            if append_int32(out, 4) < 0 or append_int32(out, get_32(at)) < 0:
                return NO_MEMORY
            at += 4
        else:
            if append_int32(out, 2) < 0 or append_byte(out, 0xFF if at[0] & 0x80 else 0) < 0:
                return NO_MEMORY
            if append_byte(out, at[0]) < 0:
                return NO_MEMORY
            at += 1
    return OK


cdef inline int write_numbers_as_vector(Work *work, Buffer *out, const Element *array) noexcept nogil:
    """An array of numbers as pgvector's `vector`, each rounded to 32 bits; MISFIT when it cannot be one."""
    cdef const uint8_t *at = array.start + 4
    cdef size_t begin = out.size, n = 0
    cdef bint does_fit = True
    cdef Element element
    cdef uint64_t bits
    cdef uint32_t word
    cdef double number
    cdef float real
    if append_int32(out, 0) < 0:
        return NO_MEMORY
    while at < array.end - 1:
        if not read_element(&element, at, array.end - 1):
            return corrupt(work)
        at = element.end
        if element.kind == DOUBLE:
            bits = get_64(element.start)
            memcpy(&number, &bits, 8)
        elif element.kind == INT32:
            number = <double><int32_t>get_32(element.start)
        elif element.kind == INT64:
            number = <double><int64_t>get_64(element.start)
        else:
            does_fit = False
        if not does_fit:
            continue
        real = <float>number
        if real - real != 0 and number - number == 0:  # became infinite
            does_fit = False
            continue
        memcpy(&word, &real, 4)
        n += 1
        if append_int32(out, word) < 0:
            return NO_MEMORY
    if not does_fit or not 0 < n <= MOST_DIMENSIONS:
        return MISFIT
    put_32(out.data + begin, <uint32_t>n << 16)
    return OK


cdef inline int write_double_as_integer(Buffer *out, int operation, uint64_t bits) noexcept nogil:
    """A double that is whole and in range as an integer; MISFIT for others."""
    cdef double number
    cdef int64_t whole
    memcpy(&number, &bits, 8)
    if not -INT64_END <= number < INT64_END:
        return MISFIT
    whole = <int64_t>number
    if <double>whole != number:
        return MISFIT
    if operation == OP_DOUBLE_AS_BIGINT:
        return append_int64(out, <uint64_t>whole)
    return append_int32(out, whole) if whole == <int32_t>whole else MISFIT


cdef inline int write_as_decimal(Buffer *out, int operation, const uint8_t *start) noexcept nogil:
    """Numbers as numeric, numbers and dates as text."""
    cdef Decimal decimal
    if operation == OP_DATE_TEXT:
        return write_iso(out, <int64_t>get_64(start))
    if operation == OP_INT32_TEXT:
        return write_integer(out, <int32_t>get_32(start))
    if operation == OP_INT64_TEXT:
        return write_integer(out, <int64_t>get_64(start))
    if operation == OP_DOUBLE_TEXT:
        return write_full_double(out, start)
    if operation == OP_INT32_AS_NUMERIC:
        decimal = of_integer(<int32_t>get_32(start))
    elif operation == OP_INT64_AS_NUMERIC:
        decimal = of_integer(<int64_t>get_64(start))
    elif operation == OP_DOUBLE_AS_NUMERIC:
        if is_huge(get_64(start)):
            return write_whole_numeric(out, get_64(start))
        decimal = of_double(get_64(start))
    else:
        decimal = of_decimal128(start)
    if operation == OP_DECIMAL128_TEXT:
        return write_decimal(out, &decimal)
    return write_numeric(out, &decimal)


cdef inline int append_int64(Buffer *out, uint64_t value) noexcept nogil:
    """A big-endian number of eight bytes."""
    if reserve(out, 8) < 0:
        return NO_MEMORY
    put_64(out.data + out.size, value)
    out.size += 8
    return OK


cdef inline int append_double(Buffer *out, double value) noexcept nogil:
    """A big-endian double."""
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    return append_int64(out, bits)


cdef inline int write_date(Work *work, Buffer *out, const Style *style, int64_t ms) noexcept nogil:
    """A timestamptz, under the policy for dates that it cannot hold."""
    cdef bint is_early = ms < FIRST_DATE_MS
    if is_early or ms > LAST_DATE_MS:
        if style.date_range == REJECT:
            return fault(work, REASON_DATE_RANGE)
        if style.date_range == MAKE_NULL:
            hit(work, HIT_DATE_NULL)
            return NULL_VALUE
        if style.date_range != CLAMP:
            hit(work, HIT_DATE_INFINITY)
            return append_int64(out, <uint64_t>(INT64_MIN if is_early else INT64_MAX))
        hit(work, HIT_DATE_CLAMP)
        ms = FIRST_DATE_MS if is_early else LAST_DATE_MS
    return append_int64(out, <uint64_t>((ms - EPOCH_SHIFT_MS) * 1000))


cdef inline int write_regex_text(Work *work, Buffer *out, const Style *style, const Element *element) noexcept nogil:
    """`/pattern/flags`."""
    cdef const uint8_t *start = element.start
    cdef size_t begin = out.size
    cdef size_t size = element.end - 1 - start
    cdef size_t options
    cdef Span text
    cdef int code
    if append_byte(out, c"/") < 0 or append(out, start, size) < 0:
        return NO_MEMORY
    options = <const uint8_t *>memchr(start, 0, size) - start + 1
    out.data[begin + options] = c"/"
    sort_bytes(out.data + begin + options + 1, size - options)
    text.data = out.data + begin
    text.size = out.size - begin
    if is_plain_ascii(text.data, text.size):
        return OK
    code = clean(work, style, &text)
    if code < 0 or text.data == out.data + begin:
        return code
    out.size = begin
    return append(out, text.data, text.size)


cdef inline int write_elements(Work *work, Buffer *out, const Column *column, const Element *array) noexcept nogil:
    """A one-dimensional array from index 1 on (`array_recv`); MISFIT at the first element that does not fit."""
    cdef const uint8_t *at = array.start + 4
    cdef Element element
    cdef uint64_t hits[N_HITS]
    cdef size_t begin = out.size
    cdef uint32_t n_elements = 0
    cdef bint has_null = False
    cdef int code
    memcpy(hits, work.hits, sizeof(hits))
    if append_int32(out, 0) < 0 or append_int32(out, 0) < 0 or append_int32(out, column.element_oid) < 0:
        return NO_MEMORY
    while at < array.end - 1:
        if not read_element(&element, at, array.end - 1):
            return corrupt(work)
        at = element.end
        if not n_elements and (append_int32(out, 0) < 0 or append_int32(out, 1) < 0):
            return NO_MEMORY
        code = write_field(work, out, column, column.element_operations, &element)
        if code < 0:
            return add_key(work, code, element.key, element.key_size)
        if code == MISFIT:
            memcpy(work.hits, hits, sizeof(hits))
            return MISFIT
        has_null |= code == NULL_VALUE
        n_elements += 1
    if n_elements:
        put_32(out.data + begin, 1)
        put_32(out.data + begin + 4, has_null)
        put_32(out.data + begin + 12, n_elements)
    return OK
