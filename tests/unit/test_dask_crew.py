"""A crew on a Dask cluster that the test plays: what is told when hosts cannot have workers, and when it is given up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
import pytest_asyncio

from engine.cluster.crew import Ended, Member
from engine.errors import ConnectError, MigrationError
from engine.work.context import WorkerStart
from engine.work.frames import joined
from engine.work.messages import FromWorker
from tests.running import eventually

pytest.importorskip("distributed", reason="the extra dask is not installed")
from engine import __version__
from engine.cluster import dask_crew
from engine.cluster.dask_agent import take
from engine.cluster.dask_crew import MOST_ENDS, DaskCrew
from engine.work.frames import FORMAT

WITHIN_S = 20.0


class Task(asyncio.Future[None]):
    """What Dask gives for a task."""

    status = "pending"

    def release(self) -> None:
        """It is not waited for."""


class Dask:
    """A client of Dask whose host processes end as soon as they are started."""

    def __init__(self, **threads: int) -> None:
        self.threads = {f"tls://{name}:1": n for name, n in threads.items()}
        self.healthy: set[str] = set()
        """Workers of Dask whose host processes live."""
        self.busy: set[str] = set()
        """Those that start no agent."""
        self.closing: set[str] = set()
        """Those that are about to close."""
        self.retired: set[str] = set()
        """Those that were taken away as Dask was told to."""
        self.versions: dict[str, str] = {}
        """Of this program, where it is another one than here."""
        self.starts: dict[str, int] = {}
        """How many host processes were started on each."""
        self._tasks: dict[str, list[Task]] = {}
        self._ended: dict[str, int] = {}

    async def nthreads(self) -> dict[str, int]:
        return dict(self.threads)

    def submit(self, agent: object, session: str, *, workers: list[str], **options: object) -> Task:
        (address,) = workers
        task = Task()
        tasks = self._tasks.setdefault(address, [])
        if not any(not each.done() for each in tasks) and address not in self.busy:
            self.starts[address] = self.starts.get(address, 0) + 1
        tasks.append(task)
        return task

    async def run(self, function: object, *arguments: Any, workers: list[str]) -> dict[str, Any]:
        (address,) = workers
        await asyncio.sleep(0.001)
        if function is not take or not self.starts.get(address):
            return {address: b""}
        number = self.starts[address]
        has_ended = address not in self.healthy or self._ended.get(address) == number
        slots = sum(not task.done() for task in self._tasks[address])
        if has_ended and self._ended.get(address) != number:
            self._ended[address] = number
            for task in self._tasks[address]:
                if not task.done():
                    task.set_result(None)
        facts = {
            "relay": str(number),
            "slots": slots,
            "ended": has_ended,
            "version": self.versions.get(address, __version__),
            "format": FORMAT,
            "exit": None if address in self.closing else 3,
            "leaving": address in self.closing,
        }
        return {address: joined([json.dumps(facts).encode()])}

    async def get_events(self, topic: str) -> list[tuple[float, object]]:
        return [(1.0, {"action": "add-worker"}), (2.0, {"action": "remove-worker", "expected": topic in self.retired})]


class Site:
    """The place of a played cluster."""

    is_private = True
    words = "the Dask scheduler"

    def __init__(self, dask: Dask) -> None:
        self._dask = dask
        self.has_ended = False

    async def client(self) -> Dask:
        return self._dask

    def saw(self, workers: object) -> None:
        pass

    def hosts_for(self, members: int, slots: list[int]) -> int:
        return 0

    def check_alive(self) -> None:
        if self.has_ended:
            raise ConnectError("The Dask cluster that was started on this host has ended.")


class Told:
    """What a crew tells its supervisor."""

    def __init__(self) -> None:
        self.problems: list[tuple[str, str, bool]] = []
        self.failures: list[Exception] = []
        self.ends: list[tuple[int, str]] = []
        """Members that were told to leave, and that have left."""

    def joined(self, member: Member) -> None:
        pass

    def said(self, member: Member, message: FromWorker) -> None:
        pass

    def leaving(self, member: Member) -> None:
        self.ends.append((member.id, "leaving"))

    def left(self, member: Member, how: Ended) -> None:
        self.ends.append((member.id, "left"))

    def never_joined(self, member: Member) -> None:
        pass

    def cannot_start(self, error: Exception) -> None:
        self.failures.append(error)

    def noticed(self, code: str, message: str, *, is_retry: bool = True) -> None:
        self.problems.append((code, message, is_retry))


class Played:
    """A crew that wants two workers on such a cluster."""

    def __init__(self, dask: Dask) -> None:
        self.told, self.site = Told(), Site(dask)
        self.crew = DaskCrew(self.told, cast(Any, self.site))
        self.crew.start_with(WorkerStart("run", "", "", "auto"))
        self.crew.want(2)

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for something."""
        await eventually(holds, WITHIN_S, lambda: (self.told.problems, self.told.failures, self.crew.hosts))


