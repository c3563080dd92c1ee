"""Edits that a front end sends: what the engine makes of them is what it shows, what it saves, and what a run of it does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from engine.errors import EXIT_CANCELLED, EXIT_DONE, UsageError
from engine.plan.reading import read_plan
from engine.protocol import (
    EditablePlan,
    Flatten,
    LeaveOut,
    MakePlan,
    MoveTable,
    PlanEdit,
    PutBack,
    RenameColumn,
    RetypeColumn,
    SetFilter,
    SetPolicies,
)
from tests.engine.test_command_line import INTERRUPTED_WITHIN_S, SILENT
from tests.running import Engines

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.engine.front_end import FrontEnd

HOSTILE = ['a"b', "a'b\n[[tables]]", "x = 1 # ", "{ }, é\u202e"]


@pytest.mark.parametrize("census", [pytest.param("sample", marks=pytest.mark.slow), "full"])
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


async def test_f4_an_edit_keeps_the_evidence_and_reads_nothing_again(source: Source, engines: Engines) -> None:
    source.db.orders.insert_many({"_id": number, "n": number, "debug": "x"} for number in range(50))
    engine = await engines.launch(engines.settings("orders"))
    before = await engine.client.ask(EditablePlan, MakePlan())
    source.db.orders.insert_many({"_id": number, "n": "late"} for number in range(100, 150))
    edit = LeaveOut(schema_name="public", table="orders", column="debug")
    edited = await engine.client.ask(EditablePlan, MakePlan(plan=before.toml, edits=[edit], recount=False))
    (was,), (now,) = before.tables, edited.tables
    assert (now.sampled, now.documents, now.size_bytes) == (50, 50, was.size_bytes)
    assert now.columns == [column for column in was.columns if column.column != "debug"]
    assert [row.id for row in now.preview] == [row.id for row in was.preview]
    source.client.drop_database(source.database)
    undone = await engine.client.ask(EditablePlan, MakePlan(collections=[f"{source.database}.orders"], recount=False))
    assert undone.tables[0].columns == was.columns


async def test_f4_a_refresh_reads_the_source_again(source: Source, engines: Engines) -> None:
    source.db.orders.insert_many({"_id": number, "n": number} for number in range(50))
    engine = await engines.launch(engines.settings("orders"))
    before = await engine.client.ask(EditablePlan, MakePlan())
    source.db.orders.insert_many({"_id": number, "n": "late"} for number in range(100, 150))
    again = await engine.client.ask(EditablePlan, MakePlan(plan=before.toml))
    assert again.tables[0].sampled == 100
    assert [column.kinds for column in again.tables[0].columns][1] == {"int32": 50, "string": 50}


async def test_f5_the_estimate_honours_the_throttle(source: Source, engines: Engines) -> None:
    source.db.orders.insert_many({"_id": number, "n": number} for number in range(5_000))
    settings = engines.settings("orders", run={"throttle": 100})
    engine = await engines.launch(settings)
    plan = await engine.client.ask(EditablePlan, MakePlan())
    assert plan.tables[0].estimate is not None
    assert 50 <= plan.tables[0].estimate.seconds < 52
    assert plan.estimated_seconds == plan.tables[0].estimate.seconds
    assert "The throttle lets 100 rows/s through." in plan.tables[0].estimate.basis


async def test_b17_warnings_about_mixed_types_stay_after_an_edit(source: Source, engines: Engines) -> None:
    amounts = ["12.50", 3, 4.5, "n/a"]
    source.db.legacy.insert_many(
        {"_id": number, "amount": amounts[number % 4], "a.b": "x", "note": "nul\0" if number % 50 == 0 else "fine",
         "ref": number if number % 97 else "none", "user": "u"}
        for number in range(2_000)
    )  # fmt: skip
    engine = await engines.launch(engines.settings("legacy"))
    before = await engine.client.ask(EditablePlan, MakePlan())
    edit = RenameColumn(schema_name="public", table="legacy", column="note", new_name="remark")
    after = await engine.client.ask(EditablePlan, MakePlan(plan=before.toml, edits=[edit], recount=False))
    assert len(before.tables[0].warnings) >= 5
    assert after.tables[0].warnings == before.tables[0].warnings


async def test_f6_a_plan_is_edited_whole_and_run_so(source: Source, target: Target, engines: Engines) -> None:
    source.db.people.insert_many(
        {"_id": number, "address": {"city": "Ulm", "geo": {"lat": 1.5}}, "active": number % 2 == 0, "debug": "x"}
        for number in range(40)
    )
    source.db.orders.insert_many({"_id": number, "n": number} for number in range(10))
    engine = await engines.launch(engines.settings("people", "orders"))
    plan = await engine.client.ask(EditablePlan, MakePlan())
    (offered, _) = plan.offered
    assert [column.name for column in offered.inside["address"]] == ["address_city", "address_geo"]
    people = {"schema_name": "public", "table": "people"}
    edits: list[PlanEdit] = [
        Flatten(**people, column="address", columns=tuple(offered.inside["address"])),
        LeaveOut(**people, column="debug"),
        SetFilter(**people, filter='{"active": true}'),
        MoveTable(**people, new_schema="crm", new_table="persons"),
        RenameColumn(schema_name="crm", table="persons", column="address_city", new_name="city"),
    ]
    edited = await engine.client.ask(EditablePlan, MakePlan(plan=plan.toml, edits=edits, recount=False))
    (persons, orders) = edited.tables
    assert (persons.table, persons.documents, persons.sampled) == ("crm.persons", 20, 20)
    assert (orders.documents, orders.columns) == (10, plan.tables[1].columns)
    assert {column.field: column.column for column in persons.columns}["address.city"] == "city"
    assert [column.path for column in edited.offered[0].others] == [("debug",)]
    await engine.start(plan=edited.toml)
    assert (await engine.finished())["written"] == 30
    rows = target.rows("SELECT DISTINCT city, address_geo->>'lat', active FROM crm.persons")
    assert [tuple(row) for row in rows] == [("Ulm", "1.5", True)]


async def test_f6_a_filter_that_mongodb_refuses_is_told_with_its_place(source: Source, engines: Engines) -> None:
    source.db.orders.insert_one({"_id": 1, "n": 1})
    engine = await engines.launch(engines.settings("orders"))
    plan = await engine.client.ask(EditablePlan, MakePlan())
    refusals = {
        '{"n": ': "orders, filter: it must be Extended JSON",
        '{"$no": 1}': "orders, filter: MongoDB does not take it",
    }
    for text, message in refusals.items():
        edit = SetFilter(schema_name="public", table="orders", filter=text)
        with pytest.raises(UsageError, match=message):
            await engine.client.ask(EditablePlan, MakePlan(plan=plan.toml, edits=[edit], recount=False))


async def test_f6_fields_that_a_saved_plan_does_not_know_are_offered(source: Source, engines: Engines) -> None:
    source.db.orders.insert_one({"_id": 1, "n": 1, "late": "x", "old": 2, "doc": {"a": 1}})
    engine = await engines.launch(engines.settings("orders"))
    text = (
        f'version = 1\n[[tables]]\ncollection = "{source.database}.orders"\ntable = "orders"\nexclude = ["old"]\n'
        'columns = [{ field = "_id", column = "_id", type = "bigint" }, { field = "n", column = "n", type = "bigint" },\n'
        '  { field = "doc.a", column = "a", type = "bigint" }, { role = "extra", column = "_extra", type = "jsonb" }]\n'
    )
    plan = await engine.client.ask(EditablePlan, MakePlan(plan=text))
    assert {column.path: column.type.value for column in plan.offered[0].others} == {
        ("late",): "text",
        ("old",): "integer",
    }
    late = next(column for column in plan.offered[0].others if column.path == ("late",))
    edit = PutBack(schema_name="public", table="orders", column=late, position=3)
    again = await engine.client.ask(EditablePlan, MakePlan(plan=plan.toml, edits=[edit], recount=False))
    assert [column.column for column in again.tables[0].columns] == ["_id", "n", "a", "late", "_extra"]


@pytest.mark.slow
def test_an_older_plan_says_ignore_for_exclude(front_end: FrontEnd, source: Source, tmp_path: Path) -> None:
    source.db.orders.insert_one({"_id": 1, "n": 1, "debug": 1})
    file = tmp_path / "plan.toml"
    front_end.do("plan", "--save", str(file))
    assert "exclude = []" in file.read_text()
    older = tmp_path / "older.toml"
    lines = [line for line in file.read_text().splitlines() if 'column = "debug"' not in line]
    older.write_text("\n".join(lines).replace("exclude = []", 'ignore = ["debug"]'))
    assert "excluded: debug" in front_end.do("plan", "--plan", str(older)).out


def test_b17_an_interrupt_of_plan_against_a_server_that_answers_nothing_ends_at_once(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as hole,
        tempfile.TemporaryDirectory(prefix="mongopg-run-", dir="/tmp") as runtime,
    ):
        uri = f"mongodb://127.0.0.1:{hole.getsockname()[1]}/shop?{SILENT}"
        words = ["plan", "--source", uri, "--target", "postgresql://postgres@127.0.0.1:1/x", "--collection", "shop.a"]
        home = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "XDG_RUNTIME_DIR": runtime}
        with subprocess.Popen(
            [sys.executable, "-m", "tui", *words], env={**os.environ, **home}, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            hole.settimeout(60)
            connection, _ = hole.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                assert process.stderr.readline() == "Interrupted: the engine is being ended.\n"
                assert process.wait(INTERRUPTED_WITHIN_S) == EXIT_CANCELLED
