"""Which engine drives a run: one at a time, and one that was taken for dead and comes back finds the run taken.

`run.generation` grows with each engine that takes the run up. A session, of an engine or of a worker, looks at it before it
writes for the first time (`require_generation`); an engine that takes a run up ends all other sessions of the run once the
number has grown (`end_others`). So a session that writes has either seen the number as it is, or has been ended.

Ages are by the clock of the ledger's server alone: those of two hosts may differ.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass

import asyncpg

from engine.errors import RunTaken, TargetHeld, UsageError
from engine.postgres import sessions
from engine.postgres.blockers import quoted

SILENT_S = 30.0
"""An engine that wrote no heartbeat for so long may be taken for dead by people."""
ENDING_S = 5.0
"""How long sessions may take to end that the server was asked to end."""
FIRST = 1
"""Generation of the engine that began the run."""
_POLL_S = 0.1
_OTHERS = """
SELECT pid, usename FROM pg_stat_activity
WHERE application_name = $1 AND datname = current_database() AND pid <> ALL ($2::text[]::integer[])
ORDER BY pid
"""


@dataclass(frozen=True, slots=True)
class LastEngine:
    """The engine that drove a run last."""

    run_id: str
    host: str
    pid: int
    """On its host."""
    silent_s: float
    """Seconds since its last heartbeat."""
    has_ended: bool
    """It wrote the run's end."""

    @property
    def who(self) -> str:
        """It, as a part of a sentence."""
        return f"engine {self.pid} on host {quoted(self.host)}, last heard {max(0, round(self.silent_s)):,} s ago"


async def last_engine(connection: asyncpg.Connection, run_id: str) -> LastEngine | None:
    """The engine that drove a run last; None where the ledger has no such run."""
    row = await connection.fetchrow(
        "SELECT engine_host, engine_pid, ended_at IS NOT NULL AS has_ended,"
        " extract(epoch FROM clock_timestamp() - heartbeat_at)::float8 AS silent_s FROM mongopg.run WHERE run_id = $1",
        run_id,
    )
    if row is None:
        return None
    return LastEngine(run_id, row["engine_host"], row["engine_pid"], row["silent_s"], row["has_ended"])


def require_silent(last: LastEngine, host: str, *, takes_over: bool) -> None:
    """Refuse a run whose engine on another host may be alive.

    Args:
        host: that of the engine that asks.
        takes_over: the operator has said that the other engine is gone.

    Raises:
        TargetHeld: with the engine's host and the age of its heartbeat.
    """
    if last.has_ended or last.host == host:
        return
    if last.silent_s < SILENT_S:
        raise TargetHeld(
            f"Run {last.run_id} is driven by {last.who}: steer it there, or stop it there with `mongopg-tui ctl stop`. If that "
            f"host is gone, try again with --take-over when the engine was silent for {SILENT_S:.0f} s."
        )
    if not takes_over:
        raise TargetHeld(
            f"Run {last.run_id} was driven by {last.who}, and its end was not written: when that engine is gone, resume with "
            "--take-over, which ends what is left of its sessions with the target."
        )


async def claim(connection: asyncpg.Connection, run_id: str, host: str, pid: int) -> int:
    """Let the engine of this process, on that host, be the one that drives the run; returns its generation.

    Raises:
        UsageError: the ledger has no such run any more.
    """
    async with connection.transaction():
        # A generation that a crash of the server takes back would be given twice.
        await connection.execute("SET LOCAL synchronous_commit = on")
        generation = await connection.fetchval(
            "UPDATE mongopg.run SET generation = generation + 1, engine_host = $2, engine_pid = $3 WHERE run_id = $1"
            " RETURNING generation",
            run_id, host, pid,
        )  # fmt: skip
    if generation is None:
        raise UsageError(f"The ledger has no run {run_id} any more: it was discarded.")
    return int(generation)


async def require_generation(connection: asyncpg.Connection, run_id: str, generation: int) -> None:
    """Make sure that the run is still driven by the engine of this generation; of one that was discarded that is not asked.

    Raises:
        RunTaken: another engine has taken it up since; the message says which.
    """
    row = await connection.fetchrow(
        "SELECT generation, engine_host, engine_pid FROM mongopg.run WHERE run_id = $1", run_id
    )
    if row is not None and row["generation"] != generation:
        raise RunTaken(
            f"Run {run_id} was taken over by engine {row['engine_pid']} on host {quoted(row['engine_host'])}, "
            "which goes on from what is committed: this engine ends."
        )


async def end_others(connection: asyncpg.Connection, run_id: str, own: Collection[int]) -> None:
    """End all sessions of a run but some, and wait until they are gone: they roll back.

    Args:
        own: backends that stay.

    Raises:
        TargetHeld: one does not end, or the role may not end it.
    """
    name, staying = sessions.name_of(run_id), [str(pid) for pid in own]
    deadline = time.monotonic() + ENDING_S
    while others := await connection.fetch(_OTHERS, name, staying):
        for other in others:
            await sessions.end(connection, other["pid"], name)
        if time.monotonic() > deadline:
            named = ", ".join(f"{other['pid']} of {quoted(other['usename'])}" for other in others)
            raise TargetHeld(
                f"Sessions of an earlier engine of run {run_id} are left, which this role cannot end: {named}. As an "
                "administrator, end them with pg_terminate_backend, then resume again."
            )
        await asyncio.sleep(_POLL_S)
