"""What the Run screen needs of a run to draw it: a live one is an `EngineSession`, a recorded one a `Replay`."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Protocol

from engine.knobs import Knob
from engine.protocol import Event, Snapshot
from tui.cockpit.signs import Sign
from tui.cockpit.throughput import ThroughputHistory


class ShownRun(Protocol):
    """A run, as far as it has come."""

    snapshot: Snapshot
    history: ThroughputHistory
    events: deque[Event]
    n_events: int
    """Events so far, those that fell off included; fewer than before when it was wound back."""
    version: int
    """Grows with each change: a screen that has drawn this version need not draw again."""
    is_lost: bool
    """The engine went away without saying that the run is over."""
    servers: dict[str, str]
    """URIs of embedded servers, `source` and `target`."""

    @property
    def sign(self) -> Sign:
        """Its state as symbol and word."""

    @property
    def is_on_passing_servers(self) -> bool:
        """Its servers are embedded ones that end with its engine."""

    @property
    def silent_s(self) -> float:
        """Seconds for which a run that goes on has not been heard of."""

    def command(self, words: str, *sides: str) -> str:
        """A command about the run, for later, with what it needs to reach the same servers."""

    def log_path(self) -> Path | None:
        """The engine's log; None when there is no engine."""

    def knobs(self) -> list[Knob]:
        """The knobs that it has."""

    def knob_value(self, knob: Knob) -> int:
        """The newest wish, else what is in force."""

    def knob_note(self, knob: Knob) -> str:
        """When the last change applies, for a while after it was made."""
