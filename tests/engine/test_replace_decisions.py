"""Mode replace: what is refused before the load, what is found by the swap only, and when a rename does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from bson import Int64

from engine.errors import MigrationError, TargetExists, UsageError
from engine.ledger import runs
from engine.ledger.earlier_runs import mappings_of
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.names import TableName
from engine.postgres import attachments, finish, prepare
from engine.postgres.indexes import Index, IndexKey, signature
from engine.protocol import RunState
from engine.rows import TableLoad
from tests.engine.catalogue import facts_of
from tests.engine.target_tools import NAMESPACE, RUN
from tests.engine.test_target_tables import MAPPING, begin, connected, finish_run, load_rows
from tests.older_servers import NAMED_NOT_NULL, postgres_version
from tests.running import Engines, committed

if TYPE_CHECKING:
    from tests.conftest import Source, Target

WIDER = Mapping(
    columns=(
        *MAPPING.columns,
        Column(name="m", type=ColumnType.BIGINT, kinds=frozenset({Kind.INT64})),
        Column(name="_extra", type=ColumnType.JSONB, role=Role.EXTRA),
    )
)
TABLE = "CREATE TABLE users (_id text NOT NULL CONSTRAINT users_pkey PRIMARY KEY, n integer)"


@asynccontextmanager
async def undone(connection: Any) -> AsyncIterator[None]:
    """A transaction that leaves nothing behind."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


async def wanted(connection: Any, mode: str, *tables: str, mapping: Mapping = MAPPING, **more: Any) -> list[TableLoad]:
    """What a run would do with some tables."""
    asked = [
        (number, NAMESPACE, TableName("public", table), mapping, 3, True)
        for number, table in enumerate(tables or ("users",))
    ]
    loads, _ = await prepare.prepare(connection, RUN, mode, asked, mappings_of, **more)
    return loads


@pytest.mark.parametrize("mode", ["create", "replace"])
async def test_what_is_no_table_and_has_the_name_is_found_before_the_load(target: Target, mode: str) -> None:
    makes = {
        "a view": "CREATE VIEW users AS SELECT 1 AS x",
        "a materialized view": "CREATE MATERIALIZED VIEW users AS SELECT 1 AS x",
        "a foreign table": "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
        "CREATE FOREIGN TABLE users (n integer) SERVER s",
        "a sequence": "CREATE SEQUENCE users",
        "an index": "CREATE TABLE t (n integer); CREATE INDEX users ON t (n)",
        "a composite type": "CREATE TYPE users AS (n integer)",
        "a domain": "CREATE DOMAIN users AS integer",
        "a type": "CREATE TYPE users AS ENUM ('a')",
    }
    async with connected(target.uri) as connection:
        for what, statements in makes.items():
            async with undone(connection):
                await connection.execute(statements)
                with pytest.raises(
                    TargetExists if mode == "create" else UsageError, match=rf"public\.users is {what}"
                ) as refused:
                    await wanted(connection, mode)
                assert refused.value.exit_code == 2


async def test_what_cannot_be_kept_is_refused_with_its_name(target: Target) -> None:
    refused = {
        "foreign key orders_u_fkey of orders": f"{TABLE}; CREATE TABLE orders (u text REFERENCES users)",
        "foreign key orders_n_fkey of orders": "CREATE TABLE users (_id text PRIMARY KEY, n integer UNIQUE, note text);"
        "CREATE TABLE orders (n integer REFERENCES users (n))",
        "of orders depend on it: drop them": "CREATE TABLE above (_id text PRIMARY KEY, n integer)"
        " PARTITION BY LIST (_id); CREATE TABLE users PARTITION OF above DEFAULT;"
        "CREATE TABLE orders (u text REFERENCES above)",
        "foreign table far": "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
        "CREATE TABLE users (_id text, n integer) PARTITION BY LIST (_id);"
        "CREATE FOREIGN TABLE far PARTITION OF users DEFAULT SERVER s",
        "none of the plan's columns, and policy p": "CREATE TABLE users (other text); CREATE POLICY p ON users",
        "Column n is date, the plan needs integer": "CREATE TABLE users (_id text, n date); CREATE VIEW v AS TABLE users",
        "Column n is generated": "CREATE TABLE users (_id text, n integer GENERATED ALWAYS AS (1) STORED)",
        "Column own is NOT NULL without a default": f"{TABLE}; ALTER TABLE users ADD own text NOT NULL",
        "It lacks n, and a partition gets no": "CREATE TABLE above (_id text, o text) PARTITION BY LIST (_id);"
        "CREATE TABLE users PARTITION OF above DEFAULT; INSERT INTO users VALUES ('a')",
        "It lacks n, and a table of a type gets no": "CREATE TYPE u AS (_id text, o text); CREATE TABLE users OF u",
        "It lacks n, and a table with children gets no": "CREATE TABLE users (_id text, o text);"
        "CREATE TABLE below () INHERITS (users)",
    }
    # A table that lacks the plan's columns is another one, unless a run of ours has written to it.
    known = "INSERT INTO mongopg.run (run_id, fingerprint, state, mode, source, target, plan, engine_host, engine_pid)"
    known += " VALUES ('earlier', 'f', 'completed', 'append', '', '', '{{}}', '', 0);"
    known += "INSERT INTO mongopg.table_load VALUES ('earlier', 0, 'a.b', 'public', 'users', NULL, 'users'::regclass,"
    known += " '{mapping}', 0, 0, false)"
    mapping = Mapping(columns=MAPPING.columns[:1]).model_dump_json()
    async with connected(target.uri) as connection:
        for what, statements in refused.items():
            async with undone(connection):
                await connection.execute(statements)
                if what.startswith("It lacks"):
                    await connection.execute(known.format(mapping=mapping))
                try:
                    found = str(await wanted(connection, "replace"))
                except UsageError as error:
                    found = error.message
                assert what.strip() in found, found
                assert "public.users" in found


