"""What the failure of a server means, without its driver: a code, a sentence, whether to try again, what an operator can do.

`engine.mongo.faults` and `engine.postgres.sqlstates` map onto it what their drivers raise; `engine.work.connections` has one
function for both. How long to try again is `engine.retries`.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import ConnectError, MigrationError

LOCK_NOT_AVAILABLE = "55P03"
DISK_FULL = "53100"
TOO_MANY_CONNECTIONS = "53300"
"""For the server, the database or the role. All three are PostgreSQL's SQLSTATEs."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, as it is told and acted upon."""

    code: str
    """An SQLSTATE, MongoDB's code as digits, or a word of this program's own."""
    sentence: str
    """For people: redacted, on one line."""
    is_transient: bool
    """Trying again, after a while and on a new connection, may help."""
    is_refused: bool = False
    """A login was refused, and will be as long as nothing is changed at the server."""


@dataclass(frozen=True, slots=True)
class Help:
    """What only an operator can do about a failure."""

    advice: str
    """A part of a sentence."""
    reason: str
    """Why the run is paused."""


HELP = {
    DISK_FULL: Help("make room on the target's server", "waiting: the target's disk is full"),
    TOO_MANY_CONNECTIONS: Help("end other sessions of the target, or raise its limit", "waiting: target connections"),
    LOCK_NOT_AVAILABLE: Help(
        "the run continues by itself when that session releases it; end the session to continue sooner",
        "waiting: a lock on a target table",
    ),
}
"""By code; nothing else needs an operator before the run can go on."""


def failure_of(error: MigrationError) -> Failure:
    """What an error of this program's own means: servers that are away may come back, and locks are released."""
    is_refused = isinstance(error, ConnectError) and error.is_final
    is_away = error.exit_code == 3 and not is_refused
    return Failure(error.code, error.message, is_away or error.code == LOCK_NOT_AVAILABLE, is_refused)
