"""What tests plant into the engine and its workers: loaded by every Python whose PYTHONPATH names this folder.

Crash points: one is armed by a file of its name in the folder MONGOPG_CRASH_POINTS. A process that passes it and succeeds
in removing the file kills itself with SIGKILL: exactly one process, at exactly this place.

Constants: MONGOPG_PLANTED_CONSTANTS is a JSON object of "module:NAME" and values, such as limits that tests cannot wait for.

Clock: with MONGOPG_PLANTED_CLOCK_S the wall clock, and it alone, jumps to and fro by so many seconds, once a second.

Memory: with MONGOPG_PLANTED_MEMORY_MB workers may take so many MiB of addresses more than they have in the beginning.

The engine knows nothing of all this.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import os
import resource
import signal
import sys
import time
from typing import Any

FOLDER = os.environ.get("MONGOPG_CRASH_POINTS", "")
CONSTANTS = os.environ.get("MONGOPG_PLANTED_CONSTANTS", "")
CLOCK_S = float(os.environ.get("MONGOPG_PLANTED_CLOCK_S", "0"))
MEMORY_MB = int(os.environ.get("MONGOPG_PLANTED_MEMORY_MB", "0"))
AFTER_STATEMENTS = {
    "INSERT INTO mongopg.slice": "claimed",
    "UPDATE mongopg.slice s SET upto": "pre_commit",
    "INSERT INTO mongopg.applied": "lane_claimed",
    "SELECT key_hash, key FROM mongopg.dirty": "lane_read",
    "DELETE FROM mongopg.dirty WHERE run_id = $1 AND task_id": "lane_written",
    "UPDATE mongopg.applied SET n_upserted": "lane_pre_commit",
    "INSERT INTO mongopg.stream_slice": "slice_claimed",
    "INSERT INTO mongopg.dirty": "slice_pre_commit",
    "COMMIT": "post_commit",
}
"""Beginning of a statement of a worker, or of the engine that collects changes -> the point behind it."""
CALLS = {
    "engine.ledger.runs:create_run_and_tables": "making_tables",
    "engine.ledger.runs:take_over": "taking_over",
    "engine.ledger.runs:set_state": "keeping_state",
    "engine.ledger.partitions:check_complete": "looking_for_gaps",
    "engine.ledger.partitions:replace_partition": "cutting_again",
    "engine.ledger.follow:add_slice": "collecting",
    "engine.ledger.follow:set_phase": "entering_phase",
    "engine.ledger.follow:settle_counts": "settling",
    "engine.ledger.follow:finish": "finishing",
    "engine.run.finish:Finishing.complete_followed": "completing",
    "engine.postgres.finish:build_key": "building_key",
    "engine.postgres.finish:analyze": "analyzing",
    "engine.postgres.finish:swap": "swapping",
}
"""Function or method of the engine -> the points `before_...` and `after_...` it."""
AT_THE_BEGINNING = 4
"""So many workers can be ended before they are ready, by points called `beginning_0` and so on."""


def passing(point: str) -> None:
    """Die here if this point is armed."""
    try:
        os.unlink(os.path.join(FOLDER, point))
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def plant_points() -> None:
    """Put the crash points into the code."""
    import asyncpg

    execute, fetch = asyncpg.Connection.execute, asyncpg.Connection.fetch

    def passing_after(query: str) -> None:
        for beginning, point in AFTER_STATEMENTS.items():
            if query.startswith(beginning):
                passing(point)

    async def executing(self: Any, query: str, *arguments: Any, **options: Any) -> Any:
        if query == "COMMIT" and os.path.exists(os.path.join(FOLDER, "in_commit")):
            sent = asyncio.ensure_future(execute(self, query, *arguments, **options))
            await asyncio.sleep(0)  # the statement is on the wire now, and the answer is not heard
            passing("in_commit")
            return await sent
        answer = await execute(self, query, *arguments, **options)
        passing_after(query)
        return answer

    async def fetching(self: Any, query: str, *arguments: Any, **options: Any) -> Any:
        answer = await fetch(self, query, *arguments, **options)
        passing_after(query)
        return answer

    setattr(asyncpg.Connection, "execute", executing)  # noqa: B010 - a method, replaced on purpose
    setattr(asyncpg.Connection, "fetch", fetching)  # noqa: B010

    feed = importlib.import_module("engine.work.feed")
    page = feed.Feed.page

    async def paging(self: Any, **options: Any) -> Any:
        async for piece in page(self, **options):
            passing("converted")
            yield piece
            passing("mid_copy")

    feed.Feed.page = paging

    reader = importlib.import_module("engine.mongo.reader").BatchReader
    next_batch = reader.next_batch

    def reading(self: Any) -> Any:
        batch = next_batch(self)
        passing("reading")
        return batch

    reader.next_batch = reading

    worker = importlib.import_module("engine.work.worker")
    main = worker.main

    @functools.wraps(main)
    def beginning(*arguments: Any) -> None:
        for number in range(AT_THE_BEGINNING):
            passing(f"beginning_{number}")
        main(*arguments)

    setattr(worker, "main", beginning)  # noqa: B010 - likewise

    for place, point in CALLS.items():
        module, _, path = place.partition(":")
        *classes, name = path.split(".")
        _surround(functools.reduce(getattr, classes, importlib.import_module(module)), name, point)


def _surround(owner: Any, name: str, point: str) -> None:
    work = getattr(owner, name)

    async def surrounded(*arguments: Any, **options: Any) -> Any:
        passing(f"before_{point}")
        answer = await work(*arguments, **options)
        passing(f"after_{point}")
        return answer

    setattr(owner, name, surrounded)


def plant_constants() -> None:
    """Give constants other values."""
    for place, value in json.loads(CONSTANTS).items():
        module, _, name = place.partition(":")
        assert hasattr(importlib.import_module(module), name), place
        setattr(importlib.import_module(module), name, value)


def plant_clock() -> None:
    """Let the wall clock jump."""
    real = time.time

    def jumping() -> float:
        now = real()
        return now + (CLOCK_S if int(now) % 2 else -CLOCK_S)

    time.time = jumping


def plant_memory() -> None:
    """Let workers have little memory."""
    worker = importlib.import_module("engine.work.worker")
    main = worker.main

    @functools.wraps(main)
    def confined(*arguments: Any) -> None:
        with open("/proc/self/statm") as sizes:
            taken = int(sizes.read().split()[0]) * resource.getpagesize()
        most = taken + MEMORY_MB * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        main(*arguments)

    setattr(worker, "main", confined)  # noqa: B010 - likewise


OURS = ("engine", "engine.cluster.host_main")
"""Modules that are run; `forkserver` is in the words of a fork server that takes another one's place."""

if any(word in OURS or "forkserver" in word for word in sys.orig_argv):
    if FOLDER:
        plant_points()
    if CONSTANTS:
        plant_constants()
    if CLOCK_S:
        plant_clock()
    if MEMORY_MB:
        plant_memory()