Play = Callable[[Dask], Played]


@pytest_asyncio.fixture
async def play(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Play]:
    """Makes crews, whose times are short."""
    for name in ("LOOK_EVERY_S", "FIRST_REST_S", "AGENT_START_S"):
        monkeypatch.setattr(dask_crew, name, 0.01)
    monkeypatch.setattr(dask_crew, "ROOM_TOLD_S", 0.0)
    made: list[Played] = []

    def begin(dask: Dask) -> Played:
        made.append(Played(dask))
        return made[-1]

    yield begin
    for each in made:
        await each.crew.close()


async def test_a_host_process_that_ends_again_and_again_is_given_up(play: Play) -> None:
    dask = Dask(a=2, b=1)
    dask.healthy.add("tls://b:1")
    played = play(dask)
    await played.until(lambda: any(host.problem for host in played.crew.hosts))
    assert dask.starts["tls://a:1"] == MOST_ENDS
    (problem,) = [host.problem for host in played.crew.hosts if host.problem]
    assert problem.startswith(f"its host process ended {MOST_ENDS} times with exit code 3 before a worker was ready")
    assert played.told.failures == []
    await played.until(lambda: sum(host.members for host in played.crew.hosts) == 1)
    assert dask.starts["tls://a:1"] == MOST_ENDS


async def test_when_none_is_left_the_work_ends_with_the_reason(play: Play) -> None:
    played = play(Dask(a=2))
    await played.until(lambda: played.told.failures)
    (failure,) = played.told.failures
    assert isinstance(failure, MigrationError)
    assert failure.exit_code == 2
    assert "its host process ended" in failure.message


async def test_a_host_with_another_version_takes_no_part_and_the_others_go_on(play: Play) -> None:
    dask = Dask(a=2, b=2)
    dask.healthy.update(dask.threads)
    dask.versions["tls://b:1"] = "0.0.9"
    played = play(dask)
    problems = {"a:1": "", "b:1": f"it has mongopg-tui 0.0.9, and this is {__version__}"}
    await played.until(lambda: {host.name: host.problem for host in played.crew.hosts} == problems)
    await played.until(lambda: by_host(played) == {"a:1": 2, "b:1": 0})
    assert played.told.failures == []


async def test_workers_are_spread_evenly_over_the_room_that_there_is_and_that_comes(play: Play) -> None:
    dask = Dask(a=2, b=4)
    dask.healthy.update(["tls://a:1", "tls://b:1", "tls://c:1"])
    played = play(dask)
    for wanted, members in ((3, {"a:1": 1, "b:1": 2}), (6, {"a:1": 2, "b:1": 4})):
        played.crew.want(wanted)
        await until_spread(played, members)
    played.crew.want(8)
    lack = "8 workers are wanted and the Dask cluster has 6 slots: more are used as they come."
    await played.until(lambda: ("slots", lack, False) in played.told.problems)
    assert by_host(played) == {"a:1": 2, "b:1": 4}
    dask.threads["tls://c:1"] = 4
    await until_spread(played, {"a:1": 2, "b:1": 4, "c:1": 2})


async def test_a_host_that_is_refused_for_a_while_is_used_again(play: Play) -> None:
    dask = Dask(a=2)
    dask.healthy.add("tls://a:1")
    played = play(dask)
    await played.until(lambda: sum(host.members for host in played.crew.hosts) == 2)
    (host,) = played.crew.hosts
    played.crew.refuse(host.name, "MongoDB at db1 does not answer.", 0.05)
    (host,) = played.crew.hosts
    assert (host.problem, host.is_tried_again) == ("MongoDB at db1 does not answer", True)
    await played.until(
        lambda: any("No host of the Dask cluster takes workers now" in each[1] for each in played.told.problems)
    )
    await played.until(lambda: not played.crew.hosts[0].problem)
    assert played.told.failures == []


async def test_what_keeps_a_run_from_going_on_is_told_and_is_no_retry(play: Play) -> None:
    dask = Dask()
    played = play(dask)
    await played.until(lambda: played.told.problems)
    assert played.told.problems[0] == (
        "slots", "The Dask cluster has no workers: the work goes on when one joins.", False,
    )  # fmt: skip
    dask.busy.add("tls://a:1")
    dask.threads["tls://a:1"] = 2
    await played.until(lambda: "runs other tasks on all of its threads" in played.told.problems[-1][1])
    assert not any(is_retry for _, _, is_retry in played.told.problems)


