"""What the cockpit itself has to say: shown for a few seconds, and kept in the log of the run, in full."""

from __future__ import annotations

from collections import deque

from textual.app import App

from tui.cockpit.engines import Engines
from tui.cockpit.keymap import Keymap
from tui.cockpit.session import EngineSession
from tui.words.safe import safe

KEPT = 50
"""Messages that wait for a run."""
SHOWN = 300
"""Characters of a message that its notification shows."""


class Notes:
    """Messages of one cockpit."""

    def __init__(self, app: App[None], engines: Engines, keymap: Keymap) -> None:
        self._app = app
        self._engines = engines
        self._keymap = keymap
        self._waiting: deque[str] = deque(maxlen=KEPT)
        """What was said before there was a run."""

    def say(self, message: str) -> None:
        """Say it, and keep it."""
        session = self._engines.run
        shown = safe(message, SHOWN)
        if session is None:
            self._waiting.append(message)
        else:
            session.note(message)
            if len(message) > SHOWN:
                shown = f"{shown} The log of the run has all of it: {self._keymap.first('run.log')}."
        self._app.notify(shown, severity="warning", markup=False)

    def hand_over(self, session: EngineSession) -> None:
        """There is a run now, with a log."""
        while self._waiting:
            session.note(self._waiting.popleft())