async def test_an_event_trigger_that_refuses_the_swap_is_found_before_the_load(target: Target) -> None:
    target.execute("""
        CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''tables stay''; END';
        CREATE EVENT TRIGGER keep ON sql_drop WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION no()""")
    async with connected(target.uri) as connection:
        with pytest.raises(UsageError, match=r"cannot be replaced: .*tables stay.* event trigger keep: disable"):
            await wanted(connection, "replace")
        assert target.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        assert len(await wanted(connection, "create")) == 1
        target.execute("ALTER EVENT TRIGGER keep DISABLE")
        assert len(await wanted(connection, "replace")) == 1


async def test_tables_of_one_run_may_refer_to_each_other_unless_in_a_ring(target: Target) -> None:
    target.execute(f"""
        {TABLE}; CREATE TABLE items (_id text PRIMARY KEY, n integer, u text REFERENCES users);
        ALTER TABLE users ADD best text REFERENCES items""")
    async with connected(target.uri) as connection:
        with pytest.raises(UsageError, match="items, users refer to each other"):
            await wanted(connection, "replace", "users", "items")
        target.execute("ALTER TABLE users ALTER CONSTRAINT users_best_fkey DEFERRABLE")
        assert [load.made for load in await wanted(connection, "replace", "users", "items")] == [False, False]
        with pytest.raises(UsageError, match="foreign key items_u_fkey of items"):
            await wanted(connection, "replace", "users")


async def test_a_rename_does_where_nothing_is_lost_or_may_be_lost(target: Target) -> None:
    index = Index(
        name="users_n",
        source_name="n_1",
        keys=(IndexKey(column="n", descending=True), IndexKey(column="m")),
        where="n > 1",
    )
    async with connected(target.uri) as connection:
        load = await begin(connection, "create", mapping=WIDER)
        await finish_run(connection, load, mapping=WIDER)
        target.execute("CREATE INDEX users_n ON users (n DESC, m) WHERE n > 1")
        # Columns of an earlier plan, and its types, are the run's own; an index of the plan's is made anew.
        retyped = Mapping(columns=(MAPPING.columns[0], WIDER.columns[1].model_copy(update={"type": ColumnType.JSONB})))
        planned = {0: [signature(index)]}
        (load,) = await wanted(connection, "replace", mapping=retyped, planned_indexes=planned)
        assert load.made
        other = index.model_copy(update={"unique": True})
        for signatures in ({}, {0: [signature(other)]}):
            (load,) = await wanted(connection, "replace", mapping=WIDER, planned_indexes=signatures)
            assert not load.made
        (load,) = await wanted(connection, "replace", mapping=WIDER, drops={"index"})
        assert load.made
        target.execute("CREATE VIEW v AS TABLE users")
        (load,) = await wanted(connection, "replace", mapping=WIDER, drops={"index", "dependant"})
        assert not load.made, "what is another's cannot be dropped"


@pytest.mark.parametrize(
    ("made", "names"),
    [
        ("", ["users__id_not_null"]),
        ("CREATE TABLE users (_id text PRIMARY KEY, n integer)", ["users__id_not_null"]),
        (
            "CREATE TABLE users (_id text CONSTRAINT needed NOT NULL CONSTRAINT users_pkey PRIMARY KEY, n integer)",
            ["needed"],
        ),
    ],
)
async def test_not_null_keeps_its_name(target: Target, made: str, names: list[str]) -> None:
    if made:
        target.execute(made)
    async with connected(target.uri) as connection:
        load = await begin(connection, "replace")
        assert load.made
        await finish_run(connection, load)
    found = target.rows("SELECT conname FROM pg_constraint WHERE contype = 'n' AND conrelid = 'users'::regclass")
    # Before PostgreSQL 18 it has none.
    assert [row[0] for row in found] == (names if postgres_version(target) >= NAMED_NOT_NULL else [])


