# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""BSON as JSON text for the native converter, byte for byte as `engine.convert.jsontext` defines it."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memchr, memcmp, memcpy, memmove, memset

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
    binary_kind,
    binary_payload,
    string_end,
    value_end,
)
from engine.convert.native_dates cimport write_iso
from engine.convert.native_decimals cimport Decimal, FINITE, of_decimal128, write_decimal, write_integer
from engine.convert.native_doubles cimport is_special, write_double
from engine.convert.native_memory cimport (
    NO_MEMORY,
    OK,
    Buffer,
    Span,
    append,
    append_byte,
    get_32,
    get_64,
    hash_bytes,
    reserve,
)
from engine.convert.native_text cimport (
    HEX,
    clean,
    write_base64,
    write_escaped,
    write_hex,
    write_quoted,
    write_uuid_text,
)
from engine.convert.native_work cimport (
    AS_BINARY,
    CSHARP,
    HIT_DUPLICATE_KEY,
    JAVA,
    Member,
    Style,
    Work,
    add_key,
    corrupt,
)


cdef enum:
    MAX_DEPTH = 200
    FEW_MEMBERS = 15         # are compared with each other; more go into a hash table
    OVERWRITES = 0xFFFFFFFF  # instead of a member's `last`: it is not the first of its name


cdef inline int write_document(
    Work *work, Buffer *out, const Style *style, const uint8_t *start, const uint8_t *end, int depth, bint without_id
) noexcept nogil:
    """A document as a JSON object; `depth` counts levels of nesting, this one included."""
    cdef size_t first = work.members.size, begin = out.size
    cdef const uint8_t *at = start + 4
    cdef const uint8_t *last = end - 1
    cdef const uint8_t *key
    cdef const uint8_t *key_end
    cdef uint8_t kind
    cdef size_t n_members
    cdef int code
    if depth > MAX_DEPTH:
        return corrupt(work)
    if append_byte(out, c"{") < 0:
        return NO_MEMORY
    while at < last:
        kind = at[0]
        key = at + 1
        key_end = <const uint8_t *>memchr(key, 0, last - key)
        if key_end == NULL:
            return corrupt(work)
        at = value_end(kind, key_end + 1, last)
        if at == NULL:
            return corrupt(work)
        if without_id and key_end - key == 3 and memcmp(key, b"_id", 3) == 0:
            continue
        if out.size > begin + 1 and append_byte(out, c",") < 0:
            return NO_MEMORY
        code = write_member(work, out, style, key, key_end, kind, at, depth)
        if code < 0:
            return add_key(work, code, key, key_end - key)
    n_members = (work.members.size - first) // sizeof(Member)
    if n_members > 1:
        code = drop_overwritten(work, out, <Member *>(work.members.data + first), n_members)
        if code < 0:
            return code
    work.members.size = first
    return append_byte(out, c"}")


cdef inline int write_member(
    Work *work,
    Buffer *out,
    const Style *style,
    const uint8_t *key,
    const uint8_t *key_end,
    uint8_t kind,
    const uint8_t *end,
    int depth,
) noexcept nogil:
    """A key and its value, which ends at `end`, remembered on the stack of members."""
    cdef size_t place = work.members.size
    cdef size_t begin = out.size
    cdef Member *member
    cdef int code
    if reserve(&work.members, sizeof(Member)) < 0:
        return NO_MEMORY
    code = write_name(work, out, style, key, key_end - key)
    if code < 0:
        return code
    member = <Member *>(work.members.data + place)
    member.name = begin
    member.value = out.size
    member.hash = hash_bytes(out.data + begin, out.size - begin, work.plan.seed)
    work.members.size += sizeof(Member)
    code = write_value(work, out, style, kind, key_end + 1, end, depth)
    member = <Member *>(work.members.data + place)
    member.end = out.size
    return code


cdef inline int write_name(Work *work, Buffer *out, const Style *style, const uint8_t *key, size_t size) noexcept nogil:
    """A key as it stands in an object, colon included."""
    cdef int code = write_quoted(work, out, style, key, size)
    return code if code < 0 else append_byte(out, c":")


cdef inline int write_array(
    Work *work, Buffer *out, const Style *style, const uint8_t *start, const uint8_t *end, int depth
) noexcept nogil:
    """An array as a JSON array; the keys of its elements say nothing."""
    cdef size_t begin = out.size
    cdef const uint8_t *at = start + 4
    cdef const uint8_t *last = end - 1
    cdef const uint8_t *key
    cdef const uint8_t *key_end
    cdef uint8_t kind
    cdef int code
    if depth > MAX_DEPTH:
        return corrupt(work)
    if append_byte(out, c"[") < 0:
        return NO_MEMORY
    while at < last:
        kind = at[0]
        key = at + 1
        key_end = <const uint8_t *>memchr(key, 0, last - key)
        if key_end == NULL:
            return corrupt(work)
        at = value_end(kind, key_end + 1, last)
        if at == NULL:
            return corrupt(work)
        if out.size > begin + 1 and append_byte(out, c",") < 0:
            return NO_MEMORY
        code = write_value(work, out, style, kind, key_end + 1, at, depth)
        if code < 0:
            return add_key(work, code, key, key_end - key)
    return append_byte(out, c"]")


