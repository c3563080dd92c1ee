"""What the operator asks of a run: start one, steer it, turn its knobs. What the engine refuses is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from engine.config import Settings
from engine.errors import MigrationError
from engine.knobs import SEED_COUNT, Knob
from engine.protocol import Start
from tui.cockpit.commands import Place
from tui.cockpit.dialogs.questions import error_dialog
from tui.cockpit.session import EngineSession
from tui.words.knobs import value_text

if TYPE_CHECKING:
    from tui.cockpit.app import Cockpit


def set_knob(settings: Settings, knob: Knob, value: int) -> None:
    """Put a knob's value into settings, for a run that is started with them."""
    if knob is SEED_COUNT:
        settings.seed.count = value
    else:
        setattr(settings.run, knob.name, value)


class Helm:
    """Hands orders to the engines of a cockpit, in the background."""

    def __init__(self, cockpit: Cockpit) -> None:
        self._cockpit = cockpit

    def start(self, settings: Settings, start: Start) -> None:
        """Start a run in the idle engine when that fits it, otherwise in a new one."""
        # Not exclusive: what the engine has accepted goes on, wanted or not. `Engines` refuses a second one.
        self._cockpit.run_worker(self._start(settings, start), group="start")

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
        """Turn a knob of the run; without one, set it for the next run, and say so."""
        session = self._cockpit.run_session
        if session is not None and session.is_live:
            session.wish(knob, value)
            self._cockpit.draw_run()
            self._cockpit.run_worker(self._grant(session, knob), group="knob")
            return
        if (setup := self._cockpit.setup) is not None:
            setup.fill_knob(knob, value)
        else:
            set_knob(self._cockpit.settings, knob, value)
        self._cockpit.notify(f"{knob.label} {value_text(knob, value)}: for the next run.", markup=False)

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
