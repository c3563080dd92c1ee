# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""Documents to rows in the native converter, by the rules that `engine.convert.plain` names.

`native_walk` writes the fields one after the other as the document has them. As long as that is the order of the
columns, which is the rule, the row is then finished; otherwise its fields are put in order at the end.
"""

from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memset

from engine.convert.native_bson cimport SHORTEST_DOCUMENT
from engine.convert.native_crc32 cimport crc32
from engine.convert.native_extra cimport has_extra, write_extra
from engine.convert.native_fields cimport INT32_MAX, JSONB_VERSION, LENGTH_SIZE, NULL_LENGTH, end_field
from engine.convert.native_json cimport write_document
from engine.convert.native_keysize cimport ALWAYS_SHORT, MAX_KEY_BYTES, jsonb_size
from engine.convert.native_memory cimport (
    FAULT,
    NO_MEMORY,
    OK,
    Buffer,
    Span,
    append,
    append_byte,
    append_int32,
    get_32,
    get_big_32,
    put_16,
    reserve,
)
from engine.convert.native_walk cimport begin_field, walk, write_nulls
from engine.convert.native_work cimport (
    DETAIL_NO_ID,
    N_HITS,
    REASON_CORRUPT,
    REASON_ID_KIND,
    REASON_ID_TOO_LONG,
    REASON_NOT_NULL,
    REASON_TOO_LONG,
    Column,
    Constraint,
    Plan,
    Rejected,
    Work,
    add_key,
    corrupt,
    fault,
)


cdef enum:
    ROW_HEADER = 2  # bytes: the number of fields
    TEXT_OID = 25


cdef inline int convert_documents(Work *work) noexcept nogil:
    """Convert up to `limit` documents from `position` on; NO_MEMORY is the only way to fail.

    Stops with `is_broken` at a document that does not lie in the batch as a whole.
    """
    cdef const uint8_t *document
    cdef size_t room, length
    cdef int code
    while work.position < work.size and work.n_read < work.limit:
        document = work.batch + work.position
        room = work.size - work.position
        length = get_32(document) if room >= SHORTEST_DOCUMENT else 0
        if length < SHORTEST_DOCUMENT or length > room or length > INT32_MAX:
            work.is_broken = True
            return OK
        work.last = work.position
        work.position += length
        if work.has_checksum:
            work.checksum += crc32(document, length)
        work.n_read += 1
        code = write_row(work, document, document + length)
        if code == OK:
            code = end_row(work)
        elif code == FAULT:
            code = end_reject(work, length)
        if code < 0:
            return code
    return OK


cdef inline int end_row(Work *work) noexcept nogil:
    """Keep the row in hand and what policies did to it."""
    cdef int policy
    if reserve(&work.row_ends, 8) < 0 or reserve(&work.row_documents, 8) < 0:
        return NO_MEMORY
    (<uint64_t *>(work.row_ends.data + work.row_ends.size))[0] = work.out.size
    (<uint64_t *>(work.row_documents.data + work.row_documents.size))[0] = work.last
    work.row_ends.size += 8
    work.row_documents.size += 8
    for policy in range(N_HITS):
        work.total_hits[policy] += work.hits[policy]
    return OK


cdef inline int end_reject(Work *work, size_t length) noexcept nogil:
    """Drop the row in hand and keep why."""
    cdef Rejected *rejected
    cdef size_t first_key = 0
    if reserve(&work.rejected, sizeof(Rejected)) < 0:
        return NO_MEMORY
    rejected = <Rejected *>(work.rejected.data + work.rejected.size)
    if work.rejected.size:
        first_key = (rejected - 1).first_key + (rejected - 1).n_keys
    if work.reason == REASON_CORRUPT:
        work.keys.size = first_key * sizeof(Span)
    rejected.offset = work.last
    rejected.length = length
    rejected.reason = work.reason
    rejected.detail = work.detail
    rejected.first_key = first_key
    rejected.n_keys = work.keys.size // sizeof(Span) - first_key
    work.rejected.size += sizeof(Rejected)
    work.out.size = work.row
    return OK


cdef inline int write_row(Work *work, const uint8_t *document, const uint8_t *end) noexcept nogil:
    """One document as a tuple at the end of `work.out`."""
    cdef const Plan *plan = work.plan
    cdef size_t key
    cdef int code
    memset(work.hits, 0, sizeof(work.hits))
    memset(work.fields, 0, plan.n_columns * sizeof(size_t))
    work.members.size = work.extra_nodes.size = work.extra_text.size = 0
    work.row = work.out.size
    work.is_in_order = True
    work.next_column = 0
    if (end - 1)[0]:
        return corrupt(work)
    if reserve(&work.out, ROW_HEADER) < 0:
        return NO_MEMORY
    put_16(work.out.data + work.row, plan.n_columns)
    work.out.size += ROW_HEADER
    code = walk(work, plan.levels, document + 4, end - 1)
    if code < 0:
        return code
    key = work.fields[plan.id_column]
    if key or plan.has_to_have_id:
        code = check_id(work, key)
        if code < 0:
            return code
    code = write_own_columns(work, document, end)
    if code < 0:
        return code
    if plan.n_constraints:
        code = check_constraints(work)
        if code < 0:
            return code
    return write_in_order(work)


cdef inline int check_id(Work *work, size_t key) noexcept nogil:
    """Reject a document whose `_id` is not there, or is too long for an index; `key` is where its field begins."""
    cdef const uint8_t *field = work.out.data + work.row + key
    cdef size_t size
    cdef int code
    if not key:
        code = fault(work, REASON_ID_KIND)
        work.detail = DETAIL_NO_ID
        return add_key(work, code, b"_id", 3)
    if get_big_32(field) == <uint32_t>NULL_LENGTH:
        return OK
    size = get_big_32(field)
    if size + LENGTH_SIZE <= ALWAYS_SHORT:
        return OK
    if size <= MAX_KEY_BYTES and work.plan.columns[work.plan.id_column].is_jsonb:
        size = jsonb_size(field + LENGTH_SIZE + 1, size - 1)
    if size > MAX_KEY_BYTES:
        return add_key(work, fault(work, REASON_ID_TOO_LONG), b"_id", 3)
    return OK


cdef inline int check_constraints(Work *work) noexcept nogil:
    """Reject a row that the table would refuse, or cut: PostgreSQL drops blanks that are too many for a varchar(n)."""
    cdef const Constraint *constraint
    cdef const uint8_t *field
    cdef size_t begin, size
    cdef uint32_t number
    for number in range(work.plan.n_constraints):
        constraint = &work.plan.constraints[number]
        begin = work.fields[constraint.column]
        field = work.out.data + work.row + begin
        if not begin or get_big_32(field) == <uint32_t>NULL_LENGTH:
            if constraint.is_required:
                return refuse(work, constraint, REASON_NOT_NULL)
            continue
        size = get_big_32(field)
        if constraint.length and size > constraint.length:
            if count_characters(field + LENGTH_SIZE, size) > constraint.length:
                return refuse(work, constraint, REASON_TOO_LONG)
    return OK


cdef inline size_t count_characters(const uint8_t *text, size_t size) noexcept nogil:
    """Characters of valid UTF-8: every byte but those that continue one."""
    cdef size_t number, n_characters = 0
    for number in range(size):
        n_characters += (text[number] & 0xC0) != 0x80
    return n_characters


cdef inline int refuse(Work *work, const Constraint *constraint, int reason) noexcept nogil:
    """The document cannot become a row because of this column."""
    cdef const Span *key
    cdef uint32_t depth
    cdef int code = fault(work, reason)
    for depth in range(constraint.n_path, 0, -1):
        key = &constraint.path[depth - 1]
        code = add_key(work, code, key.data, key.size)
    return code


cdef inline int write_own_columns(Work *work, const uint8_t *document, const uint8_t *end) noexcept nogil:
    """The columns that no single field goes to: the whole document, `_missing` and `_extra`."""
    cdef const Plan *plan = work.plan
    cdef Buffer *out = &work.out
    cdef size_t begin
    cdef int code
    if plan.document_column >= 0:
        if begin_field(work, plan.document_column) < 0:
            return NO_MEMORY
        begin = out.size
        code = begin_json(out, &plan.columns[plan.document_column])
        code = code or write_document(work, out, &plan.columns[plan.document_column].style, document, end, 1, True)
        code = code or end_field(work, out, begin)
        if code < 0:
            return code
    if plan.missing_column >= 0:
        code = write_missing(work)
        if code < 0:
            return code
    if plan.extra_column >= 0 and has_extra(work):
        if begin_field(work, plan.extra_column) < 0:
            return NO_MEMORY
        begin = out.size
        code = begin_json(out, &plan.columns[plan.extra_column])
        code = code or write_extra(work, out, 0)
        return code or end_field(work, out, begin)
    return OK


cdef inline int begin_json(Buffer *out, const Column *column) noexcept nogil:
    """What stands before the text of a json or jsonb field."""
    if append_int32(out, 0) < 0:
        return NO_MEMORY
    return append_byte(out, JSONB_VERSION) if column.is_jsonb else OK


cdef inline int write_missing(Work *work) noexcept nogil:
    """The names of mapped fields that the document does not have, as text[]."""
    cdef const Plan *plan = work.plan
    cdef Buffer *out = &work.out
    cdef uint32_t number, n_missing = 0
    cdef size_t begin
    for number in range(plan.n_tracked):
        n_missing += not work.fields[plan.tracked[number]]
    if begin_field(work, plan.missing_column) < 0:
        return NO_MEMORY
    begin = out.size
    if append_int32(out, 0) < 0 or append_int32(out, n_missing != 0) < 0:
        return NO_MEMORY
    if append_int32(out, 0) < 0 or append_int32(out, TEXT_OID) < 0:
        return NO_MEMORY
    if n_missing and (append_int32(out, n_missing) < 0 or append_int32(out, 1) < 0):
        return NO_MEMORY
    for number in range(plan.n_tracked):
        if not work.fields[plan.tracked[number]]:
            if append(out, plan.tracked_names[number].data, plan.tracked_names[number].size) < 0:
                return NO_MEMORY
    return end_field(work, out, begin)


cdef inline int write_in_order(Work *work) noexcept nogil:
    """Finish the row: NULLs for columns that were not met, and all fields in the order of their columns."""
    cdef Buffer *out = &work.out
    cdef uint32_t column
    cdef size_t begin, size
    cdef const uint8_t *field
    if work.is_in_order:
        return write_nulls(out, work.plan.n_columns - work.next_column)
    begin = work.row + ROW_HEADER
    work.scratch.size = 0
    if append(&work.scratch, out.data + work.row, out.size - work.row) < 0:
        return NO_MEMORY
    out.size = begin
    for column in range(work.plan.n_columns):
        if not work.fields[column]:
            if append_int32(out, NULL_LENGTH) < 0:
                return NO_MEMORY
            continue
        field = work.scratch.data + work.fields[column]
        size = get_big_32(field)
        if append(out, field, LENGTH_SIZE + (0 if size == <uint32_t>NULL_LENGTH else size)) < 0:
            return NO_MEMORY
    return OK
