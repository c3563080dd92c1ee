"""Mode replace: each thing that can hang on a table is there after it as before, or is refused before the load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from engine.postgres.attachments import ATTACHMENTS, Fate
from tests.engine.catalogue import facts_of
from tests.older_servers import PUBLISHED_PARTS, postgres_version
from tests.running import Engines

if TYPE_CHECKING:
    from tests.conftest import Source, Target

ROLE = "reader"
BASE = "CREATE TABLE {t} (_id text NOT NULL PRIMARY KEY, n integer, name text, _extra jsonb);"
"""As a run makes it."""
KEPT: dict[str, str] = {
    # --- carried over by the rename -----------------------------------------------------------------------------------
    "owner": BASE + "GRANT CREATE ON SCHEMA public TO {role}; ALTER TABLE {t} OWNER TO {role}",
    "grants": BASE + "GRANT SELECT, INSERT ON {t} TO {role} WITH GRANT OPTION; GRANT SELECT ON {t} TO PUBLIC",
    "revoked rights": BASE + "REVOKE DELETE, TRUNCATE ON {t} FROM postgres; GRANT SELECT ON {t} TO {role}",
    "all rights revoked": BASE + "REVOKE ALL ON {t} FROM postgres",
    "comment": BASE + "COMMENT ON TABLE {t} IS 'it''s ours'",
    # --- structure ----------------------------------------------------------------------------------------------------
    "partition": "CREATE TABLE {t}_all (_id text NOT NULL PRIMARY KEY, n integer, name text, _extra jsonb)"
    " PARTITION BY LIST (_id); CREATE TABLE {t} PARTITION OF {t}_all FOR VALUES IN ('a', 'b', 'c', 'd');"
    "INSERT INTO {t}_all VALUES ('a', 1)",
    "partitioned": "CREATE TABLE {t} (_id text NOT NULL PRIMARY KEY, n integer, name text, _extra jsonb)"
    " PARTITION BY HASH (_id); CREATE TABLE {t}_0 PARTITION OF {t} FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
    "CREATE TABLE {t}_1 PARTITION OF {t} FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    "inherits": "CREATE TABLE {t}_above (n integer, name text);"
    "CREATE TABLE {t} (_id text PRIMARY KEY, _extra jsonb) INHERITS ({t}_above)",
    "inherited": BASE + "CREATE TABLE {t}_below () INHERITS ({t}); INSERT INTO {t}_below VALUES ('child', 5)",
    "of type": "CREATE TYPE {t}_type AS (_id text, n integer, name text, _extra jsonb);"
    "CREATE TABLE {t} OF {t}_type (PRIMARY KEY (_id))",
    "extension": BASE + "ALTER EXTENSION plpgsql ADD TABLE {t}",
    "persistence": BASE + "ALTER TABLE {t} SET UNLOGGED",
    "access method": "CREATE ACCESS METHOD heap_{t} TYPE TABLE HANDLER heap_tableam_handler;"
    "CREATE TABLE {t} (_id text NOT NULL PRIMARY KEY, n integer, name text, _extra jsonb) USING heap_{t}",
    "storage parameters": BASE + "ALTER TABLE {t} SET (fillfactor = 70, autovacuum_enabled = false,"
    " toast.autovacuum_vacuum_threshold = 99)",
    # --- rights -------------------------------------------------------------------------------------------------------
    "row security": BASE + "ALTER TABLE {t} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    "policy": BASE + "ALTER TABLE {t} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
    "GRANT SELECT ON {t} TO {role};"
    "CREATE POLICY few ON {t} TO {role} USING (n < 2) WITH CHECK (false)",
    "column grant": BASE + "GRANT SELECT (_id), UPDATE (n) ON {t} TO {role}",
    "passed on grant": BASE + "GRANT SELECT ON {t} TO {role} WITH GRANT OPTION; SET ROLE {role};"
    "GRANT SELECT ON {t} TO PUBLIC; RESET ROLE",
    "rights revoked with a trigger": BASE + "REVOKE ALL ON {t} FROM postgres; COMMENT ON COLUMN {t}.n IS 'x'",
    # --- columns ------------------------------------------------------------------------------------------------------
    "column": BASE + "ALTER TABLE {t} ADD note text, ADD mark integer NOT NULL DEFAULT 7;"
    "INSERT INTO {t} (_id, n, note, mark) VALUES ('a', 0, 'kept', 8), ('gone', 0, 'x', 9)",
    "column of another shape": "CREATE TABLE {t} (_id text PRIMARY KEY, secret text); INSERT INTO {t} VALUES ('b', 'x')",
    "generated column": BASE + "ALTER TABLE {t} ADD twice integer GENERATED ALWAYS AS (2 * n) STORED",
    "identity": BASE + "ALTER TABLE {t} ADD number integer GENERATED ALWAYS AS IDENTITY;"
    "INSERT INTO {t} (_id) VALUES ('gone'), ('b')",
    "sequence": BASE + "ALTER TABLE {t} ADD number serial; INSERT INTO {t} (_id) VALUES ('b')",
    "default": BASE + "ALTER TABLE {t} ALTER n SET DEFAULT 5",
    "column type": "CREATE DOMAIN {t}_small AS integer CHECK (VALUE < 1000);"
    "CREATE TABLE {t} (_id varchar(40) PRIMARY KEY, n {t}_small, name varchar(9), _extra jsonb)",
    "wider type": "CREATE TABLE {t} (_id text PRIMARY KEY, n bigint, name text, _extra jsonb)",
    "collation": 'CREATE TABLE {t} (_id text COLLATE "C" PRIMARY KEY, n integer, name text COLLATE "C", _extra jsonb)',
    "not null": BASE + "ALTER TABLE {t} ALTER n SET NOT NULL",
    "column statistics": BASE + "ALTER TABLE {t} ALTER n SET STATISTICS 500, ALTER name SET (n_distinct = -0.5)",
    "column storage": BASE + "ALTER TABLE {t} ALTER name SET STORAGE EXTERNAL, ALTER _extra SET COMPRESSION pglz",
    "column comment": BASE + "COMMENT ON COLUMN {t}.n IS 'a number'",
    "comment on a key": BASE + "COMMENT ON CONSTRAINT {t}_pkey ON {t} IS 'the key'; COMMENT ON INDEX {t}_pkey IS 'index'",
    # --- constraints and indexes --------------------------------------------------------------------------------------
    "other key": "CREATE TABLE {t} (number bigserial PRIMARY KEY, _id text NOT NULL UNIQUE, n integer, name text,"
    " _extra jsonb); INSERT INTO {t} (number, _id) VALUES (77, 'a')",
    "check": BASE + "INSERT INTO {t} VALUES ('old', -1); ALTER TABLE {t} ADD CONSTRAINT positive CHECK (n > 0) NOT VALID",
    "unique": BASE + "ALTER TABLE {t} ADD UNIQUE (n) DEFERRABLE INITIALLY DEFERRED, ADD UNIQUE (name, n)",
    "exclude": BASE + "ALTER TABLE {t} ADD EXCLUDE USING btree (n WITH =)",
    "foreign key": "CREATE TABLE {t}_numbers (n integer PRIMARY KEY); INSERT INTO {t}_numbers VALUES (1), (2), (3);"
    + BASE
    + "ALTER TABLE {t} ADD FOREIGN KEY (n) REFERENCES {t}_numbers DEFERRABLE INITIALLY DEFERRED,"
    " ADD parent text REFERENCES {t}",
    "index": BASE + "CREATE INDEX ON {t} (n) WHERE n > 1; CREATE INDEX ON {t} (lower(name)) INCLUDE (n);"
    "CREATE UNIQUE INDEX ON {t} (n, name text_pattern_ops); CREATE INDEX ON {t} USING gin (_extra);"
    "CREATE INDEX {t}_broken ON {t} (n); UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{t}_broken'::regclass",
    "cluster": BASE + "ALTER TABLE {t} CLUSTER ON {t}_pkey",
    "index statistics": BASE + "CREATE INDEX {t}_low ON {t} (lower(name)); ALTER INDEX {t}_low ALTER 1 SET STATISTICS 300",
    "extended statistics": BASE + "CREATE STATISTICS {t}_both ON n, name FROM {t}",
    # --- what acts ----------------------------------------------------------------------------------------------------
    "trigger": BASE + "CREATE FUNCTION {t}_f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
    "CREATE TRIGGER off BEFORE INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION {t}_f(); ALTER TABLE {t} DISABLE TRIGGER off;"
    "CREATE TRIGGER always AFTER INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION {t}_f();"
    "ALTER TABLE {t} ENABLE ALWAYS TRIGGER always; COMMENT ON TRIGGER always ON {t} IS 'x';"
    "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON {t} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
    " EXECUTE FUNCTION {t}_f()",
    "trigger that fills": BASE + "ALTER TABLE {t} ADD made text NOT NULL DEFAULT '', ALTER name SET NOT NULL;"
    "CREATE FUNCTION {t}_f() RETURNS trigger LANGUAGE plpgsql AS"
    " $$BEGIN NEW.made := 'now'; NEW.name := coalesce(NEW.name, 'none'); RETURN NEW; END$$;"
    "CREATE TRIGGER fill BEFORE INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION {t}_f()",
    "rule": BASE + "CREATE RULE nothing AS ON INSERT TO {t} DO INSTEAD NOTHING; ALTER TABLE {t} ENABLE ALWAYS RULE nothing;"
    "CREATE RULE stays AS ON DELETE TO {t} DO INSTEAD NOTHING; ALTER TABLE {t} DISABLE RULE stays",
    "publication": BASE + "CREATE PUBLICATION {t}_pub FOR TABLE {t} (_id, n) WHERE (n > 1) WITH (publish = 'insert')",
    "replica identity": BASE + "ALTER TABLE {t} REPLICA IDENTITY FULL",
    # --- what refers to it --------------------------------------------------------------------------------------------
    "dependant": BASE + "CREATE VIEW {t}_view AS SELECT n, name FROM {t}; CREATE RULE r AS ON INSERT TO {t}_view DO INSTEAD"
    " INSERT INTO {t} VALUES (NEW.name, NEW.n); CREATE MATERIALIZED VIEW {t}_sum AS SELECT sum(n) FROM {t};"
    "CREATE FUNCTION {t}_count() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM {t}; END;"
    "CREATE FUNCTION {t}_of({t}) RETURNS text LANGUAGE sql AS 'SELECT $1.name'; CREATE TABLE {t}_rows (r {t});"
    "CREATE TABLE {t}_guard (n integer); CREATE POLICY p ON {t}_guard USING (n IN (SELECT n FROM {t}))",
    "reference": BASE + "CREATE TABLE {t}_items (_id text PRIMARY KEY, n integer, name text REFERENCES {t}, _extra jsonb)",
}  # fmt: skip
TABLES = {kind: f"t{number:02}" for number, kind in enumerate(KEPT)}


@contextmanager
def reader(target: Target) -> Iterator[str]:
    """A role for the time of a test."""
    role = f"{ROLE}_{target.database}"
    target.execute(f"CREATE ROLE {role}")
    try:
        yield role
    finally:
        target.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def seed(source: Source, *tables: str) -> None:
    """Three documents in each collection."""
    for table in tables:
        source.db[table].insert_many([{"_id": key, "n": n, "name": key} for n, key in enumerate("abc", 1)])


async def replace(engines: Engines, *tables: str, **run: Any) -> dict[str, Any]:
    """A run of mode replace."""
    engine, end = await engines.run(engines.settings(*tables, run={"mode": "replace"} | run))
    await engine.leave()
    await engine.until_gone()
    return end


async def test_everything_that_hangs_on_a_table_is_there_after_it_was_replaced(
    source: Source, target: Target, engines: Engines
) -> None:
    items = f"{TABLES['reference']}_items"
    tables = [*TABLES.values(), items]
    seed(source, *tables)
    # A trigger of the table fills in what this document lacks.
    source.db[TABLES["trigger that fills"]].update_one({"_id": "c"}, {"$unset": {"name": 1}})
    with reader(target) as role:
        for kind, script in KEPT.items():
            known = (
                script if postgres_version(target) >= PUBLISHED_PARTS else script.replace(" (_id, n) WHERE (n > 1)", "")
            )
            target.execute(known.format(t=TABLES[kind], role=role))
        target.execute(f"ALTER DEFAULT PRIVILEGES GRANT SELECT, DELETE ON TABLES TO {role}")
        before = {kind: facts_of(target, table) for kind, table in TABLES.items()}

        end = await replace(engines, *tables)

        target.execute(f"ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM {role}")
        assert (end["exit_code"], end["verification"], end.get("error")) == (0, "verified", None), end
        lost = {kind: facts_of(target, table) for kind, table in TABLES.items()}
        unlike: list[tuple[str, object]] = []
        for kind, facts in before.items():
            if kind == "column of another shape":
                continue  # it gets the plan's columns
            found = {name: (value, lost[kind][name]) for name, value in facts.items() if value != lost[kind][name]}
            unlike += [(kind, found)] if found else []
            rows = target.rows(f"SELECT _id, n, name FROM {TABLES[kind]} WHERE _id <> 'child' ORDER BY _id")
            expected = [(key, n, key) for n, key in enumerate("abc", 1)]
            if kind == "trigger that fills":
                expected[2] = ("c", 3, "none")
            unlike += [(kind, rows)] if [tuple(row) for row in rows] != expected else []
        assert not unlike, unlike
        assert_contents(target, role)
        left = target.rows(
            "SELECT relname FROM pg_class WHERE relname LIKE '%mongopg%' AND relnamespace = 'public'::regnamespace"
        )
        assert left == []
        target.execute(f"ALTER EXTENSION plpgsql DROP TABLE {TABLES['extension']}")


def assert_contents(target: Target, role: str) -> None:
    """What those see who look at the tables through what hangs on them."""
    at = TABLES
    column = target.rows(f"SELECT _id, note, mark FROM {at['column']} ORDER BY _id")
    assert [tuple(row) for row in column] == [("a", "kept", 8), ("b", None, 7), ("c", None, 7)]
    secret = target.rows(f"SELECT _id, secret FROM {at['column of another shape']} WHERE secret IS NOT NULL")
    assert [tuple(row) for row in secret] == [("b", "x")]
    number = target.rows(f"SELECT _id, number FROM {at['identity']} ORDER BY number")
    assert next(tuple(row) for row in number) == ("b", 2)
    assert {row[1] for row in number} == {2, 3, 4}
    assert target.value(f"SELECT number FROM {at['other key']} WHERE _id = 'a'") == 77
    assert target.value(f"SELECT sum(twice) FROM {at['generated column']}") == 12
    assert target.value(f"SELECT count(*) FROM {at['partition']}_all") == 3
    assert target.value(f"SELECT count(*) FROM {at['inherited']}") == 4
    assert target.value(f"SELECT count(*) FROM {at['dependant']}_view") == 3
    assert target.value(f"SELECT {at['dependant']}_count()") == 3
    assert target.value(f"SELECT min(made) FROM {at['trigger that fills']}") == "now"
    assert target.value(f"SELECT reltuples FROM pg_class WHERE relname = '{at['dependant']}'") == 3
    seen = target.rows(f"SELECT has_table_privilege('{role}', '{at['comment']}', 'DELETE')")
    assert not seen[0][0], "the schema's default privileges did not reach it"


def test_each_attachment_has_a_case() -> None:
    """So that none is added to the list without proof."""
    elsewhere = {"default privileges", "schema publication", "event trigger", "text", "primary key", "planned index",
                 "statistics", "planned column", "tablespace", "security label", "subscription",
                 "foreign reference", "foreign partition"}  # fmt: skip
    assert {each.kind for each in ATTACHMENTS} <= {*KEPT, *elsewhere}
    assert {each.kind for each in ATTACHMENTS if each.fate is Fate.REFUSED} == {
        "foreign reference",
        "foreign partition",
    }