def members_of(played: Played) -> list[int]:
    """How many each host has."""
    return [*by_host(played).values()]


def by_host(played: Played) -> dict[str, int]:
    """How many members each host has."""
    return {host.name: host.members for host in played.crew.hosts}


async def until_spread(played: Played, members: dict[str, int]) -> None:
    await played.until(lambda: by_host(played) == members)


async def test_a_worker_of_dask_that_stays_after_all_is_used_again(play: Play) -> None:
    dask = Dask(a=2)
    dask.healthy.add("tls://a:1")
    played = play(dask)
    await played.until(lambda: members_of(played) == [2])
    dask.closing.add("tls://a:1")
    await played.until(lambda: [what for _, what in played.told.ends] == ["leaving"] * 2)
    dask.healthy.discard("tls://a:1")  # its host process has ended, and its members
    await played.until(lambda: members_of(played) == [0])
    dask.healthy.add("tls://a:1")
    assert dask.starts["tls://a:1"] == 1
    dask.closing.discard("tls://a:1")
    await played.until(lambda: members_of(played) == [2])
    assert dask.starts["tls://a:1"] == 2
    assert [message for _, message, is_retry in played.told.problems if not is_retry and " stays" in message]


@pytest.mark.parametrize("is_retired", [False, True])
async def test_whether_a_worker_of_dask_was_taken_away_or_lost_is_asked_of_the_scheduler(
    play: Play, is_retired: bool
) -> None:
    dask = Dask(a=2)
    dask.healthy.add("tls://a:1")
    played = play(dask)
    await played.until(lambda: members_of(played) == [2])
    dask.retired.update(["tls://a:1"] if is_retired else [])
    del dask.threads["tls://a:1"]
    await played.until(lambda: not played.crew.hosts)
    told = [what for _, what in played.told.ends]
    assert told == (["leaving", "leaving", "left", "left"] if is_retired else ["left", "left"])


async def test_a_lost_worker_of_dask_is_called_no_more_also_when_a_call_fails_as_it_is_cancelled(play: Play) -> None:
    address = "tls://a:1"
    dask = Dask(a=1)
    dask.healthy.add(address)
    played = play(dask)
    await played.until(lambda: members_of(played) == [1])
    is_called = asyncio.Event()

    async def swallow(function: object, *arguments: Any, workers: list[str]) -> dict[str, Any]:
        is_called.set()
        try:
            await asyncio.sleep(WITHIN_S)
        except asyncio.CancelledError:
            raise OSError from None
        return {}

    dask.run = swallow  # type: ignore[method-assign]
    async with asyncio.timeout(WITHIN_S):
        await is_called.wait()
    del dask.threads[address]
    await played.until(lambda: not played.crew.hosts)
    await played.until(lambda: not [task for task in asyncio.all_tasks() if task.get_name().endswith(address)])


async def test_a_call_that_fails_when_it_is_cancelled_keeps_no_crew_from_closing(play: Play) -> None:
    dask = Dask(a=1)
    played = play(dask)
    await played.until(lambda: played.crew.hosts)
    cancelled: list[None] = []
    is_called = asyncio.Event()

    async def swallow() -> dict[str, int]:
        is_called.set()
        try:
            await asyncio.sleep(WITHIN_S)
        except asyncio.CancelledError:
            cancelled.append(None)
            if len(cancelled) < 2:
                raise OSError from None
            raise
        return {}

    dask.nthreads = swallow  # type: ignore[method-assign]
    async with asyncio.timeout(WITHIN_S):
        await is_called.wait()
    await played.crew.close()
    assert len(cancelled) == 2


async def test_a_fault_of_the_crew_itself_has_a_code_of_its_own(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(workers: object) -> None:
        raise KeyError(workers)

    played = play(Dask(a=1))
    monkeypatch.setattr(played.site, "saw", fails)
    await played.until(lambda: played.told.failures)
    (failure,) = played.told.failures
    assert isinstance(failure, MigrationError)
    assert failure.code == "dask_internal"


async def test_a_cluster_of_this_host_that_has_ended_is_not_waited_for(play: Play) -> None:
    played = play(Dask())
    await played.until(lambda: played.told.problems)
    played.site.has_ended = True
    await played.until(lambda: played.told.failures)
    (failure,) = played.told.failures
    assert isinstance(failure, ConnectError)
