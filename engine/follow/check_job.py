"""What was applied as a job of its own: each lane of which keys wait to be compared is a lease."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from engine.cluster.job import Job, JobOwner
from engine.ledger.changed import ToCompare
from engine.mongo.causal import CausalTime
from engine.plurals import counted
from engine.protocol import ProblemReported
from engine.work.messages import CHECK_TASKS, Checked, CheckLease, Failed

DIFFERENCES = "differences"
"""Code of the news that rows were found to differ from their documents."""
PUT_OFF_S = 10.0
"""Comparing is tried again so long after it failed: whatever is in its way is told by those who apply."""

TURN_S = 0.5
"""Where changes come without an end, as many workers as there are apply them: one of them compares a batch so often."""


class CheckJob(Job[CheckLease, Checked]):
    """Hands out lanes whose keys can be compared; one worker at a time has a lane. It never ends a run."""

    def __init__(
        self, owner: JobOwner, on_mended: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing waits.

        Args:
            on_mended: called when keys are to be applied again.
        """
        super().__init__()
        self.is_open = False
        """Comparing does not take workers from what is more urgent."""
        self.n_keys = 0
        """What this engine's workers have compared."""
        self._owner = owner
        self._on_mended = on_mended
        self._waiting: dict[tuple[int, int], CheckLease] = {}
        self._out: set[tuple[int, int]] = set()
        self._put_off_until = 0.0
        self._clock = clock
        self._turn_at = clock()
        """When a worker had a lane last."""
        self._has_turn = False

    def takes_turn(self) -> bool:
        """Lanes wait, and no worker has had one for long: one is handed out next, whatever else there is to do."""
        now = self._clock()
        may = self.is_open and now >= self._put_off_until and bool(self._waiting) and not self._out
        self._has_turn = may and now >= self._turn_at + TURN_S
        return self._has_turn

    def offer(self, waiting: Sequence[ToCompare], gossip: bytes) -> None:
        """These lanes can be compared, and no others."""
        self._waiting = {
            (each.task_id, each.lane): CheckLease(
                CHECK_TASKS + each.task_id, each.lane, each.upto, CausalTime(each.at, gossip)
            )
            for each in waiting
        }

    def next_lease(self) -> CheckLease | None:
        """The next lane that no worker has."""
        if not self.is_open or self._clock() < self._put_off_until:
            return None
        is_brief, self._has_turn = self._has_turn, False
        for name in self._waiting:
            if name not in self._out:
                self._out.add(name)
                return replace(self._waiting.pop(name), is_brief=is_brief)
        return None

    def progressed(self, payload: Checked) -> None:
        """A batch is compared."""
        self.n_keys += payload.n_keys
        task = self.tasks[payload.task_id]
        namespace = f"{task.database}.{task.collection}"
        if payload.n_again:
            differ = counted(
                payload.n_again,
                f"row of {namespace} was found to differ from its document, and is",
                f"rows of {namespace} were found to differ from their documents, and are",
            )
            message = f"{differ} written again. Something else may write to the table."
            self._owner.emit(ProblemReported(code=DIFFERENCES, message=message, namespace=namespace, retry=True))
            self._on_mended()
        if payload.n_standing:
            differ = counted(
                payload.n_standing,
                f"row of {namespace} differs from its document though it was",
                f"rows of {namespace} differ from their documents though they were",
            )
            message = (
                f"{differ} written again: a trigger may change what is written, or something else writes to the table."
            )
            self._owner.emit(ProblemReported(code=DIFFERENCES, message=message, namespace=namespace))

    def returned(self, lease: CheckLease, rest: CheckLease | None) -> None:
        """A lane is compared, or its rest is given back: the ledger has what is left."""
        self._out.discard(_name(lease))
        self._turn_at = self._clock()

    def failed(self, lease: CheckLease, failure: Failed) -> bool:
        """It is tried again later."""
        self._put_off_until = self._clock() + PUT_OFF_S
        self._out.discard(_name(lease))
        return True

    def can_go_on(self, lease: CheckLease) -> bool:
        """A lane can be taken back at any time."""
        return True

    def lost(self, lease: CheckLease, why: str) -> None:
        """Its holder has ended: the ledger has what is left."""
        self._put_off_until = self._clock() + PUT_OFF_S
        self._out.discard(_name(lease))


def _name(lease: CheckLease) -> tuple[int, int]:
    return lease.task_id - CHECK_TASKS, lease.lane
