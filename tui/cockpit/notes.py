"""What the cockpit itself has to say: shown for a few seconds, and kept in the log of the run, in full."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tui.cockpit.session import EngineSession
from tui.words.safe import safe

if TYPE_CHECKING:
    from tui.cockpit.app import Cockpit

KEPT = 50
"""Messages that wait for a run."""
SHOWN = 300
"""Characters of a message that its notification shows."""


class Notes:
    """Messages of one cockpit."""

    def __init__(self, cockpit: Cockpit) -> None:
        self._cockpit = cockpit
        self._waiting: deque[str] = deque(maxlen=KEPT)
        """What was said before there was a run."""

    def say(self, message: str) -> None:
        """Say it, and keep it."""
        session = self._cockpit.run_session
        shown = safe(message, SHOWN)
        if session is None:
            self._waiting.append(message)
        else:
            session.note(message)
            if len(message) > SHOWN:
                shown = f"{shown} The log of the run has all of it: {self._cockpit.keymap.first('run.log')}."
        self._cockpit.notify(shown, severity="warning", markup=False)

    def hand_over(self, session: EngineSession) -> None:
        """There is a run now, with a log."""
        while self._waiting:
            session.note(self._waiting.popleft())
