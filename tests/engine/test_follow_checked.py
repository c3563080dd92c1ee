"""What a run that follows has applied is compared with the source; and where changes are lost, everything is."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import bson
import pytest

from engine.follow.check_job import DIFFERENCES
from engine.ledger import changed
from engine.ledger.changed import LaneKey
from engine.postgres import connect as postgres
from engine.protocol import CALLED_OFF, CallOff, CutOver, RunState, Snapshot, Status
from engine.run.comparing import COMPARED
from engine.work.check import MOST_COMPARERS
from tests.engine.changing_source import Changes, assert_same_as_source
from tests.engine.target_tools import RUN, bench, key
from tests.engine.test_follow import following, ready
from tests.engine.test_follow_control import applied, dirty, fill, refused, settings_of, target_locked, values
from tests.running import Engine, Engines, end_kept, eventually

if TYPE_CHECKING:
    import asyncpg

    from tests.conftest import Source, Target

LANE = LaneKey(RUN, 0, 2)
FENCE_WAITS = (
    "SELECT count(*) FROM pg_locks WHERE relation = to_regclass('mongopg.applied') AND NOT granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""Sessions that wait to see what is being applied."""


def waiting(target: Target) -> int:
    return int(target.value("SELECT coalesce(sum(n_keys), 0) FROM mongopg.changed"))


async def compared(target: Target, engine: Engine) -> None:
    """Everything that was applied is compared."""
    await eventually(lambda: not dirty(target) and not waiting(target), 30.0, engine.account)


def look_at(target: Target, engine: Engine, *keys: int) -> None:
    """As if changes of these documents had just been applied."""
    target.execute(
        "INSERT INTO mongopg.changed (run_id, task_id, lane, since, at, n_keys, keys) SELECT $1, 1, 0, start_time, start_time,"
        " $2, $3 FROM mongopg.run WHERE run_id = $1",
        engine.run_id, len(keys), b"".join(bson.encode({"_id": each}) for each in keys),
    )  # fmt: skip


async def test_changes_are_compared_when_they_are_applied(source: Source, target: Target, engines: Engines) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    source.db.things.update_many({}, {"$set": {"n": 1}})
    source.db.things.delete_many({"_id": {"$lt": 10}})
    written = source.client.admin.command("hello")["lastWrite"]["opTime"]["ts"].time
    # Whole seconds: only a write of a later one says that nothing of this one is left.
    await asyncio.sleep(1.1)
    source.client.admin.command("appendOplogNote", data={"written": "later"})
    await engine.until(
        lambda now: now.follow is not None and (now.follow.verified_unix or 0.0) > written,
        "what was written is verified",
    )
    await compared(target, engine)
    assert values(target) == dict.fromkeys(range(10, 50), 1)
    follow = engine.snapshot.follow
    assert follow is not None
    assert (follow.differences, follow.mended) == (0, 0)
    assert not [facts for facts in engine.facts_of("problem") if facts["code"] == DIFFERENCES]
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified")


@pytest.mark.slow
async def test_a_session_that_compares_many_tables_keeps_temporary_tables_of_a_few(
    source: Source, target: Target, engines: Engines
) -> None:
    names = [f"things{number}" for number in range(MOST_COMPARERS + 4)]

    def are_all(n: int) -> bool:
        return {target.value(f"SELECT n FROM {name}") for name in names} == {n}

    for name in names:
        source.db[name].insert_one({"_id": 1, "n": 0})
    engine = await following(engines, engines.settings(*names, run={"cluster_size": 1}))
    await ready(engine)
    for n in (1, 2):
        for name in names:
            source.db[name].update_one({"_id": 1}, {"$set": {"n": n}})
        await eventually(partial(are_all, n), 30.0, engine.account)
        await compared(target, engine)
        kept = target.value("SELECT count(*) FROM pg_class WHERE relname LIKE 'mongopg_look_%' AND relkind = 'r'")
        assert kept == MOST_COMPARERS
    await engine.cancel()
    await engine.finished()


