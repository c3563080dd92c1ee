"""Documents that could not be written as mapped: kept in `mongopg.reject`, in the transaction of their neighbours."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
from bson import json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument

from engine.mapping.bson import SHORTEST_DOCUMENT, CorruptDocumentError, value_end
from engine.mongo.bounds import key_or_none
from engine.postgres.sqlstates import one_line

MAX_ID_LENGTH = 1_000
"""Characters of a rejected document's `_id` in the table; the whole is in `raw`."""

# What makes a document a reject, such as a date beyond Python's or text that is not UTF-8, must not hide its _id.
_LENIENT: CodecOptions[RawBSONDocument] = DEFAULT_RAW_BSON_OPTIONS.with_options(
    datetime_conversion=DatetimeConversion.DATETIME_MS, unicode_decode_error_handler="replace"
)

UNREADABLE = (BSONError, ValueError, OverflowError, RecursionError)
"""What a document that breaks the rules of BSON raises."""
Cause = tuple[str, str, str, str]
"""Collection, reason, field and SQLSTATE of rejects."""
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
    except UNREADABLE:
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
    first: tuple[str, int, int, int],
    task_id: int,
    collection: str,
    rejects: Sequence[Rejected],
    identify: Identify,
) -> None:
    """Write rejects within the slice's transaction.

    Args:
        connection: in the transaction of the slice.
        first: run, partition, slice number, and the number that the first of them has within the slice.
        collection: `database.collection`.
        rejects: in order of reading.
        identify: names a document.
    """
    await connection.copy_records_to_table(
        "reject",
        schema_name="mongopg",
        columns=[
            "run_id", "partition_id", "slice_no", "reject_no", "collection", "id", "field", "reason", "sqlstate",
            "detail", "raw", "task_id", "key",
        ],
        records=[
            (
                *first[:3], number, collection, stored_id(identify(reject.raw)), storable(reject.field),
                reject.reason, reject.sqlstate, one_line(reject.detail), reject.raw, task_id,
                key_or_none(reject.raw),
            )
            for number, reject in enumerate(rejects, first[3])
        ],
    )  # fmt: skip


