"""What keeps a cut-over from being done at its last moment, and what is again as it was when it is called off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bson
import pytest

from engine.protocol import CALLED_OFF, CallOff, CutOver, Resolve, RunState
from tests.engine.test_blocked_keys import blocked
from tests.engine.test_cut_over import target_read
from tests.engine.test_follow import following, ready
from tests.engine.test_follow_checked import waiting
from tests.engine.test_follow_control import applied, dirty, fill, settings_of, target_locked, values
from tests.running import Engine, Engines, eventually, waiting_for_a_lock

if TYPE_CHECKING:
    from tests.conftest import Source, Target

SPOIL = (
    "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := 9; RETURN NEW; END $$;"
    "CREATE TRIGGER spoils BEFORE INSERT OR UPDATE ON things FOR EACH ROW WHEN (NEW._id = 7) EXECUTE FUNCTION spoil()"
)


async def called_off(engine: Engine) -> str:
    """Why."""
    off = await engine.event("problem", lambda facts: facts["code"] == CALLED_OFF)
    return str(off.facts["message"])


async def done(engine: Engine) -> None:
    """The next cut-over is."""
    await ready(engine)
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified"), end


async def test_a_row_that_is_found_to_differ_behind_the_mark_calls_it_off(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    target.execute(SPOIL)
    async with target_locked(target):  # so that it is applied, and compared, behind the mark
        source.db.things.update_one({"_id": 7}, {"$set": {"n": 1}})
        await eventually(lambda: dirty(target) > 0, 30.0, engine.account)
        await engine.client.call(CutOver())
        await eventually(lambda: target.value("SELECT mark_time FROM mongopg.follow"), 30.0, engine.account)
    assert "1 row differs from its document" in await called_off(engine)
    target.execute("DROP TRIGGER spoils ON things")
    source.db.things.update_one({"_id": 7}, {"$set": {"n": 2}})
    await applied(source, target, engine)
    await done(engine)


async def swapping(engine: Engine, target: Target) -> None:
    """The last transaction waits for the table that is read."""
    await engine.client.call(CutOver())
    await engine.until(lambda now: now.phase == "swapping tables", "the swap")
    await waiting_for_a_lock(target)


@pytest.fixture
def old_table(target: Target) -> None:
    target.execute("CREATE TABLE things (_id integer PRIMARY KEY, n integer)")


@pytest.mark.usefixtures("old_table")
async def test_a_target_that_has_lost_what_was_applied_last_is_not_cut_over(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines, mode="replace"))
    await ready(engine)
    key = bson.encode({"_id": 7})
    async with target_read(target):
        await swapping(engine, target)
        target.execute("INSERT INTO mongopg.dirty VALUES ($1, 1, 0, $2, $2, 0)", engine.run_id, key)
    assert "the target has lost what was applied last" in await called_off(engine)
    await eventually(lambda: not dirty(target), 30.0, engine.account)
    await done(engine)
    assert values(target) == dict.fromkeys(range(50), 0)


@pytest.mark.usefixtures("old_table")
async def test_what_became_a_reject_because_of_the_mark_is_blocked_again_when_it_is_called_off(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.things.insert_many([{"_id": number, "n": number} for number in range(20)])
    engine = await following(engines, settings_of(engines, mode="replace"))
    await ready(engine)
    staging = target.value("SELECT staging_table FROM mongopg.table_load")
    target.execute(f'CREATE UNIQUE INDEX CONCURRENTLY things_n ON "{staging}" (n)')
    source.db.things.update_one({"_id": 5}, {"$set": {"n": 6}})
    await blocked(engine, target, 5, by="things_n")
    async with target_read(target):
        await swapping(engine, target)
        assert target.value("SELECT count(*) FROM mongopg.reject") == 1
        await engine.client.call(CallOff())
        await called_off(engine)
    await blocked(engine, target, 5, by="things_n")
    assert target.value("SELECT count(*) FROM mongopg.reject") == 0
    source.db.things.update_one({"_id": 6}, {"$set": {"n": 60}})
    await blocked(engine, target, by="")
    await done(engine)
    assert values(target) == {number: {5: 6, 6: 60}.get(number, number) for number in range(20)}


@pytest.mark.slow
async def test_rows_of_no_document_to_which_others_refer_stay_and_the_counts_call_it_off(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    target.execute(
        "INSERT INTO things VALUES (99, 1);"
        "CREATE TABLE others (thing integer REFERENCES things); INSERT INTO others VALUES (99)"
    )
    await engine.client.call(CutOver(compare_all=True))
    assert "the table gained 51 rows, the source has 50 documents" in await called_off(engine)
    (told,) = [facts["message"] for facts in engine.facts_of("problem") if facts["code"] == "referred"]
    assert "rows of other tables refer to them (others_thing_fkey)" in told
    target.execute("DROP TABLE others")
    await ready(engine)
    await engine.client.call(CutOver(compare_all=True))
    assert (await engine.finished())["state"] == "completed"
    assert values(target) == dict.fromkeys(range(50), 0)


async def test_a_batch_that_is_committed_behind_a_halt_is_not_compared_with_what_is_there_then(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    async with target_locked(target):
        source.db.things.update_many({}, {"$set": {"n": 1}})
        await waiting_for_a_lock(target)  # it has read the documents
        source.db.things.drop()
        await engine.until(lambda now: now.state is RunState.HALTED, "the halt")
    await eventually(lambda: waiting(target) > 0, 30.0, engine.account)
    await engine.client.call(Resolve(namespace=f"{source.database}.things", choice="ignore"))
    await done(engine)
    assert values(target).keys() == set(range(50))
    assert not target.value("SELECT count(*) FROM mongopg.difference")
