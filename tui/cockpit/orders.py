"""What the operator asks of a run: start one, steer it, turn its knobs. What the engine refuses is said."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pydantic import BaseModel
from textual.app import App

from engine.config import Mode, Settings, merged
from engine.errors import MigrationError
from engine.knobs import Knob, KnobValue
from engine.protocol import RunState, Snapshot, Start
from tui.cockpit.changes import Changes
from tui.cockpit.choices import Choices
from tui.cockpit.dialogs.questions import error_dialog
from tui.cockpit.engines import Engines
from tui.cockpit.notes import Notes
from tui.cockpit.session import EngineSession
from tui.words.knobs import value_text


class Orders:
    """Hands orders to the engines of a cockpit, in the background."""

    def __init__(
        self,
        app: App[None],
        engines: Engines,
        choices: Choices,
        notes: Notes,
        changes: Changes,
        started: Callable[[EngineSession], Awaitable[None]],
        tell_situation: Callable[[], None],
    ) -> None:
        """Nothing is asked yet.

        Args:
            app: runs what takes time, and shows what was refused.
            started: shows the run that was started.
            tell_situation: has the screens draw what was asked for, at once.
        """
        self._app = app
        self._engines = engines
        self._choices = choices
        self._notes = notes
        self._changes = changes
        self._started = started
        self._tell_situation = tell_situation
        self.doing = ""
        """What was asked for and takes an engine its time before anything of it can be seen: `starting`, `resuming`."""
        self.resumes_when_over = False
        """The run that is being stopped is to be resumed as soon as it has stopped."""
        self._awaits_snapshot = False
        """Something was asked for, and no snapshot has come since."""

    def start(self, settings: Settings, start: Start, resumes: Snapshot | None = None) -> None:
        """Start a run in the idle engine when that fits it, otherwise in a new one.

        Args:
            resumes: the run that is to be resumed, as it was.
        """
        self.resumes_when_over = False
        is_first = not self.doing
        if is_first:
            self._tell("resuming" if start.resume else "starting")
        # Not exclusive: what the engine has accepted goes on, wanted or not. `Engines` refuses a second one.
        self._app.run_worker(self._start(settings, start, resumes, is_first=is_first), group="start")

    def resume(self) -> None:
        """Resume the run that stopped, in a new engine, with its knobs as they were last."""
        session = self._engines.run
        if session is not None and session.settings is not None:
            was = session.snapshot.model_copy(update={"run_id": session.resumed_id})
            self.resume_run(was, merged(session.settings, {"run": session.knobs_last}))

    def resume_when_over(self, *, wanted: bool = True) -> None:
        """Resume the run that is being stopped as soon as it has stopped; or leave it stopped after all."""
        self.resumes_when_over = wanted
        self._tell_situation()

    def run_ended(self) -> None:
        """The run has ended. One that failed meanwhile is left as it is: why comes first."""
        session = self._engines.run
        is_wanted, self.resumes_when_over = self.resumes_when_over, False
        if is_wanted and session is not None and session.snapshot.state is RunState.CANCELLED and session.is_resumable:
            self.resume()

    def resume_run(self, was: Snapshot, settings: Settings, *, takes_over: bool = False) -> None:
        """Resume a run of the ledger. Whatever it was planned from, an edited plan too, is taken from there.

        Args:
            was: the run.
            settings: name its servers, and the knobs to go on with.
            takes_over: its engine, which may be on another host, is gone without having written the run's end.
        """
        self.start(settings, Start(resume=was.run_id, said=[], take_over=takes_over), was)

    @property
    def servers(self) -> Settings:
        """Settings that name the servers of the run, or of Setup where both are set there; raises UsageError."""
        session = self._engines.run
        knows_both = self._choices.has_uri("source") and self._choices.has_uri("target")
        if not knows_both and session is not None and session.settings is not None:
            return session.settings
        return self._choices.edited

    def send(self, command: BaseModel) -> None:
        """Give the run's engine a command."""
        session = self._engines.run
        if session is not None:
            self._app.run_worker(self._send(session, command), group="command")

    def turn(self, knob: Knob, value: KnobValue) -> None:
        """Turn a knob of the run, or of the comparison; without either, set it for the next run, and say so."""
        run = self._engines.run
        session = run if run is not None and run.is_live else self._engines.comparing
        if session is not None:
            session.look()
            session.wish(knob, value)
            self._changes.redraw.publish(None)
            self._app.run_worker(self._grant(session, knob), group="knob")
            return
        self._choices.choose_knob(knob, value)
        self._app.notify(f"{knob.label} {value_text(knob, value)}: for the next run.", markup=False)

    def choose_mode(self, mode: Mode) -> None:
        """What the next run does with existing tables."""
        self._choices.choose_mode(mode)
        self._app.notify(f"Mode {mode}: for the next run.", markup=False)

    def snapshot_came(self) -> None:
        """The run was heard of: what was asked for may be seen in it, so it is drawn at once."""
        if self._awaits_snapshot:
            self._awaits_snapshot = False
            self._changes.redraw.publish(None)

    async def _start(self, settings: Settings, start: Start, resumes: Snapshot | None, *, is_first: bool) -> None:
        try:
            session = await self._engines.start(settings, start, resumes)
        except MigrationError as error:
            self._app.push_screen(error_dialog("The run was not started", error.message))
            return
        finally:
            if is_first:
                self._tell("")
        await self._started(session)

    def _tell(self, doing: str) -> None:
        self.doing = doing
        self._tell_situation()

    async def _send(self, session: EngineSession, command: BaseModel) -> None:
        self._awaits_snapshot = True
        try:
            await session.client.call(command)
        except MigrationError as error:
            self._notes.say(error.message)

    async def _grant(self, session: EngineSession, knob: Knob) -> None:
        self._awaits_snapshot = True
        try:
            await session.grant(knob)
        except MigrationError as error:
            self._notes.say(error.message)
        self._changes.redraw.publish(None)
