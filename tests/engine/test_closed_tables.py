"""Tables that rows cannot be added to, or not as they are: found before the first row, and named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg
import pytest
from bson import ObjectId

from engine.mapping.kinds import INTEGERS
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.names import TableName
from engine.postgres import connect as postgres
from engine.postgres import requirements
from engine.postgres.obstacles import obstacles, triggers_of
from engine.postgres.tables import describe_table, type_of
from tests.engine.target_tools import USERS
from tests.engine.verification_tools import only, verified
from tests.running import Engines

if TYPE_CHECKING:
    from tests.conftest import Source, Target

KEY = Column(name="_id", type=ColumnType.TEXT, role=Role.ID, path=("_id",), kinds=frozenset({Kind.STRING}))
MAPPING = Mapping(columns=(KEY, Column(name="n", type=ColumnType.INTEGER, path=("n",), kinds=INTEGERS)))
FOLDING = """
    CREATE COLLATION folding (provider = libc, locale = 'C');
    UPDATE pg_collation SET collisdeterministic = false WHERE collname = 'folding'
"""
"""As if it were one of ICU's, which not every server has."""


def clerk_uri(target: Target) -> str:
    """The target as the role that owns nothing."""
    return target.uri.replace("//postgres@", f"//clerk_{target.database}@")


@pytest.fixture
async def clerk(target: Target) -> AsyncIterator[asyncpg.Connection]:
    """A connection of a role that owns nothing."""
    role = f"clerk_{target.database}"
    target.execute(f"CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {target.database} TO {role}")
    connection = await postgres.connect(clerk_uri(target))
    yield connection
    await connection.close()
    target.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


async def found(connection: asyncpg.Connection, mode: str = "upsert", mapping: Mapping = MAPPING) -> str:
    return " ".join(await obstacles(connection, USERS, mode, mapping))


async def test_row_security_closes_a_table_unless_its_policies_let_all_rows_of_an_upsert_through(
    target: Target, clerk: asyncpg.Connection
) -> None:
    role = f"clerk_{target.database}"
    target.execute(f"CREATE TABLE users (_id text PRIMARY KEY, n integer); GRANT ALL ON users TO {role}")
    assert await found(clerk) == await found(clerk, "append") == ""

    target.execute("ALTER TABLE users ENABLE ROW LEVEL SECURITY")
    assert "Row security is active" in await found(clerk, "append")
    assert "at SELECT, INSERT, UPDATE" in await found(clerk)

    target.execute(
        "CREATE POLICY some_rows ON users USING (n > 0); CREATE POLICY reads ON users FOR SELECT USING (true)"
    )
    assert "at INSERT, UPDATE:" in await found(clerk)
    target.execute(f"CREATE POLICY theirs ON users TO {role} USING (true)")
    assert await found(clerk) == ""
    assert "takes no COPY" in await found(clerk, "append")
    target.execute("CREATE POLICY but ON users AS RESTRICTIVE FOR INSERT WITH CHECK (n < 100)")
    assert "at INSERT:" in await found(clerk)
    target.execute("DROP POLICY but ON users")
    await clerk.execute("SET row_security = off")
    assert "row_security = off" in await found(clerk)

    target.execute(f"DROP POLICY theirs ON users; ALTER TABLE users OWNER TO {role}")
    assert await found(clerk) == await found(clerk, "append") == ""
    target.execute("ALTER TABLE users FORCE ROW LEVEL SECURITY")
    assert "Row security is active" in await found(clerk, "append")
    superuser = await postgres.connect(target.uri)
    assert await found(superuser, "append") == ""
    await superuser.close()
    target.execute("ALTER TABLE users OWNER TO postgres")


