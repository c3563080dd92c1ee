"""A new kind of work is a module of the worker's, a job of the engine's and a row in the registry, and nothing else."""

from __future__ import annotations

from pathlib import Path

from engine.cluster import fork_server
from engine.cluster.job import Job
from engine.cluster.lease_book import LeaseBook
from engine.cluster.local import LocalCrew
from engine.cluster.own_cluster import OwnCluster
from engine.protocol import Event, ProblemReported, WorkerChanged
from engine.work.context import WorkerStart
from tests.engine.counting_work import CountLease, CountTask

PER_LEASE = 50


class CountingJob(Job[CountLease, tuple[int, int]]):
    """Ranges of numbers."""

    def __init__(self, n_leases: int, dies_at: int) -> None:
        super().__init__()
        self.tasks[7] = CountTask(7, "shop", "users", dies_at)
        self.leases: LeaseBook[CountLease] = LeaseBook()
        self.leases.add(CountLease(7, key, key * PER_LEASE, (key + 1) * PER_LEASE) for key in range(n_leases))
        self.seen: list[int] = []
        self.reached: dict[int, int] = {}

    def next_lease(self) -> CountLease | None:
        return self.leases.take()

    def progressed(self, payload: tuple[int, int]) -> None:
        key, number = payload
        self.seen.append(number)
        self.reached[key] = number + 1

    def returned(self, lease: CountLease, rest: CountLease | None) -> None:
        if rest is None:
            self.leases.finish(lease.key)
        else:
            self.leases.give_back(rest)

    def lost(self, lease: CountLease, why: str) -> None:
        assert "was killed" in why
        assert not self.leases.count_death(lease.key)
        self.leases.give_back(CountLease(7, lease.key, self.reached.get(lease.key, lease.low), lease.high))


async def test_a_kind_of_work_that_a_test_registers_is_done_by_real_workers_also_when_one_dies(tmp_path: Path) -> None:
    fork_server.warm_up([tmp_path])
    events: list[Event] = []
    cluster = OwnCluster(LocalCrew, {"page_size": 100, "throttle": 0}, events.append)
    cluster.start_with(WorkerStart("run", "", "", "plain"))
    job = CountingJob(n_leases=6, dies_at=PER_LEASE + 10)
    cluster.add(job)
    try:
        cluster.resize(2)
        await cluster.until(lambda: job.leases.is_finished)
    finally:
        await cluster.stop()
    assert sorted(job.seen) == list(range(6 * PER_LEASE))
    assert [event.what for event in events if isinstance(event, WorkerChanged)].count("died") == 1
    assert not [event for event in events if isinstance(event, ProblemReported)]
