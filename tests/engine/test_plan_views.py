"""What `plan` shows, from real servers: a preview, SQL that psql takes, estimates, warnings; and nothing is written."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, ObjectId
from bson.codec_options import CodecOptions
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument

from engine.demo.binaries import find_binaries
from engine.errors import EXIT_DONE, EXIT_USAGE, MigrationError, MissingCollection, UsageError
from engine.protocol import MakePlan, PlanView, Snapshot, Status, TableView, ValuesView
from tests.running import Engines, add_users

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.engine.front_end import FrontEnd

PSQL = find_binaries().initdb.with_name("psql")
HOSTILE = "\x1b]52;c;AAAA\x07\u202egnp"
USERS = 20_000


async def plan_of(engines: Engines, *collections: str, plan: str = "", **sections: dict[str, Any]) -> PlanView:
    engine = await engines.launch(engines.settings(*collections, **sections))
    return await engine.client.ask(PlanView, MakePlan(plan=plan))


async def test_a_plan_is_made_with_the_settings_that_come_with_the_question(source: Source, engines: Engines) -> None:
    source.db.plain.insert_one({"_id": 1, "firstName": "A", "home": {"city": "B"}})
    source.db.other.insert_one({"_id": 1})
    engine = await engines.launch(engines.settings("plain"))
    sections = {"run": {"collections": [], "mode": "append"}, "mapping": {"naming": "preserve", "flatten": 1}}
    asked = {"settings": {**sections, "target": {"schema": "crm"}}, "collections": [f"{source.database}.plain"]}
    for census in ("sample", "full"):
        plan = await engine.client.ask(PlanView, MakePlan.model_validate({**asked, "census": census}))
        (table,) = plan.tables
        assert (plan.mode, table.table) == ("append", "crm.plain")
        assert [column.column for column in table.columns] == ["_id", "firstName", "home_city", "_extra"]
    again = await engine.client.ask(PlanView, MakePlan())
    assert "first_name" in [column.column for column in again.tables[0].columns]


async def test_a_census_is_taken_by_as_many_workers_as_the_question_says(source: Source, engines: Engines) -> None:
    source.db.plain.insert_many({"_id": number} for number in range(100))
    engine = await engines.launch(engines.settings("plain", run={"cluster_size": 1}))
    await engine.client.ask(PlanView, MakePlan(census="full", settings={"run": {"cluster_size": 3}}))
    assert (await engine.client.ask(Snapshot, Status())).cluster_size == 3


def psql(target: Target, script: str) -> None:
    """Execute a script as an operator would: it stops at the first error."""
    ran = subprocess.run(
        [PSQL, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", target.uri],
        input=f"SET client_min_messages = warning;\n{script}", capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")


def shape_of(target: Target, table: str) -> list[tuple[Any, ...]]:
    """Columns with types, and the definitions of the indexes, as PostgreSQL has them."""
    columns = target.rows(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute"
        " WHERE attrelid = to_regclass($1) AND attnum > 0 ORDER BY attnum",
        table,
    )
    indexes = target.rows(
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = to_regclass($1) ORDER BY 1", table
    )
    return [tuple(row) for row in (*columns, *indexes)]


def fill_hostile(source: Source) -> None:
    """A collection whose names and values are all meant to be obeyed."""
    source.db["a\"b'; DROP TABLE x; --"].insert_many(
        [
            {"_id": f"{HOSTILE}{number}", 'say "hi"': number, "line\nfeed": 1, HOSTILE: HOSTILE, "a;b--": "$$", "": 1,
             "x" * 80: 1}
            for number in range(3)
        ]
    )  # fmt: skip


async def test_a_plan_explains_every_column(source: Source, engines: Engines) -> None:
    source.db.orders.insert_many(
        [{"_id": ObjectId(), "total": number if number % 4 else float(number), "note": "x"} for number in range(100)]
        + [{"_id": ObjectId(), "total": "five", "deep": {"er": 1}} for _ in range(100)]
    )
    (table,) = (await plan_of(engines, "orders")).tables
    columns = {column.column: column for column in table.columns}
    assert [*columns] == ["_id", "total", "note", "deep", "_extra"]
    assert (columns["_id"].type, columns["_id"].nullable, table.primary_key) == ("text", False, "_id")
    total = columns["total"]
    assert (total.type, total.seen_percent) == ("jsonb", 100)
    assert total.kinds == {"double": 12.5, "int32": 37.5, "string": 50}
    assert total.note == "string 50%, int32 37.5%, double 12.5%; in 100% of the documents"
    assert (columns["note"].seen_percent, columns["note"].field) == (50, "note")
    assert (table.documents, table.sampled, table.kind) == (200, 200, "collection")


async def test_a_plan_tells_what_the_census_saw(source: Source, engines: Engines) -> None:
    source.db.people.insert_many(
        [
            {"_id": 1, "name": "Ada", "age": 5, "at": DatetimeMS(2**62), "tags": ["a", 1, "b", "c\0"], "": 2},
            {"_id": 2, "name": None, "age": 0.5, "deep": {"er": [{"x": "nul\0"}]}, "price": Decimal128("1.50")},
            {"_id": 3, "price": 7, "name": "Eva"},
        ]
    )
    raw: Any = source.db.get_collection("people", CodecOptions(RawBSONDocument))
    (table,) = (await plan_of(engines, "people")).tables
    seen = {column.column: column.values for column in table.columns}
    assert seen["name"] == ValuesView(present=3, nulls=1, longest=3)
    assert seen["age"] == ValuesView(present=2, low=0.5, high=5)
    assert seen["price"] == ValuesView(present=2, low="1.50", high=7)
    assert seen["at"] == ValuesView(present=1, bad_dates=1)
    assert seen["tags"] == ValuesView(present=1, nul=1, depth=1, elements={"string": 75, "int32": 25})
    assert seen["deep"] == ValuesView(present=1, nul=1, depth=3)
    assert seen["_extra"] is None
    assert [column.field for column in table.columns if column.column == "_empty"] == ['""']
    assert (table.census, table.sampled, table.depth, table.corrupt, table.untracked) == ("sample", 3, 4, 0, 0)
    assert table.largest == max(len(document.raw) for document in raw.find())
    assert sum("NUL" in warning for warning in table.warnings) == 3, "two fields, and the documents that it rejects"


async def test_the_preview_shows_rows_as_they_will_be_and_documents_that_will_not(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.people.insert_many(
        [{"_id": number, "name": "Ada", "at": DatetimeMS(1_700_000_000_123), "tags": ["a", 1]} for number in range(8)]
        + [{"_id": 90, "name": "nul\0nul"}]
    )
    (table,) = (await plan_of(engines, "people")).tables
    rows = [row for row in table.preview if not row.reject]
    assert len(rows) == 5
    assert rows[0].values == [rows[0].id, "Ada", "2023-11-14 22:13:20.123+00", '["a",1]', None]
    assert [(row.id, row.reject) for row in table.preview if row.reject] == [("90", "nul in name: a NUL character")]
    assert any("1 of 9 sampled documents would be rejected: 1 × NUL in name." in warning for warning in table.warnings)
    assert target.value("SELECT to_regnamespace('mongopg') IS NULL")
    assert target.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0


async def test_the_policy_in_force_is_in_the_preview(source: Source, engines: Engines) -> None:
    source.db.people.insert_one({"_id": 1, "name": "a\0b", "born": DatetimeMS(-(2**62))})
    mapping = {"nul": "replace", "date_range": "infinity"}
    (table,) = (await plan_of(engines, "people", mapping=mapping)).tables
    assert table.preview[0].values == ["1", "a\ufffdb", "-infinity", None]


async def test_warnings_come_in_the_order_of_their_weight_over_all_tables(source: Source, engines: Engines) -> None:
    source.db.a.insert_many([{"_id": 1, "x": 1}, {"_id": 2, "x": "one"}])
    source.db.b.insert_one({"_id": 1, "name": "a\0b"})
    plan = await plan_of(engines, "a", "b")
    kinds = [("rejected" in warning or "NUL" in warning) for warning in plan.warnings]
    assert kinds == sorted(kinds, reverse=True)
    assert plan.warnings[-1].startswith(f"{source.database}.a: Field x holds")
    assert plan.tables[0].warnings == [plan.warnings[-1].partition(": ")[2]]


@pytest.mark.parametrize("with_indexes", [pytest.param(False, marks=pytest.mark.slow), True])
async def test_psql_takes_the_script_and_it_makes_what_a_run_makes(
    source: Source, target: Target, engines: Engines, with_indexes: bool
) -> None:
    add_users(source, 500)
    source.db.users.create_index([("username", 1), ("age", -1)])
    source.db.users.create_index("email", unique=True, partialFilterExpression={"age": {"$gt": 30}})
    fill_hostile(source)
    hostile = "a\"b'; DROP TABLE x; --"
    source.db[hostile].create_index('say "hi"')
    source.db[hostile].create_index("line\nfeed", unique=False)
    names = ["users:app data.users", f"{hostile}:app data.h"]
    settings = engines.settings(*names, run={"indexes": with_indexes}, mapping={"naming": "preserve"})
    engine = await engines.launch(settings)
    plan = await engine.client.ask(PlanView, MakePlan())
    assert all(index.sql in table.ddl for table in plan.tables for index in table.indexes)

    psql(target, "".join(table.ddl for table in plan.tables))

    tables = ['"app data".users', '"app data".h']
    by_script = [shape_of(target, table) for table in tables]
    assert len(target.rows("SELECT FROM pg_indexes WHERE schemaname = 'app data'")) == (6 if with_indexes else 2)
    target.execute('DROP SCHEMA "app data" CASCADE')
    await engine.start()
    assert (await engine.finished())["exit_code"] == EXIT_DONE
    assert [shape_of(target, table) for table in tables] == by_script


async def test_the_estimate_is_near_what_the_table_comes_to(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    source.db.users.create_index("username")
    settings = engines.settings("users", run={"indexes": True})
    engine = await engines.launch(settings)
    (table,) = (await engine.client.ask(PlanView, MakePlan())).tables
    assert table.estimate is not None
    assert table.estimate.seconds > 0
    assert "Estimated from 2,000 documents converted here by the" in table.estimate.basis
    await engine.start()
    await engine.finished()
    # Pages with rows: sessions that write at a time add pages in advance, and some stay empty.
    real = target.value("SELECT count(DISTINCT (ctid::text::point)[0]) * 8192 FROM users")
    indexes = target.value("SELECT pg_indexes_size('users')")
    assert 0.8 < table.estimate.table_bytes / real < 1.25
    assert 0.6 < table.estimate.index_bytes / indexes < 1.6


async def test_views_and_empty_collections_have_plans(source: Source, engines: Engines) -> None:
    add_users(source, 50)
    source.db.command("create", "seen", viewOn="users", pipeline=[])
    source.db.create_collection("nothing")
    view, nothing = (await plan_of(engines, "seen", "nothing")).tables
    assert (view.kind, view.primary_key, len(view.preview)) == ("view", "", 5)
    assert (nothing.documents, nothing.preview, nothing.estimate) == (0, [], None)
    assert "CREATE TABLE" in nothing.ddl


async def test_a_collection_that_is_not_there_is_named(source: Source, engines: Engines) -> None:
    with pytest.raises(MissingCollection, match=r"MongoDB has no collection .*gone"):
        await plan_of(engines, "gone")


async def test_a_view_whose_pipeline_fails_is_named(source: Source, engines: Engines) -> None:
    add_users(source, 5)
    source.db.command("create", "broken", viewOn="users", pipeline=[{"$project": {"n": {"$divide": [1, 0]}}}])
    with pytest.raises(
        MigrationError, match=rf"^{source.database}\.broken cannot be read: MongoDB refused .* in mongosh"
    ):
        await plan_of(engines, "users", "broken")
    _, end = await engines.run(engines.settings("broken"))
    assert (end["state"], end["exit_code"]) == ("failed", 1)
    assert f"{source.database}.broken cannot be read" in end["error"]["message"]


async def test_values_are_cut_and_come_as_data(source: Source, engines: Engines) -> None:
    fill_hostile(source)
    source.db.big.insert_one({"_id": 1, "text": "y" * 100_000})
    tables: list[TableView] = (await plan_of(engines, "a\"b'; DROP TABLE x; --", "big")).tables
    assert HOSTILE in tables[0].preview[0].values
    assert tables[1].preview[0].values[1] == "y" * 199 + "…"


# --- the command ------------------------------------------------------------------------------------------------------


def test_text_for_people_is_harmless_and_json_is_the_whole(front_end: FrontEnd, source: Source) -> None:
    fill_hostile(source)
    shown = front_end.do("plan")
    assert (shown.code, shown.err) == (EXIT_DONE, "")
    for acting in ("\x1b", "\x07", "\u202e"):
        assert acting not in shown.out
    assert "Preview" in shown.out
    assert "estimate: " in shown.out

    plan = PlanView.model_validate(front_end.do("plan", "--json").last)
    assert plan.tables[0].preview[0].values[0] == f"{HOSTILE}0"
    assert plan.toml.startswith("# A plan of mongopg-tui")
    assert "\x1b" not in plan.toml


def test_ddl_alone_is_on_stdout(front_end: FrontEnd, source: Source, target: Target) -> None:
    add_users(source, 100)
    source.db.users.create_index("email", unique=True)
    printed = front_end.do("plan", "--ddl", "--indexes")
    assert (printed.code, printed.err) == (EXIT_DONE, "")
    psql(target, printed.out)
    assert target.value("SELECT count(*) FROM pg_index WHERE indrelid = 'users'::regclass AND indisunique") == 2


def test_a_saved_plan_is_not_written_over(front_end: FrontEnd, source: Source) -> None:
    add_users(source, 100)
    saved = front_end.do("plan", "--save", "plan.toml")
    assert (saved.code, saved.out) == (EXIT_DONE, "")
    assert "The plan is in plan.toml" in saved.err
    text = (front_end.folder / "plan.toml").read_text()
    again = front_end.do("plan", "--save", "plan.toml")
    assert again.code == EXIT_USAGE
    assert "plan.toml exists already, and edits may be in it" in again.err
    assert (front_end.folder / "plan.toml").read_text() == text
    assert sorted(os.listdir(front_end.folder)) == ["plan.toml", "state"]


@pytest.mark.parametrize("flags", [("--mode", "append"), pytest.param(("--collection", "a.b"), marks=pytest.mark.slow)])
def test_a_flag_that_the_plan_decides_is_refused(front_end: FrontEnd, flags: tuple[str, str]) -> None:
    for command in ("plan", "run"):
        refused = front_end.do(command, "--plan", "plan.toml", *flags)
        assert refused.code == EXIT_USAGE
        assert f"Give {flags[0]} or --plan, not both: change it in plan.toml instead." in refused.err


def test_a_plan_that_cannot_be_read_is_named(front_end: FrontEnd) -> None:
    refused = front_end.do("run", "--headless", "--plan", "gone.toml")
    assert refused.code == EXIT_USAGE
    assert "The plan gone.toml cannot be read: No such file or directory." in refused.err


async def test_an_edited_plan_is_shown_with_what_does_not_fit_it(source: Source, engines: Engines) -> None:
    source.db.orders.insert_many([{"_id": 1, "total": 5, "x": 1}, {"_id": 2, "total": "five", "x": 1}])
    plan = f"""
    version = 1
    [[tables]]
    collection = "{source.database}.orders"
    table = "orders"
    columns = [
      {{ field = "_id", column = "id", type = "bigint" }},
      {{ field = "total", column = "amount", type = "bigint" }},
      {{ role = "extra", column = "rest", type = "jsonb" }},
    ]
    """
    shown = await plan_of(engines, plan=plan)
    (table,) = shown.tables
    assert [(column.field, column.column, column.type) for column in table.columns] == [
        ("_id", "id", "bigint"),
        ("total", "amount", "bigint"),
        ("extra", "rest", "jsonb"),
    ]
    assert table.warnings == [
        "Field total also holds string: such values do not fit and go to _extra.",
        "3 values of 2 sampled documents go to _extra.",
        "Field x is not in the plan: its values go to _extra.",
    ]
    assert {row.id: row.values for row in table.preview}["2"] == ["2", None, '{"total":"five","x":1}']
    strict = plan.replace('"amount", type = "bigint"', '"amount", type = "bigint", overflow = "reject"')
    shown = await plan_of(engines, plan=strict)
    assert "Field total also holds string: such values do not fit and have their documents rejected." in (
        shown.tables[0].warnings
    )
    assert "do not fit and go to _extra" not in shown.toml
    assert "do not fit and have their documents rejected" in shown.toml
    with pytest.raises(UsageError, match="The plan is not valid TOML"):
        await plan_of(engines, plan="[")
