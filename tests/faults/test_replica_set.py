"""A run in natural order reads one member of a replica set; what becomes of it when something happens to that member."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

from tests.conftest import Source, Target
from tests.engine.test_natural_run import assert_equal, assert_natural, natural, uuid_of, verified
from tests.faults.planting import constants
from tests.faults.replica_set import ReplicaSet, replica_set
from tests.running import Engine, Engines, assert_ledger, eventually

pytestmark = pytest.mark.slow

T = TypeVar("T")
DOCUMENTS = 8_000
PATIENCE_S = 4.0


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory, servers: object) -> Iterator[ReplicaSet]:
    """One set for all tests of this module."""
    with replica_set(tmp_path_factory.mktemp("members")) as found:
        yield found


@pytest.fixture
def three(members: ReplicaSet, source: Source) -> Iterator[Source]:
    """An empty database of a set of three."""
    with MongoClient[dict[str, Any]](members.uri(source.database)) as client:
        yield replace(source, uri=members.uri(source.database), client=client)
        client.drop_database(source.database)


@pytest.fixture
def engines_of_three(engines: Engines, three: Source) -> Engines:
    engines.source = three
    return engines


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines give a server up soon."""
    for name, value in constants({"engine.retries:LIMIT_S": PATIENCE_S}).items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def all_there(members: ReplicaSet) -> None:
    """Each test begins with three members that can be read, whatever became of the one before."""
    for port in members.ports:
        members.revive(port)


def fill(three: Source) -> None:
    """Also while the member that the test before had killed becomes the primary again, which it has the priority for."""
    things = three.db.get_collection("things", write_concern=WriteConcern(w=3))

    def anew() -> None:
        things.drop()
        things.insert_many({"_id": uuid_of(number), "n": number, "text": "x" * 200} for number in range(DOCUMENTS))

    insisted(anew)


async def begun(engines: Engines, three: Source, target: Target, **run: Any) -> tuple[Engine, int]:
    """A run of which a part is committed, and the port of the member that it reads."""
    engine = await engines.launch(natural(engines, throttle=1_500, **run))
    await engine.start()
    await engine.until_written(1_000)
    member = target.value("SELECT member FROM mongopg.table_load")
    return engine, int(member.rpartition(":")[2])


async def finished(engine: Engine, three: Source, target: Target, documents: int = DOCUMENTS) -> dict[str, Any]:
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified"), engine.account()
    n = assert_equal(three, target)
    assert n == documents
    assert target.value("SELECT sum(n_written)::int FROM mongopg.slice") == documents
    assert_natural(target, engine.run_id)
    return end


def insisted(ask: Callable[[], T]) -> T:
    """What a set answers that has elections and members that come back: again and again until it does."""
    deadline = time.monotonic() + 60.0
    while True:
        try:
            return ask()
        except PyMongoError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def problems(engine: Engine) -> set[str]:
    return {facts["code"] for facts in engine.facts_of("problem")}


async def test_the_primary_is_read_and_goes_on_being_read_when_it_steps_down(
    members: ReplicaSet, three: Source, target: Target, engines_of_three: Engines
) -> None:
    fill(three)
    engine, port = await begun(engines_of_three, three, target)
    assert port == members.primary
    await asyncio.to_thread(members.step_down)
    await engine.set("throttle", 0)
    await finished(engine, three, target)
    assert not problems(engine) & {"numbering_lost", "member_lost"}
    assert_ledger(target, engine.run_id, rows=DOCUMENTS)


async def test_a_secondary_is_read_where_the_source_prefers_one(
    members: ReplicaSet, three: Source, target: Target, engines_of_three: Engines
) -> None:
    fill(three)
    engines_of_three.source = replace(three, uri=members.uri(three.database, "&readPreference=secondary"))
    engine, port = await begun(engines_of_three, three, target, consistency="snapshot")
    assert port != members.primary
    await engine.set("throttle", 0)
    await finished(engine, three, target)


async def test_a_member_that_comes_back_with_its_data_is_read_on(
    members: ReplicaSet, three: Source, target: Target, engines_of_three: Engines
) -> None:
    fill(three)
    engine, port = await begun(engines_of_three, three, target)
    members.kill(port)
    members.start(port)
    await asyncio.to_thread(members.wait_for, port)
    await engine.set("throttle", 0)
    await finished(engine, three, target)


async def test_a_member_that_stays_away_is_replaced_by_a_read_by_id(
    impatient: None, members: ReplicaSet, three: Source, target: Target, engines_of_three: Engines
) -> None:
    fill(three)
    engine, port = await begun(engines_of_three, three, target)
    members.kill(port)
    try:
        await engine.event("problem", lambda facts: facts["code"] == "member_lost")
        await engine.set("throttle", 0)
        await finished(engine, three, target)
    finally:
        members.start(port)
        members.wait_for(port)
    assert target.value("SELECT first_generation FROM mongopg.table_load") == 1


