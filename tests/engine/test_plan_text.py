"""A preview shows what PostgreSQL itself would show of the same rows."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import bson
from bson import Binary, Decimal128, Int64, ObjectId
from bson.binary import BinaryVectorDtype
from bson.datetime_ms import DatetimeMS

from engine.convert.plain import PlainConverter
from engine.mapping.census import Census
from engine.mapping.limits import FIRST_DATE_MS, LAST_DATE_MS
from engine.mapping.model import ColumnType, Kind
from engine.mapping.names import TableName
from engine.mapping.options import MappingOptions
from engine.mapping.proposal import propose
from engine.plan.preview import preview
from engine.plan.sqltext import fields_of, sql_text
from engine.postgres.ddl import create_table
from engine.rows import COPY_HEADER, COPY_TRAILER

if TYPE_CHECKING:
    from tests.conftest import Target

DOUBLES = [
    0.0, -0.0, 1.0, -1.5, 0.1, 1e-4, 1.5e-5, 123456789.125, 1e14, 1e15, 1.2345678901234567e17, 5e-324,
    1.7976931348623157e308, float("inf"), float("-inf"), float("nan"), 1e16, 999999999999999.9, 100.0, 12e20,
    1e23, -1e23, 9.5e-322, 2.0**-1074, 2.0**-44, 2.0**53, 2.0**63, 2.0**100, 8.5e22, 5e15, 9007199254740993.0, 1.7e-310,
]  # fmt: skip
FLOATS = [
    0.0, -0.0, 1.0, 0.1, 1e-4, 1e-5, 123456.0, 999999.5, 1e6, 16777216.0, 3.4028234663852886e38, 1e-45,
    float("inf"), float("nan"),
]  # fmt: skip
DECIMALS = [
    "0",
    "-0",
    "1.50",
    "0.0001",
    "1E+10",
    "-123456789.000000001",
    "1E-20",
    "NaN",
    "Infinity",
    "-Infinity",
    "10000",
    "1E+6144",
    "9.999999999999999999999999999999999E+6144",
    "-1E-6176",
    "0E-6176",
    "0E+6111",
    "123456789012345.6789",
]
DATES = [
    0, 1, -1, 1_700_000_000_123, 946_684_800_000, FIRST_DATE_MS, LAST_DATE_MS, LAST_DATE_MS + 1, FIRST_DATE_MS - 1,
    -62_135_596_800_000, -62_135_596_800_001, 253_402_300_800_000, -62_167_219_200_000,
]  # fmt: skip
OF_EXISTING_TABLES = {"tiny": ColumnType.SMALLINT, "single": ColumnType.REAL, "day": ColumnType.DATE}
"""Types that no plan proposes for a new table, by field."""
TEXTS = [
    "",
    "plain",
    "NULL",
    "null",
    'say "hi"',
    "back\\slash",
    "{a,b}",
    " spaced ",
    "tab\tnew\nline",
    "naïve ✓",
    "a,b",
]


def documents() -> list[dict[str, Any]]:
    """Documents whose fields have one kind each, with every value that prints in a way of its own."""
    columns: dict[str, list[Any]] = {
        "double": DOUBLES,
        "decimal": [Decimal128(text) for text in DECIMALS],
        "date": [DatetimeMS(ms) for ms in DATES],
        "text": TEXTS,
        "integer": [0, -(2**31), 2**31 - 1],
        "bigint": [Int64(0), Int64(-(2**63)), Int64(2**63 - 1)],
        "bool": [True, False],
        "uuid": [Binary.from_uuid(UUID(int=2**64 + 5))],
        "bytes": [b"", b"\0\xff"],
        "oid": [ObjectId("65a000000000000000000001")],
        "texts": [[], TEXTS, ["a", None]],
        "numbers": [[0.1, 1e15], []],
        "dates": [[DatetimeMS(0), None]],
        "floats": [
            Binary.from_vector(FLOATS, BinaryVectorDtype.FLOAT32),
            Binary.from_vector([], BinaryVectorDtype.FLOAT32),
        ],
        "small": [Binary.from_vector([-128, 0, 127], BinaryVectorDtype.INT8)],
        "bits": [Binary.from_vector([0b10110000, 0x80], BinaryVectorDtype.PACKED_BIT, padding) for padding in (0, 7)],
        "tiny": [0, -32_768, 32_767],
        "single": [0.5, -0.0, 16_777_216.0, 3.4028234663852886e38, 123_456.0, 1e6],
        "day": [DatetimeMS(0), DatetimeMS(-86_400_000), DatetimeMS(FIRST_DATE_MS)],
        "nested": [{"b": 1, "a": [1, "x"]}],
    }
    length = max(map(len, columns.values()))
    return [
        {"_id": Int64(place), **{name: values[place] for name, values in columns.items() if place < len(values)}}
        for place in range(length)
    ]


async def test_every_value_reads_as_postgresql_writes_it(target: Target) -> None:
    options = MappingOptions(arrays="native", date_range="infinity", documents="json", missing="track")
    raw = [bson.encode(document) for document in documents()]
    census = Census()
    for document in raw:
        census.add(document)
    proposed = propose(census, frozenset({Kind.INT64}), options).mapping
    columns = (
        column.model_copy(update={"type": OF_EXISTING_TABLES.get(column.name, column.type)})
        for column in proposed.columns
    )
    mapping = proposed.model_copy(update={"columns": tuple(columns)})
    assert {column.type for column in mapping.columns} == set(ColumnType) - {ColumnType.VECTOR}  # an extension's
    converted = PlainConverter(mapping).convert(b"".join(raw), 0, len(raw))
    assert not converted.rejects
    connection = await asyncpg.connect(target.uri)
    try:
        await connection.execute("SET timezone TO 'UTC'")
        await connection.execute(create_table(TableName("public", "t"), mapping))
        stream = io.BytesIO(COPY_HEADER + bytes(converted.copy) + COPY_TRAILER)
        await connection.copy_to_table("t", source=stream, format="binary")
        texts = ", ".join(f'"{column.name}"::text' for column in mapping.columns)
        rows = await connection.fetch(f"SELECT {texts} FROM t ORDER BY t._id")
    finally:
        await connection.close()
    begins = [0, *converted.row_ends]
    for number, row in enumerate(rows):
        fields = fields_of(bytes(converted.copy)[begins[number] : begins[number + 1]])
        ours = [
            None if content is None else sql_text(column, content)
            for column, content in zip(mapping.columns, fields, strict=True)
        ]
        assert ours == list(row)
    assert len(rows) == len(raw)


def test_a_preview_shows_rows_rejects_and_what_it_measured() -> None:
    good = [{"_id": number, "name": "x" * 1_000, "late": None} for number in range(20)]
    bad = [{"_id": 100 + number, "name": "a\0b"} for number in range(4)] + [{"_id": 200, "at": DatetimeMS(2**62)}]
    raw = [bson.encode(document) for document in bad + good]
    census = Census()
    for document in raw:
        census.add(document)
    mapping = propose(census, frozenset({Kind.INT32}), MappingOptions()).mapping

    shown = preview(raw, mapping, "plain")

    rows = [row for row in shown.rows if not row.reject]
    assert [row.id for row in rows] == ["0", "1", "2", "3", "4"]
    assert rows[0].values[:2] == ("0", "x" * 199 + "…")
    assert [(row.id, row.reject) for row in shown.rows if row.reject] == [
        ("100", "nul in name: a NUL character"),
        ("200", "date_range in at: a date outside PostgreSQL's range"),
    ]
    assert shown.rejects == {("nul", "name"): 4, ("date_range", "at"): 1}
    assert (shown.n_read, shown.converter) == (25, "plain")
    assert shown.widths["_id"] == 8
    assert shown.widths["name"] == 1_004
    assert shown.seconds_per_document > 0


def test_a_preview_of_nothing_is_empty() -> None:
    mapping = propose(Census(), frozenset(), MappingOptions()).mapping
    assert preview([], mapping, "plain").rows == ()
