"""Changed keys as a job: each lane of each collection is a lease whenever keys of it wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from engine.cluster.job import Job, JobOwner
from engine.cluster.lease_book import MAX_DEATHS
from engine.config import redact
from engine.errors import MigrationError
from engine.failures import DISK_FULL, HELP, LOCK_NOT_AVAILABLE
from engine.mongo.causal import CausalTime
from engine.protocol import ProblemReported
from engine.work.messages import ANOTHER, APPLY_TASKS, Applied, ApplyLease, Failed

AHEAD = "72"
"""Code of MongoDB: it was asked for a time that it has not seen, as one that was restored from a backup is."""
PUT_OFF_S = 10.0
"""Applying is tried again so long after that; the stream of changes finds out what the source is."""
LaneName = tuple[int, int]
"""Task and lane."""


@dataclass(frozen=True, slots=True)
class _Sweep:
    """A lane to be applied, from a key on up to a generation."""

    lease: ApplyLease
    since: int
    """Where the stream was before the oldest of its keys came."""


class ApplyJob(Job[ApplyLease, Applied]):
    """Hands out lanes in which keys wait; one worker at a time has a lane."""

    def __init__(self, owner: JobOwner, pause: Callable[[str], None], doubt: Callable[[int], None]) -> None:
        """Nothing waits, and nothing is handed out before `is_open`.

        Args:
            pause: pauses the run, for a reason in a few words.
            doubt: called with a table's task when its collection is not the one that was copied; its lanes are held.
        """
        super().__init__()
        self._pause = pause
        self._doubt = doubt
        self.held: set[int] = set()
        """Tasks of tables whose lanes are not handed out;"""
        self.left: set[int] = set()
        """and of those that are followed no longer: nothing of them waits."""
        self.is_open = False
        """What is copied is committed and has its keys: changes may be applied."""
        self.is_whole = False
        """All keys of the ledger are known here."""
        self.n_lost = 0
        """How often that ceased to be so."""
        self.gives_way: Callable[[], bool] = lambda: False
        """Asked before a lane is handed out: the next worker is for something else, however many lanes wait."""
        self.n_keys = self.n_written = self.n_deleted = self.n_rejected = 0
        """What this engine's workers have applied."""
        self._owner = owner
        self._begun: dict[LaneName, _Sweep] = {}
        """Given back before their end; they come first."""
        self._waiting: dict[LaneName, _Sweep] = {}
        """The one that waits longest first."""
        self._out: dict[LaneName, _Sweep] = {}
        self._deaths: dict[LaneName, int] = {}
        self._put_off_until = 0.0
        self._told_away = ""
        """Of a server that is away, until something is applied again."""

    @property
    def is_idle(self) -> bool:
        """No key waits, as far as is known here."""
        return not (self._waiting or self._out or self._begun)

    @property
    def is_quiet(self) -> bool:
        """No worker has a lane."""
        return not self._out

    def lose_sight(self) -> None:
        """The ledger has, or will have, keys that are not known here."""
        self.is_whole = False
        self.n_lost += 1

    def forget(self, table_id: int | None = None) -> None:
        """The keys of a table wait no more; or what waits is not known here any more."""
        if table_id is None:
            self.lose_sight()
        for sweeps in (self._begun, self._waiting):
            for name in [each for each in sweeps if table_id in (None, each[0] - APPLY_TASKS)]:
                del sweeps[name]

    @property
    def oldest(self) -> int | None:
        """Where the stream was before the oldest keys came that are not applied; None when all are."""
        sweeps = (*self._begun.values(), *self._waiting.values(), *self._out.values())
        return min((sweep.since for sweep in sweeps), default=None)

    def wake(
        self,
        table_id: int,
        lane: int,
        generation: int,
        at: CausalTime,
        before: int,
        *,
        with_blocked: bool = False,
        is_final: bool = False,
    ) -> None:
        """Keys of a lane have changed, or those that are blocked are to be tried again.

        Args:
            generation: the newest of theirs.
            at: the stream's position behind them.
            before: the position before them.
            with_blocked, is_final: as in `ApplyLease`.
        """
        if table_id in self.left:
            return
        name = (APPLY_TASKS + table_id, lane)
        known = self._waiting.get(name)
        with_blocked = with_blocked or (known is not None and known.lease.with_blocked)
        since = before
        if known is not None:
            since = min(before, known.since)
            if known.lease.upto > generation:  # the ledger was read before the newest slice was committed
                generation, at = known.lease.upto, known.lease.not_before
        lease = ApplyLease(name[0], lane, generation, at, since=since, with_blocked=with_blocked, is_final=is_final)
        self._waiting[name] = _Sweep(lease, since)

    def next_lease(self) -> ApplyLease | None:
        """The next lane that no worker has."""
        if not self.is_open or time.monotonic() < self._put_off_until:
            return None
        for sweeps in (self._begun, self._waiting):
            for name in sweeps:
                if name not in self._out and name[0] - APPLY_TASKS not in self.held:
                    if self.gives_way():
                        return None
                    self._out[name] = sweeps.pop(name)
                    return self._out[name].lease
        return None

    def progressed(self, payload: Applied) -> None:
        """A batch is committed."""
        self._deaths.pop((payload.task_id, payload.lane), None)
        self._told_away = ""
        self.n_keys += payload.n_keys
        self.n_written += payload.n_written
        self.n_deleted += payload.n_deleted
        self.n_rejected += payload.n_rejected

    def returned(self, lease: ApplyLease, rest: ApplyLease | None) -> None:
        """A lane is swept, or its rest is given back."""
        name = (lease.task_id, lease.lane)
        sweep = self._out.pop(name, None)
        if rest is not None and sweep is not None and lease.task_id - APPLY_TASKS not in self.left:
            self._begun[name] = _Sweep(rest, sweep.since)

    def failed(self, lease: ApplyLease, failure: Failed) -> bool:
        """The target's disk is full: the run is paused. A lock on a table does not end a run that follows for days, either; nor
        does a server that is away, a collection that is another one, whose keys wait then, or a source that went back."""
        if failure.code == ANOTHER:
            self.held.add(lease.task_id - APPLY_TASKS)
            self.returned(lease, lease)
            self._doubt(lease.task_id - APPLY_TASKS)
            return True
        if failure.code == AHEAD:
            self._put_off_until = time.monotonic() + PUT_OFF_S
            self.returned(lease, lease)
            message = f"{redact(failure.message)} The source's clock is behind what was read of its changes: it is looked into."
            self._owner.emit(ProblemReported(code=failure.code, message=message, retry=True))
            return True
        if failure.is_away and failure.code != LOCK_NOT_AVAILABLE:
            self._put_off_until = time.monotonic() + PUT_OFF_S
            self.returned(lease, lease)
            if self._told_away != failure.code:
                self._told_away = failure.code
                message = f"{redact(failure.message)} What changed is applied when that is over."
                self._owner.emit(ProblemReported(code=failure.code, message=message, retry=True))
            return True
        if failure.code not in (DISK_FULL, LOCK_NOT_AVAILABLE):
            return False
        self.returned(lease, lease)
        message = redact(failure.message)
        if failure.code == DISK_FULL:
            message += f" The run is paused: {HELP[DISK_FULL].advice}, then resume it."
            self._pause(HELP[DISK_FULL].reason)
        self._owner.emit(ProblemReported(code=failure.code, message=message, retry=failure.code != DISK_FULL))
        return True

    def can_go_on(self, lease: ApplyLease) -> bool:
        """A lane can be taken back at any time: the ledger has the keys that are left."""
        return True

    def lost(self, lease: ApplyLease, why: str) -> None:
        """What its holder committed has no keys in the ledger any more."""
        name = (lease.task_id, lease.lane)
        self._deaths[name] = self._deaths.get(name, 0) + 1
        namespace = f"{self.tasks[lease.task_id].database}.{self.tasks[lease.task_id].collection}"
        if self._deaths[name] >= MAX_DEATHS:
            message = (
                f"Changes of {namespace} ended {MAX_DEATHS} workers one after the other. What is not applied stays in the "
                "ledger; see the log, then resume the run."
            )
            self._owner.fail(MigrationError(message, code="parked"))
            return
        message = f"A worker {why}; the changes that it applied go to another."
        self._owner.emit(ProblemReported(code="worker_lost", message=message, namespace=namespace, retry=True))
        self.returned(lease, lease)
