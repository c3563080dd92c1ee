"""A supervisor over a crew without processes: who gets what, and what becomes of the leases of members that leave."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace

from engine.cluster.crew import CrewEvents, Ended
from engine.cluster.supervisor import Supervisor
from engine.work.messages import (
    Abort,
    Connected,
    CopyLease,
    CopyTask,
    Failed,
    Lease,
    NewLease,
    NewTasks,
    Problem,
    Progress,
    Ready,
    Retire,
    Returned,
    Task,
    ToWorker,
    Tune,
    Yield,
)
from tests.crew import FakeCrew, FakeMember

KILLED = Ended("was killed", -9)
OUT_OF_REACH = Ended("is out of reach", None, certain=False)


def lease(number: int) -> CopyLease:
    return CopyLease(1, number, 0, None, True, None)


class Direction:
    """Hands out leases in order, and keeps what is told."""

    def __init__(self, *leases: Lease) -> None:
        self.waiting = deque(leases)
        self.lost_leases: list[tuple[Lease, str]] = []
        self.taken: list[tuple[Lease, str]] = []
        """Leases of workers whose hosts were taken away."""
        self.changes: list[tuple[int, str]] = []
        self.ended_backends: list[int] = []
        self.answers: list[Returned | Failed] = []

    def next_lease(self) -> Lease | None:
        return self.waiting.popleft() if self.waiting else None

    def task(self, task_id: int) -> Task:
        raise NotImplementedError

    def progressed(self, task_id: int, payload: object) -> None:
        pass

    def returned(self, message: Returned) -> None:
        self.answers.append(message)

    def failed(self, message: Failed) -> None:
        self.answers.append(message)

    def goes_on_without(self, message: Failed, size: int) -> bool:
        self.waiting.appendleft(message.lease)
        return True

    def lost(self, lease: Lease, why: str) -> None:
        self.lost_leases.append((lease, why))

    def taken_away(self, lease: Lease, why: str) -> None:
        self.taken.append((lease, why))

    def goes_on_elsewhere(self, message: Failed, host: str) -> bool:
        self.waiting.appendleft(message.lease)
        return True

    def noticed(self, problem: Problem, *, is_retry: bool = True) -> None:
        pass

    def worker_changed(self, worker_id: int, pid: int, what: str, exit_code: int | None, host: str) -> None:
        self.changes.append((worker_id, what))

    def shrunk(self, size: int) -> None:
        pass

    def cannot_start(self, error: Exception) -> None:
        raise error

    def settled(self) -> None:
        pass

    async def end_backend(self, backend_pid: int) -> None:
        self.ended_backends.append(backend_pid)


class Cluster:
    """A supervisor with members that are ready."""

    def __init__(self, size: int, *leases: Lease, end_backend_s: float = 1.0) -> None:
        self.direction = Direction(*leases)
        self.direction.task = lambda task_id: TASK  # type: ignore[method-assign]
        self.supervisor = Supervisor(
            self._make_crew, self.direction, page_size=100, throttle=0, end_backend_s=end_backend_s
        )
        self.supervisor.resize(size)
        self.crew.all_ready()

    def _make_crew(self, events: CrewEvents) -> FakeCrew:
        self.crew = FakeCrew(events)
        return self.crew

    @property
    def members(self) -> list[FakeMember]:
        return [self.crew.members[number] for number in sorted(self.crew.members)]


TASK = CopyTask("run", 1, "shop", "users", "public", "users", mapping=None, mode="create", has_range_reads=True)  # type: ignore[arg-type]


def kinds(messages: list[ToWorker]) -> list[type]:
    return [type(message) for message in messages if not isinstance(message, Tune)]


async def test_a_worker_is_told_of_a_task_once_and_gets_a_lease_when_it_is_idle() -> None:
    cluster = Cluster(1, lease(0), lease(1))
    (member,) = cluster.members
    assert kinds(member.sent) == [NewTasks, NewLease]
    member.say(Returned(lease(0), finished=True))
    assert kinds(member.sent) == [NewTasks, NewLease, NewLease]
    cluster.supervisor.forget_tasks()
    cluster.direction.waiting.append(lease(2))
    member.say(Returned(lease(1), finished=True))
    assert kinds(member.sent)[3:] == [NewTasks, NewLease]


async def test_the_first_workers_wait_for_the_others() -> None:
    direction = Direction(lease(0), lease(1))
    crews: list[FakeCrew] = []

    def make_crew(events: CrewEvents) -> FakeCrew:
        crews.append(FakeCrew(events))
        return crews[0]

    direction.task = lambda task_id: TASK  # type: ignore[method-assign]
    supervisor = Supervisor(make_crew, direction, page_size=100, throttle=0)
    supervisor.resize(2)
    first, second = crews[0].members.values()
    first.say(Ready(first.pid, "plain"))
    assert kinds(first.sent) == []
    second.say(Ready(second.pid, "plain"))
    assert (kinds(first.sent), kinds(second.sent)) == ([NewTasks, NewLease], [NewTasks, NewLease])


async def test_the_lease_of_a_member_that_is_dead_is_lost_at_once_and_another_member_is_started() -> None:
    cluster = Cluster(2, lease(0), lease(1))
    first, second = cluster.members
    first.say(Connected(71))
    first.leave(KILLED)
    assert cluster.direction.lost_leases == [(lease(0), "was killed")]
    assert cluster.direction.ended_backends == []
    assert len(cluster.members) == 2
    assert second in cluster.members


async def test_the_session_of_a_member_out_of_reach_is_ended_before_its_lease_is_lost() -> None:
    cluster = Cluster(1, lease(0))
    (member,) = cluster.members
    member.say(Connected(71))
    member.leave(OUT_OF_REACH)
    assert cluster.direction.lost_leases == []
    assert not cluster.supervisor.is_quiet
    while not cluster.direction.lost_leases:
        await asyncio.sleep(0)
    assert cluster.direction.ended_backends == [71]
    assert cluster.direction.lost_leases == [(lease(0), "is out of reach")]
    await asyncio.sleep(0)
    assert cluster.supervisor.is_quiet


async def test_where_the_target_does_not_answer_the_fence_decides_about_a_member_out_of_reach() -> None:
    cluster = Cluster(1, lease(0), end_backend_s=0.01)

    async def away(backend_pid: int) -> None:
        await asyncio.sleep(60)

    cluster.direction.end_backend = away  # type: ignore[method-assign]
    (member,) = cluster.members
    member.say(Connected(71))
    member.leave(OUT_OF_REACH)
    while not cluster.direction.lost_leases:
        await asyncio.sleep(0.001)
    assert cluster.direction.lost_leases == [(lease(0), "is out of reach")]


async def test_a_member_out_of_reach_without_a_session_commits_nothing_that_the_fence_does_not_count() -> None:
    cluster = Cluster(2, lease(0), lease(1))
    first, second = cluster.members
    first.leave(OUT_OF_REACH)
    assert cluster.direction.lost_leases == [(lease(0), "is out of reach")]
    assert cluster.direction.ended_backends == []
    assert kinds(second.sent) == [NewTasks, NewLease]
    assert len(cluster.members) == 2


async def test_three_deaths_before_a_worker_is_ready_one_after_the_other_are_enough() -> None:
    cluster = Cluster(1)
    for number in range(4):
        (member,) = cluster.members if cluster.members else (None,)
        if member is None:
            break
        member.leave(KILLED)
        assert cluster.supervisor.is_hopeless is (number == 3)
    assert cluster.members == []


async def test_members_that_die_together_before_they_are_ready_count_once() -> None:
    cluster = Cluster(1)
    cluster.supervisor.resize(4)
    for member in cluster.members[1:]:
        member.leave(KILLED)
    assert not cluster.supervisor.is_hopeless


async def test_a_smaller_cluster_lets_idle_workers_go_first() -> None:
    cluster = Cluster(2, lease(0))
    busy, idle = cluster.members
    cluster.supervisor.resize(1)
    assert kinds(idle.sent) == [Retire]
    assert kinds(busy.sent) == [NewTasks, NewLease]
    idle.leave(Ended("ended with exit code 0", 0))
    assert (2, "retired") in cluster.direction.changes
    cluster.supervisor.resize(0)
    assert kinds(busy.sent)[-1] is Yield


async def test_what_a_worker_is_asked_in_a_pause_and_in_a_stop() -> None:
    cluster = Cluster(1, lease(0), lease(1))
    (member,) = cluster.members
    cluster.supervisor.hold()
    cluster.supervisor.hold()
    assert kinds(member.sent)[2:] == [Yield]
    member.say(Returned(lease(0), finished=False, rest=lease(0)))
    assert cluster.supervisor.is_quiet
    cluster.supervisor.release()
    assert kinds(member.sent)[3:] == [NewLease]
    cluster.supervisor.abort()
    assert kinds(member.sent)[4:] == [Abort]


async def test_the_holder_of_a_lease_is_found_by_any_rest_of_it() -> None:
    cluster = Cluster(2, lease(0), lease(1))
    first, second = cluster.members
    assert cluster.supervisor.recall(replace(lease(1), slice_no=7))
    assert not cluster.supervisor.recall(lease(2))
    assert (kinds(first.sent)[-1], kinds(second.sent)[-1]) == (NewLease, Yield)


async def test_a_worker_that_a_server_refuses_leaves_its_lease_to_those_that_are_connected() -> None:
    cluster = Cluster(2, lease(0), lease(1))
    first, second = cluster.members
    first.say(Connected(71))
    second.say(Failed(lease(1), "28P01", "password authentication failed", fatal=True, is_refused=True))
    assert kinds(second.sent)[-1] is Retire
    assert list(cluster.direction.waiting) == [lease(1)]
    assert cluster.direction.answers == []


async def test_progress_is_counted_from_the_last_report_on() -> None:
    cluster = Cluster(1, lease(0))
    (member,) = cluster.members
    member.sample = replace(member.sample, sent=500)
    (worker,) = cluster.supervisor.workers
    assert worker.uncommitted == 500
    member.say(Progress(1, payload=None))
    assert worker.uncommitted == 0


async def test_workers_that_there_is_no_room_for_take_nothing_of_the_throttle() -> None:
    cluster = Cluster(1, lease(0), lease(1), lease(2))
    cluster.crew.capacity = 2
    cluster.supervisor.tune(100, 400)
    cluster.supervisor.resize(4)
    assert len(cluster.members) == 2
    for member in cluster.members:
        told = [message for message in member.sent if isinstance(message, Tune)]
        assert told[-1] == Tune(100, 200.0)
