# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""The walk over a document's elements: which column, level or place in `_extra` each goes to.

The steps are those of `_walk` and what it calls in `engine.convert.plain`.
"""

from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memcmp, memset

from engine.convert.native_bson cimport (
    DOCUMENT,
    NULL_KIND,
    Element,
    kind_of,
    read_element,
    value_end,
)
from engine.convert.native_extra cimport add_node, count_nodes, find_node, node_at, place_of, remove_field, set_text
from engine.convert.native_fields cimport LENGTH_SIZE, NULL_LENGTH, write_field
from engine.convert.native_json cimport write_name, write_value
from engine.convert.native_memory cimport FAULT, MISFIT, NO_MEMORY, OK, Buffer, Span, append_int32, hash_bytes, reserve
from engine.convert.native_work cimport (
    DETAIL_MISFIT,
    DETAIL_UNKNOWN_FIELD,
    HIT_DUPLICATE_KEY,
    HIT_OVERFLOW,
    REASON_ID_KIND,
    REASON_OVERFLOW,
    REJECT,
    ROLE_COLUMN,
    ROLE_LEVEL,
    Column,
    Field,
    Level,
    Style,
    Work,
    add_key,
    corrupt,
    fault,
    hit,
)


cdef inline int walk(Work *work, const Level *level, const uint8_t *at, const uint8_t *last) noexcept nogil:
    """Write the fields of the elements between `at` and `last`."""
    cdef const Field *field
    cdef Element element
    cdef uint32_t expected = 0
    cdef int code
    while at < last:
        # Documents mostly have their fields in the order in which the census met them.
        field = &level.fields[expected]
        if (
            expected < level.n_fields
            and <size_t>(last - at) > field.key.size + 1
            and memcmp(at + 1, field.key.data, field.key.size + 1) == 0
        ):
            element.kind = at[0]
            element.key = at + 1
            element.key_size = field.key.size
            element.start = at + field.key.size + 2
            element.end = value_end(element.kind, element.start, last)
            if element.end == NULL:
                return corrupt(work)
        elif read_element(&element, at, last):
            field = find_field(level, element.key, element.key_size, work.plan.seed)
        else:
            return corrupt(work)
        at = element.end
        if field != NULL:
            expected = <uint32_t>(field - level.fields) + 1
        if field == NULL:
            code = overflow(work, level, NULL, &element) if work.plan.document_column < 0 else OK
        elif field.role == ROLE_COLUMN:
            code = write_column(work, level, field, &element)
        elif field.role == ROLE_LEVEL:
            code = descend(work, level, field, &element)
        else:
            code = OK
        if code < 0:
            return add_key(work, code, element.key, element.key_size)
    return OK


cdef inline const Field *find_field(
    const Level *level, const uint8_t *key, size_t size, uint64_t seed
) noexcept nogil:
    """The field with this key; NULL: there is none."""
    cdef uint32_t hash = hash_bytes(key, size, seed)
    cdef uint32_t slot = hash & level.table_mask
    cdef const Field *field
    while level.table[slot]:
        field = &level.fields[level.table[slot] - 1]
        if field.hash == hash and field.key.size == size and memcmp(field.key.data, key, size) == 0:
            return field
        slot = (slot + 1) & level.table_mask
    return NULL


cdef inline int begin_field(Work *work, uint32_t column) noexcept nogil:
    """A field for this column is written next: NULLs for those left out before it."""
    cdef uint32_t n_skipped
    if work.is_in_order and column >= work.next_column:
        n_skipped = column - work.next_column
        if n_skipped and write_nulls(&work.out, n_skipped) < 0:
            return NO_MEMORY
        work.next_column = column + 1
    else:
        work.is_in_order = False
    work.fields[column] = work.out.size - work.row
    return OK


cdef inline int write_nulls(Buffer *out, uint32_t n) noexcept nogil:
    """Fields that are NULL."""
    if reserve(out, <size_t>n * LENGTH_SIZE) < 0:
        return NO_MEMORY
    memset(out.data + out.size, 0xFF, <size_t>n * LENGTH_SIZE)
    out.size += <size_t>n * LENGTH_SIZE
    return OK


cdef inline int write_null(Work *work, uint32_t column) noexcept nogil:
    """A NULL for this column that counts as met."""
    if begin_field(work, column) < 0:
        return NO_MEMORY
    return append_int32(&work.out, NULL_LENGTH)


cdef inline int write_column(
    Work *work, const Level *level, const Field *field, const Element *element
) noexcept nogil:
    """The field of a value that has a column, or NULL when it does not fit and goes to `_extra`."""
    cdef const Column *column = &work.plan.columns[field.number]
    cdef int code
    if work.fields[field.number]:
        forget(work, level, field)
    if begin_field(work, field.number) < 0:
        return NO_MEMORY
    code = write_field(work, &work.out, column, column.operations, element)
    if code != MISFIT:
        return code if code < 0 else OK
    if append_int32(&work.out, NULL_LENGTH) < 0:
        return NO_MEMORY
    return overflow(work, level, field, element)


cdef inline int descend(Work *work, const Level *level, const Field *field, const Element *element) noexcept nogil:
    """The value of a flattened field."""
    cdef const Level *below = &work.plan.levels[field.number]
    cdef uint32_t number
    forget(work, level, field)
    if element.kind == NULL_KIND:
        for number in range(below.n_columns):
            if write_null(work, below.columns[number]) < 0:
                return NO_MEMORY
        return OK
    if element.kind == DOCUMENT:
        return walk(work, below, element.start + 4, element.end - 1)
    return overflow(work, level, field, element)


cdef inline void forget(Work *work, const Level *level, const Field *field) noexcept nogil:
    """Undo what an earlier element with the same key left, if there was one: the last wins."""
    cdef const uint32_t *columns = &field.number
    cdef uint32_t n_columns = 1, number
    cdef bint was_there = remove_field(work, level, field.name)
    if field.role == ROLE_LEVEL:
        columns = work.plan.levels[field.number].columns
        n_columns = work.plan.levels[field.number].n_columns
    for number in range(n_columns):
        if work.fields[columns[number]]:
            was_there = True
            work.is_in_order = False
            work.fields[columns[number]] = 0
    if was_there:
        hit(work, HIT_DUPLICATE_KEY)


cdef inline int overflow(Work *work, const Level *level, const Field *field, const Element *element) noexcept nogil:
    """Put a value into `_extra` that has no column, or does not fit it, or reject the document.

    `field` is NULL for a key that the level does not have.
    """
    cdef const Style *style = &work.plan.rest
    cdef Buffer *text = &work.extra_text
    cdef uint32_t place, number
    cdef size_t name_at, value_at
    cdef Span name
    cdef int code
    if field != NULL and field.role == ROLE_COLUMN:
        style = &work.plan.columns[field.number].style
        if <int>field.number == work.plan.id_column:
            return misfit(work, REASON_ID_KIND, element)
    if style.overflow == REJECT or work.plan.extra_column < 0:
        if field != NULL:
            return misfit(work, REASON_OVERFLOW, element)
        code = fault(work, REASON_OVERFLOW)
        work.detail = DETAIL_UNKNOWN_FIELD
        return code
    if place_of(work, level, &place) < 0:
        return NO_MEMORY
    name_at = text.size
    code = write_name(work, text, &work.plan.rest, element.key, element.key_size)
    if code < 0:
        return code
    value_at = text.size
    name.data = text.data + name_at
    name.size = value_at - name_at
    number = find_node(work, place, name)
    hit(work, HIT_OVERFLOW)
    if number and node_at(work, number).is_alive:
        hit(work, HIT_DUPLICATE_KEY)
    code = write_value(work, text, style, element, 0)
    if code < 0:
        return code
    if not number:
        number = count_nodes(work)
        if add_node(work, place, name_at, value_at - name_at) < 0:
            return NO_MEMORY
    set_text(work, number, value_at, text.size - value_at)
    return OK


cdef inline int misfit(Work *work, int reason, const Element *element) noexcept nogil:
    """Reject the document for a value that does not fit its column."""
    work.reason = reason
    work.detail = DETAIL_MISFIT + kind_of(element)
    return FAULT
