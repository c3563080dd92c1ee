"""A run that follows its source: how fast it catches up, how far it is behind writers, how long they have to stand still; and
what collecting changes costs a copy.

A million changes wait in the oplog when the run that was stopped is resumed. It has caught up when all of them are read and no
key is left to be applied. Then the source is written to at a rate; some users are written the time into, and what the target
has of it is looked at all the while: so how far it is behind is by one clock, from the write to the row that can be read.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg

from tests.bench import shapes, writers
from tests.bench.measure import MARK, Ran, RunFailed, ServerClock, Watch
from tests.bench.ours import TABLE, Servers
from tests.bench.writers import Place
from tests.engine.front_end import Command, FrontEnd

WRITES_PER_S = 1_000
STEADY_AFTER_S = 60.0
"""What is behind is measured from then on: the writers, and the run behind them, have settled."""
WAIT_S = 1_800.0
CHANGED = "followed"
"""The collection that is written to, and its database's others are not."""
LOOK_S = 0.02
ENDS_S = 0.2


def follow(servers: Servers, pids: dict[str, int], collection: str, users: int, workers: int, steady_s: float) -> Ran:
    """Copy, stop, change as many documents as there are, catch up, follow writers for a while, cut over.

    Args:
        pids: of the servers.
        collection: the users, which stay as they are.
        steady_s: how long what is behind is measured.

    Raises:
        RunFailed: it failed, or something is missing in the target.
    """
    place = _copied(servers, collection)
    with _commands(servers) as commands:
        run_id = _followed_and_stopped(commands, workers)
        events = writers.change_each_once(place, users)
        _sql(servers.target_uri, "CHECKPOINT")
        mark = secrets.token_hex(8)
        clock = ServerClock(pids)
        with Watch(mark) as watch:
            command = commands.start(*_words(workers), "--resume", run_id, **{MARK: mark})
            details = _caught_up(servers, command, run_id, events) | {"cpu_us": {}}
            spent = watch.cpu_by_role | clock.spent()
            cost = watch.cost
        details["cpu_us"] = {who: round(1e6 * seconds / events, 1) for who, seconds in spent.items()}
        behind: list[float] = []
        if steady_s:
            with writers.writing(place, users, WRITES_PER_S), _looking(servers.target_uri, behind):
                time.sleep(STEADY_AFTER_S)
                behind.clear()
                time.sleep(steady_s)
            details["behind_s"] = _spread(behind)
        cut = commands.start("ctl", "cutover", "--at-lag", "30s", "--wait", "--json").outcome(WAIT_S)
        end = command.outcome(WAIT_S)
        if (cut.code, end.code, end.last["state"], end.last["verification"]) != (0, 0, "completed", "verified"):
            raise RunFailed(f"cut over with {cut.code}: {cut.err.strip()} {end.last}")
        details["write_stop_s"] = end.last["follow"]["write_stop_s"]
    return Ran(details["seconds"], details["seconds"], cost, details)


def copy(servers: Servers, collection: str, users: int, workers: int, *, is_followed: bool) -> Ran:
    """Copy while the source is written to; seconds are those from the run's beginning to the last slice.

    Args:
        is_followed: changes are collected meanwhile.

    Raises:
        RunFailed: it failed.
    """
    place = _copied(servers, collection)
    with _commands(servers) as commands, writers.writing(place, users, WRITES_PER_S):
        time.sleep(1.0)
        mark = secrets.token_hex(8)
        began = time.monotonic()
        with Watch(mark) as watch:
            command = commands.start(*_words(workers, is_followed=is_followed), **{MARK: mark})
            if is_followed:
                record = _until(command, lambda record: record["state"] == "following")
                run_id, wall_s, cost = record["run_id"], time.monotonic() - began, watch.cost
                _stop(command)
            else:
                run_id, wall_s = command.outcome(WAIT_S).last["run_id"], time.monotonic() - began
                cost = watch.cost
        rows = _sql(
            servers.target_uri,
            "SELECT extract(epoch FROM max(s.committed_at) - r.started_at)::float8 FROM mongopg.slice s"
            " JOIN mongopg.run r USING (run_id) WHERE run_id = $1 GROUP BY r.started_at",
            run_id,
        )
    return Ran(rows[0][0], wall_s, cost, {})


# --- the run ----------------------------------------------------------------------------------------------------------


