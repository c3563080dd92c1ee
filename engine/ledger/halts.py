"""What became of collections that are followed, such as a drop, and what an operator chose to do about it.

A halt is committed with the position of the stream behind it. The keys of its collection that wait go with it: what their
documents were at last cannot be read any more. A run that has an open halt applies nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import asyncpg

ALL = 0
"""In place of a task: it is about the whole source."""
IGNORE, EMPTY, STOP, RESYNC = "ignore", "empty", "stop", "resync"
"""Rows stay, and what comes is applied; the table becomes what the collection is now; the collection is followed no longer;
everything is compared with the source as it is now."""
_COMPARED = frozenset({EMPTY, RESYNC})


@dataclass(frozen=True, slots=True)
class Halt:
    """What became of a collection, or of the whole source."""

    task_id: int
    """The table's, or `ALL`."""
    namespace: str
    """Empty for the whole source."""
    code: str
    message: str
    """One sentence."""
    at_time: int
    """When it happened, by the source's clock."""
    choice: str = ""
    """What is done about it; empty as long as that is open."""
    is_done: bool = False
    """That is carried out."""
    settled_time: int = 0
    """What became of the collection up to then is known, and dealt with."""
    uuid: str = ""
    """Of the collection that is followed since then; empty where there was none."""

    @property
    def is_open(self) -> bool:
        """Nothing is chosen yet."""
        return not self.choice

    @property
    def is_due(self) -> bool:
        """The table is still to be compared with its collection."""
        return self.choice in _COMPARED and not self.is_done


async def add(connection: asyncpg.Connection, run_id: str, halts: Iterable[Halt]) -> None:
    """Keep what happened, in the caller's transaction; keys of these collections do not wait any more."""
    for halt in halts:
        if halt.task_id != ALL:
            await _forget(connection, run_id, halt.task_id)
        await connection.execute(
            "INSERT INTO mongopg.halt (run_id, task_id, namespace, code, message, at_time) VALUES ($1, $2, $3, $4, $5, $6)"
            " ON CONFLICT (run_id, task_id) DO UPDATE SET code = excluded.code, message = excluded.message,"
            " at_time = excluded.at_time, choice = '', is_done = false",
            run_id, halt.task_id, halt.namespace, halt.code, halt.message, halt.at_time,
        )  # fmt: skip
        if not halt.is_open:
            await choose(connection, run_id, halt)


async def of_run(connection: asyncpg.Connection, run_id: str) -> dict[int, Halt]:
    """The last one of each collection, by task."""
    rows = await connection.fetch(
        "SELECT task_id, namespace, code, message, at_time, choice, is_done, settled_time, uuid FROM mongopg.halt"
        " WHERE run_id = $1 ORDER BY task_id",
        run_id,
    )
    return {row["task_id"]: Halt(**dict(row.items())) for row in rows}


async def choose(connection: asyncpg.Connection, run_id: str, halt: Halt) -> None:
    """Keep what is done about a halt, durably, in the caller's transaction; of a collection that is followed no longer no key
    waits."""
    await connection.execute("SET LOCAL synchronous_commit = on")
    await connection.execute(
        "UPDATE mongopg.halt SET choice = $3, is_done = $4, settled_time = $5, uuid = $6 WHERE run_id = $1 AND task_id = $2",
        run_id, halt.task_id, halt.choice, halt.is_done, halt.settled_time, halt.uuid,
    )  # fmt: skip
    if halt.choice == STOP:
        await _forget(connection, run_id, halt.task_id)
    elif halt.choice == IGNORE:
        # A batch that was in hand may have been committed behind the halt: its rows stay, too, whatever there is of them.
        await _forget(connection, run_id, halt.task_id, ("changed", "difference"))


async def _forget(
    connection: asyncpg.Connection,
    run_id: str,
    task_id: int,
    tables: Sequence[str] = ("dirty", "changed", "difference"),
) -> None:
    """Nothing of a table waits to be applied, or to be compared."""
    for table in tables:
        await connection.execute(
            f"DELETE FROM mongopg.{table} WHERE run_id = $1 AND task_id = $2",  # noqa: S608 - a name of the ledger's
            run_id,
            task_id,
        )


async def done(connection: asyncpg.Connection, run_id: str, task_id: int) -> None:
    """The table was compared with its collection."""
    await connection.execute(
        "UPDATE mongopg.halt SET is_done = true WHERE run_id = $1 AND task_id = $2 AND choice = ANY($3)",
        run_id, task_id, sorted(_COMPARED),
    )  # fmt: skip
