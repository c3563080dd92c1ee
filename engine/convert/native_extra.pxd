# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""The column `_extra` of the row in hand: a tree of what did not fit, in which the last value of a name wins.

Nodes are numbered as they come, the first is `_extra` itself; children of a node are a list in the order of their first
appearance, as in a Python dict. A removed node leaves the list but can still be found, and is taken again when its name
comes again: names repeated without end cost no more than others.
"""

from libc.stdint cimport uint32_t
from libc.string cimport memcmp, memset

from engine.convert.native_memory cimport NO_MEMORY, OK, Buffer, Span, append, append_byte, hash_bytes, reserve
from engine.convert.native_work cimport ExtraNode, Level, Work


cdef enum:
    FEW_NODES = 16  # are searched one by one; more go into a hash table


cdef inline ExtraNode *node_at(Work *work, uint32_t number) noexcept nogil:
    """A node; valid until the next one is added."""
    return <ExtraNode *>work.extra_nodes.data + number


cdef inline uint32_t count_nodes(const Work *work) noexcept nogil:
    """Nodes of the row in hand, removed ones and `_extra` itself included."""
    return <uint32_t>(work.extra_nodes.size // sizeof(ExtraNode))


cdef inline bint has_extra(Work *work) noexcept nogil:
    """Whether `_extra` holds anything."""
    return work.extra_nodes.size and node_at(work, 0).first_child


cdef inline uint32_t hash_name(const Work *work, uint32_t parent, Span name) noexcept nogil:
    """A hash of a place in the tree."""
    return hash_bytes(name.data, name.size, work.plan.seed + parent)


cdef inline bint is_named(Work *work, uint32_t number, uint32_t parent, Span name, uint32_t hash) noexcept nogil:
    """Whether this is the node of a place."""
    cdef const ExtraNode *node = node_at(work, number)
    return (
        node.hash == hash
        and node.parent == parent
        and node.name_size == name.size
        and memcmp(work.extra_text.data + node.name, name.data, name.size) == 0
    )


cdef inline uint32_t find_node(Work *work, uint32_t parent, Span name) noexcept nogil:
    """The child of this name, which may be removed; 0: there never was one."""
    cdef uint32_t hash = hash_name(work, parent, name)
    cdef uint32_t number, slot, mask
    cdef const uint32_t *table
    if count_nodes(work) <= FEW_NODES:
        for number in range(1, count_nodes(work)):
            if is_named(work, number, parent, name, hash):
                return number
        return 0
    mask = <uint32_t>(work.extra_table.size // sizeof(uint32_t)) - 1
    table = <uint32_t *>work.extra_table.data
    slot = hash & mask
    while table[slot]:
        if is_named(work, table[slot], parent, name, hash):
            return table[slot]
        slot = (slot + 1) & mask
    return 0


cdef inline int enter_nodes(Work *work) noexcept nogil:
    """Make a table with room for twice the present nodes, and put them into it."""
    cdef size_t n_slots = 4 * FEW_NODES
    cdef uint32_t number
    while n_slots < 4 * <size_t>count_nodes(work):
        n_slots *= 2
    work.extra_table.size = 0
    if reserve(&work.extra_table, n_slots * sizeof(uint32_t)) < 0:
        return NO_MEMORY
    work.extra_table.size = n_slots * sizeof(uint32_t)
    memset(work.extra_table.data, 0, work.extra_table.size)
    for number in range(1, count_nodes(work)):
        enter_node(work, number)
    return OK


cdef inline void enter_node(Work *work, uint32_t number) noexcept nogil:
    """Put a node into the table, which has room."""
    cdef uint32_t mask = <uint32_t>(work.extra_table.size // sizeof(uint32_t)) - 1
    cdef uint32_t slot = node_at(work, number).hash & mask
    cdef uint32_t *table = <uint32_t *>work.extra_table.data
    while table[slot]:
        slot = (slot + 1) & mask
    table[slot] = number


cdef inline int add_root(Work *work) noexcept nogil:
    """Make the node of `_extra` itself, unless it is there."""
    if work.extra_nodes.size:
        return OK
    if reserve(&work.extra_nodes, sizeof(ExtraNode)) < 0:
        return NO_MEMORY
    work.extra_nodes.size = sizeof(ExtraNode)
    memset(node_at(work, 0), 0, sizeof(ExtraNode))
    node_at(work, 0).is_object = True
    return OK


cdef inline int add_node(Work *work, uint32_t parent, size_t name, size_t name_size) noexcept nogil:
    """Add a child behind its siblings; its name lies at this offset in `extra_text`."""
    cdef uint32_t number = count_nodes(work)
    cdef ExtraNode *node
    cdef Span text
    if reserve(&work.extra_nodes, sizeof(ExtraNode)) < 0:
        return NO_MEMORY
    work.extra_nodes.size += sizeof(ExtraNode)
    node = node_at(work, number)
    memset(node, 0, sizeof(ExtraNode))
    text.data = work.extra_text.data + name
    text.size = name_size
    node.name = name
    node.name_size = name_size
    node.parent = parent
    node.hash = hash_name(work, parent, text)
    attach(work, number)
    if number < FEW_NODES:
        return OK
    if number == FEW_NODES or 2 * <size_t>number > work.extra_table.size // sizeof(uint32_t):
        return enter_nodes(work)
    enter_node(work, number)
    return OK


cdef inline void attach(Work *work, uint32_t number) noexcept nogil:
    """Put a node at the end of its parent's list."""
    cdef ExtraNode *node = node_at(work, number)
    cdef ExtraNode *above = node_at(work, node.parent)
    node.is_alive = True
    node.previous = above.last_child
    node.next = 0
    if above.last_child:
        node_at(work, above.last_child).next = number
    else:
        above.first_child = number
    above.last_child = number