@pytest.mark.slow
async def test_what_is_verified_stays_so_when_a_cut_over_is_called_off(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    began = source.client.admin.command("hello")["lastWrite"]["opTime"]["ts"].time
    await asyncio.sleep(3)  # the run's beginning is another time than what is verified
    source.client.admin.command("appendOplogNote", data={"written": "later"})
    source.db.things.update_one({"_id": 7}, {"$set": {"n": 1}})
    await engine.until(
        lambda now: now.follow is not None and (now.follow.verified_unix or 0.0) >= began + 2, "something is verified"
    )
    async with target_locked(target):
        source.db.things.update_many({}, {"$set": {"n": 2}})
        await eventually(lambda: dirty(target) > 0, 30.0, engine.account)
        before = await engine.client.ask(Snapshot, Status())
        await engine.client.call(CutOver())
        await eventually(lambda: target.value("SELECT mark_time FROM mongopg.follow"), 30.0, engine.account)
        await engine.client.call(CallOff())
        await engine.event("problem", lambda facts: facts["code"] == CALLED_OFF)
        after = await engine.client.ask(Snapshot, Status())
        now = source.client.admin.command("hello")["lastWrite"]["opTime"]["ts"].time
    assert before.follow is not None
    assert before.follow.verified_unix is not None
    assert after.follow is not None
    assert (after.follow.verified_unix or 0.0) >= before.follow.verified_unix
    assert after.follow.oldest_s is not None
    assert after.follow.oldest_s <= now - before.follow.verified_unix
    await applied(source, target, engine)
    await engine.cancel()
    await engine.finished()


async def test_rows_that_differ_are_found_and_written_again(source: Source, target: Target, engines: Engines) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    target.execute("DELETE FROM things WHERE _id = 7")
    target.execute("UPDATE things SET n = 5 WHERE _id = 8")
    target.execute("INSERT INTO things (_id, n) VALUES (100, 1)")
    look_at(target, engine, 7, 8, 9, 100)
    told = await engine.event("problem", lambda facts: facts["code"] == DIFFERENCES)
    assert "3 rows of" in told.facts["message"]
    await compared(target, engine)
    assert values(target) == dict.fromkeys(range(50), 0)
    found = target.rows("SELECT key FROM mongopg.difference WHERE mended_at IS NOT NULL ORDER BY key")
    assert [bson.decode(row["key"])["_id"] for row in found] == [7, 8, 100]
    await engine.until(
        lambda now: now.follow is not None and now.follow.mended == 3 and now.follow.ready, "it is mended"
    )
    await engine.cancel()
    await engine.finished()


async def test_rows_that_differ_whatever_is_done_are_in_the_way_of_a_cut_over(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    target.execute(
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := 9; RETURN NEW; END $$;"
        "CREATE TRIGGER spoils BEFORE INSERT OR UPDATE ON things FOR EACH ROW WHEN (NEW._id = 7) EXECUTE FUNCTION spoil()"
    )
    source.db.things.update_many({"_id": {"$lt": 10}}, {"$set": {"n": 1}})
    await engine.event("problem", lambda facts: "written again: a trigger" in facts["message"])
    await engine.until(
        lambda now: now.follow is not None and [each.code for each in now.follow.reasons] == ["differences"],
        "the reason",
    )
    expected = {number: 9 if number == 7 else int(number < 10) for number in range(50)}
    await eventually(lambda: values(target) == expected, 30.0, engine.account)
    target.execute("DROP TRIGGER spoils ON things")
    source.db.things.update_one({"_id": 7}, {"$set": {"n": 2}})
    await ready(engine)
    await engine.cancel()
    await engine.finished()


def spoiled(target: Target) -> None:
    """Rows that no change of the source leads to."""
    target.execute("DELETE FROM things WHERE _id % 7 = 1")
    target.execute("UPDATE things SET n = -1 WHERE _id % 7 = 2")
    target.execute("INSERT INTO things (_id, n, text) SELECT 10000 + i, 1, '' FROM generate_series(1, 20) i")
    target.execute("DELETE FROM mongopg.reject WHERE reject_id IN (SELECT min(reject_id) FROM mongopg.reject)")


@pytest.mark.parametrize("mode", ["create", pytest.param("replace", marks=pytest.mark.slow)])
async def test_a_run_whose_changes_are_lost_is_compared_instead(
    source: Source, target: Target, engines: Engines, mode: str
) -> None:
    changes = Changes(source, 3)
    settings = engines.settings("things", run={"page_size": 100, "mode": mode}, mapping={"nul": "reject"})
    first, end = await engines.run(settings)
    assert end["state"] == "completed"
    await end_kept(target, first)
    changes.some(100)
    spoiled(target)
    # The oplog is said to begin behind the run's beginning.
    target.execute("UPDATE mongopg.run SET start_time = 1")
    assert f"`mongopg-tui follow {first.run_id} --resync`" in await refused(engines, settings, resume=first.run_id)
    assert target.value("SELECT state FROM mongopg.run") == "completed"

    second = await engines.launch(settings)
    await second.start(resume=first.run_id, follow=True, resync=True)
    told = await second.event("problem", lambda facts: facts["code"] == COMPARED)
    assert "rows of no document were deleted" in told.facts["message"]
    changes.some(100)
    await ready(second)
    await second.client.call(CutOver())
    end = await second.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified")
    assert_same_as_source(source, target, first.run_id)
    assert target.value("SELECT start_time > 1 FROM mongopg.run")


async def test_a_comparison_is_begun_with_the_run_that_it_is_for_or_not_at_all(
    source: Source, target: Target, engines: Engines
) -> None:
    """An engine that ended in between would leave a run that follows, and is not compared."""
    fill(source)
    first, _ = await engines.run(settings_of(engines))
    await end_kept(target, first)
    target.execute("UPDATE things SET n = 4 WHERE _id < 5")
    target.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;"
        "CREATE TRIGGER refuses BEFORE UPDATE ON mongopg.follow FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    second = await engines.launch(settings_of(engines))
    second.may_fail_inside = True
    await second.start(resume=first.run_id, follow=True, resync=True)
    end = await second.finished()
    assert end["state"] == "failed"
    assert "refused" in end["error"]["message"]
    assert target.value("SELECT state FROM mongopg.run") == "completed"
    assert target.value("SELECT count(*) FROM mongopg.follow") == 0
    target.execute("DROP TRIGGER refuses ON mongopg.follow")
    third = await engines.launch(settings_of(engines))
    await third.start(resume=first.run_id, follow=True, resync=True)
    await third.event("problem", lambda facts: facts["code"] == COMPARED)
    await applied(source, target, third)
    await third.cancel()
    await third.finished()


@pytest.mark.slow
async def test_comparing_begins_again_where_it_was_ended(source: Source, target: Target, engines: Engines) -> None:
    fill(source, 5_000)
    first, _ = await engines.run(settings_of(engines))
    target.execute("UPDATE things SET n = 4; DELETE FROM things WHERE _id < 100; INSERT INTO things VALUES (-1, 0)")
    second = await engines.launch(settings_of(engines, throttle=1_000))
    await second.start(resume=first.run_id, follow=True, resync=True)
    await second.until(lambda now: now.follow is not None and now.follow.phase == "comparing", "it compares")
    await eventually(lambda: dirty(target) > 500, 30.0, second.account)
    second.kill()
    await second.until_gone()
    third = await engines.launch(settings_of(engines))
    await third.start(resume=first.run_id)
    await ready(third)
    await applied(source, target, third)
    assert third.snapshot.state is RunState.FOLLOWING
    await third.cancel()
    await third.finished()


@pytest.mark.slow
async def test_a_collection_that_is_dropped_while_it_is_compared_deletes_nothing(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source, 3_000)
    first, _ = await engines.run(settings_of(engines))
    second = await engines.launch(settings_of(engines, throttle=1_000))
    await second.start(resume=first.run_id, follow=True, resync=True)
    await second.until(
        lambda now: now.phase == "comparing with the source" and any(worker.collection for worker in now.workers),
        "it compares",
    )
    source.db.things.drop()  # what is left of it reads as empty
    await second.until(lambda now: now.state is RunState.HALTED, "it halts")
    assert values(target) == dict.fromkeys(range(3_000), 0)
    await second.cancel()
    await second.finished()


@pytest.mark.slow
async def test_a_collection_that_is_dropped_before_it_is_compared_halts_the_run(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    source.db.others.insert_one({"_id": 1, "n": 0})
    settings = engines.settings("things", "others", run={"page_size": 100})
    first, _ = await engines.run(settings)
    lanes = await postgres.connect(target.uri)
    locking = lanes.transaction()
    await locking.start()
    await lanes.execute("LOCK TABLE mongopg.applied IN SHARE MODE")  # what comes before the ranges are cut waits
    second = await engines.launch(settings)
    await second.start(resume=first.run_id, follow=True, resync=True)
    await eventually(lambda: target.value(FENCE_WAITS) > 0, 30.0, second.account)
    source.db.things.drop()
    await locking.rollback()
    await lanes.close()
    await second.until(lambda now: now.state is RunState.HALTED, "it halts")
    assert values(target) == dict.fromkeys(range(50), 0)
    await second.cancel()
    await second.finished()


async def test_in_mode_upsert_rows_of_others_stay(source: Source, target: Target, engines: Engines) -> None:
    fill(source)
    target.execute("CREATE TABLE things (_id integer PRIMARY KEY, n integer)")
    target.execute("INSERT INTO things VALUES (1000, 1)")
    first, _ = await engines.run(settings_of(engines, mode="upsert"))
    target.execute("UPDATE things SET n = 4 WHERE _id < 5")
    second = await engines.launch(settings_of(engines, mode="upsert"))
    await second.start(resume=first.run_id, follow=True, resync=True)
    await ready(second)
    await eventually(lambda: values(target) == dict.fromkeys(range(50), 0) | {1000: 1}, 30.0, second.account)
    await second.cancel()
    await second.finished()


async def test_everything_is_compared_at_the_mark_where_that_is_asked_for(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    # By another program, to rows of which nothing has changed.
    target.execute(
        "UPDATE things SET n = 5 WHERE _id = 8; DELETE FROM things WHERE _id = 9; INSERT INTO things VALUES (99, 1)"
    )
    await engine.client.call(CutOver(compare_all=True))
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified")
    assert values(target) == dict.fromkeys(range(50), 0)
    (told,) = [facts["message"] for facts in engine.facts_of("problem") if facts["code"] == COMPARED]
    assert "of 50 documents 2 differ and are applied; 1 row of no document was deleted" in told


async def test_comparing_at_the_mark_is_called_off_like_everything(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source, 4_000)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    await engine.set("throttle", 200)
    await engine.client.call(CutOver(compare_all=True))
    await engine.until(lambda now: now.phase == "comparing with the source", "it compares")
    await engine.client.call(CallOff())
    await engine.event("problem", lambda facts: facts["code"] == CALLED_OFF)
    await engine.set("throttle", 0)
    await ready(engine)
    source.db.things.update_one({"_id": 3}, {"$set": {"n": 2}})
    await applied(source, target, engine)
    await engine.client.call(CutOver(compare_all=True))
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified")


async def test_what_the_copy_rejected_for_the_sake_of_another_row_is_written_when_that_is_gone(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source, 1)
    target.execute(
        "CREATE TABLE things (_id integer PRIMARY KEY, n integer UNIQUE); INSERT INTO things VALUES (1000, 0)"
    )
    engine = await following(engines, settings_of(engines, mode="upsert"))
    told = await engine.event("problem", lambda facts: facts["code"] == "rules")
    assert "because of other rows (unique index things_n_key)" in told.facts["message"]
    await engine.until(lambda now: now.follow is not None and now.follow.blocked == 1, "it is blocked")
    target.execute("DELETE FROM things")
    await eventually(lambda: values(target) == {0: 0}, 30.0, engine.account)
    assert target.value("SELECT count(*) FROM mongopg.reject") == 0
    await ready(engine)
    await engine.cancel()
    await engine.finished()


# --- in the ledger ----------------------------------------------------------------------------------------------------


async def kept(connection: asyncpg.Connection, *values: object, suspect: bool = False) -> None:
    await changed.add(connection, LANE, 5, 6, [key(value) for value in values], suspect=suspect)


async def test_keys_that_were_applied_stay_until_they_are_compared(target: Target) -> None:
    async with bench(target.uri) as made:
        connection = made.connection
        await kept(connection, 1, 2)
        await kept(connection, 3)
        (lane,) = await changed.waiting(connection, RUN)
        assert (lane.task_id, lane.lane, lane.n_keys, lane.since, lane.at) == (0, 2, 3, 5, 6)
        batch = await changed.take(connection, LANE, lane.upto, 1)
        assert batch is not None
        assert batch.keys == [key(1), key(2)], "whole rows, until there are enough"
        await kept(connection, 4)
        assert await changed.settle(connection, LANE, batch)
        assert not await changed.settle(connection, LANE, batch), "another worker was quicker"
        rest = await changed.take(connection, LANE, 1 << 40, 100)
        assert rest is not None
        assert rest.keys == [key(3), key(4)]


async def test_a_suspect_that_was_applied_again_is_none(target: Target) -> None:
    async with bench(target.uri) as made:
        connection = made.connection
        await kept(connection, 1, 2, 3, suspect=True)
        await kept(connection, 2)
        batch = await changed.take(connection, LANE, 1 << 40, 100)
        assert batch is not None
        assert (batch.keys, batch.suspects) == ([key(2)], [key(1), key(3)])
        await kept(connection, 3)  # applied behind that
        assert await changed.unchanged(connection, LANE, batch.suspects, batch.rows) == [key(1)]


async def test_a_document_that_differs_is_written_again_once(target: Target) -> None:
    async with bench(target.uri) as made:
        connection = made.connection
        both = [key(1), key(2)]
        assert sorted(await changed.keep_differences(connection, LANE, both)) == sorted(both)
        assert await changed.differences(connection, RUN) == {0: (0, 0)}
        await changed.mend(connection, LANE, [key(2)])
        assert await changed.keep_differences(connection, LANE, [key(1)]) == []
        assert await changed.differences(connection, RUN) == {0: (1, 1)}
        assert await changed.keep_differences(connection, LANE, [key(2)]) == [key(2)]
