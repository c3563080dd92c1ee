"""Sampled documents as the rows they would become: by the real converter, with the real policies. Nothing is written."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from engine.convert import Preference, make_converter
from engine.convert.encoders import JSONB_VERSION
from engine.convert.keysize import jsonb_size
from engine.mapping.limits import LONGEST_INSIDE, MAX_ROW_BYTES, POINTER_BYTES, ROW_HEADER_BYTES
from engine.mapping.model import Column, ColumnType, Mapping
from engine.mongo.bounds import display, key_of
from engine.plan.sqltext import fields_of, sql_text
from engine.rows import Converted

PREVIEW_ROWS = 5
PREVIEW_REJECTS = 3
"""Documents that would be rejected, shown beyond those rows."""
VALUE_LIMIT = 200
"""Characters of one value."""
_VARIABLE_TYPES = frozenset({ColumnType.TEXT, ColumnType.NUMERIC, ColumnType.BYTEA, ColumnType.JSONB, ColumnType.JSON})
"""Stored with a header: a byte before short values, four before others."""
_LONGEST_WITH_SHORT_HEADER = 126
_MEASURED_ROWS = 500
_NUMERIC_ON_ITS_WAY = 6
"""Bytes of a numeric in COPY that are not stored."""
_ALIGNMENTS = {
    ColumnType.INTEGER: 4, ColumnType.BIGINT: 8, ColumnType.DOUBLE: 8, ColumnType.TIMESTAMPTZ: 8,
    ColumnType.SMALLINT: 2, ColumnType.REAL: 4, ColumnType.DATE: 4,
}  # fmt: skip
"""`typalign` of PostgreSQL's pg_type, where it is more than a byte; short values and pointers have none."""


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One document: its row, or why it would have none."""

    id: str
    """As Extended JSON."""
    values: tuple[str | None, ...] = ()
    """As PostgreSQL would show them, in the order of the columns; None is NULL. Foreign text, cut but not made harmless."""
    reject: str = ""
    """Reason, field and a few words; empty for a row."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What converting the sample showed."""

    rows: tuple[PreviewRow, ...] = ()
    n_read: int = 0
    """Documents converted."""
    rejects: dict[tuple[str, str], int] = field(default_factory=dict)
    """Reason and field -> documents."""
    n_overflow: int = 0
    """Values that went to `_extra`."""
    seconds_per_document: float = 0.0
    """Of one processor, converting."""
    copy_bytes: float = 0.0
    """Of a row on its way, on average."""
    widths: dict[str, float] = field(default_factory=dict)
    """Column name -> bytes it takes in a stored row, on average."""
    n_too_wide: int = 0
    """Rows that do not fit into a page of PostgreSQL, even with all that it can store outside of them stored there."""
    widest: int = 0
    """Bytes that the longest row has within its page, then."""
    converter: str = ""


def preview(documents: Sequence[bytes], mapping: Mapping, preference: Preference) -> Preview:
    """Convert some documents and keep a few of the rows.

    Raises:
        UsageError: the mapping contradicts itself, or there is no converter of that kind.
    """
    converter = make_converter(mapping, preference)
    if not documents:
        return Preview(converter=converter.name)
    batch = b"".join(documents)
    began = time.perf_counter()
    converted = converter.convert(batch, 0, len(documents))
    seconds = time.perf_counter() - began
    copied = memoryview(converted.copy)
    rows = _shown_rows(batch, converted, copied, mapping)
    n_rows = len(converted.row_ends)
    insides = [_bytes_inside(mapping.columns, _row(converted, copied, number)) for number in _long_rows(converted)]
    return Preview(
        rows=tuple(rows),
        n_read=converted.n_read,
        rejects=dict(Counter((reject.reason, reject.field) for reject in converted.rejects)),
        n_overflow=converted.policy_hits.get("overflow", 0),
        seconds_per_document=seconds / len(documents),
        copy_bytes=len(copied) / n_rows if n_rows else 0.0,
        widths=_widths(converted, copied, mapping.columns),
        n_too_wide=sum(each > MAX_ROW_BYTES for each in insides),
        widest=max(insides, default=0),
        converter=converter.name,
    )