cdef inline int write_value(
    Work *work, Buffer *out, const Style *style, uint8_t kind, const uint8_t *start, const uint8_t *end, int depth
) noexcept nogil:
    """Any value that `value_end` has accepted; `depth` counts the levels around it."""
    if kind == STRING:
        return write_quoted(work, out, style, start + 4, end - start - 5)
    if kind == DOCUMENT:
        return write_document(work, out, style, start, end, depth + 1, False)
    if kind == ARRAY:
        return write_array(work, out, style, start, end, depth + 1)
    if kind == CODE_WITH_SCOPE:
        return write_code_with_scope(work, out, style, start, end, depth)
    if kind == BOOL:
        return write_bool(work, out, start)
    if kind == NULL_KIND:
        return append(out, b"null", 4)
    if kind == REGEX:
        return write_regex(work, out, style, start, end)
    if kind == BINARY:
        return write_binary(work, out, style, start, end)
    if style.extended:
        return write_extended(work, out, style, kind, start, end)
    if kind == INT32:
        return write_integer(out, <int32_t>get_32(start))
    if kind == INT64:
        return write_integer(out, <int64_t>get_64(start))
    if kind == DOUBLE:
        return write_number(out, kind, start, is_special(get_64(start)))
    if kind == DECIMAL128:
        return write_number(out, kind, start, of_decimal128(start).special != FINITE)
    if kind == OBJECT_ID or kind == DATE:
        if append_byte(out, c'"') < 0:
            return NO_MEMORY
        if (write_hex(out, start, 12) if kind == OBJECT_ID else write_iso(out, <int64_t>get_64(start))) < 0:
            return NO_MEMORY
        return append_byte(out, c'"')
    if kind == JAVASCRIPT or kind == SYMBOL:
        return write_quoted(work, out, style, start + 4, end - start - 5)
    if kind == TIMESTAMP:
        return write_timestamp(out, start)
    return write_rare(work, out, style, kind, start, end)


cdef inline int write_bool(Work *work, Buffer *out, const uint8_t *start) noexcept nogil:
    """`true` or `false`."""
    if start[0] > 1:
        return corrupt(work)
    return append(out, b"true", 4) if start[0] else append(out, b"false", 5)


cdef inline int write_number(Buffer *out, uint8_t kind, const uint8_t *start, bint is_quoted) noexcept nogil:
    """A double or Decimal128, in quotes when JSON has no such number."""
    cdef Decimal decimal
    cdef int code
    if is_quoted and append_byte(out, c'"') < 0:
        return NO_MEMORY
    if kind == DOUBLE:
        code = write_double(out, start)
    else:
        decimal = of_decimal128(start)
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


cdef inline int write_extended(
    Work *work, Buffer *out, const Style *style, uint8_t kind, const uint8_t *start, const uint8_t *end
) noexcept nogil:
    """Values that canonical Extended JSON wraps in an object."""
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
        code = code or write_number(out, kind, start, False)
    elif kind == TIMESTAMP:
        code = append(out, b'{"$timestamp":', 14)
        code = code or write_timestamp(out, start)
        return code or append_byte(out, c"}")
    elif kind == JAVASCRIPT or kind == SYMBOL:
        code = append(out, b'{"$code":', 9) if kind == JAVASCRIPT else append(out, b'{"$symbol":', 11)
        code = code or write_quoted(work, out, style, start + 4, end - start - 5)
        return code or append_byte(out, c"}")
    else:
        return write_rare(work, out, style, kind, start, end)
    return code or append(out, b'"}', 2)


cdef inline int write_rare(
    Work *work, Buffer *out, const Style *style, uint8_t kind, const uint8_t *start, const uint8_t *end
) noexcept nogil:
    """Values that are Extended JSON in either style."""
    cdef int code
    if kind == UNDEFINED:
        return append(out, b'{"$undefined":true}', 19)
    if kind == DB_POINTER:
        code = append(out, b'{"$dbPointer":{"$ref":', 22)
        code = code or write_quoted(work, out, style, start + 4, end - start - 17)
        code = code or append(out, b',"$id":{"$oid":"', 16)
        code = code or write_hex(out, end - 12, 12)
        return code or append(out, b'"}}}', 4)
    return append(out, b'{"$maxKey":1}', 13) if kind == MAX_KEY else append(out, b'{"$minKey":1}', 13)


cdef inline int write_code_with_scope(
    Work *work, Buffer *out, const Style *style, const uint8_t *start, const uint8_t *end, int depth
) noexcept nogil:
    """Code and its scope, which is canonical Extended JSON in either style."""
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


cdef inline int write_regex(
    Work *work, Buffer *out, const Style *style, const uint8_t *start, const uint8_t *end
) noexcept nogil:
    """`"/pattern/flags"`, or both parts apart in Extended JSON."""
    cdef size_t size = <const uint8_t *>memchr(start, 0, end - start) - start
    cdef const uint8_t *options = start + size + 1
    cdef Span pattern
    cdef int code
    if style.extended:
        code = append(out, b'{"$regularExpression":{"pattern":', 33)
        code = code or write_quoted(work, out, style, start, size)
        code = code or append(out, b',"options":', 11)
        code = code or write_quoted(work, out, style, options, end - 1 - options)
        return code or append(out, b"}}", 2)
    code = append(out, b'"/', 2)
    code = code or write_inside_quotes(work, out, style, start, size)
    code = code or append_byte(out, c"/")
    code = code or write_inside_quotes(work, out, style, options, end - 1 - options)
    return code or append_byte(out, c'"')


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


cdef inline int write_binary(
    Work *work, Buffer *out, const Style *style, const uint8_t *start, const uint8_t *end
) noexcept nogil:
    """A UUID or base64; in Extended JSON always base64, with its subtype."""
    cdef int kind = binary_kind(start, end)
    cdef const uint8_t *payload
    cdef uint8_t uuid[16]
    cdef int code
    if not style.extended and (kind == UUID or (kind == UUID_LEGACY and style.uuid_legacy != AS_BINARY)):
        read_uuid(uuid, style, start, end)
        code = append_byte(out, c'"')
        code = code or write_uuid_text(out, uuid)
        return code or append_byte(out, c'"')
    payload = binary_payload(start, end)
    if payload == NULL:
        return corrupt(work)
    code = append(out, b'{"$binary":{"base64":"', 22) if style.extended else append_byte(out, c'"')
    code = code or write_base64(out, payload, end - payload)
    if not style.extended:
        return code or append_byte(out, c'"')
    code = code or append(out, b'","subType":"', 13)
    code = code or write_hex(out, start + 4, 1)
    return code or append(out, b'"}}', 3)


cdef inline void read_uuid(uint8_t *uuid, const Style *style, const uint8_t *start, const uint8_t *end) noexcept nogil:
    """The 16 bytes of a UUID in the order of RFC 9562."""
    cdef const uint8_t *payload = start + 5
    cdef bint is_legacy = binary_kind(start, end) == UUID_LEGACY
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


cdef inline bint is_same_name(const Buffer *out, const Member *one, const Member *other) noexcept nogil:
    """Whether two members have the same key."""
    cdef size_t size = one.value - one.name
    return (
        one.hash == other.hash
        and size == other.value - other.name
        and memcmp(out.data + one.name, out.data + other.name, size) == 0
    )


cdef inline int drop_overwritten(Work *work, Buffer *out, Member *members, size_t n) noexcept nogil:
    """Leave each key of the object at the end of `out` at its first place, with its last value."""
    cdef size_t n_overwritten = 0, number, first, mask = FEW_MEMBERS
    cdef uint32_t *table = NULL
    if n > FEW_MEMBERS:
        while mask < 2 * n:
            mask = 2 * mask + 1
        work.table.size = 0
        if reserve(&work.table, (mask + 1) * sizeof(uint32_t)) < 0:
            return NO_MEMORY
        table = <uint32_t *>work.table.data
        memset(table, 0, (mask + 1) * sizeof(uint32_t))
    for number in range(n):
        first = first_of_name(out, members, number, table, mask)
        members[number].last = OVERWRITES
        members[first].last = <uint32_t>number
        n_overwritten += first != number
    return rewrite(work, out, members, n, n_overwritten) if n_overwritten else OK


cdef inline size_t first_of_name(
    const Buffer *out, const Member *members, size_t number, uint32_t *table, size_t mask
) noexcept nogil:
    """The first member with the name of this one, perhaps itself; a table, if given, holds those before it, plus 1."""
    cdef size_t first = 0, slot
    if table == NULL:
        while not is_same_name(out, &members[first], &members[number]):
            first += 1
        return first
    slot = members[number].hash & mask
    while table[slot]:
        first = table[slot] - 1
        if is_same_name(out, &members[first], &members[number]):
            return first
        slot = (slot + 1) & mask
    table[slot] = <uint32_t>number + 1
    return number


cdef inline int rewrite(Work *work, Buffer *out, const Member *members, size_t n, size_t n_overwritten) noexcept nogil:
    """Write the members of an object again, without the values that were overwritten."""
    cdef size_t begin = members[0].name, number
    cdef const Member *member
    cdef const Member *last
    work.hits[HIT_DUPLICATE_KEY] += n_overwritten
    work.scratch.size = 0
    if append(&work.scratch, out.data + begin, out.size - begin) < 0:
        return NO_MEMORY
    out.size = begin
    for number in range(n):
        member = &members[number]
        if member.last == OVERWRITES:
            continue
        last = &members[member.last]
        # There is room: what is written was part of what stood here.
        if out.size > begin:
            append_byte(out, c",")
        append(out, work.scratch.data + member.name - begin, member.value - member.name)
        append(out, work.scratch.data + last.value - begin, last.end - last.value)
    return OK
