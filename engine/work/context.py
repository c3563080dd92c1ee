"""A worker's place in the cluster: what each kind of its work has to know, and how it tells the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from engine.convert import Preference
from engine.work.feed import Pace
from engine.work.messages import Failed, FromWorker, Lease, Returned, Task
from engine.work.slots import Slot


@dataclass(frozen=True, slots=True)
class WorkerStart:
    """What a worker has to know; it travels through the fork server's pipe."""

    run_id: str
    source_uri: str = field(repr=False)
    target_uri: str = field(repr=False)
    converter: Preference
    """The setting: auto, native or plain."""

    @property
    def app_name(self) -> str:
        """Names the sessions, so that people find them in `pg_stat_activity` and `currentOp`."""
        return f"mongopg-tui {self.run_id}"


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """One worker's."""

    start: WorkerStart
    worker: int
    """Its number, from 1."""
    slot: Slot
    """Where its state is shown."""
    pace: Pace
    """What the engine wants of the lease in hand."""
    report: Callable[[FromWorker], None]
    """Sends the engine a message."""


TaskT = TypeVar("TaskT", bound=Task, contravariant=True)
LeaseT = TypeVar("LeaseT", bound=Lease)


class Work(ABC, Generic[TaskT, LeaseT]):
    """What a worker does with the leases of one kind of work; made with a `WorkerContext`, kept from lease to lease."""

    needs_target = True
    """It connects to PostgreSQL, which tells the engine that it has begun."""

    @abstractmethod
    async def work(self, task: TaskT, lease: LeaseT) -> Returned | Failed:
        """Do a lease, or as much of it as the engine lets us; cancelled when the engine wants it dropped."""

    def rest(self, lease: LeaseT) -> LeaseT:
        """What is left of a lease that was dropped, as far as is known here; what is before it is done."""
        return lease

    async def abort(self) -> None:
        """Roll back what is in hand."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connections to the servers."""
