"""Workers that die or hang: what they had not committed is rolled back and done by others, once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Collection, Container
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from engine.cluster.lease_book import MAX_DEATHS
from engine.protocol import RunState, Snapshot, WorkerState, WorkerView
from tests.faults.planting import constants
from tests.faults.proxy import proxy_to
from tests.faults.sockets import ports_to
from tests.running import Engine, Engines, add_users, assert_users_equal, eventually, is_alive, nothing_open
from tests.signals import send_signal
from tests.slow_run import VERY_SLOW, completed, started

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 12_000
AT_WORK = {WorkerState.READING, WorkerState.CONVERTING, WorkerState.WRITING, WorkerState.THROTTLED}
HANG_IS_NOTICED_S = 60.0
COMMITTED_BY = "SELECT partition_id, slice_no, n_written FROM mongopg.slice WHERE backend_pid = $1 ORDER BY 1, 2"
WATCH_CLAIMS = """
CREATE TABLE claims (partition_id integer, slice_no integer, backend_pid integer, was_there boolean);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO claims SELECT NEW.partition_id, NEW.slice_no, NEW.backend_pid,
        EXISTS (SELECT FROM pg_stat_activity WHERE pid = {backend});
    RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER INSERT ON mongopg.slice FOR EACH ROW EXECUTE FUNCTION watch();
"""
"""Whether a session is there when others claim a slice."""


async def worker_at_work(engine: Engine) -> WorkerView:
    """A worker in the middle of a slice, of a cluster whose size stays and of which none was killed."""
    now = await engine.until(lambda now: any(each.state in AT_WORK for each in now.workers), "a worker at work")
    return next(each for each in now.workers if each.state in AT_WORK)


async def struck_at_work(engine: Engine, but_not: Container[int] = ()) -> WorkerView:
    """A worker that was killed in the middle of a slice, of none of the partitions named."""
    return await engine.strike(
        lambda worker: worker.state in AT_WORK and worker.partition not in but_not, what="a worker at work"
    )


def backends_of(target: Target, worker: WorkerView) -> set[int]:
    """The worker's session with PostgreSQL, told by its port."""
    port = urlsplit(target.uri).port
    assert port is not None
    ports = ports_to(worker.pid, port)
    return {row[0] for row in target.rows("SELECT pid FROM pg_stat_activity WHERE client_port = ANY($1)", ports)}


def died(pid: int) -> Callable[[dict[str, Any]], bool]:
    """Whether an event tells of the death of this worker."""
    return lambda facts: facts["pid"] == pid and facts["what"] == "died"


def others_work(victims: Collection[int]) -> Callable[[Snapshot], bool]:
    """Whether two workers besides these have sent something."""
    return lambda now: len({worker.pid for worker in now.workers if worker.sent} - set(victims)) >= 2


def has_written(goal: int) -> Callable[[Snapshot], bool]:
    """Whether so many rows are written and workers are there."""
    return lambda now: now.written >= goal and bool(now.workers)


@pytest.mark.slow
@pytest.mark.usefixtures("both_orders")
async def test_workers_killed_one_after_the_other(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, cluster_size=3)

    deaths: Counter[int] = Counter()
    for _ in range(6):
        nearly_parked = {partition for partition, number in deaths.items() if number == MAX_DEATHS - 1}
        victim = await struck_at_work(engine, but_not=nearly_parked)
        deaths[victim.partition] += 1
        death = await engine.event("worker", died(victim.pid))
        assert death.facts["exit"] == -signal.SIGKILL
    await engine.until(lambda now: sum(each.pid not in engine.struck for each in now.workers) == 3, "three new workers")

    await completed(engine, source, target)
    assert engine.snapshot.retried >= 6
    assert any("was killed (signal 9; out of memory?)" in facts["message"] for facts in engine.facts_of("problem"))


async def test_a_dead_worker_is_replaced(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, cluster_size=2)
    victim = await struck_at_work(engine)

    await engine.event("worker", lambda facts: facts["what"] == "died")
    await engine.event(
        "worker", lambda facts: facts["what"] == "started" and facts["id"] == victim.id and facts["pid"] != victim.pid
    )
    await completed(engine, source, target)


