# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""BSON as JSON text for the native converter, byte for byte as `engine.convert.jsontext` defines it."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memchr, memcmp, memcpy, memmove

from engine.convert.native_bson cimport (
    ARRAY,
    BINARY,
    BOOL,
    CODE_WITH_SCOPE,
    DATE,
    DB_POINTER,
    DECIMAL128,
    DOCUMENT,
    DOUBLE,
    INT32,
    INT64,
    JAVASCRIPT,
    MAX_KEY,
    NULL_KIND,
    OBJECT_ID,
    REGEX,
    STRING,
    SYMBOL,
    TIMESTAMP,
    UNDEFINED,
    UUID,
    UUID_LEGACY,
    Element,
    binary_payload,
    kind_of,
    read_element,
    string_end,
    value_end,
)
from engine.convert.native_dates cimport write_iso
from engine.convert.native_decimals cimport FINITE, Decimal, of_decimal128, write_decimal, write_integer
from engine.convert.native_doubles cimport is_special, write_double, write_exact_double
from engine.convert.native_members cimport drop_overwritten, push_member
from engine.convert.native_memory cimport NO_MEMORY, OK, Buffer, append, append_byte, get_32, get_64, is_sorted, sort_bytes
from engine.convert.native_text cimport write_base64, write_hex, write_quoted, write_uuid_text
from engine.convert.native_work cimport AS_BINARY, CSHARP, JAVA, Member, Style, Work, add_key, corrupt


cdef enum:
    MAX_DEPTH = 200


cdef inline int write_document(
    Work *work, Buffer *out, const Style *style, const uint8_t *start, const uint8_t *end, int depth, bint without_id
) noexcept nogil:
    """A document as a JSON object; `depth` counts levels of nesting, this one included."""
    cdef size_t first = work.members.size, begin = out.size
    cdef const uint8_t *at = start + 4
    cdef Element element
    cdef int code
    if depth > MAX_DEPTH:
        return corrupt(work)
    if append_byte(out, c"{") < 0:
        return NO_MEMORY
    while at < end - 1:
        if not read_element(&element, at, end - 1):
            return corrupt(work)
        at = element.end
        if without_id and element.key_size == 3 and memcmp(element.key, b"_id", 3) == 0:
            continue
        if out.size > begin + 1 and append_byte(out, c",") < 0:
            return NO_MEMORY
        code = write_member(work, out, style, &element, depth)
        if code < 0:
            return add_key(work, code, element.key, element.key_size)
    code = drop_overwritten(work, out, first)
    return code or append_byte(out, c"}")


cdef inline int write_member(
    Work *work, Buffer *out, const Style *style, const Element *element, int depth
) noexcept nogil:
    """A key and its value, remembered on the stack of members."""
    cdef size_t begin = out.size
    cdef size_t place = work.members.size
    cdef int code = write_name(work, out, style, element.key, element.key_size)
    code = code or push_member(work, out, begin)
    if code < 0:
        return code
    code = write_value(work, out, style, element, depth)
    (<Member *>(work.members.data + place)).end = out.size
    return code


cdef inline int write_name(Work *work, Buffer *out, const Style *style, const uint8_t *key, size_t size) noexcept nogil:
    """A key as it stands in an object, colon included."""
    cdef int code = write_quoted(work, out, style, key, size)
    return code or append_byte(out, c":")


cdef inline int write_array(
    Work *work, Buffer *out, const Style *style, const Element *array, int depth
) noexcept nogil:
    """An array as a JSON array; the keys of its elements say nothing."""
    cdef size_t begin = out.size
    cdef const uint8_t *at = array.start + 4
    cdef Element element
    cdef int code
    if depth > MAX_DEPTH:
        return corrupt(work)
    if append_byte(out, c"[") < 0:
        return NO_MEMORY
    while at < array.end - 1:
        if not read_element(&element, at, array.end - 1):
            return corrupt(work)
        at = element.end
        if out.size > begin + 1 and append_byte(out, c",") < 0:
            return NO_MEMORY
        code = write_value(work, out, style, &element, depth)
        if code < 0:
            return add_key(work, code, element.key, element.key_size)
    return append_byte(out, c"]")


