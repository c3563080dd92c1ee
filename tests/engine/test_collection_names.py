"""Collections of any name, through whole runs of the command line: what a server calls them is never read as notation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.notation import parsed, written

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.engine.front_end import FrontEnd, Outcome
    from tests.running import Engines

SOME = (
    "events", "events:archive", "a:x.y", "_Join:users:_Role", "users:mongopg.reject", "back\\:colon", "com,ma", "st*r", "[red]",
    "a..b", "-dash", "नाम", "न_म", "\ufeffbom", "Users", "users", "USERS", "system.js",
)  # fmt: skip
MORE = (
    "back\\slash", "end\\", 'quo"te', "apo'strophe", "wh?", "per%cent", "{br}", "line\nbreak", " lead", "trail ", "eq=",
    "ha#sh", "at@", "sl/ash", "dots.in.it", "dot.", "!bang", "e\u0301", "\u00e9", "esc\x1b[31m", "\u202eturned", "public.t",
    "system.buckets.x", "x" * 70, "x" * 71,
)  # fmt: skip


def fill(source: Source, names: tuple[str, ...]) -> None:
    """One document for each, which says whose it is."""
    for name in names:
        source.db.command("insert", name, documents=[{"_id": 1, "name": name}])


def tables_of(outcome: Outcome) -> dict[str, str]:
    """`db.collection` -> quoted table, of a run's last line."""
    return {facts["namespace"]: quoted(table) for table, facts in outcome.last["tables"].items()}


def quoted(target: str) -> str:
    """A table of `finished`, for SQL."""
    named = parsed(f"db.c:{target}")
    return ".".join('"' + name.replace('"', '""') + '"' for name in (named.schema, named.table))


def check(source: Source, target: Target, outcome: Outcome, names: list[str], rows: int = 1) -> dict[str, str]:
    """Every collection is in a table of its own, and nothing else is."""
    assert outcome.code == 0, outcome.err
    found = tables_of(outcome)
    assert [*found] == [f"{source.database}.{name}" for name in names]
    for namespace, table in found.items():
        held = {row[0] for row in target.rows(f"SELECT name FROM {table}")}
        assert held == {namespace.partition(".")[2]}, table
    assert len(set(found.values())) == len(names)
    return found


@pytest.mark.parametrize("odd", [SOME, pytest.param(SOME + MORE, marks=pytest.mark.slow)], ids=["some", "all"])
def test_a_whole_database_of_odd_names_arrives_and_is_found_again(
    source: Source, target: Target, front_end: FrontEnd, odd: tuple[str, ...]
) -> None:
    fill(source, odd)
    names = sorted(name for name in odd if not name.startswith("system."))
    target.execute("CREATE TABLE archive (mine integer); CREATE SCHEMA s; CREATE SEQUENCE events")

    made = front_end.do("run", "--json")

    found = check(source, target, made, names)
    assert target.value("SELECT count(*) FROM archive") == 0
    assert found[f"{source.database}.users"] == '"public"."users"'
    assert found[f"{source.database}.events"] == '"public"."events_2"'
    assert {found[f"{source.database}.{name}"] for name in ("Users", "USERS")} == {
        '"public"."users_2"', '"public"."users_3"',
    }  # fmt: skip
    assert (found[f"{source.database}.नाम"], found[f"{source.database}.\ufeffbom"]) == (
        '"public"."नाम"',
        '"public"."bom"',
    )
    again = front_end.do("run", "--json", "--resume")
    assert (again.code, again.last["run_id"]) == (0, made.last["run_id"])
    # One by one, typed: the same tables, though no other collection is asked for.
    asked = [name for name in names if name in ("Users", "events", "a..b", "back\\:colon", "events:archive")]
    words = [word for name in asked for word in ("--collection", written(source.database, name))]
    upserted = front_end.do("run", "--json", "--mode", "upsert", *words)
    assert sorted(tables_of(upserted).items()) == sorted(
        (f"{source.database}.{name}", found[f"{source.database}.{name}"]) for name in asked
    )
    assert front_end.do("verify", "--json", "--level", "full").code == 0