@pytest.mark.slow
async def test_a_dead_worker_s_partition_goes_to_the_next_that_is_free(
    source: Source, target: Target, engines: Engines
) -> None:
    """The ledger takes a moment to say how far it came: a worker that is free then must not begin another partition."""
    add_users(source, USERS)
    engine = await started(engines, cluster_size=2, throttle=VERY_SLOW)  # the first partitions are far from their ends
    victim = await worker_at_work(engine)
    ledger = await asyncpg.connect(target.uri)
    try:
        await ledger.execute("BEGIN; LOCK TABLE mongopg.partition")
        assert send_signal(victim.pid, signal.SIGKILL)
        came = await engine.event(
            "worker",
            lambda facts: facts["what"] == "started" and facts["id"] == victim.id and facts["pid"] != victim.pid,
        )
        await asyncio.sleep(0.3)
    finally:
        await ledger.close()

    def at_work() -> dict[int, int]:
        """Pid to partition."""
        return {worker.pid: worker.partition for worker in engine.snapshot.workers if worker.partition >= 0}

    await engine.until(lambda _: came.facts["pid"] in at_work(), "the replacement at work")
    assert at_work()[came.facts["pid"]] == victim.partition
    await completed(engine, source, target)


@pytest.mark.slow
@pytest.mark.usefixtures("both_orders")
async def test_all_workers_killed_at_once(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, cluster_size=4)

    for _ in range(2):
        victims = {worker.pid for worker in engine.snapshot.workers}
        assert sum(send_signal(pid, signal.SIGKILL) for pid in victims) >= 2
        await engine.until(others_work(victims), "new workers at work")

    await completed(engine, source, target)


@pytest.mark.slow
@pytest.mark.usefixtures("both_orders")
async def test_workers_killed_at_random_moments(source: Source, target: Target, engines: Engines) -> None:
    """At full speed, so that reading, converting, COPY and COMMIT are all hit; the seed is printed when it fails."""
    add_users(source, USERS)
    seed = int.from_bytes(os.urandom(4), "big")
    chance = random.Random(seed)
    print(f"seed {seed}")
    engine = await engines.launch(
        engines.settings("users", run={"cluster_size": 3, "page_size": 200, "throttle": 2_500})
    )
    await engine.start()

    hit: set[int] = set()  # a partition that is hit three times would be parked
    for kill in range(8):
        goal = kill * USERS // 10 + chance.randrange(500)
        now = await engine.until(has_written(goal), f"{goal} rows")
        victims = [worker for worker in now.workers if worker.partition >= 0 and worker.partition not in hit]
        if victims:
            victim = chance.choice(victims)
            if send_signal(victim.pid, signal.SIGKILL):  # else it was killed before, and the snapshot is older
                hit.add(victim.partition)

    assert len(hit) >= 4
    await completed(engine, source, target)


@pytest.mark.slow
async def test_a_worker_killed_in_a_pause(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, cluster_size=2)
    await engine.pause()
    victim = (await engine.strike()).pid

    await engine.until(
        lambda now: (
            len(now.workers) == 2
            and all(worker.pid != victim and worker.state is WorkerState.PAUSED for worker in now.workers)
        ),
        "a replacement that stands, too",
    )
    assert engine.snapshot.state is RunState.PAUSED
    await nothing_open(target)
    await engine.resume()

    await completed(engine, source, target)


async def test_a_partition_that_kills_three_workers_is_parked(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, cluster_size=2, throttle=VERY_SLOW)  # its partition is far from its end
    deadly = (await worker_at_work(engine)).partition

    for deaths in range(3):
        victim = await engine.strike(
            lambda worker: worker.partition == deadly and worker.state in AT_WORK,
            what=f"a holder of partition {deadly} after {deaths} deaths",
        )
        await engine.event("worker", died(victim.pid))
    parked = await engine.event("parked")
    assert parked.facts == {"partition": deadly, "namespace": f"{source.database}.users"}

    await engine.set("throttle", 0)
    end = await engine.finished()
    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 1, "parked")
    assert f"{deadly} of {source.database}.users" in end["error"]["message"]
    unfinished = target.rows(
        "SELECT partition_id FROM mongopg.partition p WHERE NOT EXISTS"
        " (SELECT FROM mongopg.slice s WHERE s.partition_id = p.partition_id AND s.final)"
    )
    assert [row[0] for row in unfinished] == [deadly]
    await engine.leave()
    await engine.until_gone()

    _, end = await engines.run(resume="")
    assert end["exit_code"] == 0
    assert_users_equal(source, target)


@pytest.mark.slow
async def test_the_fork_server_is_killed(source: Source, target: Target, engines: Engines) -> None:
    """Its living children look dead then: their partitions must not be given on before they really are."""
    add_users(source, USERS)
    engine = await started(engines, cluster_size=3)
    before = engine.fork_server()

    os.kill(before, signal.SIGKILL)
    reached = engine.snapshot.written
    await engine.until_written(reached + 1_000)
    await engine.set("cluster_size", 5)
    await engine.until(lambda now: sum(worker.state in AT_WORK for worker in now.workers) >= 4, "a larger cluster")
    assert engine.fork_server() != before

    await completed(engine, source, target)


