"""A run reads nothing that is older than its beginning, so that its source can be followed from there; or it says why not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import bson
import pytest
from bson import Timestamp
from pymongo import MongoClient

from engine.mongo import causal
from engine.mongo.causal import SourceSet
from tests.guarded import running_mongod
from tests.running import Engines, add_users

if TYPE_CHECKING:
    from tests.conftest import Source, Target

RUN = "SELECT start_time, oplog_from, source_set, cannot_follow, snapshot_time FROM mongopg.run WHERE run_id = $1"


def reads_of(source: Source, collection: str = "users") -> list[dict[str, Any]]:
    """What the copy asked of a collection, as the profiler has it: `find`s of whole documents by range."""
    found = [each["command"] for each in source.db["system.profile"].find({"command.find": collection})]
    return [
        each
        for each in found
        if "projection" not in each and not each.get("limit") and ("sort" in each or "$_requestResumeToken" in each)
    ]


@pytest.mark.parametrize(
    ("mode", "order"), [pytest.param("create", "id", marks=pytest.mark.slow), ("replace", "natural"), ("upsert", "id")]
)
async def test_every_read_of_a_copy_is_of_the_majority_and_not_older_than_the_run(
    source: Source, target: Target, engines: Engines, mode: str, order: str
) -> None:
    add_users(source, 2_000)
    written = source.client.admin.command("hello")["lastWrite"]["opTime"]["ts"]
    source.db.command({"profile": 2})
    engine, end = await engines.run(engines.settings("users", run={"order": order, "mode": mode}))
    source.db.command({"profile": 0})
    assert (end["state"], end["verification"], end["written"]) == ("completed", "verified", 2_000)

    row = target.rows(RUN, engine.run_id)[0]
    assert row["cannot_follow"] == ""
    start = causal.timestamp_of(row["start_time"])
    assert written <= start <= source.client.admin.command("hello")["lastWrite"]["opTime"]["ts"]
    assert row["oplog_from"] <= row["start_time"]
    config = source.client.admin.command("replSetGetConfig")["config"]
    assert json.loads(row["source_set"])["id"] == str(config["settings"]["replicaSetId"])
    reads = reads_of(source)
    assert reads
    for each in reads:
        assert each["readConcern"]["level"] == "majority"
        assert each["readConcern"]["afterClusterTime"] == start


async def test_a_run_that_reads_at_one_time_began_before_it(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, 500)
    engine, end = await engines.run(engines.settings("users", run={"consistency": "snapshot"}))
    assert end["state"] == "completed"
    row = target.rows(RUN, engine.run_id)[0]
    assert row["start_time"] <= row["snapshot_time"]
    assert row["cannot_follow"] == ""


@pytest.mark.slow
async def test_a_resumed_run_reads_what_is_not_older_than_its_beginning(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, 4_000)
    first = await engines.launch(engines.settings("users", run={"page_size": 100, "throttle": 2_000}))
    await first.start()
    await first.until_written(500)
    await first.cancel(now=True)
    await first.finished()
    began = target.rows(RUN, first.run_id)[0]["start_time"]
    source.db.command({"profile": 2})
    _, end = await engines.run(engines.settings("users"), resume=first.run_id)
    source.db.command({"profile": 0})
    assert end["written"] == 4_000
    concerns = [each["readConcern"] for each in reads_of(source)]
    assert {(each["level"], causal.number_of(each["afterClusterTime"])) for each in concerns} == {("majority", began)}


async def test_a_run_that_seeds_says_why_it_cannot_be_followed(
    source: Source, target: Target, engines: Engines
) -> None:
    engine = await engines.launch(engines.settings("users", seed={"count": 300}))
    await engine.start(seed=True)
    assert (await engine.finished())["state"] == "completed"
    row = target.rows(RUN, engine.run_id)[0]
    assert (row["start_time"], row["cannot_follow"]) == (None, "it filled its source itself")


async def test_rejects_know_the_key_of_their_document(source: Source, target: Target, engines: Engines) -> None:
    source.db["notes"].insert_many({"_id": number, "text": "a" if number % 3 else "a\0"} for number in range(1, 10))
    await engines.run(engines.settings("notes", mapping={"nul": "reject"}))
    found = target.rows("SELECT task_id, key FROM mongopg.reject ORDER BY reject_no")
    assert [(row["task_id"], bson.decode(row["key"])["_id"]) for row in found] == [(1, 3), (1, 6), (1, 9)]


def test_a_source_that_went_back_or_is_another_one_is_not_followed_on(source: Source) -> None:
    now = causal.begin(source.client, [(source.database, "users")])
    assert now.after is not None
    assert now.cannot_follow == ""
    again = causal.go_on(source.client, now.after.at, now.source_set)
    assert again.after is not None
    assert again.after.at == now.after.at
    ahead = causal.go_on(source.client, now.after.at + (600 << 32), now.source_set)
    assert (ahead.after, ahead.cannot_follow) == (None, "its source went back to a time before the run began")
    other = causal.go_on(source.client, now.after.at, SourceSet(now.source_set.name, "0" * 24))
    assert (other.after, other.cannot_follow) == (None, "it was resumed with another replica set")


def test_a_standalone_server_is_read_as_it_is() -> None:
    with running_mongod() as port, MongoClient[dict[str, Any]](f"mongodb://127.0.0.1:{port}") as client:
        found = causal.begin(client, [("shop", "users")])
        assert (found.after, found.cannot_follow) == (
            None, "the source is no replica set, and only these keep their changes in an oplog",
        )  # fmt: skip


def test_a_time_survives_being_a_number() -> None:
    at = Timestamp(1_764_540_000, 17)
    assert causal.timestamp_of(causal.number_of(at)) == at
