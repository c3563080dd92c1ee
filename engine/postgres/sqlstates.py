"""What an error of PostgreSQL, or of the way to it, means: told by SQLSTATE and class, never by message text.

Messages are localised and may hold values of rows; codes are neither. Codes and condition names:
https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import re
import ssl

import asyncpg

from engine.errors import MigrationError
from engine.failures import DISK_FULL, LOCK_NOT_AVAILABLE, TOO_MANY_CONNECTIONS, Failure
from engine.redaction import redact

MAX_SENTENCE = 300
"""Characters of a server's message that are passed on."""
FOREIGN_KEY_VIOLATION = "23503"
UNIQUE_VIOLATION = "23505"
CHECK_VIOLATION = "23514"
EXCLUSION_VIOLATION = "23P01"
OF_OTHER_ROWS = frozenset({UNIQUE_VIOLATION, FOREIGN_KEY_VIOLATION, EXCLUSION_VIOLATION})
"""SQLSTATEs of rows that are refused for the sake of others, which may be others soon: changes come in no order."""
CARDINALITY_VIOLATION = "21000"
"""ON CONFLICT DO UPDATE met one key twice in the same command."""
DATA_CLASSES = frozenset({"09", "20", "21", "22", "23", "27", "2F", "38", "39", "44", "54", "P0"})
"""What is one row's fault, not the server's: data exception, integrity constraint violation, program limit exceeded, and what
triggers and the functions that they call raise by themselves."""
SERVER_CLASSES = frozenset(
    {"00", "01", "02", "03", "08", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "24", "25", "26", "28", "2B", "2D", "34",
     "3B", "3D", "3F", "40", "42", "53", "55", "57", "58", "72", "F0", "HV", "XX"}
)  # fmt: skip
"""The other classes that PostgreSQL has, so any further one is a user's own: only a trigger can have raised it."""
SHORTAGE_CLASS = "53"
"""Insufficient resources: the server's state, whatever reports it, and never a row's fault."""
RAISING_FUNCTIONS = frozenset({"exec_stmt_raise", "plperl_elog", "PLy_elog_impl", "PLy_output", "pltcl_elog"})
"""Of the server's procedural languages: they raise what a function wants to be raised, whatever SQLSTATE it gives to it."""
CORRUPTED = frozenset({"XX001", "XX002"})
"""Of a table or an index: no row is at fault, and no row ought to be written any more."""
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
UNREACHABLE: tuple[type[Exception], ...] = (MigrationError, *FAILURES)
"""What a use of the target raises, the making of a connection included, when the server is not there."""

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
    """Nothing is wrong with the statement: trying again helps, or an operator has to make room first."""
    return is_transient(error) or sqlstate_of(error) == DISK_FULL


def may_pass_at_login(error: BaseException) -> bool:
    """A login that was refused may be taken later, without a change of ours, of the role or of the database."""
    code = sqlstate_of(error)
    return may_pass(error) or code[:2] in (SHORTAGE_CLASS, "58", "XX")


def is_data_error(error: BaseException) -> bool:
    """The server refused a row for what is in it, or a user's trigger did: those choose an SQLSTATE as they like.

    Only what a trigger raises of want of resources is believed: it says that of the server, not of the row.
    """
    if not isinstance(error, asyncpg.PostgresError) or _ends_session(error):
        return False
    code = sqlstate_of(error)
    if code[:2] == SHORTAGE_CLASS:
        return False
    is_own = len(code) == 5 and code[:2] not in SERVER_CLASSES
    return is_own or code[:2] in DATA_CLASSES or error.server_source_function in RAISING_FUNCTIONS


def may_be_data_error(error: BaseException) -> bool:
    """The server did not say that a row is at fault, yet one may be: an odd code of a statement within a trigger, say."""
    if not isinstance(error, asyncpg.PostgresError) or _ends_session(error):
        return False
    code = sqlstate_of(error)
    return not may_pass(error) and code[:2] not in (SHORTAGE_CLASS, "57", "58") and code not in CORRUPTED


def _ends_session(error: asyncpg.PostgresError) -> bool:
    return getattr(error, "severity_en", None) in ("FATAL", "PANIC")


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


def failure_of(error: BaseException) -> Failure:
    """What the failure of a statement, or of the way to the server, means."""
    code, sentence = describe(error)
    return Failure(code, sentence, is_transient(error))
