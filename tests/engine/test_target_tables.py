"""Target tables on a real PostgreSQL: existing ones, keys, the swap of mode replace, rights."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest

from engine.errors import MigrationError, TargetExists, UsageError
from engine.ledger import partitions, runs, schema
from engine.ledger.earlier_runs import mappings_of
from engine.ledger.runs import NewRun
from engine.ledger.slices import SliceWriter
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.names import TableName
from engine.postgres import connect as postgres
from engine.postgres import finish, prepare, requirements
from engine.postgres.ddl import create_table
from engine.postgres.page import CopyTarget
from engine.postgres.tables import check_fits, describe_table, has_unique
from engine.rows import TableLoad
from tests.engine.target_tools import NAMESPACE, RUN, USERS, key, piece, pieces

if TYPE_CHECKING:
    from tests.conftest import Target

MAPPING = Mapping(
    columns=(
        Column(name="_id", type=ColumnType.TEXT, role=Role.ID, kinds=frozenset({Kind.STRING}), nullable=False),
        Column(name="n", type=ColumnType.INTEGER),
    )
)
MIXED = Mapping(columns=(MAPPING.columns[0].model_copy(update={"type": ColumnType.JSONB}), MAPPING.columns[1]))


@asynccontextmanager
async def connected(uri: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await postgres.connect(uri)
    try:
        await schema.ensure_schema(connection)
        yield connection
    finally:
        await connection.close()


async def begin(
    connection: asyncpg.Connection, mode: str, run_id: str = RUN, mapping: Mapping = MAPPING, table: TableName = USERS
) -> TableLoad:
    """A run as the engine begins it."""
    loads, statements = await prepare.prepare(
        connection, run_id, mode, [(0, NAMESPACE, table, mapping, 3, True)], mappings_of
    )
    run = NewRun(run_id, "f", mode, "mongodb://localhost/shop", "postgresql://localhost/x", "{}", "here")
    await runs.create_run_and_tables(connection, run, loads, statements)
    await partitions.add_partitions(connection, run_id, [partitions.Partition(0, 0, None, None)])
    return (await runs.table_loads(connection, run_id))[0]


async def load_rows(
    connection: asyncpg.Connection, load: TableLoad, rows: list[tuple[object, object]], mode: str, run_id: str = RUN
) -> None:
    target = CopyTarget(load.loads_into, ("_id", "n"), NAMESPACE, "_id" if mode == "upsert" else "")
    writer = SliceWriter(connection, run_id, target, 1)
    await writer.begin(0, 0, None, True)
    await writer.write_page(pieces(piece(rows)))
    await writer.commit(key("z"), True)


async def finish_run(
    connection: asyncpg.Connection, load: TableLoad, run_id: str = RUN, mapping: Mapping = MAPPING
) -> None:
    await finish.build_key(connection, load, mapping, has_key=True)
    await finish.analyze(connection, load)
    await finish.swap(connection, run_id, [load], mappings_of)


async def test_create_refuses_an_existing_table_and_builds_its_key_afterwards(target: Target) -> None:
    async with connected(target.uri) as connection:
        load = await begin(connection, "create")
        await load_rows(connection, load, [("a", 1), ("b", 2)], "create")
        assert not await has_unique(connection, USERS, "_id")
        for _ in range(2):  # finishing again, as after a crash, changes nothing
            await finish_run(connection, load)
        assert target.value("SELECT indisprimary FROM pg_index WHERE indexrelid = 'users_pkey'::regclass")
        assert target.value("SELECT reltuples FROM pg_class WHERE relname = 'users'") == 2
        assert await finish.count_rows(connection, load) == 2
        with pytest.raises(TargetExists, match=r"public\.users"):
            await begin(connection, "create", "another")


async def test_a_schema_is_made_for_the_tables_that_name_it(target: Target) -> None:
    async with connected(target.uri) as connection:
        table = TableName('new "one"', "t")
        await begin(connection, "create", table=table)
        assert target.value("SELECT to_regclass($1) IS NOT NULL", table.sql)


async def test_the_key_of_mixed_kinds_is_there_before_the_load(target: Target) -> None:
    async with connected(target.uri) as connection:
        load = await begin(connection, "create", mapping=MIXED)
        await load_rows(connection, load, [(b'\x01"a"', 1), (b'\x01"b"', 2), (b'\x01"a"', 3)], "create")
        await finish_run(connection, load, mapping=MIXED)
        assert target.value("SELECT n FROM users WHERE _id = '\"a\"'") == 1
        reject = target.rows("SELECT reason, detail FROM mongopg.reject")[0]
        assert reject["reason"] == "unique_violation"
        assert '("a")' in reject["detail"]


async def test_a_key_that_cannot_be_built_leaves_the_rows(target: Target) -> None:
    async with connected(target.uri) as connection:
        load = await begin(connection, "create")
        await load_rows(connection, load, [("a", 1), ("a", 2)], "create")
        with pytest.raises(MigrationError, match=r"primary key of public\.users cannot be built.*\(23505\)"):
            await finish_run(connection, load)
        assert await finish.count_rows(connection, load) == 2


async def test_append_counts_what_was_there_and_alters_nothing(target: Target) -> None:
    target.execute(
        "CREATE TABLE users (n integer, _id varchar(30), note text DEFAULT 'x'); INSERT INTO users VALUES (1, 'a')"
    )
    async with connected(target.uri) as connection:
        load = await begin(connection, "append")
        assert (load.count_before, load.made) == (1, False)
        await load_rows(connection, load, [("b", 2)], "append")
        await finish_run(connection, load)
        assert [tuple(row) for row in target.rows("SELECT * FROM users ORDER BY _id")] == [(1, "a", "x"), (2, "b", "x")]
        assert not await has_unique(connection, USERS, "_id")


async def test_append_to_a_table_that_does_not_fit_names_every_problem(target: Target) -> None:
    target.execute("CREATE TABLE users (_id integer, owner text NOT NULL)")
    async with connected(target.uri) as connection:
        with pytest.raises(UsageError) as refused:
            await begin(connection, "append")
        for problem in ("_id is integer", "n (integer) is missing", "owner is NOT NULL"):
            assert problem in str(refused.value)
        assert target.value("SELECT count(*) FROM mongopg.run") == 0


async def test_upsert_makes_the_unique_index_it_needs(target: Target) -> None:
    target.execute("CREATE TABLE users (_id text, n integer, x integer PRIMARY KEY DEFAULT 1)")
    target.execute("ALTER TABLE users DROP CONSTRAINT users_pkey; INSERT INTO users VALUES ('a', 1, 1)")
    async with connected(target.uri) as connection:
        load = await begin(connection, "upsert")
        assert await has_unique(connection, USERS, "_id")
        await load_rows(connection, load, [("a", 10), ("b", 20)], "upsert")
        await finish_run(connection, load)
        assert [tuple(row) for row in target.rows("SELECT _id, n, x FROM users ORDER BY _id")] == [
            ("a", 10, 1),
            ("b", 20, 1),
        ]


async def test_unique_indexes_that_on_conflict_cannot_use_do_not_count(target: Target) -> None:
    target.execute("""
        CREATE TABLE users (_id text, n integer, UNIQUE (_id, n), UNIQUE (_id) DEFERRABLE);
        CREATE UNIQUE INDEX ON users (_id) WHERE n > 0;
        CREATE INDEX ON users (_id)""")
    async with connected(target.uri) as connection:
        assert not await has_unique(connection, USERS, "_id")
        target.execute("CREATE UNIQUE INDEX ON users (_id)")
        assert await has_unique(connection, USERS, "_id")


async def test_replace_keeps_the_old_table_whole_until_the_swap(target: Target) -> None:
    target.execute("""
        CREATE TABLE users (_id text PRIMARY KEY, old text);
        INSERT INTO users VALUES ('old', 'row');
        CREATE ROLE "some reader"; CREATE ROLE owner_of_users;
        GRANT SELECT ON users TO "some reader" WITH GRANT OPTION; GRANT INSERT ON users TO PUBLIC;
        COMMENT ON TABLE users IS 'it''s ours';
        ALTER TABLE users OWNER TO owner_of_users""")
    try:
        async with connected(target.uri) as connection:
            load = await begin(connection, "replace")
            await load_rows(connection, load, [("a", 1), ("b", 2)], "replace")
            await finish.build_key(connection, load, MAPPING, has_key=True)
            assert [tuple(row) for row in target.rows("SELECT * FROM users")] == [("old", "row")]
            for _ in range(2):
                await finish.swap(connection, RUN, [load], mappings_of)
                assert await finish.count_rows(connection, load) == 2
            assert [tuple(row) for row in target.rows("SELECT * FROM users ORDER BY _id")] == [("a", 1), ("b", 2)]
            assert [
                row[0]
                for row in target.rows(
                    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
                )
            ] == ["users", "users_pkey"]
            facts = target.rows("""
                SELECT relowner::regrole::text AS owner, obj_description(oid) AS comment,
                       has_table_privilege('some reader', oid, 'SELECT WITH GRANT OPTION') AS reads,
                       has_table_privilege('some reader', oid, 'INSERT') AS inserts,
                       has_table_privilege('some reader', oid, 'DELETE') AS deletes
                FROM pg_class WHERE oid = 'users'::regclass""")[0]  # fmt: skip
            assert tuple(facts) == ("owner_of_users", "it's ours", True, True, False)
            await runs.check_same_tables(connection, RUN)
    finally:
        target.execute('DROP OWNED BY "some reader", owner_of_users CASCADE; DROP ROLE "some reader", owner_of_users')


async def test_replace_names_what_depends_on_the_old_table_and_changes_nothing(target: Target) -> None:
    target.execute("CREATE TABLE users (_id text PRIMARY KEY); CREATE TABLE items (_id text PRIMARY KEY)")
    async with connected(target.uri) as connection:
        loads, statements = await prepare.prepare(
            connection, RUN, "replace",
            [(0, NAMESPACE, TableName("public", "items"), MAPPING, 3, True), (1, "shop.u", USERS, MAPPING, 3, True)],
            mappings_of,
        )  # fmt: skip
        run = NewRun(RUN, "f", "replace", "s", "t", "{}", "here")
        await runs.create_run_and_tables(connection, run, loads, statements)
        loads = await runs.table_loads(connection, RUN)
        target.execute("""
            CREATE VIEW names AS SELECT _id FROM users;
            CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM users;
            CREATE TABLE orders (user_id text REFERENCES users)""")
        with pytest.raises(MigrationError) as refused:
            await finish.swap(connection, RUN, loads, mappings_of)
        for name in ("view names", "materialized view counts", "foreign key orders_user_id_fkey of orders"):
            assert name in str(refused.value)
        assert (
            target.value("SELECT count(*) FROM pg_attribute WHERE attrelid = 'items'::regclass AND attname = 'n'") == 0
        )
        with pytest.raises(UsageError, match="view names"):
            await begin(connection, "replace", "another")
        target.execute("DROP VIEW names; DROP MATERIALIZED VIEW counts; DROP TABLE orders")
        await finish.swap(connection, RUN, loads, mappings_of)
        assert (
            target.value("SELECT count(*) FROM pg_attribute WHERE attrelid = 'items'::regclass AND attname = 'n'") == 1
        )


async def test_what_belongs_to_the_old_table_does_not_stand_in_the_way(target: Target) -> None:
    target.execute("""
        CREATE TABLE parent (n integer PRIMARY KEY);
        CREATE TABLE users (_id text PRIMARY KEY, n serial REFERENCES parent, self text REFERENCES users, CHECK (n > 0));
        CREATE INDEX ON users (n); ALTER TABLE users ADD UNIQUE (self);
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION f();
        CREATE STATISTICS s ON _id, n FROM users""")
    async with connected(target.uri) as connection:
        assert await finish.dependants(connection, USERS) == []
        load = await begin(connection, "replace")
        await finish_run(connection, load)
        assert await finish.count_rows(connection, load) == 0


async def test_a_replace_of_a_table_that_is_not_there_only_takes_its_name(target: Target) -> None:
    async with connected(target.uri) as connection:
        load = await begin(connection, "replace")
        await load_rows(connection, load, [("a", 1)], "replace")
        await finish_run(connection, load)
        assert target.value("SELECT n FROM users WHERE _id = 'a'") == 1


async def test_existing_columns_are_described_as_they_are(target: Target) -> None:
    target.execute("""
        CREATE DOMAIN short AS varchar(7) NOT NULL;
        CREATE TABLE users (_id varchar(24) NOT NULL, price numeric(10,2), s short, i integer GENERATED ALWAYS AS IDENTITY,
                            g integer GENERATED ALWAYS AS (1) STORED, tags text[], gone text);
        ALTER TABLE users DROP COLUMN gone; CREATE VIEW seen AS SELECT 1 AS x""")
    async with connected(target.uri) as connection:
        found = {column.name: column for column in await describe_table(connection, USERS)}
        assert list(found) == ["_id", "price", "s", "i", "g", "tags"]
        assert (found["_id"].type, found["_id"].base, found["_id"].length) == (
            "character varying(24)",
            "character varying",
            24,
        )
        assert (found["price"].type, found["price"].base) == ("numeric(10,2)", "numeric")
        assert (found["s"].base, found["s"].length, found["s"].nullable) == ("character varying", 7, False)
        assert (found["i"].has_default, found["i"].nullable, found["g"].generated) == (True, False, True)
        with pytest.raises(UsageError, match="not a table"):
            await describe_table(connection, TableName("public", "seen"))
        with pytest.raises(UsageError, match=r"no table public\.nothing"):
            await describe_table(connection, TableName("public", "nothing"))


async def test_columns_that_would_round_values_are_known(target: Target) -> None:
    target.execute("""
        CREATE DOMAIN cents AS numeric(10,2); CREATE DOMAIN moment AS timestamptz(0);
        CREATE TABLE users (a numeric(10,2), b numeric(10,2)[], c cents, d timestamptz(2), e timestamptz(0)[], f moment,
                            exact_1 numeric, exact_2 timestamptz(3), exact_3 timestamptz, exact_4 numeric[], exact_5 varchar(2))
    """)
    async with connected(target.uri) as connection:
        found = await describe_table(connection, USERS)
    assert [column.name for column in found if column.rounds] == ["a", "b", "c", "d", "e", "f"]


async def test_what_the_mapping_creates_fits_the_mapping(target: Target) -> None:
    types = [each for each in ColumnType if not each.is_of_extension]
    elements = [each for each in types if each.can_be_element]
    columns = tuple(Column(name=f"c{number}", type=type_) for number, type_ in enumerate(types))
    arrays = tuple(Column(name=f"a{number}", type=type_, array=True) for number, type_ in enumerate(elements))
    mapping = Mapping(columns=(MAPPING.columns[0], *columns, *arrays))
    async with connected(target.uri) as connection:
        target.execute(create_table(USERS, mapping))
        assert check_fits(mapping, await describe_table(connection, USERS)) == []


@pytest.fixture
async def clerk(target: Target) -> AsyncIterator[str]:
    """The URI of a role that may do nothing yet."""
    name = f"clerk_{target.database}"
    target.execute(f"CREATE ROLE {name} LOGIN; REVOKE TEMPORARY ON DATABASE {target.database} FROM PUBLIC")
    yield target.uri.replace("//postgres@", f"//{name}@")
    target.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


async def test_the_owner_of_one_schema_and_the_ledger_can_do_a_whole_run(target: Target, clerk: str) -> None:
    role = clerk.partition("//")[2].partition("@")[0]
    table = TableName("shop", "users")
    connection = await postgres.connect(clerk)
    try:
        with pytest.raises(UsageError) as refused:
            await requirements.require(connection, [table], "create")
        grants = [f'CREATE SCHEMA "mongopg" AUTHORIZATION {role};', f'CREATE SCHEMA "shop" AUTHORIZATION {role};']
        assert str(refused.value).endswith("run: " + " ".join(grants))
        with pytest.raises(UsageError, match=f"CREATE SCHEMA mongopg AUTHORIZATION {role}"):
            await schema.ensure_schema(connection)
        for grant in grants:
            target.execute(grant)
        await requirements.require(connection, [table], "create")
        await schema.ensure_schema(connection)
        load = await begin(connection, "create", table=table)
        await load_rows(connection, load, [("a", 1), ("b", 2)], "create")
        await finish_run(connection, load)
        assert await partitions.check_complete(connection, RUN) == []
        assert (await postgres.inspect(connection)).free_connections > 0
        load = await begin(connection, "replace", "second", table=table)
        await load_rows(connection, load, [("c", 1)], "replace", "second")
        await finish_run(connection, load, "second")
        assert target.value("SELECT _id FROM shop.users") == "c"
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("append", 'GRANT SELECT, INSERT ON "public"."users" TO {role};'),
        (
            "upsert",
            "GRANT TEMPORARY ON DATABASE {database} TO {role};"
            ' GRANT SELECT, INSERT, UPDATE ON "public"."users" TO {role};',
        ),
        ("replace", 'ALTER TABLE "public"."users" OWNER TO {role};'),
    ],
)
async def test_missing_rights_on_a_table_are_named_as_grants(
    target: Target, clerk: str, mode: str, expected: str
) -> None:
    role = clerk.partition("//")[2].partition("@")[0]
    target.execute(
        f"CREATE TABLE users (_id text); GRANT CREATE ON DATABASE {target.database} TO {role};"
        f"GRANT CREATE ON SCHEMA public TO {role}"
    )
    connection = await postgres.connect(clerk)
    try:
        missing = await requirements.missing_rights(connection, [USERS], mode)
        assert " ".join(missing) == expected.format(role=role, database=target.database)
        for grant in missing:
            target.execute(grant)
        await requirements.require(connection, [USERS], mode)
    finally:
        await connection.close()


async def test_a_read_only_session_and_a_wrong_encoding_are_refused(target: Target) -> None:
    target.execute(f"ALTER DATABASE {target.database} SET default_transaction_read_only = on")
    connection = await postgres.connect(target.uri)
    with pytest.raises(UsageError, match="default_transaction_read_only is on"):
        await requirements.require(connection, [USERS], "create")
    await connection.close()
    latin = f"{target.database}_latin"
    # From another database: this one only makes read-only transactions now.
    admin = await postgres.connect(target.uri.replace(target.database, "postgres"))
    await admin.execute(f"CREATE DATABASE {latin} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        connection = await postgres.connect(target.uri.replace(target.database, latin))
        with pytest.raises(UsageError, match="encoding LATIN1"):
            await requirements.require(connection, [USERS], "create")
        await connection.close()
    finally:
        await admin.execute(f"DROP DATABASE {latin}")
        await admin.close()
