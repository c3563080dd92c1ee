"""A run with `run.limit` copies the first documents by `_id`, no more and no fewer; a run's own tables can be dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from bson import Int64

from engine.errors import EXIT_DONE, EXIT_USAGE, UsageError
from engine.protocol import DiscardRun
from tests.running import Engines, add_users, assert_ledger, assert_users_equal, committed

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 20_000
LIMIT = 7_000


async def test_exactly_the_first_documents_are_copied(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    source.db.few.insert_many([{"_id": number} for number in range(100)])

    settings = engines.settings("users", "few", run={"limit": LIMIT, "cluster_size": 3})
    engine, end = await engines.run(settings)

    assert (end["exit_code"], end["verification"], end["written"]) == (EXIT_DONE, "verified", LIMIT + 100)
    assert end["tables"]["public.users"]["source"] == LIMIT
    assert engine.snapshot.total == LIMIT + 100
    assert engine.snapshot.partitions_total >= 3
    rest = [user["_id"] for user in source.db.users.find({}, {"_id": 1}).sort("_id").skip(LIMIT)]
    assert_users_equal(source, target, without=rest)
    assert_ledger(target, engine.run_id, rows=LIMIT + 100)


async def test_the_limit_counts_in_the_order_of_the_index_whatever_the_kinds(
    source: Source, target: Target, engines: Engines
) -> None:
    keys: list[Any] = [
        *range(500),
        *(number + 0.5 for number in range(500)),
        *(f"k{number}" for number in range(1_000)),
    ]
    source.db.mixed.insert_many([{"_id": key, "n": place} for place, key in enumerate(keys)])
    first = [each["n"] for each in source.db.mixed.find().sort("_id").limit(1_300)]

    _, end = await engines.run(engines.settings("mixed", run={"limit": 1_300}))

    assert end["exit_code"] == EXIT_DONE
    assert sorted(row["n"] for row in target.rows("SELECT n FROM mixed")) == sorted(first)


@pytest.mark.slow
async def test_a_limit_as_large_as_the_collection_changes_nothing(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, 3_000)

    engine, end = await engines.run(engines.settings("users", run={"limit": 3_000}))

    assert (end["exit_code"], end["written"]) == (EXIT_DONE, 3_000)
    assert_users_equal(source, target)
    assert_ledger(target, engine.run_id, rows=3_000)


@pytest.mark.slow
async def test_a_resumed_run_keeps_its_limit(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    settings = engines.settings("users", run={"limit": LIMIT})
    engine = await engines.launch(engines.settings("users", run={"limit": LIMIT, "throttle": 1_500, "page_size": 200}))
    await engine.start()
    await engine.until_written(1_000)
    await engine.cancel(now=True)
    assert (await engine.finished())["state"] == "cancelled"
    await engine.leave()

    again, end = await engines.run(settings, resume="")

    assert again.run_id == engine.run_id
    assert (end["exit_code"], committed(target)) == (EXIT_DONE, LIMIT), (end, again.account())
    assert_ledger(target, engine.run_id, rows=LIMIT)


@pytest.mark.slow
async def test_another_limit_is_another_plan(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, 2_000)
    first, _ = await engines.run(engines.settings("users", run={"limit": 1_000}))

    _, end = await engines.run(engines.settings("users", run={"limit": 1_500}), resume=first.run_id)

    assert end["error"]["code"] == "plan_changed"
    assert "limit was 1000 and is 1500" in end["error"]["message"]
    assert committed(target) == 1_000


async def test_what_can_only_be_read_whole_is_refused_with_a_limit(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.orders.insert_one({"_id": Int64(1)})
    source.db.command("create", "seen", viewOn="orders", pipeline=[])

    _, end = await engines.run(engines.settings("seen", run={"limit": 10}))

    assert (end["exit_code"], end["error"]["code"]) == (EXIT_USAGE, UsageError.code)
    assert end["error"]["message"].startswith(f"{source.database}.seen can only be copied whole, being a view")
    assert target.value("SELECT to_regclass('seen') IS NULL")


@pytest.mark.slow
async def test_a_discarded_run_takes_the_table_that_it_made_along_only_when_asked(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, 1_000)
    engine, _ = await engines.run()
    desk = await engines.launch()
    answer = await desk.client.call(DiscardRun(run=engine.run_id))
    assert (answer["dropped"], committed(target)) == ([], 1_000)

    appended, _ = await engines.run(engines.settings("users", run={"mode": "upsert"}))
    answer = await desk.client.call(DiscardRun(run=appended.run_id, drop_tables=True))
    assert (answer["dropped"], committed(target)) == ([], 1_000)

    target.execute("DROP TABLE users")
    made, _ = await engines.run()
    target.execute("CREATE VIEW seen AS SELECT * FROM users")
    with pytest.raises(UsageError, match="cannot drop table users because other objects depend on it"):
        await desk.client.call(DiscardRun(run=made.run_id, drop_tables=True))
    assert committed(target) == 1_000
    target.execute("DROP VIEW seen")
    answer = await desk.client.call(DiscardRun(run=made.run_id, drop_tables=True))
    assert answer["dropped"] == ["public.users"]
    assert target.value("SELECT to_regclass('users') IS NULL")
    assert target.value("SELECT count(*) FROM mongopg.run") == 0