cdef inline int write_value(
    Work *work, Buffer *out, const Style *style, const Element *element, int depth
) noexcept nogil:
    """Any value; `depth` counts the levels around it."""
    cdef uint8_t kind = element.kind
    cdef const uint8_t *start = element.start
    if kind == STRING:
        return write_string(work, out, style, element)
    if kind == DOCUMENT:
        return write_document(work, out, style, start, element.end, depth + 1, False)
    if kind == ARRAY:
        return write_array(work, out, style, element, depth + 1)
    if kind == CODE_WITH_SCOPE:
        return write_code_with_scope(work, out, style, element, depth)
    if kind == BOOL:
        return write_bool(work, out, start)
    if kind == NULL_KIND:
        return append(out, b"null", 4)
    if kind == REGEX:
        return write_regex(work, out, style, element)
    if kind == BINARY:
        return write_binary(work, out, style, element)
    if style.extended:
        return write_extended(work, out, style, element)
    if kind == INT32:
        return write_integer(out, <int32_t>get_32(start))
    if kind == INT64:
        return write_integer(out, <int64_t>get_64(start))
    if kind == DOUBLE:
        return write_number(out, element, is_special(get_64(start)))
    if kind == DECIMAL128:
        return write_number(out, element, of_decimal128(start).special != FINITE)
    if kind == OBJECT_ID or kind == DATE:
        if append_byte(out, c'"') < 0:
            return NO_MEMORY
        if (write_hex(out, start, 12) if kind == OBJECT_ID else write_iso(out, <int64_t>get_64(start))) < 0:
            return NO_MEMORY
        return append_byte(out, c'"')
    if kind == JAVASCRIPT or kind == SYMBOL:
        return write_string(work, out, style, element)
    if kind == TIMESTAMP:
        return write_timestamp(out, start)
    return write_rare(work, out, style, element)


cdef inline int write_string(Work *work, Buffer *out, const Style *style, const Element *element) noexcept nogil:
    """A value stored like a string, quoted."""
    return write_quoted(work, out, style, element.start + 4, element.end - element.start - 5)


cdef inline int write_bool(Work *work, Buffer *out, const uint8_t *start) noexcept nogil:
    """`true` or `false`."""
    if start[0] > 1:
        return corrupt(work)
    return append(out, b"true", 4) if start[0] else append(out, b"false", 5)


cdef inline int write_number(Buffer *out, const Element *element, bint is_quoted) noexcept nogil:
    """A double or Decimal128, in quotes when JSON has no such number."""
    cdef Decimal decimal
    cdef int code
    if is_quoted and append_byte(out, c'"') < 0:
        return NO_MEMORY
    if element.kind == DOUBLE:
        code = write_exact_double(out, element.start)
    else:
        decimal = of_decimal128(element.start)
        code = write_decimal(out, &decimal)
    if code < 0 or not is_quoted:
        return code
    return append_byte(out, c'"')


cdef inline int write_timestamp(Buffer *out, const uint8_t *start) noexcept nogil:
    """`{"t":seconds,"i":increment}`."""
    if append(out, b'{"t":', 5) < 0 or write_integer(out, get_32(start + 4)) < 0:
        return NO_MEMORY
    if append(out, b',"i":', 5) < 0 or write_integer(out, get_32(start)) < 0:
        return NO_MEMORY
    return append_byte(out, c"}")


cdef inline int write_extended(Work *work, Buffer *out, const Style *style, const Element *element) noexcept nogil:
    """Values that canonical Extended JSON wraps in an object."""
    cdef uint8_t kind = element.kind
    cdef const uint8_t *start = element.start
    cdef int code
    if kind == OBJECT_ID:
        code = append(out, b'{"$oid":"', 9)
        code = code or write_hex(out, start, 12)
    elif kind == INT32:
        code = append(out, b'{"$numberInt":"', 15)
        code = code or write_integer(out, <int32_t>get_32(start))
    elif kind == INT64:
        code = append(out, b'{"$numberLong":"', 16)
        code = code or write_integer(out, <int64_t>get_64(start))
    elif kind == DATE:
        code = append(out, b'{"$date":{"$numberLong":"', 25)
        code = code or write_integer(out, <int64_t>get_64(start))
        code = code or append(out, b'"}}', 3)
        return code
    elif kind == DOUBLE:
        code = append(out, b'{"$numberDouble":"', 18)
        code = code or write_double(out, start)
    elif kind == DECIMAL128:
        code = append(out, b'{"$numberDecimal":"', 19)
        code = code or write_number(out, element, False)
    elif kind == TIMESTAMP:
        code = append(out, b'{"$timestamp":', 14)
        code = code or write_timestamp(out, start)
        return code or append_byte(out, c"}")
    elif kind == JAVASCRIPT or kind == SYMBOL:
        code = append(out, b'{"$code":', 9) if kind == JAVASCRIPT else append(out, b'{"$symbol":', 11)
        code = code or write_string(work, out, style, element)
        return code or append_byte(out, c"}")
    else:
        return write_rare(work, out, style, element)
    return code or append(out, b'"}', 2)


cdef inline int write_rare(Work *work, Buffer *out, const Style *style, const Element *element) noexcept nogil:
    """Values that are Extended JSON in either style."""
    cdef const uint8_t *start = element.start
    cdef const uint8_t *end = element.end
    cdef int code
    if element.kind == UNDEFINED:
        return append(out, b'{"$undefined":true}', 19)
    if element.kind == DB_POINTER:
        code = append(out, b'{"$dbPointer":{"$ref":', 22)
        code = code or write_quoted(work, out, style, start + 4, end - start - 17)
        code = code or append(out, b',"$id":{"$oid":"', 16)
        code = code or write_hex(out, end - 12, 12)
        return code or append(out, b'"}}}', 4)
    return append(out, b'{"$maxKey":1}', 13) if element.kind == MAX_KEY else append(out, b'{"$minKey":1}', 13)


