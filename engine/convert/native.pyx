# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""The native converter: what `engine.convert.plain` does, byte for byte, without Python objects and without the GIL.

A mapping is compiled once into C structures (`native_plan.pxi`, `native_work.pxd`). `convert` then runs one C loop over
the batch (`native_rows.pxd`), and only what it leaves becomes Python objects: the bytes of the tuples, where they end,
and the rejects. One subject a file:

    native_rows      batches to rows: order of fields, `_id`, `_missing`, rejects
    native_walk      elements to their columns
    native_extra     the tree of `_extra`
    native_fields    values to fields of COPY
    native_narrow    values that a column which was there already holds less of
    native_json      values to JSON text
    native_members   keys that come twice in a JSON object
    native_text      UTF-8, policies, JSON strings, hex, base64
    native_doubles, native_decimals, native_dates, native_keysize, native_crc32
    native_bson      framing: where a value ends
    native_work      the C structures that these share
    native_memory    growing buffers, byte orders, hashes
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from engine.convert.native_bson cimport N_SLOTS, slot_of
from engine.convert.native_crc32 cimport make_crc_tables
from engine.convert.native_doubles cimport FIRST_POWER, LAST_POWER, powers
from engine.convert.native_memory cimport TIGHT_BUFFERS, Buffer, Span, _PyBytes_Resize, hash_bytes
from engine.convert.native_rows cimport convert_documents
from engine.convert.native_work cimport *

import os
from array import array

from engine.convert.encoders import BINARY_KINDS, ELEMENT_OIDS, with_length
from engine.rows import Converted, Reject
from engine.convert.jsontext import quote
from engine.convert.layout import build_levels, constraints
from engine.convert.rejection import (
    CORRUPT,
    DATE_RANGE,
    DETAILS,
    ID_KIND,
    ID_TOO_LONG,
    MISSING_ID_DETAIL,
    NOT_NULL,
    NUL,
    OVERFLOW,
    TOO_LONG,
    UNKNOWN_FIELD_DETAIL,
    UTF8,
    misfit_detail,
)
from engine.convert.strings import Policies
from engine.mapping.bson import STRING_KINDS, document_end
from engine.mapping.kinds import JSON_TYPES, VECTORS
from engine.mapping.model import ColumnType, Kind
from engine.mapping.model import Role as ColumnRole
from engine.mapping.names import show_path

include "native_plan.pxi"

cdef enum:
    SPARE_ROOM = 65536        # bytes for tuples beyond what is expected
    LARGEST_KEPT = 1_048_576  # bytes of a buffer that waits for the next call

cdef double MOST_EXPANSION = 2  # bytes of tuples per byte read for which room is made at first

cdef tuple HIT_NAMES = (
    "nul.strip", "nul.replace", "utf8.replace", "date_range.null", "date_range.clamp", "date_range.infinity",
    "overflow", "duplicate_key",
)
cdef tuple REASON_NAMES = (
    NUL, UTF8, DATE_RANGE, OVERFLOW, ID_KIND, ID_TOO_LONG, NOT_NULL, TOO_LONG, CORRUPT,
)
assert len(HIT_NAMES) == N_HITS and len(REASON_NAMES) == REASON_CORRUPT + 1

make_crc_tables()
make_powers()


