"""A monkey at the keyboard of the real program: presses random keys, resizes the window, comes back when it has left."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from engine.errors import EXIT_CANCELLED, EXIT_DONE, EXIT_INCOMPLETE, EXIT_SIGTERM, EXIT_USAGE
from tests.tui.terminal import ROOT, Terminal
from tui.cockpit.commands import COMMANDS
from tui.cockpit.crash import LOG_NAME

SENT = {
    "space": " ", "enter": "\r", "escape": "\x1b", "tab": "\t", "delete": "\x1b[3~", "backspace": "\x7f",
    "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "home": "\x1b[H", "end": "\x1b[F",
    "pageup": "\x1b[5~", "pagedown": "\x1b[6~", "f1": "\x1bOP", "f2": "\x1bOQ", "f3": "\x1bOR",
    "f4": "\x1bOS", "f5": "\x1b[15~", "f6": "\x1b[17~", "f7": "\x1b[18~", "f8": "\x1b[19~", "f9": "\x1b[20~",
    "f12": "\x1b[24~", "plus": "+", "equals_sign": "=", "minus": "-",
    "right_square_bracket": "]", "left_square_bracket": "[", "question_mark": "?", "slash": "/", "ctrl+c": "\x03",
    "ctrl+g": "\x07", "ctrl+o": "\x0f", "ctrl+p": "\x10", "ctrl+q": "\x11", "ctrl+s": "\x13",
}  # fmt: skip
"""What a terminal sends for keys that are not just a character."""
KEYS = [key for command in COMMANDS for key in command.keys.split(",")]
STEERING = [key for command in COMMANDS if command.id.startswith("run.") for key in command.keys.split(",")]
MOVING = ["tab", "up", "down", "left", "right", "home", "end", "pageup", "pagedown", "backspace", "enter", "escape"]
TYPED = list("0123456789abcxyz'\"{}<>\\/:@.,ß漢")
SIZES = [(200, 60), (120, 40), (80, 24), (59, 13), (30, 6)]
ENDS = frozenset({EXIT_DONE, EXIT_USAGE, EXIT_INCOMPLETE, EXIT_CANCELLED})
"""Exit codes it may bring about: of a run left alone, refused (the table exists), with rejects, cancelled."""
TERMINATED = (EXIT_SIGTERM, -signal.SIGTERM)
"""By its own hand, or before and after the screen by the signal itself."""
FAULTS = ("Traceback (most recent call last)", "The cockpit failed (")
PAUSE_S = 0.15
END_S = 120.0


def sent(key: str) -> str:
    """What a terminal sends for a key: never its name, which would be typed as letters."""
    return key if len(key) == 1 else SENT[key]


class Monkey:
    """Plays with the cockpit of one pair of servers."""

    def __init__(self, seed: int, environment: Mapping[str, str], folder: Path) -> None:
        self.random = random.Random(seed)
        self.environment = environment
        self.folder = folder
        self.n_pressed = 0
        self.n_starts = 0
        self.last: list[str] = []
        """The newest keys, to find out what happened."""

    def play(self, seconds: float) -> None:
        """Press keys for so long; fails as soon as the program does."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.n_starts += 1
            command = ["attach"] if self.ctl("status").returncode == 0 else ["run", "--resume"]
            with Terminal([sys.executable, "-m", "tui", *command], self.environment, 120, 40, self.folder) as terminal:
                while terminal.process.poll() is None and time.monotonic() < deadline:
                    self._act(terminal)
                self._see_out(terminal)

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Steer the live run, if there is one."""
        return self.program("ctl", *words)

    def program(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command that does not need a terminal."""
        return subprocess.run(
            [sys.executable, "-m", "tui", *words], env=dict(self.environment), cwd=self.folder, text=True,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=END_S,
        )  # fmt: skip

    def _act(self, terminal: Terminal) -> None:
        if self.random.random() < 0.02:
            terminal.resize(*self.random.choice(SIZES))
        else:
            among = self.random.choices([STEERING, KEYS, MOVING, TYPED], weights=[5, 3, 3, 1])[0]
            key = self.random.choice(among)
            self.last = [*self.last[-40:], key]
            self.n_pressed += 1
            try:
                terminal.press(sent(key))
            except OSError:  # it has just ended
                return
        until = time.monotonic() + self.random.uniform(0, PAUSE_S)
        while time.monotonic() < until:
            terminal.read()

    def _see_out(self, terminal: Terminal) -> None:
        """When the time is up, leave as a supervisor would; then judge how it ended."""
        was_running = terminal.process.poll() is None
        if was_running:
            terminal.process.terminate()
        pressed = f"after {self.n_pressed} keys, the last ones {self.last}"
        try:
            code = terminal.wait_for_end(END_S)
        except AssertionError as error:
            raise AssertionError(f"{pressed}: {error}") from error
        log = self.folder / "mongopg-tui" / LOG_NAME
        told = f"{pressed}:\n{log.read_text() if log.exists() else terminal.output[-3000:]}"
        assert not any(fault in terminal.output for fault in FAULTS), told
        assert code in ENDS or (was_running and code in TERMINATED), f"exit code {code} {told}"


def environment_of(base: Mapping[str, str], source: str, target: str, folder: Path) -> dict[str, str]:
    """For programs that find nothing but these servers and this folder."""
    return {name: value for name, value in base.items() if not name.startswith("MONGOPG_RUN")} | {
        "PYTHONPATH": str(ROOT),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_STATE_HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "MONGOPG_SOURCE_URI": source,
        "MONGOPG_TARGET_URI": target,
    }
