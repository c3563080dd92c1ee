"""Session state that correctness rests on: ours, whatever string, PGOPTIONS, role, database and service file say.

Parameters of the startup message win over `options` and over ALTER ROLE and ALTER DATABASE SET, and are what RESET and DISCARD
go back to. What cannot be such a parameter, because older servers do not know it or only some roles may set it, is looked at
after connecting, as is whether the others hold. Kept as they are: `role`, tablespaces, memory, and a read-only session, which
is a guard that was put there.
https://www.postgresql.org/docs/18/config-setting.html
"""

from __future__ import annotations

import asyncpg

from engine.errors import UsageError
from engine.postgres.queries import one_row
from engine.postgres.sqlstates import FAILURES, one_line

STARTUP = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",  # shortest text that reads back as the same number
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
    "xmloption": "content",
    "client_min_messages": "warning",
    "exit_on_error": "off",  # a row that is refused must not end the session
    "row_security": "on",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}
"""Setting -> value of each session; `client_encoding` is the driver's own parameter, and always UTF8."""

_LATER = {"transaction_timeout": "0"}
"""Settings that servers before 17 do not know."""
CHECKED = {**STARTUP, **_LATER, "client_encoding": "UTF8"}
"""All of them."""

# Every name and operator is qualified: the path may lead elsewhere first.
_LOOK = """
SELECT (SELECT pg_catalog.array_agg(ours.name) FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]),
               pg_catalog.unnest($2::pg_catalog.text[])) AS ours (name, value)
        WHERE pg_catalog.current_setting(ours.name, true) OPERATOR(pg_catalog.<>) ours.value) AS strange,
       pg_catalog.current_setting('session_replication_role') AS replication_role,
       pg_catalog.current_schemas(true)::pg_catalog.text[] AS path,  -- the driver asks what name[] is, in each new session
       session_user::pg_catalog.text AS login
"""


async def make_ours(connection: asyncpg.Connection) -> None:
    """Look at the session, and set what is not as it must be.

    Raises:
        UsageError: something cannot be set by this role; the sentence names it.
        asyncpg.PostgresError, OSError: the server failed it.
    """
    found = await one_row(connection, _LOOK, list(CHECKED), list(CHECKED.values()))
    for name in found["strange"] or ():
        await _set(connection, name, CHECKED[name], found["login"])
    if found["replication_role"] != "origin":  # triggers and foreign keys would not be asked
        await _set(connection, "session_replication_role", "origin", found["login"])
    path = [each for each in found["path"] if not each.startswith("pg_temp_")]
    if path and path[0] != "pg_catalog":
        # Functions and operators of ours are PostgreSQL's own; left out, its schema is the first to be looked at.
        rest = ", ".join('"' + each.replace('"', '""') + '"' for each in path if each != "pg_catalog")
        await connection.execute("SELECT pg_catalog.set_config('search_path', $1, false)", rest)


async def _set(connection: asyncpg.Connection, name: str, value: str, login: str) -> None:
    try:
        await connection.execute("SELECT pg_catalog.set_config($1, $2, false)", name, value)
    except FAILURES as error:
        if not isinstance(error, asyncpg.InsufficientPrivilegeError):
            raise
        raise UsageError(
            f"The target's sessions of {one_line(login, 80)} have {name} set to another value than {value}, which this role "
            f"may not change: ALTER ROLE ... RESET {name}, or ALTER DATABASE.",
            code="session",
        ) from error
