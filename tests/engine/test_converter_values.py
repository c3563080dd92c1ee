"""Random documents through each converter into a real PostgreSQL, compared with an independent reading of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import asyncpg
import bson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.convert import Preference, built_converters, make_converter
from engine.convert.keysize import jsonb_size
from engine.mapping.census import Census
from engine.mapping.model import Column, Kind, Mapping, Role
from engine.mapping.names import quote_identifier
from engine.mapping.options import MappingOptions
from engine.mapping.proposal import propose
from engine.rows import COPY_HEADER, COPY_TRAILER
from tests.conftest import Target
from tests.corpus import CASES, encode
from tests.documents import DOCUMENTS, KEYS, MIXED_DOCUMENTS, OPTIONS, RAW_DOCUMENTS, SCALARS, VALUES
from tests.engine.arrival import assert_arrived, assert_deserved
from tests.engine.independent_reader import read, select

N_EXAMPLES, N_MORE_EXAMPLES = 50, 2_000


@pytest.fixture
def session(target: Target) -> Iterator[tuple[asyncio.Runner, asyncpg.Connection]]:
    """One connection for all examples of a test."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(target.uri))
        yield runner, connection
        runner.run(connection.close())


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


async def _stored(connection: asyncpg.Connection, mapping: Mapping, rows: bytes) -> list[dict[str, Any]]:
    columns = ", ".join(
        f"{select(column, quote_identifier(column.name))} AS {quote_identifier(column.name)}"
        for column in mapping.columns
    )
    async with connection.transaction():
        await connection.execute(create_table(mapping))
        await copy(connection, mapping, rows)
        records = await connection.fetch(f"SELECT {columns} FROM t ORDER BY ctid")
    return [{column.name: read(column, record[column.name]) for column in mapping.columns} for record in records]


def look_at(
    session: tuple[asyncio.Runner, asyncpg.Connection],
    seen: list[bytes],
    late: list[bytes],
    options: MappingOptions,
    id_kinds: frozenset[Kind],
    converter: Preference,
) -> None:
    """Convert what the census saw and what came later: each document is the row that is expected, or a reject."""
    page = [*seen, *late]
    mapping = propose(_census(seen, options), id_kinds, options).mapping
    converted = make_converter(mapping, converter).convert(b"".join(page), 0, len(page))
    runner, connection = session
    rows = runner.run(_stored(connection, mapping, bytes(converted.copy)))
    by_offset = dict(zip(converted.row_documents, rows, strict=True))
    reasons = {reject.offset: reject.reason for reject in converted.rejects}
    for offset, document in zip(accumulate(map(len, page), initial=0), page, strict=False):
        if offset in by_offset:
            assert_arrived(document, by_offset[offset], mapping)
        else:
            assert_deserved(document, reasons[offset], mapping)


def _census(documents: list[bytes], options: MappingOptions) -> Census:
    census = Census(options.flatten)
    for document in documents:
        census.add(document)
    return census


def _with_ids(page: list[dict[str, Any]], ids: list[Any]) -> list[bytes]:
    """What pymongo writes, with these keys in turn, or numbers where there are none."""
    return [
        bson.encode({"_id": ids[number % len(ids)] if ids else number, **fields}) for number, fields in enumerate(page)
    ]


def _kinds_of_ids(page: list[bytes]) -> frozenset[Kind]:
    """As the index of `_id` tells them."""
    return _census(page, MappingOptions()).id_kinds


@pytest.mark.parametrize("converter", built_converters())
def test_the_independent_reader_knows_every_edge(
    session: tuple[asyncio.Runner, asyncpg.Connection], converter: Preference
) -> None:
    for case in CASES:
        if not case.changes and not case.ignored:
            document = encode(case.document)
            seen = [encode(each) for each in case.seen or (case.document,)]
            options = MappingOptions(**case.options)
            look_at(session, seen, [document], options, frozenset(), converter)


PAGES = st.lists(DOCUMENTS, max_size=3)
IDS = st.lists(st.one_of(st.none(), SCALARS, st.dictionaries(KEYS, SCALARS, max_size=2)), max_size=3)
RAW_PAGES = st.lists(st.one_of(RAW_DOCUMENTS, MIXED_DOCUMENTS), max_size=3)
QUIET = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("converter", built_converters())
@settings(QUIET, max_examples=N_EXAMPLES)
@given(seen=PAGES, late=PAGES, ids=IDS, options=OPTIONS)
def test_every_value_arrives_as_an_independent_reader_expects(
    session: tuple[asyncio.Runner, asyncpg.Connection],
    seen: list[dict[str, Any]],
    late: list[dict[str, Any]],
    ids: list[Any],
    options: MappingOptions,
    converter: Preference,
) -> None:
    page = _with_ids([*seen, *late], ids)
    look_at(session, page[: len(seen)], page[len(seen) :], options, _kinds_of_ids(page), converter)


@pytest.mark.parametrize("converter", built_converters())
@settings(QUIET, max_examples=N_EXAMPLES)
@given(seen=RAW_PAGES, late=RAW_PAGES, options=OPTIONS)
def test_every_raw_value_arrives_too(
    session: tuple[asyncio.Runner, asyncpg.Connection],
    seen: list[bytes],
    late: list[bytes],
    options: MappingOptions,
    converter: Preference,
) -> None:
    look_at(session, seen, late, options, frozenset(), converter)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("converter", built_converters())
@settings(QUIET, max_examples=N_MORE_EXAMPLES)
@given(seen=st.one_of(PAGES.map(lambda page: _with_ids(page, [])), RAW_PAGES), late=RAW_PAGES, options=OPTIONS)
def test_every_value_of_many_arrives(
    session: tuple[asyncio.Runner, asyncpg.Connection],
    seen: list[bytes],
    late: list[bytes],
    options: MappingOptions,
    converter: Preference,
) -> None:
    look_at(session, seen, late, options, frozenset(), converter)


@pytest.mark.parametrize("converter", built_converters())
@settings(max_examples=N_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES)
def test_the_size_of_a_jsonb_key_is_never_underestimated(
    session: tuple[asyncio.Runner, asyncpg.Connection], value: Any, converter: Preference
) -> None:
    column = Column(name="_id", type="jsonb", role=Role.ID, path=("_id",))
    mapping = Mapping(columns=(column,), options=MappingOptions())
    converted = make_converter(mapping, converter).convert(bson.encode({"_id": value}), 0, 1)
    if converted.rejects:
        assert converted.rejects[0].reason in ("nul", "id_too_long")
        return
    json_text = bytes(converted.copy)[7:].decode()
    runner, connection = session
    assert jsonb_size(json_text) >= runner.run(connection.fetchval("SELECT pg_column_size($1::text::jsonb)", json_text))
