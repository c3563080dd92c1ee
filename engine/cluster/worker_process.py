"""One worker process as the engine sees it: its pipe, its slot, its lease, and whether it is still the same process."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from engine.cluster.meter import Window
from engine.protocol import RangeView, WorkerState, WorkerView
from engine.work.messages import OUT_OF_MEMORY, Committed, CopyLease, Lease
from engine.work.slots import Field, Slot

STALL_S = 10.0
"""A worker with a lease and no progress for so long is shown as stalled."""
RATE_WINDOW_S = 3.0
SHARES_WINDOW_S = 5.0
TIMES = (Field.READING_NS, Field.CONVERTING_NS, Field.WRITING_NS, Field.THROTTLED_NS)
"""What a worker's time went into."""
UNSAID_S = 1.0
"""Without progress for so long, what a worker is at gets the time."""
_WAITING = {
    "reading": Field.READING_NS,
    "converting": Field.CONVERTING_NS,
    "writing": Field.WRITING_NS,
    "throttled": Field.THROTTLED_NS,
}


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """A worker process as the engine sees it."""

    id: int
    """1..N, for people; a replacement takes over the number."""
    slot: Slot
    process: ForkServerProcess
    pipe: Connection
    their_end: Connection
    """The worker's side of the pipe: ours to close once its process has it."""
    deaths_before: int = 0
    """Workers in a row that had died before they were ready when this one was started."""
    pid: int = 0
    start_ticks: str = ""
    """From /proc/PID/stat, so that a reused pid is not mistaken for it."""
    started_ns: int = 0
    """When its process was there, on the monotonic clock."""
    is_ready: bool = False
    converter: str = ""
    backend_pid: int = 0
    lease: Lease | None = None
    sent_before: int = 0
    """Rows sent before those of the slice in hand."""
    is_yielding: bool = False
    is_retiring: bool = False
    is_gone: bool = False
    """Its end was noticed; its last words are being read."""
    told: set[int] = field(default_factory=set)
    sent: Window = field(default_factory=lambda: Window(RATE_WINDOW_S))
    shares: tuple[Window, ...] = field(default_factory=lambda: tuple(Window(SHARES_WINDOW_S) for _ in TIMES))

    @property
    def is_idle(self) -> bool:
        """Ready, without a lease."""
        return self.is_ready and self.lease is None and not self.is_gone

    def follow(self, message: Committed) -> None:
        """Keep the lease's position, so that a death is followed from the newest slice known."""
        if isinstance(self.lease, CopyLease) and self.lease.partition_id == message.partition_id:
            self.lease = replace(self.lease, slice_no=message.slice_no + 1)

    def kill(self) -> None:
        """SIGKILL, unless the pid belongs to somebody else by now."""
        if self.pid and start_ticks(self.pid) == self.start_ticks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    @property
    def silent_s(self) -> float:
        """Seconds since its loop ticked, or since it was started if that never did."""
        return (time.monotonic_ns() - max(self.slot[Field.HEARTBEAT_NS], self.started_ns)) / 1e9

    @property
    def uncommitted(self) -> int:
        """Rows of the slice in hand that PostgreSQL has taken in."""
        return max(0, self.slot[Field.SENT] - self.sent_before)

    def begin_slice(self) -> None:
        """What is sent from here on belongs to another slice."""
        self.sent_before = self.slot[Field.SENT]

    def view(self, collection: str, *, is_paused: bool, range: RangeView | None = None) -> WorkerView:
        """What it does now; call it regularly, rates are made from call to call."""
        now = time.monotonic()
        sent = self.slot[Field.SENT]
        self.sent.add(now, sent)
        idle_s = max(0.0, now - self.slot[Field.PROGRESS_NS] / 1e9)
        waits_for = _WAITING.get(self.slot.state) if self.lease is not None and idle_s > UNSAID_S else None
        shares = []
        for window, counter in zip(self.shares, TIMES, strict=True):
            # What it waits for now is in no counter before the wait is over, and that may take minutes.
            window.add(now, self.slot[counter] + (round(idle_s * 1e9) if counter is waits_for else 0))
            shares.append(min(1.0, window.rate() / 1e9))
        return WorkerView(
            id=self.id,
            pid=self.pid,
            state=self._state(idle_s, is_paused),
            collection=collection,
            partition=self.lease.partition_id if isinstance(self.lease, CopyLease) else -1,
            range=range,
            written=self.slot[Field.WRITTEN],
            sent=sent,
            rejected=self.slot[Field.REJECTED],
            rows_per_s=self.sent.rate(),
            idle_s=idle_s,
            reading=shares[0],
            converting=shares[1],
            writing=shares[2],
            throttled=shares[3],
        )

    def _state(self, idle_s: float, is_paused: bool) -> WorkerState:
        if not self.is_ready:
            return WorkerState.STARTING
        if self.is_retiring:
            return WorkerState.DRAINING
        if self.lease is None:
            return WorkerState.PAUSED if is_paused else WorkerState.IDLE
        state = WorkerState(self.slot.state)
        if idle_s > STALL_S and state not in (WorkerState.RETRYING, WorkerState.THROTTLED):
            return WorkerState.STALLED
        return state


def start_ticks(pid: int) -> str:
    """When a process started, in ticks since boot as text; empty where /proc does not tell or it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return ""


def exit_words(exit_code: int | None) -> str:
    """How a process ended, as "A worker ..." goes on."""
    if exit_code == OUT_OF_MEMORY:
        return "ran out of memory (smaller pages take less)"
    if exit_code == -9:
        return "was killed (signal 9; out of memory?)"
    if exit_code is not None and exit_code < 0:
        return f"was ended by signal {-exit_code}"
    return f"ended with exit code {exit_code}"
