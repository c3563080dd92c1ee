# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""The members of JSON objects while they are written: a key that comes twice keeps its first place and its last value.

They are a stack, since objects are inside objects. Most objects have no key twice, so their text is written straight
away, and written again only where it turns out to be wrong.
"""

from libc.stdint cimport uint32_t
from libc.string cimport memcmp, memset

from engine.convert.native_memory cimport NO_MEMORY, OK, Buffer, append, append_byte, hash_bytes, reserve
from engine.convert.native_work cimport HIT_DUPLICATE_KEY, Member, Work


cdef enum:
    FEW_MEMBERS = 15         # are compared with each other; more go into a hash table
    OVERWRITES = 0xFFFFFFFF  # instead of a member's `last`: it is not the first of its name


cdef inline int push_member(Work *work, const Buffer *out, size_t name) noexcept nogil:
    """Remember a member whose name begins at this offset of `out` and has just been written."""
    cdef Member *member
    if reserve(&work.members, sizeof(Member)) < 0:
        return NO_MEMORY
    member = <Member *>(work.members.data + work.members.size)
    member.name = name
    member.value = out.size
    member.hash = hash_bytes(out.data + name, out.size - name, work.plan.seed)
    work.members.size += sizeof(Member)
    return OK


cdef inline bint is_same_name(const Buffer *out, const Member *one, const Member *other) noexcept nogil:
    """Whether two members have the same key."""
    cdef size_t size = one.value - one.name
    return (
        one.hash == other.hash
        and size == other.value - other.name
        and memcmp(out.data + one.name, out.data + other.name, size) == 0
    )


cdef inline int drop_overwritten(Work *work, Buffer *out, size_t base) noexcept nogil:
    """Take the members of the object at the end of `out` off the stack, down to `base`.

    Each key is left at its first place, with its last value.
    """
    cdef Member *members = <Member *>(work.members.data + base)
    cdef size_t n = (work.members.size - base) // sizeof(Member)
    cdef size_t n_overwritten = 0, number, first, mask = FEW_MEMBERS
    cdef uint32_t *table = NULL
    work.members.size = base
    if n < 2:
        return OK
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
        # There is room: what is written is a part of what was here.
        if out.size > begin:
            append_byte(out, c",")
        append(out, work.scratch.data + member.name - begin, member.value - member.name)
        append(out, work.scratch.data + last.value - begin, last.end - last.value)
    return OK
