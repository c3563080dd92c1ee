"""One engine under fire: what the faults act on, and how long it takes until things go on."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.protocol import RunState, WorkerView
from tests.conftest import Target
from tests.dask_cluster import DaskCluster, children_of
from tests.faults.planting import CrashPoints
from tests.faults.proxy import Proxy
from tests.running import Engine
from tests.signals import send_signal
from tests.soak.figures import Figures
from tests.soak.servers import Servers

LOOK_S = 0.01
RECOVERY_S = 60.0
"""A recovery that takes longer is not waited for; the run's own end has a limit."""


@dataclass(slots=True)
class Scene:
    """Everything that a fault may touch."""

    chance: random.Random
    engine: Engine
    target: Target
    servers: Servers
    proxies: dict[str, Proxy]
    """Of the sides that are reached by way of one."""
    points: CrashPoints
    figures: Figures
    journal: list[str]
    """What was done, line by line, for the evidence."""
    follows: bool = False
    """The run follows its source."""
    dask: DaskCluster | None = None
    """Where its workers run, if not on this host."""
    began: float = field(default_factory=time.monotonic)
    pids: set[int] = field(default_factory=set)
    """Every process of the engine that was ever seen."""
    armed: set[str] = field(default_factory=set)
    """Crash points of the engine itself."""
    is_struck: bool = False
    """The engine has met one of them."""

    def say(self, text: str) -> None:
        """Write a line into the journal."""
        now = self.engine.snapshot
        self.journal.append(f"{time.monotonic() - self.began:8.3f}  {now.state:10} {now.written:7}  {text}")

    @property
    def is_over(self) -> bool:
        """The engine has told the run's end, or is gone."""
        return self.engine.client.is_closed or any(event.kind == "finished" for event in self.engine.events)

    @property
    def is_at_work(self) -> bool:
        """Documents are being copied, or changes applied."""
        at_work = (RunState.RUNNING, RunState.FOLLOWING, RunState.DRAINING)
        return not self.is_over and self.engine.snapshot.state in at_work

    @property
    def is_running(self) -> bool:
        """Documents are being copied."""
        return not self.is_over and self.engine.snapshot.state is RunState.RUNNING

    def see(self) -> dict[int, str]:
        """The engine's processes now; remembered, so that what they leave behind is known as theirs."""
        found = self.engine.processes()
        if self.dask is not None:
            for worker in self.dask.workers:
                for pid in self.dask.host_processes(worker):
                    found |= {pid: "engine.cluster.host", **children_of(pid)}
        self.pids.update(found)
        return found

    def worker(self, *, at_work: bool = False) -> WorkerView | None:
        """A living worker by chance; with `at_work` one that holds a partition."""
        alive = self.see()
        found = [
            worker
            for worker in self.engine.snapshot.workers
            if worker.pid in alive and (worker.partition >= 0 or not at_work)
        ]
        return self.chance.choice(found) if found else None

    def signal(self, pid: int, number: signal.Signals) -> bool:
        """Send a signal to a process of the engine; False when it is gone."""
        return pid in self.see() and send_signal(pid, number)

    async def pause(self, low: float, high: float) -> None:
        """Wait for a while by chance, less when the run is over."""
        await self.until(lambda: False, self.chance.uniform(low, high))

    async def until(self, holds: Callable[[], object], within_s: float = RECOVERY_S) -> bool:
        """Wait for a condition; False when the run is over before, or the time."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline and not self.is_over:
            if holds():
                return True
            await asyncio.sleep(LOOK_S)
        return False

    def n_slices(self) -> int:
        """Slices of which we have heard."""
        return sum(event.kind == "slice" for event in self.engine.events)
