"""What can happen to a Dask cluster under a run, one part of it or two at once; afterwards it is whole again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Awaitable, Callable, Sequence

from tests.dask_cluster import DaskCluster, children_of
from tests.signals import send_signal
from tests.soak.drive import Scene
from tests.soak.faults import kill_engine, kill_worker

HOSTS, SLOTS = 2, 3
"""Of the cluster."""
SILENT_S = 9.0
"""Longer than a host may give no sign before its workers are given up."""
ENDED_S = 60.0
"""How long Dask workers may take to end when their scheduler is gone."""

Fault = Callable[[Scene], Awaitable[None]]


def heal(cluster: DaskCluster) -> None:
    """Start again what is not there any more. Blocks."""
    if cluster.scheduler.poll() is not None:
        for worker in cluster.workers:  # they end with their scheduler, and know no other one
            try:
                worker.wait(ENDED_S)
            except subprocess.TimeoutExpired:
                _kill(worker)
        cluster.workers.clear()
        cluster.start_scheduler()
    for worker in [worker for worker in cluster.workers if worker.poll() is not None]:
        cluster.workers.remove(worker)
    while len(cluster.workers) < HOSTS:
        cluster.add_worker(SLOTS)


def _kill(process: subprocess.Popen[bytes]) -> None:
    for pid in (process.pid, *children_of(process.pid)):
        send_signal(pid, signal.SIGKILL)
    process.wait()


def _cluster(scene: Scene) -> DaskCluster:
    assert scene.dask is not None
    return scene.dask


def _choice(scene: Scene) -> subprocess.Popen[bytes]:
    return scene.chance.choice(_cluster(scene).workers)


def _strike(scene: Scene, what: str, found: Sequence[int]) -> None:
    """SIGKILL to one of these processes."""
    if found and send_signal(pid := scene.chance.choice(found), signal.SIGKILL):
        scene.figures.kills += 1
        scene.say(f"killed {what} ({pid})")


def _strike_dask_worker(scene: Scene) -> None:
    below = children_of(_choice(scene).pid).items()
    _strike(scene, "a worker of Dask", [pid for pid, command in below if "spawn_main" in command])


def _strike_host_process(scene: Scene) -> None:
    _strike(scene, "a host process", _cluster(scene).host_processes(_choice(scene)))


async def kill_dask_worker(scene: Scene) -> None:
    """Its nanny starts another one."""
    _strike_dask_worker(scene)
    await scene.pause(0.0, 1.0)


async def kill_host_process(scene: Scene) -> None:
    """Ours, which has the workers of a host."""
    _strike_host_process(scene)
    await scene.pause(0.0, 1.0)


async def kill_nanny(scene: Scene) -> None:
    """Its worker of Dask ends with it, and nothing starts another one but an operator."""
    nanny = _choice(scene)
    scene.figures.kills += send_signal(nanny.pid, signal.SIGKILL)
    scene.say(f"killed a nanny ({nanny.pid})")
    nanny.wait()
    await scene.pause(0.0, 2.0)
    await asyncio.to_thread(heal, _cluster(scene))


async def kill_scheduler(scene: Scene) -> None:
    """All workers of Dask end with it; an operator starts it again, and them."""
    cluster = _cluster(scene)
    scene.figures.kills += send_signal(cluster.scheduler.pid, signal.SIGKILL)
    scene.say("killed the scheduler")
    cluster.scheduler.wait()
    await scene.pause(0.0, 2.0)
    await asyncio.to_thread(heal, cluster)


async def stop_host(scene: Scene) -> None:
    """SIGSTOP and SIGCONT to everything on a host, for so long that its workers are given up, or briefly."""
    host = _choice(scene)
    stopped = [pid for pid in (host.pid, *children_of(host.pid)) if send_signal(pid, signal.SIGSTOP)]
    long = scene.chance.random() < 0.5
    scene.say(f"stopped a host, {'long' if long else 'briefly'}")
    await scene.pause(*((SILENT_S, SILENT_S + 1) if long else (0.1, 2.0)))
    for pid in stopped:
        send_signal(pid, signal.SIGCONT)


async def end_dask_worker(scene: Scene) -> None:
    """SIGTERM to a worker of Dask, as when its host is taken away: its workers finish what they have in hand."""
    host = _choice(scene)
    send_signal(host.pid, signal.SIGTERM)
    scene.say(f"told a worker of Dask to end ({host.pid})")
    await asyncio.to_thread(_ended, host)
    await asyncio.to_thread(heal, _cluster(scene))


def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(ENDED_S)
    except subprocess.TimeoutExpired:
        _kill(process)


async def kill_worker_and_scheduler(scene: Scene) -> None:
    """Two at once."""
    victim = scene.worker(at_work=True)
    if victim is not None and scene.signal(victim.pid, signal.SIGKILL):
        scene.say(f"killed worker {victim.id} ({victim.pid}), and at once:")
    await kill_scheduler(scene)


async def kill_host_and_engine(scene: Scene) -> None:
    """Two at once."""
    _strike_dask_worker(scene)
    await kill_engine(scene)


async def kill_host_and_worker_elsewhere(scene: Scene) -> None:
    """Two at once."""
    _strike_host_process(scene)
    await kill_worker(scene)


MENU: dict[str, tuple[int, Fault]] = {
    "Dask worker killed": (10, kill_dask_worker),
    "host process killed": (10, kill_host_process),
    "nanny killed": (5, kill_nanny),
    "scheduler killed": (5, kill_scheduler),
    "host stopped": (6, stop_host),
    "Dask worker told to end": (5, end_dask_worker),
    "worker and scheduler killed": (4, kill_worker_and_scheduler),
    "host and engine killed": (3, kill_host_and_engine),
    "host and a worker killed": (6, kill_host_and_worker_elsewhere),
}
"""As that of `tests.soak.faults`."""
