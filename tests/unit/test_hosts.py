"""A cluster of several hosts: each is asked what it has before its workers have leases, and front ends show it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from engine.cluster.crew import CrewEvents, Ended, Host
from engine.cluster.gates import ASK_AGAIN_S, SOON_S
from engine.cluster.host_views import host_views
from engine.cluster.host_watch import HostWatch
from engine.cluster.supervisor import MAX_EARLY_DEATHS, MAX_TRIES, Supervisor
from engine.errors import MigrationError, UsageError
from engine.protocol import HostView, RunState, Snapshot, WorkerState, WorkerView
from engine.work.context import WorkerStart
from engine.work.messages import (
    Connected,
    Failed,
    NewLease,
    NewTasks,
    Probe,
    Probed,
    Ready,
    Retire,
    Returned,
    SourceServer,
    ToWorker,
    Tune,
    Yield,
)
from tests.crew import FakeCrew, FakeMember
from tests.unit.test_supervisor import TASK, Direction, lease
from tui.words.sentences import host_words, status_text, workers_words

HERE = Probed("0.1.0", 1, "native", "3.12.1", 4, SourceServer("rs0", "65f", "p1"))
OTHER_SERVER = replace(HERE, source=SourceServer("rs0", "66a", "p9"))


def kinds(messages: list[ToWorker]) -> list[type]:
    return [type(message) for message in messages if not isinstance(message, Tune)]


class Remote(Direction):
    """Keeps what made the work fail."""

    def __init__(self, n_leases: int) -> None:
        super().__init__(*map(lease, range(n_leases)))
        self.failures: list[Exception] = []
        self.task = lambda task_id: TASK  # type: ignore[method-assign]

    def cannot_start(self, error: Exception) -> None:
        self.failures.append(error)


class Cluster:
    """A supervisor whose members are on other hosts, all of them ready."""

    def __init__(self, size: int, host_of: Callable[[int], str], here: list[Probed] | None = None) -> None:
        self.direction = Remote(size)
        self._looks = here if here is not None else [HERE]
        self._host_of = host_of
        self.supervisor = Supervisor(self._make_crew, self.direction, page_size=100, throttle=0, look=self._look)
        self.supervisor.resize(size)
        self.crew.hosts = [Host(name, name, 2, 0) for name in sorted({host_of(n) for n in range(1, size + 1)}) if name]
        self.crew.all_ready()

    def _make_crew(self, events: CrewEvents) -> FakeCrew:
        self.crew = FakeCrew(events)
        self.crew.host_of = self._host_of
        return self.crew

    async def _look(self, start: WorkerStart) -> Probed:
        await asyncio.sleep(0)
        return self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]

    @property
    def members(self) -> list[FakeMember]:
        return [self.crew.members[number] for number in sorted(self.crew.members)]

    def shows_refusals(self) -> None:
        """From now on the crew shows what it was told of its hosts, as crews do."""
        refuse = self.crew.refuse

        def refuse_and_show(host: str, problem: str, again_s: float | None = None) -> None:
            refuse(host, problem, again_s)
            self.crew.hosts = [
                replace(each, problem=problem, is_tried_again=again_s is not None) if each.name == host else each
                for each in self.crew.hosts
            ]

        self.crew.refuse = refuse_and_show  # type: ignore[method-assign]


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def by_parity(number: int) -> str:
    return "a" if number % 2 else "b"


async def test_one_worker_of_each_host_is_asked_and_none_has_a_lease_before_the_answer() -> None:
    cluster = Cluster(4, by_parity)
    assert [kinds(member.sent) for member in cluster.members] == [[Probe], [Probe], [], []]
    cluster.members[0].say(HERE)
    await settled()
    assert [kinds(member.sent) for member in cluster.members] == [
        [Probe, NewTasks, NewLease], [Probe], [NewTasks, NewLease], [],
    ]  # fmt: skip
    cluster.members[1].say(HERE)
    await settled()
    assert all(NewLease in kinds(member.sent) for member in cluster.members)


async def test_workers_of_this_host_are_not_asked() -> None:
    cluster = Cluster(2, lambda number: "")
    assert [kinds(member.sent) for member in cluster.members] == [[NewTasks, NewLease], [NewTasks, NewLease]]


async def test_a_host_that_reaches_another_server_takes_no_part_and_the_others_go_on() -> None:
    cluster = Cluster(4, by_parity)
    cluster.members[0].say(HERE)
    cluster.members[1].say(OTHER_SERVER)
    await settled()
    assert [kinds(member.sent)[-1] for member in cluster.members] == [NewLease, Retire, NewLease, Retire]
    assert list(cluster.crew.refused) == ["b"]
    assert "another MongoDB" in cluster.crew.refused["b"]
    assert cluster.direction.failures == []


async def test_a_worker_that_starts_on_a_refused_host_leaves() -> None:
    cluster = Cluster(2, by_parity)
    cluster.members[0].say(HERE)
    cluster.members[1].say(OTHER_SERVER)
    await settled()
    cluster.supervisor.resize(4)
    late = cluster.crew.members[4]
    late.say(Ready(late.pid, "native"))
    assert kinds(late.sent) == [Retire]


async def test_a_cluster_of_refused_hosts_fails_with_their_reasons() -> None:
    cluster = Cluster(2, by_parity)
    cluster.shows_refusals()
    cluster.members[0].say(replace(HERE, problem="MongoDB at db1:27017 does not answer."))
    await settled()
    assert cluster.direction.failures == []
    cluster.members[1].say(OTHER_SERVER)
    await settled()
    (failure,) = cluster.direction.failures
    assert isinstance(failure, UsageError)
    assert isinstance(failure, MigrationError)
    assert failure.exit_code == 2
    for part in ("No host of the cluster can take part.", "host a: MongoDB at db1:27017 does not answer.", "host b: "):
        assert part in failure.message


async def test_when_the_worker_that_was_asked_dies_another_is_asked() -> None:
    cluster = Cluster(2, lambda number: "a")
    first, second = cluster.members
    first.leave(Ended("was killed", -9))
    assert kinds(second.sent) == [Probe]
    third = cluster.crew.members[3]
    third.say(Ready(third.pid, "native"))
    second.say(HERE)
    await settled()
    assert NewLease in kinds(second.sent)


async def test_a_host_that_comes_back_is_asked_again() -> None:
    cluster = Cluster(1, lambda number: "a")
    (first,) = cluster.members
    first.say(HERE)
    await settled()
    first.leave(Ended("is out of reach", None, certain=False))
    (second,) = cluster.members
    second.say(Ready(second.pid, "native"))
    assert kinds(second.sent) == [Probe]


AWAY = replace(HERE, source=None, problem="MongoDB at db1:27017 does not answer.", is_away=True)


async def test_a_host_that_cannot_reach_a_server_is_asked_again_and_the_others_go_on() -> None:
    cluster = Cluster(2, by_parity)
    cluster.shows_refusals()
    first, second = cluster.members
    first.say(HERE)
    second.say(AWAY)
    await settled()
    assert (kinds(first.sent)[-1], kinds(second.sent)) == (NewLease, [Probe, Retire])
    assert cluster.crew.again_s == {"b": SOON_S}
    second.leave(Ended("has retired", 0))
    assert cluster.direction.failures == []
    late = cluster.crew.members[3]  # started when the crew tries the host again
    late.host = "b"
    late.say(Ready(late.pid, "native"))
    assert kinds(late.sent) == [Probe]
    late.say(HERE)
    await settled()
    assert kinds(late.sent)[-1] is not Retire


async def test_this_host_looks_while_the_other_one_does_and_again_before_one_is_refused() -> None:
    looks = [OTHER_SERVER, HERE]
    cluster = Cluster(1, lambda number: "a", looks)
    (member,) = cluster.members
    assert kinds(member.sent) == [Probe]
    while len(looks) > 1:
        await asyncio.sleep(0)
    member.say(HERE)  # the server is another one than it was when this host looked
    while NewLease not in kinds(member.sent):
        await asyncio.sleep(0)
    assert cluster.crew.refused == {}


async def test_a_server_that_was_away_for_the_engine_too_is_looked_at_soon() -> None:
    cluster = Cluster(1, lambda number: "a", [replace(HERE, problem="MongoDB is away."), HERE])
    (member,) = cluster.members
    member.say(AWAY)
    while not cluster.crew.again_s:
        await asyncio.sleep(0.01)
    assert cluster.crew.again_s == {"a": SOON_S}


async def test_hosts_that_never_reached_a_server_end_the_work_soon() -> None:
    cluster = Cluster(1, lambda number: "a")
    cluster.shows_refusals()
    cluster.members[0].say(AWAY)
    await settled()
    assert cluster.direction.failures == []
    cluster.members[0].leave(Ended("has retired", 0))
    (again,) = cluster.members
    again.say(Ready(again.pid, "native"))
    again.say(AWAY)
    await settled()
    (failure,) = cluster.direction.failures
    assert isinstance(failure, UsageError)
    assert "host a: MongoDB at db1:27017 does not answer." in failure.message


async def test_hosts_that_reached_it_before_are_waited_for_and_not_for_ever() -> None:
    cluster = Cluster(1, lambda number: "a")
    cluster.shows_refusals()
    (member,) = cluster.members
    member.say(HERE)
    await settled()
    n_asked = 0
    while not cluster.direction.failures:
        member.leave(Ended("has retired", 0))
        (member,) = cluster.members
        member.say(Ready(member.pid, "native"))
        member.say(AWAY)
        await settled()
        n_asked += 1
        assert n_asked <= MAX_TRIES
    assert n_asked == MAX_TRIES
    assert cluster.direction.failures[0].exit_code == 3  # type: ignore[attr-defined]


async def test_a_host_whose_workers_cannot_live_takes_no_part_and_the_others_go_on() -> None:
    cluster = Cluster(4, by_parity)
    cluster.shows_refusals()
    cluster.members[0].say(HERE)
    cluster.members[1].say(HERE)
    await settled()
    cluster.crew.host_of = lambda number: "b"
    cluster.members[1].leave(Ended("was killed", -9))
    for number in range(5, 5 + MAX_EARLY_DEATHS):
        cluster.crew.members[number].leave(Ended("exited", 127))
    assert cluster.crew.refused == {
        "b": "worker processes end with exit code 127 before they are ready; its log there says why"
    }
    assert not cluster.supervisor.is_hopeless
    assert cluster.direction.failures == []
    others = [member for member in cluster.members if member.host == "a"]
    assert all(Retire not in kinds(member.sent) for member in others)


async def test_a_host_that_loses_its_way_to_a_server_gives_its_work_to_the_others() -> None:
    cluster = Cluster(2, by_parity)
    cluster.shows_refusals()
    first, second = cluster.members
    for member in (first, second):
        member.say(HERE)
    await settled()
    lost = next(message.lease for message in second.sent if isinstance(message, NewLease))
    second.say(Failed(lost, "connect", "PostgreSQL at db2 does not answer.", fatal=True, is_unreachable=True))
    assert cluster.direction.answers == []
    assert list(cluster.direction.waiting) == [lost]
    assert cluster.crew.again_s == {"b": ASK_AGAIN_S}
    assert kinds(second.sent)[-1] is Retire
    last = next(message.lease for message in first.sent if isinstance(message, NewLease))
    failure = Failed(last, "connect", "PostgreSQL at db2 does not answer.", fatal=True, is_unreachable=True)
    first.say(failure)
    assert cluster.direction.answers == [failure]  # it is away for all of them


async def test_what_a_server_says_of_a_lock_is_no_fault_of_the_host_that_heard_it() -> None:
    cluster = Cluster(2, by_parity)
    for member in cluster.members:
        member.say(HERE)
    await settled()
    second = cluster.members[1]
    held = next(message.lease for message in second.sent if isinstance(message, NewLease))
    failure = Failed(
        held, "55P03", "PostgreSQL says: canceling statement due to lock timeout.", fatal=True, is_away=True
    )
    second.say(failure)
    assert cluster.direction.answers == [failure]
    assert cluster.crew.again_s == {}


async def test_nothing_is_judged_while_this_host_cannot_reach_a_server(monkeypatch: object) -> None:
    is_away = replace(HERE, problem="MongoDB is away.")
    cluster = Cluster(1, lambda number: "a", [is_away, is_away, HERE])
    (member,) = cluster.members
    member.say(HERE)
    await settled()
    assert kinds(member.sent) == [Probe]
    assert cluster.crew.refused == {}
    while NewLease not in kinds(member.sent):
        await asyncio.sleep(0.01)


async def test_workers_of_a_host_that_is_taken_away_finish_what_they_have_and_others_are_started() -> None:
    cluster = Cluster(2, by_parity)
    first, second = cluster.members
    for member in (first, second):
        member.say(HERE)
    await settled()
    held = next(message.lease for message in second.sent if isinstance(message, NewLease))
    cluster.crew.events.leaving(second)
    assert kinds(second.sent)[-1] is Yield
    assert len(cluster.crew.members) == 3
    cluster.supervisor.resize(3)
    assert cluster.supervisor.n_draining == 1  # it goes, whatever size is wanted
    second.say(Returned(held, finished=False, rest=held))
    assert kinds(second.sent)[-1] is Retire
    second.leave(Ended("has retired", 0))
    assert (2, "retired") in cluster.direction.changes
    assert cluster.direction.lost_leases == []


@pytest.mark.parametrize(
    ("how", "what", "is_a_death"),
    [
        (Ended("was on a host process that has ended", None, certain=False), "retired", False),
        (Ended("ended with exit code 0", 0), "retired", False),  # it had retired before its lease arrived
        (Ended("was killed", -9), "died", True),
    ],
    ids=["silent", "retired", "killed"],
)
async def test_a_worker_whose_host_was_taken_away_before_it_had_finished_has_not_died(
    how: Ended, what: str, is_a_death: bool
) -> None:
    cluster = Cluster(2, by_parity)
    first, second = cluster.members
    for member in (first, second):
        member.say(HERE)
    await settled()
    held = next(message.lease for message in second.sent if isinstance(message, NewLease))
    second.say(Connected(72))
    cluster.crew.events.leaving(second)
    second.leave(how)
    await settled()
    assert (2, what) in cluster.direction.changes
    assert cluster.direction.ended_backends == ([] if how.certain else [72])
    known = [(held, how.message)]
    assert cluster.direction.lost_leases == (known if is_a_death else [])
    assert cluster.direction.taken == ([] if is_a_death else known)


def test_hosts_join_are_refused_and_leave() -> None:
    watch = HostWatch()
    unknown = Host("tls://10.0.0.7:3217", "tls://10.0.0.7:3217", 8, 0)
    node = Host("node7", unknown.address, 8, 0, version="0.1.0")
    assert list(watch.look([unknown])) == []
    told = [
        [(event.host, event.what, event.slots, event.message) for event in watch.look(hosts)]
        for hosts in ([node], [node], [replace(node, problem="no.")], [replace(node, problem="no.")], [node], [])
    ]
    assert told == [
        [("node7", "joined", 8, "")],
        [],
        [("node7", "refused", 8, "no.")],
        [],
        [("node7", "joined", 8, "")],
        [("node7", "left", 0, "")],
    ]


def worker(number: int, host: str, state: WorkerState = WorkerState.WRITING) -> WorkerView:
    return WorkerView(id=number, pid=number, state=state, host=host, rows_per_s=10.0 * number, written=100 * number)


def test_a_host_is_shown_with_what_its_workers_do_together() -> None:
    node = Host("b", "tls://b:1", 4, 2, round_trip_s=0.0021, cores=4, load=1.5, version="0.1.0")
    views = host_views([node], [worker(1, "a"), worker(2, "b"), worker(3, "b", WorkerState.IDLE), worker(4, "")])
    assert [(view.name, view.workers, view.busy, view.rows_per_s, view.written) for view in views] == [
        ("a", 1, 1, 10.0, 100), ("b", 2, 1, 50.0, 500),
    ]  # fmt: skip
    assert (views[0].slots, views[0].round_trip_ms, views[0].load) == (0, None, None)
    assert (views[1].slots, views[1].round_trip_ms, views[1].load, views[1].cores) == (4, 2.1, 1.5, 4)
    assert host_views([], [worker(1, "")]) == []


def snapshot(*hosts: HostView, size: int) -> Snapshot:
    workers = [worker(1, "a"), worker(2, "b")]
    return Snapshot(
        run_id="r", state=RunState.RUNNING, phase="copying", hosts=list(hosts), workers=workers, workers_alive=2,
        cluster_size=size,
    )  # fmt: skip


def test_words_for_hosts() -> None:
    a = HostView(name="a", workers=3, busy=2, slots=8, round_trip_ms=2.14, load=3.2, cores=4, version="0.1.0")
    refused = HostView(name="b", slots=8, problem="mongopg-tui is not installed there.")
    assert host_words(a) == "3/8 workers, 1 idle · 2.1 ms · load 3.2/4 · 0.1.0"
    assert host_words(a, with_version=False, is_short=True) == "3/8, 1 idle · 2.1 ms · load 3.2/4"
    assert host_words(HostView(name="c", workers=2, busy=2)) == "2 workers"
    assert host_words(refused) == "! mongopg-tui is not installed there."
    assert workers_words(snapshot(a, refused, size=2)) == "workers 2 on 1 host"
    assert workers_words(snapshot(a, size=24)) == "workers 2 → 24 on 1 host, 8 slots"
    assert workers_words(snapshot(size=2)) == "workers 2"
    leaving = snapshot(size=4).model_copy(update={"state": RunState.FINISHING})
    assert workers_words(leaving) == "workers 2", "none is to come"
    asked = snapshot(a, size=24).model_copy(update={"hosts_wanted": 3})
    assert workers_words(asked) == "workers 2 → 24 on 1 → 3 hosts, 8 slots"
    text = status_text(snapshot(a, refused, size=2))
    assert "! mongopg-tui is not installed there." in text
    assert text.splitlines()[-1].rstrip().endswith(" b")
