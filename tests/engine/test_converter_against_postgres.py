"""The plain converter's bytes in a real PostgreSQL, read back through SQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import asyncpg

from engine.convert import make_converter
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


def test_every_case_of_the_corpus_reads_back_as_written_down(target: Target) -> None:
    cases = [case for case in CASES if not isinstance(case.expected, Reject)]
    differences = asyncio.run(_differences(target.uri, cases))
    assert differences == {}


async def _differences(uri: str, cases: Iterable[Case]) -> dict[str, Any]:
    differences: dict[str, Any] = {}
    connection = await asyncpg.connect(uri, server_settings={"timezone": "UTC"})
    try:
        for case in cases:
            mapping = case.mapping()
            converted = make_converter(mapping, "plain").convert(encode(case.document), 0, 1)
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


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as started:
        yield started


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seen=st.lists(DOCUMENTS, max_size=3), late=st.lists(DOCUMENTS, max_size=3), options=OPTIONS)
def test_every_value_arrives_where_an_independent_reader_expects_it(
    target: Target, runner: asyncio.Runner, seen: list[Any], late: list[Any], options: MappingOptions
) -> None:
    options = options.model_copy(update={"json_values": "plain", "layout": "columns", "flatten": 0})
    given_documents = [bson.encode({"_id": number, **given}) for number, given in enumerate([*seen, *late])]
    census = Census()
    for document in given_documents[: len(seen)]:
        census.add(document)
    mapping = propose(census, frozenset({Kind.INT32}), options).mapping
    converted = make_converter(mapping, "plain").convert(b"".join(given_documents), 0, 100)
    rows = runner.run(_stored(target.uri, mapping, bytes(converted.copy)))
    decoded = [bson.decode(document, READ_AS_IS) for document in given_documents]
    rejected = {converted_id(given_documents, reject.offset) for reject in converted.rejects}
    assert {row["_id"] for row in rows} == {str(document["_id"]) for document in decoded} - rejected
    by_id = {row["_id"]: row for row in rows}
    for document in decoded:
        if row := by_id.get(str(document["_id"])):
            assert_arrived(document, row, mapping)
        else:
            assert_has_a_reason(document, mapping)


def converted_id(batch: list[bytes], offset: int) -> str:
    """The `_id` of the document at an offset, by pymongo."""
    return str(bson.decode(b"".join(batch)[offset:][: struct.unpack_from("<i", b"".join(batch), offset)[0]])["_id"])
