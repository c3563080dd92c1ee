"""How long a copy took, for `bench`: from all workers being ready to the last commit.

A run begins to copy while some of its workers are still being started, the more the larger the cluster is. That is no part
of how fast a cluster is. So `bench` pauses a run as soon as it is accepted: it plans and starts its workers meanwhile, and
is resumed when all of them are there. That starts the clock.
"""

from __future__ import annotations

from engine.protocol import Event, RunPlanned, RunState, SliceCommitted, Snapshot, StateEntered, WorkerState


def all_stand_ready(snapshot: Snapshot) -> bool:
    """Whether every worker of a paused run has its process and waits for work."""
    workers = snapshot.workers
    return (
        snapshot.state is RunState.PAUSED
        and len(workers) >= max(1, snapshot.cluster_size)
        and all(worker.state is WorkerState.PAUSED for worker in workers)
    )


class CopyClock:
    """Follows the events of one run."""

    def __init__(self) -> None:
        self.is_planned = False
        """The run knows what to copy."""
        self.rows = 0
        """Committed since the clock started."""
        self._began: float | None = None
        self._last_commit: float | None = None

    def take(self, event: Event) -> None:
        """Take the next event."""
        match event:
            case RunPlanned():
                self.is_planned = True
            case StateEntered(state=RunState.RUNNING):
                # Also of a run that had begun when it was asked to wait: what it had copied by then is left out.
                self._began, self._last_commit, self.rows = event.at, None, 0
            case SliceCommitted() if self._began is not None:
                self._last_commit = event.at
                self.rows += event.written

    @property
    def seconds(self) -> float:
        """Seconds from the resume to the last commit so far; 0 before there is one."""
        return 0.0 if self._began is None or self._last_commit is None else self._last_commit - self._began