async def test_a_discarded_exchange_leaves_the_table_alone(target: Target) -> None:
    target.execute(f"{TABLE}; INSERT INTO users VALUES ('old', 1); CREATE VIEW v AS TABLE users")
    async with connected(target.uri) as connection:
        load = await begin(connection, "replace")
        await load_rows(connection, load, [("a", 1)], "replace")
        assert await runs.discard(connection, RUN, drop_tables=True) == [load.staging]
        assert target.value("SELECT _id FROM v") == "old"
        load = await begin(connection, "replace")
        await load_rows(connection, load, [("a", 1)], "replace")
        before = facts_of(target, "users")
        for _ in range(2):  # as after a COMMIT whose answer was lost
            await finish_run(connection, load)
            assert await finish.count_rows(connection, load) == 1
        assert facts_of(target, "users") == before
        await runs.check_same_tables(connection, RUN)
        assert await runs.discard(connection, RUN, drop_tables=True) == []
        assert target.value("SELECT _id FROM v") == "a"


async def test_a_member_of_the_owning_role_changes_neither_owner_nor_rights(target: Target) -> None:
    app, deploy = f"app_{target.database}", f"deploy_{target.database}"
    target.execute(f"CREATE ROLE {app}; CREATE ROLE {deploy} LOGIN IN ROLE {app}; {TABLE};"
                   f"CREATE TABLE plain (_id text NOT NULL CONSTRAINT plain_pkey PRIMARY KEY, n integer);"
                   f"GRANT CREATE ON DATABASE {target.database} TO {deploy}; GRANT CREATE ON SCHEMA public TO {app}, {deploy};"
                   f"ALTER TABLE users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
                   f"CREATE POLICY nothing ON users USING (false);"
                   f"ALTER TABLE users OWNER TO {app}; ALTER TABLE plain OWNER TO {app};"
                   f"GRANT SELECT ON users, plain TO {deploy}; REVOKE TRUNCATE, INSERT ON users, plain FROM {app}")  # fmt: skip
    try:
        before = [facts_of(target, table) for table in ("users", "plain")]
        async with connected(target.uri.replace("//postgres@", f"//{deploy}@")) as connection:
            for number, name in enumerate(("users", "plain")):
                run_id, table = f"{RUN}{number}", TableName("public", name)
                load = await begin(connection, "replace", run_id, table=table)
                assert load.made == (name == "plain")
                await load_rows(connection, load, [("a", 1)], "replace", run_id)
                await finish_run(connection, load, run_id)
        assert [facts_of(target, table) for table in ("users", "plain")] == before
        assert target.rows("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM plain)")[0][:] == (1, 1)
    finally:
        target.execute(f"DROP OWNED BY {deploy}, {app} CASCADE; DROP ROLE {deploy}, {app}")


async def test_what_was_hung_on_a_table_during_the_load_stays_and_what_stops_the_swap_can_be_mended(
    source: Source, target: Target, engines: Engines
) -> None:
    for name in ("plain", "checked"):
        source.db[name].insert_many([{"_id": f"{n:04}", "n": n} for n in range(2_000)])
    target.execute("""
        CREATE TABLE plain (_id text NOT NULL CONSTRAINT plain_pkey PRIMARY KEY, n integer, _extra jsonb);
        CREATE TABLE checked (LIKE plain INCLUDING ALL); ALTER TABLE checked ADD CHECK (n <> 7), ADD UNIQUE (n);
        INSERT INTO plain VALUES ('old', 1); INSERT INTO checked VALUES ('old', 1)""")
    settings = engines.settings("plain", "checked", run={"mode": "replace", "throttle": 500, "page_size": 200})
    engine = await engines.launch(settings)
    await engine.start()
    await engine.until_written(300)
    target.execute("""
        CREATE VIEW v AS TABLE plain; CREATE TABLE orders (u text REFERENCES plain);
        CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN IF NEW.n = 5 THEN RETURN NULL; END IF; RETURN NEW; END';
        CREATE TRIGGER skips BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION skip()""")
    before = facts_of(target, "checked")
    await engine.set("throttle", 0)
    end = await engine.finished()
    await engine.leave()
    await engine.until_gone()
    assert (end["exit_code"], end["error"]["code"]) == (1, "dependants")
    assert "foreign key orders_u_fkey of orders" in end["error"]["message"]
    assert "view v" in end["error"]["message"]

    target.execute("DROP TABLE orders")
    before |= {"plain": facts_of(target, "plain")}
    engine, end = await engines.run(settings, resume="")
    await engine.leave()
    await engine.until_gone()
    assert (end["state"], end["error"]["code"]) == (RunState.FAILED, "mismatch")
    assert "of 2,000 rows it took 1,999. Its BEFORE trigger drops rows: skips." in end["error"]["message"]
    assert [tuple(row) for row in target.rows("TABLE v")] == [("old", 1, None)]
    assert committed(target, "checked") == 1

    target.execute("ALTER TABLE plain DISABLE TRIGGER skips")
    engine, end = await engines.run(settings, resume="")
    assert (end["exit_code"], end["written"], end["rejected"]) == (4, 3_999, 1)
    assert (committed(target, "v"), committed(target, "checked")) == (2_000, 1_999)
    assert facts_of(target, "checked") == {name: value for name, value in before.items() if name != "plain"}
    kept = facts_of(target, "plain")
    assert [trigger["tgname"] for trigger in kept["triggers"]] == ["skips"]
    assert [reject["reason"] for reject in target.rows("SELECT reason FROM mongopg.reject")] == ["check_violation"]


