"""Following is steered: paused, cancelled, taken up, cut over, called off; and what cannot be followed is refused."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bson
import pytest

from engine.errors import UsageError
from engine.postgres import connect as postgres
from engine.protocol import CALLED_OFF, CallOff, CutOver, RunState
from tests.engine.front_end import FrontEnd
from tests.engine.test_follow import following, ready
from tests.running import Engine, Engines, eventually

if TYPE_CHECKING:
    from engine.config import Settings
    from tests.conftest import Source, Target


def settings_of(engines: Engines, **run: Any) -> Settings:
    return engines.settings("things", run={"page_size": 100, **run})


def fill(source: Source, count: int = 50) -> None:
    source.db.things.insert_many([{"_id": number, "n": 0} for number in range(count)])


def values(target: Target) -> dict[int, int]:
    return {row["_id"]: row["n"] for row in target.rows("SELECT _id, n FROM things")}


@asynccontextmanager
async def target_locked(target: Target, mode: str = "SHARE") -> AsyncIterator[None]:
    """No session writes to the table."""
    connection = await postgres.connect(target.uri)
    async with connection.transaction():
        await connection.execute(f"LOCK TABLE things IN {mode} MODE")
        yield
    await connection.close()


def dirty(target: Target) -> int:
    return int(target.value("SELECT count(*) FROM mongopg.dirty"))


async def applied(source: Source, target: Target, engine: Engine) -> None:
    await eventually(
        lambda: values(target) == {each["_id"]: each["n"] for each in source.db.things.find()}, 30.0, engine.account
    )


async def paused_with_fifty_changes(source: Source, target: Target, engines: Engines) -> Engine:
    """A run that follows, paused; the ledger has the keys that changed since, and no table has the changes."""
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    await engine.pause()
    source.db.things.update_many({}, {"$set": {"n": 1}})
    await eventually(lambda: dirty(target) == 50, 30.0, engine.account)
    return engine


async def test_a_pause_stops_what_is_applied_and_collecting_goes_on(
    source: Source, target: Target, engines: Engines
) -> None:
    engine = await paused_with_fifty_changes(source, target, engines)
    assert set(values(target).values()) == {0}
    # The last of the inserts is a change, too, where nothing was written before the run began.
    before = target.value("SELECT coalesce(sum(n_keys), 0)::int FROM mongopg.applied")
    with pytest.raises(UsageError, match="there is nothing to cutover"):
        await engine.client.call(CutOver())
    await engine.resume()
    await applied(source, target, engine)
    n_keys = before + 50
    shown = await engine.until(
        lambda now: now.follow is not None and now.follow.applied == n_keys and now.follow.oplog_left_s is not None,
        "what was applied, and a look at the oplog",
    )
    assert (shown.state, shown.written) == (RunState.FOLLOWING, 50)
    await engine.cancel()
    assert (await engine.finished())["state"] == "cancelled"
    assert target.value("SELECT sum(n_keys) FROM mongopg.applied") == n_keys
    (until,) = [facts["message"] for facts in engine.facts_of("problem") if facts["code"] == "resume_until"]
    assert re.search(r"read up to .* UTC, and its oplog has those that follow until about .* UTC", until)


@pytest.mark.slow
async def test_a_run_that_was_cancelled_follows_from_where_it_was(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    first = await following(engines, settings_of(engines, mode="replace"))
    await ready(first)
    await first.cancel()
    await first.finished()
    source.db.things.update_many({}, {"$set": {"n": 1}})
    source.db.things.delete_many({"_id": {"$lt": 10}})
    second = await engines.launch(settings_of(engines, mode="replace"))
    await second.start(resume=first.run_id)
    await ready(second)
    assert target.value("SELECT to_regclass('things')") is None, "it is swapped when it is cut over"
    await second.client.call(CutOver())
    end = await second.finished()
    assert (end["state"], end["verification"], end["written"]) == ("completed", "verified", 40)
    assert values(target) == dict.fromkeys(range(10, 50), 1)
    third, end = await engines.run(settings_of(engines, mode="replace"), resume=first.run_id)
    assert end["state"] == "completed"
    assert [facts["code"] for facts in third.facts_of("problem")] == ["complete"]


async def test_writes_behind_the_mark_call_the_cut_over_off_and_following_goes_on(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source, 3_000)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    async with target_locked(target):  # so that the drain takes its time
        source.db.things.update_many({}, {"$set": {"n": 1}})
        await eventually(lambda: dirty(target) > 0, 30.0, engine.account)
        await engine.client.call(CutOver())
        await eventually(lambda: target.value("SELECT phase FROM mongopg.follow") == "draining", 30.0, engine.account)
        source.db.things.update_one({"_id": 7}, {"$set": {"n": 2}})
    off = await engine.event("problem", lambda facts: facts["code"] == CALLED_OFF)
    assert "the source was written to after the mark (1 in " in off.facts["message"]
    await ready(engine)
    assert target.value("SELECT mark_time FROM mongopg.follow") is None
    await applied(source, target, engine)
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified")


async def test_a_cut_over_that_takes_too_long_is_called_off(source: Source, target: Target, engines: Engines) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    async with target_locked(target):
        source.db.things.update_many({}, {"$set": {"n": 1}})
        await eventually(lambda: dirty(target) > 0, 30.0, engine.account)
        await engine.client.call(CutOver(timeout_s=1))
        off = await engine.event("problem", lambda facts: facts["code"] == CALLED_OFF)
        assert "it took longer than 1 s" in off.facts["message"]
    await applied(source, target, engine)
    await engine.cancel()
    await engine.finished()


async def test_a_cut_over_is_called_off_when_so_asked_and_can_be_asked_for_again(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    with pytest.raises(UsageError, match="not being cut over"):
        await engine.client.call(CallOff())
    async with target_locked(target):
        source.db.things.update_many({}, {"$set": {"n": 1}})
        await eventually(lambda: dirty(target) > 0, 30.0, engine.account)
        await engine.client.call(CutOver())
        await eventually(lambda: target.value("SELECT phase FROM mongopg.follow") == "draining", 30.0, engine.account)
        await engine.client.call(CallOff())
        off = await engine.event("problem", lambda facts: facts["code"] == CALLED_OFF)
        assert "asked for it" in off.facts["message"]
    await applied(source, target, engine)
    await ready(engine)
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified")
    assert end["follow"]["updated"] == 50
    assert end["follow"]["write_stop_s"] >= 0
    assert engine.snapshot.follow is not None
    assert engine.snapshot.follow.write_stop_s is not None
    assert engine.snapshot.follow.by_kind["update"] == 50


@pytest.mark.parametrize("mode", [pytest.param("create", marks=pytest.mark.slow), "replace"])
async def test_a_complete_run_is_followed_from_its_beginning_on(
    source: Source, target: Target, engines: Engines, mode: str
) -> None:
    fill(source)
    first, end = await engines.run(settings_of(engines, mode=mode))
    assert end["state"] == "completed"
    source.db.things.update_many({}, {"$set": {"n": 1}})
    source.db.things.delete_many({"_id": {"$lt": 10}})
    second = await engines.launch(settings_of(engines, mode=mode))
    await second.start(resume=first.run_id, follow=True)
    await ready(second)
    await applied(source, target, second)
    second.kill()
    await second.until_gone()
    source.db.things.insert_one({"_id": 100, "n": 1})
    third = await engines.launch(settings_of(engines, mode=mode))
    await third.start(resume=first.run_id)
    await ready(third)
    await third.client.call(CutOver())
    end = await third.finished()
    assert (end["state"], end["verification"], end["written"]) == ("completed", "verified", 41)
    assert values(target) == dict.fromkeys([*range(10, 50), 100], 1)
    message = await refused(engines, settings_of(engines, mode=mode), resume=first.run_id)
    assert "was cut over, and its tables are others' now" in message


async def test_a_run_whose_table_is_another_one_is_not_followed(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    first, _ = await engines.run(settings_of(engines))
    target.execute("ALTER TABLE things RENAME TO old; CREATE TABLE things (LIKE old INCLUDING ALL)")
    engine = await engines.launch(settings_of(engines))
    await engine.start(resume=first.run_id, follow=True)
    end = await engine.finished()
    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 2, "plan_changed")


@pytest.mark.slow
async def test_keys_of_which_nothing_was_told_are_applied_when_sessions_were_ended(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    source.db.things.update_many({}, {"$set": {"n": 1}})
    await applied(source, target, engine)
    await eventually(lambda: not dirty(target), 30.0, engine.account)
    target.execute("DELETE FROM things WHERE _id = 7")
    target.execute(  # as by a commit whose answer was lost
        "INSERT INTO mongopg.dirty VALUES ($1, 1, 0, $2, $2, 0)", engine.run_id, bson.encode({"_id": 7})
    )
    target.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND starts_with(application_name, 'mongopg-tui')"
    )
    await eventually(lambda: not dirty(target), 30.0, engine.account)
    await applied(source, target, engine)
    await ready(engine)
    await engine.client.call(CutOver())
    assert (await engine.finished())["state"] == "completed"


async def test_a_collection_that_is_dropped_halts_the_run_and_its_rows_stay(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    engine = await following(engines, settings_of(engines))
    await ready(engine)
    source.db.other.insert_one({})
    source.db.other.drop()  # of no matter
    source.db.things.drop()
    await engine.until(lambda now: now.state is RunState.HALTED, "halted")
    assert f"{source.database}.things was dropped" in engine.snapshot.phase
    assert values(target) == dict.fromkeys(range(50), 0)
    await engine.cancel()
    assert (await engine.finished())["state"] == "cancelled"


async def test_changes_before_a_drop_that_are_applied_behind_it_delete_nothing(
    source: Source, target: Target, engines: Engines
) -> None:
    engine = await paused_with_fifty_changes(source, target, engines)
    source.db.things.drop()
    await engine.resume()  # what is read of the keys now is not what became of them
    await engine.until(lambda now: now.state is RunState.HALTED, "halted")
    await eventually(lambda: not dirty(target), 30.0, engine.account)
    assert values(target) == dict.fromkeys(range(50), 0)
    await engine.cancel()
    assert (await engine.finished())["state"] == "cancelled"


# --- what cannot be followed ------------------------------------------------------------------------------------------


async def refused(engines: Engines, settings: Settings, **command: Any) -> str:
    engine = await engines.launch(settings)
    await engine.start(follow=True, **command)
    end = await engine.finished()
    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 2, "cannot_follow"), end
    return str(end["error"]["message"])


@pytest.mark.slow
async def test_what_cannot_be_followed_is_refused_before_anything_is_written(
    source: Source, target: Target, engines: Engines
) -> None:
    fill(source)
    source.db.nested.insert_one({"_id": {"a": 1}})
    assert "keys that may become one" in await refused(engines, engines.settings("nested"))
    assert target.value("SELECT count(*) FROM mongopg.run") == 0
    assert target.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


async def test_a_run_that_does_not_follow_is_not_cut_over(source: Source, engines: Engines) -> None:
    fill(source, 2_000)
    engine = await engines.launch(settings_of(engines, throttle=100))
    await engine.start()
    await engine.until_written(1)
    with pytest.raises(UsageError, match="does not follow its source"):
        await engine.client.call(CutOver())
    await engine.cancel(now=True)
    await engine.finished()


# --- the command line -------------------------------------------------------------------------------------------------


def test_a_script_follows_and_cuts_over(source: Source, target: Target, front_end: FrontEnd, tmp_path: Path) -> None:
    fill(source)
    run = front_end.start("run", "--follow", "--json", "--collection", f"{source.database}.things")
    run.until_progress(lambda record: record.get("ready") is True and record["state"] == "following")
    source.db.things.update_one({"_id": 3}, {"$set": {"n": 5}})
    none = front_end.do("ctl", "cutover", "--abort")
    assert (none.code, "The run is not being cut over." in none.err) == (2, True)
    failed = front_end.do("ctl", "cutover", "--stop-command", "exit 3", "--wait")
    assert (failed.code, "exited with 3: nothing is cut over" in failed.err) == (2, True)
    stops = f"echo stopped; touch {tmp_path / 'stopped'}"
    cut = front_end.do("ctl", "cutover", "--at-lag", "20s", "--stop-command", stops, "--wait", "--json")
    assert (tmp_path / "stopped").exists()
    assert "stopped" in cut.err
    assert (cut.code, cut.last["state"]) == (0, "completed"), cut
    end = run.outcome()
    assert (end.code, end.last["state"], end.last["verification"]) == (0, "completed", "verified")
    assert values(target) == {each["_id"]: each["n"] for each in source.db.things.find()}
    assert (end.last["follow"]["updated"], end.last["follow"]["rejects_open"]) == (1, 0)
    follow = next(
        record["follow"] for record in reversed(end.lines) if record["event"] == "progress" and "follow" in record
    )
    assert set(follow) >= {"phase", "lag_s", "events_per_s", "applied_per_s", "waiting", "oldest_s", "ready", "reasons"}


@pytest.mark.slow
def test_a_script_learns_that_a_cut_over_was_called_off(source: Source, target: Target, front_end: FrontEnd) -> None:
    fill(source)
    run = front_end.start("run", "--follow", "--json", "--collection", f"{source.database}.things")
    run.until_progress(lambda record: record.get("ready") is True and record["state"] == "following")
    target.execute("DELETE FROM things WHERE _id = 4")  # by another program
    cut = front_end.do("ctl", "cutover", "--wait")
    assert cut.code == 5
    assert "The cut-over is called off" in cut.err
    assert "the table gained 49 rows, the source has 50 documents" in cut.err
    cancelled = front_end.do("ctl", "cancel", "--wait")
    assert (cancelled.code, "its oplog has those that follow until about" in cancelled.out) == (0, True), cancelled
    assert run.outcome().code == 130