def _copied(servers: Servers, collection: str) -> Place:
    shapes.drop(servers.source_uri, CHANGED)
    writers.make_copy(servers.source_uri, collection, CHANGED)
    return Place(servers.source_uri, shapes.DATABASE, CHANGED)


@contextmanager
def _commands(servers: Servers) -> Iterator[FrontEnd]:
    with tempfile.TemporaryDirectory(prefix="mpg") as runtime:  # short: a socket's path must be
        commands = FrontEnd(servers.folder, Path(runtime), servers.source_uri, servers.target_uri)
        try:
            yield commands
        except AssertionError as error:
            raise RunFailed(str(error)) from None
        finally:
            commands.close()


def _words(workers: int, *, is_followed: bool = True) -> list[str]:
    words = [
        "run",
        "--json",
        "--cluster-size",
        str(workers),
        "--collection",
        f"{shapes.DATABASE}.{CHANGED}:public.{TABLE}",
    ]
    return [*words, "--follow"] if is_followed else words


def _followed_and_stopped(commands: FrontEnd, workers: int) -> str:
    command = commands.start(*_words(workers))
    record = _until(command, lambda record: record.get("ready") is True and record["state"] == "following")
    _stop(command)
    return str(record["run_id"])


def _stop(command: Command) -> None:
    command.send(signal.SIGINT)
    command.outcome(WAIT_S)


def _until(command: Command, holds: Any) -> dict[str, Any]:
    """The first progress line that fulfils a condition."""
    seen = 0

    def found() -> dict[str, Any] | None:
        nonlocal seen
        while seen < len(command.lines):
            record: dict[str, Any] = json.loads(command.lines[seen][1])
            seen += 1
            if record["event"] == "progress" and holds(record):
                return record
        return None

    record: dict[str, Any] = command.until(found, WAIT_S)
    return record


def _caught_up(servers: Servers, command: Command, run_id: str, events: int) -> dict[str, Any]:
    """From the first changes that were read until all are applied."""
    _until(command, lambda record: bool((record.get("follow") or {}).get("phase")) and record["state"] != "starting")
    began = time.monotonic()
    while True:
        (row,) = _sql(
            servers.target_uri,
            "SELECT (SELECT sum(n_insert + n_update + n_replace + n_delete) FROM mongopg.stream_slice WHERE run_id = $1)"
            " AS read, (SELECT sum(n_keys) FROM mongopg.applied WHERE run_id = $1) AS applied,"
            " EXISTS (SELECT FROM mongopg.dirty WHERE run_id = $1) AS waits",
            run_id,
        )
        if (row["read"] or 0) >= events and not row["waits"]:
            break
        if command.process.poll() is not None or time.monotonic() > began + WAIT_S:
            raise RunFailed(f"it did not catch up: {dict(row)} {command.shown()}")
        time.sleep(ENDS_S)
    seconds = time.monotonic() - began
    return {
        "seconds": seconds,
        "events": events,
        "events_per_s": events / seconds,
        "merged": 1 - int(row["applied"]) / events,
    }


# --- how far it is behind ---------------------------------------------------------------------------------------------


@contextmanager
def _looking(target_uri: str, behind: list[float]) -> Iterator[None]:
    """Seconds from writing the time into a user until the target has it, for each that was seen."""
    is_over = threading.Event()

    async def look() -> None:
        connection = await asyncpg.connect(target_uri)
        sql = f"SELECT _id, registered_at FROM public.{TABLE} WHERE _id = ANY($1)"
        ids = list(writers.marked_ids())
        seen = {row[0]: row[1] for row in await connection.fetch(sql, ids)}
        while not is_over.wait(LOOK_S):
            for key, at in await connection.fetch(sql, ids):
                if at != seen[key]:
                    seen[key] = at
                    behind.append((datetime.now(UTC) - at).total_seconds())
        await connection.close()

    thread = threading.Thread(target=lambda: asyncio.run(look()), name="look")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _spread(found: list[float]) -> dict[str, float]:
    if not found:
        raise RunFailed("nothing that was written while it followed came to the target")
    found = sorted(found)
    return {"n": len(found), "median": median(found), "p95": found[int(0.95 * (len(found) - 1))], "longest": found[-1]}


def _sql(target_uri: str, sql: str, *arguments: Any) -> list[Any]:
    async def ask() -> list[Any]:
        connection = await asyncpg.connect(target_uri)
        try:
            return list(await connection.fetch(sql, *arguments))
        finally:
            await connection.close()

    return asyncio.run(ask())
