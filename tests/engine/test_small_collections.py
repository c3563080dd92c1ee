"""Many small collections: what each costs the servers, and that what is in the way of one is said of that one."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from engine.config import Settings
from engine.errors import EXIT_DONE, MigrationError
from engine.mapping.model import Kind
from engine.plan import choose, make_plan
from engine.run.same_source import require_same_collections
from tests.running import Engines

if TYPE_CHECKING:
    from tests.conftest import Source, Target

MANY = 24


def add_collections(source: Source, count: int, documents: int = 20) -> list[str]:
    """Small collections, alike in everything but their names."""
    names = [f"small{number:04}" for number in range(count)]
    for name in names:
        source.db[name].insert_many({"_id": n, "name": f"n{n}", "half": n / 2} for n in range(documents))
    return names


def whole_database(source: Source, target: Target, **run: Any) -> Settings:
    """Every collection of the source."""
    return Settings.model_validate(
        {"source": {"uri": source.uri}, "target": {"uri": target.uri}, "run": {"cluster_size": 2} | run}
    )


async def test_a_small_collection_is_read_twice_and_counted_together_with_others(
    source: Source, target: Target, engines: Engines
) -> None:
    names = add_collections(source, MANY)
    source.db.command("profile", 2)
    _, facts = await engines.run(whole_database(source, target))
    source.db.command("profile", 0)
    assert facts["exit_code"] == EXIT_DONE
    asked: Counter[tuple[str, str]] = Counter()
    for entry in source.db["system.profile"].find({"appName": {"$regex": "^mongopg-tui"}}):
        command: dict[str, Any] = entry.get("command", {})
        if command.get("limit") == 1:
            continue  # whether the source can be read as of a time, asked once of a run
        asked[entry["ns"].partition(".")[2], next(iter(command), entry["op"])] += 1
    found = {name: (asked[name, "find"], asked[name, "count"]) for name in names}
    assert found == dict.fromkeys(names, (2, 0))  # the sample, the copy
    assert (
        sum(count for (_, command), count in asked.items() if command == "aggregate") == 2
    )  # before the copy, and after it
    listed = sum(count for (_, command), count in asked.items() if command == "listCollections")
    assert listed <= 4  # which there are, their facts, and whether they are still the same


async def test_keys_statistics_and_counts_of_small_tables_are_had_together(
    source: Source, target: Target, engines: Engines
) -> None:
    names = add_collections(source, MANY)
    _, facts = await engines.run(whole_database(source, target))
    assert (facts["exit_code"], facts["verification"]) == (EXIT_DONE, "verified")
    # A table whose key is made in the transaction of another's: of its catalogue rows the newest are of one transaction.
    made = target.rows(
        "SELECT i.xmin::text AS made, count(*) AS n FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
        " WHERE i.indisprimary AND c.relname LIKE 'small%' GROUP BY 1"
    )
    assert sum(row["n"] for row in made) == MANY
    assert len(made) <= 4
    analyzed = target.value(
        "SELECT count(DISTINCT tablename) FROM pg_stats WHERE tablename LIKE 'small%' AND attname = '_id'"
    )
    assert analyzed == MANY
    for name in names:
        assert target.value(f"SELECT count(*) FROM {name}") == 20


async def test_two_equal_keys_among_small_tables_are_told_of_their_table_and_the_others_are_whole(
    source: Source, target: Target, engines: Engines
) -> None:
    names = add_collections(source, 6)
    settings = whole_database(source, target)
    engine = await engines.launch(settings)
    # A row more than was copied: the key of one table cannot be built.
    target.execute(
        "CREATE FUNCTION again() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity = 'public.small0003') THEN"
        "  CREATE FUNCTION public.twice() RETURNS trigger LANGUAGE plpgsql AS"
        "   'BEGIN IF NEW._id = 7 THEN NEW._id := 8; END IF; RETURN NEW; END';"
        "  CREATE TRIGGER twice BEFORE INSERT ON public.small0003 FOR EACH ROW EXECUTE FUNCTION public.twice();"
        " END IF; END $$;"
        " CREATE EVENT TRIGGER again ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION again()"
    )
    await engine.start()
    facts = await engine.finished()
    assert facts["state"] == "failed"
    assert facts["error"]["code"] == "key"
    assert "small0003" in facts["error"]["message"]
    target.execute("DROP EVENT TRIGGER again; DROP TRIGGER twice ON small0003; UPDATE small0003 SET _id = 7"
                   " WHERE ctid = (SELECT min(ctid) FROM small0003 WHERE _id = 8)")  # fmt: skip
    await engine.leave()
    _, facts = await engines.run(settings, resume="")
    assert (facts["exit_code"], facts["verification"]) == (EXIT_DONE, "verified")
    keys = target.value(
        "SELECT count(*) FROM pg_constraint WHERE contype = 'p' AND conrelid::regclass::text LIKE 'small%'"
    )
    assert keys == len(names)


async def test_a_name_that_was_taken_since_gives_its_table_another_key_name(
    source: Source, target: Target, engines: Engines
) -> None:
    add_collections(source, 5)
    engine = await engines.launch(whole_database(source, target))
    target.execute(
        "CREATE FUNCTION takes() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity = 'public.small0002') THEN"
        "  CREATE SEQUENCE public.small0002_pkey; END IF; END $$;"
        " CREATE EVENT TRIGGER takes ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION takes()"
    )
    await engine.start()
    facts = await engine.finished()
    target.execute("DROP EVENT TRIGGER takes")
    assert facts["exit_code"] == EXIT_DONE
    name = target.value("SELECT conname FROM pg_constraint WHERE contype = 'p' AND conrelid = 'small0002'::regclass")
    assert name == "small0002_2_pkey"


@pytest.mark.parametrize("kinds", [{Kind.INT32}, {Kind.INT32, Kind.STRING, Kind.NULL}])
def test_kinds_of_ids_come_from_a_sample_that_was_the_whole_collection(
    source: Source, target: Target, kinds: set[Kind]
) -> None:
    values = {Kind.INT32: 1, Kind.STRING: "one", Kind.NULL: None}
    source.db.small.insert_many({"_id": values[kind]} for kind in kinds)
    settings = whole_database(source, target)
    source.db.command("profile", 2)
    plan = make_plan(source.client, settings, choose(source.client, settings))
    source.db.command("profile", 0)
    found = plan.tables[0].mapping.id_column.kinds
    assert frozenset(kinds) <= found
    assert (Kind.STRING in found) == (Kind.STRING in kinds)
    assert source.db["system.profile"].count_documents({"op": "query", "ns": f"{source.database}.small"}) == 1


def test_of_many_collections_that_are_gone_a_few_are_named(source: Source) -> None:
    gone: Any = [
        SimpleNamespace(database=source.database, collection=name, namespace=f"shop.{name}", uuid=name)
        for name in (f"c{number}" for number in range(1_000))
    ]
    with pytest.raises(MigrationError) as refused:
        require_same_collections(source.uri, "mongopg-tui test", gone)
    assert refused.value.message.startswith("shop.c0, shop.c1, shop.c2, shop.c3, shop.c4 and 995 more were dropped or")
