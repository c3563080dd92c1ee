"""What may become of a source that is followed: the run halts, nothing is deleted by itself, each choice does what it says."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Any

import bson
import pytest
from pymongo.errors import PyMongoError

from engine.config import merged
from engine.errors import UsageError
from engine.protocol import CALLED_OFF, CutOver, Resolve, RunState
from tests.engine.front_end import FrontEnd
from tests.engine.test_follow import following, ready
from tests.engine.test_follow_control import target_locked
from tests.running import Engine, Engines, eventually, waiting_for_a_lock

if TYPE_CHECKING:
    from engine.config import Settings
    from tests.conftest import Source, Target


def fill(source: Source, *names: str, first: int = 0, count: int = 50, n: int = 0) -> None:
    for name in names:
        source.db[name].insert_many([{"_id": number, "n": n} for number in range(first, first + count)])


def values(target: Target, table: str = "things") -> dict[int, int]:
    return {row["_id"]: row["n"] for row in target.rows(f"SELECT _id, n FROM {table}")}


def documents(source: Source, name: str = "things") -> dict[int, int]:
    return {each["_id"]: each["n"] for each in source.db[name].find()}


async def followed(source: Source, engines: Engines, *names: str, **run: Any) -> Engine:
    fill(source, *names)
    engine = await following(engines, engines.settings(*names, run={"page_size": 100, **run}))
    await ready(engine)
    return engine


async def copying(source: Source, engines: Engines) -> tuple[Engine, Settings]:
    """A run that is to follow and copies slowly, and what it was made with."""
    fill(source, "things", count=2_000)
    settings = engines.settings("things", run={"page_size": 100, "throttle": 300})
    engine = await following(engines, settings)
    await engine.until_written(100)
    return engine, settings


async def halted(engine: Engine, *codes: str) -> None:
    def is_halted(now: Any) -> bool:
        found = now.follow.halted_by if now.follow is not None else []
        return now.state is RunState.HALTED and tuple(each.code for each in found) == codes

    await engine.until(is_halted, f"halted by {codes}")


async def resolve(engine: Engine, namespace: str, choice: str) -> None:
    await engine.client.call(Resolve.model_validate({"namespace": namespace, "choice": choice}))


async def cut_over(engine: Engine) -> dict[str, Any]:
    await ready(engine)
    await engine.client.call(CutOver())
    return await engine.finished()


def dropped(source: Source) -> None:
    source.db.things.update_many({"_id": {"$lt": 10}}, {"$set": {"n": 1}})
    source.db.things.drop()


def made_anew(source: Source) -> None:
    dropped(source)
    fill(source, "things", first=40, count=20, n=2)


def renamed(source: Source) -> None:
    source.db.things.rename("elsewhere")


def replaced(source: Source) -> None:
    fill(source, "new", first=40, count=20, n=2)
    source.db.new.rename("things", dropTarget=True)


def all_dropped(source: Source) -> None:
    source.client.drop_database(source.database)


OLD, NEW = dict.fromkeys(range(50), 0), dict.fromkeys(range(40, 60), 2)
slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("happens", "code", "choice", "expected"),
    [
        (made_anew, "drop", "ignore", OLD | NEW),
        (replaced, "replaced", "empty", NEW),
        pytest.param(renamed, "rename", "stop", OLD, marks=slow),
        pytest.param(dropped, "drop", "empty", {}, marks=slow),
        pytest.param(made_anew, "drop", "empty", NEW, marks=slow),
        pytest.param(made_anew, "drop", "stop", OLD, marks=slow),
        pytest.param(renamed, "rename", "empty", {}, marks=slow),
        pytest.param(replaced, "replaced", "ignore", OLD, marks=slow),
        pytest.param(all_dropped, "dropDatabase", "ignore", OLD, marks=slow),
    ],
)
async def test_a_run_halts_until_it_is_decided_what_becomes_of_a_table(
    source: Source, target: Target, engines: Engines, happens: Any, code: str, choice: str, expected: dict[int, int]
) -> None:
    engine = await followed(source, engines, "things", "others")
    happens(source)
    await halted(engine, *([code] * (2 if code == "dropDatabase" else 1)))
    assert len(values(target)) == 50, "nothing is deleted by itself"
    assert engine.snapshot.follow is not None
    choices = {halt.namespace: halt.choices for halt in engine.snapshot.follow.halted_by}
    assert choices[f"{source.database}.things"] == ["ignore", "empty", "stop"]
    fill(source, "others", first=50, count=5)
    await resolve(engine, f"{source.database}.things", choice)
    if code == "dropDatabase":
        await resolve(engine, f"{source.database}.others", "empty")
    await eventually(lambda: values(target, "others") == documents(source, "others"), 30.0, engine.account)
    fill(source, "things", first=100, count=3, n=3)
    source.db.things.delete_one({"_id": 101})
    end = await cut_over(engine)
    assert end["state"] == "completed"
    wanted = expected if choice == "stop" else expected | {100: 3, 102: 3}
    found = values(target)
    assert found.keys() == wanted.keys()
    # What the first ten were at last, before the drop, may have been applied before it was known.
    assert {number: n for number, n in found.items() if number >= 10} == {
        number: n for number, n in wanted.items() if number >= 10
    }
    assert not target.value("SELECT count(*) FROM mongopg.dirty")


async def test_what_is_no_choice_is_refused_and_a_halted_run_is_not_cut_over(
    source: Source, target: Target, engines: Engines
) -> None:
    engine = await followed(source, engines, "things", "others")
    with pytest.raises(UsageError, match="things is not halted: to be decided is nothing"):
        await resolve(engine, f"{source.database}.things", "ignore")
    source.db.things.drop()
    await halted(engine, "drop")
    with pytest.raises(UsageError, match="others is not halted: to be decided is"):
        await resolve(engine, f"{source.database}.others", "ignore")
    with pytest.raises(UsageError, match="cannot be resolved by resync: ignore or empty or stop"):
        await resolve(engine, f"{source.database}.things", "resync")
    with pytest.raises(UsageError, match="is halted"):
        await engine.client.call(CutOver())
    engine.kill()
    await engine.until_gone()
    again = await engines.launch(engines.settings("things", "others"))
    await again.start(resume=engine.run_id)
    await halted(again, "drop")
    await resolve(again, f"{source.database}.things", "stop")
    end = await cut_over(again)
    assert end["state"] == "completed"
    assert [facts["code"] for facts in again.facts_of("problem")] == ["not_compared"]


async def test_a_drop_calls_a_cut_over_off(source: Source, target: Target, engines: Engines) -> None:
    engine = await followed(source, engines, "others", "things")
    async with target_locked(target):
        source.db.things.update_many({}, {"$set": {"n": 1}})
        await eventually(lambda: target.value("SELECT count(*) FROM mongopg.dirty") > 0, 30.0, engine.account)
        await engine.client.call(CutOver())
        await eventually(lambda: target.value("SELECT phase FROM mongopg.follow") == "draining", 30.0, engine.account)
        source.db.others.drop()
        off = await engine.event("problem", lambda facts: facts["code"] == CALLED_OFF)
    assert "others was dropped in the source" in off.facts["message"]
    await halted(engine, "drop")
    await resolve(engine, f"{source.database}.others", "empty")
    assert (await cut_over(engine))["state"] == "completed"
    assert (values(target), values(target, "others")) == (dict.fromkeys(range(50), 1), {})


async def test_a_drop_during_the_copy_halts_it_at_its_end(source: Source, target: Target, engines: Engines) -> None:
    fill(source, "things", "others", count=2_000)
    engine = await following(engines, engines.settings("things", "others", run={"page_size": 100, "throttle": 1_500}))
    await engine.until_written(300)
    source.db.things.drop()
    fill(source, "things", count=3, n=7)
    await engine.until(lambda now: now.follow is not None and bool(now.follow.halted_by), "told of the drop")
    await engine.set("throttle", 0)
    await halted(engine, "drop")
    await resolve(engine, f"{source.database}.things", "empty")
    end = await cut_over(engine)
    assert (end["state"], values(target), len(values(target, "others"))) == ("completed", {0: 7, 1: 7, 2: 7}, 2_000)


@slow
async def test_a_database_that_is_dropped_during_the_copy_halts_it_at_its_end(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source, "things", "others", count=2_000)
    engine = await following(engines, engines.settings("things", "others", run={"page_size": 100, "throttle": 1_500}))
    await engine.until_written(300)
    all_dropped(source)
    await engine.until(lambda now: now.follow is not None and len(now.follow.halted_by) == 2, "told of the drop")
    await engine.set("throttle", 0)
    await halted(engine, "dropDatabase", "dropDatabase")
    fill(source, "things", count=3, n=7)
    await resolve(engine, f"{source.database}.things", "empty")
    await resolve(engine, f"{source.database}.others", "ignore")
    end = await cut_over(engine)
    assert (end["state"], values(target)) == ("completed", {0: 7, 1: 7, 2: 7})


@slow
async def test_changes_that_are_lost_during_the_copy_halt_it_at_its_end(
    source: Source, target: Target, engines: Engines
) -> None:
    engine, settings = await copying(source, engines)
    source.db.things.update_one({"_id": 1}, {"$set": {"n": 1}})
    await eventually(lambda: target.value("SELECT sum(n_update) FROM mongopg.stream_slice") == 1, 30.0, engine.account)
    engine.kill()
    await engine.until_gone()
    token = target.value("SELECT token FROM mongopg.stream_slice WHERE n_update = 1")
    target.execute(FORGED["history_lost"], older(token))
    source.db.things.delete_many({"_id": {"$lt": 10}})
    again = await engines.launch(settings)
    await again.start(resume=engine.run_id)
    await again.until(lambda now: now.follow is not None and bool(now.follow.halted_by), "told that changes are lost")
    assert again.snapshot.state is RunState.RUNNING, "what is left is copied"
    await again.set("throttle", 0)
    await halted(again, "history_lost")
    assert len(values(target)) >= 1_990
    await resolve(again, "", "resync")
    source.db.things.update_one({"_id": 20}, {"$set": {"n": 4}})
    end = await cut_over(again)
    assert (end["state"], end["verification"]) == ("completed", "verified")
    assert values(target) == documents(source)


@slow
async def test_a_copy_is_not_gone_on_with_from_another_source_and_goes_on_from_its_own(
    source: Source, target: Target, engines: Engines
) -> None:
    engine, settings = await copying(source, engines)
    engine.kill()
    await engine.until_gone()
    own = target.value("SELECT source_set FROM mongopg.run")
    target.execute(FORGED["source_changed"])
    n_before = len(values(target))
    refused, end = await engines.run(settings, resume=engine.run_id)
    assert (end["state"], end["error"]["code"]) == ("failed", "cannot_follow")
    assert "another replica set" in end["error"]["message"]
    assert f"runs --discard {engine.run_id}" in end["error"]["message"]
    assert len(values(target)) == n_before
    await refused.leave()
    target.execute("UPDATE mongopg.run SET source_set = $1::text::jsonb", own)
    again = await engines.launch(engines.settings("things"))
    await again.start(resume=engine.run_id)
    assert (await cut_over(again))["state"] == "completed"
    assert values(target) == documents(source)


FORGED = {
    "history_lost": "UPDATE mongopg.stream_slice SET token = $1, token_time = token_time - (3600::bigint << 32)",
    "source_went_back": "UPDATE mongopg.stream_slice SET token_time = token_time + (3600::bigint << 32)",
    "restored": "UPDATE mongopg.follow SET seen_time = seen_time - (1::bigint << 20)",
    "restored early": "UPDATE mongopg.follow SET seen_time = 0; UPDATE mongopg.run SET start_time = start_time - (1 << 20)",
    "source_changed": "UPDATE mongopg.run SET source_set = jsonb_set(source_set, '{id}', '\"000000000000000000000000\"')",
}
"""What the ledger has of a source that is not the same any more: the oplog has lost where it was, a backup was restored, one
whose time has gone on since, also before more than the run's beginning was known, it is another cluster."""


