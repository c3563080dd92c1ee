# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""What the native converter's functions share: the compiled mapping, and the work on the batch in hand."""

from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport memset

from engine.convert.native_bson cimport N_SLOTS
from engine.convert.native_memory cimport FAULT, NO_MEMORY, Buffer, Span, reserve


cdef enum:
    # Of all policies; each knows some of them.
    REJECT
    STRIP
    REPLACE
    MAKE_NULL
    CLAMP
    MAKE_INFINITE
    KEEP

cdef enum:
    # Of binary subtype 3.
    AS_BINARY
    PYTHON
    JAVA
    CSHARP

cdef enum:
    # Policies that touched a value.
    HIT_NUL_STRIP
    HIT_NUL_REPLACE
    HIT_UTF8_REPLACE
    HIT_DATE_NULL
    HIT_DATE_CLAMP
    HIT_DATE_INFINITY
    HIT_OVERFLOW
    HIT_DUPLICATE_KEY
    N_HITS

cdef enum:
    REASON_NUL
    REASON_UTF8
    REASON_DATE_RANGE
    REASON_OVERFLOW
    REASON_ID_KIND
    REASON_ID_TOO_LONG
    REASON_NOT_NULL
    REASON_TOO_LONG
    REASON_CORRUPT

cdef enum:
    # What is said of a reject, where the reason does not say it all; from `DETAIL_MISFIT` on, the kind is added.
    DETAIL_OF_REASON
    DETAIL_UNKNOWN_FIELD
    DETAIL_NO_ID
    DETAIL_MISFIT

cdef enum:
    # How a value becomes a field of COPY; the names of `engine.convert.encoders`.
    OP_NONE
    OP_NULL
    OP_JSON
    OP_ARRAY
    OP_STRING
    OP_REGEX
    OP_OBJECT_ID_TEXT
    OP_OBJECT_ID_BYTES
    OP_UUID
    OP_UUID_TEXT
    OP_BYTEA
    OP_BASE64
    OP_BOOL
    OP_BOOL_TEXT
    OP_DATE
    OP_DATE_TEXT
    OP_TURN_4
    OP_TURN_8
    OP_INT64_AS_INTEGER
    OP_INT32_AS_BIGINT
    OP_INT32_AS_DOUBLE
    OP_INT64_AS_DOUBLE
    OP_DOUBLE_AS_INTEGER
    OP_DOUBLE_AS_BIGINT
    OP_REAL_ARRAY
    OP_SMALLINT_ARRAY
    OP_BITS
    OP_VECTOR
    OP_NUMBERS_AS_VECTOR
    OP_INT32_AS_NUMERIC
    OP_INT64_AS_NUMERIC
    OP_DOUBLE_AS_NUMERIC
    OP_DECIMAL128_AS_NUMERIC
    OP_INT32_TEXT
    OP_INT64_TEXT
    OP_DOUBLE_TEXT
    OP_DECIMAL128_TEXT

cdef enum:
    # How the content of a column's values is narrowed: the names of `engine.convert.narrow`.
    NARROW_NOT
    NARROW_SMALLINT
    NARROW_REAL
    NARROW_DATE
    NARROW_STEP
    NARROW_DIGITS
    NARROW_LABELS
    NARROW_PADDED

cdef enum:
    # What a key of a level means.
    ROLE_COLUMN
    ROLE_LEVEL
    ROLE_IGNORED


cdef struct Style:
    # Policies, and how values stand in JSON: `Policies` and `JsonWriter` of the plain converter.
    uint8_t nul
    uint8_t utf8
    uint8_t date_range
    uint8_t overflow
    uint8_t uuid_legacy
    bint extended


cdef struct Column:
    uint8_t operations[N_SLOTS]          # by kind; OP_NONE: the kind does not fit
    uint8_t element_operations[N_SLOTS]  # of a native array's elements
    uint32_t element_oid
    bint is_jsonb
    bint takes_any                       # json and jsonb: every kind fits
    uint8_t narrow                       # NARROW_NOT: its type takes what an operation writes
    int64_t step_us                      # NARROW_STEP: a time has to be a multiple of it
    int precision                        # NARROW_DIGITS, likewise the next
    int scale
    uint64_t length                      # NARROW_PADDED: characters
    Span *labels                         # NARROW_LABELS: the texts that fit, likewise the next
    uint32_t n_labels
    Style style


cdef struct Field:
    # A key of a level.
    Span key
    uint32_t hash
    int role
    uint32_t number                      # of the column or of the level below
    Span name                            # the key as it stands in JSON, colon included


cdef struct Level:
    # The fields of the documents at one path: the top of the document or a flattened field.
    Field *fields                        # in the order of their columns
    uint32_t n_fields
    uint32_t *table                      # hash table of fields: number + 1, 0 is free
    uint32_t table_mask
    Span *path                           # names, in JSON, of the keys that lead here
    uint32_t n_path
    uint32_t *columns                    # of this level and those below
    uint32_t n_columns


