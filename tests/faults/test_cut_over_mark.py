"""The mark of a cut-over is the primary's last write, also while the majority of the set does not have it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.write_concern import WriteConcern

from engine.mongo.causal import SourceClock, clock_of
from engine.protocol import CutOver, RunState
from tests.conftest import Source, Target
from tests.engine.test_follow import following, ready
from tests.engine.test_follow_control import settings_of, values
from tests.faults.replica_set import ReplicaSet, replica_set
from tests.running import Engines

pytestmark = pytest.mark.slow


@pytest.fixture
def members(tmp_path_factory: pytest.TempPathFactory, servers: object) -> Iterator[ReplicaSet]:
    """A set whose replication can be stopped."""
    with replica_set(tmp_path_factory.mktemp("members"), "enableTestCommands=1") as found:
        yield found


@contextmanager
def replication_stopped(members: ReplicaSet) -> Iterator[None]:
    """No secondary takes what the primary writes; they are there, and the primary stays one."""
    secondaries = [port for port in members.ports if port != members.primary]

    def stop(mode: str) -> None:
        for port in secondaries:
            with members.direct(port) as client:
                client.admin.command({"configureFailPoint": "stopReplProducer", "mode": mode})

    stop("alwaysOn")
    try:
        yield
    finally:
        stop("off")


async def test_a_write_that_no_secondary_has_yet_is_part_of_the_cut_over(
    members: ReplicaSet, source: Source, target: Target, engines: Engines
) -> None:
    with MongoClient[dict[str, Any]](members.uri(source.database)) as client:
        engines.source = three = replace(source, uri=members.uri(source.database), client=client)
        things = three.db.get_collection("things", write_concern=WriteConcern(w=3))
        things.insert_many([{"_id": number, "n": 0} for number in range(50)])
        engine = await following(engines, settings_of(engines))
        await ready(engine)
        with replication_stopped(members):
            things.with_options(write_concern=WriteConcern(w=1)).update_one({"_id": 7}, {"$set": {"n": 1}})
            written: SourceClock = clock_of(client)
            assert written.stays < written.at, "the majority does not have it"
            await engine.client.call(CutOver())
            await engine.until(lambda now: now.state is RunState.DRAINING, "its beginning")
            assert target.value("SELECT mark_time FROM mongopg.follow") is None, "it waits for the majority"
        end = await engine.finished()
        assert (end["state"], end["verification"]) == ("completed", "verified"), engine.account()
        assert values(target) == dict.fromkeys(range(50), 0) | {7: 1}
        assert target.value("SELECT mark_time FROM mongopg.follow") >= written.at