async def test_rights_on_the_columns_that_are_written_will_do(target: Target, clerk: asyncpg.Connection) -> None:
    role = f"clerk_{target.database}"
    target.execute(
        "CREATE TABLE users (_id text PRIMARY KEY, n integer, secret text); GRANT CREATE ON SCHEMA public TO PUBLIC;"
        f"GRANT SELECT (_id, n), INSERT (_id, n) ON users TO {role}"
    )
    columns = {USERS: ["_id", "n"]}
    assert await requirements.missing_rights(clerk, [USERS], "append", columns) == []
    [grant] = await requirements.missing_rights(clerk, [USERS], "upsert", columns)
    assert grant.startswith("GRANT UPDATE ON")
    target.execute(f"GRANT UPDATE (n) ON users TO {role}")
    assert await requirements.missing_rights(clerk, [USERS], "upsert", columns) == []
    shared = [USERS]  # whose a row is is told by a column of the system's
    [grant] = await requirements.missing_rights(clerk, [USERS], "upsert", columns, shared)
    assert grant.startswith("GRANT SELECT ON")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await clerk.fetch("SELECT xmin FROM users")
    target.execute(f"GRANT SELECT ON users TO {role}")
    assert await requirements.missing_rights(clerk, [USERS], "upsert", columns, shared) == []
    await clerk.fetch("SELECT xmin FROM users")
    target.execute(f"REVOKE SELECT ON users FROM {role}; GRANT SELECT (_id, n) ON users TO {role}")
    [grant] = await requirements.missing_rights(clerk, [USERS], "upsert", {USERS: ["_id"]}, shared)
    assert grant.startswith("GRANT SELECT, UPDATE ON")
    [grant] = await requirements.missing_rights(clerk, [USERS], "append", {USERS: ["_id", "n", "secret"]})
    assert grant.startswith("GRANT SELECT, INSERT ON")


async def test_rows_are_added_to_a_table_in_whose_schema_nothing_may_be_made(
    source: Source, target: Target, engines: Engines, clerk: asyncpg.Connection
) -> None:
    role = f"clerk_{target.database}"
    target.execute(
        f"REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE TABLE users (_id text PRIMARY KEY, n integer);"
        f"GRANT ALL ON users TO {role}; CREATE SCHEMA shut; CREATE TABLE shut.users (_id text)"
    )
    source.db.users.insert_many([{"_id": "a", "n": 1}, {"_id": "b", "n": 2}])
    for mode in ("upsert", "append"):
        settings = engines.settings("users", run={"mode": mode}, target={"uri": clerk_uri(target)})
        _, end = await engines.run(settings)
        assert (end["state"], end["read"]) == ("completed", 2), end
        target.execute("DELETE FROM users")

    [grant] = await requirements.missing_rights(clerk, [USERS], "create")
    assert grant == f'GRANT USAGE, CREATE ON SCHEMA "public" TO {role};'
    target.execute("ALTER TABLE users DROP CONSTRAINT users_pkey")  # an index would have to be made
    assert await requirements.missing_rights(clerk, [USERS], "upsert") == [grant]
    assert await requirements.missing_rights(clerk, [USERS], "append") == []
    assert await requirements.missing_rights(clerk, [TableName("shut", "users")], "append") == [
        f'GRANT USAGE ON SCHEMA "shut" TO {role};', f'GRANT SELECT, INSERT ON "shut"."users" TO {role};'
    ]  # fmt: skip


async def test_rights_on_what_defaults_of_other_columns_call_are_asked_for(
    target: Target, clerk: asyncpg.Connection
) -> None:
    role = f"clerk_{target.database}"
    target.execute(
        "CREATE FUNCTION stamp() RETURNS text LANGUAGE sql AS 'SELECT now()::text'; REVOKE ALL ON FUNCTION stamp() FROM PUBLIC;"
        "CREATE TABLE users (_id text PRIMARY KEY, n integer, counted serial, stamped text DEFAULT stamp(),"
        f" numbered bigint GENERATED ALWAYS AS IDENTITY, day date DEFAULT current_date); GRANT ALL ON users TO {role}"
    )
    missing = await requirements.missing_rights(clerk, [USERS], "append", {USERS: ["_id", "n"]})
    assert missing == [
        f"GRANT EXECUTE ON FUNCTION stamp() TO {role};", f"GRANT USAGE ON SEQUENCE public.users_counted_seq TO {role};"
    ]  # fmt: skip
    assert await requirements.missing_rights(clerk, [USERS], "upsert", {USERS: ["_id", "counted", "stamped"]}) == []
    target.execute(" ".join(missing))
    assert await requirements.missing_rights(clerk, [USERS], "append", {USERS: ["_id", "n"]}) == []
    target.execute(
        f"{missing[1].replace('GRANT', 'REVOKE').replace(' TO ', ' FROM ')} GRANT UPDATE ON users_counted_seq TO {role}"
    )
    assert await requirements.missing_rights(clerk, [USERS], "append", {USERS: ["_id", "n"]}) == [], (
        "nextval takes either"
    )


