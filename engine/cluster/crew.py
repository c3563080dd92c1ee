"""The seam between the supervisor and worker processes: where they run, and how one is started and ended, is behind it.

Only ages cross it, never values of a clock: the clocks of two processes on two hosts have nothing in common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.config import Settings
from engine.work.context import WorkerStart
from engine.work.messages import FromWorker, ToWorker


@dataclass(frozen=True, slots=True)
class Counters:
    """The newest sample of what a worker counts. For the screen: what is committed is told by messages and the ledger."""

    state: str
    """As in `WorkerState`."""
    sent: int
    """Rows that PostgreSQL has received, committed or not (documents inserted, when seeding)."""
    written: int
    """Rows committed."""
    rejected: int
    reading_ns: int
    """Nanoseconds spent waiting for MongoDB; likewise the next ones."""
    converting_ns: int
    writing_ns: int
    throttled_ns: int
    silent_s: float
    """Seconds since its loop gave a sign, or since its process was started."""
    idle_s: float
    """Seconds since it made progress."""
    cpu_ns: int = 0
    """Processor time of its process."""
    memory: int = 0
    """Bytes of its memory that are resident; 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a member left."""

    message: str
    """As "A worker ..." goes on."""
    exit_code: int | None
    """None where it is not known."""
    certain: bool = True
    """The process is dead; otherwise it is out of reach, and its session with the target has to be ended before its lease is
    given to another."""


@dataclass(frozen=True, slots=True)
class Host:
    """Where members run besides this host."""

    name: str
    address: str
    """By which the crew reaches it."""
    slots: int
    """Members that it can have at most."""
    members: int
    """Those alive, and those being started."""
    round_trip_s: float = 0.0
    """Of the newest message to it; 0 before the first."""
    cores: int = 0
    load: float = 0.0
    """Average of a minute."""
    version: str = ""
    """Of this program, there."""
    problem: str = ""
    """Why it takes no members, as "host b: ..." goes on; empty where it does."""
    is_tried_again: bool = False
    """Its problem may pass: members are started there again after a while."""


class Member(Protocol):
    """One worker process, wherever it is."""

    @property
    def id(self) -> int:
        """1..N, for people; a replacement takes over the number."""
        ...

    @property
    def host(self) -> str:
        """Name of its host; empty is this one."""
        ...

    @property
    def pid(self) -> int:
        """On its host; 0 while it is being started."""
        ...

    @property
    def is_gone(self) -> bool:
        """Its end was noticed; its last messages are being read."""
        ...

    def send(self, message: ToWorker) -> None:
        """Never blocks; dropped when the member is gone."""
        ...

    def counters(self) -> Counters:
        """The newest sample of the member's counters."""
        ...

    def end(self) -> None:
        """Have it killed, by what can; `CrewEvents.left` tells when it is known to be dead."""
        ...


class CrewEvents(Protocol):
    """What a crew tells its supervisor."""

    def joined(self, member: Member) -> None:
        """A member is being started; it can be sent to."""
        ...

    def said(self, member: Member, message: FromWorker) -> None:
        """A message of a member."""
        ...

    def leaving(self, member: Member) -> None:
        """Its host is taken away: it finishes what it has in hand, and ends."""
        ...

    def left(self, member: Member, how: Ended) -> None:
        """A member is no more; it says nothing after this."""
        ...

    def never_joined(self, member: Member) -> None:
        """The process of a member could not be started; another try may follow."""
        ...

    def cannot_start(self, error: Exception) -> None:
        """No more processes can be had; of a `MigrationError` that there never will be one."""
        ...

    def noticed(self, code: str, message: str, *, is_retry: bool = True) -> None:
        """Something happened to the hosts of members, which the crew deals with.

        Args:
            is_retry: work that was begun is done again because of it.
        """
        ...


class Crew(Protocol):
    """The members, and what makes them."""

    @property
    def capacity(self) -> int | None:
        """The most members that there can be now; None is no bound of its own."""
        ...

    @property
    def hosts(self) -> Sequence[Host]:
        """Where members run or could run; none where all are on this host."""
        ...

    @property
    def hosts_wanted(self) -> int:
        """How many hosts the cluster was asked to have, where it was asked for more; else 0."""
        ...

    def want(self, n: int) -> None:
        """So many members in all, those that are about to leave included: starts what is missing, never ends one."""
        ...

    def start_with(self, start: WorkerStart) -> None:
        """What members that are started from here on have to know."""
        ...

    def refuse(self, host: str, problem: str, again_s: float | None = None) -> None:
        """Start no members on a host any more, as long as what is there stays as it is.

        Args:
            problem: why, as "host b: ..." goes on.
            again_s: it may pass: members are started there again after so many seconds.
        """
        ...

    async def stop_starting(self) -> None:
        """Start none any more; returns when none is being started."""
        ...

    async def close(self) -> None:
        """There are no members left, and there will be none."""
        ...


MakeCrew = Callable[[CrewEvents], Crew]
"""Makes an empty crew for a supervisor."""
CrewsOf = Callable[[Settings], MakeCrew]
"""What makes crews under these settings."""