cdef inline void detach(Work *work, uint32_t number) noexcept nogil:
    """Take a node out of its parent's list."""
    cdef ExtraNode *node = node_at(work, number)
    cdef ExtraNode *above = node_at(work, node.parent)
    node.is_alive = False
    if node.previous:
        node_at(work, node.previous).next = node.next
    else:
        above.first_child = node.next
    if node.next:
        node_at(work, node.next).previous = node.previous
    else:
        above.last_child = node.previous


cdef inline int place_of(Work *work, const Level *level, uint32_t *place) noexcept nogil:
    """The object in `_extra` for the fields of a level, made where it is not there."""
    cdef uint32_t step, number
    cdef size_t name
    if add_root(work) < 0:
        return NO_MEMORY
    place[0] = 0
    for step in range(level.n_path):
        number = find_node(work, place[0], level.path[step])
        if not number:
            number = count_nodes(work)
            name = work.extra_text.size
            if append(&work.extra_text, level.path[step].data, level.path[step].size) < 0:
                return NO_MEMORY
            if add_node(work, place[0], name, level.path[step].size) < 0:
                return NO_MEMORY
        make_object(work, number)
        place[0] = number
    return OK


cdef inline void make_object(Work *work, uint32_t number) noexcept nogil:
    """Turn a node into an object; an object keeps its members."""
    cdef ExtraNode *node = node_at(work, number)
    cdef uint32_t child
    if node.is_alive and node.is_object:
        return
    child = node.first_child
    while child:
        node_at(work, child).is_alive = False
        child = node_at(work, child).next
    node.first_child = node.last_child = 0
    node.is_object = True
    if not node.is_alive:
        attach(work, number)


cdef inline void set_text(Work *work, uint32_t number, size_t value, size_t size) noexcept nogil:
    """Give a node a value, which lies in `extra_text`."""
    cdef ExtraNode *node = node_at(work, number)
    node.is_object = False
    node.value = value
    node.value_size = size
    if not node.is_alive:
        attach(work, number)


cdef inline bint remove_field(Work *work, const Level *level, Span name) noexcept nogil:
    """Take a field of a level out of `_extra`; whether it was there."""
    cdef uint32_t number = 0, step
    if not work.extra_nodes.size:
        return False
    for step in range(level.n_path):
        number = find_node(work, number, level.path[step])
        if not number or not node_at(work, number).is_alive or not node_at(work, number).is_object:
            return False
    number = find_node(work, number, name)
    if not number or not node_at(work, number).is_alive:
        return False
    detach(work, number)
    return True


cdef inline int write_extra(Work *work, Buffer *out, uint32_t number) noexcept nogil:
    """A node's value as JSON."""
    cdef const ExtraNode *node = node_at(work, number)
    cdef uint32_t child
    if not node.is_object:
        return append(out, work.extra_text.data + node.value, node.value_size)
    if append_byte(out, c"{") < 0:
        return NO_MEMORY
    child = node.first_child
    while child:
        node = node_at(work, child)
        if append(out, work.extra_text.data + node.name, node.name_size) < 0 or write_extra(work, out, child) < 0:
            return NO_MEMORY
        child = node.next
        if child and append_byte(out, c",") < 0:
            return NO_MEMORY
    return append_byte(out, c"}")