async def test_an_upsert_into_a_table_of_others_without_a_unique_key_says_what_its_owner_has_to_run(
    target: Target, clerk: asyncpg.Connection
) -> None:
    target.execute(f"CREATE TABLE users (_id text, n integer); GRANT ALL ON users TO clerk_{target.database}")

    message = await found(clerk)

    statement = message.partition("as its owner, run ")[2]
    assert statement == 'CREATE UNIQUE INDEX "users__id_key" ON "public"."users" ("_id");'
    target.execute(statement)
    assert await found(clerk) == ""


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("_id text COLLATE folding PRIMARY KEY, n integer", "The key column _id has a collation that is not deterministic"),
        ("_id varchar(30) COLLATE folding, n integer", "has a collation that is not deterministic"),
        ("_id folded UNIQUE, n integer", "has a collation that is not deterministic"),
        ("_id text, n integer); CREATE UNIQUE INDEX by_id ON users (_id COLLATE folding", "unique index by_id of the key"),
        ("_id text PRIMARY KEY, n integer); CREATE UNIQUE INDEX ON users (_id COLLATE folding", "unique index users__id_idx"),
        ("_id text PRIMARY KEY, n integer", ""),
        ('_id text COLLATE "C" PRIMARY KEY, n integer', ""),
        ('_id varchar(30) COLLATE "POSIX" UNIQUE, n integer', ""),
        ("_id text PRIMARY KEY, n integer); CREATE UNIQUE INDEX ON users (lower(_id)", ""),
        ("_id text PRIMARY KEY, n text COLLATE folding", ""),
        ("_id text, n integer); CREATE UNIQUE INDEX ON users (_id COLLATE folding) WHERE (n > 0", ""),
        ("_id text, n integer) PARTITION BY HASH (n", "It is partitioned and has no partition"),
        ("_id text, n integer) PARTITION BY RANGE (n); CREATE TABLE p PARTITION OF users DEFAULT; SELECT (1", "by n"),
        ("_id text PRIMARY KEY, n integer) PARTITION BY HASH (_id); CREATE TABLE p PARTITION OF users FOR VALUES WITH "
         "(MODULUS 1, REMAINDER 0); SELECT (1", ""),
        ("_id text CONSTRAINT late UNIQUE DEFERRABLE, n integer", "The constraint late of the key column _id is deferrable"),
        ("_id text CONSTRAINT late PRIMARY KEY INITIALLY DEFERRED, n integer", "constraint late of the key column"),
        ("_id text PRIMARY KEY, n integer, CONSTRAINT late UNIQUE (_id) INCLUDE (n) DEFERRABLE", "constraint late of the key"),
        ("_id text PRIMARY KEY, n integer UNIQUE DEFERRABLE, UNIQUE (_id, n) DEFERRABLE", ""),
        ("_id text PRIMARY KEY, n integer); CREATE RULE r AS ON INSERT TO users DO INSTEAD NOTHING; SELECT (1", "rules (r)"),
        ("_id text PRIMARY KEY, n integer); CREATE RULE r AS ON UPDATE TO users DO ALSO NOTIFY x; SELECT (1", "rules (r)"),
    ],
)  # fmt: skip
async def test_what_mode_upsert_refuses_of_a_table(target: Target, table: str, expected: str) -> None:
    target.execute(f"{FOLDING}; CREATE DOMAIN inner_text AS text COLLATE folding; CREATE DOMAIN folded AS inner_text")
    target.execute(f"CREATE TABLE users ({table})")
    connection = await postgres.connect(target.uri)
    try:
        message = await found(connection)
        assert expected in message if expected else message == ""
        alike = await found(connection, "append")
        assert expected in alike if "no partition" in expected else alike == ""
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("table", "publication", "expected"),
    [
        ("_id text UNIQUE, n integer", "FOR ALL TABLES", "publication everything"),
        ("_id text, n integer", "FOR TABLE users", "no replica identity"),
        ("_id text UNIQUE, n integer", "FOR TABLES IN SCHEMA public", "users has no replica identity"),
        ("_id text UNIQUE, n integer); ALTER TABLE users REPLICA IDENTITY NOTHING; SELECT (1", "FOR ALL TABLES", "no replica"),
        ("_id text PRIMARY KEY, n integer", "FOR TABLE users WHERE (n > 0)", "PostgreSQL refuses them"),
        ("_id text UNIQUE, n integer) PARTITION BY HASH (_id); CREATE TABLE p PARTITION OF users FOR VALUES WITH "
         "(MODULUS 1, REMAINDER 0); SELECT (1", "FOR TABLE users", "p has no replica identity"),
        ("_id text UNIQUE, n integer", "FOR TABLE users WITH (publish = 'insert, delete')", ""),
        ("_id text UNIQUE, n integer); ALTER TABLE users REPLICA IDENTITY FULL; SELECT (1", "FOR ALL TABLES", ""),
        ("_id text NOT NULL CONSTRAINT u UNIQUE, n integer); ALTER TABLE users REPLICA IDENTITY USING INDEX u; SELECT (1",
         "FOR ALL TABLES", ""),
        ("_id text UNIQUE, n integer PRIMARY KEY", "FOR ALL TABLES", ""),
    ],
)  # fmt: skip
async def test_an_upsert_of_rows_that_could_not_be_published_is_refused(
    target: Target, table: str, publication: str, expected: str
) -> None:
    target.execute(f"CREATE TABLE users ({table})")
    target.execute(f"CREATE PUBLICATION everything {publication}")
    connection = await postgres.connect(target.uri)
    try:
        message = await found(connection)
        assert expected in message if expected else message == ""
        assert await found(connection, "append") == ""
        keys_alone = MAPPING.model_copy(update={"columns": (KEY,)})
        assert await found(connection, mapping=keys_alone) == "", "nothing would be updated"
    finally:
        await connection.close()