def older(token: bytes) -> bytes:
    """The token of a change an hour before, which the server has forgotten."""
    data = str(bson.decode(token)["_data"])
    before = int(data[2:18], 16) - (3_600 << 32)
    return bson.encode({"_data": f"82{before:016X}{data[18:]}"})


@pytest.mark.slow
@pytest.mark.parametrize("code", ["history_lost", "source_went_back", "restored", "restored early", "source_changed"])
@pytest.mark.parametrize("mode", ["create", "replace"])
async def test_where_changes_are_lost_everything_is_compared(
    source: Source, target: Target, engines: Engines, code: str, mode: str
) -> None:
    engine = await followed(source, engines, "things", "others", mode=mode)
    source.db.things.update_one({"_id": 1}, {"$set": {"n": 1}})
    await eventually(lambda: target.value("SELECT sum(n_update) FROM mongopg.stream_slice") == 1, 30.0, engine.account)
    if code == "restored":
        await eventually(lambda: target.value("SELECT seen_time FROM mongopg.follow") > 0, 30.0, engine.account)
    engine.kill()
    await engine.until_gone()
    source.db.things.delete_many({"_id": {"$lt": 10}})
    source.db.things.update_many({"_id": {"$gte": 40}}, {"$set": {"n": 2}})
    fill(source, "things", first=60, count=5, n=3)
    token = target.value("SELECT token FROM mongopg.stream_slice WHERE n_update = 1")
    if code == "history_lost":
        target.execute(FORGED[code], older(token))
    else:
        target.execute(FORGED[code])
    again = await engines.launch(engines.settings("things", "others", run={"mode": mode}))
    await again.start(resume=engine.run_id)
    await halted(again, "source_went_back" if code.startswith("restored") else code)
    with pytest.raises(UsageError, match="The whole source cannot be resolved by ignore: resync"):
        await resolve(again, "", "ignore")
    await resolve(again, "", "resync")
    await ready(again)
    (compared,) = [facts["message"] for facts in again.facts_of("problem") if facts["code"] == "compared"]
    assert "of 95 documents 15 differ" in compared
    # The one of which the change was read may have been applied while its document went.
    assert re.search(r"\b(9|10) rows of no document were deleted", compared)
    source.db.things.update_one({"_id": 20}, {"$set": {"n": 4}})
    end = await cut_over(again)
    assert (end["state"], end["verification"]) == ("completed", "verified")
    assert values(target) == documents(source)


