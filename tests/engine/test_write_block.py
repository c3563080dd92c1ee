"""`ctl cutover --block-writes`: MongoDB's block of all writes is lifted, whatever becomes of the cut-over, until it is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from pymongo.errors import PyMongoError

from engine.mongo import write_block
from engine.protocol import CALLED_OFF, CallOff, CutOver, DiscardPreview, DiscardRun, ListRuns
from tests.engine.front_end import FrontEnd
from tests.engine.test_follow import following, ready
from tests.engine.test_follow_control import applied, dirty, fill, settings_of, target_locked
from tests.running import Engine, Engines, eventually

if TYPE_CHECKING:
    from tests.conftest import Source, Target


@pytest.fixture(autouse=True)
def _lifted(source: Source) -> Iterator[None]:
    """Other tests write, too."""
    yield
    write_block.set_block(source.client, blocked=False)


def is_refused(source: Source) -> bool:
    try:
        source.db.others.insert_one({})
    except PyMongoError:
        return True
    return False


async def blocked(source: Source, target: Target, engine: Engine) -> None:
    """Changes wait for a lock, and the cut-over waits for them."""
    source.db.things.update_many({}, {"$inc": {"n": 1}})
    await eventually(lambda: dirty(target) > 0, 30.0, engine.account)
    await engine.client.call(CutOver(block_writes=True))
    await eventually(lambda: target.value("SELECT write_block FROM mongopg.follow"), 30.0, engine.account)
    await eventually(lambda: is_refused(source), 30.0, engine.account)


def test_whether_it_can_be_set_is_not_known_of_a_server_that_is_away(source: Source) -> None:
    """A run asks once, and offers it or not from then on."""
    away = {"failCommands": ["connectionStatus"], "closeConnection": True}
    source.client.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data=away)
    with pytest.raises(PyMongoError):
        write_block.can_be_set(source.client)
    assert write_block.can_be_set(source.client)


async def test_it_is_lifted_when_the_cut_over_is_called_off_and_stays_when_it_is_done(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    assert engine.snapshot.follow is not None
    assert engine.snapshot.follow.can_block_writes
    async with target_locked(target):
        await blocked(source, target, engine)
        await engine.client.call(CallOff())
        await engine.event("problem", lambda facts: facts["code"] == CALLED_OFF)
    assert not is_refused(source)
    assert target.value("SELECT write_block FROM mongopg.follow") is False
    await applied(source, target, engine)
    await ready(engine)
    await engine.client.call(CutOver(block_writes=True))
    end = await engine.finished()
    assert (end["state"], end["verification"], end["follow"]["writes_blocked"]) == ("completed", "verified", True), end
    assert is_refused(source)


@pytest.mark.slow
async def test_a_cut_over_that_is_cancelled_or_whose_engine_is_killed_leaves_no_block(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    async with target_locked(target):
        await blocked(source, target, engine)
        engine.kill()
        await engine.until_gone()
        assert is_refused(source)
    again = await engines.launch(settings_of(engines))
    assert await listed(again) is True
    preview = await again.client.ask(DiscardPreview, DiscardRun(run=engine.run_id, preview=True))
    assert preview.writes_blocked, "no resume would lift it any more"
    await again.start(resume=engine.run_id)
    await ready(again)
    assert not is_refused(source)
    assert await listed(again) is False
    assert [facts["code"] for facts in again.facts_of("problem")] == ["write_block"]
    await applied(source, target, again)
    async with target_locked(target):
        await blocked(source, target, again)
        await again.cancel(now=True)
        await again.finished()
    assert not is_refused(source)
    assert target.value("SELECT write_block FROM mongopg.follow") is False


REFUSE_AT_COMMIT = (
    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;"
    "CREATE CONSTRAINT TRIGGER refuses AFTER UPDATE ON mongopg.follow DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
    " WHEN (NEW.phase = 'done') EXECUTE FUNCTION refuse()"
)


async def test_a_last_transaction_that_is_refused_at_its_commit_calls_the_cut_over_off_and_lifts_it(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    target.execute(REFUSE_AT_COMMIT)
    await engine.client.call(CutOver(block_writes=True))
    off = await engine.event("problem", lambda facts: facts["code"] == CALLED_OFF)
    assert "its last transaction is refused: PostgreSQL says: not today (P0001)" in off.facts["message"]
    assert not is_refused(source)
    assert target.value("SELECT write_block FROM mongopg.follow") is False
    target.execute("DROP TRIGGER refuses ON mongopg.follow")
    source.db.things.update_one({"_id": 7}, {"$set": {"n": 1}})
    await applied(source, target, engine)
    await ready(engine)
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified"), end


async def listed(engine: Engine) -> bool:
    """As the list of runs says it."""
    (run,) = (await engine.client.call(ListRuns()))["runs"]
    return bool(run["writes_blocked"])


@pytest.mark.slow
def test_a_script_learns_each_reason_against_a_cut_over_and_blocks_writes_for_it(
    source: Source, target: Target, front_end: FrontEnd
) -> None:
    fill(source)
    target.execute("CREATE TABLE things (_id integer PRIMARY KEY, n integer)")
    collection = f"{source.database}.things"
    run = front_end.start("run", "--follow", "--json", "--mode", "replace", "--collection", collection)
    run.until_progress(lambda record: record.get("ready") is True and record["state"] == "following")
    target.execute("CREATE TABLE others (thing integer REFERENCES things)")
    run.until_progress(lambda record: record.get("ready") is False)
    refused = front_end.do("ctl", "cutover", "--wait", "--json")
    assert refused.code == 2
    assert [reason["code"] for reason in refused.last["reasons"]] == ["dependants"]
    assert refused.last["error"]["code"] == "not_ready"
    target.execute("DROP TABLE others")
    run.until_progress(lambda record: record.get("ready") is True)
    done = front_end.do("ctl", "cutover", "--block-writes", "--wait", "--json")
    assert done.code == 0, done
    end = run.outcome()
    assert (end.code, end.last["verification"], end.last["follow"]["writes_blocked"]) == (0, "verified", True)
    assert is_refused(source)
