"""What a front end does when its run ends: ring the terminal's bell, have the terminal notify, run a command.

The sequences are those of iTerm2 (OSC 9) and of urxvt (OSC 777); a terminal that does not know them passes them over.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import time
from dataclasses import dataclass

from engine.config import ENDS, PREFIX, Settings
from engine.protocol import Snapshot
from engine.service.launching import without_secrets
from tui.words.format import counted, number
from tui.words.safe import safe

COMMAND_S = 60.0
"""How long a command that is run at the end may take before a headless run leaves without it."""
POLL_S = 0.05
_TITLE = "mongopg-tui"
_LIMIT = 200


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended."""

    run_id: str
    state: str
    exit_code: int
    verification: str
    read: int
    written: int
    rejected: int
    seconds: float
    source: str
    """Redacted; likewise the target."""
    target: str
    error: str = ""

    @classmethod
    def of(cls, snapshot: Snapshot, exit_code: int, *, is_lost: bool = False) -> End:
        """Of a run as its last snapshot has it.

        Args:
            exit_code: what the command leaves with.
            is_lost: its engine is gone, and said nothing of an end.
        """
        return cls(
            run_id=snapshot.run_id,
            state="lost" if is_lost else snapshot.state.value,
            exit_code=exit_code,
            verification=snapshot.verification.value,
            read=snapshot.read,
            written=snapshot.written,
            rejected=snapshot.rejected,
            seconds=snapshot.seconds or snapshot.elapsed,
            source=snapshot.source,
            target=snapshot.target,
            error=snapshot.error.message if snapshot.error is not None else "",
        )

    @property
    def words(self) -> str:
        """One sentence."""
        rejected = f", {number(self.rejected)} rejected" if self.rejected else ""
        error = f": {self.error}" if self.error else ""
        return safe(f"run {self.run_id} {self.state}, {counted(self.written, 'row')}{rejected}{error}", _LIMIT)

    @property
    def variables(self) -> dict[str, str]:
        """For the environment of a command; no secret is among them."""
        values = {
            "RUN": self.run_id,
            "STATE": self.state,
            "EXIT_CODE": str(self.exit_code),
            "VERIFICATION": self.verification,
            "READ": str(self.read),
            "WRITTEN": str(self.written),
            "REJECTED": str(self.rejected),
            "SECONDS": f"{self.seconds:.3f}",
            "SOURCE": self.source,
            "TARGET": self.target,
            "MESSAGE": self.words,
        }
        assert values.keys() == set(ENDS)
        return {f"{PREFIX}{name}": value for name, value in values.items()}


def sequences(end: End) -> str:
    """A bell, and a notification in two dialects."""
    # A semicolon would end a field of OSC 777.
    words = end.words.replace(";", ",")
    return f"\a\x1b]9;{_TITLE}: {words}\x1b\\\x1b]777;notify;{_TITLE};{words}\x1b\\"


class Command:
    """`cockpit.on_finish`, once it is started.

    It is split into words as a shell does, and executed without one: what needs a shell says so, `sh -c '...'`. It is told how
    the run ended by its environment.
    """

    def __init__(self, settings: Settings, end: End, *, quiet: bool) -> None:
        """Start it at once, if there is one: the front end may be about to leave.

        Args:
            quiet: its output goes nowhere, since the screen is in use.
        """
        self._process: subprocess.Popen[bytes] | None = None
        self._problem = ""
        if not settings.cockpit.on_finish.strip():
            return
        output = subprocess.DEVNULL if quiet else 2  # standard output is for what a script reads
        try:
            self._process = subprocess.Popen(
                shlex.split(settings.cockpit.on_finish),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=without_secrets(settings) | end.variables,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            self._problem = f"The command of --on-finish could not be started: {safe(str(error), _LIMIT)}."

    async def ended(self) -> str:
        """Wait for it; returns what went wrong, in a sentence. One that takes longer than `COMMAND_S` goes on by itself."""
        if self._process is None:
            return self._problem
        deadline = time.monotonic() + COMMAND_S
        while (code := self._process.poll()) is None:
            if time.monotonic() > deadline:
                return f"The command of --on-finish goes on after {COMMAND_S:.0f} s, by itself."
            await asyncio.sleep(POLL_S)
        return f"The command of --on-finish ended with exit code {code}." if code else ""


def is_terminal(descriptor: int) -> bool:
    """There is a terminal that can be told."""
    return os.isatty(descriptor) and os.environ.get("TERM", "dumb") != "dumb"
