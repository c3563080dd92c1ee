"""A recorded run on the Run screen: its frames by the clock, at a speed that the operator chooses."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from pathlib import Path

from engine.knobs import KNOBS, SEED_COUNT, Knob
from engine.protocol import Recording, Snapshot
from tui.cockpit.keymap import Keymap
from tui.cockpit.signs import Sign
from tui.cockpit.throughput import ThroughputHistory
from tui.words.events import chart_mark
from tui.words.format import duration
from tui.words.safe import safe

SPEEDS = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096)
"""Seconds of the run in a second."""
FIRST_SHOW_S = 30.0
"""The speed at first shows the run in about so long, but never slower than it was."""
LONGEST_STEP_S = 1.0
"""Time away from the screen does not count as time of the replay."""
JUMP = 0.05
"""Share of the run that a jump goes over."""
_REPLAY = "▷"


class ReplayedRun:
    """Plays from the moment that it is made."""

    def __init__(self, recording: Recording, clock: Callable[[], float] = time.monotonic) -> None:
        self.recording = recording
        self._clock = clock
        self._times = [frame.elapsed for frame in recording.frames]
        self._drawn = 0
        """Frames that are in the history."""
        self._looked = clock()
        self.begin, self.end = self._times[0], self._times[-1]
        self.position = self.begin
        """Seconds of the run."""
        self.is_held = False
        self.speed: float = next(
            (speed for speed in SPEEDS if speed >= 1 and (self.end - self.begin) / speed <= FIRST_SHOW_S), SPEEDS[-1]
        )
        self.snapshot: Snapshot = recording.frames[0]
        self.version = 0
        self.is_lost = False
        self.servers: dict[str, str] = {}
        self._rewind()

    def _rewind(self) -> None:
        self.history = ThroughputHistory()
        self.events = deque(self.recording.events[:0], maxlen=max(1, len(self.recording.events)))
        self.n_events = 0
        self._drawn = 0

    # --- the player's keys ---

    def advance(self) -> None:
        """Go on to where the clock is."""
        now = self._clock()
        passed, self._looked = min(LONGEST_STEP_S, now - self._looked), now
        if not self.is_held and self.position < self.end:
            self._go_to(self.position + passed * self.speed)

    def hold(self) -> None:
        """Pause the replay, or go on; at the end, begin again."""
        if self.position >= self.end:
            self.jump(-1.0)
            self.is_held = False
        else:
            self.is_held = not self.is_held
        self.version += 1

    def change_speed(self, steps: int) -> None:
        """Faster by `steps` doublings, or slower."""
        place = SPEEDS.index(self.speed) + steps
        self.speed = SPEEDS[max(0, min(len(SPEEDS) - 1, place))]
        self.version += 1

    def jump(self, share: float) -> None:
        """Onward by a share of the run, 0..1; back when it is negative."""
        position = self.position + share * (self.end - self.begin)
        if position < self.position:
            self._rewind()
        self._go_to(position)

    def _go_to(self, position: float) -> None:
        self.position = max(self.begin, min(self.end, position))
        frames, events = self.recording.frames, self.recording.events
        n_frames = bisect_right(self._times, self.position)
        for frame in frames[self._drawn : n_frames]:
            if frame.state.is_active:
                self.history.add(frame.elapsed, frame.rows_per_s)
        self._drawn = n_frames
        while self.n_events < len(events) and (events[self.n_events].at <= self.position or n_frames == len(frames)):
            event = events[self.n_events]
            self.events.append(event)
            self.n_events += 1
            if mark := chart_mark(event):
                self.history.mark(event.at, mark)
        self.snapshot = frames[max(0, n_frames - 1)]
        self.version += 1

    # --- what the Run screen draws ---

    @property
    def sign(self) -> Sign:
        """That it is a replay, and how fast."""
        word = "held" if self.is_held else "ended" if self.position >= self.end else f"×{self.speed:g}"
        return Sign(_REPLAY, f"replay {word}", "$warning")

    def words(self, keymap: Keymap) -> str:
        """What is played, how far it is, and the keys that steer it: for the banner."""
        hold, faster, slower, leave, back, forward = (
            keymap.first(f"run.replay_{what}") for what in ("hold", "faster", "slower", "leave", "back", "forward")
        )
        is_over = self.position >= self.end
        does = "play again" if is_over else "go on" if self.is_held else "hold"
        return (
            f"{self.sign}  {duration(self.position)} of {duration(self.end)} · {leave} leave · {hold} {does}"
            f" · {faster} faster · {slower} slower · {back} {forward} jump · run {safe(self.recording.run.run_id, 40)}"
        )

    @property
    def is_on_passing_servers(self) -> bool:
        """A ledger is not on embedded servers."""
        return False

    @property
    def silent_s(self) -> float:
        """A recording is all there."""
        return 0.0

    def command(self, words: str, *sides: str) -> str:
        """A command about the run, for later."""
        return f"mongopg-tui {words}"

    def log_path(self) -> Path | None:
        """That engine's log is not known."""
        return None

    def knobs(self) -> list[Knob]:
        """The knobs of a migration; the recording begins after seeding."""
        return [knob for knob in KNOBS.values() if knob is not SEED_COUNT]

    def knob_value(self, knob: Knob) -> int:
        """What was in force."""
        return int(getattr(self.snapshot, knob.name))

    def knob_note(self, knob: Knob) -> str:
        """Changes are marked in the chart."""
        return ""
