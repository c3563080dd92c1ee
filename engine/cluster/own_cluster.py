"""A cluster for one piece of work that is no run: a verification, the census of a plan."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from engine.cluster.crew import MakeCrew
from engine.cluster.dispatcher import Dispatcher, no_backends
from engine.cluster.host_views import host_views
from engine.cluster.job import Job
from engine.errors import MigrationError
from engine.protocol import Event, HostView, WorkerView
from engine.work.context import WorkerStart

END_GRACE_S = 0.5
"""How long workers may take to drop what they have in hand at the end."""


Emit = Callable[[Event], None]
"""Makes a fact known."""


class OwnCluster:
    """Workers that have one job, and what made it fail."""

    def __init__(
        self,
        make_crew: MakeCrew,
        knobs: dict[str, int],
        emit: Emit,
        end_backend: Callable[[int], Awaitable[None]] = no_backends,
    ) -> None:
        """No worker is started yet.

        Args:
            knobs: `page_size` and `throttle`.
            emit: makes a fact known.
            end_backend: ends a session with PostgreSQL.
        """
        self.emit = emit
        self._changed = asyncio.Event()
        self._failure: MigrationError | None = None
        self._dispatcher = Dispatcher(
            self, make_crew, page_size=knobs["page_size"], throttle=knobs["throttle"], end_backend=end_backend
        )

    # --- what the work asks -------------------------------------------------------------------------------------------

    @property
    def converter(self) -> str:
        """Which converter the workers use."""
        return self._dispatcher.converter

    def add(self, job: Job[Any, Any]) -> None:
        """What there is to do."""
        self._dispatcher.add(job)

    def start_with(self, start: WorkerStart) -> None:
        """What workers have to know."""
        self._dispatcher.start_with(start)

    def resize(self, size: int) -> None:
        """So many workers from now on."""
        self._dispatcher.resize(size)

    def tune(self, knobs: dict[str, int]) -> None:
        """Other values of `page_size` and `throttle`."""
        self._dispatcher.tune(knobs["page_size"], knobs["throttle"])

    def forget_tasks(self) -> None:
        """Tasks have changed: every worker is told anew."""
        self._dispatcher.forget_tasks()

    def views(self) -> list[WorkerView]:
        """The workers as front ends show them."""
        return self._dispatcher.views()

    def hosts(self, workers: list[WorkerView]) -> list[HostView]:
        """The hosts of these workers as front ends show them; none when all are on this one."""
        return host_views(self._dispatcher.hosts, workers)

    async def until(self, is_done: Callable[[], bool]) -> None:
        """Have the work done; raises what made it fail."""
        self._dispatcher.dispatch()
        while self._failure is None and not is_done():
            self._changed.clear()
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """End all workers."""
        await self._dispatcher.stop(END_GRACE_S)

    # --- what the cluster tells (Owner) -------------------------------------------------------------------------------

    def fail(self, error: MigrationError) -> None:
        """End it: what workers have in hand is dropped."""
        if self._failure is None:
            self._failure = error
            self._dispatcher.end(now=True)
            self._changed.set()

    def resized(self, size: int) -> None:
        """It goes on with fewer; the knob is the run's."""

    def settled(self) -> None:
        """Another worker may be idle."""
        self._changed.set()
