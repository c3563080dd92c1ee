"""What went wrong with MongoDB: told apart by exception class and code, put into one sentence for people.

No message text of a driver or a server goes into a sentence: it can hold secrets, document values, control characters.
Server error codes: https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    CursorNotFound,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidURI,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WTimeoutError,
)

from engine.errors import ConnectError, MigrationError
from engine.failures import Failure
from engine.validation import shown

AUTHENTICATION_CODES = frozenset({18, 8000})
"""AuthenticationFailed, and Atlas's own code for it."""
UNAUTHORIZED = 13
DUPLICATE_KEY = 11000
SAMPLED_TOO_OFTEN = 28799
"""The random cursor of a skewed tree met the same documents again and again."""
EXECUTION_TIMEOUT = 50

TRANSIENT_CODES = frozenset({
    6,      # HostUnreachable
    7,      # HostNotFound
    43,     # CursorNotFound
    50,     # MaxTimeMSExpired
    63,     # StaleShardVersion
    89,     # NetworkTimeout
    91,     # ShutdownInProgress
    112,    # WriteConflict
    133,    # FailedToSatisfyReadPreference
    134,    # ReadConcernMajorityNotAvailableYet
    150,    # StaleEpoch
    175,    # QueryPlanKilled
    189,    # PrimarySteppedDown
    234,    # RetryChangeStream
    237,    # CursorKilled
    262,    # ExceededTimeLimit
    317,    # ConnectionPoolExpired
    358,    # InternalTransactionNotSupported
    9001,   # SocketException
    10058,  # LegacyNotPrimary
    10107,  # NotWritablePrimary
    11600,  # InterruptedAtShutdown
    11602,  # InterruptedDueToReplStateChange
    13388,  # StaleConfig
    13435,  # NotPrimaryNoSecondaryOk
    13436,  # NotPrimaryOrSecondary
})  # fmt: skip
"""Failures that a new cursor, or the same insert again, may well not meet."""

_OTHER_CLOCK = frozenset({
    203,    # TimeProofMismatch
    204,    # ClusterTimeFailsRateLimiter
    211,    # KeyNotFound
})  # fmt: skip
"""The server does not take the cluster time that a client has heard of: it was restored, or another one stands in its place."""
_UNREADABLE = frozenset({91, 11600, 11602, 13435, 13436})
"""Shutting down, or in a state such as an initial sync."""
_NO_SESSIONS = "Sessions are not supported"
"""In the driver's words; it has no class or code for it."""
_DEEPEST_CAUSE = 10
"""Exceptions of a chain that are looked at."""

_ADVICE = {
    UNAUTHORIZED: "the user of source.uri lacks the right to do this",
    26: "the collection does not exist any more",
    43: "the server has closed the cursor",
    50: "the server's time limit ran out",
    96: "the server failed to execute the operation",
    136: "the capped collection has overwritten what was still to be read",
    237: "the server has ended the cursor",
    203: "it does not take the cluster time of another cluster",
    211: "it does not take the cluster time of another cluster",
    292: "the server's memory limit for sorting is exceeded",
    10334: "a document is larger than the server allows",
    14031: "the server's disk is full",
}


def is_transient(exc: BaseException) -> bool:
    """Whether trying again, with a new cursor after the last committed key, can help."""
    if isinstance(exc, CursorNotFound | ExecutionTimeout | NotPrimaryError | WTimeoutError | WaitQueueTimeoutError):
        return True
    if isinstance(exc, OperationFailure):
        return exc.code in TRANSIENT_CODES | _OTHER_CLOCK or exc.has_error_label("TransientTransactionError")
    # Covers NetworkTimeout, ServerSelectionTimeoutError and everything else that ends a connection.
    return isinstance(exc, ConnectionFailure) or is_without_sessions(exc)


def is_connection_lost(exc: BaseException) -> bool:
    """The server could not be reached, or is no member that can be read."""
    is_unreadable = isinstance(exc, OperationFailure) and exc.code in _UNREADABLE
    return isinstance(exc, ConnectionFailure) or is_unreadable or is_without_sessions(exc)


def is_without_sessions(exc: BaseException) -> bool:
    """The server is no member of its replica set, such as one that is starting: the driver refuses sessions of ours with it."""
    return isinstance(exc, ConfigurationError) and _NO_SESSIONS in str(exc)


def is_of_old_client(exc: BaseException) -> bool:
    """Only another client may help: the driver believes as long as a connection lasts what its server said at first, such as
    that it has no sessions, since it was starting; and tells the cluster time that it has heard to every server.
    """
    return is_without_sessions(exc) or (isinstance(exc, OperationFailure) and exc.code in _OTHER_CLOCK)


