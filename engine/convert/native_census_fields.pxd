# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""The fields of the native census: what was seen at each path, and how a key finds its entry.

Entry 0 is the documents themselves. The elements of a field's arrays are one entry without a name of its own.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcmp, memset

from engine.convert.native_bson cimport DECIMAL128_SIZE, N_SLOTS
from engine.convert.native_memory cimport NO_MEMORY, OK, Buffer, append, append_byte, hash_bytes, reserve
from engine.convert.native_text cimport is_utf8


cdef enum:
    ROOT = 0
    NONE = 0             # no entry has the root as a child, a follower or its elements
    FIRST_TABLE = 256    # places in the table of keys at first; a power of two


cdef struct Entry:
    # What was seen at one path, as in `engine.mapping.census.FieldCensus`.
    uint64_t counts[N_SLOTS]
    uint8_t order[N_SLOTS]  # slots of the kinds, as they first appeared
    uint8_t n_kinds
    bint is_elements  # of arrays: no key leads to it
    bint has_integer
    bint has_double
    bint has_decimal
    int64_t low
    int64_t high
    double low_double
    double high_double
    uint8_t low_decimal[DECIMAL128_SIZE]  # as in BSON
    uint8_t high_decimal[DECIMAL128_SIZE]
    uint64_t longest
    uint64_t n_nul
    uint64_t n_bad_utf8
    uint64_t n_bad_dates
    uint64_t depth
    # Its place among the others.
    size_t key  # in `Counting.names`, a NUL behind it
    uint32_t key_size
    uint32_t hash
    uint32_t parent
    uint32_t elements
    uint32_t first_child
    uint32_t last_child
    uint32_t next_sibling
    # Documents mostly have their fields in the same order: the first child, and the next sibling, of the last document.
    uint32_t expected_child
    uint32_t expected_next


cdef struct Counting:
    # A census that is going on, and the batch that it is about.
    const uint8_t *batch
    size_t size
    size_t position
    bint is_broken      # there is no whole document at `position`
    uint32_t levels     # of nested documents whose fields are told apart
    uint64_t seed
    uint64_t n_documents
    uint64_t n_bytes
    uint64_t largest
    uint64_t n_corrupt
    uint64_t n_untracked
    uint32_t max_fields
    size_t max_name_bytes
    uint32_t n_fields
    size_t n_name_bytes
    Buffer entries
    Buffer names
    Buffer table        # numbers of entries by hash; as many places as a power of two, half of them free
    uint32_t mask


cdef inline Entry *entry_at(const Counting *counting, uint32_t number) noexcept nogil:
    """An entry; it moves when one is added."""
    return <Entry *>counting.entries.data + number


cdef inline int add_entry(Counting *counting, uint32_t *number) noexcept nogil:
    """An entry with nothing seen."""
    number[0] = <uint32_t>(counting.entries.size // sizeof(Entry))
    if reserve(&counting.entries, sizeof(Entry)) < 0:
        return NO_MEMORY
    memset(counting.entries.data + counting.entries.size, 0, sizeof(Entry))
    counting.entries.size += sizeof(Entry)
    return OK


cdef inline int elements_of(Counting *counting, uint32_t field, uint32_t *number) noexcept nogil:
    """The entry for the elements of a field's arrays."""
    number[0] = entry_at(counting, field).elements
    if number[0] != NONE:
        return OK
    if add_entry(counting, number) < 0:
        return NO_MEMORY
    entry_at(counting, number[0]).is_elements = True
    entry_at(counting, field).elements = number[0]
    return OK


cdef inline bint is_named(const Counting *counting, const Entry *entry, const uint8_t *key, size_t size) noexcept nogil:
    """Whether this is the entry's key."""
    return entry.key_size == size and memcmp(counting.names.data + entry.key, key, size) == 0


cdef inline int find_field(
    Counting *counting, uint32_t parent, const uint8_t *key, size_t size, uint32_t *number
) noexcept nogil:
    """The entry of a key inside `parent`, a new one perhaps; `NONE` when it may not have one."""
    cdef uint32_t hash = hash_bytes(key, size, counting.seed ^ parent * <uint64_t>0x9E3779B97F4A7C15)
    cdef uint32_t *table = <uint32_t *>counting.table.data
    cdef uint32_t place = hash & counting.mask
    cdef const Entry *entry
    while table[place] != NONE:
        number[0] = table[place]
        entry = entry_at(counting, number[0])
        if entry.hash == hash and entry.parent == parent and is_named(counting, entry, key, size):
            return OK
        place = (place + 1) & counting.mask
    number[0] = NONE
    if (
        counting.n_fields >= counting.max_fields
        or size > counting.max_name_bytes - counting.n_name_bytes
        or not is_utf8(key, size)
    ):
        return OK
    return add_field(counting, parent, key, size, hash, number)


cdef inline int add_field(
    Counting *counting, uint32_t parent, const uint8_t *key, size_t size, uint32_t hash, uint32_t *number
) noexcept nogil:
    """A new entry, behind the others of `parent`."""
    cdef size_t name = counting.names.size
    cdef Entry *entry
    cdef Entry *above
    if (<size_t>counting.n_fields + 1) * 2 > counting.mask and grow_table(counting) < 0:
        return NO_MEMORY
    if append(&counting.names, key, size) < 0 or append_byte(&counting.names, 0) < 0:
        return NO_MEMORY
    if add_entry(counting, number) < 0:
        return NO_MEMORY
    entry = entry_at(counting, number[0])
    entry.key = name
    entry.key_size = <uint32_t>size
    entry.hash = hash
    entry.parent = parent
    above = entry_at(counting, parent)
    if above.last_child != NONE:
        entry_at(counting, above.last_child).next_sibling = number[0]
    else:
        above.first_child = number[0]
    above.last_child = number[0]
    enter(<uint32_t *>counting.table.data, counting.mask, hash, number[0])
    counting.n_fields += 1
    counting.n_name_bytes += size
    return OK


cdef inline void enter(uint32_t *table, uint32_t mask, uint32_t hash, uint32_t number) noexcept nogil:
    """Put an entry into a table that has room."""
    cdef uint32_t place = hash & mask
    while table[place] != NONE:
        place = (place + 1) & mask
    table[place] = number


cdef inline int grow_table(Counting *counting) noexcept nogil:
    """A table of twice the size (or the first one), with the entries of every key."""
    cdef size_t places = FIRST_TABLE
    cdef uint32_t number
    cdef uint32_t n_entries = <uint32_t>(counting.entries.size // sizeof(Entry))
    cdef const Entry *entry
    if counting.table.size:
        places = 2 * (<size_t>counting.mask + 1)
    if reserve(&counting.table, places * sizeof(uint32_t) - counting.table.size) < 0:
        return NO_MEMORY
    counting.table.size = places * sizeof(uint32_t)
    counting.mask = <uint32_t>(places - 1)
    memset(counting.table.data, 0, counting.table.size)
    for number in range(1, n_entries):
        entry = entry_at(counting, number)
        if not entry.is_elements:
            enter(<uint32_t *>counting.table.data, counting.mask, entry.hash, number)
    return OK