async def test_nothing_is_verified_before_what_was_lost_is_compared(
    source: Source, target: Target, engines: Engines
) -> None:
    engine = await followed(source, engines, "things")
    await engine.until(lambda now: now.follow is not None and now.follow.verified_unix is not None, "verified")
    # The oplog does not have what the stream asks for next.
    lost = {"failCommands": ["getMore"], "errorCode": 286}
    source.client.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data=lost)
    await halted(engine, "history_lost")
    async with target_locked(target, "ACCESS EXCLUSIVE"):
        await resolve(engine, "", "resync")
        await engine.until(lambda now: now.phase == "comparing with the source", "that it is compared")
        await waiting_for_a_lock(target)
        await engine.until(lambda now: now.follow is not None and now.follow.verified_unix is None, "nothing verified")
    await ready(engine)
    await engine.until(lambda now: now.follow is not None and now.follow.verified_unix is not None, "verified")
    await engine.cancel()
    await engine.finished()


async def test_nothing_is_verified_while_a_resync_waits_for_what_is_being_applied(
    source: Source, target: Target, engines: Engines
) -> None:
    engine = await followed(source, engines, "things")
    await engine.until(lambda now: now.follow is not None and now.follow.verified_unix is not None, "verified")
    async with target_locked(target, "ACCESS EXCLUSIVE"):
        source.db.things.update_one({"_id": 1}, {"$set": {"n": 1}})
        await waiting_for_a_lock(target)
        lost = {"failCommands": ["getMore"], "errorCode": 286}
        source.client.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data=lost)
        await halted(engine, "history_lost")
        await resolve(engine, "", "resync")
        await engine.until(lambda now: now.follow is not None and now.follow.verified_unix is None, "nothing verified")
    await ready(engine)
    await engine.until(lambda now: now.follow is not None and now.follow.verified_unix is not None, "verified")
    assert values(target) == documents(source)
    await engine.cancel()
    await engine.finished()


