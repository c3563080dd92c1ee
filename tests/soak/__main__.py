"""`python -m tests.soak --minutes 30 --seed 7`: hurt real runs for a while, and check that nothing is lost or done twice.

Prints a line a run and figures at the end, as a table and as one JSON object. A violation ends it: exit code 1, with the
seed, the run and what differs; the evidence is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from urllib.parse import urlsplit

from pymongo import MongoClient

from tests.conftest import Source, Target
from tests.dask_cluster import DaskCluster
from tests.faults import planting
from tests.faults.planting import CrashPoints
from tests.running import add_users
from tests.soak import dask_faults, oracle
from tests.soak.cycle import COLLECTION, SECOND, Cycle, World
from tests.soak.figures import Figures
from tests.soak.follow_cycle import FollowCycle
from tests.soak.servers import Servers

DATABASE = "soak"
SILENT_S = 4.0
"""Workers that give no sign for so long are ended; `faults.stop_worker` stops some of them for longer."""
SECOND_OF = 4
"""The second collection has one document where the first one has so many."""
FOLLOWED = 0.5
"""Share of the runs that follow their source."""
REJECTED_OF = 997
"""One document of so many cannot be written."""


def main() -> int:
    """Soak; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of all chance (default: random)")
    parser.add_argument("--documents", type=int, default=60_000, help="in the collection (default: %(default)d)")
    parser.add_argument("--order", choices=("id", "natural"), default="", help="in which to read (default: by chance)")
    parser.add_argument(
        "--follow",
        choices=("never", "chance", "always"),
        default="chance",
        help="runs that follow a source which is written to",
    )
    parser.add_argument("--seeds", type=int, default=0, help="end when so many collections were followed (0: do not)")
    parser.add_argument(
        "--dask", action="store_true", help="workers on two hosts of a Dask cluster, which is hurt, too"
    )
    parser.add_argument("--cycles", type=int, default=0, help="end after so many runs (0: do not)")
    parser.add_argument("--only", type=int, help="this run of the seed alone")
    parser.add_argument("--verbose", action="store_true", help="say what was done to each run")
    parser.add_argument("--json", type=Path, help="a file for the figures, too")
    parser.add_argument("--evidence", type=Path, default=Path("build/soak"), help="folder for what a violation leaves")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    # PostgreSQL may run as another user, who has to reach its files.
    with tempfile.TemporaryDirectory(prefix="mongopg-soak-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with Servers(folder) as servers:
            return soak(options, folder, servers)


def soak(options: argparse.Namespace, folder: Path, servers: Servers) -> int:
    """Runs until the time is over, or one of them breaks a rule."""
    (folder / "points").mkdir()
    points = CrashPoints(folder / "points")
    os.environ |= points.environment() | planting.constants({"engine.cluster.supervisor:HEARTBEAT_LIMIT_S": SILENT_S})
    for variable in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        os.environ[variable] = name = str(folder / "run")
        Path(name).mkdir(mode=0o700, exist_ok=True)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sql", daemon=True)
    thread.start()
    figures = Figures(options.seed, options.documents)
    source_uri = urlsplit(servers.source_uri)._replace(path=f"/{DATABASE}").geturl()
    with MongoClient[dict[str, object]](source_uri) as client:
        source = Source(source_uri, DATABASE, client)
        documents = {COLLECTION: options.documents, SECOND: options.documents // SECOND_OF}
        for collection, count in documents.items():
            fill(source, collection, count)
        server = Target(servers.target_uri, "postgres", loop)
        server.execute(f"CREATE DATABASE {DATABASE}")
        target = Target(urlsplit(servers.target_uri)._replace(path=f"/{DATABASE}").geturl(), DATABASE, loop)
        world = World(source, target, servers, points, figures, documents, options.order)
        if options.dask:
            (folder / "dask").mkdir()
            world.dask = DaskCluster(folder / "dask")
        try:
            broken = asyncio.run(repeat(world, options))
        finally:
            if world.dask is not None:
                world.dask.stop()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
    if options.seeds:
        print(f"{figures.seeds:,} of {options.seeds:,} seeds within {figures.seconds:,.0f} s")
    print(figures.as_table())
    print(json.dumps(figures.as_json()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures.as_json(), indent=1) + "\n")
    return 1 if broken else 0


def fill(source: Source, collection: str, documents: int) -> None:
    """Users, some of which cannot be written."""
    add_users(source, documents, collection=collection)
    users = source.db[collection]
    for number, user in enumerate(users.find({}, {"username": 1}).sort("_id", 1)):
        if number % REJECTED_OF == REJECTED_OF - 1:
            users.update_one({"_id": user["_id"]}, {"$set": {"username": user["username"] + oracle.NUL}})


async def repeat(world: World, options: argparse.Namespace) -> bool:
    """Run after run, until the time is over or it is interrupted; True when one broke a rule."""
    began, template, number = time.monotonic(), "", options.only or 0
    figures = world.figures
    ends_at = began + options.minutes * 60
    interrupted = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signal_number, interrupted.set)
    while (
        time.monotonic() < ends_at
        and not interrupted.is_set()
        and (options.only is None or number == options.only)
        and not (options.seeds and figures.seeds >= options.seeds)
        and not (options.cycles and figures.runs >= options.cycles)
    ):
        if world.dask is not None:
            await asyncio.to_thread(dask_faults.heal, world.dask)
        at = time.monotonic()
        chance = random.Random(f"{options.seed}/{number}")
        follows = {"never": False, "always": True}.get(options.follow, chance.random() < FOLLOWED)
        cycle = (FollowCycle if follows else Cycle)(world, number, chance, template)
        try:
            await cycle.live()
        except Exception:
            cycle.findings.problems.append(traceback.format_exc())
        figures.seconds = time.monotonic() - began
        print(
            f"run {number:3} {cycle.name:22} {cycle.n_faults} faults, {len(cycle.engines)} engines, "
            f"{time.monotonic() - at:5.1f} s; {figures.kills} kills in {figures.seconds / 60:.1f} min",
            flush=True,
        )
        if options.verbose:
            print("\n".join(cycle.journal), flush=True)
        if cycle.findings.problems:
            keep_evidence(cycle, options)
            return True
        await asyncio.to_thread(cycle.tidy)
        template, number = cycle.leaves, number + 1
    return False


def keep_evidence(cycle: Cycle, options: argparse.Namespace) -> None:
    """Say what is wrong, and keep what may tell why."""
    folder = options.evidence / f"{options.seed}-{cycle.number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    words = "\n".join([f"seed {options.seed}, run {cycle.number}:", *cycle.findings.problems, "", *cycle.journal])
    print(words, file=sys.stderr, flush=True)
    (folder / "problems.txt").write_text(words + "\n")
    for file in [*(engine.process.log for engine in cycle.engines), *cycle.world.servers.logs]:
        shutil.copyfile(file, folder / file.name)
    for number, engine in enumerate(cycle.engines):
        lines = [event.model_dump_json() for event in engine.events]
        (folder / f"events-{number}.jsonl").write_text("\n".join(lines) + "\n")
    target = cycle.world.target
    for table in ("run", "table_load", "partition", "slice"):
        rows = target.rows(f"SELECT to_jsonb(t)::text FROM mongopg.{table} t")
        (folder / f"{table}.jsonl").write_text("\n".join(row[0] for row in rows) + "\n")
    print(f"The evidence is in {folder}.", file=sys.stderr, flush=True)


if __name__ == "__main__":
    # Not sys.exit: threads of a server's client may still wait.
    code = main()
    sys.stdout.flush()
    os._exit(code)
