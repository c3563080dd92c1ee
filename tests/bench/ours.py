"""Our own runs, through the real command line: `run --json` and `seed --json`, as whole processes."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from engine.errors import EXIT_DONE, EXIT_INCOMPLETE
from engine.knobs import PAGE_SIZE
from tests.bench import shapes
from tests.bench.measure import MARK, Ran, RunFailed, Watch

PROJECT = Path(__file__).resolve().parents[2]
TABLE = "bench_ours"
NOT_UP = frozenset({"starting"})
"""States of a worker that could not be given a lease yet."""
NOT_AT_WORK = frozenset({*NOT_UP, "idle", "draining"})
"""States of a worker that has no lease."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they are, and the folder that a measured program may write to."""

    source_uri: str
    target_uri: str
    folder: Path


def migrate(
    servers: Servers,
    collection: str,
    *,
    converter: str,
    workers: int,
    page_size: int = PAGE_SIZE.default,
    plan: Path | None = None,
    rejected: int = 0,
    checksum: bool = True,
    order: str = "auto",
    size: str = "",
    dask: str = "",
) -> Ran:
    """Copy a collection with key, ledger, checksums and counts; `seconds` as the run's last JSON line says.

    Args:
        plan: a saved plan instead of the collection and a proposal.
        rejected: documents that have to become rejects.
        checksum: the setting; likewise `order`.
        size: of the cluster, instead of the number of workers: `auto`.
        dask: the Dask cluster that the workers are on; empty is this host.

    Raises:
        RunFailed: it failed, rejected more or less than that, or used another converter.
    """
    words = ["run", "--json", "--cluster-size", size or str(workers), "--page-size", str(page_size)]
    words += ["--dask", dask] if dask else []
    if plan is not None:
        words += ["--plan", str(plan)]
    else:
        words += ["--collection", f"{shapes.DATABASE}.{collection}:public.{TABLE}"]
    exit_code = EXIT_INCOMPLETE if rejected else EXIT_DONE
    environment = {"MONGOPG_RUN_CONVERTER": converter, "MONGOPG_RUN_CHECKSUM": str(checksum).lower()}
    environment["MONGOPG_RUN_ORDER"] = order
    run = _command(servers, words, workers, environment, exit_code=exit_code)
    if run.details["rejected"] != rejected:
        raise RunFailed(f"{run.details['rejected']:,} documents were rejected instead of {rejected:,}")
    # A run of a few documents is over before it has said which.
    if run.details["converter"] not in (converter, ""):
        raise RunFailed(f"the run used the {run.details['converter']} converter instead of the {converter} one")
    return run


def migrate_database(servers: Servers, database: str, *, schema: str, converter: str, workers: int) -> Ran:
    """Copy every collection of a database into a schema, likewise.

    Raises:
        RunFailed: it failed, or rejected something.
    """
    place = urlsplit(servers.source_uri)
    environment = {
        "MONGOPG_SOURCE_URI": urlunsplit(place._replace(path=f"/{database}")),
        "MONGOPG_TARGET_SCHEMA": schema,
        "MONGOPG_RUN_CONVERTER": converter,
    }
    return _command(servers, ["run", "--json", "--cluster-size", str(workers)], workers, environment)


def seed(servers: Servers, collection: str, *, count: int, workers: int) -> Ran:
    """Generate and insert users; `seconds` are those in state `seeding`, since a run's own leave seeding out."""
    words = ["seed", "--json", "--collection", f"{shapes.DATABASE}.{collection}", "--seed-count", str(count)]
    return _command(servers, [*words, "--cluster-size", str(workers)], workers, {})


def save_plan(servers: Servers, collection: str, path: Path, options: dict[str, str]) -> None:
    """The plan of a collection, to be appended to a table that is there, as a file.

    Raises:
        RunFailed: there is none.
    """
    named = f"{shapes.DATABASE}.{collection}:public.{TABLE}"
    path.unlink(missing_ok=True)
    environment = {f"MONGOPG_MAPPING_{name.upper()}": value for name, value in options.items()}
    _command(
        servers, ["plan", "--json", "--mode", "append", "--save", str(path), "--collection", named], 0, environment
    )


def _command(
    servers: Servers, words: list[str], workers: int, environment: dict[str, str], *, exit_code: int = EXIT_DONE
) -> Ran:
    mark = secrets.token_hex(8)
    began = time.monotonic()
    with Watch(mark) as watch:
        process = subprocess.Popen(
            [sys.executable, "-m", "tui", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=servers.folder,
            env=own_environment(servers) | environment | {MARK: mark},
        )
        assert process.stdout is not None
        lines = [(time.monotonic() - began, json.loads(line)) for line in process.stdout]
        _, errors = process.communicate()
        wall_s = time.monotonic() - began
    if process.returncode != exit_code:
        raise RunFailed(f"exit code {process.returncode}: {errors.strip()}")
    ended_s, last = lines[-1]
    seconds, rows = last.get("seconds", wall_s), last.get("written", 0)
    if words[0] == "seed":
        seconds = ended_s - next(at for at, record in lines if record.get("state") == "seeding")
        rows = last["seeded"]
    converters = [record["converter"] for _, record in lines if record.get("converter")]
    at_work, up = _first_seen(lines, NOT_AT_WORK), _first_seen(lines, NOT_UP)
    details = {
        "run_id": last.get("run_id", ""),
        "rows": rows,
        "rejected": last.get("rejected", 0),
        "sizes": _sizes(lines),
        "converter": converters[-1] if converters else "",
        "at_work": len(at_work),
        "up": len(up),
        "all_up_s": max(up.values()) if up and len(up) == workers else None,
        "first_row_s": next((at for at, record in lines if record.get("written")), None),
        "copying_rows_per_s": _copying_rate(lines),
        "cpu_s": watch.cpu_by_role,
    }
    return Ran(seconds, wall_s, watch.cost, details)


def _copying_rate(lines: list[tuple[float, dict[str, Any]]]) -> float | None:
    """Rows per second from the first line that has some to the first one that has all; None where that is one moment."""
    written = [
        (at, record["written"]) for at, record in lines if record.get("event") == "progress" and record["written"]
    ]
    if not written:
        return None
    (begin, first), last = written[0], written[-1][1]
    end = next(at for at, rows in written if rows == last)
    return (last - first) / (end - begin) if end > begin else None


def _sizes(lines: list[tuple[float, dict[str, Any]]]) -> list[tuple[float, int]]:
    """The cluster's sizes one after the other, each with the second from the command's start in which it was seen first."""
    found: list[tuple[float, int]] = []
    for at, record in lines:
        size = record.get("cluster_size", 0)
        if record.get("state") == "running" and (not found or found[-1][1] != size):
            found.append((round(at, 1), size))
    return found


def _first_seen(lines: list[tuple[float, dict[str, Any]]], not_in: Collection[str]) -> dict[int, float]:
    """For each worker, when it was first seen in another state than these: seconds from the command's start."""
    found: dict[int, float] = {}
    for at, record in lines:
        for worker in record.get("workers", []):
            if worker["state"] not in not_in:
                found.setdefault(worker["id"], at)
    return found


def own_environment(servers: Servers) -> dict[str, str]:
    """Ours without settings of the user's, with folders of the bench's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MONGOPG_")}
    return kept | {
        "PYTHONPATH": str(PROJECT),
        "XDG_STATE_HOME": str(servers.folder / "state"),
        "XDG_CONFIG_HOME": str(servers.folder / "config"),
        "MONGOPG_SOURCE_URI": servers.source_uri,
        "MONGOPG_TARGET_URI": servers.target_uri,
    }
