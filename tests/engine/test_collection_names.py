"""Collections of any name, through whole runs of the command line: what a server calls them is never read as notation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.notation import parsed, written

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.engine.front_end import FrontEnd, Outcome

ODD = (
    "events", "events:archive", "a:x.y", "_Join:users:_Role", "users:mongopg.reject", "back\\slash", "back\\:colon", "end\\",
    "com,ma", 'quo"te', "apo'strophe", "st*r", "wh?", "per%cent", "[red]", "{br}", "line\nbreak", " lead", "trail ", "eq=",
    "ha#sh", "at@", "sl/ash", "-dash", "dots.in.it", "a..b", "dot.", "!bang", "${HOME}", "$${x", "नाम", "न_म", "\ufeffbom",
    "e\u0301", "\u00e9", "esc\x1b[31m", "\u202eturned", "Users", "users", "USERS", "public.t", "system.js", "system.buckets.x",
)  # fmt: skip


def fill(source: Source, names: tuple[str, ...]) -> None:
    """One document for each, which says whose it is."""
    for name in names:
        if "$" in name:
            continue  # no server takes it
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


def test_a_whole_database_of_odd_names_arrives_and_is_found_again(
    source: Source, target: Target, front_end: FrontEnd
) -> None:
    fill(source, ODD)
    names = sorted(name for name in ODD if "$" not in name and not name.startswith("system."))
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