async def test_types_are_known_whatever_domains_and_schemas_they_come_from(target: Target) -> None:
    target.execute(
        "CREATE SCHEMA other; CREATE EXTENSION vector SCHEMA other; CREATE TYPE other.citext AS ENUM ('a');"
        "CREATE DOMAIN a AS numeric(8,2); CREATE DOMAIN b AS a; CREATE DOMAIN other.c AS b NOT NULL DEFAULT 1;"
        "CREATE DOMAIN d AS varchar(5); CREATE DOMAIN e AS d; CREATE DOMAIN f AS text[]; CREATE DOMAIN g AS f;"
        "CREATE DOMAIN h AS timestamptz(0); CREATE DOMAIN i AS h; CREATE DOMAIN j AS other.citext;"
        "CREATE TABLE users (c other.c, e e, g g, i i, v other.vector(3), j j, t timestamp, k numeric(5,-1))"
    )
    connection = await postgres.connect(target.uri)
    try:
        by_name = {column.name: column for column in await describe_table(connection, USERS)}
    finally:
        await connection.close()
    c, e, g, i = (by_name[name] for name in "cegi")
    assert (c.base, c.rounds, c.keeps_integers, c.nullable, c.has_default) == ("numeric", True, True, False, True)
    assert (e.base, e.length, i.rounds) == ("character varying", 5, True)
    assert (type_of(g), type_of(by_name["t"])) == ((ColumnType.TEXT, True), (ColumnType.TIMESTAMPTZ, False))
    assert (by_name["v"].base, by_name["j"].base, type_of(by_name["j"])) == ("vector", "other.citext", None)
    assert (by_name["k"].rounds, by_name["k"].keeps_integers) == (True, False)


