"""A worker as the supervisor sees it: what it was told, what it has in hand, and what its time goes into."""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.cluster.crew import Counters, Member
from engine.cluster.meter import Window
from engine.protocol import RangeView, WorkerState, WorkerView
from engine.work.messages import Lease, parts_of

STALL_S = 10.0
"""A worker with a lease and no progress for so long is shown as stalled."""
RATE_WINDOW_S = 3.0
SHARES_WINDOW_S = 5.0
STATES = ("reading", "converting", "writing", "throttled")
"""What a worker's time goes into, and the names of its shares."""
UNSAID_S = 1.0
"""Without progress for so long, what a worker is at gets the time."""


class Worker:
    """One member of the crew."""

    def __init__(self, member: Member, *, deaths_before: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        """It is being started.

        Args:
            deaths_before: workers in a row that had died before they were ready when this one was started.
            clock: in seconds.
        """
        self.member = member
        self.deaths_before = deaths_before
        self.is_ready = False
        self.is_admitted = not member.host
        """Its host may have leases (`engine.cluster.gates`)."""
        self.is_yielding = False
        self.is_retiring = False
        self.is_leaving = False
        """It retires whatever size is wanted."""
        self.converter = ""
        self.backend_pid = 0
        """Of its session with PostgreSQL."""
        self.lease: Lease | None = None
        self.told: dict[int, None] = {}
        """Tasks that it knows, those that were needed last at the end."""
        self._sent_before = 0
        """Rows sent before those that no progress was reported of."""
        self._clock = clock
        self._sent = Window(RATE_WINDOW_S)
        self._cpu = Window(SHARES_WINDOW_S)
        self._shares = {state: Window(SHARES_WINDOW_S) for state in STATES}

    @property
    def id(self) -> int:
        """Its number, from 1."""
        return self.member.id

    @property
    def is_idle(self) -> bool:
        """It is ready, may have leases, and has none."""
        return self.is_ready and self.is_admitted and self.lease is None and not self.member.is_gone

    @property
    def parts(self) -> tuple[Lease, ...]:
        """What it has in hand: of a bundle, its parts."""
        return parts_of(self.lease)

    def take(self, lease: Lease) -> None:
        """It works on this one now."""
        self.lease = lease
        self.is_yielding = False
        self.progressed()

    def progressed(self) -> None:
        """What was sent up to now is accounted for."""
        self._sent_before = self.member.counters().sent

    @property
    def uncommitted(self) -> int:
        """Rows that were sent since the last report of progress."""
        return max(0, self.member.counters().sent - self._sent_before)

    def view(self, collection: str, partition: int, range: RangeView | None, *, is_paused: bool) -> WorkerView:
        """What it does now; call it regularly, rates are made from call to call.

        Args:
            collection: that its lease is about, `db.collection`.
            partition: the number of its lease; -1 for none.
            range: how far its lease is.
        """
        now, counters = self._clock(), self.member.counters()
        if self.lease is None:
            self._sent.clear()  # nothing moves; what it did before it stopped is no speed of now
        self._sent.add(now, counters.sent)
        self._cpu.add(now, counters.cpu_ns)
        shares = {state: self._share(state, counters, now) for state in STATES}
        return WorkerView(
            id=self.id,
            pid=self.member.pid,
            state=self._state(counters, is_paused=is_paused),
            collection=collection,
            partition=partition,
            range=range,
            written=counters.written,
            sent=counters.sent,
            rejected=counters.rejected,
            rows_per_s=self._sent.rate() if self.lease is not None else 0.0,
            idle_s=counters.idle_s,
            reading=shares["reading"],
            converting=shares["converting"],
            writing=shares["writing"],
            throttled=shares["throttled"],
            cpu=self._cpu.rate() / 1e9,
            memory=counters.memory,
            host=self.member.host,
        )

    def _share(self, state: str, counters: Counters, now: float) -> float:
        """The part of its time that went into this."""
        spent_ns: int = getattr(counters, f"{state}_ns")
        is_waiting = self.lease is not None and counters.state == state and counters.idle_s > UNSAID_S
        # What it waits for now is in no counter before the wait is over, and that may take minutes.
        self._shares[state].add(now, spent_ns + (round(counters.idle_s * 1e9) if is_waiting else 0))
        return min(1.0, self._shares[state].rate() / 1e9)

    def _state(self, counters: Counters, *, is_paused: bool) -> WorkerState:
        if not self.is_ready:
            return WorkerState.STARTING
        if self.is_retiring:
            return WorkerState.DRAINING
        if self.lease is None:
            return WorkerState.PAUSED if is_paused else WorkerState.IDLE
        state = WorkerState(counters.state)
        if counters.idle_s > STALL_S and state not in (WorkerState.RETRYING, WorkerState.THROTTLED):
            return WorkerState.STALLED
        return state
