"""Rows that a constraint refuses for the sake of other rows: they wait for these, and are rejects at the cut-over only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bson

from engine.protocol import CALLED_OFF, CutOver, ListRejected, RejectedPage
from tests.engine.test_follow import following, ready
from tests.engine.test_follow_control import applied, fill, settings_of, values
from tests.running import Engine, Engines, eventually

if TYPE_CHECKING:
    from tests.conftest import Source, Target


async def blocked(engine: Engine, target: Target, *keys: int, by: str) -> None:
    """These keys are blocked, in the ledger and then, as no other is, in what is shown."""
    hashes = [bson.encode({"_id": key}) for key in keys]
    sql = "SELECT count(*) FROM mongopg.dirty WHERE key_hash = ANY($1) AND blocked <> ''"
    await eventually(lambda: target.value(sql, hashes) == len(keys), 30.0, engine.account)
    expected = {by: len(keys)} if keys else {}
    await engine.until(
        lambda now: now.follow is not None and now.follow.blocked_by == expected and now.follow.blocked == len(keys),
        f"blocked keys: {expected}",
    )


async def test_a_value_that_is_unique_is_waited_for_until_the_cut_over(
    source: Source, target: Target, engines: Engines
) -> None:
    things = source.db.things
    things.insert_many([{"_id": number, "n": number} for number in range(20)])
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    target.execute("CREATE UNIQUE INDEX CONCURRENTLY things_n ON things (n)")
    with source.client.start_session() as session, session.start_transaction():  # each is refused for the other's sake
        things.update_one({"_id": 1}, {"$set": {"n": 2}}, session=session)
        things.update_one({"_id": 2}, {"$set": {"n": 1}}, session=session)
    await applied(source, target, engine)
    things.update_one({"_id": 3}, {"$set": {"n": 4}})
    await blocked(engine, target, 3, by="things_n")
    assert target.value("SELECT count(*) FROM mongopg.reject") == 0
    assert 3 not in values(target), "what the source has left is no row any more"
    await ready(engine)
    things.update_one({"_id": 4}, {"$set": {"n": 40}})
    await applied(source, target, engine)
    things.update_one({"_id": 5}, {"$set": {"n": 6}})
    await blocked(engine, target, 5, by="things_n")
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["verification"], end["exit_code"], end["rejected"]) == ("completed", "verified", 4, 1), (
        end
    )
    assert end["follow"]["rejects_open"] == 1
    page = await engine.client.ask(RejectedPage, ListRejected())
    assert [(each.id, each.reason) for each in page.documents] == [('{"$numberInt": "5"}', "unique_violation")]
    assert target.value("SELECT count(*) FROM mongopg.dirty") == 0


async def test_a_row_to_which_others_refer_is_not_deleted_and_the_cut_over_is_called_off(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    target.execute("CREATE TABLE others (thing integer REFERENCES things)")
    target.execute("INSERT INTO others VALUES (7), (8)")
    source.db.things.delete_many({"_id": {"$gte": 5, "$lt": 10}})
    await blocked(engine, target, 7, 8, by="others_thing_fkey")
    # The others may be in lanes that are applied later.
    await eventually(lambda: values(target).keys() & set(range(5, 10)) == {7, 8}, 30.0, engine.account)
    await engine.client.call(CutOver())
    off = await engine.event("problem", lambda facts: facts["code"] == CALLED_OFF)
    assert "2 rows have to go, and others refer to them (others_thing_fkey)" in off.facts["message"]
    target.execute("DELETE FROM others")
    await eventually(lambda: not target.value("SELECT count(*) FROM mongopg.dirty"), 30.0, engine.account)
    await ready(engine)
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["verification"], end["exit_code"]) == ("completed", "verified", 0), end


async def test_a_throttle_slows_down_what_is_applied(source: Source, target: Target, engines: Engines) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    await engine.set("throttle", 4)
    source.db.things.update_many({}, {"$set": {"n": 1}})
    await engine.until(lambda now: any(worker.state == "throttled" for worker in now.workers), "the throttle")
    assert 0 in values(target).values()
    await engine.set("throttle", 0)
    await applied(source, target, engine)
    await engine.cancel(now=True)
    await engine.finished()