async def test_a_trigger_that_only_a_partition_has_is_named_where_rows_are_left_out(target: Target) -> None:
    target.execute("""
        CREATE TABLE users (_id text NOT NULL PRIMARY KEY, n integer) PARTITION BY HASH (_id);
        CREATE TABLE part PARTITION OF users FOR VALUES WITH (MODULUS 1, REMAINDER 0);
        CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN CASE WHEN NEW.n <> 2 THEN NEW END; END';
        CREATE TRIGGER skips BEFORE INSERT ON part FOR EACH ROW EXECUTE FUNCTION skip()""")
    async with connected(target.uri) as connection:
        load = await begin(connection, "replace")
        await load_rows(connection, load, [("a", 1), ("b", 2)], "replace")
        with pytest.raises(MigrationError, match=r"of 2 rows it took 1\. Its BEFORE trigger drops rows: skips\."):
            await finish_run(connection, load)


def test_the_settings_know_the_kinds_that_may_go() -> None:
    from engine.config import REPLACE_DROPS, RunSettings

    kinds = tuple(dict.fromkeys(each.kind for each in attachments.ATTACHMENTS if each.may_go))
    assert kinds == REPLACE_DROPS
    assert RunSettings(replace_drops="Foreign-Key, column_type").drops == {"foreign key", "column type"}
    with pytest.raises(ValueError, match=r"'indices' is none of: persistence, .*index,"):
        RunSettings(replace_drops="indices")


@pytest.mark.parametrize(
    "tables",
    [
        "CREATE TABLE above (_id bigint NOT NULL, n bigint) PARTITION BY RANGE (_id);"
        "CREATE TABLE users PARTITION OF above FOR VALUES FROM (0) TO (1000)",
        "CREATE TABLE users (_id bigint PRIMARY KEY, n bigint); CREATE TABLE below () INHERITS (users)",
        "CREATE TYPE shape AS (_id bigint, n bigint); CREATE TABLE users OF shape (PRIMARY KEY (_id));"
        "CREATE TABLE old (user_id bigint REFERENCES users)",
    ],
    ids=["partition", "with children", "of a type"],
)
async def test_a_table_without_extra_that_gets_no_columns_is_replaced(
    source: Source, target: Target, engines: Engines, tables: str
) -> None:
    target.execute(tables)
    if "old" in tables:
        target.execute("DROP TABLE old; CREATE VIEW seen AS SELECT n FROM users")
    source.db.users.insert_many([{"_id": Int64(number), "n": Int64(number)} for number in range(200)])
    settings = engines.settings("users", run={"mode": "replace"}, mapping={"documents": "jsonb"})

    _, end = await engines.run(settings)

    assert (end["state"], end["exit_code"], end["written"], end["rejected"]) == ("completed", 0, 200, 0)
    assert committed(target, "users") == 200
    assert "_extra" not in {row["column_name"] for row in target.rows(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'users'"
    )}  # fmt: skip


async def test_what_has_no_place_in_a_table_that_gets_no_columns_makes_a_reject(target: Target) -> None:
    target.execute(
        "CREATE TABLE above (_id text NOT NULL, n integer) PARTITION BY LIST (_id);"
        "CREATE TABLE users PARTITION OF above DEFAULT"
    )
    extra = Column(name="_extra", type=ColumnType.JSONB, role=Role.EXTRA)
    async with connected(target.uri) as connection:
        (load,) = await wanted(
            connection, "replace", mapping=MAPPING.model_copy(update={"columns": (*MAPPING.columns, extra)})
        )
    mapping = Mapping.model_validate_json(load.mapping)
    assert [column.name for column in mapping.columns] == [column.name for column in MAPPING.columns]
    assert mapping.options.overflow == "reject"
