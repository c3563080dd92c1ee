"""A kind of work of the tests: the worker's side. Being imported, it registers itself, as a row in `KINDS` would."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass

from engine.work.context import Work, WorkerContext
from engine.work.kinds import KINDS
from engine.work.messages import Failed, Progress, Returned


@dataclass(frozen=True, slots=True)
class CountTask:
    """Count up."""

    task_id: int
    database: str
    collection: str
    dies_at: int
    """A worker that is about to report this number dies, unless the lease began there."""


@dataclass(frozen=True, slots=True)
class CountLease:
    """Numbers low <= n < high."""

    task_id: int
    key: int
    low: int
    high: int


class CountingWork(Work[CountTask, CountLease]):
    """Reports each number."""

    needs_target = False

    def __init__(self, context: WorkerContext) -> None:
        self._context = context

    async def work(self, task: CountTask, lease: CountLease) -> Returned | Failed:
        for number in range(lease.low, lease.high):
            if number == task.dies_at != lease.low:
                os.kill(os.getpid(), signal.SIGKILL)
            self._context.report(Progress(task.task_id, (lease.key, number)))
            await asyncio.sleep(0)
            if self._context.pace.is_yielding:
                return Returned(
                    lease, finished=False, rest=CountLease(lease.task_id, lease.key, number + 1, lease.high)
                )
        return Returned(lease, finished=True)

    async def close(self) -> None:
        pass


KINDS[CountTask] = CountingWork
