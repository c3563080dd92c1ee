"""What an error of PostgreSQL, or of the way to it, means: told by SQLSTATE and class, never by message text.

Messages are localised and may hold values of rows; codes are neither. Codes and condition names:
https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import re
import ssl

import asyncpg

from engine.redaction import redact

MAX_SENTENCE = 300
"""Characters of a server's message that are passed on."""
LOCK_NOT_AVAILABLE = "55P03"
DISK_FULL = "53100"
TOO_MANY_CONNECTIONS = "53300"
"""For the server, the database or the role."""
UNIQUE_VIOLATION = "23505"
CHECK_VIOLATION = "23514"
CARDINALITY_VIOLATION = "21000"
"""ON CONFLICT DO UPDATE met one key twice in the same command."""
DATA_CLASSES = frozenset({"22", "23", "54"})
"""Data exception, integrity constraint violation, program limit exceeded: one row's fault, not the server's."""
RAISED = "P0001"
"""RAISE EXCEPTION in somebody's trigger: it refuses a row, too."""
TRANSIENT_CLASSES = frozenset({"08", "40"})
"""Connection exception, transaction rollback (deadlock, serialization failure)."""
PROTOCOL_VIOLATION = "08P01"
"""In the connection class, yet nothing broke: the server did not understand us, and will not the next time."""
TRANSIENT_CODES = frozenset({"53200", TOO_MANY_CONNECTIONS, LOCK_NOT_AVAILABLE, "57P01", "57P02", "57P03", "57P05"})
"""Out of memory, too many connections, a lock, and a server that shuts down, crashed or starts up."""

FAILURES: tuple[type[Exception], ...] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # of a statement that is sent when the server's farewell has just arrived
    OSError,
)
"""What a statement raises when the server, or the way to it, fails; none of it is a mistake of ours."""

_WORD_STARTS = re.compile(r"(?<=[a-z])(?=[A-Z])")


def one_line(text: str, limit: int = MAX_SENTENCE) -> str:
    """Foreign text on one line: redacted, without control and invisible characters, cut to `limit` characters."""
    cut = text[:limit]
    visible = "".join(character if character.isprintable() else " " for character in redact(cut))
    return " ".join(visible.split()) + ("…" if len(text) > limit else "")


def sqlstate_of(error: BaseException) -> str:
    """The error's SQLSTATE; 08006 (connection failure) for a connection that broke, empty for anything else."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate or "")
    if is_broken_connection(error):
        return "08006"
    return ""


def is_broken_connection(error: BaseException) -> bool:
    """The connection is gone, so nothing is known about what was sent last."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return False
    if isinstance(error, asyncpg.PostgresError):
        code = str(error.sqlstate or "")
        return code.startswith(("08", "57P")) and code != PROTOCOL_VIOLATION
    # asyncpg raises InterfaceError for a connection that was closed under it; OSError comes from the socket.
    return isinstance(error, (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)) and not isinstance(
        error, asyncpg.ClientConfigurationError
    )


def is_transient(error: BaseException) -> bool:
    """Trying again, after a while and on a new connection, may help."""
    code = sqlstate_of(error)
    return (code[:2] in TRANSIENT_CLASSES or code in TRANSIENT_CODES) and code != PROTOCOL_VIOLATION


def may_pass(error: BaseException) -> bool:
    """Nothing is wrong with the statement: trying again helps, or somebody has to make room first."""
    return is_transient(error) or sqlstate_of(error) == DISK_FULL


def is_data_error(error: BaseException) -> bool:
    """The server refused a row for what is in it."""
    code = sqlstate_of(error)
    return code[:2] in DATA_CLASSES or code == RAISED


def condition_name(error: asyncpg.PostgresError) -> str:
    """PostgreSQL's name for the error, such as `not_null_violation`; the SQLSTATE where asyncpg has no class for it."""
    if type(error) in (asyncpg.PostgresError, asyncpg.UnknownPostgresError):
        return str(error.sqlstate or "unknown")
    return _WORD_STARTS.sub("_", type(error).__name__.removesuffix("Error")).lower()


def describe(error: BaseException) -> tuple[str, str]:
    """The SQLSTATE and one sentence for people: redacted, on one line, without the values that DETAIL may hold."""
    code = sqlstate_of(error)
    if isinstance(error, TimeoutError):
        return code, "PostgreSQL did not answer in time."
    text = one_line(str(error.args[0] if error.args else "")) or type(error).__name__
    if is_broken_connection(error) and not code.startswith("57"):
        return code, f"The connection to PostgreSQL broke: {text} ({code})."
    if isinstance(error, asyncpg.PostgresError):
        return code, f"PostgreSQL says: {text} ({code})."
    return code, f"{type(error).__name__}: {text}"
