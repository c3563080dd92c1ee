"""What more workers would only wait for, too, as far as the servers and this machine show it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from engine.plurals import counted
from engine.protocol import TargetVitals, VitalsView, WaitView, WorkerView

MOST = 0.6
"""So many of the sessions wait for it, or so much of the workers' time does."""
BUSY = 0.9
"""So much of this machine's processors is busy with workers."""
LOOKS = 8
"""Obstacles of the last looks, of which `MOST` have to be the same."""


class Obstacles:
    """Looks at the vitals again and again: what is there once is no obstacle."""

    def __init__(self, processors: int) -> None:
        """Nothing was looked at.

        Args:
            processors: of this machine that workers may use.
        """
        self._processors = processors
        self._seen: deque[tuple[str, str]] = deque(maxlen=LOOKS)

    def look(self, vitals: VitalsView | None, workers: Sequence[WorkerView]) -> None:
        """Take what the servers and workers do now; call it about once a second."""
        self._seen.append(_obstacle(vitals, workers, self._processors))

    @property
    def words(self) -> str:
        """The obstacle of most looks, as it was seen last; empty for none."""
        kinds = Counter(kind for kind, _ in self._seen if kind)
        for kind, n_looks in kinds.most_common(1):
            if n_looks > MOST * LOOKS:
                return next(words for seen, words in reversed(self._seen) if seen == kind)
        return ""


def _obstacle(vitals: VitalsView | None, workers: Sequence[WorkerView], processors: int) -> tuple[str, str]:
    """Its kind and its words; empty for none."""
    if not workers:
        return "", ""
    if vitals is not None and vitals.target is not None and (found := _of_target(vitals.target, len(workers))):
        return found
    source = vitals.source if vitals is not None else None
    if source is not None and source.read_tickets and source.read_tickets_used is not None:
        reading = sum(worker.reading for worker in workers) / len(workers)
        if source.read_tickets_used >= source.read_tickets and reading > MOST:
            return "tickets", f"all {source.read_tickets} read tickets of MongoDB are used"
    busy = sum(worker.cpu for worker in workers)
    if busy > BUSY * processors:
        return "processors", f"the workers keep {busy:.1f} of {processors} processors of this machine busy"
    return "", ""


def _of_target(target: TargetVitals, n_workers: int) -> tuple[str, str] | None:
    waits = list(_limits(target.waits or ()))
    n_waiting = sum(wait.sessions for wait in waits)
    n_sessions = max(n_workers, sum(wait.sessions for wait in target.waits or ()))
    if n_waiting <= MOST * n_sessions:
        return None
    named = max(waits, key=lambda wait: wait.sessions)
    wait = "waits" if n_waiting == 1 else "wait"
    return named.kind, f"{n_waiting} of {counted(n_sessions, 'session')} {wait} for {named.event or named.kind}"


def _limits(waits: Iterable[WaitView]) -> Iterable[WaitView]:
    """Waits for what all sessions share, and more sessions would share, too."""
    for wait in waits:
        is_log = wait.kind == "LWLock" and wait.event.startswith("WAL")
        is_growth = wait.kind == "Lock" and wait.event == "extend"
        is_standby = wait.kind == "IPC" and wait.event == "SyncRep"
        if wait.kind == "IO" or is_log or is_growth or is_standby:
            yield wait
