"""MongoDB's secondary indexes on the target: built on request after the load, once, and never at the rows' expense."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from bson import ObjectId
from pymongo import ASCENDING, DESCENDING, GEOSPHERE, HASHED, TEXT

from engine.errors import EXIT_DONE, EXIT_INCOMPLETE
from engine.mapping.names import MAX_NAME_BYTES, TableName
from engine.mongo.indexes import list_indexes
from engine.postgres.indexes import Index, IndexKey, build_index
from engine.protocol import MakePlan, PlanView
from engine.rows import TableLoad
from tests.running import WAIT_S, Engine, Engines, add_users, assert_users_equal, committed, eventually

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.engine.front_end import FrontEnd

USERS = 5_000
INDEXED: dict[str, Any] = {"indexes": True}


def indexes_of(target: Target, table: str) -> dict[str, str]:
    """Name to definition, behind the table's name."""
    rows = target.rows(
        "SELECT c.relname, pg_get_indexdef(i.indexrelid) AS sql FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE i.indrelid = to_regclass($1) AND i.indisvalid ORDER BY 1",
        table,
    )
    return {row["relname"]: row["sql"].partition(" USING ")[2] for row in rows}


def waiting_builds(target: Target) -> list[Any]:
    return target.rows(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        " AND starts_with(query, 'CREATE INDEX')"
    )


def problems(engine: Engine, code: str) -> list[dict[str, Any]]:
    return [facts for facts in engine.facts_of("problem") if facts["code"] == code]


