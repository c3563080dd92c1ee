"""Tables that are there already: appended to, replaced, or brought up to date; and what each mode refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, ObjectId

from engine import protocol
from engine.protocol import RunState
from tests.running import Engines, add_users, assert_ledger, assert_same, assert_users_equal, committed, end_kept

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 10_000
SLOW = 1_000


async def run(engines: Engines, mode: str, **more: Any) -> dict[str, Any]:
    """A whole run of the users in a mode; the facts of its end."""
    engine, end = await engines.run(engines.settings("users", run={"mode": mode} | more))
    await engine.leave()
    await engine.until_gone()
    return end


def tables(target: Target) -> list[str]:
    """Names of the tables in the schema of the target."""
    return [row[0] for row in target.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")]


# --- append -----------------------------------------------------------------------------------------------------------


async def test_append_adds_to_the_rows_that_are_there(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    await run(engines, "create")
    source.db.users.drop()
    add_users(source, USERS, first=USERS)

    end = await run(engines, "append")

    assert (end["exit_code"], end["written"], end["verification"]) == (0, USERS, "verified")
    add_users(source, USERS)
    assert_users_equal(source, target)


async def test_a_copy_does_not_wait_for_the_disk_at_each_commit(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, 1_000)
    await run(engines, "create")
    target.execute("TRUNCATE users; ALTER TABLE users ADD waits text DEFAULT current_setting('synchronous_commit')")

    end = await run(engines, "append")

    assert (end["exit_code"], end["written"], end["verification"]) == (0, 1_000, "verified")
    assert [row["waits"] for row in target.rows("SELECT DISTINCT waits FROM users")] == ["off"]


async def test_append_makes_a_table_that_is_not_there(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)

    assert (await run(engines, "append"))["exit_code"] == 0

    assert_users_equal(source, target)


async def test_append_keeps_rows_that_are_there_already_as_rejects(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, 500)
    await run(engines, "create")
    add_users(source, 1_000, first=500)

    end = await run(engines, "append")

    assert (end["exit_code"], end["written"], end["rejected"]) == (4, 1_000, 500)
    assert_users_equal(source, target)
    reasons = target.rows("SELECT DISTINCT reason, sqlstate FROM mongopg.reject")
    assert [tuple(row) for row in reasons] == [("unique_violation", "23505")]


async def test_append_to_a_table_that_does_not_fit_is_refused(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, 100)
    target.execute("CREATE TABLE users (_id text, username integer)")

    end = await run(engines, "append")

    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 2, "table_differs")
    assert "Column username is integer, the plan needs text" in end["error"]["message"]
    assert "Column email (text) is missing" in end["error"]["message"]
    assert committed(target) == 0


async def test_what_a_table_would_refuse_of_the_sample_is_named_before_anything_is_written(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.things.insert_many([{"_id": 1, "a": "123456", "b": 1, "c": "ok"}, {"_id": 2, "a": "123", "c": "ok"}])
    target.execute(
        "CREATE TABLE things (_id bigint, a varchar(5), b integer NOT NULL, c varchar(2) NOT NULL, _extra jsonb)"
    )

    engine, end = await engines.run(engines.settings("things", run={"mode": "append"}))

    [problem] = [facts for facts in engine.facts_of("problem") if facts["code"] == "table_bounds"]
    assert problem["message"] == (
        "Table public.things: Column a is varchar(5), and values of up to 6 characters were seen. Column b is NOT NULL, "
        "and documents without a value for it were seen. Such documents will be rejects."
    )
    assert (end["exit_code"], end["rejected"]) == (4, 2)
    rejects = target.rows("SELECT id, reason, field FROM mongopg.reject ORDER BY id")
    assert [tuple(row) for row in rejects] == [
        ('{"$numberInt": "1"}', "too_long", "a"), ('{"$numberInt": "2"}', "not_null", "b"),
    ]  # fmt: skip


async def test_what_insists_on_a_value_of_extra_is_named_with_its_cure(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.things.insert_many([{"_id": 1, "a": 1}, {"_id": 2, "a": 2, "b": "new"}])
    target.execute("CREATE TABLE things (_id bigint, a integer, _extra jsonb NOT NULL DEFAULT '{}')")

    engine, end = await engines.run(engines.settings("things", run={"mode": "append"}))

    [problem] = [facts for facts in engine.facts_of("problem") if facts["code"] == "table_bounds"]
    assert 'run ALTER TABLE "public"."things" ALTER COLUMN "_extra" DROP NOT NULL.' in problem["message"]
    assert (end["exit_code"], end["written"], end["rejected"]) == (4, 1, 1)
    assert tuple(target.rows("SELECT reason, field FROM mongopg.reject")[0]) == ("not_null", "_extra")


@pytest.mark.slow
async def test_a_cancelled_append_is_resumed(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    await run(engines, "create")
    source.db.users.drop()
    add_users(source, USERS, first=USERS)
    settings = engines.settings("users", run={"mode": "append", "throttle": SLOW, "page_size": 200})
    engine = await engines.launch(settings)
    await engine.start()
    await engine.until_written(500)
    await engine.cancel(now=True)
    await engine.finished()
    await engine.leave()
    await engine.until_gone()

    _, end = await engines.run(engines.settings("users", run={"mode": "append"}), resume="")

    assert (end["exit_code"], end["written"], end["verification"]) == (0, USERS, "verified")
    add_users(source, USERS)
    assert_users_equal(source, target)


# --- replace ----------------------------------------------------------------------------------------------------------


async def test_replace_swaps_the_table_at_the_end_and_keeps_its_grants(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    role = f"reader_{target.database}"
    target.execute(
        f"CREATE TABLE users (old integer); INSERT INTO users VALUES (1), (2); CREATE ROLE {role};"
        f"GRANT SELECT ON users TO {role}; COMMENT ON TABLE users IS 'ours'"
    )
    engine = await engines.launch(
        engines.settings("users", run={"mode": "replace", "throttle": SLOW, "page_size": 200})
    )
    await engine.start()
    await engine.until_written(500)
    assert [row["old"] for row in target.rows("SELECT old FROM users ORDER BY old")] == [1, 2]

    await engine.set("throttle", 0)
    end = await engine.finished()

    assert (end["exit_code"], end["verification"]) == (0, "verified")
    assert_users_equal(source, target)
    assert_ledger(target, engine.run_id, rows=USERS)
    assert tables(target) == ["users"]
    assert target.value(f"SELECT has_table_privilege('{role}', 'users', 'SELECT')")
    assert target.value("SELECT obj_description('users'::regclass)") == "ours"
    key = "SELECT conname FROM pg_constraint WHERE conrelid = 'users'::regclass AND contype = 'p'"
    assert target.value(key) == "users_pkey"
    await end_kept(target, engine)
    assert target.value("SELECT state FROM mongopg.run") == "completed"
    target.execute(f"DROP TABLE users; DROP ROLE {role}")


async def test_replace_makes_a_table_that_is_not_there(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)

    assert (await run(engines, "replace"))["exit_code"] == 0

    assert_users_equal(source, target)
    assert tables(target) == ["users"]


@pytest.mark.slow
async def test_replace_twice_ends_with_the_newest(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, 1_000)
    await run(engines, "replace")
    source.db.users.delete_many({"age": {"$lt": 50}})
    source.db.users.update_many({}, {"$set": {"username": "renamed"}})

    assert (await run(engines, "replace"))["exit_code"] == 0

    assert_users_equal(source, target)


async def test_replace_of_a_table_with_a_view_is_refused_with_its_name(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, 100)
    target.execute("CREATE TABLE users (old integer); CREATE VIEW elders AS SELECT * FROM users")

    end = await run(engines, "replace")

    assert (end["state"], end["exit_code"]) == ("failed", 2)
    assert "view elders" in end["error"]["message"]
    assert tables(target) == ["users"]


@pytest.mark.slow
async def test_a_cancelled_replace_leaves_the_old_table_and_is_resumed(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    target.execute("CREATE TABLE users (old integer); INSERT INTO users VALUES (1)")
    settings = engines.settings("users", run={"mode": "replace", "throttle": SLOW, "page_size": 200})
    engine = await engines.launch(settings)
    await engine.start()
    await engine.until_written(500)
    await engine.cancel()
    end = await engine.finished()
    await engine.leave()
    await engine.until_gone()
    assert (end["state"], committed(target)) == ("cancelled", 1)
    assert len(tables(target)) == 2

    _, end = await engines.run(engines.settings("users", run={"mode": "replace"}), resume="")

    assert (end["exit_code"], end["verification"], end["written"]) == (0, "verified", USERS)
    assert_users_equal(source, target)
    assert tables(target) == ["users"]


# --- upsert -----------------------------------------------------------------------------------------------------------


async def test_upsert_changes_what_is_there_and_adds_what_is_not(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, 3_000)
    await run(engines, "create")
    source.db.users.update_many({"age": {"$gte": 50}}, {"$set": {"username": "changed"}})
    add_users(source, 2_000, first=3_000)

    end = await run(engines, "upsert")

    assert (end["exit_code"], end["written"], end["verification"]) == (0, 5_000, "verified")
    assert_users_equal(source, target)


async def test_an_upsert_into_a_table_that_has_a_key_twice_says_which(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.things.insert_one({"_id": 1, "n": 1})
    target.execute("CREATE TABLE things (_id bigint, n integer); INSERT INTO things VALUES (7, 1), (7, 2), (8, 3)")

    _, end = await engines.run(engines.settings("things", run={"mode": "upsert"}))

    assert (end["exit_code"], end["error"]["code"]) == (2, "table_closed")
    assert end["error"]["message"] == (
        "Table public.things cannot be written to in mode upsert, which needs a unique key: Key (_id)=(7) is duplicated. "
        "Remove all rows but one of each key, or use mode append."
    )
    assert target.value("SELECT count(*) FROM mongopg.run") == 0
    assert target.value("SELECT count(*) FROM things") == 3


async def test_upsert_leaves_rows_that_the_source_does_not_have(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, 1_000)
    await run(engines, "create")
    gone = {row[0]: row[1] for row in target.rows("SELECT _id, username FROM users ORDER BY _id LIMIT 300")}
    source.db.users.delete_many({"_id": {"$lte": sorted(source.db.users.distinct("_id"))[299]}})

    end = await run(engines, "upsert")

    assert (end["exit_code"], end["written"]) == (0, 700)
    assert committed(target) == 1_000
    kept = target.rows("SELECT _id, username FROM users WHERE _id = ANY($1::text[])", list(gone))
    assert_same(gone, [tuple(row) for row in kept])


async def test_upsert_makes_a_table_that_is_not_there(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)

    assert (await run(engines, "upsert"))["exit_code"] == 0

    assert_users_equal(source, target)


@pytest.mark.slow
async def test_upsert_says_that_keys_of_several_kinds_may_become_one(
    source: Source, target: Target, engines: Engines
) -> None:
    both = ObjectId()
    source.db.things.insert_many([{"_id": both, "n": 1}, {"_id": str(both), "n": 2}])
    settings = engines.settings("things", run={"mode": "upsert"})
    engine = await engines.launch(settings)
    view = await engine.client.ask(protocol.PlanView, protocol.MakePlan())
    await engine.leave()
    [warning] = [each for each in view.tables[0].warnings if "the later document becomes a reject" in each]

    engine, end = await engines.run(settings)

    [problem] = [facts for facts in engine.facts_of("problem") if facts["code"] == "equal_keys"]
    assert problem["message"] == f"{source.database}.things: {warning}"
    assert (end["exit_code"], end["rejected"], committed(target, "things")) == (4, 1, 1)
    [reject] = target.rows("SELECT field, reason, detail FROM mongopg.reject")
    assert tuple(reject)[:2] == ("_id", "key_taken")
    assert str(both) in reject["detail"]
    await engine.leave()
    engine, end = await engines.run(engines.settings("things", run={"mode": "replace"}))
    assert (end["written"], end["rejected"], engine.facts_of("problem")) == (1, 1, [])


@pytest.mark.slow
async def test_upsert_goes_on_after_a_kill(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    settings = engines.settings("users", run={"mode": "upsert", "throttle": SLOW, "page_size": 200})
    engine = await engines.launch(settings)
    await engine.start()
    await engine.until_written(500)
    engine.kill()
    await engine.until_gone()

    _, end = await engines.run(engines.settings("users", run={"mode": "upsert"}), resume="")

    assert end["exit_code"] == 0
    assert end["state"] == RunState.COMPLETED
    assert_users_equal(source, target)


@pytest.mark.slow
async def test_upsert_beside_other_rows_counts_the_rows_of_keys_that_become_one(
    source: Source, target: Target, engines: Engines
) -> None:
    target.execute(
        "CREATE TABLE things (_id jsonb PRIMARY KEY, n integer CHECK (n < 1000), _extra jsonb);"
        "INSERT INTO things SELECT to_jsonb('other ' || n), n FROM generate_series(1, 50) n"
    )
    oids = [ObjectId() for _ in range(40)]
    source.db.things.insert_many(
        [*({"_id": each, "n": n} for n, each in enumerate(oids)), *({"_id": f"s{n}", "n": 30 * n} for n in range(40))]
    )

    for _ in range(2):  # the second run writes each row once more
        engine, end = await engines.run(engines.settings("things", run={"mode": "upsert", "page_size": 100}))
        await engine.leave()
        assert (end["exit_code"], end["verification"], end["written"], end["rejected"]) == (4, "verified", 74, 6), end

    source.db.things.insert_one({"_id": str(oids[7]), "n": 7})
    engine, end = await engines.run(engines.settings("things", run={"mode": "upsert"}))
    assert (end["exit_code"], end["written"], end["rejected"]) == (4, 74, 7), end
    await engine.leave()


ORDERS = ({"a": 1, "b": 2}, {"b": 2, "a": 1})
"""Two keys for MongoDB, one as jsonb."""


async def test_upsert_merges_no_documents_whose_keys_are_one_in_the_table(
    source: Source, target: Target, engines: Engines
) -> None:
    target.execute(
        "CREATE TABLE things (_id jsonb PRIMARY KEY, n integer, _extra jsonb);"
        """INSERT INTO things VALUES ('{"a": 1, "b": 2}', 0), ('{"a": 9}', 0), ('"other"', 0)"""
    )
    source.db.things.insert_many(
        [{"_id": {"a": 9}, "n": 9}, *({"_id": key, "n": n} for n, key in enumerate(ORDERS, 1))]
    )
    for _ in range(2):  # the second run finds the rows of the first
        engine, end = await engines.run(engines.settings("things", run={"mode": "upsert"}))

        assert (end["exit_code"], end["written"], end["rejected"]) == (4, 2, 1), end
        rows = target.rows("SELECT _id->>'a', n FROM things ORDER BY n")
        assert [key for key, _ in rows] == [None, "1", "9"]
        kept = rows[1][1]
        assert kept in (1, 2)
        [(reason, field, detail)] = target.rows(
            "SELECT reason, field, detail FROM mongopg.reject WHERE run_id = $1", engine.run_id
        )
        assert (reason, field) == ("key_taken", "_id")
        assert '{"a": 1, "b": 2}' in detail
        listed = await engine.client.ask(protocol.RejectsReport, protocol.ListRejects(run=engine.run_id))
        assert (listed.mode, listed.total) == ("upsert", 1)
        report = await engine.client.ask(protocol.RetryReport, protocol.RetryRejects(run=engine.run_id))
        assert (report.tried, report.written) == (1, 0)
        assert [n for (n,) in target.rows("SELECT n FROM things ORDER BY n")] == [0, kept, 9]
        await engine.leave()


async def test_a_document_that_equals_the_row_of_another_one_stays_a_reject_when_it_is_retried(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.things.insert_many([{"_id": key, "n": 1} for key in ORDERS])
    engine, end = await engines.run(engines.settings("things", run={"mode": "upsert"}))
    assert (end["exit_code"], end["written"], end["rejected"]) == (4, 1, 1), end
    report = await engine.client.ask(protocol.RetryReport, protocol.RetryRejects(run=engine.run_id))
    assert (report.tried, report.written, report.already_there) == (1, 0, 0)
    assert target.value("SELECT count(*) FROM mongopg.reject") == 1


async def test_numbers_of_the_same_digits_that_mongodb_keeps_apart_are_a_row_and_a_reject(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.things.insert_many([{"_id": 0.1, "n": 1}, {"_id": Decimal128("0.1"), "n": 2}])
    _, end = await engines.run(engines.settings("things", run={"mode": "create"}))
    assert (end["state"], end["exit_code"], end["written"], end["rejected"]) == ("completed", 4, 1, 1), end


async def test_upsert_of_a_view_with_an_id_twice_writes_one_row_and_rejects_the_others(
    source: Source, target: Target, engines: Engines
) -> None:
    target.execute(
        "CREATE TABLE twice (_id integer UNIQUE, n integer, _extra jsonb); INSERT INTO twice VALUES (7, 7), (1, 0)"
    )
    source.db.things.insert_many([{"_id": n, "n": n} for n in range(3)])
    source.db.command("create", "twice", viewOn="things", pipeline=[{"$set": {"_id": 1}}])

    _, end = await engines.run(engines.settings("twice", run={"mode": "upsert"}))

    assert (end["exit_code"], end["written"], end["rejected"]) == (4, 1, 2), end
    assert [tuple(row) for row in target.rows("SELECT _id, n FROM twice ORDER BY _id")] == [(1, 0), (7, 7)]
