"""What PostgreSQL's types can hold, as far as BSON can go beyond it."""

from __future__ import annotations

INT32_LOW, INT32_HIGH = -(2**31), 2**31 - 1
EXACT_INTEGER = 2**53
"""Every integer up to here, of either sign, is exact as a double."""

EPOCH_SHIFT_MS = 946_684_800_000
"""Milliseconds from 1970 (BSON dates) to 2000 (PostgreSQL's timestamps, which count microseconds)."""
FIRST_DATE_MS = -211_813_488_000_000 + EPOCH_SHIFT_MS
"""4714-11-24 BC, Julian day 0: MIN_TIMESTAMP of PostgreSQL's datatype/timestamp.h, in milliseconds since 1970."""
LAST_DATE_MS = 9_223_371_331_200_000 + EPOCH_SHIFT_MS - 1
"""The last millisecond of 294276 AD: END_TIMESTAMP of the same file is exclusive."""

MAX_COLUMNS = 1_600
"""MaxHeapAttributeNumber of PostgreSQL's access/htup_details.h."""
MAX_ROW_BYTES = 8_160
"""MaxHeapTupleSize: a row is within one page of 8 kB, with all that is not stored outside of it."""
LONGEST_INSIDE = 24
"""Longer values leave a pointer in a row that is too long (toast_tuple_find_biggest_attribute of PostgreSQL's access/table)."""
POINTER_BYTES = 18
"""Of such a pointer (TOAST_POINTER_SIZE of PostgreSQL's access/detoast.h)."""
ROW_HEADER_BYTES = 23
"""SizeofHeapTupleHeader: before the bits that tell which columns are NULL, where any is."""
MAX_KEY_BYTES = 2_600
"""Longest `_id` taken, as encoded: an index entry may have 2,704 bytes with its header and alignment."""

MAX_DEPTH = 200
"""Levels of documents and arrays in a value that are followed; MongoDB stops at 100 (reference/limits)."""
