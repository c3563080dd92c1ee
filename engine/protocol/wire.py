"""The ground of the vocabulary: its bounds, what every object on the socket is, and the words for states."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

MAX_LINE = 256 * 1024 * 1024
"""Bytes in one line: a plan of five thousand collections with sixty columns each fits."""
SNAPSHOT_HZ = 10
"""Snapshots a second, at most."""


class Wire(BaseModel):
    """What every object on the socket is: immutable. A field that is not known is passed over: a newer engine may have it."""

    # Built when first used: no process needs them all, so starting is quicker.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)


class Request(Wire):
    """What a front end asks for: refused when it has a field that is not known, since it would be carried out without it."""

    model_config = ConfigDict(extra="forbid")


class ErrorInfo(Wire):
    """What went wrong: `code` as in `engine.errors`, `message` one sentence for people, redacted."""

    code: str
    message: str


class RunState(StrEnum):
    """A run's life."""

    IDLE = "idle"
    SEEDING = "seeding"
    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    FINISHING = "finishing"
    FOLLOWING = "following"
    DRAINING = "draining"
    HALTED = "halted"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_active(self) -> bool:
        """Work is going on, or is paused."""
        return self in ACTIVE

    @property
    def is_over(self) -> bool:
        """The run has ended, one way or another."""
        return self in OVER


OVER = frozenset({RunState.COMPLETED, RunState.CANCELLED, RunState.FAILED})
ACTIVE = frozenset(set(RunState) - OVER - {RunState.IDLE})


class Verification(StrEnum):
    """What is known about both sides being equal."""

    NONE = "none"
    RUNNING = "running"
    VERIFIED = "verified"
    MISMATCH = "mismatch"


class TableState(StrEnum):
    """How far one table of a run is."""

    WAITING = "waiting"
    COPYING = "copying"
    PAUSED = "paused"
    COPIED = "copied"
    """All rows are there; its key is not built yet."""
    BUILDING_KEY = "building key"
    BUILDING_INDEXES = "building indexes"
    FOLLOWING = "following"
    """All rows are there, and changes are applied."""
    DONE = "done"
    PARKED = "parked"
    """Parts of it ended worker after worker and are left out."""
    DIFFERS = "differs"
    """The counts of both sides do not match."""
    STOPPED = "stopped"
    """The run ended before it was copied."""


class WorkerState(StrEnum):
    """What one worker does, as its slot in shared memory says."""

    STARTING = "starting"
    IDLE = "idle"
    READING = "reading"
    CONVERTING = "converting"
    WRITING = "writing"
    SEEDING = "seeding"
    COMPARING = "comparing"
    RETRYING = "retrying"
    THROTTLED = "throttled"
    DRAINING = "draining"
    STALLED = "stalled"
    PAUSED = "paused"