cdef inline int write_code_with_scope(
    Work *work, Buffer *out, const Style *style, const Element *element, int depth
) noexcept nogil:
    """Code and its scope, which is canonical Extended JSON in either style."""
    cdef const uint8_t *start = element.start
    cdef const uint8_t *end = element.end
    cdef const uint8_t *code_end = string_end(start + 4, end - 1)
    cdef Style scope_style = style[0]
    cdef int code
    if code_end == NULL or value_end(DOCUMENT, code_end, end) != end:
        return corrupt(work)
    scope_style.extended = True
    code = append(out, b'{"$code":', 9)
    code = code or write_quoted(work, out, style, start + 8, code_end - start - 9)
    code = code or append(out, b',"$scope":', 10)
    code = code or write_document(work, out, &scope_style, code_end, end, depth + 1, False)
    return code or append_byte(out, c"}")


cdef inline int write_regex(Work *work, Buffer *out, const Style *style, const Element *element) noexcept nogil:
    """`"/pattern/flags"`, or both parts apart in Extended JSON."""
    cdef const uint8_t *start = element.start
    cdef size_t size = <const uint8_t *>memchr(start, 0, element.end - start) - start
    cdef const uint8_t *options = start + size + 1
    cdef size_t options_size = element.end - 1 - options
    cdef size_t place
    cdef int code
    if style.extended:
        code = append(out, b'{"$regularExpression":{"pattern":', 33)
        code = code or write_quoted(work, out, style, start, size)
        code = code or append(out, b',"options":', 11)
        code = code or write_options(work, out, style, options, options_size)
        return code or append(out, b"}}", 2)
    code = append(out, b'"/', 2)
    code = code or write_inside_quotes(work, out, style, start, size)
    code = code or append_byte(out, c"/")
    place = out.size
    code = code or write_options(work, out, style, options, options_size)
    if code < 0:
        return code
    # Between the pattern's quotes, so without their own.
    out.size -= 2
    memmove(out.data + place, out.data + place + 1, out.size - place)
    return append_byte(out, c'"')


cdef inline int write_options(
    Work *work, Buffer *out, const Style *style, const uint8_t *options, size_t size
) noexcept nogil:
    """A regular expression's options as a JSON string, in the order of the alphabet."""
    cdef int code
    if is_sorted(options, size):
        return write_quoted(work, out, style, options, size)
    work.sorted.size = 0
    if append(&work.sorted, options, size) < 0:
        return NO_MEMORY
    sort_bytes(work.sorted.data, size)
    return write_quoted(work, out, style, work.sorted.data, size)


cdef inline int write_inside_quotes(
    Work *work, Buffer *out, const Style *style, const uint8_t *text, size_t size
) noexcept nogil:
    """Part of a JSON string."""
    cdef size_t begin = out.size
    cdef int code = write_quoted(work, out, style, text, size)
    if code < 0:
        return code
    out.size -= 2
    memmove(out.data + begin, out.data + begin + 1, out.size - begin)
    return OK


cdef inline int write_binary(Work *work, Buffer *out, const Style *style, const Element *element) noexcept nogil:
    """A UUID or base64; in Extended JSON always base64, with its subtype."""
    cdef int kind = kind_of(element)
    cdef const uint8_t *payload
    cdef uint8_t uuid[16]
    cdef int code
    if not style.extended and (kind == UUID or (kind == UUID_LEGACY and style.uuid_legacy != AS_BINARY)):
        read_uuid(uuid, style, element)
        code = append_byte(out, c'"')
        code = code or write_uuid_text(out, uuid)
        return code or append_byte(out, c'"')
    payload = binary_payload(element)
    if payload == NULL:
        return corrupt(work)
    code = append(out, b'{"$binary":{"base64":"', 22) if style.extended else append_byte(out, c'"')
    code = code or write_base64(out, payload, element.end - payload)
    if not style.extended:
        return code or append_byte(out, c'"')
    code = code or append(out, b'","subType":"', 13)
    code = code or write_hex(out, element.start + 4, 1)
    return code or append(out, b'"}}', 3)


cdef inline void read_uuid(uint8_t *uuid, const Style *style, const Element *element) noexcept nogil:
    """The 16 bytes of a UUID in the order of RFC 9562."""
    cdef const uint8_t *payload = element.start + 5
    cdef bint is_legacy = kind_of(element) == UUID_LEGACY
    cdef int at
    memcpy(uuid, payload, 16)
    if is_legacy and style.uuid_legacy == JAVA:
        for at in range(8):
            uuid[at] = payload[7 - at]
            uuid[8 + at] = payload[15 - at]
    elif is_legacy and style.uuid_legacy == CSHARP:
        for at in range(4):
            uuid[at] = payload[3 - at]
        for at in range(2):
            uuid[4 + at] = payload[5 - at]
            uuid[6 + at] = payload[7 - at]
