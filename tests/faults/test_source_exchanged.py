"""A source that goes back, or is exchanged, while it is copied by a run that is to follow: the copy ends, the run halts."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bson import Int64, Timestamp
from pymongo import MongoClient

from engine.protocol import CutOver
from tests.conftest import Source
from tests.engine.test_follow import following, ready
from tests.engine.test_follow_halts import documents, fill, halted, resolve, values
from tests.faults.proxy import proxy_to
from tests.faults.replica_set import ReplicaSet, replica_set
from tests.guarded import make_replica_set, mongod_with_users, running_mongod
from tests.running import Engine, Engines

if TYPE_CHECKING:
    from engine.config import Settings
    from tests.conftest import Target

DOCUMENTS = 20_000
"""At 300 a second they take a minute: the copy is not over when it is found out that its source is."""


def settings_of(engines: Engines, order: str, mode: str) -> Settings:
    """A copy that is slow."""
    return engines.settings("things", run={"page_size": 100, "throttle": 300, "order": order, "mode": mode})


async def ended(engine: Engine, code: str) -> None:
    """Nothing is copied any more, and what was is there."""
    await halted(engine, code)
    assert 0 < engine.snapshot.written < DOCUMENTS
    assert engine.snapshot.follow is not None
    (halt,) = engine.snapshot.follow.halted_by
    assert halt.choices == ["resync"]
    assert "The copy was not complete and is ended as it is" in halt.message


async def compared_and_cut_over(engine: Engine, source: Source, target: Target) -> None:
    """The choice makes the table what the source is, and what comes is applied."""
    await engine.set("throttle", 0)
    await resolve(engine, "", "resync")
    await ready(engine)
    source.db.things.update_one({"_id": 1_500}, {"$set": {"n": 4}})
    await engine.client.call(CutOver())
    end = await engine.finished()
    assert (end["state"], end["verification"]) == ("completed", "verified"), engine.account()
    assert values(target) == documents(source)


@pytest.mark.parametrize(
    ("order", "mode", "is_resumed"),
    [
        ("natural", "create", False),
        pytest.param("id", "create", True, marks=pytest.mark.slow),
        pytest.param("natural", "replace", True, marks=pytest.mark.slow),
    ],
)
async def test_another_source_ends_the_copy_and_is_compared_as_a_whole_when_that_is_chosen(
    source: Source, target: Target, engines: Engines, order: str, mode: str, *, is_resumed: bool
) -> None:
    fill(source, "things", count=DOCUMENTS)
    with (
        running_mongod("--replSet", "rs0") as port,
        MongoClient[dict[str, Any]](f"mongodb://127.0.0.1:{port}/?directConnection=true") as client,
    ):
        make_replica_set(client, port)
        other = Source("", source.database, client)
        fill(other, "things", first=1_000, count=1_500, n=9)
        async with proxy_to(source.uri) as proxy:
            engines.source = replace(source, uri=proxy.uri)
            settings = settings_of(engines, order, mode)
            engine = await following(engines, settings)
            await engine.until_written(100)
            proxy.lead_to(port)
            proxy.cut()
            await ended(engine, "source_changed")
            if is_resumed:
                engine.kill()
                await engine.until_gone()
                engine, before = await engines.launch(settings), engine
                await engine.start(resume=before.run_id)
                await ended(engine, "source_changed")
            await compared_and_cut_over(engine, other, target)
            await engine.leave()
            await engine.until_gone()
            engines.source = source


@pytest.mark.slow
@pytest.mark.parametrize("is_copied", [False, True])
async def test_the_clock_of_another_source_is_taken_where_clusters_sign_theirs(
    source: Source, target: Target, engines: Engines, *, is_copied: bool
) -> None:
    with mongod_with_users() as (port, client), mongod_with_users() as (other_port, other_client):
        one, other = (Source("", source.database, each) for each in (client, other_client))
        fill(one, "things", count=50 if is_copied else DOCUMENTS)
        fill(other, "things", first=1_000, count=1_500, n=9)
        uri = f"mongodb://admin:admin@127.0.0.1:{port}/{source.database}?authSource=admin&directConnection=true"
        async with proxy_to(uri) as proxy:
            engines.source = replace(source, uri=proxy.uri)
            engine = await following(engines, settings_of(engines, "auto", "create"))
            if is_copied:
                await ready(engine)
            else:
                await engine.until_written(100)
            proxy.lead_to(other_port)
            proxy.cut()
            await halted(engine, "source_changed")
            await compared_and_cut_over(engine, other, target)
            await engine.leave()
            await engine.until_gone()
            engines.source = source


def be_ahead(client: MongoClient[dict[str, Any]], port: int) -> None:
    """Put the clock of a cluster an hour on."""
    client.admin.command(
        "createUser", "member", pwd="member", roles=["__system"]
    )  # who is believed without a signature
    later = {"clusterTime": Timestamp(int(time.time()) + 3_600, 1), "signature": {"hash": bytes(20), "keyId": Int64(0)}}
    uri = f"mongodb://member:member@127.0.0.1:{port}/?directConnection=true"
    with MongoClient[dict[str, Any]](uri) as member, member.start_session() as session:
        session.advance_cluster_time(later)
        member.local_clock.ticks.insert_one({}, session=session)
    assert client.admin.command("hello")["$clusterTime"]["clusterTime"] >= later["clusterTime"]


@pytest.mark.slow
async def test_seeding_goes_on_in_another_cluster_that_signs_its_clock(source: Source, engines: Engines) -> None:
    with mongod_with_users() as (port, client), mongod_with_users() as (other_port, other_client):
        be_ahead(client, port)  # what another one says of its time replaces an earlier time by itself
        uri = f"mongodb://admin:admin@127.0.0.1:{port}/{source.database}?authSource=admin&directConnection=true"
        async with proxy_to(uri) as proxy:
            engines.source = replace(source, uri=proxy.uri)
            engine = await engines.launch(
                engines.settings("users", run={"page_size": 500, "cluster_size": 2}, seed={"count": 400_000})
            )
            await engine.start(seed=True, migrate=False)
            await engine.until(lambda now: now.seeded >= 1_000, "the first users")
            await engine.pause()
            proxy.lead_to(other_port)
            proxy.cut()
            n_before = client[source.database].users.count_documents({})
            await engine.set("seed_count", n_before + 5_000)
            await engine.resume()
            end = await engine.finished()
            assert (end["state"], end["exit_code"]) == ("completed", 0), engine.account()
            assert client[source.database].users.count_documents({}) == n_before
            assert other_client[source.database].users.count_documents({}) == end["seeded"] - n_before
            await engine.leave()
            await engine.until_gone()
            engines.source = source


@pytest.fixture
def member(tmp_path_factory: pytest.TempPathFactory, servers: object) -> Iterator[ReplicaSet]:
    """A set of one, whose files can be exchanged."""
    with replica_set(tmp_path_factory.mktemp("member"), n_members=1) as found:
        yield found


def backed_up(member: ReplicaSet, folder: Path) -> None:
    """Copy the files of a server that is stopped meanwhile."""
    (port,) = member.ports
    member.kill(port)
    shutil.copytree(member.folder / str(port), folder)
    member.revive(port)


def restored(member: ReplicaSet, folder: Path) -> None:
    """Put the files back that were copied, and nothing else."""
    (port,) = member.ports
    member.kill(port)
    member.empty(port)
    shutil.copytree(folder, member.folder / str(port))
    member.revive(port)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["id", "natural"])
async def test_a_source_that_is_restored_from_a_backup_ends_the_copy(
    member: ReplicaSet, source: Source, target: Target, engines: Engines, tmp_path: Path, order: str
) -> None:
    with MongoClient[dict[str, Any]](member.uri(source.database)) as client:
        engines.source = one = replace(source, uri=member.uri(source.database), client=client)
        fill(one, "things", count=DOCUMENTS - 100)
        backed_up(member, tmp_path / "backup")
        assert member.primary
        fill(one, "things", first=DOCUMENTS - 100, count=100)
        engine = await following(engines, settings_of(engines, order, "create"))
        await engine.until_written(100)
        restored(member, tmp_path / "backup")
        await ended(engine, "source_went_back")
        await compared_and_cut_over(engine, one, target)
        await engine.leave()
        await engine.until_gone()
        engines.source = source
