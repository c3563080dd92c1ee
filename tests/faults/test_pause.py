"""A pause may take any time: nothing is held open at either server, so nothing expires meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import bson
import pytest
from pymongo import MongoClient

from tests.conftest import Source, Target
from tests.faults.cursors import open_cursors
from tests.guarded import make_replica_set, running_mongod
from tests.running import Engine, Engines, add_users, assert_ledger, assert_users_equal, nothing_open

if TYPE_CHECKING:
    from engine.config import Settings

USERS = 16_000
"""Four partitions for one worker, each several batches long: a cursor is open whenever it works."""
SLOW = 2_000
RUN = {"throttle": SLOW, "page_size": 200, "cluster_size": 1}
SESSIONS_LIVE_MIN = 1
"""localLogicalSessionTimeoutMinutes; 30 where it is not set."""
PAUSE_S = 150.0
"""Sessions are looked through every so often (logicalSessionRefreshMillis), and ended when they are older than that."""


async def paused(engines: Engines, settings: Settings) -> Engine:
    """A run in the middle of a pause."""
    engine = await engines.launch(settings)
    await engine.start()
    await engine.until_written(500)
    await engine.pause()
    return engine


def lose_last_slices(target: Target, run_id: str) -> int:
    """What a server does that comes back without its last commits: rows and ledger go together. Returns the rows."""
    lost = target.rows(
        "SELECT partition_id, slice_no, lower, lower_inclusive, upto FROM mongopg.slice s WHERE run_id = $1 AND slice_no = ("
        " SELECT max(slice_no) FROM mongopg.slice WHERE run_id = $1 AND partition_id = s.partition_id) AND slice_no > 0",
        run_id,
    )
    n_rows = 0
    for each in lost:
        lower, upto = (str(bson.decode(each[name])["_id"]) for name in ("lower", "upto"))
        n_rows += int(target.execute("DELETE FROM users WHERE _id > $1 AND _id <= $2", lower, upto).split()[-1])
        target.execute(
            "DELETE FROM mongopg.slice WHERE run_id = $1 AND partition_id = $2 AND slice_no = $3",
            run_id,
            each["partition_id"],
            each["slice_no"],
        )
    return n_rows


async def test_what_the_target_lost_in_a_pause_is_copied_again(
    source: Source, target: Target, engines: Engines
) -> None:
    """The ledger says where a partition stands, not the memory of the engine that gives it out again."""
    add_users(source, USERS)
    engine = await paused(engines, engines.settings("users", run=RUN | {"throttle": 4_000}))
    for _ in range(2):  # so that the partition in hand has more than one slice
        await engine.resume()
        await engine.until_written(engine.snapshot.written + 500)
        await engine.pause()

    assert lose_last_slices(target, engine.run_id) > 0

    await engine.set("throttle", 0)
    await engine.resume()
    end = await engine.finished()
    assert (end["exit_code"], end["written"]) == (0, USERS), engine.account()
    assert {facts["code"] for facts in engine.facts_of("problem")} <= {"lost_commits"}
    assert_users_equal(source, target)
    assert_ledger(target, engine.run_id, rows=USERS)


async def assert_goes_on(engine: Engine, source: Source, target: Target) -> None:
    """Both sides are equal in the end, and no problem was told."""
    await engine.set("throttle", 0)
    await engine.resume()
    end = await engine.finished()
    assert (end["exit_code"], end["written"]) == (0, USERS), engine.account()
    assert engine.facts_of("problem") == []
    assert_users_equal(source, target)
    assert_ledger(target, engine.run_id, rows=USERS)


async def test_nothing_is_open_in_a_pause(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await paused(engines, engines.settings("users", run=RUN))

    await nothing_open(target)
    for _ in range(100):  # the workers' last cursors are closed behind the last commit
        if not await asyncio.to_thread(open_cursors, source):
            break
        await asyncio.sleep(0.1)
    assert await asyncio.to_thread(open_cursors, source) == []

    await assert_goes_on(engine, source, target)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_pause_longer_than_mongodb_keeps_sessions(target: Target, engines: Engines) -> None:
    options = [f"localLogicalSessionTimeoutMinutes={SESSIONS_LIVE_MIN}", "logicalSessionRefreshMillis=10000"]
    parameters = [word for option in options for word in ("--setParameter", option)]
    with running_mongod("--replSet", "rs0", *parameters) as port:
        uri = f"mongodb://127.0.0.1:{port}/shop?directConnection=true"
        with MongoClient[dict[str, Any]](uri) as client:
            make_replica_set(client, port)
            source = Source(uri, "shop", client)
            add_users(source, USERS)
            run = {"collections": ["shop.users"]} | RUN
            engine = await paused(engines, engines.settings(run=run, source={"uri": uri}))

            await asyncio.sleep(PAUSE_S)

            await assert_goes_on(engine, source, target)
            await engine.leave()
            await engine.until_gone()