async def test_triggers_before_each_row_are_named_before_others(target: Target) -> None:
    target.execute(
        "CREATE TABLE users (_id text, n integer);"
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER later AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION f()"
    )
    connection = await postgres.connect(target.uri)
    try:
        assert await triggers_of(connection, USERS, "append") == ["later (function f)"]
        target.execute(
            "CREATE TRIGGER keeper BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION f();"
            "CREATE TRIGGER off BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION f();"
            "ALTER TABLE users DISABLE TRIGGER off;"
            "CREATE TRIGGER upd BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION f()"
        )
        assert await triggers_of(connection, USERS, "append") == ["keeper (function f)"]
        assert await triggers_of(connection, USERS, "upsert") == ["keeper (function f)", "upd (function f)"]
    finally:
        await connection.close()


@pytest.mark.slow
async def test_runs_into_tables_that_are_not_as_they_seem(source: Source, target: Target, engines: Engines) -> None:
    source.db.folded.insert_many([{"_id": "a", "n": 1}, {"_id": "A", "n": 2}])
    at = datetime(2026, 11, 30, 12, 0, 0, 123000)
    source.db.counted.insert_many([{"_id": 1, "n": 1, "at": at, "seq": 1}, {"_id": 2, "n": 2, "at": None, "seq": 20}])
    source.db.command({"create": "seen", "viewOn": "counted", "pipeline": [{"$project": {"n": 1}}]})
    source.db.kept.insert_many([{"_id": ObjectId(), "n": n} for n in range(4)])
    target.execute(FOLDING)
    target.execute(f"ALTER DATABASE {target.database} SET timezone = 'Asia/Tokyo'")
    target.execute(
        "CREATE TABLE folded (_id text COLLATE folding PRIMARY KEY, n integer);"
        "CREATE TABLE counted (_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n integer, at timestamp,"
        " seq integer GENERATED ALWAYS AS IDENTITY, own bigint GENERATED ALWAYS AS IDENTITY);"
        "INSERT INTO counted (n) VALUES (7); CREATE TABLE kept (_id text PRIMARY KEY, n integer);"
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN IF NEW.n = 2 THEN RETURN NULL; END IF; RETURN NEW; END';"
        "CREATE TRIGGER keep_out BEFORE INSERT ON kept FOR EACH ROW EXECUTE FUNCTION keep()"
    )

    engine, end = await engines.run(engines.settings("folded", run={"mode": "upsert"}))
    assert (end["exit_code"], end["error"]["code"]) == (2, "table_closed")
    assert "The key column _id has a collation" in end["error"]["message"]
    assert target.value("SELECT count(*) FROM folded") == 0
    await engine.leave()

    engine, end = await engines.run(engines.settings("counted", "seen", run={"mode": "upsert"}))
    assert (end["exit_code"], end["verification"]) == (0, "verified")
    assert [tuple(row) for row in target.rows("SELECT _id, n, at, seq FROM counted ORDER BY 1")] == [
        (1, 1, at, 1),
        (2, 2, None, 20),
    ]
    assert target.value("SELECT count(*) FROM seen") == 2
    assert (await verified(engine)).result.value == "verified"
    await engine.leave()
    source.db.counted.update_one({"_id": 2}, {"$set": {"seq": 21}})
    engine, end = await engines.run(engines.settings("counted", run={"mode": "upsert"}))
    assert (end["exit_code"], end["written"], end["rejected"]) == (4, 1, 1)
    assert "no UPDATE changes an identity column: 21" in target.value("SELECT detail FROM mongopg.reject")
    await engine.leave()

    engine, end = await engines.run(engines.settings("kept", run={"mode": "append"}))
    assert (end["exit_code"], end["verification"], end["written"]) == (4, "mismatch", 3)
    [*_, blamed] = [facts["message"] for facts in engine.facts_of("problem") if facts["code"] == "mismatch"]
    assert "keep_out (function keep)" in blamed
    assert "keep_out (function keep)" in only(await verified(engine)).message
