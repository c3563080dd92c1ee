"""The cockpit: a Textual application that draws what an engine says and hands on what the operator asks."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import BaseModel
from rich.console import RenderableType
from textual import events, on, work
from textual.app import App, ScreenStackError
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.filter import LineFilter
from textual.theme import ThemeProvider
from textual.worker import WorkerFailed

from engine.config import Loaded, Settings
from engine.errors import EXIT_DONE, EXIT_FAILED, MigrationError
from engine.protocol import Event, Recording, RunInfo, Snapshot, Start
from engine.service.client import EngineProcess
from tui.cockpit.ascii_filter import AsciiFilter
from tui.cockpit.clipboard import copy
from tui.cockpit.commands import BY_ACTION, BY_ID, Place, Situation, bindings_of
from tui.cockpit.crash import crash_words
from tui.cockpit.engines import Engines
from tui.cockpit.keymap import Keymap, key_words
from tui.cockpit.leaving import Leaving
from tui.cockpit.notes import Notes
from tui.cockpit.orders import Helm
from tui.cockpit.palette import CommandProvider, CommandsPalette, Palette
from tui.cockpit.planning import EditedPlan
from tui.cockpit.replay import Replay
from tui.cockpit.screens.base import CockpitScreen
from tui.cockpit.screens.history import HistoryScreen
from tui.cockpit.screens.plan import PlanScreen
from tui.cockpit.screens.run import RunScreen
from tui.cockpit.screens.setup import SetupScreen
from tui.cockpit.screens.verify import VerifyScreen
from tui.cockpit.session import EngineSession, situation_of
from tui.cockpit.shown import ShownRun
from tui.cockpit.textual_internals.caches import let_go_of_closed_widgets
from tui.cockpit.textual_internals.driver import CockpitDriver, tells_of_lost_terminal
from tui.cockpit.themes import OURS, fitting
from tui.words.safe import safe

Reply = TypeVar("Reply", bound=BaseModel)


def run_cockpit(
    loaded: Loaded,
    keymap: Keymap,
    *,
    process: EngineProcess | None,
    start: Start | None = None,
    attach: Path | None = None,
) -> int:
    """Open the cockpit and return the exit code to leave with.

    Args:
        process: An engine launched before, to be owned. Without it (and without `attach`) the cockpit launches one.
        start: Give this command at once, and open on the Run screen.
        attach: The socket of a run that is going on.
    """
    app = Cockpit(loaded.settings, loaded.provenance, process=process, start=start, attach=attach, keymap=keymap)
    app.settings_file = loaded.file
    app.run(mouse=loaded.settings.cockpit.mouse)
    with contextlib.suppress(OSError):  # the terminal may be gone; unbuffered, or Python would try again at its end
        os.write(sys.stdout.fileno(), app.leaving.farewell.encode(errors="backslashreplace"))
    app.engines.reap()
    return app.return_code or EXIT_DONE


class Cockpit(App[None]):
    """Five screens as modes; every live engine is reached through an `EngineSession`."""

    TITLE = "mongopg-tui"
    CSS_PATH = "cockpit.tcss"
    MODES = {  # noqa: RUF012
        Place.SETUP.value: SetupScreen,
        Place.PLAN.value: PlanScreen,
        Place.RUN.value: RunScreen,
        Place.VERIFY.value: VerifyScreen,
        Place.HISTORY.value: HistoryScreen,
    }
    COMMANDS = {CommandProvider}  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_of(Place.APP),
        # Of the shell, in every program: no command of ours, in no list of them, and in fields, too.
        Binding("ctrl+z", "suspend_process", "Suspend", show=False, priority=True, system=True),
    ]
    NOTIFICATION_TIMEOUT: ClassVar[float] = 4

    def __init__(
        self,
        settings: Settings,
        provenance: Mapping[str, str],
        *,
        process: EngineProcess | None = None,
        start: Start | None = None,
        attach: Path | None = None,
        keymap: Keymap | None = None,
    ) -> None:
        let_go_of_closed_widgets()
        super().__init__()
        self.settings = settings
        self.provenance = provenance
        self.settings_file: Path | None = None
        """What was read at the start."""
        self.keymap = keymap or Keymap()
        self.keymap.bind(self, Place.APP)
        self.set_keymap(self.keymap.of_dialogs)
        for theme in OURS:
            self.register_theme(theme)
        self.stylesheet.set_variables(self.get_css_variables())  # those of Textual's theme of the same name are in it
        self.engines = Engines(process)
        self.helm = Helm(self)
        self.leaving = Leaving(self)
        self.notes = Notes(self)
        self.palette = CommandsPalette()
        self.replay: Replay | None = None
        """A recorded run that the Run screen shows in the place of the live one."""
        self.asked_at = float("-inf")
        """When a key was pressed last, or the mouse moved."""
        self.draws_next = False
        """Draw the next snapshot as it comes, without waiting for the clock: something was asked for."""
        self._start = start
        self._attach_to = attach

    # --- life ---

    def get_driver_class(self) -> type[Driver]:
        """The driver for a terminal, made safe against its end; any other (the web's) as it is."""
        driver = super().get_driver_class()
        return CockpitDriver if driver is LinuxDriver else driver

    async def on_mount(self) -> None:
        """Signals, colours, the first screen; the engine is connected to in the background."""
        self.leaving.watch_signals()
        self._take_theme()
        wants_run = self._start is not None or self._attach_to is not None
        await self.switch_mode(Place.RUN.value if wants_run else Place.SETUP.value)
        self._begin()

    async def on_unmount(self) -> None:
        """However it ends, no connection is left open."""
        await self.engines.close()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own, and ASCII when that is asked for."""
        filters = super().get_line_filters()
        return [*filters, AsciiFilter()] if self.settings.cockpit.ascii else filters

    @work(group="begin")
    async def _begin(self) -> None:
        try:
            if self._attach_to is not None:
                self.adopt(await EngineSession.attach(self._attach_to))
            elif self._start is not None:
                self.adopt(await self.engines.start(self.settings, self._start))
            else:
                self._prepare_desk()
        except MigrationError as error:
            await self.leaving.leave(code=error.exit_code, words=f"{safe(error.message, 1_000)}\n")

    def adopt(self, session: EngineSession) -> None:
        """Make this engine's run the one on the Run screen."""
        self.engines.run = session
        self.replay = None
        self.notes.hand_over(session)
        self._follow(session)
        self.situation_changed()

    @work(group="follow")
    async def _follow(self, session: EngineSession) -> None:
        seen = self.situation
        async for message in session.messages():
            if session is not self.run_session:
                return
            if self.draws_next and isinstance(message, Snapshot):
                self.draws_next = False
                self.draw_run()
            if self.situation != seen or (isinstance(message, Event) and message.kind == "finished"):
                seen = self.situation
                self.situation_changed()
        if session is self.run_session:
            self.situation_changed()

    async def on_event(self, event: events.Event) -> None:
        """A key behind the one that leaves means nothing: it may not start a run, say."""
        if isinstance(event, events.InputEvent):
            self.asked_at = time.monotonic()
        if not (self.leaving.has_begun and isinstance(event, events.InputEvent)):
            await super().on_event(event)

    # --- situation ---

    @property
    def run_session(self) -> EngineSession | None:
        """The run on the Run screen: going on, or over; None before the first one."""
        return self.engines.run

    @property
    def shown_run(self) -> ShownRun | None:
        """What the Run screen shows: a replay, or the run."""
        return self.replay or self.run_session

    @property
    def situation(self) -> Situation:
        """What decides which commands work."""
        setup = self.setup
        if setup is not None:
            has_source, has_target = setup.has_uri("source"), setup.has_uri("target")
        else:
            has_source = bool(self.settings.source.uri.get_secret_value())
            has_target = bool(self.settings.target.uri.get_secret_value())
        now = situation_of(self.run_session, self.shown_run, has_source=has_source, has_target=has_target)
        screen = self._screen_stack[0] if self._screen_stacks.get(self.current_mode) else None
        return screen.adjusted(now) if isinstance(screen, CockpitScreen) and screen.is_mounted else now

    def situation_changed(self) -> None:
        """Tell the screen; leave when that was waiting for the run's end; get an engine for Setup when it needs one."""
        for screen in self.screen_stack:
            # One that is still being mounted draws itself when it is shown.
            if isinstance(screen, CockpitScreen) and screen.is_mounted:
                screen.situation_changed()
        if self.leaving.waits_for_run and not self.situation.is_live:
            self.run_worker(self.leaving.leave(), group="leave")
        elif self.current_mode == Place.SETUP and self.situation.is_free and self.engines.needs_desk:
            self._prepare_desk()

    @work(group="desk")
    async def _prepare_desk(self) -> None:
        try:
            await self.engines.open_desk(self.connected_settings)
        except MigrationError as error:
            self.say_problem(error.message)
            return
        if self.setup is not None:
            self.setup.test_both()

    @property
    def setup(self) -> SetupScreen | None:
        """The Setup screen; None before it was shown."""
        screen = self._mode_screen(Place.SETUP)
        return screen if isinstance(screen, SetupScreen) and screen.is_mounted else None

    def _mode_screen(self, place: Place) -> CockpitScreen | None:
        stack = self._screen_stacks.get(place.value, [])
        return stack[0] if stack and isinstance(stack[0], CockpitScreen) else None

    def draw_run(self) -> None:
        """Draw the Run screen now, with what is known."""
        screen = self._mode_screen(Place.RUN)
        if isinstance(screen, RunScreen):
            screen.draw()

    def get_key_display(self, binding: Binding) -> str:
        """Keys in the footer look as in the help; of several the first."""
        return self.keymap.first(binding.id) if binding.id in BY_ID else key_words(binding.key)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A command is there only while it works."""
        command = BY_ACTION.get((Place.APP, action))
        return True if command is None else command.works(self.situation)

    # --- what the screens ask for ---

    def say_problem(self, message: str) -> None:
        """A refusal that has no field to stand under. The log of the run has all of it, to be read again and copied."""
        self.notes.say(message)

    def _take_theme(self) -> None:
        self.theme = fitting(self.settings.cockpit.theme, self.console.color_system)

    @property
    def connected_settings(self) -> Settings:
        """The settings with the URIs as they stand on Setup."""
        return self.settings if self.setup is None else self.setup.with_connections(self.settings)

    @property
    def edited_settings(self) -> Settings:
        """The settings as they stand on Setup.

        Raises:
            UsageError: a field is out of bounds.
        """
        return self.settings if self.setup is None else self.setup.edited_settings()

    @property
    def planned_settings(self) -> Settings:
        """The settings of a copy, as they stand on Setup.

        Raises:
            UsageError: a field is out of bounds, or it is not known which collections are to be copied.
        """
        return self.settings if self.setup is None else self.setup.planned_settings()

    def apply(self, settings: Settings) -> None:
        """Take other settings for what comes."""
        self.settings = settings
        self._take_theme()
        self.refresh()
        self.situation_changed()

    async def engine_to_ask(self) -> EngineSession:
        """An engine that knows the servers.

        Raises:
            MigrationError: it did not start.
        """
        session, now = self.run_session, self.situation
        prefers_desk = now.has_target and not (session is not None and session.is_live)
        return await self.engines.answering(self.connected_settings, prefers_desk=prefers_desk)

    async def ask(self, reply: type[Reply], command: BaseModel) -> Reply:
        """Ask an engine that knows the servers.

        Raises:
            MigrationError: it cannot answer; the message says why.
        """
        return await (await self.engine_to_ask()).client.ask(reply, command)

    def as_known(self, run: RunInfo) -> RunInfo:
        """A run of the ledger; of one whose engine was seen to go, the last sign of life is none."""
        session = self.run_session
        is_lost = session is not None and session.is_lost and session.snapshot.run_id == run.run_id
        return run.model_copy(update={"heartbeat_unix": 0.0}) if is_lost else run

    async def play(self, recording: Recording) -> None:
        """Show a recorded run on the Run screen."""
        self.replay = Replay(recording)
        await self.switch_mode(Place.RUN.value)

    async def offer_start(self) -> None:
        """Ask whether to start what Setup says, or a plan that was edited."""
        if self.setup is None:
            await self.action_show_setup()
        edited = self.edited_plan
        if self.setup is not None and edited is not None:
            self.setup.offer_edited(edited)
        elif self.setup is not None:
            self.setup.offer_start()

    @property
    def edited_plan(self) -> EditedPlan | None:
        """The plan with the edits made on its screen; None without any."""
        screen = self._mode_screen(Place.PLAN)
        return screen.edited if isinstance(screen, PlanScreen) else None

    async def show_verification(self, run_id: str) -> None:
        """Show a run of the ledger on the Verify screen."""
        await self.action_show_verify()
        screen = self._mode_screen(Place.VERIFY)
        if isinstance(screen, VerifyScreen):
            screen.choose(run_id)

    # --- commands ---

    async def _show(self, place: Place) -> None:
        """Another screen; leaving a replay ends it."""
        if place is not Place.RUN:
            self.replay = None
        if isinstance(self.screen, CockpitScreen) and self.screen.PLACE is not place:
            await self.screen.lead_to(place)
        await self.switch_mode(place.value)
        if isinstance(self.screen, CockpitScreen):
            self.screen.shown()
        self.situation_changed()

    async def action_show_setup(self) -> None:
        """The Setup screen."""
        await self._show(Place.SETUP)

    async def action_show_plan(self) -> None:
        """The Plan screen."""
        await self._show(Place.PLAN)

    async def action_show_run(self) -> None:
        """The Run screen."""
        if self.shown_run is not None:
            await self._show(Place.RUN)

    async def action_show_verify(self) -> None:
        """The Verify screen."""
        await self._show(Place.VERIFY)

    async def action_show_history(self) -> None:
        """The History screen."""
        await self._show(Place.HISTORY)

    def action_help(self) -> None:
        """The help screen."""
        if isinstance(self.screen, CockpitScreen):
            session = self.run_session or self.engines.desk
            files = [("settings", str(self.settings_file or "no file was read; --config FILE names one"))]
            files += [("log", str(session.log_path()))] if session else []
            files += [(name, self.provenance[name]) for name in ("source.uri", "target.uri") if name in self.provenance]
            self.screen.help.tell(self.situation, files, self.keymap)
            self.screen.help.open(self)

    def action_copy(self) -> None:
        """Copy what is under the cursor."""
        text, what = self.screen.to_copy() if isinstance(self.screen, CockpitScreen) else ("", "")
        if text.strip():
            copy(self, text, what)
        else:
            self.notify("There is nothing to copy here.", markup=False)

    def action_command_palette(self) -> None:
        """All commands by name."""
        if not isinstance(self.screen, Palette):
            self.palette.open(self)

    def search_themes(self) -> None:
        """Choose the colours."""
        self.push_screen(Palette([ThemeProvider], placeholder="Search for themes…"))

    def action_help_quit(self) -> None:
        """ctrl+c outside a field: never ends anything by itself."""
        if isinstance(self.screen, RunScreen):
            self.screen.interrupt()
        else:
            self.notify(f"{self.keymap.first('app.quit')} leaves.", markup=False)

    def action_screenshot(self, filename: str | None = None, path: str | None = None) -> None:
        """Save an SVG of the screen in the current folder."""
        super().action_screenshot(filename, path or ".")

    async def action_quit(self) -> None:
        """Leave; ask while a run is going on."""
        await self.leaving.ask()

    @on(Driver.SignalResume)
    def _draw_again(self) -> None:
        """After `fg`: the terminal's other screen has nothing of ours on it any more."""
        self.refresh(layout=True)

    # --- a lost terminal, and bugs ---

    def panic(self, *renderables: RenderableType) -> None:
        """Textual's reader of the terminal ends like this when the terminal is gone; SIGHUP may come later or never."""
        if any(map(tells_of_lost_terminal, renderables)):
            self.leaving.signalled(signal.SIGHUP)
        else:
            self._return_code = EXIT_FAILED
            super().panic(*renderables)

    def _handle_exception(self, error: Exception) -> None:
        """Parts of screens go, or do not come any more, while the app ends: nothing is wrong when they are missed."""
        cause = error.error if isinstance(error, WorkerFailed) else error
        is_ending = self._exit or not self.is_running
        if not (is_ending and isinstance(cause, NoMatches | ScreenStackError)):
            super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """A bug. Textual would print the traceback with the values of variables: connection strings among them."""
        uris = [side.uri.get_secret_value() for side in (self.settings.source, self.settings.target)]
        self.leaving.farewell = f"{crash_words(sys.exc_info()[1], self.engines.log_folder(), uris)}\n"
        self._close_messages_no_wait()
