"""`make bench`: everything in turn against the same running servers; see README.md."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg
from pymongo import MongoClient

from engine import __version__
from engine.convert import built_converters
from engine.demo import start_servers
from engine.demo.folder import FolderState
from engine.knobs import SEED_COUNT
from tests.bench import report
from tests.bench.limits import limits
from tests.bench.measure import machine
from tests.bench.ours import Servers
from tests.bench.parts import CACHE_MB, CONTESTANTS, PARTS, Bench, Contest, Options

FOLDER = Path("build/bench")
DOCUMENTS = 1_000_000
RUNS = 3
WORKERS = (1, 2, 4, 90)
PROCESSES = 2


def main() -> int:
    """Measure what the command line asks for; exit code 1 when a contestant failed."""
    # A shell's job in the background has it ignored, and so would the runs that the part `follow` stops with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    options, folder, data, output = _arguments()
    folder.mkdir(parents=True, exist_ok=True)
    contests: list[Contest] = []
    with start_servers(data, keep=data is not None) as started:
        state = FolderState.read(started.directory)
        assert state is not None
        described = machine() | _versions(started.source_uri, started.target_uri)
        pids = {name: mark.pid for name, mark in zip(("mongod", "postgres"), state.servers, strict=True)}
        servers = Servers(started.source_uri, started.target_uri, folder.absolute())
        bench = Bench(options, servers, pids, folder.absolute())
        try:
            for contest in bench.contests():
                contests.append(contest)
                bench.measure(contest)
                _save(output, contests, options, described)  # hours of measuring must not be lost
        except KeyboardInterrupt:
            print("interrupted; what was measured follows", file=sys.stderr)
        finally:
            started.stop()
            shutil.rmtree(folder / "ready", ignore_errors=True)
    print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in described.items()))
    print()
    print(report.tables(contests))
    found = limits(contests, options)
    if found:
        print()
        print(report.limits_text(found))
    print(f"\nAll figures: {output}")
    return 1 if any(contest.failures for contest in contests) else 0


def _save(output: Path, contests: list[Contest], options: Options, described: dict[str, Any]) -> None:
    record = report.record(contests, limits(contests, options), options, described)
    output.write_text(json.dumps(record, indent=1) + "\n")


def _versions(source_uri: str, target_uri: str) -> dict[str, Any]:
    import asyncio

    async def ask() -> str:
        connection = await asyncpg.connect(target_uri)
        try:
            return str(await connection.fetchval("SHOW server_version"))
        finally:
            await connection.close()

    with MongoClient[dict[str, Any]](source_uri) as client:
        mongodb = client.server_info()["version"]
    packages = {name: version(name) for name in ("pymongo", "asyncpg")}
    return {"mongodb": mongodb, "postgresql": asyncio.run(ask()), "mongopg_tui": __version__} | packages


def _arguments() -> tuple[Options, Path, Path | None, Path]:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Speed against the floor and others.")
    listed = "; ".join(f"{name}: {what}" for name, what in PARTS.items())
    parser.add_argument("--parts", default=",".join(PARTS), help=f"which of them, by commas. {listed}")
    parser.add_argument("--only", default=",".join(CONTESTANTS), help="contestants, by commas (default: all)")
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help=f"users (default {DOCUMENTS:,})")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each contestant (default {RUNS})")
    parser.add_argument("--workers", default=",".join(map(str, WORKERS)), help="cluster sizes in the part users")
    parser.add_argument("--processes", type=int, default=PROCESSES, help="of the floor, and workers elsewhere")
    parser.add_argument(
        "--cache-mb", type=int, default=CACHE_MB, help=f"of MongoDB, in the part random_ids (default {CACHE_MB})"
    )
    parser.add_argument(
        "--steady", type=float, default=300.0, help="seconds of following writers, in the part follow; 0: only catch up"
    )
    parser.add_argument(
        "--converters", default=",".join(built_converters()), help="native,plain (default: those built)"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"for peers, bytes, results (default {FOLDER})")
    parser.add_argument("--data", type=Path, help="folder where the servers keep their data for the next time")
    parser.add_argument("--output", type=Path, help="JSON with every figure (default: results.json in the folder)")
    given = parser.parse_args()
    options = Options(
        documents=given.documents,
        runs=given.runs,
        parts=_chosen(parser, given.parts, tuple(PARTS)),
        only=_chosen(parser, given.only, CONTESTANTS),
        workers=tuple(map(int, given.workers.split(","))),
        processes=given.processes,
        converters=_chosen(parser, given.converters, built_converters()),
        cache_mb=given.cache_mb,
        steady_s=given.steady,
    )
    if not 0 < options.documents <= SEED_COUNT.high or options.runs < 1:
        parser.error("--documents and --runs must be at least 1")
    return options, given.folder, given.data, given.output or given.folder / "results.json"


def _chosen(parser: argparse.ArgumentParser, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    words = tuple(text.split(","))
    for word in words:
        if word not in known:
            parser.error(f"{word!r} is none of {', '.join(known)}")
    return words


if __name__ == "__main__":
    sys.exit(main())
