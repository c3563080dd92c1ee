"""Documents that could not be written as mapped: kept in `mongopg.reject`, in the transaction of their neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import asyncpg
from bson import json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument

from engine.mapping.bson import SHORTEST_DOCUMENT, CorruptDocumentError, value_end
from engine.postgres.sqlstates import one_line

MAX_ID_LENGTH = 1_000
"""Characters of a rejected document's `_id` in the table; the whole is in `raw`."""

# What makes a document a reject, such as a date beyond Python's or text that is not UTF-8, must not hide its _id.
_LENIENT: CodecOptions[RawBSONDocument] = DEFAULT_RAW_BSON_OPTIONS.with_options(
    datetime_conversion=DatetimeConversion.DATETIME_MS, unicode_decode_error_handler="replace"
)

Identify = Callable[[bytes], str]
"""A raw document's `_id`, for people."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A document for `mongopg.reject`."""

    reason: str
    """The converter's reason code, or PostgreSQL's condition name such as `check_violation`."""
    field: str
    """The field at fault for a converter, the column for PostgreSQL; empty when neither knows."""
    sqlstate: str
    """Empty when the converter found it."""
    detail: str
    raw: bytes
    """The document as it was read."""


@dataclass(frozen=True, slots=True)
class RejectCause:
    """Rejects of one reason in one field of one collection."""

    collection: str
    reason: str
    field: str
    sqlstate: str
    count: int
    detail: str
    """Of one of them."""
    samples: tuple[str, ...]
    """`_id`s as Extended JSON."""


def extended_id(raw: bytes) -> str:
    """The `_id` of a raw document as canonical Extended JSON; empty when the document is broken before its end.

    The last `_id` that can be walked to counts, as for the converters. What comes behind it may be broken in any way.
    """
    element = _id_element(raw)
    if element is None:
        return ""
    alone = (len(element) + SHORTEST_DOCUMENT).to_bytes(4, "little") + element + b"\0"
    try:
        for _, value in RawBSONDocument(alone, _LENIENT).items():
            return json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS)
    except (BSONError, ValueError, OverflowError, RecursionError):
        # A document broken enough to be rejected may be too broken to name; it is kept whole all the same.
        return ""
    return ""


def _id_element(raw: bytes) -> bytes | None:
    """Kind, name and value of the last `_id` in front of what breaks the rules of BSON; None where there is none."""
    found, position, last = None, 4, len(raw) - 1
    with suppress(CorruptDocumentError):
        while position < last and (start := raw.find(b"\0", position + 1, last) + 1):
            end = value_end(raw, raw[position], start, last)
            if raw[position + 1 : start] == b"_id\0":
                found = raw[position:end]
            position = end
    return found


def stored_id(text: str) -> str:
    """An `_id` for people as `mongopg.reject` keeps it."""
    return storable(text[:MAX_ID_LENGTH])


async def insert_rejects(
    connection: asyncpg.Connection,
    key: tuple[str, int, int],
    first_no: int,
    collection: str,
    rejects: Sequence[Rejected],
    identify: Identify,
) -> None:
    """Write rejects within the slice's transaction.

    Args:
        connection: in the transaction of the slice.
        key: run, partition and slice number.
        first_no: the slice's rejects are numbered; this is the first number here.
        collection: `database.collection`.
        rejects: in order of reading.
        identify: names a document.
    """
    await connection.copy_records_to_table(
        "reject",
        schema_name="mongopg",
        columns=[
            "run_id", "partition_id", "slice_no", "reject_no", "collection", "id", "field", "reason", "sqlstate",
            "detail", "raw",
        ],
        records=[
            (
                *key, number, collection, stored_id(identify(reject.raw)), storable(reject.field),
                reject.reason, reject.sqlstate, one_line(reject.detail), reject.raw,
            )
            for number, reject in enumerate(rejects, first_no)
        ],
    )  # fmt: skip


async def rejects_report(connection: asyncpg.Connection, run_id: str, samples: int = 5) -> list[RejectCause]:
    """A run's rejects by collection, reason and field, most frequent first, with the `_id`s of the first few."""
    rows = await connection.fetch(
        """
        SELECT collection, reason, field, sqlstate, count(*) AS count, min(detail) AS detail,
               array_agg(id ORDER BY partition_id, slice_no, reject_no) FILTER (WHERE nth <= $2) AS samples
        FROM (
            SELECT *, row_number() OVER (
                PARTITION BY collection, reason, field, sqlstate ORDER BY partition_id, slice_no, reject_no
            ) AS nth
            FROM mongopg.reject WHERE run_id = $1
        ) numbered
        GROUP BY collection, reason, field, sqlstate
        ORDER BY count(*) DESC, collection, reason, field
        """,
        run_id,
        samples,
    )
    return [_group(row) for row in rows]


def _group(row: asyncpg.Record) -> RejectCause:
    values = dict(row.items())
    values["samples"] = tuple(values["samples"] or ())
    return RejectCause(**values)


def storable(text: str) -> str:
    """Text as PostgreSQL takes it: no NUL, no lone surrogate."""
    return text.replace("\0", "\\u0000").encode(errors="backslashreplace").decode()
