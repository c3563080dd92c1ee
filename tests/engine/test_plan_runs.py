"""Runs of saved plans: what an operator edited is what happens, and resuming guards it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, ObjectId

from engine.errors import EXIT_DONE, EXIT_INCOMPLETE, EXIT_USAGE
from engine.protocol import MakePlan, PlanView
from tests.running import Engines, add_users, assert_ledger, assert_same, assert_users_equal, committed

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.engine.front_end import FrontEnd

USERS = 20_000


async def saved_plan(engines: Engines, *collections: str, **sections: Any) -> str:
    """What `plan --save` writes."""
    engine = await engines.launch(engines.settings(*collections, **sections))
    return (await engine.client.ask(PlanView, MakePlan())).toml


def edited(text: str, *edits: tuple[str, str]) -> str:
    for before, after in edits:
        assert before in text, (before, text)
        text = text.replace(before, after, 1)
    return text


def add_orders(source: Source, count: int = 3_000) -> list[dict[str, Any]]:
    orders = [
        {"_id": ObjectId(), "no": number, "total": Decimal128(f"{number}.50"), "open": number % 3 == 0,
         "address": {"city": f"city {number % 7}", "zip": 1000 + number}, "debug": "x"}
        for number in range(count)
    ]  # fmt: skip
    source.db.orders.insert_many(orders)
    return orders


async def test_a_saved_plan_runs_as_the_proposal_would(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine, end = await engines.run(engines.settings("users"), plan=await saved_plan(engines, "users"))
    assert (end["exit_code"], end["verification"]) == (EXIT_DONE, "verified")
    assert_users_equal(source, target)
    assert_ledger(target, engine.run_id, rows=USERS)


async def test_every_edit_takes_effect(source: Source, target: Target, engines: Engines) -> None:
    orders = add_orders(source)
    text = edited(
        await saved_plan(engines, "orders"),
        ('schema = "public"\ntable = "orders"', 'schema = "crm"\ntable = "sales"'),
        ('field = "no", column = "no", type = "integer"', 'field = "no", column = "number", type = "bigint"'),
        ('column = "total", type = "numeric"', 'column = "total", type = "text", kinds = ["decimal128"]'),
        ("exclude = []", 'exclude = ["debug"]'),
        ("filter = \"\"", 'filter = \'{"open": true, "no": {"$lt": 2000}}\''),
    )  # fmt: skip
    lines = [line for line in text.split("\n") if '{ field = "address",' not in line and 'field = "debug"' not in line]
    lines = [line.replace('# { field = "address', '{ field = "address') for line in lines]

    engine, end = await engines.run(engines.settings("other"), plan="\n".join(lines))

    wanted = [order for order in orders if order["open"] and order["no"] < 2_000]
    assert (end["exit_code"], end["verification"]) == (EXIT_DONE, "verified"), end
    (counts,) = end["tables"].values()
    assert counts["source"] == counts["target"] == engine.snapshot.total == len(wanted)
    assert_ledger(target, engine.run_id, rows=len(wanted))
    columns = target.rows(
        "SELECT attname, format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = 'crm.sales'::regclass AND attnum > 0"
        " ORDER BY attnum"
    )
    assert [tuple(row) for row in columns] == [
        ("_id", "text"), ("number", "bigint"), ("total", "text"), ("open", "boolean"), ("address_city", "text"),
        ("address_zip", "integer"), ("_extra", "jsonb"),
    ]  # fmt: skip
    rows = target.rows("SELECT _id, number, total, address_city, address_zip, _extra FROM crm.sales")
    assert_same(
        {str(order["_id"]): (order["no"], str(order["total"]), order["address"]["city"], order["address"]["zip"], None)
         for order in wanted},
        [(row[0], tuple(row)[1:]) for row in rows],
    )  # fmt: skip


async def test_what_the_plan_does_not_know_follows_the_policy_for_drift(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.items.insert_many([{"_id": number, "a": 1, "b": "x"} for number in range(100)])
    column = 'column = "b", type = "text", kinds = ["string"]'
    plan = edited(await saved_plan(engines, "items"), (column, f'{column}, overflow = "reject"'))
    source.db.items.insert_many([{"_id": 100, "a": "text", "late": [1]}, {"_id": 101, "b": 5}])

    _, end = await engines.run(engines.settings(), plan=plan)

    assert (end["exit_code"], end["written"], end["rejected"]) == (EXIT_INCOMPLETE, 101, 1)
    row = target.rows("SELECT a, b, _extra FROM items WHERE _id = 100")[0]
    assert (row["a"], row["b"], json.loads(row["_extra"])) == (None, None, {"a": "text", "late": [1]})
    assert target.value("SELECT field FROM mongopg.reject") == "b"


@pytest.mark.slow
async def test_a_policy_of_one_field_and_a_key_that_holds_a_dot(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.command(
        "insert", "items", documents=[{"_id": 1, "a": "x\0y", "b": "x\0y", "c.d": 5}, {"_id": 2, "a": "x\0y", "c.d": 6}]
    )
    text = await saved_plan(engines, "items")
    assert '{ field = ["c.d"], column = "c_d", type = "integer" }' in text
    plan = edited(
        text, ('column = "a", type = "text", kinds = ["string"]', 'column = "a", type = "text", nul = "strip"')
    )

    _, end = await engines.run(engines.settings(), plan=plan)

    assert (end["written"], end["rejected"]) == (1, 1)
    assert tuple(target.rows("SELECT _id, a, c_d FROM items")[0]) == (2, "xy", 6)


async def test_columns_left_to_the_documents_without_a_field(source: Source, target: Target, engines: Engines) -> None:
    add_orders(source, 100)
    plan = f'version = 1\n[[tables]]\ncollection = "{source.database}.orders"\ntable = "o"\nignore = ["debug"]\n'
    _, end = await engines.run(engines.settings(), plan=plan)
    assert end["exit_code"] == EXIT_DONE
    names = [row["attname"] for row in target.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'o'::regclass AND attnum > 0 ORDER BY attnum")]  # fmt: skip
    assert names == ["_id", "no", "total", "open", "address", "_extra"]
    assert target.value("SELECT count(*) FROM o WHERE _extra IS NOT NULL") == 0


@pytest.mark.slow
async def test_a_filter_and_a_limit_together(source: Source, target: Target, engines: Engines) -> None:
    orders = add_orders(source)
    plan = edited(await saved_plan(engines, "orders"), ('filter = ""', "filter = '{\"open\": true}'"))
    _, end = await engines.run(engines.settings("orders", run={"limit": 200}), plan=plan)
    assert (end["exit_code"], end["verification"], end["written"]) == (EXIT_DONE, "verified", 200)
    wanted = [order["no"] for order in orders if order["open"]][:200]
    assert sorted(row["no"] for row in target.rows("SELECT no FROM orders")) == wanted


@pytest.mark.slow
async def test_a_filter_of_a_view(source: Source, target: Target, engines: Engines) -> None:
    add_orders(source, 300)
    source.db.command("create", "seen", viewOn="orders", pipeline=[])
    plan = edited(await saved_plan(engines, "seen"), ('filter = ""', "filter = '{\"open\": true}'"))
    _, end = await engines.run(engines.settings(), plan=plan)
    assert (end["exit_code"], end["verification"], committed(target, "seen")) == (EXIT_DONE, "verified", 100)


async def test_a_filter_that_the_server_refuses_is_named_before_anything_is_made(
    source: Source, target: Target, engines: Engines
) -> None:
    add_orders(source, 10)
    text = await saved_plan(engines, "orders")
    for query, reason in (('{"no": {"$greater": 1}}', "unknown operator: $greater"), ('{"$where": "true"}', "$where")):
        plan = edited(text, ('filter = ""', f"filter = '{query}'"))
        _, end = await engines.run(engines.settings(), plan=plan)
        assert (end["exit_code"], end["state"]) == (EXIT_USAGE, "failed")
        message = end["error"]["message"]
        assert message.startswith(f"The plan, {source.database}.orders, filter: MongoDB does not take it: ")
        assert reason in message
    assert target.value("SELECT to_regclass('orders') IS NULL")


async def test_a_mistake_in_the_plan_ends_the_run_before_it_connects(engines: Engines, target: Target) -> None:
    _, end = await engines.run(engines.settings(), plan="version = 1")
    assert (end["exit_code"], end["state"]) == (EXIT_USAGE, "failed")
    assert end["error"]["message"] == "The plan, tables: there must be a [[tables]] for each collection."
    assert target.value("SELECT to_regnamespace('mongopg') IS NULL")


async def test_mixed_ids_as_text_have_their_key_first_and_two_that_become_equal_are_rejects(
    source: Source, target: Target, engines: Engines
) -> None:
    twin = ObjectId()
    source.db.mixed.insert_many([{"_id": twin}, {"_id": str(twin)}, {"_id": "else"}])
    plan = edited(
        await saved_plan(engines, "mixed"), ('column = "_id", type = "jsonb"', 'column = "_id", type = "text"')
    )
    _, end = await engines.run(engines.settings(), plan=plan)
    assert (end["exit_code"], end["written"], end["rejected"]) == (EXIT_INCOMPLETE, 2, 1)
    assert target.value("SELECT count(*) FROM mixed WHERE _id IN ($1, 'else')", str(twin)) == 2


# --- resume -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_cancelled_run_of_a_plan_goes_on_with_it_and_with_no_other(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    plan = edited(await saved_plan(engines, "users"), ('column = "username"', 'column = "login"'))
    settings = engines.settings("users", run={"throttle": 6_000, "page_size": 500})
    engine = await engines.launch(settings)
    await engine.start(plan=plan)
    await engine.until_written(1_000)
    await engine.cancel()
    assert (await engine.finished())["state"] == "cancelled"
    await engine.leave()

    other = edited(plan, ('column = "login", type = "text"', 'column = "login", type = "jsonb"'))
    _, refused = await engines.run(engines.settings("users"), plan=other, resume=engine.run_id)
    assert (refused["exit_code"], refused["error"]["code"]) == (EXIT_USAGE, "plan_changed")
    assert f'plan.{source.database}.users.columns.login.type was "text" and is "jsonb"' in refused["error"]["message"]

    _, refused = await engines.run(engines.settings("users"), resume=engine.run_id)
    assert "plan is missing" in refused["error"]["message"]

    again, end = await engines.run(engines.settings("users"), plan=plan + "\n# a comment\n", resume="")
    assert again.run_id == engine.run_id
    assert (end["exit_code"], end["verification"]) == (EXIT_DONE, "verified")
    assert target.value("SELECT count(DISTINCT login) > 1 FROM users")
    assert_ledger(target, engine.run_id, rows=USERS)


@pytest.mark.slow
async def test_a_resumed_run_keeps_its_filter(source: Source, target: Target, engines: Engines) -> None:
    orders = add_orders(source, 12_000)
    plan = edited(await saved_plan(engines, "orders"), ('filter = ""', "filter = '{\"open\": true}'"))
    engine = await engines.launch(engines.settings("orders", run={"throttle": 1_500, "page_size": 100}))
    await engine.start(plan=plan)
    await engine.until_written(300)
    await engine.cancel(now=True)
    await engine.finished()
    await engine.leave()

    _, end = await engines.run(engines.settings("orders"), plan=plan, resume="")

    wanted = sorted(order["no"] for order in orders if order["open"])
    assert (end["exit_code"], end["verification"]) == (EXIT_DONE, "verified")
    assert sorted(row["no"] for row in target.rows("SELECT no FROM orders")) == wanted


# --- the command ------------------------------------------------------------------------------------------------------


def test_save_edit_run(front_end: FrontEnd, source: Source, target: Target) -> None:
    add_orders(source)
    assert front_end.do("plan", "--save", "plan.toml").code == EXIT_DONE
    file = front_end.folder / "plan.toml"
    file.write_text(
        edited(file.read_text(), ('filter = ""', 'filter = \'{"no": {"$gte": 2990}}\''), ('"create"', '"append"'))
    )
    shown = front_end.do("plan", "--plan", "plan.toml")
    assert "10 documents, filter" in shown.out
    ran = front_end.do("run", "--json", "--plan", "plan.toml")
    assert (ran.code, ran.last["written"]) == (EXIT_DONE, 10)
    again = front_end.do("run", "--json", "--plan", "plan.toml")
    assert (again.code, committed(target, "orders")) == (EXIT_INCOMPLETE, 10), "the key rejects the same documents"
