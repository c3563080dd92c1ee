"""The events that are kept for clients that attach later: bounded, and without those that only move counters."""

from __future__ import annotations

from collections import deque
from itertools import chain
from operator import itemgetter

from engine.protocol import Event, KnobChanged, KnobTuned, RunPlanned, ServersStarted

N_KEPT = 1_000
N_LASTING = 200
"""Of each kind in `LASTING`."""
LASTING = (KnobChanged, KnobTuned, RunPlanned, ServersStarted)
"""Events that a screen needs however long ago they were: marks of its chart, where embedded servers are."""


class EventBacklog:
    """The newest events; lasting ones are not pushed out by others."""

    def __init__(self) -> None:
        self._n_taken = 0
        self._shelves: dict[str, deque[tuple[int, Event]]] = {}
        """By lasting kind, all others under "": each event with its number, for the order."""

    def add(self, event: Event) -> None:
        """Keep an event, unless it only moves counters: the snapshot has those."""
        if event.only_counts:
            return
        self._n_taken += 1
        kind = event.kind if isinstance(event, LASTING) else ""
        shelf = self._shelves.setdefault(kind, deque(maxlen=N_LASTING if kind else N_KEPT))
        shelf.append((self._n_taken, event))

    def events(self) -> list[Event]:
        """What is kept, in the order in which it happened."""
        return [event for _, event in sorted(chain(*self._shelves.values()), key=itemgetter(0))]
