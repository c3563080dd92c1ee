"""Edits that a front end sends: what the engine makes of them is what it shows, what it saves, and what a run of it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from engine.errors import EXIT_DONE, UsageError
from engine.plan.reading import read_plan
from engine.protocol import (
    EditablePlan,
    LeaveOut,
    MakePlan,
    PlanEdit,
    RenameColumn,
    RetypeColumn,
    SetPolicies,
)
from tests.running import Engines

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.engine.front_end import FrontEnd

HOSTILE = ['a"b', "a'b\n[[tables]]", "x = 1 # ", "{ }, é\u202e"]


@pytest.mark.parametrize("census", ["sample", "full"])
async def test_what_is_edited_is_what_is_shown_saved_and_run(
    source: Source, target: Target, engines: Engines, census: Literal["sample", "full"]
) -> None:
    fields = dict.fromkeys(HOSTILE, "text")
    source.db['o"r].ders'].insert_many({"_id": number, "n": number, "debug": "x", **fields} for number in range(50))
    engine = await engines.launch(engines.settings(mapping={"naming": "preserve"}))
    before = await engine.client.ask(EditablePlan, MakePlan(census=census))
    assert before.saved is not None
    (table,) = before.saved.tables
    names = {".".join(column.path): column.name for column in table.columns or ()}
    schema, name = table.schema_name, table.table
    edits: list[PlanEdit] = [
        RetypeColumn(schema_name=schema, table=name, column="n", type="numeric"),
        RenameColumn(schema_name=schema, table=name, column="n", new_name='the "number"'),
        SetPolicies(schema_name=schema, table=name, column=names[HOSTILE[0]], nul="strip"),
        LeaveOut(schema_name=schema, table=name, column="debug"),
        LeaveOut(schema_name=schema, table=name, column=names[HOSTILE[1]]),
    ]
    after = await engine.client.ask(EditablePlan, MakePlan(plan=before.toml, edits=edits, census=census, recount=False))
    assert after.saved is not None
    assert after.saved.tables[0].ignored == (("debug",), (HOSTILE[1],))
    shown = {column.field: (column.column, column.type) for column in after.tables[0].columns}
    assert shown["n"] == ('the "number"', "numeric")
    assert after.fingerprint != before.fingerprint

    again = await engine.client.ask(EditablePlan, MakePlan(plan=after.toml, census=census, recount=False))
    assert (again.saved, again.toml, again.fingerprint) == (after.saved, after.toml, after.fingerprint)

    await engine.start(plan=after.toml)
    end = await engine.finished()
    assert (end["exit_code"], end["verification"], end["written"]) == (EXIT_DONE, "verified", 50)
    columns = target.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = format('%I.%I', $1::text, $2::text)::regclass AND attnum > 0"
        " ORDER BY attnum",
        schema,
        name,
    )
    assert [row[0] for row in columns] == [column.name for column in after.saved.tables[0].columns or ()]


async def test_an_edit_that_cannot_be_is_refused_as_in_a_file(source: Source, engines: Engines) -> None:
    source.db.orders.insert_one({"_id": 1, "n": 1})
    engine = await engines.launch(engines.settings("orders"))
    plan = (await engine.client.ask(EditablePlan, MakePlan())).toml
    edit = RenameColumn(schema_name="public", table="orders", column="n", new_name="_id")
    for census in ("sample", "full"):
        with pytest.raises(UsageError) as refused:
            await engine.client.ask(EditablePlan, MakePlan(plan=plan, edits=[edit], census=census))
        message = refused.value.message
        assert message == f"The plan, {source.database}.orders: 2 columns are called _id; rename all but one."
        file = plan.replace('column = "n"', 'column = "_id"')
        with pytest.raises(UsageError, match="2 columns are called _id; rename all but one"):
            await engine.client.ask(EditablePlan, MakePlan(plan=file, census=census))
    with pytest.raises(UsageError, match="no plan that they are made in"):
        await engine.client.ask(EditablePlan, MakePlan(edits=[edit]))


async def test_edits_for_a_table_that_is_there_are_kept_word_for_word(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.orders.insert_many({"_id": number, "name": "x", "note": "y", "n": number} for number in range(10))
    target.execute("CREATE TYPE size AS ENUM ('x', 'y')")
    target.execute(
        "CREATE TABLE orders (_id integer PRIMARY KEY, name varchar(20), note size, n numeric(5,2), _extra jsonb)"
    )
    engine = await engines.launch(engines.settings("orders", run={"mode": "append"}))
    before = await engine.client.ask(EditablePlan, MakePlan())
    assert read_plan(before.toml) == before.saved
    edit = LeaveOut(schema_name="public", table="orders", column="note")
    after = await engine.client.ask(EditablePlan, MakePlan(plan=before.toml, edits=[edit]))
    again = await engine.client.ask(EditablePlan, MakePlan(plan=after.toml))
    assert (again.toml, again.saved, again.fingerprint) == (after.toml, after.saved, after.fingerprint)
    await engine.start(plan=after.toml)
    assert (await engine.finished())["written"] == 10
    assert {tuple(row) for row in target.rows("SELECT name, note, n < 10 FROM orders")} == {("x", None, True)}


def test_scripts_read_the_plan_once(front_end: FrontEnd, source: Source) -> None:
    source.db.orders.insert_one({"_id": 1})
    plan = front_end.do("plan", "--json").last
    assert "toml" in plan
    assert "saved" not in plan
