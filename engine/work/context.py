"""A worker's place in the cluster: what each kind of its work has to know, and how it tells the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from engine.convert import Preference
from engine.errors import UsageError
from engine.redaction import secrets_in
from engine.references import resolve
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
    source_from: str = ""
    """Where a worker on another host finds the source's connection string (`engine.references`); empty where it is sent."""
    target_from: str = ""

    def for_other_hosts(self, *, is_private: bool) -> WorkerStart:
        """What is sent to another host: references in place of connection strings, where there are any.

        Args:
            is_private: nothing else can read what is sent: it goes through TLS, or does not leave this machine.

        Raises:
            UsageError: a connection string that holds a secret would have to be sent in clear.
        """
        sides = {"source": (self.source_uri, self.source_from), "target": (self.target_uri, self.target_from)}
        for side, (uri, reference) in sides.items():
            if not reference and not is_private and secrets_in(uri):
                raise UsageError(
                    f"The password of {side}.uri would go to workers on other hosts in clear: connect to the scheduler with "
                    f"tls://, or give each host the connection string and set {side}.uri to env:NAME or file:/PATH."
                )
        return replace(
            self,
            source_uri="" if self.source_from else self.source_uri,
            target_uri="" if self.target_from else self.target_uri,
        )

    def resolved(self) -> WorkerStart:
        """With the connection strings that this host has.

        Raises:
            UsageError: it has none where a reference leads.
        """
        return replace(
            self,
            source_uri=self.source_uri or (resolve(self.source_from, "source.uri") if self.source_from else ""),
            target_uri=self.target_uri or (resolve(self.target_from, "target.uri") if self.target_from else ""),
        )

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
    tasks: Mapping[int, Task] = field(default_factory=dict)
    """What the leases in hand are parts of, by number."""


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

    def forget(self, task_id: int) -> None:
        """A task is told again before its next lease, if there is one: nothing need be kept for it."""

    async def abort(self) -> None:
        """Roll back what is in hand."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connections to the servers."""
