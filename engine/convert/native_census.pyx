# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""The native census: what `engine.mapping.census.Census` counts, without Python objects and without the GIL.

    native_census_walk      documents to their fields
    native_census_fields    what is kept of each field
    native_bson, native_decimals, native_text, native_memory    shared with the native converter

Lengths are checked as in the converter: no value is looked at before its whole extent is known to lie inside its document.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from engine.convert.native_bson cimport DECIMAL128_SIZE, N_SLOTS, slot_of
from engine.convert.native_census_fields cimport NONE, ROOT, Counting, Entry, add_entry, entry_at, grow_table
from engine.convert.native_census_walk cimport count_documents

import os

from engine.mapping.bson import document_end
from engine.mapping.census import BOUNDS, Census, FieldCensus
from engine.mapping.decimal128 import decimal_text, read_decimal128
from engine.mapping.model import Kind

cdef list KINDS = [None] * N_SLOTS
for _kind in Kind:
    KINDS[slot_of(_kind)] = _kind


cdef class NativeCensus:
    """Counts the fields of a collection's documents, for one thread at a time; see `engine.convert.census.Counter`.

    Args:
        flatten: levels of nested documents to look into, as in `MappingOptions.flatten`.
        bounds: `engine.mapping.census.CensusBounds`; fields beyond them are only counted.
    """

    cdef Counting _counting
    cdef bint _is_busy

    def __cinit__(self, uint32_t flatten=0, bounds=BOUNDS):
        cdef uint32_t root
        memset(&self._counting, 0, sizeof(Counting))
        self._counting.levels = flatten
        self._counting.seed = int.from_bytes(os.urandom(8), "little")
        self._counting.max_fields = bounds.fields
        self._counting.max_name_bytes = bounds.name_bytes
        if add_entry(&self._counting, &root) < 0 or grow_table(&self._counting) < 0:
            raise MemoryError

    def __dealloc__(self):
        free(self._counting.entries.data)
        free(self._counting.names.data)
        free(self._counting.table.data)

    def add_batch(self, batch, Py_ssize_t offset=0):
        """Count the documents of a raw batch from byte `offset` on, and return how many there were.

        Raises:
            ValueError: `batch` is not a sequence of whole documents; those before the break are counted.
        """
        cdef Py_buffer view
        cdef uint64_t before = self._counting.n_documents
        cdef int code
        if offset < 0:
            raise ValueError(f"A batch has no byte {offset}.")
        if self._is_busy:
            raise RuntimeError("A census serves one thread at a time.")
        self._is_busy = True
        try:
            PyObject_GetBuffer(batch, &view, PyBUF_SIMPLE)
            try:
                self._counting.batch = <const uint8_t *>view.buf
                self._counting.size = view.len
                self._counting.position = offset
                with nogil:
                    code = count_documents(&self._counting)
            finally:
                PyBuffer_Release(&view)
        finally:
            self._is_busy = False
        if code < 0:
            raise MemoryError
        if self._counting.is_broken:
            document_end(batch, self._counting.position)
            raise ValueError(f"The batch breaks off at byte {self._counting.position}.")
        return self._counting.n_documents - before

    def result(self):
        """What was counted so far, as a `Census`."""
        root = self._field(ROOT)
        root.present = self._counting.n_documents
        census = Census.from_root(self._counting.levels, root)
        census.n_documents = self._counting.n_documents
        census.n_bytes = self._counting.n_bytes
        census.largest = self._counting.largest
        census.n_corrupt = self._counting.n_corrupt
        census.n_untracked = self._counting.n_untracked
        return census

    cdef object _field(self, uint32_t number):
        cdef const Entry *entry = entry_at(&self._counting, number)
        cdef uint32_t child = entry.first_child
        cdef const char *names = <const char *>self._counting.names.data
        cdef const Entry *below
        kinds = {int(KINDS[entry.order[place]]): entry.counts[entry.order[place]] for place in range(entry.n_kinds)}
        seen = FieldCensus(
            present=sum(kinds.values()),
            kinds=kinds,
            longest=entry.longest,
            n_nul=entry.n_nul,
            n_bad_utf8=entry.n_bad_utf8,
            low=entry.low if entry.has_integer else None,
            high=entry.high if entry.has_integer else None,
            low_double=entry.low_double if entry.has_double else None,
            high_double=entry.high_double if entry.has_double else None,
            low_decimal=decimal_at(entry.low_decimal) if entry.has_decimal else None,
            high_decimal=decimal_at(entry.high_decimal) if entry.has_decimal else None,
            n_bad_dates=entry.n_bad_dates,
            depth=entry.depth,
            elements=self._field(entry.elements) if entry.elements != NONE else None,
        )
        while child != NONE:
            below = entry_at(&self._counting, child)
            seen.fields[names[below.key:below.key + below.key_size].decode()] = self._field(child)
            child = below.next_sibling
        return seen


cdef object decimal_at(const uint8_t *value):
    """A Decimal128 as the plain census spells it."""
    return decimal_text(read_decimal128((<const char *>value)[:DECIMAL128_SIZE], 0))
