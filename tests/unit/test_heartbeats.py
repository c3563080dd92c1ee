"""The supervisor ends workers that hang, whatever the target says to that."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import asyncpg
import pytest

from engine.cluster import supervisor as supervisor_module
from engine.cluster.supervisor import HEARTBEAT_LIMIT_S, Supervisor
from engine.errors import ConnectError
from engine.work.context import WorkerStart
from engine.work.messages import Problem


class Hanging:
    """Stands for a worker process that gives no sign any more."""

    def __init__(self, number: int, *, backend_pid: int = 0, silent_s: float = HEARTBEAT_LIMIT_S + 1) -> None:
        self.id, self.pid, self.backend_pid, self.silent_s = number, 1_000 + number, backend_pid, silent_s
        self.is_ready = False
        self.is_gone = self.was_killed = False

    def kill(self) -> None:
        self.was_killed = True


class Director:
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

    def cannot_start(self, error: Exception) -> None:
        raise error

    def noticed(self, problem: Problem) -> None:
        self.problems.append(problem)


def over(director: Director, *workers: Hanging) -> Supervisor:
    supervisor = Supervisor(WorkerStart("run", "", "", "plain"), cast(Any, director), page_size=100, throttle=0)
    for worker in workers:
        supervisor._recruiting.workers[worker.id] = cast(Any, worker)
    return supervisor


@pytest.mark.parametrize(
    "answer", [ConnectError("PostgreSQL is away."), asyncpg.InsufficientPrivilegeError("no"), OSError(), None]
)
async def test_a_target_that_does_not_end_the_session_saves_no_worker(
    answer: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "END_BACKEND_S", 0.05)
    director = Director(answer)
    first, second, busy = Hanging(1, backend_pid=71), Hanging(2, backend_pid=72), Hanging(3, silent_s=1.0)
    await over(director, first, second, busy).check_heartbeats()
    assert (first.was_killed, second.was_killed, busy.was_killed) == (True, True, False)
    assert director.ended == [71, 72]
    assert [problem.code for problem in director.problems] == ["worker_hung"] * 2


async def test_a_worker_that_hangs_before_it_is_ready_is_ended() -> None:
    worker = Hanging(1)
    await over(Director(), worker).check_heartbeats()
    assert worker.was_killed
