"""How large the tables will be and how long it will take: estimates from a converted sample and stated assumptions."""

from __future__ import annotations

import os
from dataclasses import dataclass

from engine.plan.model import TablePlan
from engine.plan.preview import Preview
from engine.plurals import counted

READ_BYTES_PER_S = 90e6
"""Assumed of MongoDB: BSON that one worker is given a second."""
COPY_BYTES_PER_S = 50e6
"""Assumed of PostgreSQL: COPY bytes that it takes from one worker a second."""
KEY_ROWS_PER_S = 2e6
"""Assumed of PostgreSQL: rows that it sorts into a key or an index a second."""

PAGE_BYTES, PAGE_HEADER = 8192, 24
ROW_HEADER, LINE_POINTER, ALIGNMENT = 24, 4, 8
"""HeapTupleHeader, ItemId and MAXIMUM_ALIGNOF of PostgreSQL (access/htup_details.h, storage/itemid.h)."""
INDEX_ENTRY_HEADER = 8
INDEX_FILL = 0.9
"""Default fill factor of a B-tree's leaves."""
LARGEST_ROW = 2_000
"""Bytes beyond which values move to the TOAST table (TOAST_TUPLE_THRESHOLD), compressed."""
TOAST_RATIO = 0.5
"""Assumed: what compression leaves of long values."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one table will come to."""

    table_bytes: int
    index_bytes: int
    """Of the key, and of the indexes asked for."""
    seconds: float
    rows_per_s: float


def estimate(
    table: TablePlan, preview: Preview, *, average_bytes: int, workers: int, throttle: int, with_indexes: bool
) -> Estimate | None:
    """An estimate, or None when no document of the sample became a row.

    Args:
        average_bytes: of a document.
        workers: cluster size; more than there are processors are not counted on.
        throttle: rows per second of the whole run, at most; 0 is no limit.
        with_indexes: MongoDB's indexes are to be built, too.
    """
    if not preview.widths or not preview.n_read:
        return None
    n_good = preview.n_read - sum(preview.rejects.values())
    rows = table.documents * n_good / preview.n_read
    row_bytes = ROW_HEADER + len(table.mapping.columns) // 8 + sum(preview.widths.values())
    long_bytes = max(0.0, row_bytes - LARGEST_ROW)
    row_bytes = min(row_bytes, LARGEST_ROW)
    per_page = (PAGE_BYTES - PAGE_HEADER) / (_aligned(row_bytes) + LINE_POINTER)
    table_bytes = rows / per_page * PAGE_BYTES + rows * long_bytes * TOAST_RATIO
    indexes = [[table.mapping.id_column.name]] if table.has_key else []
    if with_indexes:
        indexes += [[key.column for key in index.keys] for index in table.indexes]
    entries = [
        _aligned(INDEX_ENTRY_HEADER + sum(preview.widths[name] for name in names)) + LINE_POINTER for names in indexes
    ]
    index_bytes = sum(rows * entry / INDEX_FILL for entry in entries)
    working = min(workers, os.cpu_count() or 1) if table.has_range_reads else 1
    per_document = (
        average_bytes / READ_BYTES_PER_S + preview.seconds_per_document + preview.copy_bytes / COPY_BYTES_PER_S
    )
    copying = table.documents * per_document / working
    if throttle:
        copying = max(copying, table.documents / throttle)
    seconds = copying + len(indexes) * rows / KEY_ROWS_PER_S
    return Estimate(
        round(table_bytes), round(index_bytes), round(seconds, 1), round(table.documents / seconds) if seconds else 0
    )


def assumptions(preview: Preview, workers: int, throttle: int) -> str:
    """What an estimate rests on, as a sentence."""
    n_readers = min(workers, os.cpu_count() or 1)
    readers = "the worker" if n_readers == 1 else f"each of {n_readers} workers"
    words = (
        f"Estimated from {counted(preview.n_read, 'document')} converted here by the {preview.converter} converter "
        f"({1 / preview.seconds_per_document if preview.seconds_per_document else 0:,.0f}/s), assuming that "
        f"{readers} reads {READ_BYTES_PER_S / 1e6:.0f} MB/s from MongoDB and PostgreSQL "
        f"takes {COPY_BYTES_PER_S / 1e6:.0f} MB/s from it."
    )
    return f"{words} The throttle lets {throttle:,} rows/s through." if throttle else words


def _aligned(n_bytes: float) -> float:
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT
