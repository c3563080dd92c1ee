"""The faults that a soak draws from. Each is a coroutine that does harm, and returns when the harm is over."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg
from pymongo import MongoClient

from engine import protocol
from engine.errors import MigrationError
from engine.protocol import RunState, WorkerView
from tests.faults import planting
from tests.running import name_of
from tests.signals import send_signal
from tests.soak.drive import Scene

CRASH_WAIT_S = 4.0
AWAY_S = 2.5
"""A server or network stays away for so long at most."""
LONG_STOP_S = 5.0
"""Longer than the soak's workers may give no sign."""
OURS = "datname = current_database() AND starts_with(application_name, 'mongopg-tui')"

Fault = Callable[[Scene], Awaitable[None]]


# --- kills ------------------------------------------------------------------------------------------------------------


async def kill_worker(scene: Scene) -> None:
    """SIGKILL to one worker; measures how long its partition waits for another."""
    victim = scene.worker(at_work=scene.chance.random() < 0.8)
    if victim is None or not scene.signal(victim.pid, signal.SIGKILL):
        return
    scene.figures.kills += 1
    scene.say(f"killed worker {victim.id} ({victim.pid}) at partition {victim.partition}")
    if victim.partition >= 0 and scene.is_running:
        await _measure_replacement(scene, victim)


async def _measure_replacement(scene: Scene, victim: WorkerView) -> None:
    """Until the death is known, and a snapshot shows another worker with the partition: they come ten times a second."""
    began = time.monotonic()
    before = {each.pid for each in scene.engine.snapshot.workers if each.partition == victim.partition}

    def given_on() -> bool:
        holds = any(
            each.partition == victim.partition and each.pid not in before for each in scene.engine.snapshot.workers
        )
        return holds and any(
            event.kind == "worker" and event.facts["pid"] == victim.pid and event.facts["what"] == "died"
            for event in scene.engine.events
        )

    if await scene.until(lambda: given_on() or not scene.is_running, 20.0) and given_on():
        took = time.monotonic() - began
        scene.figures.replaced_s.append(took)
        scene.say(f"its partition went on after {took:.2f} s")


async def kill_all_workers(scene: Scene) -> None:
    """SIGKILL to every worker at once."""
    killed = [worker.pid for worker in scene.engine.snapshot.workers if scene.signal(worker.pid, signal.SIGKILL)]
    scene.figures.kills += bool(killed)
    scene.say(f"killed all workers: {killed}")


async def kill_fork_server(scene: Scene) -> None:
    """SIGKILL to the process that workers are forked from; the workers live on and look dead."""
    for pid in scene.see():
        if name_of(pid) == "mongopg-workers" and _parent(pid) == scene.engine.pid:
            scene.figures.kills += scene.signal(pid, signal.SIGKILL)
            scene.say(f"killed the fork server ({pid})")


def _parent(pid: int) -> int:
    with suppress(OSError), open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])
    return 0


async def kill_engine(scene: Scene) -> None:
    """SIGKILL to the engine alone."""
    scene.figures.kills += scene.signal(scene.engine.pid, signal.SIGKILL)
    scene.say("killed the engine")
    await scene.until(lambda: False, 5.0)


async def kill_group(scene: Scene) -> None:
    """SIGKILL to every process, in any order, as a reboot does."""
    pids = list(scene.see())
    scene.chance.shuffle(pids)
    n_killed = sum(scene.signal(pid, signal.SIGKILL) for pid in pids)
    scene.figures.kills += n_killed > 0
    scene.say(f"killed all processes: {pids}")
    await scene.until(lambda: False, 5.0)


async def crash_in_worker(scene: Scene) -> None:
    """The next worker that comes to a certain place in its work kills itself there."""
    await _crash(scene, scene.chance.choice(planting.IN_WORKERS + planting.IN_APPLYING * scene.follows))


async def crash_in_engine(scene: Scene) -> None:
    """The engine kills itself at a certain place, some of them at the run's end: it stays armed until then."""
    of_follower = planting.IN_COLLECTING + planting.IN_CUTTING_OVER
    point = scene.chance.choice(planting.IN_ENGINE + of_follower * scene.follows)
    scene.points.arm(point)
    scene.armed.add(point)
    scene.say(f"armed {point}")


async def _crash(scene: Scene, point: str) -> None:
    scene.points.arm(point)
    await scene.until(lambda: not scene.points.is_armed(point), CRASH_WAIT_S)
    if not scene.points.disarm(point):
        scene.figures.kills += 1
        scene.say(f"crashed at {point}")


# --- stops ------------------------------------------------------------------------------------------------------------


async def stop_worker(scene: Scene) -> None:
    """SIGSTOP and SIGCONT to a worker, now and then for so long that the engine gives it up."""
    victim = scene.worker(at_work=True)
    if victim is None or not scene.signal(victim.pid, signal.SIGSTOP):
        return
    long = scene.chance.random() < 0.3
    scene.say(f"stopped worker {victim.id} ({victim.pid}), {'long' if long else 'briefly'}")
    await scene.pause(*((LONG_STOP_S, LONG_STOP_S + 1) if long else (0.1, 1.0)))
    scene.signal(victim.pid, signal.SIGCONT)


