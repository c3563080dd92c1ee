"""What the end of a load uses of the server, on a real PostgreSQL: memory, parallel workers, rows that ANALYZE takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest

from engine.mapping.names import TableName
from engine.postgres import connect as postgres
from engine.postgres import finish
from engine.postgres.maintenance import raise_means
from engine.rows import TableLoad

if TYPE_CHECKING:
    from tests.conftest import Target

ROWS = finish.SAMPLED_ROWS + 5_000
MEANS = ("maintenance_work_mem", "max_parallel_maintenance_workers")
DEFAULTS = ("256MB", "2")
"""Of the test's server."""
NO_AUTOVACUUM = "autovacuum_enabled = false"
"""The server would take rows of the table, too, at any moment."""


@asynccontextmanager
async def connected(uri: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await postgres.connect(uri)
    try:
        yield connection
    finally:
        await connection.close()


async def means_of(connection: asyncpg.Connection) -> tuple[str, ...]:
    return tuple([await connection.fetchval("SELECT current_setting($1)", name) for name in MEANS])


async def raised(connection: asyncpg.Connection, at_once: int = 1) -> tuple[str, ...]:
    """What a transaction has that builds a key."""
    async with connection.transaction():
        await raise_means(connection, "512MB", at_once)
        found = await means_of(connection)
    return found


async def test_a_key_gets_more_memory_and_workers_than_the_defaults_as_long_as_it_is_built(target: Target) -> None:
    async with connected(target.uri) as connection:
        assert await means_of(connection) == DEFAULTS
        half = int(await connection.fetchval("SHOW max_parallel_workers")) // 2
        assert await raised(connection) == ("512MB", str(half))
        assert await means_of(connection) == DEFAULTS


async def test_keys_that_are_built_at_the_same_time_share_what_there_is_and_none_gets_less_than_before(
    target: Target,
) -> None:
    target.execute(f"ALTER DATABASE \"{target.database}\" SET effective_cache_size = '4500MB'")
    target.execute(f'ALTER DATABASE "{target.database}" SET max_parallel_workers = 24')
    async with connected(target.uri) as connection:
        assert await raised(connection, 1) == ("512MB", "12")
        assert await raised(connection, 4) == ("288000kB", "3")
        assert await raised(connection, 100) == DEFAULTS


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"maintenance_work_mem": "16MB"}, ("16MB", "4")),
        ({"max_parallel_maintenance_workers": "0"}, ("512MB", "0")),
        ({"max_parallel_workers": "0"}, ("512MB", "2")),
        ({"maintenance_work_mem": "1GB", "max_parallel_maintenance_workers": "7"}, ("1GB", "7")),
    ],
    ids=str,
)
async def test_what_an_administrator_has_set_for_sessions_like_ours_stays(
    target: Target, setting: Mapping[str, str], expected: tuple[str, ...]
) -> None:
    for name, value in setting.items():
        target.execute(f"ALTER DATABASE \"{target.database}\" SET {name} = '{value}'")
    async with connected(target.uri) as connection:
        assert await raised(connection) == expected


async def test_fewer_rows_are_taken_for_the_statistics_of_documents_in_a_large_new_table(target: Target) -> None:
    columns = "_id integer PRIMARY KEY, name text, document jsonb, gone integer"
    target.execute(f"CREATE TABLE t ({columns}) WITH ({NO_AUTOVACUUM})")
    target.execute("ALTER TABLE t DROP gone")
    target.execute(
        "INSERT INTO t SELECT i, 'name ' || i, jsonb_build_object('n', i) FROM generate_series(1, $1::int) i", ROWS
    )
    load = TableLoad(1, "s.t", TableName("public", "t"), "{}", 0, table_oid=target.value("SELECT 't'::regclass::oid"))

    def bounds() -> dict[str, int]:
        rows = target.rows("SELECT attname, array_length(histogram_bounds, 1) AS n FROM pg_stats WHERE tablename = 't'")
        return {row["attname"]: row["n"] for row in rows}

    async with connected(target.uri) as connection:
        assert target.value("SELECT reltuples FROM pg_class WHERE relname = 't'") < 1
        await finish.analyze(connection, load, rows_made=ROWS)
        assert bounds() == {"_id": 101, "name": 101, "document": 11}, "also where the server does not know its size"
        assert target.value("SELECT reltuples FROM pg_class WHERE relname = 't'") == ROWS
        assert await connection.fetchval("SHOW default_statistics_target") == "100"
        await finish.analyze(connection, load)
        assert bounds() == dict.fromkeys(("_id", "name", "document"), 101), "a table of others'"


async def test_fewer_rows_of_each_column_are_taken_of_a_wide_new_table_where_autovacuum_takes_the_others_later(
    target: Target,
) -> None:
    names = [f"c{number}" for number in range(2 * finish.WIDE_COLUMNS)]
    target.execute(f"CREATE TABLE t ({', '.join(f'{name} integer' for name in names)}) WITH ({NO_AUTOVACUUM})")
    target.execute(
        f"INSERT INTO t SELECT {', '.join(f'i + {n}' for n in range(len(names)))} FROM generate_series(1, $1::int) i",
        ROWS,
    )
    load = TableLoad(1, "s.t", TableName("public", "t"), "{}", 0, table_oid=target.value("SELECT 't'::regclass::oid"))

    def bounds() -> set[int]:
        rows = target.rows("SELECT array_length(histogram_bounds, 1) AS n FROM pg_stats WHERE tablename = 't'")
        assert len(rows) == len(names)
        return {row["n"] for row in rows}

    async with connected(target.uri) as connection:
        await finish.analyze(connection, load, rows_made=ROWS)
        assert bounds() == {51}
        assert await connection.fetchval("SHOW default_statistics_target") == "100"
        await connection.execute("SET default_statistics_target = 12")
        await finish.analyze(connection, load, rows_made=ROWS)
        assert bounds() == {11}, "not fewer than a first look takes"
        await connection.execute("SET default_statistics_target = 4")
        await finish.analyze(connection, load, rows_made=ROWS)
        assert bounds() == {5}, "nor more than the server is set to"
        await connection.execute("RESET default_statistics_target")
        await finish.analyze(connection, load)
        assert bounds() == {101}, "a table of others'"
