"""Hosts of a Dask cluster that die, hang or are cut off: what their workers had not committed is done by others, once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from engine.cluster import dask_api
from engine.cluster.dask_agent import agent
from engine.protocol import Snapshot
from tests.dask_cluster import DaskCluster, children_of, dask_cluster
from tests.remains import CANARY
from tests.running import Engine, Engines, add_users, assert_users_equal, committed, eventually
from tests.signals import send_signal
from tests.slow_run import VERY_SLOW, completed, started

if TYPE_CHECKING:
    from tests.conftest import Source, Target

pytestmark = pytest.mark.slow

USERS = 12_000
ELSEWHERE_S = 60.0
"""Within this the partitions of a lost host are with others; within 15 s where nothing else is done."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    """Two hosts of two slots each."""
    with dask_cluster(tmp_path, 2, 2) as cluster:
        yield cluster


async def begun(engines: Engines, source: Source, cluster: DaskCluster, **run: Any) -> Engine:
    """A slow run on four workers that are all there."""
    add_users(source, USERS)
    sections = {"cluster": {"kind": "dask"}, "dask": {"scheduler": str(cluster.file)}}
    engine = await started(engines, sections=sections, cluster_size=4, throttle=VERY_SLOW, **run)
    await engine.until(all_work(4), "four workers")
    return engine


def all_work(size: int) -> Any:
    """Whether so many workers have sent something."""

    def hold(now: Snapshot) -> bool:
        return sum(worker.pid > 0 and worker.sent > 0 for worker in now.workers) >= size

    return hold


def lost_hosts(engine: Engine) -> list[str]:
    """What was said of hosts that were lost."""
    return [each["message"] for each in engine.facts_of("problem") if "is lost" in each["message"]]


async def test_a_killed_worker_of_dask_costs_what_was_not_committed(
    engines: Engines, source: Source, target: Target, cluster: DaskCluster
) -> None:
    engine = await begun(engines, source, cluster)
    below = children_of(cluster.workers[0].pid)
    victim = next(pid for pid, command in below.items() if "spawn_main" in command)
    send_signal(victim, signal.SIGKILL)
    await engine.until(lambda now: now.workers_alive <= 2, "workers that are missed")
    await engine.until(all_work(4), "four workers again")  # its nanny starts another one
    await completed(engine, source, target)
    assert lost_hosts(engine)


async def test_a_worker_of_dask_that_is_taken_away_finishes_what_it_has_in_hand(
    engines: Engines, source: Source, target: Target, cluster: DaskCluster
) -> None:
    engine = await begun(engines, source, cluster)
    below = children_of(cluster.workers[0].pid)
    on_it = {worker.pid for worker in engine.snapshot.workers if worker.pid in below}
    assert len(on_it) == 2
    async with dask_api.Client(cluster.address, asynchronous=True, set_as_default=False) as client:
        (address,) = [each for each, pid in (await client.run(os.getpid)).items() if pid in below]
        await client.retire_workers([address])
    told = "members finish what they have in hand"  # the engine hears of it only if it asks before Dask cuts the connection
    await eventually(lambda: told in cluster.log(), ELSEWHERE_S, cluster.log)
    await eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in on_it), ELSEWHERE_S, lambda: on_it)
    await engine.event("problem", lambda facts: "is taken away" in facts["message"])
    await completed(engine, source, target)
    assert not [facts for facts in engine.facts_of("worker") if facts["what"] == "died"]
    assert not lost_hosts(engine)


async def test_a_worker_of_dask_that_is_to_close_and_stays_is_used_again(
    engines: Engines, source: Source, target: Target, cluster: DaskCluster
) -> None:
    def be(status: str, dask_worker: Any) -> None:  # sent by value, as Dask tells it to a worker that it retires
        dask_worker.handle_worker_status_change(status, "test")

    engine = await begun(engines, source, cluster)
    below = children_of(cluster.workers[0].pid)
    async with dask_api.Client(cluster.address, asynchronous=True, set_as_default=False) as client:
        (address,) = [each for each, pid in (await client.run(os.getpid)).items() if pid in below]
        await client.run(be, "closing_gracefully", workers=[address])
        await engine.until(lambda now: not any(worker.pid in below for worker in now.workers), "those there have left")
        assert [facts["what"] for facts in engine.facts_of("worker") if facts["what"] != "started"] == ["retired"] * 2
        await client.run(be, "running", workers=[address])
    await engine.until(all_work(4), "four workers again")
    await completed(engine, source, target)


async def test_a_killed_host_process_takes_its_workers_along(
    engines: Engines, source: Source, target: Target, cluster: DaskCluster
) -> None:
    engine = await begun(engines, source, cluster)
    (victim,) = cluster.host_processes(cluster.workers[0])
    workers = list(children_of(victim))
    send_signal(victim, signal.SIGKILL)
    await eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers), 60, lambda: workers)
    await engine.until(all_work(4), "four workers again")
    await completed(engine, source, target)


async def test_a_host_that_is_silent_is_lost_and_writes_nothing_twice_when_it_is_back(
    engines: Engines, source: Source, target: Target, cluster: DaskCluster
) -> None:
    engine = await begun(engines, source, cluster)
    victim = cluster.workers[0].pid
    stopped = [victim, *children_of(victim)]
    for pid in stopped:
        send_signal(pid, signal.SIGSTOP)
    try:
        await eventually(lambda: bool(lost_hosts(engine)), ELSEWHERE_S, lambda: engine.account())
        before = committed(target)
        await eventually(lambda: committed(target) > before, ELSEWHERE_S, lambda: engine.account())
    finally:
        for pid in stopped:
            send_signal(pid, signal.SIGCONT)
    await completed(engine, source, target)


async def test_a_lost_scheduler_is_waited_for(
    engines: Engines, source: Source, target: Target, cluster: DaskCluster
) -> None:
    engine = await begun(engines, source, cluster)
    send_signal(cluster.scheduler.pid, signal.SIGKILL)
    cluster.scheduler.wait()
    await engine.event("problem", lambda facts: "does not answer" in facts["message"])
    await engine.until(lambda now: now.workers_alive == 0, "no workers")
    for worker in cluster.workers:  # they end with their scheduler; what has started them would start them again
        worker.wait()
    cluster.start_scheduler()
    cluster.add_worker(2)
    await engine.until(all_work(2), "workers again")
    await completed(engine, source, target)


async def test_hosts_of_a_killed_engine_end_their_workers(
    engines: Engines, source: Source, target: Target, cluster: DaskCluster
) -> None:
    engine = await begun(engines, source, cluster)
    hosts = [pid for worker in cluster.workers for pid in cluster.host_processes(worker)]
    assert len(hosts) == 2
    for pid in engine.processes():
        send_signal(pid, signal.SIGKILL)
    await eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in hosts), 60, lambda: hosts)
    assert CANARY not in cluster.log()
    again = await engines.launch(engines.settings("users", run={"cluster_size": 4}))
    await again.start(resume=engine.run_id)
    await completed(again, source, target)


def certificates(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Arguments of Dask's programs, and our settings, for certificates of an authority of the test's own."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name in ("dask", "client"):
        made = authority.issue_cert("127.0.0.1")
        made.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
        made.private_key_pem.write_to_path(str(folder / f"{name}.key"))
    theirs = ["--tls-ca-file", str(folder / "ca.pem"), "--tls-cert", str(folder / "dask.pem"),
              "--tls-key", str(folder / "dask.key")]  # fmt: skip
    ours = {name: str(folder / file) for name, file in
            (("ca_file", "ca.pem"), ("cert_file", "client.pem"), ("key_file", "client.key"))}  # fmt: skip
    return theirs, ours


async def test_a_cluster_with_certificates_of_its_own(
    engines: Engines, source: Source, target: Target, tmp_path: Path
) -> None:
    theirs, ours = certificates(tmp_path)
    add_users(source, USERS)
    with dask_cluster(tmp_path, 2, protocol="tls", tls=theirs) as cluster:
        assert cluster.address.startswith("tls://")
        dask = {"scheduler": cluster.address, **ours}
        engine, facts = await engines.run(engines.settings("users", cluster={"kind": "dask"}, dask=dask))
        assert (facts["state"], facts["written"]) == ("completed", USERS)
        assert_users_equal(source, target)
        await engine.leave()
        others = tmp_path / "others"
        others.mkdir()
        _, strange = certificates(others)
        none = {"scheduler": cluster.address}
        broken = dask | {"cert_file": str(cluster.file)}
        for wrong, words in ((dask | strange, "TLS with"), (none, "asks for a certificate"), (broken, "TLS with")):
            settings = engines.settings("users", run={"mode": "replace"}, cluster={"kind": "dask"}, dask=wrong)
            _, facts = await engines.run(settings)
            assert facts["exit_code"] == 2
            assert words in facts["error"]["message"]
            assert cluster.address in facts["error"]["message"]


async def test_nothing_that_the_scheduler_keeps_has_a_secret_or_a_value(
    engines: Engines, source: Source, target: Target, cluster: DaskCluster
) -> None:
    def kept(dask_scheduler: Any) -> str:  # sent by value: the scheduler does not know this module
        return repr([(key, task.run_spec, task.state) for key, task in dask_scheduler.tasks.items()])

    engine = await begun(engines, source, cluster)
    async with dask_api.Client(cluster.address, asynchronous=True, set_as_default=False) as client:
        events = await client.get_events()
        tasks = await client.run_on_scheduler(kept)
    assert "mongopg-" in tasks
    name = source.db.users.find_one({}, {"username": 1})
    assert name is not None
    for text in (repr(events), tasks, cluster.log()):
        assert CANARY not in text
        assert name["username"] not in text
        assert "postgresql://" not in text
    await completed(engine, source, target)


async def test_a_worker_of_dask_that_comes_later_is_used(
    engines: Engines, source: Source, target: Target, tmp_path: Path
) -> None:
    with dask_cluster(tmp_path, 2) as cluster:
        add_users(source, USERS)
        sections = {"cluster": {"kind": "dask"}, "dask": {"scheduler": str(cluster.file)}}
        engine = await started(engines, sections=sections, cluster_size=4, throttle=VERY_SLOW)
        await engine.event(
            "problem", lambda facts: "4 workers are wanted and the Dask cluster has 2 slots" in facts["message"]
        )
        cluster.add_worker(3)
        await engine.until(all_work(4), "four workers")
        await engine.set("cluster_size", 1)
        await engine.until(lambda now: now.workers_alive == 1, "one worker")
        await engine.set("cluster_size", 5)
        await engine.until(all_work(5), "five workers")
        await engine.pause()
        await engine.resume()
        await completed(engine, source, target)
        await engine.leave()
        await engine.until_gone()


async def test_agents_that_dask_starts_again_beside_the_first_ones_disturb_nothing(
    engines: Engines, source: Source, target: Target, tmp_path: Path
) -> None:
    def under_way(dask_scheduler: Any) -> dict[str, str]:  # sent by value, as above
        tasks = dask_scheduler.tasks.items()
        return {key: task.processing_on.address for key, task in tasks if key.startswith("mongopg-")}

    with dask_cluster(tmp_path, 2, 4) as cluster:
        engine = await begun(engines, source, cluster)
        pids = {worker.pid for worker in engine.snapshot.workers}
        async with dask_api.Client(cluster.address, asynchronous=True, set_as_default=False) as client:
            threads = await client.nthreads()
            larger = max(threads, key=lambda address: threads[address])
            conversations = {
                address: key.rpartition("-")[0] for key, address in (await client.run_on_scheduler(under_way)).items()
            }
            assert len(conversations) == 2

            def again(address: str) -> Any:
                options = {"workers": [larger], "allow_other_workers": False, "pure": False}
                return client.submit(agent, conversations[address], key=f"again-{address}", **options)

            (smaller,) = {*threads} - {larger}
            # Where nothing is known of that conversation no engine speaks to its host process, which ends.
            async with asyncio.timeout(ELSEWHERE_S):
                await again(smaller)
            mine = again(larger)  # one more place there, which is given back
            await engine.until_written(engine.snapshot.written + 200)
            assert {worker.pid for worker in engine.snapshot.workers} == pids
            await completed(engine, source, target)
            del mine
        assert not lost_hosts(engine)
        assert {facts["what"] for facts in engine.facts_of("worker")} <= {"started", "retired"}


async def test_a_dask_without_the_program_is_told_and_a_run_needs_one_host_that_has_it(
    engines: Engines, source: Source, tmp_path: Path
) -> None:
    with dask_cluster(tmp_path) as cluster:
        cluster.add_worker(2, without_program=True)
        add_users(source, 10)
        sections = {"cluster": {"kind": "dask"}, "dask": {"scheduler": str(cluster.file)}}
        _, facts = await engines.run(engines.settings("users", **sections))
        assert facts["exit_code"] == 2
        assert "mongopg-tui is not installed there" in facts["error"]["message"]
