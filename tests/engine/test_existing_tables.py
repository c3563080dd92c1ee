"""Append and upsert into tables that are there: they begin at the table and at what earlier runs wrote into it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from bson import Int64

from engine.protocol import MakePlan, PlanView
from tests.engine.verification_tools import only, verified
from tests.running import Engines

if TYPE_CHECKING:
    from tests.conftest import Source, Target


async def run(engines: Engines, mode: str, **sections: Any) -> dict[str, Any]:
    """A whole run of the things in a mode; the facts of its end."""
    engine, end = await engines.run(engines.settings("things", run={"mode": mode}, **sections))
    await engine.leave()
    return end


def rows(target: Target, columns: str) -> list[tuple[Any, ...]]:
    """The table by `_id`, what is JSON parsed."""
    found = target.rows(f"SELECT {columns} FROM things ORDER BY _id")
    return [tuple(json.loads(value) if str(value).startswith("{") else value for value in row) for row in found]


async def test_a_table_that_was_restored_from_a_dump_has_the_columns_of_the_runs_before(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.things.insert_one({"_id": 1, "createdAt": "a", "created_at": "b"})
    assert (await run(engines, "create"))["exit_code"] == 0
    target.execute(
        "CREATE TABLE restored AS TABLE things; DROP TABLE things; ALTER TABLE restored RENAME TO things;"
        "ALTER TABLE things ADD PRIMARY KEY (_id), ADD mine text; UPDATE things SET mine = 'kept'"
    )
    source.db.things.update_one({"_id": 1}, {"$set": {"createdAt": "a2"}, "$unset": {"created_at": 1}})

    assert (await run(engines, "upsert"))["exit_code"] == 0

    assert rows(target, "created_at_2, created_at, mine") == [("a2", None, "kept")]
    # One that only has the name, and some of the columns, is another one.
    target.execute("DROP TABLE things; CREATE TABLE things (_id integer PRIMARY KEY, created_at text, _extra jsonb)")
    assert (await run(engines, "upsert"))["exit_code"] == 0
    assert rows(target, "created_at") == [("a2",)]


@pytest.mark.slow
async def test_nightly_upserts_of_drifting_documents_go_on(source: Source, target: Target, engines: Engines) -> None:
    source.db.things.insert_many(
        [
            {"_id": 1, "createdAt": "a", "created_at": "b", "n": 1, "nick": "x", "home": {"city": "B"}, "t": "x"},
            {"_id": 2, "createdAt": "c", "created_at": "d", "n": 2, "nick": "y"},
        ]
    )
    assert (await run(engines, "create", mapping={"flatten": 1}))["exit_code"] == 0
    target.execute("ALTER TABLE things ADD mine text; UPDATE things SET mine = 'kept'")
    source.db.things.drop()
    source.db.things.insert_many(
        [
            {"_id": 1, "createdAt": "a2", "n": Int64(2**40), "fresh": {"x": 1}, "home": {"zip": 7}, "t": None},
            {"_id": 2},
            {"_id": 3, "createdAt": "e", "n": "many", "nick": None},
        ]
    )

    engine, end = await engines.run(engines.settings("things", run={"mode": "upsert"}))

    assert (end["exit_code"], end["verification"], end["written"], end["rejected"]) == (0, "verified", 3, 0)
    assert rows(target, "_id, created_at_2, created_at, n, nick, home_city, t, mine, _extra") == [
        (1, "a2", None, None, None, None, None, "kept", {"n": 2**40, "fresh": {"x": 1}, "home": {"zip": 7}}),
        (2, None, None, None, None, None, None, "kept", None),
        (3, "e", None, None, None, None, None, None, {"n": "many"}),
    ]

    view = await engine.client.ask(PlanView, MakePlan(settings={"run": {"mode": "upsert"}}))
    [planned] = view.tables
    assert [(column.column, column.field) for column in planned.columns] == [
        ("_id", "_id"), ("created_at_2", "createdAt"), ("created_at", "created_at"), ("n", "n"), ("nick", "nick"),
        ("home_city", "home.city"), ("t", "t"), ("_extra", "extra"),
    ]  # fmt: skip
    assert "Field fresh has no column in the table: its values go to _extra." in planned.warnings

    assert only(await verified(engine)).ok
    target.execute("UPDATE things SET nick = 'stale' WHERE _id = 2")
    assert (only(await verified(engine)).different, only(await verified(engine)).ok) == (1, False)
    await engine.leave()

    target.execute("ALTER TABLE things DROP COLUMN _extra")
    before = rows(target, "*")
    end = await run(engines, "upsert")
    assert (end["exit_code"], end["error"]["code"]) == (2, "table_differs")
    assert "Column fresh (jsonb) is missing." in end["error"]["message"]
    assert (rows(target, "*"), target.value("SELECT count(*) FROM mongopg.run")) == (before, 2)
