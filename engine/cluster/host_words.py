"""The words between the engine and a host process (`engine.cluster.host`), which has members on another host.

::

    engine -> host   Open, Begin, Tell, End
    host -> engine   Here, Begun, Said, Left, NotBegun; with a parcel, a Beat
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.cluster.crew import Counters
from engine.work.codec import MESSAGES, Codec
from engine.work.context import WorkerStart
from engine.work.messages import FromWorker, ToWorker

ENGINE, HOST = "engine", "host"
"""The two ends of a conversation."""
SIGN_EVERY_S = 1.0
"""Each end sends something at least so often."""
ENGINE_SILENT_S = 10.0
"""A host that has heard nothing of its engine for so long ends its members, and itself."""
HOST_SILENT_S = 8.0
"""The engine takes members for lost whose host has not been heard of for so long."""


@dataclass(frozen=True, slots=True)
class Open:
    """What members that are started from here on have to know."""

    start: WorkerStart


@dataclass(frozen=True, slots=True)
class Begin:
    """Start a member."""

    member: int


@dataclass(frozen=True, slots=True)
class Tell:
    """A message for a member."""

    member: int
    message: ToWorker


@dataclass(frozen=True, slots=True)
class End:
    """Kill a member."""

    member: int


@dataclass(frozen=True, slots=True)
class Here:
    """The first word of a host."""

    name: str
    pid: int
    cores: int
    python: str
    converter: str
    """That of `auto`."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The process of a member was started."""

    member: int
    pid: int


@dataclass(frozen=True, slots=True)
class Said:
    """A message of a member."""

    member: int
    message: FromWorker


@dataclass(frozen=True, slots=True)
class Left:
    """A member is dead."""

    member: int
    words: str
    """As in `Ended.message`."""
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class NotBegun:
    """The process of a member cannot be started."""

    member: int
    why: str
    """Name of the error."""


@dataclass(frozen=True, slots=True)
class Beat:
    """How members are doing."""

    load: float
    """Average of a minute, of the host."""
    counters: dict[int, Counters]
    """By number of the member; of those that it is about."""


CODEC = Codec([*MESSAGES, Counters, Open, Begin, Tell, End, Here, Begun, Said, Left, NotBegun, Beat])
"""Of everything that the two say to each other."""
