"""The supervisor ends workers that hang, whatever the target says to that."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import asyncpg
import pytest

from engine.cluster.crew import CrewEvents
from engine.cluster.supervisor import HEARTBEAT_LIMIT_S, Supervisor
from engine.errors import ConnectError
from engine.work.messages import Connected, Problem
from tests.crew import NOTHING_YET, FakeCrew, FakeMember


class Direction:
    """Whose target answers as told."""

    def __init__(self, answer: Exception | None = None) -> None:
        self.ended: list[int] = []
        self.problems: list[Problem] = []
        self._answer = answer

    async def end_backend(self, backend_pid: int) -> None:
        self.ended.append(backend_pid)
        if self._answer is not None:
            raise self._answer
        await asyncio.Event().wait()

    def noticed(self, problem: Problem, *, is_retry: bool = True) -> None:
        self.problems.append(problem)

    def settled(self) -> None:
        pass


class Cluster:
    """A supervisor over members that are still being started."""

    def __init__(self, direction: Direction, size: int) -> None:
        self.supervisor = Supervisor(
            self._make_crew, cast(Any, direction), page_size=100, throttle=0, end_backend_s=0.05
        )
        self.supervisor.resize(size)

    def _make_crew(self, events: CrewEvents) -> FakeCrew:
        self.crew = FakeCrew(events)
        return self.crew

    @property
    def members(self) -> list[FakeMember]:
        return list(self.crew.members.values())


def silent(member: FakeMember, seconds: float = HEARTBEAT_LIMIT_S + 1) -> None:
    member.sample = replace(NOTHING_YET, silent_s=seconds)


@pytest.mark.parametrize(
    "answer", [ConnectError("PostgreSQL is away."), asyncpg.InsufficientPrivilegeError("no"), OSError(), None]
)
async def test_a_target_that_does_not_end_the_session_saves_no_worker(answer: Exception | None) -> None:
    direction = Direction(answer)
    cluster = Cluster(direction, 3)
    first, second, busy = cluster.members
    first.say(Connected(71))
    second.say(Connected(72))
    silent(first)
    silent(second)
    silent(busy, 1.0)
    await cluster.supervisor.check_heartbeats()
    assert (first.was_ended, second.was_ended, busy.was_ended) == (True, True, False)
    assert direction.ended == [71, 72]
    assert [problem.code for problem in direction.problems] == ["worker_hung"] * 2


async def test_a_worker_that_hangs_before_it_is_ready_is_ended() -> None:
    cluster = Cluster(Direction(), 1)
    silent(cluster.members[0])
    await cluster.supervisor.check_heartbeats()
    assert cluster.members[0].was_ended
