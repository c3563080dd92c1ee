"""A run of synthetic users that is slow enough to be hurt in the middle, and its end as if nothing had been."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from engine.protocol import Snapshot, WorkerState
from tests.running import Engine, Engines, assert_ledger, assert_users_equal

if TYPE_CHECKING:
    from tests.conftest import Source, Target

ROWS_PER_S = 800
"""So that on a machine with much else to do, too, it is hurt before it ends."""
VERY_SLOW = 400
"""The same, where partitions are to be far from their ends, or much happens."""
SLOW: dict[str, Any] = {"throttle": ROWS_PER_S, "page_size": 200}
"""Settings of `run`, with pages so small that what a test waits for comes soon."""


async def started(
    engines: Engines,
    *,
    written: int = 1,
    on_disconnect: Literal["continue", "cancel"] = "cancel",
    sections: dict[str, dict[str, Any]] | None = None,
    **run: Any,
) -> Engine:
    """A slow run of the users that has begun to commit.

    Args:
        written: rows committed before it is returned.
        on_disconnect: what its engine does when we vanish.
        sections: of the settings, besides `run`.
        run: settings of that section.
    """
    settings = engines.settings("users", run=SLOW | run, **(sections or {}))
    engine = await engines.launch(settings, on_disconnect=on_disconnect)
    await engine.start()
    await engine.until_written(written)
    return engine


async def completed(engine: Engine, source: Source, target: Target) -> dict[str, Any]:
    """Let it run as fast as it can: both sides must be equal then, and the counts right. Returns the facts of its end."""
    if engine.snapshot.throttle:
        await engine.set("throttle", 0)
    end = await engine.finished()
    users = source.db.users.count_documents({})
    assert (end["state"], end["verification"], end["exit_code"]) == ("completed", "verified", 0), engine.account()
    assert (end["read"], end["written"]) == (users, users)
    assert_users_equal(source, target)
    assert_ledger(target, engine.run_id, rows=users)
    return end


def working(snapshot: Snapshot) -> int:
    """Workers that are ready and stay."""
    return sum(worker.state not in (WorkerState.STARTING, WorkerState.DRAINING) for worker in snapshot.workers)
