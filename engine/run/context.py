"""What a phase of a run may ask of it, and what the run asks of its phases.

A phase is an object that exists while it holds: it takes a `RunContext`, never the run itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from engine.cluster.dispatcher import Dispatcher
from engine.config import Settings
from engine.errors import MigrationError, UsageError
from engine.protocol import CountingView, Event, FollowView, RunState
from engine.run.record import RunRecord

Result = TypeVar("Result")


class RunContext(Protocol):
    """A run, for its phases."""

    waits_for_servers: bool
    """However long a server is away, the run does not end for it: it follows its source, and the oplog keeps what changes."""

    @property
    def settings(self) -> Settings:
        """As they are now: with the embedded servers' addresses, and with what a saved plan decides."""
        ...

    @property
    def taken_unix(self) -> float:
        """When this engine took the run, seconds since 1970."""
        ...

    @property
    def record(self) -> RunRecord:
        """What is known of the run; events change it."""
        ...

    @property
    def cluster(self) -> Dispatcher:
        """The workers of the run, and its jobs."""
        ...

    @property
    def is_paused(self) -> bool:
        """Paused, or about to be."""
        ...

    def emit(self, event: Event) -> None:
        """A fact: it changes the record, and goes to clients and ledger."""
        ...

    def enter(self, state: RunState, phase: str) -> None:
        """The run has come to this; a pause in force stays in force."""
        ...

    def pause(self, reason: str) -> None:
        """Pages end and are committed, then the run is paused until it is resumed; raises UsageError where it cannot be."""
        ...

    async def stand(self, reason: str, at_most_s: float | None = None) -> None:
        """Be paused until the run is resumed, in any state.

        Args:
            at_most_s: return after so many seconds though it was not resumed, unless it is paused for another reason; it still
                counts as paused then, until `go_on`.

        Raises:
            Cancelled: so asked meanwhile.
        """
        ...

    async def until_clear(self) -> None:
        """Be paused while a guard has passed the limit that pauses: before a key or an index is begun, which nothing can pause.

        Raises:
            Cancelled: so asked meanwhile.
        """
        ...

    def go_on(self, reason: str) -> None:
        """What the run was paused for is over; a pause for another reason stays in force."""
        ...

    def fail(self, error: MigrationError) -> None:
        """The run cannot be completed: pages in hand are rolled back, and it ends failed. The first error counts."""
        ...

    async def until(self, is_done: Callable[[], bool]) -> None:
        """Wait for work of workers. Raises Cancelled, or what made the run fail, when it is to stop."""
        ...

    async def interruptible(self, work: Awaitable[Result]) -> Result:
        """Wait for work of the engine, which a cancel or a failure breaks off at once. Raises as `until` does."""
        ...


class Phase(ABC):
    """A part of a run: filling the source, or copying it."""

    weak_tls: tuple[str, ...] = ()
    """Connections that can be read or forged in the network, for people: "source: TLS, not verified"."""
    written_before = 0
    """Rows that a resumed run had committed earlier: rates are only about this time."""
    seconds_before = 0.0
    """Seconds that earlier engines worked on it."""
    first_started_unix = 0.0
    """When a resumed run was started first, seconds since 1970; 0 of one that was not resumed."""
    partitions_first = 0
    """How many partitions there were when it began."""

    @abstractmethod
    async def run(self) -> None:
        """Do it. Raises Cancelled, or what made it fail."""

    @property
    @abstractmethod
    def amounts(self) -> tuple[int, int]:
        """Documents done, and expected in all."""

    @property
    def partitions(self) -> tuple[int, int]:
        """Partitions done, and in all."""
        return 0, 0

    @property
    def partitions_waiting(self) -> int:
        """Partitions that no worker has yet."""
        return 0

    @property
    def has_partitions(self) -> bool:
        """There is something to copy, and workers are at it."""
        return False

    @property
    def unfinished(self) -> frozenset[int] | None:
        """Tables of which partitions are left to copy, by task; None where that is not known."""
        return None

    @property
    def counting(self) -> CountingView | None:
        """How far a census is that the phase takes."""
        return None

    @property
    def follow(self) -> FollowView | None:
        """How far it is with following its source; None where it does not."""
        return None

    def cut_over(self, timeout_s: float, *, blocks_writes: bool = False, compares_all: bool = False) -> None:
        """Complete a run that follows its source.

        Raises:
            UsageError: it does not follow, or is not ready.
        """
        raise UsageError("The run does not follow its source: it completes by itself.", code="state")

    def call_off(self, by: str) -> None:
        """Break a cut-over off.

        Raises:
            UsageError: there is none, or it is too late.
        """
        raise UsageError("The run does not follow its source: there is no cut-over to call off.", code="state")

    async def resolve(self, namespace: str, choice: str, by: str) -> None:
        """Do this about something that became of the source.

        Raises:
            UsageError: nothing did, or this cannot be done about it.
        """
        raise UsageError("The run does not follow its source: nothing is to be resolved.", code="state")

    async def knob_applies(self, knob: str, value: int) -> str:
        """When a knob's new value would apply, as text; empty leaves the answer to others.

        Raises:
            KnobError: it cannot be turned to this.
        """
        return ""

    def knob_turned(self, knob: str, value: int) -> None:  # noqa: B027 - a phase need not care
        """A knob has another value; the cluster knows it already."""

    def note(self, event: Event) -> None:  # noqa: B027 - a phase need not care
        """A fact about the run."""

    async def last_count(self) -> None:  # noqa: B027 - a phase need not care
        """The workers have ended: bring the counters to what is committed."""

    async def close(self, state: RunState, seconds: float, error: str) -> None:  # noqa: B027 - a phase need not care
        """The run is over.

        Args:
            seconds: that count as the run's.
            error: why it failed; empty when it did not.
        """


class NoPhase(Phase):
    """Before the first phase."""

    async def run(self) -> None:
        """Nothing to do."""

    @property
    def amounts(self) -> tuple[int, int]:
        """Nothing is known yet."""
        return 0, 0