async def test_streams_of_two_databases_that_lose_the_same_source_halt_the_run_once(
    source: Source, target: Target, engines: Engines
) -> None:
    elsewhere = source.client[f"{source.database}_2"]
    fill(source, "things")
    elsewhere.others.insert_many([{"_id": number, "n": 0} for number in range(50)])
    try:
        settings = engines.settings("things", run={"page_size": 100})
        settings = merged(settings, {"run": {"collections": [*settings.run.collections, f"{elsewhere.name}.others"]}})
        engine = await following(engines, settings)
        await ready(engine)
        # The oplog has neither what one of them asks for next nor, a moment later, what the other one does.
        lost = {"failCommands": ["getMore"], "errorCode": 286}
        admin = source.client.admin
        before = admin.command("configureFailPoint", "failCommand", mode={"times": 2}, data=lost)["count"]
        await halted(engine, "history_lost")
        await asyncio.to_thread(
            lambda: admin.command("waitForFailPoint", "failCommand", timesEntered=before + 2, maxTimeMS=30_000)
        )
        source.db.things.update_one({"_id": 1}, {"$set": {"n": 1}})
        elsewhere.others.delete_one({"_id": 2})
        await resolve(engine, "", "resync")
        await ready(engine)
        source.db.things.update_one({"_id": 3}, {"$set": {"n": 4}})
        elsewhere.others.insert_one({"_id": 99, "n": 5})
        end = await cut_over(engine)
        assert (end["state"], end["verification"]) == ("completed", "verified")
        assert len(engine.facts_of("halted")) == 1
        assert values(target) == documents(source)
        assert values(target, "others") == {each["_id"]: each["n"] for each in elsewhere.others.find()}
    finally:
        source.client.drop_database(elsewhere.name)