cdef class NativeConverter:
    """Converts documents for one mapping; see `engine.convert.interface.Converter`.

    Raises:
        UsageError: the mapping contradicts itself.
    """

    name = "native"

    cdef CompiledMapping _mapping
    cdef Work _work
    cdef bint _is_busy
    cdef double _bytes_per_document
    cdef double _copied_per_byte

    def __cinit__(self, mapping, bint has_checksum=True):
        memset(&self._work, 0, sizeof(Work))
        self._work.has_checksum = has_checksum
        self._mapping = CompiledMapping(mapping)
        self._work.plan = &self._mapping.plan
        self._work.fields = <size_t *>PyMem_Calloc(self._mapping.plan.n_columns + 1, sizeof(size_t))
        if self._work.fields == NULL:
            raise MemoryError
        self._bytes_per_document = 0
        self._copied_per_byte = 1

    def __dealloc__(self):
        PyMem_Free(self._work.fields)
        free_buffers(&self._work, 0)

    def convert(self, batch, Py_ssize_t offset, Py_ssize_t limit):
        """Convert at most `limit` documents of `batch`, from byte `offset` on.

        Raises:
            ValueError: `batch` is not a sequence of whole documents; the message says at which offset it breaks.
        """
        cdef Py_buffer view
        if offset < 0:
            raise ValueError(f"A batch has no byte {offset}.")
        if self._is_busy:
            raise RuntimeError("A converter serves one thread at a time.")
        self._is_busy = True
        try:
            PyObject_GetBuffer(batch, &view, PyBUF_SIMPLE)
            try:
                return self._convert(batch, &view, offset, limit)
            finally:
                PyBuffer_Release(&view)
        finally:
            self._is_busy = False

    cdef object _convert(self, batch, const Py_buffer *view, size_t offset, Py_ssize_t limit):
        """`convert`, while the batch is held and no other thread may use the buffers."""
        cdef int code
        self._begin(<const uint8_t *>view.buf, view.len, offset, limit)
        try:
            with nogil:
                code = convert_documents(&self._work)
            if code < 0:
                raise MemoryError
            if self._work.is_broken:
                document_end(batch, self._work.position)
                raise ValueError(f"The batch breaks off at byte {self._work.position}.")
            return self._finish(offset)
        finally:
            Py_XDECREF(self._work.out.owner)
            memset(&self._work.out, 0, sizeof(Buffer))
            free_buffers(&self._work, LARGEST_KEPT)

    cdef int _begin(self, const uint8_t *batch, size_t size, size_t offset, Py_ssize_t limit) except -1:
        """Set up the work on a batch, with room for what is expected to come out of it."""
        cdef Work *work = &self._work
        cdef double n_bytes = <double>size - offset
        cdef size_t room = 0
        work.batch = batch
        work.size = size
        work.position = work.last = offset
        work.limit = limit if limit > 0 else 0
        work.n_read = work.checksum = 0
        work.is_broken = False
        work.row_ends.size = work.row_documents.size = work.rejected.size = work.keys.size = 0
        memset(work.total_hits, 0, sizeof(work.total_hits))
        if not TIGHT_BUFFERS and n_bytes > 0:
            if self._bytes_per_document:
                n_bytes = min(n_bytes, work.limit * self._bytes_per_document)
            room = <size_t>(n_bytes * min(1.1 * self._copied_per_byte, MOST_EXPANSION)) + SPARE_ROOM
        result = PyBytes_FromStringAndSize(NULL, room)
        Py_INCREF(result)
        work.out.owner = <PyObject *>result
        work.out.data = <uint8_t *>PyBytes_AS_STRING(result)
        work.out.size = 0
        work.out.capacity = room
        return 0

    cdef object _finish(self, size_t offset):
        """What became of the batch."""
        cdef Work *work = &self._work
        cdef double n_bytes = work.position - offset
        cdef size_t n_copied = work.out.size
        if work.n_read:
            self._bytes_per_document = n_bytes / work.n_read
            self._copied_per_byte = n_copied / n_bytes
        if _PyBytes_Resize(&work.out.owner, n_copied) < 0:
            raise MemoryError
        return Converted(
            copy=<bytes>work.out.owner,
            row_ends=_numbers(&work.row_ends),
            row_documents=_numbers(&work.row_documents),
            n_read=work.n_read,
            end=work.position,
            last=work.last,
            checksum=work.checksum,
            rejects=[
                _reject(work, <const Rejected *>work.rejected.data + number)
                for number in range(work.rejected.size // sizeof(Rejected))
            ],
            policy_hits={
                name: work.total_hits[policy] for policy, name in enumerate(HIT_NAMES) if work.total_hits[policy]
            },
        )


cdef object _numbers(const Buffer *numbers):
    """Offsets as Python sees them."""
    result = array("Q")
    if numbers.size:
        result.frombytes((<const char *>numbers.data)[:numbers.size])
    return result


cdef object _reject(const Work *work, const Rejected *rejected):
    """A rejected document as Python sees it."""
    cdef const Span *key
    cdef size_t number
    reason = REASON_NAMES[rejected.reason]
    if rejected.detail == DETAIL_OF_REASON:
        detail = DETAILS[reason]
    elif rejected.detail == DETAIL_UNKNOWN_FIELD:
        detail = UNKNOWN_FIELD_DETAIL
    elif rejected.detail == DETAIL_NO_ID:
        detail = MISSING_ID_DETAIL
    else:
        detail = misfit_detail(Kind(rejected.detail - DETAIL_MISFIT))
    keys = []
    for number in range(rejected.n_keys, 0, -1):
        key = <const Span *>work.keys.data + rejected.first_key + number - 1
        keys.append((<const char *>key.data)[:key.size].decode("utf-8", "replace"))
    return Reject(rejected.offset, rejected.length, reason, ".".join(keys), detail)