async def test_a_member_that_is_synchronised_anew_under_a_run_is_noticed(
    members: ReplicaSet, three: Source, target: Target, engines_of_three: Engines
) -> None:
    fill(three)
    engine, port = await begun(engines_of_three, three, target)
    members.kill(port)
    members.empty(port)
    members.start(port)
    await asyncio.to_thread(members.wait_for, port)
    await engine.event("problem", lambda facts: facts["code"] == "numbering_lost")
    await engine.set("throttle", 0)
    await finished(engine, three, target)


async def test_a_member_that_was_synchronised_anew_before_a_resume_is_noticed(
    members: ReplicaSet, three: Source, target: Target, engines_of_three: Engines
) -> None:
    fill(three)
    engine, port = await begun(engines_of_three, three, target)
    engine.kill()
    await engine.until_gone()
    members.kill(port)
    members.empty(port)
    members.start(port)
    await asyncio.to_thread(members.wait_for, port)
    engine = await engines_of_three.launch(engines_of_three.settings("things", run={"page_size": 100}))
    await engine.start(resume=target.value("SELECT run_id FROM mongopg.run"))
    await finished(engine, three, target)
    assert "numbering_lost" in problems(engine)


async def test_a_member_that_rolls_back_what_others_never_had_is_read_on(
    members: ReplicaSet, three: Source, target: Target, engines_of_three: Engines
) -> None:
    fill(three)
    engine, before = await begun(engines_of_three, three, target)
    await engine.pause()
    others = [port for port in members.ports if port != before]
    for port in others:
        members.kill(port)
    lost = three.db.get_collection("things", write_concern=WriteConcern(w=1, j=True))
    lost.insert_many({"_id": uuid_of(number), "n": number, "text": "lost"} for number in range(20_000, 20_050))
    members.kill(before)
    for port in others:
        members.start(port)
    assert members.primary in others
    kept = three.db.get_collection("things", write_concern=WriteConcern(w="majority"))
    for number in range(30_000, 30_020):
        document = {"_id": uuid_of(number), "n": number, "text": "kept"}
        insisted(partial(kept.replace_one, {"n": number}, document, upsert=True))
    members.start(before)
    await asyncio.to_thread(members.wait_for, before)
    with members.direct(before) as client:
        things = client[three.database].things
        later = {"n": {"$gte": 20_000}}
        await eventually(
            lambda: insisted(lambda: things.count_documents(later)) == 20, 60.0, lambda: "nothing was rolled back"
        )
        moved = insisted(lambda: things.find_one({"n": 0}))
    assert moved is not None
    # A document of the beginning that moves behind them.
    insisted(lambda: kept.delete_one({"_id": moved["_id"]}))
    insisted(lambda: kept.replace_one({"_id": moved["_id"]}, moved, upsert=True))
    await engine.resume()
    await engine.set("throttle", 0)
    await finished(engine, three, target, DOCUMENTS + 20)


async def test_a_member_that_gives_numbers_again_after_a_restart_loses_nothing(
    members: ReplicaSet, three: Source, target: Target, engines_of_three: Engines
) -> None:
    fill(three)
    engine, port = await begun(engines_of_three, three, target)
    await engine.pause()
    things = three.db.get_collection("things", write_concern=WriteConcern(w=3))
    newest = list(things.find({"n": {"$gte": DOCUMENTS - 50}}))
    insisted(lambda: things.delete_many({"n": {"$gte": DOCUMENTS - 50}}))
    await asyncio.to_thread(members.restart, port)
    for document in newest:
        await asyncio.to_thread(insisted, partial(things.replace_one, {"_id": document["_id"]}, document, upsert=True))
    await engine.resume()
    await engine.set("throttle", 0)
    await finished(engine, three, target)


async def test_a_verification_whose_member_is_lost_begins_again_by_id(
    impatient: None, members: ReplicaSet, three: Source, target: Target, engines_of_three: Engines
) -> None:
    fill(three)
    run, end = await engines_of_three.run(natural(engines_of_three))
    assert end["state"] == "completed"
    engine = await engines_of_three.launch(natural(engines_of_three, throttle=1_000))
    engine.may_fail_inside = True  # the driver logs what its own background tasks meet
    verifying = asyncio.create_task(verified(engine, run.run_id))
    await engine.until(
        lambda now: now.comparing is not None and now.comparing.checked > 500, "a verification under way"
    )
    port = members.primary
    members.kill(port)
    try:
        await engine.event("problem", lambda facts: facts["code"] == "member_lost")
        await engine.set("throttle", 0)
        (table,) = (await verifying).tables
    finally:
        members.start(port)
        members.wait_for(port)
    assert (table.ok, table.equal, table.missing, table.slices_changed) == (True, DOCUMENTS, 0, 0), table