cdef struct Constraint:
    # What the table refuses in a column: `Constraint` of `engine.convert.layout`.
    uint32_t column
    bint is_required
    uint32_t length                      # characters; 0: any number
    Span *path                           # keys that lead to the value
    uint32_t n_path


cdef struct Plan:
    # A compiled mapping.
    Column *columns
    uint32_t n_columns
    Level *levels                        # the top one first
    int id_column
    int document_column                  # -1: none; likewise the next two
    int extra_column
    int missing_column
    bint has_to_have_id
    Style rest                           # for fields without a column
    uint32_t *tracked                    # columns whose names `_missing` lists
    Span *tracked_names                  # their paths, each as a field of COPY
    uint32_t n_tracked
    Constraint *constraints              # in the order of their columns
    uint32_t n_constraints
    uint64_t seed                        # of hashes


cdef struct Member:
    # A key and its value in JSON text that is being written; offsets in its buffer.
    size_t name
    size_t value
    size_t end
    uint32_t hash
    uint32_t last                        # number of the last member with this name, in the first of them


cdef struct ExtraNode:
    # A field in `_extra`: JSON text, or the object of a flattened field.
    size_t name                          # offsets in `Work.extra_text`
    size_t name_size
    size_t value
    size_t value_size
    uint32_t hash
    uint32_t parent
    uint32_t first_child                 # 0: none; likewise the next three
    uint32_t last_child
    uint32_t previous                    # in the parent's list
    uint32_t next
    bint is_object
    bint is_alive                        # in the parent's list


cdef struct Rejected:
    size_t offset
    size_t length
    int reason
    int detail
    size_t first_key                     # in `Work.keys`, innermost first
    size_t n_keys


cdef struct Work:
    # One call of `convert`, and what its functions need on the way.
    const Plan *plan
    const uint8_t *batch
    size_t size
    size_t position                      # of the next document
    size_t limit                         # documents
    size_t n_read
    size_t last                          # offset of the last document consumed
    bint has_checksum
    uint64_t checksum
    Buffer out                           # finished tuples, and the one in hand from `row` on
    size_t row
    size_t *fields                       # by column: where its field begins, from `row` on; 0: not met
    bint is_in_order                     # the fields in hand stand in the order of their columns, without a gap
    uint32_t next_column                 # behind the last field written, as long as that is so
    Buffer row_ends                      # of uint64_t, likewise the next
    Buffer row_documents
    Buffer rejected                      # of Rejected
    Buffer keys                          # of Span: keys that lead to what was rejected
    int reason                        # of the last FAULT
    int detail
    uint64_t hits[N_HITS]                # of the document in hand
    uint64_t total_hits[N_HITS]
    bint is_broken                       # the batch breaks at `position`
    Buffer cleaned                       # a text that a policy touched
    Buffer sorted                        # a regular expression's options
    Buffer scratch
    Buffer members                       # of Member: a stack, objects inside objects
    Buffer table                         # of uint32_t: a hash table for one object's keys
    Buffer extra_text                    # names and values in `_extra`
    Buffer extra_nodes                   # of ExtraNode; the first is `_extra` itself
    Buffer extra_table                   # of uint32_t: a hash table of nodes, when there are many


cdef inline int fault(Work *work, int reason) noexcept nogil:
    """The document cannot become a row."""
    work.reason = reason
    work.detail = DETAIL_OF_REASON
    return FAULT


cdef inline int corrupt(Work *work) noexcept nogil:
    """The document breaks the rules of BSON."""
    return fault(work, REASON_CORRUPT)


cdef inline int add_key(Work *work, int code, const uint8_t *key, size_t size) noexcept nogil:
    """On the way out of a nested value: remember the key that led to it; returns `code`."""
    cdef Span *span
    if code == FAULT:
        if reserve(&work.keys, sizeof(Span)) < 0:
            return NO_MEMORY
        span = <Span *>(work.keys.data + work.keys.size)
        span.data = key
        span.size = size
        work.keys.size += sizeof(Span)
    return code


cdef inline void hit(Work *work, int policy) noexcept nogil:
    """Count that a policy touched a value."""
    work.hits[policy] += 1


cdef inline void free_buffer(Buffer *buffer, size_t largest) noexcept nogil:
    """Give back the memory of a buffer that is larger than this."""
    if buffer.capacity > largest:
        free(buffer.data)
        memset(buffer, 0, sizeof(Buffer))


cdef inline void free_buffers(Work *work, size_t largest) noexcept nogil:
    """Give back the memory of all buffers, apart from `out`, that are larger than this."""
    free_buffer(&work.row_ends, largest)
    free_buffer(&work.row_documents, largest)
    free_buffer(&work.rejected, largest)
    free_buffer(&work.keys, largest)
    free_buffer(&work.cleaned, largest)
    free_buffer(&work.sorted, largest)
    free_buffer(&work.scratch, largest)
    free_buffer(&work.members, largest)
    free_buffer(&work.table, largest)
    free_buffer(&work.extra_text, largest)
    free_buffer(&work.extra_nodes, largest)
    free_buffer(&work.extra_table, largest)
