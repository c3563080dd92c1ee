"""Which run the cockpit is about: the one that is going on, or over, and a recorded one shown in its place."""

from __future__ import annotations

from tui.cockpit.engines import Engines
from tui.cockpit.replay import ReplayedRun
from tui.cockpit.session import EngineSession
from tui.cockpit.shown import ShownRun


class Runs:
    """The runs of one cockpit."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self.replay: ReplayedRun | None = None
        """A recorded run that the Run screen shows in the place of the live one."""

    @property
    def session(self) -> EngineSession | None:
        """The run of the cockpit: going on, or over; None before the first one."""
        return self._engines.run

    def deleted(self, run_id: str) -> None:
        """A run is in the ledger no more."""
        session = self.session
        if session is not None and session.snapshot.run_id == run_id:
            session.is_deleted = True

    @property
    def shown(self) -> ShownRun | None:
        """What the Run screen shows: a replay, or the run."""
        return self.replay or self.session
