"""What a copied document costs at each station of its way: `python -m tests.bench.stations`; see README.md. Linux only.

It prints what stands in `tests/tuning/hosts.toml`, from which `tests.tuning.hosts` makes the table of `docs/cluster.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
from pymongo import MongoClient

from engine.cluster.meter import bottleneck
from engine.demo import start_servers
from engine.demo.folder import FolderState
from tests.bench import floor, ours, shapes
from tests.bench.measure import MARK, ServerClock, Watch, cpu_by_role_now
from tests.bench.ours import Servers
from tests.bench.shapes import Shape

RUNS = (("users", "native"), ("users", "plain"), ("wide", "native"))
"""Shapes of documents, and the converters that are measured with each."""
COPIED = frozenset({"finishing", "completed"})
WAITS = """
    SELECT coalesce(sum(extend_time) FILTER (WHERE object = 'relation'), 0) / 1e3,
           coalesce(sum(write_time) FILTER (WHERE object = 'wal'), 0) / 1e3
    FROM pg_stat_io WHERE backend_type = 'client backend'
"""
"""Seconds that sessions spent in what only one of them does at a time: a table grows, the log is written."""


def main() -> None:
    """Measure each of `RUNS` and print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.stations", description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000_000, help="users; a fifth as many wide documents")
    parser.add_argument("--runs", type=int, default=3, help="of each; medians are printed")
    parser.add_argument("--shapes", default="users,wide", help="which documents, by commas")
    parser.add_argument("--data", type=Path, help="folder where the servers keep their data for the next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, start_servers(options.data, keep=options.data is not None) as started:
        state = FolderState.read(started.directory)
        assert state is not None
        pids = {name: mark.pid for name, mark in zip(("mongod", "postgres"), state.servers, strict=True)}
        servers = Servers(started.source_uri, started.target_uri, Path(name))
        try:
            _execute(
                started.target_uri,
                "ALTER SYSTEM SET track_io_timing = on",
                "ALTER SYSTEM SET track_wal_io_timing = on",
                "SELECT pg_reload_conf()",
            )
            for shape, converter in RUNS:
                if shape in options.shapes.split(","):
                    _print(servers, shapes.SHAPES[shape], converter, options.documents, options.runs, pids)
        finally:
            started.stop()


def _print(servers: Servers, shape: Shape, converter: str, documents: int, runs: int, pids: dict[str, int]) -> None:
    n = max(1, round(documents * shape.share))
    collection = shapes.fill(servers.source_uri, shape, n)
    prepared = floor.prepare(servers.source_uri, collection, servers.folder / "ready", 1)
    sent = sum(share.file.stat().st_size for share in prepared.shares)
    found = [_measured(servers, collection, converter, pids) for _ in range(runs)]
    print(f'\n[[document]]\nname = "{shape.name}, {converter} converter"')
    print(f"read_bytes = {_size(servers.source_uri, collection)}\nsent_bytes = {round(sent / n)}")
    for station in ("mongod", "worker", "postgres", "extend", "wal"):
        print(f"{station}_us = {median(each[station] for each in found) / n * 1e6:.2f}")
    said = Counter(str(each["bottleneck"]) for each in found).most_common(1)[0][0]
    print(f'bottleneck = "{said}"', flush=True)


def _measured(servers: Servers, collection: str, converter: str, pids: dict[str, int]) -> dict[str, Any]:
    """Seconds of one worker's copy at each station, and what the program names as its bottleneck."""
    _execute(
        servers.target_uri,
        f"DROP TABLE IF EXISTS public.{ours.TABLE}",
        "CHECKPOINT",
        "SELECT pg_stat_reset_shared('io')",
    )
    clock, mark = ServerClock(pids), secrets.token_hex(8)
    environment = ours.own_environment(servers) | {MARK: mark, "MONGOPG_RUN_CONVERTER": converter}
    named = f"{shapes.DATABASE}.{collection}:public.{ours.TABLE}"
    words = ["run", "--json", "--cluster-size", "1", "--collection", named]
    spent: dict[str, Any] = {}
    shares: list[Sequence[float]] = []
    with Watch(mark) as watch:
        process = subprocess.Popen(
            [sys.executable, "-m", "tui", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            cwd=servers.folder, env=environment,
        )  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            record = json.loads(line)
            shares += [(each["reading"], each["converting"], each["writing"]) for each in record.get("workers", ())]
            if (
                record.get("state") in COPIED and not spent
            ):  # what comes now is done once, whatever the number of workers
                spent = {**clock.spent(), "worker": cpu_by_role_now(mark).get("worker", 0.0)}
        process.wait()
    spent["worker"] = max(spent["worker"], watch.cpu_by_role.get("worker", 0.0))  # it may have left by then
    extend, wal = _row(servers.target_uri, WAITS)
    means = (sum(column) / max(1, len(shares)) for column in zip(*shares, strict=True))
    return spent | {"extend": extend, "wal": wal, "bottleneck": bottleneck(*means).rpartition(" of ")[0]}


def _size(source_uri: str, collection: str) -> int:
    with MongoClient[dict[str, Any]](source_uri) as client:
        return int(client[shapes.DATABASE].command("collStats", collection)["avgObjSize"])


def _execute(target_uri: str, *statements: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(target_uri)
        try:
            for each in statements:
                await connection.execute(each)
        finally:
            await connection.close()

    asyncio.run(execute())


def _row(target_uri: str, sql: str) -> tuple[float, ...]:
    async def ask() -> tuple[float, ...]:
        connection = await asyncpg.connect(target_uri)
        try:
            return tuple(map(float, await connection.fetchrow(sql)))  # type: ignore[arg-type]  # it has one
        finally:
            await connection.close()

    return asyncio.run(ask())


if __name__ == "__main__":
    main()
