"""What a phase of a run may ask of it, and what the run asks of its phases.

A phase is an object that exists while it holds: it takes a `RunContext`, never the run itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from engine.cluster.dispatcher import Dispatcher
from engine.config import Settings
from engine.errors import MigrationError
from engine.protocol import CountingView, Event, RunState
from engine.run.record import RunRecord

Result = TypeVar("Result")


class RunContext(Protocol):
    """A run, for its phases."""

    @property
    def settings(self) -> Settings:
        """As they are now: with the embedded servers' addresses, and with what a saved plan decides."""
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
    def counting(self) -> CountingView | None:
        """How far a census is that the phase takes."""
        return None

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