async def test_indexes_are_built_only_when_asked_for(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    source.db.users.create_index("username")
    await engines.run()
    assert [*indexes_of(target, "users")] == ["users_pkey"]


async def test_every_index_that_postgresql_can_have_is_there_after_the_load(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    users = source.db.users
    users.create_index([("username", ASCENDING), ("age", DESCENDING)])
    users.create_index("registeredAt", sparse=True)
    users.create_index("email", unique=True, partialFilterExpression={"active": True, "age": {"$gte": 18}})
    users.create_index([("bio", TEXT)])
    users.create_index([("username", HASHED)])
    users.create_index("address.city")
    users.create_index("$**")
    users.create_index([("address.location", GEOSPHERE)])
    users.create_index("tags")
    users.create_index("balance", expireAfterSeconds=5)

    engine, end = await engines.run(engines.settings("users", run=INDEXED))

    assert (end["exit_code"], end["state"], end["verification"]) == (EXIT_DONE, "completed", "verified")
    assert_users_equal(source, target)
    assert indexes_of(target, "users") == {
        "users_pkey": "btree (_id)",
        "users_username_age_desc_idx": "btree (username, age DESC)",
        "users_registered_at_idx": "btree (registered_at) WHERE (registered_at IS NOT NULL)",
        "users_email_key": "btree (email) WHERE ((active = true) AND (age >= 18))",
        "users_balance_idx": "btree (balance)",
    }
    assert end["tables"]["public.users"]["indexes"] == {"built": 4, "failed": 0}
    left = [facts["message"] for facts in problems(engine, "index_left")]
    assert len(left) == 6
    assert f"Index address.city_1 of {source.database}.users will not be created: its field address.city is inside the jsonb"\
        " column address; flatten address to create it." in left  # fmt: skip
    view = await engine.client.ask(PlanView, MakePlan())
    assert [index.name for index in view.tables[0].indexes] == [
        "users_username_age_desc_idx", "users_registered_at_idx", "users_email_key", "users_balance_idx",
    ]  # fmt: skip
    assert all(any(sentence in warning for warning in view.warnings) for sentence in left)
    assert any("makes MongoDB delete old documents" in warning for warning in view.warnings)


async def test_renamed_and_flattened_columns_are_indexed_under_their_names(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, 100)
    source.db.users.create_index([("address.city", 1), ("_id", -1)])
    await engines.run(engines.settings("users", run=INDEXED, mapping={"flatten": 1}))
    assert indexes_of(target, "users")["users_address_city__id_desc_idx"] == "btree (address_city, _id DESC)"


async def test_a_unique_index_that_cannot_be_built_is_named_and_the_load_is_whole(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.people.insert_many(
        [{"_id": number, "code": number // 2 if number < 4 else f"c{number}"} for number in range(9)]
    )
    source.db.people.create_index("name")
    # Unique in MongoDB, where 1 and "1" differ; as text, which an operator asks for, they are the same.
    source.db.people.delete_many({"_id": {"$in": [1, 3]}})
    source.db.people.insert_one({"_id": 50, "code": "1", "name": "secret"})
    source.db.people.create_index("code", unique=True)
    engine = await engines.launch(engines.settings("people", run=INDEXED))
    text = (await engine.client.ask(PlanView, MakePlan())).toml
    plan = text.replace('column = "code", type = "jsonb"', 'column = "code", type = "text"')

    await engine.start(plan=plan)
    end = await engine.finished()

    assert (end["exit_code"], end["state"], end["verification"]) == (EXIT_INCOMPLETE, "completed", "verified")
    assert (end["written"], committed(target, "people")) == (8, 8)
    assert end["tables"]["public.people"]["indexes"] == {"built": 1, "failed": 1}
    assert [*indexes_of(target, "people")] == ["people_name_idx", "people_pkey"]
    (problem,) = problems(engine, "index")
    assert problem["message"] == (
        "Index people_code_key of public.people (code_1 in MongoDB) cannot be built: several rows have the same code, "
        "which is to be unique. All rows are there."
    )
    (query,) = [part.partition(": ")[2] for part in problem["advice"].split("; settle")][:1]
    assert [tuple(row) for row in target.rows(query)] == [("1", 2)]
    (shown,) = [each for each in engine.snapshot.problems if each.code == "index"]
    assert "CREATE UNIQUE INDEX" in shown.advice


async def test_a_key_too_long_for_an_index_costs_the_index_alone(
    source: Source, target: Target, engines: Engines
) -> None:
    noise = "".join(f"{number * 7919 % 100_003:x}" for number in range(4_000))
    source.db.notes.insert_many([{"_id": 1, "text": noise, "n": 1}, {"_id": 2, "text": "short", "n": 2}])
    source.db.notes.create_index("text")
    source.db.notes.create_index("n")
    engine, end = await engines.run(engines.settings("notes", run=INDEXED))
    assert (end["exit_code"], end["written"]) == (EXIT_INCOMPLETE, 2)
    assert [*indexes_of(target, "notes")] == ["notes_n_idx", "notes_pkey"]
    assert (
        "Index notes_text_idx of public.notes (text_1 in MongoDB) cannot be built: PostgreSQL says: index row"
        in (problems(engine, "index")[0]["message"])
    )


async def test_a_table_that_was_there_keeps_its_indexes(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, 100)
    source.db.users.create_index("username")
    await engines.run()
    source.db.users.delete_many({})
    add_users(source, 50, first=1_000)
    engine, end = await engines.run(engines.settings("users", run={"mode": "append", **INDEXED}))
    assert (end["exit_code"], committed(target)) == (EXIT_DONE, 150)
    assert [*indexes_of(target, "users")] == ["users_pkey"]
    assert (
        "was there before, so its indexes are left as they are; planned were users_username_idx."
        in (problems(engine, "index_left")[0]["message"])
    )


async def test_a_replaced_table_gets_its_indexes_under_their_own_names(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    source.db.users.create_index("username")
    source.db.users.create_index("email", unique=True)
    settings = engines.settings("users", run={"mode": "replace", **INDEXED})
    for _ in range(2):  # the second time, an index of the same name is on the table that goes
        _, end = await engines.run(settings)
        assert end["exit_code"] == EXIT_DONE
        assert indexes_of(target, "users") == {
            "users_email_key": "btree (email)",
            "users_pkey": "btree (_id)",
            "users_username_idx": "btree (username)",
        }
    assert_users_equal(source, target)


async def test_a_run_that_broke_off_while_building_goes_on_and_builds_each_once(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    source.db.users.create_index("username")
    source.db.users.create_index("email")
    # An upsert has its key from the beginning, so that indexes are all that is left to build.
    settings = engines.settings("users", run={"mode": "upsert", **INDEXED})
    engine = await engines.launch(settings)
    blocker = await asyncpg.connect(target.uri)
    try:
        await engine.start()
        await engine.until(lambda now: now.written >= 1, "rows")
        # Building waits for this lock; the copy, which takes no stronger one, does not.
        await blocker.execute("BEGIN; LOCK TABLE users IN ROW EXCLUSIVE MODE")
        await engine.until(lambda now: now.phase == "building indexes", "the building of indexes")
        await eventually(lambda: len(waiting_builds(target)) == 2, WAIT_S, engine.account)
        engine.kill()
    finally:
        await blocker.close()
    await engine.until_gone()

    again, end = await engines.run(settings, resume="")

    assert again.run_id == engine.run_id
    assert (end["exit_code"], end["verification"]) == (EXIT_DONE, "verified")
    assert [*indexes_of(target, "users")] == ["users_email_idx", "users_pkey", "users_username_idx"]
    assert_users_equal(source, target)


async def test_the_indexes_of_a_table_do_not_wait_for_the_key_of_another(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    source.db.users.create_index("username")
    source.db.items.insert_many({"_id": n} for n in range(USERS))
    engine = await engines.launch(engines.settings("users", "items", run=INDEXED))
    blocker = await asyncpg.connect(target.uri)
    try:
        await engine.start()
        await engine.until(lambda now: now.written >= 1, "rows")
        # The key waits for this lock; the copy, which takes no stronger one, does not.
        await blocker.execute("BEGIN; LOCK TABLE items IN ROW EXCLUSIVE MODE")
        await eventually(lambda: "users_username_idx" in indexes_of(target, "users"), WAIT_S, engine.account)
        assert not indexes_of(target, "items")
    finally:
        await blocker.close()
    end = await engine.finished()
    assert end["exit_code"] == EXIT_DONE
    assert [*indexes_of(target, "items"), *indexes_of(target, "users")] == [
        "items_pkey",
        "users_pkey",
        "users_username_idx",
    ]


async def test_an_index_that_is_there_already_is_not_built_again(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    source.db.users.create_index("username")
    settings = engines.settings("users", run={"throttle": 3_000, "page_size": 500, **INDEXED})
    engine = await engines.launch(settings)
    await engine.start()
    await engine.until_written(500)
    await engine.cancel(now=True)
    await engine.finished()
    await engine.leave()
    target.execute("CREATE INDEX users_username_idx ON users (username)")
    oid = target.value("SELECT 'users_username_idx'::regclass::oid")

    _, end = await engines.run(engines.settings("users", run=INDEXED), resume="")

    assert end["exit_code"] == EXIT_DONE
    assert end["tables"]["public.users"]["indexes"] == {"built": 1, "failed": 0}
    assert target.value("SELECT 'users_username_idx'::regclass::oid") == oid


async def test_an_index_that_is_just_being_built_counts_as_built(target: Target) -> None:
    target.execute("CREATE TABLE t (_id integer, a integer)")
    oid = target.value("SELECT 't'::regclass::oid")
    load = TableLoad(1, "shop.t", TableName("public", "t"), "{}", 0, table_oid=oid)
    index = Index(name="t_a_idx", source_name="a_1", keys=(IndexKey(column="a"),))
    dead, ours = await asyncpg.connect(target.uri), await asyncpg.connect(target.uri)
    try:
        await dead.execute("BEGIN; CREATE INDEX t_a_idx ON t (a)")
        building = asyncio.create_task(build_index(ours, "run", load, index))
        await eventually(lambda: waiting_builds(target), WAIT_S, lambda: "none waits")
        await dead.execute("COMMIT")
        assert await building is None
        taken = index.model_copy(update={"name": "t"})
        assert "cannot be built: PostgreSQL says: relation" in (await build_index(ours, "run", load, taken) or "")
    finally:
        await dead.close()
        await ours.close()
    assert [*indexes_of(target, "t")] == ["t_a_idx"]


async def test_resuming_without_the_indexes_is_another_plan(source: Source, engines: Engines) -> None:
    add_users(source, 100)
    engine, _ = await engines.run(engines.settings("users", run=INDEXED))
    _, end = await engines.run(engines.settings("users"), resume=engine.run_id)
    assert (end["error"]["code"], "indexes was true and is null" in end["error"]["message"]) == ("plan_changed", True)


def test_the_servers_list_is_read_as_data(source: Source) -> None:
    orders = source.db.orders
    orders.insert_one({"_id": ObjectId()})
    orders.create_index([("a", 1), ("b.c", -1)], unique=True, name="both", hidden=True)
    orders.create_index("a", collation={"locale": "de"}, sparse=True, name="german")
    orders.create_index([("loc", GEOSPHERE)], name="geo")
    orders.create_index([("$**", 1)], name="wild")
    orders.create_index("t", partialFilterExpression={"t": {"$gt": 5}}, expireAfterSeconds=1, name="late")
    both, german, geo, wild, late = list_indexes(orders)
    assert (both.keys, both.unique, both.hidden) == ((("a", False), ("b.c", True)), True, True)
    assert (german.has_collation, german.sparse, german.kind) == (True, True, "ordered")
    assert [(each.kind, each.keys) for each in (geo, wild)] == [("2dsphere", ()), ("wildcard", ())]
    assert (late.partial, late.expires) == ({"t": {"$gt": 5}}, True)
    source.db.command("create", "seen", viewOn="orders", pipeline=[])
    assert list_indexes(source.db.seen) == []


@pytest.mark.parametrize("mode", ["create", "replace"])
async def test_names_that_are_too_long_stay_different(
    source: Source, target: Target, engines: Engines, mode: str
) -> None:
    field = "f" * 60
    source.db.wide.insert_one({"_id": 1, f"{field}a": 1, f"{field}b": 2})
    source.db.wide.create_index(f"{field}a")
    source.db.wide.create_index(f"{field}b")
    _, end = await engines.run(engines.settings("wide", run={"mode": mode, **INDEXED}))
    assert end["exit_code"] == EXIT_DONE
    names = [*indexes_of(target, "wide")]
    assert len(names) == 3
    assert all(len(name) <= MAX_NAME_BYTES and "mongopg" not in name for name in names)


def test_the_flag_on_the_command_line(front_end: FrontEnd, source: Source, target: Target) -> None:
    add_users(source, 100)
    source.db.users.create_index("username")
    ran = front_end.do("run", "--json", "--indexes")
    assert (ran.code, ran.last["tables"]["public.users"]["indexes"]) == (EXIT_DONE, {"built": 1, "failed": 0})
    assert "users_username_idx" in indexes_of(target, "users")