async def rejects_report(connection: asyncpg.Connection, run_id: str, samples: int = 5) -> list[RejectCause]:
    """A run's rejects by collection, reason and field, most frequent first, with the `_id`s of the first few."""
    rows = await connection.fetch(
        """
        SELECT collection, reason, field, sqlstate, count(*) AS count, min(detail) AS detail,
               array_agg(id ORDER BY partition_id, slice_no, reject_no, reject_id) FILTER (WHERE nth <= $2) AS samples
        FROM (
            SELECT *, row_number() OVER (
                PARTITION BY collection, reason, field, sqlstate ORDER BY partition_id, slice_no, reject_no, reject_id
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


async def count_rejects(connection: asyncpg.Connection, run_id: str) -> int:
    """How many documents of a run are kept as rejects."""
    return int(await connection.fetchval("SELECT count(*) FROM mongopg.reject WHERE run_id = $1", run_id))


async def keys_of_rejects(
    connection: asyncpg.Connection, run_id: str, task_id: int, keys: Sequence[bytes]
) -> set[bytes]:
    """Those of some keys whose documents are rejects of a table."""
    sql = "SELECT EXISTS (SELECT FROM mongopg.reject WHERE run_id = $1 AND task_id = $2)"
    if not await connection.fetchval(sql, run_id, task_id):
        return set()
    rows = await connection.fetch(
        "SELECT key FROM mongopg.reject WHERE run_id = $1 AND task_id = $2"
        " AND sha256(key) IN (SELECT sha256(k) FROM unnest($3::bytea[]) k) AND key = ANY($3)",
        run_id, task_id, list(keys),
    )  # fmt: skip
    return {row["key"] for row in rows}


def _group(row: asyncpg.Record) -> RejectCause:
    values = dict(row.items())
    values["samples"] = tuple(values["samples"] or ())
    return RejectCause(**values)


@dataclass(frozen=True, slots=True)
class KeptDocument:
    """A row of `mongopg.reject`."""

    place: tuple[int, int, int]
    """Partition, slice and number: its key within the run."""
    collection: str
    id: str
    field: str
    reason: str
    sqlstate: str
    detail: str
    rejected_at: datetime
    size: int
    """Bytes of BSON."""
    raw: bytes = b""
    """The document, where it was asked for."""


FOLLOWED = 2**31 - 1
"""In place of a partition: a reject of a change that was followed, whose number is its `reject_id`."""


async def kept_documents(
    connection: asyncpg.Connection,
    run_id: str,
    cause: Cause | None,
    after: tuple[int, int, int],
    limit: int,
    most_bytes: int,
) -> list[KeptDocument]:
    """The next rejects of a run behind a place, in order: those of the copy, then those of changes that were followed.

    Args:
        cause: only those of this collection, reason, field and SQLSTATE.
        most_bytes: of documents to read, though at least one; 0 reads none.
    """
    rows: list[asyncpg.Record] = []
    if after[0] < FOLLOWED:
        which, place = "(partition_id, slice_no, reject_no) > ($3, $4, $5)", "partition_id, slice_no, reject_no"
        rows += await _kept(connection, run_id, cause, limit, which, place, after)
    if len(rows) < limit:
        which, place = (
            "partition_id IS NULL AND reject_id > $3",
            f"{FOLLOWED} AS partition_id, 0 AS slice_no, reject_id AS reject_no",
        )
        behind = (after[2],) if after[0] == FOLLOWED else (0,)
        rows += await _kept(connection, run_id, cause, limit - len(rows), which, place, behind)
    fitting, room = 0, most_bytes
    for row in rows:
        room -= row["size"]
        if most_bytes and room < 0 and fitting:
            break
        fitting += 1
    rows = rows[:fitting]
    raws: dict[int, bytes] = {}
    if most_bytes:
        found = await connection.fetch(
            "SELECT reject_id, raw FROM mongopg.reject WHERE reject_id = ANY($1)", [row["reject_id"] for row in rows]
        )
        raws = {row["reject_id"]: row["raw"] for row in found}
    return [
        KeptDocument(
            (row["partition_id"], row["slice_no"], row["reject_no"]), row["collection"], row["id"], row["field"],
            row["reason"], row["sqlstate"], row["detail"], row["rejected_at"], row["size"],
            raws.get(row["reject_id"], b""),
        )
        for row in rows
    ]  # fmt: skip


async def _kept(
    connection: asyncpg.Connection,
    run_id: str,
    cause: Cause | None,
    limit: int,
    which: str,
    place: str,
    after: Sequence[int],
) -> list[asyncpg.Record]:
    given: list[Any] = [run_id, limit, *after]
    if cause is not None:
        first = len(given) + 1
        which += f" AND (collection, reason, field, sqlstate) = (${first}, ${first + 1}, ${first + 2}, ${first + 3})"
        given += cause
    return await connection.fetch(
        f"SELECT {place}, reject_id, collection, id, reason, field, sqlstate, detail, rejected_at,"  # noqa: S608 - our own words
        f" octet_length(raw) AS size FROM mongopg.reject WHERE run_id = $1 AND {which}"
        " ORDER BY partition_id, slice_no, reject_no LIMIT $2",
        *given,
    )


def extended_document(raw: bytes) -> str:
    """A raw document as relaxed Extended JSON, in ASCII. Fields that cannot be read say so; what is no BSON is shown in hex."""
    try:
        return _relaxed(RawBSONDocument(raw, _LENIENT))
    except UNREADABLE:
        pass
    fields: dict[str, str] = {}
    position, last = 4, len(raw) - 1
    with suppress(CorruptDocumentError):
        while position < last and (start := raw.find(b"\0", position + 1, last) + 1):
            end = value_end(raw, raw[position], start, last)
            name = raw[position + 1 : start - 1].decode(errors="replace")
            alone = (end - position + SHORTEST_DOCUMENT).to_bytes(4, "little") + raw[position:end] + b"\0"
            try:
                fields[name] = _relaxed(RawBSONDocument(alone, _LENIENT)).partition(": ")[2][:-1]
            except UNREADABLE:
                fields[name] = json.dumps({"$unreadable": raw[start:end].hex()})
            position = end
    if position < last:
        fields["$damaged"] = json.dumps(raw[position:].hex())
    return "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in fields.items()) + "}"


def _relaxed(document: RawBSONDocument) -> str:
    return json_util.dumps(document, json_options=json_util.RELAXED_JSON_OPTIONS)


def storable(text: str) -> str:
    """Text as PostgreSQL takes it: no NUL, no lone surrogate."""
    return text.replace("\0", "\\u0000").encode(errors="backslashreplace").decode()
