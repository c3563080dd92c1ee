"""A worker's place in the cluster: what each kind of its work has to know, and how it tells the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.convert import Preference
from engine.work.feed import Pace
from engine.work.messages import FromWorker
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
class Place:
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
