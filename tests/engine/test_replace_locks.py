"""Tables beyond the room of the server's lock table: made in groups, held by schema, and a swap refused before the load."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest

from engine.errors import TargetExists, TargetHeld, UsageError
from engine.ledger import runs, table_locks
from engine.ledger.earlier_runs import mappings_of
from engine.ledger.runs import NewRun
from engine.mapping.names import TableName
from engine.postgres import prepare
from engine.postgres.lock_room import lock_table
from engine.rows import TableLoad
from tests.engine.target_tools import NAMESPACE, RUN
from tests.engine.test_target_tables import MAPPING, connected
from tests.running import Engines, committed

if TYPE_CHECKING:
    from tests.conftest import Source, Target


@asynccontextmanager
async def room_left(target: Target, entries: int) -> AsyncIterator[None]:
    """Another session, in another database, holds so many locks that room for about so many is left."""
    other = await asyncpg.connect(target.uri.replace(target.database, "postgres"))
    try:
        taken = (await lock_table(other)).free - entries
        await other.execute(f"SELECT count(pg_advisory_lock(7, n)) FROM generate_series(1, {taken}) n")
        yield
    finally:
        await other.close()


def names(count: int, schema: str = "public") -> list[TableName]:
    """Tables."""
    return [TableName(schema, f"t{number:03}") for number in range(count)]


async def prepared(connection: asyncpg.Connection, mode: str, tables: list[TableName]) -> list[TableLoad]:
    """What a run would make."""
    wanted = [(number, NAMESPACE, table, MAPPING, 3, True) for number, table in enumerate(tables)]
    loads, _ = await prepare.prepare(connection, RUN, mode, wanted, mappings_of)
    return loads


async def test_a_swap_that_the_lock_table_has_no_room_for_is_refused_before_the_load(target: Target) -> None:
    tables = names(30)
    for table in tables:
        target.execute(f"CREATE TABLE {table.sql} (_id text NOT NULL PRIMARY KEY, n integer)")
    async with connected(target.uri) as connection:
        assert len(await prepared(connection, "replace", tables)) == 30
        async with room_left(target, 200):
            with pytest.raises(UsageError) as refused:
                await prepared(connection, "replace", tables)
            assert len(await prepared(connection, "replace", tables[:5])) == 5, "fewer have room"
            assert len(await prepared(connection, "create", names(30, "other"))) == 30
    assert refused.value.code == "locks"
    for words in ("Replacing 30 tables", "max_locks_per_transaction = 64", "or replace fewer tables in one run"):
        assert words in refused.value.message


async def test_many_tables_are_held_by_their_schema(target: Target) -> None:
    async with connected(target.uri) as many, connected(target.uri) as one, room_left(target, 100):
        await table_locks.hold_tables(many, [*names(60), TableName("shop", "t")])
        assert target.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"
                            f" AND pid = {many.get_server_pid()}") == 2  # fmt: skip
        with pytest.raises(TargetHeld, match=r"Schema public is held by another run: session \d+"):
            await table_locks.hold_tables(one, [TableName("public", "elsewhere")])
        await table_locks.hold_tables(one, [TableName("third", "t")])
        await table_locks.release_tables(many, [*names(60), TableName("shop", "t")])
        await table_locks.hold_tables(one, [TableName("public", "t059")])
        with pytest.raises(TargetHeld, match=r"Table public\.t059 is held by another run"):
            await table_locks.hold_tables(many, names(60))
        await table_locks.release_tables(one, [TableName("public", "t059")])
        await table_locks.hold_tables(many, names(60))


async def test_a_run_whose_tables_are_made_in_groups_begins_with_the_last(target: Target) -> None:
    tables = names(7)
    run = NewRun(RUN, "f", "create", "mongodb://localhost/shop", "postgresql://localhost/x", "{}", "here")
    ends = []

    async def at_end() -> None:
        ends.append(target.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"))

    async with connected(target.uri) as connection:
        loads = await prepared(connection, "create", tables)
        target.execute("CREATE TABLE t004 (mine text)")
        with pytest.raises(TargetExists):
            await runs.create_run_and_tables(connection, run, loads, [], tables_at_once=2, at_end=at_end)
        assert target.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 5
        assert await runs.is_unbegun(connection, RUN)
        assert await runs.find_run(connection, fingerprint="f") is None, "there is nothing to resume"
        await runs.clear_unbegun(connection, "another", tables[:6])
        assert await runs.has_run(connection, RUN), "another session may hold its last table"

        await runs.clear_unbegun(connection, "another", tables)

        assert not await runs.has_run(connection, RUN)
        assert [row[0] for row in target.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")] == [
            "t004"
        ]
        target.execute("DROP TABLE t004")
        await runs.create_run_and_tables(connection, run, loads, [], tables_at_once=2, at_end=at_end)
        assert ends == [6], "in the transaction of the last group, which no other session sees yet"
        assert not await runs.is_unbegun(connection, RUN)
        await runs.check_same_tables(connection, RUN)
        assert len(await runs.discard(connection, RUN, drop_tables=True)) == 7


async def test_a_run_that_breaks_off_between_groups_leaves_nothing(
    source: Source, target: Target, engines: Engines
) -> None:
    for table in names(5):
        source.db[table.table].insert_one({"n": 1})
    target.execute("""
        CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$
        BEGIN IF to_regclass('t004') IS NOT NULL THEN RAISE EXCEPTION 'no more tables'; END IF; END $$;
        CREATE EVENT TRIGGER no ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION no()""")
    settings = engines.settings(*(table.table for table in names(5)))
    async with room_left(target, 70):
        engine, end = await engines.run(settings)
        await engine.leave()
        await engine.until_gone()
        assert (end["exit_code"], "no more tables" in end["error"]["message"]) == (1, True)
        assert target.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        assert target.value("SELECT count(*) FROM mongopg.run") == 0
        target.execute("DROP EVENT TRIGGER no")

        engine, end = await engines.run(settings, resume="")

    assert (end["exit_code"], end["verification"], end["written"]) == (0, "verified", 5)
    assert committed(target, "t004") == 1
    assert target.value("SELECT count(DISTINCT xmin::text) FROM pg_class WHERE relname ~ '^t00.$'") > 1