@pytest.mark.slow
def test_a_script_leaves_a_halted_run_and_decides_when_it_is_resumed(
    source: Source, target: Target, front_end: FrontEnd
) -> None:
    fill(source, "things", "others")
    names = ["--collection", f"{source.database}.things", "--collection", f"{source.database}.others"]
    run = front_end.start("run", "--follow", "--json", "--exit-on-halt", *names)
    run.until_progress(lambda record: record.get("ready") is True and record["state"] == "following")
    source.db.things.drop()
    assert run.outcome().code == 1
    run_id = target.value("SELECT run_id FROM mongopg.run")
    again = front_end.start("run", "--resume", run_id, "--json", *names)
    record = again.until_progress(lambda record: record["state"] == "halted")
    (halt,) = record["follow"]["halted_by"]
    assert (halt["namespace"], halt["code"]) == (f"{source.database}.things", "drop")
    status = front_end.do("ctl", "status")
    assert f"Decide: ctl resolve {source.database}.things ignore|empty|stop" in status.out
    assert front_end.do("ctl", "cutover").code == 2
    assert front_end.do("ctl", "resolve", f"{source.database}.things", "stop").code == 0
    again.until_progress(lambda record: record.get("ready") is True and record["state"] == "following")
    assert front_end.do("ctl", "cutover", "--wait").code == 0


@pytest.mark.slow
async def test_new_collections_are_told_and_not_followed(source: Source, target: Target, engines: Engines) -> None:
    engine = await followed(source, engines, "things")
    source.db.later.insert_one({"_id": 1})
    news = await engine.event("problem", lambda facts: facts["code"] == "new_collection")
    assert news.facts["message"] == (
        f"{source.database}.later appeared in the source: it is not in the plan, and is not followed."
    )
    await engine.cancel()
    await engine.finished()


@pytest.mark.slow
async def test_a_source_that_has_another_primary_is_followed_on(
    source: Source, target: Target, engines: Engines
) -> None:
    engine = await followed(source, engines, "things")
    with contextlib.suppress(PyMongoError):  # it may close the connection with its answer
        source.client.admin.command({"replSetStepDown": 2, "force": True})
    await eventually(lambda: bool(source.client.admin.command("hello")["isWritablePrimary"]), 60.0, engine.account)
    source.db.things.update_many({}, {"$set": {"n": 1}})
    source.db.things.delete_one({"_id": 0})
    await eventually(lambda: values(target) == documents(source), 60.0, engine.account)
    assert (await cut_over(engine))["state"] == "completed"


@pytest.mark.slow
async def test_what_was_chosen_is_done_by_the_next_engine(source: Source, target: Target, engines: Engines) -> None:
    engine = await followed(source, engines, "things", "others")
    replaced(source)
    await halted(engine, "replaced")
    await resolve(engine, f"{source.database}.things", "empty")
    engine.kill()
    await engine.until_gone()
    again = await engines.launch(engines.settings("things", "others"))
    await again.start(resume=engine.run_id)
    end = await cut_over(again)
    assert (end["state"], end["verification"]) == ("completed", "verified")
    assert values(target) == NEW