async def stop_engine(scene: Scene) -> None:
    """SIGSTOP and SIGCONT to the engine."""
    if not scene.signal(scene.engine.pid, signal.SIGSTOP):
        return
    scene.say("stopped the engine")
    await asyncio.sleep(scene.chance.uniform(0.1, 3.0))
    scene.signal(scene.engine.pid, signal.SIGCONT)


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


async def end_backends(scene: Scene) -> None:
    """pg_terminate_backend for one session of ours, or for all."""
    one = "ORDER BY random() LIMIT 1" if scene.chance.random() < 0.6 else ""
    rows = await asyncio.to_thread(
        scene.target.rows,
        f"SELECT pid, pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE {OURS} {one}) AS ours",
    )
    scene.figures.cuts += len(rows)
    scene.say(f"ended the backends {[row[0] for row in rows]}")


async def crash_postgres(scene: Scene) -> None:
    """SIGKILL to one backend: the server ends all sessions and recovers from its log."""
    pid = await asyncio.to_thread(scene.target.value, f"SELECT max(pid) FROM pg_stat_activity WHERE {OURS}")
    if pid is None or not send_signal(pid, signal.SIGKILL):
        return
    scene.figures.restarts += 1
    scene.say(f"killed backend {pid}")
    await asyncio.sleep(0.2)
    await _until_postgres_answers(scene)
    await _measure_return(scene, "PostgreSQL")


async def restart_postgres(scene: Scene) -> None:
    """An immediate stop, a while, and a start that recovers; sometimes a worker dies meanwhile, too."""
    scene.servers.stop_postgres()
    scene.say("stopped PostgreSQL")
    await _while_away(scene)
    scene.servers.launch_postgres()
    await asyncio.to_thread(scene.servers.wait_for_postgres)
    await _until_postgres_answers(scene)
    scene.figures.restarts += 1
    scene.say("PostgreSQL is back")
    await _measure_return(scene, "PostgreSQL")