@pytest.mark.slow
def test_what_is_typed_goes_where_it_says_by_flags_environment_and_file(
    source: Source, target: Target, front_end: FrontEnd
) -> None:
    fill(source, ("events", "events:archive", "a,b", "system.js"))
    database = source.database

    flags = front_end.do(
        "run", "--json", "--collection", rf"{database}.events\:archive:public.t", "--collection", rf"{database}.events:one",
        "--collection", rf"{database}.events:s.two\.three", "--collection", f"{database}.system.js",
    )  # fmt: skip

    assert flags.code == 0, flags.err
    assert {table: facts["namespace"].partition(".")[2] for table, facts in flags.last["tables"].items()} == {
        "public.t": "events:archive", "public.one": "events", "s.two.three": "events", "public.system_js": "system.js",
    }  # fmt: skip
    assert target.value('SELECT name FROM s."two.three"') == "events"
    # Two tables of one collection are both in the request: the run by its id, and its plan, saved and run.
    resumed = front_end.do("run", "--json", "--resume", flags.last["run_id"])
    assert (resumed.code, resumed.last["run_id"]) == (0, flags.last["run_id"])
    words = ["--collection", f"{database}.events:one", "--collection", rf"{database}.events:s.two\.three"]
    assert front_end.do("plan", "--save", "two.toml", "--mode", "replace", *words).code == 0
    planned = front_end.do("run", "--json", "--plan", "two.toml")
    assert (planned.code, [*planned.last["tables"]]) == (0, ["public.one", "s.two.three"])
    entries = rf"{database}.a\,b:public.comma, {database}.events\:archive:public.colon"
    from_variable = front_end.do("run", "--json", MONGOPG_RUN_COLLECTIONS=entries)
    assert (from_variable.code, [*from_variable.last["tables"]]) == (0, ["public.comma", "public.colon"])


def test_a_target_that_no_table_may_be_is_refused(source: Source, front_end: FrontEnd) -> None:
    plan = (
        f'version = 1\n[[tables]]\ncollection = "{source.database}.users"\nschema = "information_schema"\ntable = "t"\n'
    )
    (front_end.folder / "plan.toml").write_text(plan)
    for words, says in (
        (["--collection", f"{source.database}.users:mongopg.event"], "the schema mongopg is not for target tables"),
        (["--plan", "plan.toml"], "the schema information_schema is not for target tables"),
    ):
        refused = front_end.do("run", "--json", *words)
        assert (refused.code, says in refused.last["error"]["message"]) == (2, True), refused


@pytest.mark.slow
async def test_patterns_leave_collections_out_and_do_not_count_on_resume(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source, ("users", "tmp_1", "tmp_2", "st*r", "star"))
    patterns = ["tmp_*", r"st\*r", "user", "mongodb://me:canary@h/d"]

    engine, made = await engines.run(engines.settings(run={"exclude": patterns}))

    assert (made["exit_code"], [*made["tables"]]) == (0, ["public.star", "public.users"])
    assert [facts["message"] for facts in engine.facts_of("problem")] == [
        "run.exclude: 'user' matches no collection, so it excludes nothing; did you mean users?",
        "run.exclude: 'mongodb://me:***@h/d' matches no collection, so it excludes nothing.",
    ]
    await engine.leave()
    for settings in (engines.settings("users", "star"), engines.settings(run={"exclude": [*patterns, "nothing"]})):
        again, end = await engines.run(settings, resume="")
        assert (end["exit_code"], end["run_id"]) == (0, made["run_id"])
        await again.leave()
    _, nothing = await engines.run(engines.settings(run={"exclude": ["*"]}))
    assert nothing["exit_code"] == 2
    assert "run.exclude excludes every collection" in nothing["error"]["message"]


# --- names that the target has ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["create", "replace"])
async def test_keys_and_indexes_get_names_that_nothing_has(
    source: Source, target: Target, engines: Engines, mode: str
) -> None:
    fill(source, ("users", "a", "a_pkey", "a_b", "taken"))
    source.db.a.create_index("b_c")
    source.db.a_b.create_index("c")
    for name in ("a", "a_b"):
        source.db[name].update_one({}, {"$set": {"b_c": 1, "c": 2}})
    target.execute(
        "CREATE TABLE users_old (_id integer CONSTRAINT users_pkey PRIMARY KEY); CREATE SEQUENCE a_b_pkey;"
        "CREATE TYPE taken AS ENUM ('x'); CREATE INDEX taken_2 ON users_old (_id)"
    )

    for _ in range(2 if mode == "replace" else 1):
        engine, made = await engines.run(engines.settings(run={"mode": mode, "indexes": True}))

        assert made["exit_code"] == 0, made
        assert [*made["tables"]] == ["public.a", "public.a_b", "public.a_pkey", "public.taken_3", "public.users"]
        rows = target.rows(
            "SELECT indrelid::regclass::text AS t, indexrelid::regclass::text AS i FROM pg_index"
            " WHERE indrelid::regclass::text IN ('a', 'a_b', 'a_pkey', 'taken_3', 'users') ORDER BY 1, 2"
        )
        assert [tuple(row) for row in rows] == [
            ("a", "a_2_pkey"), ("a", "a_b_c_idx"), ("a_b", "a_b_2_pkey"), ("a_b", "a_b_c_2_idx"), ("a_pkey", "a_pkey_pkey"),
            ("taken_3", "taken_3_pkey"), ("users", "users_2_pkey"),
        ]  # fmt: skip
        await engine.leave()
