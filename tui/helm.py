"""What the operator asks of a run: start one, steer it, turn its knobs. What the engine refuses is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from engine.config import Settings
from engine.control.protocol import Start
from engine.errors import MigrationError
from engine.knobs import Knob
from tui.commands import Place
from tui.screens.dialogs import error_dialog
from tui.session import EngineSession

if TYPE_CHECKING:
    from tui.app import Cockpit


class Helm:
    """Hands orders to the engines of a cockpit, in the background."""

    def __init__(self, cockpit: Cockpit) -> None:
        self._cockpit = cockpit

    def start(self, settings: Settings, start: Start) -> None:
        """Start a run in the idle engine when that fits it, otherwise in a new one."""
        self._cockpit.run_worker(self._start(settings, start), group="start", exclusive=True)

    def resume(self) -> None:
        """Go on with the run that stopped, in a new engine."""
        session = self._cockpit.run_session
        if session is not None and session.settings is not None:
            self.start(session.settings, Start(resume=session.snapshot.run_id))

    def send(self, command: BaseModel) -> None:
        """Give the run's engine a command."""
        session = self._cockpit.run_session
        if session is not None:
            self._cockpit.run_worker(self._send(session, command), group="command")

    def turn(self, knob: Knob, value: int) -> None:
        """Turn a knob of the run; without one, set its field for the next run."""
        session = self._cockpit.run_session
        if session is not None and session.is_live:
            session.wish(knob, value)
            self._cockpit.draw_run()
            self._cockpit.run_worker(self._grant(session, knob), group="knob")
        elif (setup := self._cockpit.setup) is not None:
            setup.fill_knob(knob, value)

    async def _start(self, settings: Settings, start: Start) -> None:
        try:
            session = await self._cockpit.engines.start(settings, start)
        except MigrationError as error:
            self._cockpit.push_screen(error_dialog("The run was not started", error.message))
            return
        self._cockpit.adopt(session)
        await self._cockpit.switch_mode(Place.RUN.value)

    async def _send(self, session: EngineSession, command: BaseModel) -> None:
        self._cockpit.draws_next = True
        try:
            await session.client.call(command)
        except MigrationError as error:
            self._cockpit.say_problem(error.message)

    async def _grant(self, session: EngineSession, knob: Knob) -> None:
        self._cockpit.draws_next = True
        try:
            await session.grant(knob)
        except MigrationError as error:
            self._cockpit.say_problem(error.message)
        self._cockpit.draw_run()