async def _until_postgres_answers(scene: Scene) -> None:
    deadline = time.monotonic() + 30.0
    while True:
        try:
            await asyncio.to_thread(scene.target.value, "SELECT 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            assert time.monotonic() < deadline, "PostgreSQL did not recover"
            await asyncio.sleep(0.02)
        else:
            return


# --- MongoDB ----------------------------------------------------------------------------------------------------------


async def restart_mongod(scene: Scene) -> None:
    """SIGKILL, a while, and a start that recovers."""
    scene.servers.kill_mongod()
    scene.say("killed MongoDB")
    await _while_away(scene)
    scene.servers.launch_mongod()
    await asyncio.to_thread(scene.servers.wait_for_mongod)
    scene.figures.restarts += 1
    scene.say("MongoDB is back")
    await _measure_return(scene, "MongoDB")


async def _while_away(scene: Scene) -> None:
    await scene.pause(0.0, AWAY_S / 2)
    if scene.chance.random() < 0.25:
        await kill_all_workers(scene)
    await scene.pause(0.0, AWAY_S / 2)


async def _measure_return(scene: Scene, server: str) -> None:
    """From a server's return to the next slice of which we hear."""
    if not scene.is_running:
        return
    began, before = time.monotonic(), scene.n_slices()
    if await scene.until(lambda: scene.n_slices() > before or not scene.is_running) and scene.is_running:
        took = time.monotonic() - began
        scene.figures.recovered(server, took)
        scene.say(f"commits again after {took:.2f} s")


async def forget_moment(scene: Scene) -> None:
    """MongoDB keeps no old states for a while: a run that reads as of one moment may not find it any more."""
    if scene.engine.snapshot.consistency != "snapshot":
        return
    scene.say("MongoDB forgets old states")
    await asyncio.to_thread(_write_with_no_history, scene.servers.source_uri)


def _write_with_no_history(uri: str) -> None:
    parameter = "minSnapshotHistoryWindowInSeconds"
    with MongoClient[dict[str, object]](uri) as client:
        before = client.admin.command({"getParameter": 1, parameter: 1})[parameter]
        client.admin.command({"setParameter": 1, parameter: 0})
        try:
            for _ in range(30):  # it only forgets when there is something new
                client["noise"]["noise"].insert_one({})
                time.sleep(0.1)
        finally:
            client.admin.command({"setParameter": 1, parameter: before})


# --- the network ------------------------------------------------------------------------------------------------------


async def cut_connections(scene: Scene) -> None:
    """Reset every connection to one side, once or several times."""
    if not scene.proxies:
        return
    side, proxy = scene.chance.choice(sorted(scene.proxies.items()))
    for _ in range(scene.chance.randint(1, 3)):
        scene.figures.cuts += proxy.n_links
        scene.say(f"cut {proxy.n_links} connections to the {side}")
        proxy.cut()
        await scene.pause(0.0, 0.5)


async def part_from_server(scene: Scene) -> None:
    """One side cannot be reached for a while."""
    if not scene.proxies:
        return
    side, proxy = scene.chance.choice(sorted(scene.proxies.items()))
    scene.figures.cuts += proxy.n_links
    proxy.is_down = True
    proxy.cut()
    scene.say(f"the {side} cannot be reached")
    await _while_away(scene)
    proxy.is_down = False
    scene.say(f"the {side} can be reached again")


async def lose_answers(scene: Scene) -> None:
    """COMMITs are done, and their answers lost with the connection."""
    proxy = scene.proxies.get("target")
    if proxy is None:
        return
    times = scene.chance.randint(1, 4)
    marks = [b"INSERT INTO mongopg.slice"]
    if scene.follows:
        marks += [b"INSERT INTO mongopg.applied", b"INSERT INTO mongopg.stream_slice"]
    proxy.mark = scene.chance.choice(marks)
    proxy.swallow_answers(times, to=b"COMMIT")
    await scene.until(lambda: proxy.n_to_swallow == 0, CRASH_WAIT_S)
    scene.figures.cuts += times - proxy.n_to_swallow
    scene.say(f"swallowed {times - proxy.n_to_swallow} answers to COMMIT")
    proxy.n_to_swallow = 0


# --- an operator without patience -------------------------------------------------------------------------------------


async def storm(scene: Scene) -> None:
    """Pauses, resumes and knobs in any order, faster than they can be obeyed."""
    engine, chance = scene.engine, scene.chance
    for _ in range(chance.randint(4, 15)):
        what = chance.choice(("pause", "resume", "cluster_size", "page_size", "throttle"))
        with suppress(MigrationError):
            match what:
                case "pause":
                    await asyncio.wait_for(engine.client.call(protocol.Pause()), 20.0)
                case "resume":
                    await asyncio.wait_for(engine.resume(), 20.0)
                case "cluster_size":
                    await asyncio.wait_for(engine.set(what, chance.randint(1, 8)), 20.0)
                case "page_size":
                    await asyncio.wait_for(engine.set(what, chance.randint(100, 3_000)), 20.0)
                case "throttle":
                    await asyncio.wait_for(engine.set(what, chance.randint(4_000, 12_000)), 20.0)
        await scene.pause(0.0, 0.15)
    scene.say("a storm of commands")
    await scene.pause(0.0, 0.5)
    await go_on(scene)


async def go_on(scene: Scene) -> None:
    """End a pause, if there is one."""
    for _ in range(200):
        if scene.is_over or scene.engine.snapshot.state not in (RunState.PAUSING, RunState.PAUSED):
            return
        with suppress(MigrationError):
            await asyncio.wait_for(scene.engine.resume(), 20.0)
        await scene.pause(0.1, 0.1)


async def cancel(scene: Scene) -> None:
    """Cancel: slices in hand are committed, or rolled back."""
    now = scene.chance.random() < 0.5
    scene.say(f"cancel{' now' if now else ''}")
    with suppress(MigrationError):
        await asyncio.wait_for(scene.engine.cancel(now=now), 20.0)
    await scene.until(lambda: False, 20.0)


async def vanish(scene: Scene) -> None:
    """The owner, who wants the run cancelled then, vanishes without a word."""
    scene.say("the owner vanished")
    scene.engine.client._writer.transport.abort()
    await scene.until(lambda: False, 5.0)


async def tell_to_end(scene: Scene) -> None:
    """SIGTERM or SIGHUP to the engine."""
    number = scene.chance.choice((signal.SIGTERM, signal.SIGHUP))
    scene.signal(scene.engine.pid, number)
    scene.say(f"sent {number.name} to the engine")
    await scene.until(lambda: False, 20.0)


MENU: dict[str, tuple[int, Fault]] = {
    "worker killed": (36, kill_worker),
    "all workers killed": (5, kill_all_workers),
    "fork server killed": (4, kill_fork_server),
    "engine killed": (2, kill_engine),
    "everything killed": (2, kill_group),
    "crash point in a worker": (16, crash_in_worker),
    "crash point in the engine": (3, crash_in_engine),
    "worker stopped": (3, stop_worker),
    "engine stopped": (2, stop_engine),
    "backends ended": (4, end_backends),
    "backend killed": (2, crash_postgres),
    "PostgreSQL restarted": (3, restart_postgres),
    "MongoDB restarted": (3, restart_mongod),
    "moment forgotten": (3, forget_moment),
    "connections cut": (4, cut_connections),
    "network gone": (3, part_from_server),
    "COMMIT unanswered": (3, lose_answers),
    "storm of commands": (3, storm),
    "cancelled": (1, cancel),
    "owner vanished": (1, vanish),
    "engine told to end": (1, tell_to_end),
}
"""Name -> how often, relative to the others, and what."""
