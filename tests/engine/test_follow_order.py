"""What must not overtake what: each of these is a row that stays for ever where it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from typing import TYPE_CHECKING

import bson
import pytest

from engine.mongo.by_key import lane_of
from engine.postgres import connect as postgres
from engine.run.following import lanes_for
from tests.engine.test_follow import following, ready
from tests.engine.test_follow_traps import cut_over, rows
from tests.running import Engines, eventually

if TYPE_CHECKING:
    from tests.conftest import Source, Target

LOCK = 4_711
"""The advisory lock that a trigger waits for."""
TOO_EARLY_S = 1.0
"""What is done too early, is done by then."""
WAITS = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {LOCK} AND NOT granted"


def hold_rows(target: Target, table: str, when: str) -> None:
    """A statement that meets such a row waits as long as the lock is held.

    Args:
        when: `BEFORE INSERT ... WHEN (...)`, with a gap for the table.
    """
    target.execute(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" PERFORM pg_advisory_xact_lock({LOCK}); RETURN coalesce(NEW, OLD); END $$"
    )
    before, _, condition = when.partition(" WHEN ")
    target.execute(f"CREATE TRIGGER waits {before} ON {table} FOR EACH ROW WHEN {condition} EXECUTE FUNCTION wait()")


@asynccontextmanager
async def held(target: Target) -> AsyncIterator[asyncio.Event]:
    """The lock, until the event is set or the block ends."""
    connection = await postgres.connect(target.uri)
    await connection.execute(f"SELECT pg_advisory_lock({LOCK})")
    over = asyncio.Event()

    async def release() -> None:
        await over.wait()
        await connection.execute(f"SELECT pg_advisory_unlock({LOCK})")

    releasing = asyncio.create_task(release())
    try:
        yield over
    finally:
        over.set()
        await releasing
        await connection.close()


def dirty(target: Target) -> int:
    return int(target.value("SELECT count(*) FROM mongopg.dirty"))


async def test_nothing_is_applied_while_documents_are_copied(source: Source, target: Target, engines: Engines) -> None:
    """A document is read, deleted, and its delete applied to no row: then the copy would commit it, for ever."""
    source.db.things.insert_many([{"_id": number, "n": 0} for number in range(50)])
    target.execute("CREATE TABLE things (_id integer PRIMARY KEY, n integer)")
    hold_rows(target, "things", "BEFORE INSERT WHEN (NEW._id = 7)")
    async with held(target) as released:
        engine = await following(engines, engines.settings("things", run={"mode": "upsert"}))
        await eventually(lambda: target.value(WAITS), 30.0, engine.account)
        source.db.things.delete_one({"_id": 7})
        deleted = "SELECT count(*) FROM mongopg.dirty WHERE key = $1"
        await eventually(lambda: target.value(deleted, bson.encode({"_id": 7})), 30.0, engine.account)
        with pytest.raises(AssertionError):
            await eventually(lambda: not dirty(target), TOO_EARLY_S, engine.account)
        released.set()
        await ready(engine)
        await cut_over(engine)
    assert rows(target, "things") == {each["_id"]: each["n"] for each in source.db.things.find()}
    assert not dirty(target)


async def test_what_changed_is_read_as_the_majority_has_it_and_not_as_it_was_before(
    source: Source, target: Target, engines: Engines
) -> None:
    """A read of a member that lags behind would undo the change, and nothing would come after it."""
    source.db.things.insert_many([{"_id": number, "n": 0} for number in range(50)])
    engine = await following(engines, engines.settings("things"))
    await ready(engine)
    # The stream begins with the last of these documents, which is applied and compared: by reads of its own, earlier time.
    # It may come only after the run is ready, but not behind a later one.
    source.db.things.insert_one({"_id": 50, "n": 0})
    await eventually(lambda: 50 in rows(target, "things"), 30.0, engine.account)
    behind = "SELECT EXISTS (SELECT FROM mongopg.dirty) OR EXISTS (SELECT FROM mongopg.changed)"
    await eventually(lambda: not target.value(behind), 30.0, engine.account)
    before = source.client.admin.command("hello")["lastWrite"]["opTime"]["ts"]
    source.db.command({"profile": 2})
    source.db.things.update_many({}, {"$set": {"n": 1}})
    await eventually(lambda: set(rows(target, "things").values()) == {1}, 30.0, engine.account)
    source.db.command({"profile": 0})
    asked = [each["command"] for each in source.db["system.profile"].find({"command.find": "things"})]
    reads = [each["readConcern"] for each in asked if "$in" in str(each.get("filter"))]
    assert reads, asked
    for each in reads:
        assert each["level"] == "majority"
        assert each["afterClusterTime"] > before
    await engine.cancel()
    await engine.finished()


def forms_in_two_lanes(target: Target) -> tuple[str, str]:
    """A word in two forms that a collation takes for one, which are in two lanes where each key has its own."""
    for word in ("abc", "def", "ghi", "jkl"):
        for form in map("".join, product(*((each, each.upper()) for each in word))):
            if len({lane_of(bson.encode({"_id": each}), lanes_for(1)) for each in (word, form)}) == 2:
                return word, form
    raise AssertionError


async def test_keys_that_a_collation_takes_for_one_are_applied_one_after_the_other(
    source: Source, target: Target, engines: Engines
) -> None:
    """One form is asked for, and another found. When that is deleted meanwhile, the delete must not be applied first."""
    small, other = forms_in_two_lanes(target)
    source.db.create_collection("folded", collation={"locale": "en", "strength": 2})
    source.db.folded.insert_one({"_id": small, "n": 0})
    source.db.folded.insert_many([{"_id": f"more {number}", "n": 0} for number in range(5)])
    engine = await following(engines, engines.settings("folded"))
    await ready(engine)
    hold_rows(target, "folded", f"BEFORE DELETE WHEN (OLD._id = '{small}')")
    async with held(target) as released:
        source.db.folded.delete_one({"_id": small})
        source.db.folded.insert_one({"_id": other, "n": 1})
        # What is asked for by the first form finds the second, and is held before it writes it.
        await eventually(lambda: target.value(WAITS), 30.0, engine.account)
        source.db.folded.delete_one({"_id": other})
        deletes = "SELECT coalesce(sum(n_delete), 0) FROM mongopg.stream_slice"
        await eventually(lambda: target.value(deletes) == 2, 30.0, engine.account)
        with pytest.raises(AssertionError):
            await eventually(lambda: not dirty(target), TOO_EARLY_S, engine.account)
        released.set()
        await ready(engine)
        await cut_over(engine)
    assert rows(target, "folded") == {each["_id"]: each["n"] for each in source.db.folded.find()}
