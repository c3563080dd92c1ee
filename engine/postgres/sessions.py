"""Sessions of ours: what they are called, and ending one whose process is gone."""

from __future__ import annotations

import asyncpg

APPLICATION = "mongopg-tui"
"""Beginning of every application name of ours, as pg_stat_activity shows it."""
_END = """
SELECT pg_terminate_backend(pid, 3000) FROM pg_stat_activity
WHERE pid = $1 AND starts_with(application_name, $2) AND datname = current_database() AND usename = session_user
"""


async def end(connection: asyncpg.Connection, backend_pid: int, app_name: str) -> None:
    """End a session, unless the number is another's by now.

    Args:
        app_name: beginning of the session's application name.
    """
    if not backend_pid:
        return
    async with connection.transaction():
        # Sessions are those of the user that logs in, which may be made to play a role that may not end them.
        await connection.execute("SET LOCAL ROLE NONE")
        await connection.execute(_END, backend_pid, app_name)


def name_of(run_id: str) -> str:
    """The application name of every session of a run."""
    return f"{APPLICATION} {run_id}"


async def rename(connection: asyncpg.Connection, run_id: str) -> None:
    """Make a session one of this run, which was connected for another or for none."""
    await connection.execute("SELECT set_config('application_name', $1, false)", name_of(run_id))
