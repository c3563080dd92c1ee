"""What PostgreSQL's statistics views say, in one query: waits of sessions, WAL, checkpoints, standbys, progress of statements.

Views differ from version to version, and roles may see more or less of them: a part that a server refuses is left out, and
named.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from engine.postgres.connect import ROOM
from engine.postgres.queries import one_row
from engine.postgres.sqlstates import describe, is_broken_connection

_SESSIONS = """
SELECT coalesce(json_agg(json_build_array(pid, state, wait_event_type, wait_event)), '[]')
FROM pg_stat_activity
WHERE application_name = $1 AND datname = current_database() AND leader_pid IS NULL AND pid <> pg_backend_pid()
"""
_BLOCKED = """
SELECT coalesce(json_agg(json_build_object('pid', w.pid, 'lock', l.locktype, 'schema', l.nspname, 'table', l.relname, 'by', (
    SELECT coalesce(json_agg(json_build_object('pid', b.pid, 'user', a.usename, 'application', a.application_name,
        'state', a.state, 'since', extract(epoch FROM clock_timestamp() - a.xact_start),
        'ours', a.application_name = $1) ORDER BY a.xact_start), '[]')
    FROM (SELECT DISTINCT unnest(pg_blocking_pids(w.pid)) AS pid) b LEFT JOIN pg_stat_activity a ON a.pid = b.pid
))), '[]')
FROM unnest($2::int[]) AS w (pid)
LEFT JOIN LATERAL (
    SELECT l.locktype, n.nspname, c.relname
    FROM pg_locks l
    LEFT JOIN pg_class c ON c.oid = l.relation AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE l.pid = w.pid AND NOT l.granted LIMIT 1
) l ON true
"""
_OTHERS = """
SELECT coalesce(json_agg(json_build_array(w.pid, a.usename, a.application_name)), '[]')
FROM (
    SELECT pid FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
    UNION
    SELECT pid FROM pg_locks WHERE NOT granted AND NOT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
) w JOIN pg_stat_activity a ON a.pid = w.pid AND a.datname = current_database() AND a.application_name <> $1
"""
"""Sessions of others that wait for a lock; a role that may not see wait events reads the locks themselves."""
_WAL = """
SELECT CASE WHEN NOT pg_is_in_recovery()
       THEN json_build_object('bytes', pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')) END
"""
_CHECKPOINTS = """
SELECT json_build_object('timed', num_timed, 'requested', num_requested, 'max_wal_size', current_setting('max_wal_size'))
FROM pg_stat_checkpointer
"""
_CHECKPOINTS_16 = """
SELECT json_build_object('timed', checkpoints_timed, 'requested', checkpoints_req,
                         'max_wal_size', current_setting('max_wal_size'))
FROM pg_stat_bgwriter
"""
CHECKPOINTER_SINCE = 17
"""PostgreSQL's first version with pg_stat_checkpointer."""
_STANDBYS = """
SELECT json_build_object(
    'may', pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
    'list', (SELECT coalesce(json_agg(json_build_object(
        'name', coalesce(nullif(application_name, ''), host(client_addr), pid::text), 'state', state,
        'lag_s', extract(epoch FROM replay_lag),
        'lag_bytes', CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) END
    )), '[]') FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup'))
"""
_SLOTS = """
SELECT coalesce(json_agg(json_build_object(
    'name', slot_name, 'status', wal_status, 'safe', safe_wal_size, 'active', active,
    'held', CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) END
) ORDER BY restart_lsn), '[]') FROM pg_replication_slots
"""
_ROOM = f"SELECT json_build_object('max', max_connections, 'limits', ARRAY[server_free, role_free, database_free]) FROM ({ROOM}) room"  # noqa: S608, E501 - our own text
_STEPS = """
SELECT coalesce(json_agg(step), '[]') FROM (
    SELECT json_build_object('what', 'index', 'schema', n.nspname, 'table', c.relname, 'phase', p.phase,
        'query', left(a.query, 200), 'blocks', ARRAY[p.blocks_done, p.blocks_total],
        'tuples', ARRAY[p.tuples_done, p.tuples_total]) AS step
    FROM pg_stat_progress_create_index p JOIN pg_stat_activity a ON a.pid = p.pid AND a.application_name = $1
    LEFT JOIN pg_class c ON c.oid = p.relid LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE p.datname = current_database()
    UNION ALL
    SELECT json_build_object('what', 'statistics', 'schema', n.nspname, 'table', c.relname, 'phase', p.phase, 'query', '',
        'blocks', ARRAY[p.sample_blks_scanned, p.sample_blks_total], 'tuples', ARRAY[0, 0])
    FROM pg_stat_progress_analyze p JOIN pg_stat_activity a ON a.pid = p.pid AND a.application_name = $1
    LEFT JOIN pg_class c ON c.oid = p.relid LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE p.datname = current_database()
) steps
"""
_COPYING = """
SELECT coalesce(json_agg(json_build_object('schema', nspname, 'table', relname, 'sessions', sessions, 'rows', n_rows,
                                           'bytes', n_bytes)), '[]')
FROM (
    SELECT n.nspname, c.relname, count(*) AS sessions, sum(p.tuples_processed) AS n_rows, sum(p.bytes_processed) AS n_bytes
    FROM pg_stat_progress_copy p JOIN pg_stat_activity a ON a.pid = p.pid AND a.application_name = $1
    JOIN pg_class c ON c.oid = p.relid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE p.datname = current_database() GROUP BY n.nspname, c.relname
) copies
"""
_FILES = """
SELECT quote_ident(session_user) AS role,
       CASE WHEN pg_has_role(current_user, 'pg_read_all_settings', 'USAGE') THEN current_setting('data_directory') END
           AS folder,
       extract(epoch FROM pg_postmaster_start_time())::float8 AS started_unix
"""


@dataclass(frozen=True, slots=True)
class Files:
    """Where the server keeps its files, as far as the role may know."""

    role: str
    """For a GRANT."""
    folder: str | None
    """The data directory; None where the role may not know it."""
    started_unix: float


class Statistics:
    """Asks one server again and again, through one connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        """Nothing is asked yet.

        Args:
            connection: for this alone.
        """
        self.refused: dict[str, str] = {}
        """Parts that the server refuses, each with a sentence."""
        self.files: Files | None = None
        self._connection = connection
        self._parts = parts_of(connection.get_server_version().major)
        self._suspects: list[str] = []
        """Parts that are tried one by one, since the server refused all of them together."""

    async def ask(self, app_name: str, waiting: Sequence[int]) -> dict[str, Any] | None:
        """What each part says; None while it is being found out what may be asked. At most one query is made.

        Args:
            app_name: of the sessions that it is about.
            waiting: sessions, also of others, whose blockers are to be named.

        Raises:
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError: the connection or the server is at fault.
        """
        if self.files is None:
            self.files = Files(*await one_row(self._connection, _FILES))
            return None
        asked = self._suspects[:1] or [name for name in self._parts if name not in self.refused]
        try:
            row = await one_row(self._connection, query_of(self._parts, asked), app_name, list(waiting))
        except asyncpg.PostgresError as error:
            if is_broken_connection(error):
                raise
            if len(asked) > 1:
                self._suspects = asked
                return None
            self.refused[asked[0]] = describe(error)[1]
        if self._suspects:
            del self._suspects[0]
            return None
        return {name: json.loads(text) for name, text in row.items() if text is not None}


def parts_of(version: int) -> Mapping[str, str]:
    """What is asked of a server of this version, by name."""
    return {
        "sessions": _SESSIONS,
        "others": _OTHERS,
        "blocked": _BLOCKED,
        "wal": _WAL,
        "checkpoints": _CHECKPOINTS if version >= CHECKPOINTER_SINCE else _CHECKPOINTS_16,
        "standbys": _STANDBYS,
        "slots": _SLOTS,
        "room": _ROOM,
        "steps": _STEPS,
        "copying": _COPYING,
    }


def query_of(parts: Mapping[str, str], names: Iterable[str]) -> str:
    """One statement for some of the parts; its arguments are the application name and the sessions that wait for locks."""
    columns = ", ".join(f"({parts[name]})::text AS {name}" for name in names)
    # Not every part uses the arguments; this gives each of them a type.
    return f"SELECT {columns} WHERE $1::text IS NOT NULL AND $2::int[] IS NOT NULL"
