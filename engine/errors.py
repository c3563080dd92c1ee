"""Every error that reaches a person, and the exit code it ends a command with.

::

    MigrationError                 1  the run failed
     |- UsageError                 2  wrong usage or settings
     |   |- KnobError              2  a knob out of its bounds
     |   |- TargetExists           2  an existing table in mode "create"
     |   |- MissingCollection      2  the source has no such collection
     |   |- PlanChanged            2  resume with a different plan
     |   |- OtherVersion           2  the run's engine is of another version of this program
     |   `- TargetHeld             2  another run holds the target, or the run is held
     |       `- RunTaken           2  another engine has taken the run over
     |- ConnectError               3  cannot connect, or no engine is there
     `- Cancelled                130  cancelled, however asked

A message is one clear sentence that names the setting, field or server and what to do. It never holds a secret: build it
from redacted URIs (`engine.config.redact`).
"""

from __future__ import annotations

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONNECT = 3
EXIT_INCOMPLETE = 4
"""Finished, but with rejects or a mismatch; no error stands for it."""
EXIT_CALLED_OFF = 5
"""A cut-over was called off: the run goes on following its source."""
EXIT_CANCELLED = 130
EXIT_SIGHUP = 129
EXIT_SIGTERM = 143


class MigrationError(Exception):
    """The run failed."""

    exit_code = EXIT_FAILED
    code = "failed"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class UsageError(MigrationError):
    """Wrong usage or settings."""

    exit_code = EXIT_USAGE
    code = "usage"


class KnobError(UsageError):
    """A knob outside its bounds, or one that cannot be changed now."""

    code = "knob"


class TargetExists(UsageError):
    """The target table exists and the mode is `create`."""

    code = "table_exists"


class MissingCollection(UsageError):
    """The source database has no such collection."""

    code = "missing_collection"


class PlanChanged(UsageError):
    """The run to resume was made from a different plan."""

    code = "plan_changed"


class OtherVersion(UsageError):
    """The engine and its front end are of versions that do not understand each other."""

    code = "other_version"


class TargetHeld(UsageError):
    """Another run holds the target table, or another engine drives this run."""

    code = "target_held"


class RunTaken(TargetHeld):
    """Another engine has taken the run over: this one writes nothing any more."""

    code = "run_taken"


class ConnectError(MigrationError):
    """A server, or a run's engine, cannot be reached."""

    exit_code = EXIT_CONNECT
    code = "connect"

    def __init__(
        self, message: str, *, code: str | None = None, is_final: bool = False, wants_password: bool = False
    ) -> None:
        super().__init__(message, code=code)
        self.wants_password = wants_password
        """The server refuses the password, or the lack of one."""
        self.is_final = is_final
        """The server answers and refuses: trying again is of no use before something is changed."""


class Cancelled(MigrationError):
    """Cancelled, however asked."""

    exit_code = EXIT_CANCELLED
    code = "cancelled"


def error_from(code: str, message: str, exit_code: int = EXIT_FAILED) -> MigrationError:
    """The error that travelled as `code`, `message` and `exit_code`: of the class of that code, or else of that exit code."""
    kinds = _kinds()
    for kind in kinds:
        if kind.code == code:
            return kind(message)
    return next((kind for kind in kinds if kind.exit_code == exit_code), MigrationError)(message, code=code)


def _kinds(kind: type[MigrationError] = MigrationError) -> list[type[MigrationError]]:
    """The classes of this page, the general before the special; those of other pages may not even take a message."""
    below = [each for sub in kind.__subclasses__() if sub.__module__ == __name__ for each in _kinds(sub)]
    return [kind, *below]