@pytest.mark.slow
async def test_the_fork_server_is_killed_while_it_is_to_start_workers(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine = await started(engines, cluster_size=1)
    before = engine.fork_server()
    os.kill(before, signal.SIGSTOP)
    await engine.set("cluster_size", 3)
    await asyncio.sleep(0.3)  # it is asked for a worker by now, and waits for the answer

    os.kill(before, signal.SIGKILL)

    await engine.until(lambda now: sum(worker.state in AT_WORK for worker in now.workers) == 3, "three workers at work")
    assert not [facts for facts in engine.facts_of("problem") if facts["code"] == "workers"]
    engine.may_fail_inside = True  # the log tells of the worker that could not be started
    await completed(engine, source, target)


@pytest.mark.slow
@pytest.mark.usefixtures("both_orders")
async def test_a_worker_that_hangs_is_ended_and_cannot_commit_afterwards(
    source: Source, target: Target, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in constants({"engine.cluster.supervisor:HEARTBEAT_LIMIT_S": 8.0}).items():
        monkeypatch.setenv(name, value)
    add_users(source, USERS)
    engine = await started(engines, cluster_size=2)
    await engine.set("throttle", 300)  # the run must still be on when the silence is noticed
    victim = await worker_at_work(engine)
    await eventually(lambda: backends_of(target, victim), 60.0, engine.account)
    (backend,) = backends_of(target, victim)

    assert send_signal(victim.pid, signal.SIGSTOP)
    idle = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {backend} AND wait_event_type = 'Client'"
    await eventually(lambda: target.value(idle), 60.0, engine.account)  # a COMMIT that was on its way is done
    target.execute(WATCH_CLAIMS.format(backend=backend))
    committed_before = target.rows(COMMITTED_BY, backend)
    await engine.event("problem", lambda facts: "gave no sign for" in facts["message"])
    await engine.event("worker", lambda facts: facts["pid"] == victim.pid and facts["what"] == "died")
    assert not send_signal(victim.pid, signal.SIGCONT)
    assert victim.pid not in engine.processes()

    await completed(engine, source, target)
    assert target.rows(COMMITTED_BY, backend) == committed_before
    claims = target.rows("SELECT * FROM claims WHERE partition_id = $1", victim.partition)
    assert claims, "no worker went on with its partition"
    assert not [claim for claim in claims if claim["was_there"]], "its session was there when its lease was given on"
    target.execute("DROP TRIGGER watch ON mongopg.slice; DROP TABLE claims")


@pytest.mark.slow
async def test_a_worker_that_hangs_while_postgresql_is_away_is_ended(
    source: Source, target: Target, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session cannot be ended then: that it is gone, the network has seen to, or will."""
    for name, value in constants({"engine.cluster.supervisor:HEARTBEAT_LIMIT_S": 8.0}).items():
        monkeypatch.setenv(name, value)
    add_users(source, USERS)
    async with proxy_to(target.uri) as proxy:
        engine = await started(engines, cluster_size=2, throttle=VERY_SLOW, sections={"target": {"uri": proxy.uri}})
        now = await engine.until(lambda now: all(worker.sent for worker in now.workers), "two workers")
        first, second = (worker.pid for worker in now.workers)

        assert send_signal(first, signal.SIGSTOP)
        proxy.is_down = True
        proxy.cut()
        await eventually(lambda: not is_alive(first), HANG_IS_NOTICED_S, engine.account)
        proxy.is_down = False
        await engine.until_written(engine.snapshot.written + 1)
        assert send_signal(second, signal.SIGSTOP)
        await eventually(lambda: not is_alive(second), HANG_IS_NOTICED_S, engine.account)

        await completed(engine, source, target)
        await engine.leave()
        await engine.until_gone()


@pytest.mark.slow
async def test_a_worker_that_was_stopped_for_a_while_goes_on(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines, cluster_size=2)
    for _ in range(3):
        victim = await worker_at_work(engine)
        assert send_signal(victim.pid, signal.SIGSTOP)
        await asyncio.sleep(0.5)
        assert send_signal(victim.pid, signal.SIGCONT)

    await completed(engine, source, target)
    assert not [facts for facts in engine.facts_of("worker") if facts["what"] == "died"]
