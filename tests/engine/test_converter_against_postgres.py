"""Each converter's bytes in a real PostgreSQL, read back through SQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import asyncpg
import pytest

from engine.convert import Preference, built_converters, make_converter
from engine.convert.interface import COPY_HEADER, COPY_TRAILER
from engine.mapping.model import Mapping
from engine.mapping.names import quote_identifier
from tests.conftest import Target
from tests.corpus import CASES, Case, Reject, encode


def create_table(mapping: Mapping) -> str:
    """DDL of a temporary table for a mapping."""
    columns = ", ".join(f"{quote_identifier(column.name)} {column.sql_type}" for column in mapping.columns)
    return f"CREATE TEMPORARY TABLE t ({columns}) ON COMMIT DROP"


async def copy(connection: asyncpg.Connection, mapping: Mapping, rows: bytes) -> None:
    """Tuples of binary COPY into the temporary table."""

    async def chunks() -> Any:
        yield COPY_HEADER + rows + COPY_TRAILER

    await connection.copy_to_table(
        "t", source=chunks(), columns=[column.name for column in mapping.columns], format="binary"
    )


async def shown(connection: asyncpg.Connection, mapping: Mapping) -> list[dict[str, str | None]]:
    """Every row of the temporary table as text, in `ctid` order."""
    names = [quote_identifier(column.name) for column in mapping.columns]
    rows = await connection.fetch(f"SELECT {', '.join(f'{name}::text' for name in names)} FROM t ORDER BY ctid")
    return [dict(row) for row in rows]


@pytest.mark.parametrize("converter", built_converters())
def test_every_case_of_the_corpus_reads_back_as_written_down(target: Target, converter: Preference) -> None:
    cases = [case for case in CASES if not isinstance(case.expected, Reject)]
    differences = asyncio.run(_differences(target.uri, cases, converter))
    assert differences == {}


async def _differences(uri: str, cases: Iterable[Case], converter: Preference) -> dict[str, Any]:
    differences: dict[str, Any] = {}
    connection = await asyncpg.connect(uri, server_settings={"timezone": "UTC"})
    try:
        for case in cases:
            mapping = case.mapping()
            converted = make_converter(mapping, converter).convert(encode(case.document), 0, 1)
            try:
                async with connection.transaction():
                    await connection.execute(create_table(mapping))
                    await copy(connection, mapping, bytes(converted.copy))
                    (row,) = await shown(connection, mapping)
            except asyncpg.PostgresError as error:
                differences[case.name] = str(error)
                continue
            assert isinstance(case.expected, dict)
            expected = {column.name: case.expected.get(column.name) for column in mapping.columns}
            if "_id" not in case.expected:
                expected["_id"] = row["_id"]
            if row != expected or case.expected.keys() - row.keys():
                differences[case.name] = {
                    name: (row[name], expected[name]) for name in row if row[name] != expected[name]
                }
    finally:
        await connection.close()
    return differences
