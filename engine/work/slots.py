"""Counters that workers write and the engine samples: one slot a worker in anonymous shared memory.

One process writes a slot, and a slot is given to another worker only after the last one's process was reaped, so plain aligned
8-byte stores are enough: no lock that a killed worker could leave locked. Counters are for the screen; what is committed is
told by messages and the ledger.
"""

from __future__ import annotations

import ctypes
import time
from enum import IntEnum
from multiprocessing.context import BaseContext
from typing import Any

N_SLOTS = 192
"""More than the largest cluster: workers that retire keep theirs while new ones start."""


class Field(IntEnum):
    """What is in a slot, 64-bit signed integers."""

    STATE = 0
    """Index into `STATES`."""
    SENT = 1
    """Rows that PostgreSQL has received, committed or not (documents inserted, when seeding)."""
    WRITTEN = 2
    """Rows committed."""
    REJECTED = 3
    BYTES = 4
    """BSON bytes read."""
    HEARTBEAT_NS = 5
    """Monotonic time of the worker's last loop tick."""
    PROGRESS_NS = 6
    """Monotonic time of the last batch received."""
    READING_NS = 7
    """Time spent waiting for MongoDB; likewise the next ones."""
    CONVERTING_NS = 8
    WRITING_NS = 9
    THROTTLED_NS = 10
    """Time spent because of the throttle."""
    CPU_NS = 11
    """Processor time of the worker's process, all of its threads together."""
    MEMORY = 12
    """Bytes of its memory that are resident; 0 where that is not known."""


WIDTH = 16
"""Numbers in a slot: two cache lines of 64 bytes, so that two workers never write to the same one."""

STATES = ("starting", "idle", "reading", "converting", "writing", "seeding", "retrying", "throttled", "comparing")
"""As in `WorkerState`, by number."""


def make_slots(context: BaseContext) -> Any:
    """The shared array; pass it to each worker process as an argument."""
    return context.RawArray(ctypes.c_int64, N_SLOTS * WIDTH)


class Slot:
    """One worker's slot."""

    __slots__ = ("_array", "_base")

    def __init__(self, array: Any, index: int) -> None:
        self._array = array
        self._base = index * WIDTH

    def __getitem__(self, field: Field) -> int:
        return int(self._array[self._base + field])

    def __setitem__(self, field: Field, value: int) -> None:
        self._array[self._base + field] = value

    def add(self, field: Field, amount: int) -> None:
        """Add to a counter; only its one writer may."""
        self._array[self._base + field] += amount

    def clear(self) -> None:
        """All zero, for the next worker."""
        for field in Field:
            self[field] = 0
        self[Field.HEARTBEAT_NS] = self[Field.PROGRESS_NS] = time.monotonic_ns()

    @property
    def state(self) -> str:
        """Name of the worker's state."""
        return STATES[self[Field.STATE]]

    @state.setter
    def state(self, name: str) -> None:
        self[Field.STATE] = STATES.index(name)