def code_of(exc: BaseException) -> str:
    """MongoDB's code as digits, or a word of our own when the failure has none."""
    if isinstance(exc, BulkWriteError):
        errors = exc.details.get("writeErrors", []) if exc.details else []
        return str(errors[0].get("code", "bulk_write")) if errors else "bulk_write"
    if isinstance(exc, OperationFailure) and exc.code is not None:
        return str(exc.code)
    if isinstance(exc, NotPrimaryError):
        return str(exc.details.get("code", "not_primary")) if isinstance(exc.details, Mapping) else "not_primary"
    if isinstance(exc, ServerSelectionTimeoutError):
        return "no_server"
    if isinstance(exc, NetworkTimeout):
        return "network_timeout"
    if isinstance(exc, AutoReconnect):
        return "connection_lost"
    if is_without_sessions(exc):
        return "no_sessions"
    if isinstance(exc, InvalidURI | ConfigurationError):
        return "configuration"
    return "mongodb"


def describe(exc: BaseException) -> tuple[str, str]:
    """Code and sentence of a failure while reading or writing MongoDB."""
    code = code_of(exc)
    if isinstance(exc, DuplicateKeyError) or code == str(DUPLICATE_KEY):
        return code, "MongoDB holds a document of this key already (code 11000)."
    if isinstance(exc, OperationFailure):
        advice = _ADVICE.get(exc.code or 0, "")
        named = f"code {code}{_code_name(exc)}"
        return code, f"MongoDB refused the operation ({named})" + (f": {advice}." if advice else ".")
    if isinstance(exc, ServerSelectionTimeoutError):
        return code, "No MongoDB server of source.uri can be reached."
    if isinstance(exc, NetworkTimeout):
        return code, "MongoDB did not answer in time."
    if isinstance(exc, NotPrimaryError):
        return code, "The MongoDB server is shutting down or has stopped being the primary."
    if isinstance(exc, ConnectionFailure):
        return code, f"The connection to MongoDB was lost{_cause_in_words(exc)}."
    if is_without_sessions(exc):
        return code, "The MongoDB server offers no sessions: it is starting, or no member of a replica set."
    if isinstance(exc, PyMongoError):
        return code, f"Working with MongoDB failed ({type(exc).__name__})."
    return code, f"Working with MongoDB failed unexpectedly ({type(exc).__name__})."


def failure_of(exc: BaseException) -> Failure:
    """What a failure while reading or writing MongoDB means."""
    code, sentence = describe(exc)
    return Failure(code, sentence, is_transient(exc))


@contextmanager
def explained() -> Iterator[None]:
    """Turns failures of the driver into errors with a sentence for people; a decorator too.

    Raises:
        ConnectError: the server was lost.
        MigrationError: it refused what it was asked.
    """
    try:
        yield
    except PyMongoError as exc:
        code, sentence = describe(exc)
        is_lost = isinstance(exc, ConnectionFailure) or is_without_sessions(exc)
        kind = ConnectError if is_lost else MigrationError
        raise kind(sentence, code=code) from None


@contextmanager
def named(namespace: str) -> Iterator[None]:
    """Names the collection in what the server refuses for good, such as a view whose pipeline fails.

    Raises:
        MigrationError: it refused what it was asked.
    """
    try:
        yield
    except OperationFailure as exc:
        if is_transient(exc) or is_connection_lost(exc):
            raise
        code, sentence = describe(exc)
        raise MigrationError(
            f"{shown(namespace)} cannot be read: {sentence} What the server says of it is seen by reading it in mongosh.",
            code=code,
        ) from None


def _code_name(exc: OperationFailure) -> str:
    name = exc.details.get("codeName") if exc.details else None
    return f", {name}" if isinstance(name, str) and name.isascii() and name.isalnum() and len(name) <= 60 else ""


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """An exception and those it was raised from, outermost first."""
    seen: BaseException | None = exc
    for _ in range(_DEEPEST_CAUSE):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__


def _cause_in_words(exc: BaseException) -> str:
    for cause in _causes(exc):
        if isinstance(cause, ConnectionRefusedError):
            return ": it refuses connections"
        if isinstance(cause, ssl.SSLError):
            return ": the TLS handshake failed"
        if isinstance(cause, socket.gaierror):
            return ": its name cannot be resolved"
        if isinstance(cause, TimeoutError):
            return ": it did not answer in time"
    return ""