def _shown_rows(batch: bytes, converted: Converted, copied: memoryview, mapping: Mapping) -> list[PreviewRow]:
    """The first rows, and the first document of each of some reasons to reject one."""
    found = []
    for number, start in zip(range(min(PREVIEW_ROWS, len(converted.row_ends))), converted.row_documents, strict=False):
        values = tuple(
            None if content is None else _cut(_text(column, content))
            for column, content in zip(mapping.columns, fields_of(_row(converted, copied, number)), strict=True)
        )
        found.append(PreviewRow(display(key_of(batch, start)), values))
    reasons = {(reject.reason, reject.field): reject for reject in reversed(converted.rejects)}
    for reject in list(reversed(reasons.values()))[:PREVIEW_REJECTS]:
        why = " ".join(filter(None, (reject.reason, f"in {reject.field}:" if reject.field else ":", reject.detail)))
        found.append(PreviewRow(_id_of(batch, reject.offset), reject=_cut(why.replace(" :", ":"))))
    return found


def _text(column: Column, content: bytes) -> str:
    try:
        return sql_text(column, content)
    except Exception as error:  # a value that cannot be shown is one of many, and never what ends a plan
        return f"({len(content):,} bytes, {type(error).__name__})"


def _id_of(batch: bytes, offset: int) -> str:
    try:
        return display(key_of(batch, offset))
    except ValueError:
        return "(no readable _id)"


def _row(converted: Converted, copied: memoryview, number: int) -> memoryview:
    return copied[converted.row_ends[number - 1] if number else 0 : converted.row_ends[number]]


def _widths(converted: Converted, copied: memoryview, columns: Sequence[Column]) -> dict[str, float]:
    n_rows = min(len(converted.row_ends), _MEASURED_ROWS)
    sums = [0] * len(columns)
    for number in range(n_rows):
        for place, content in enumerate(fields_of(_row(converted, copied, number))):
            if content is not None:
                sums[place] += _stored_bytes(columns[place], content)
    return {column.name: total / n_rows for column, total in zip(columns, sums, strict=True) if n_rows}


def _stored_bytes(column: Column, content: bytes) -> int:
    if not column.array and column.type not in _VARIABLE_TYPES:
        return len(content)
    return len(content) + (1 if len(content) <= _LONGEST_WITH_SHORT_HEADER else 4)


def _long_rows(converted: Converted) -> Iterator[int]:
    """Rows that may be too long for a page; padding makes no row three times as long as its COPY bytes."""
    begin = 0
    for number, end in enumerate(converted.row_ends):
        if end - begin > MAX_ROW_BYTES // 3:
            yield number
        begin = end


def _bytes_inside(columns: Sequence[Column], row: memoryview) -> int:
    """The least that a row has within its page: longer values leave a pointer there (PostgreSQL's access/heaptoast.c)."""
    n_bytes, has_nulls = 0, False
    for column, content in zip(columns, fields_of(row), strict=True):
        if content is None:
            has_nulls = True
            continue
        alignment = 1 if column.array else _ALIGNMENTS.get(column.type, 1)
        n_bytes += -n_bytes % alignment
        if column.array or column.type in _VARIABLE_TYPES:
            size = _short_bytes(column, content)
            n_bytes += size if size <= LONGEST_INSIDE else POINTER_BYTES
        else:
            n_bytes += len(content)
    header = ROW_HEADER_BYTES + (-(-len(columns) // 8) if has_nulls else 0)
    return header + -header % 8 + n_bytes + -n_bytes % 8


def _short_bytes(column: Column, content: bytes) -> int:
    """A value as it is stored with the header of a short one."""
    if column.array or len(content) > 2 * LONGEST_INSIDE:
        return 1 + len(content)
    if column.type is ColumnType.NUMERIC:
        return 1 + len(content) - _NUMERIC_ON_ITS_WAY
    if column.type is ColumnType.JSONB:
        return 1 + jsonb_size(content[len(JSONB_VERSION) :].decode())
    return 1 + len(content)


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_LIMIT else text[: VALUE_LIMIT - 1] + "…"
