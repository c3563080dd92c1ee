"""The cockpit: a Textual application that draws what an engine says and hands on what the operator asks."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from rich.console import RenderableType
from textual import events, on, work
from textual.app import ScreenStackError
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.driver import Driver
from textual.filter import LineFilter
from textual.theme import Theme, ThemeProvider
from textual.widgets import Input
from textual.worker import WorkerFailed

from engine.config import Loaded, Settings, merged
from engine.errors import EXIT_DONE, MigrationError
from engine.protocol import RunFinished, Snapshot, Start
from engine.service.client import WAITS, Waits
from engine.service.launching import EngineProcess, launch
from tui import starting
from tui.at_end import Command as AtEnd
from tui.at_end import End, sequences
from tui.cockpit.answers import Answers
from tui.cockpit.ascii_filter import AsciiFilter
from tui.cockpit.changes import Changes
from tui.cockpit.choices import Choices
from tui.cockpit.clipboard import copy
from tui.cockpit.commands import BY_ACTION, BY_ID, Place, Situation, bindings_of
from tui.cockpit.crash import crash_words
from tui.cockpit.engines import Engines, Launching
from tui.cockpit.keymap import Keymap, key_words
from tui.cockpit.leaving import Leaving
from tui.cockpit.navigation import Navigation
from tui.cockpit.notes import Notes
from tui.cockpit.orders import Orders
from tui.cockpit.palette import CommandProvider, CommandsPalette, Palette
from tui.cockpit.plan_edits import PlanFile
from tui.cockpit.runs import Runs
from tui.cockpit.screens.run import SILENT_S
from tui.cockpit.session import EngineSession, situation_of
from tui.cockpit.textual_internals.caches import forget_closed_widgets
from tui.cockpit.textual_internals.command_palette import CAN_BEGIN_ANEW
from tui.cockpit.textual_internals.driver import driver_for, tells_of_lost_terminal
from tui.cockpit.textual_internals.failing import FailsQuietly
from tui.cockpit.textual_internals.telling import tell_terminal
from tui.cockpit.textual_internals.timers import let_late_timers_end
from tui.cockpit.themes import OURS, fitting, with_remembered_theme
from tui.memory import Memory, memory_file
from tui.words.charset import draws_ascii
from tui.words.safe import safe


def run_cockpit(
    loaded: Loaded,
    keymap: Keymap,
    *,
    process: EngineProcess | None,
    start: Start | None = None,
    attach: Path | None = None,
    plan: tuple[str, str] | None = None,
) -> int:
    """Open the cockpit and return the exit code to leave with.

    Args:
        process: An engine launched before, to be owned. Without it (and without `attach`) the cockpit launches one.
        start: Give this command at once, and open on the Run screen.
        attach: The socket of a run that is going on.
        plan: A saved plan to open on the Plan screen: its file, and its text.
    """
    app = Cockpit(
        merged(loaded.settings, {"cockpit": {"ascii": draws_ascii(loaded)}}),
        loaded.provenance,
        process=process,
        start=start,
        attach=attach,
        plan=PlanFile(*plan) if plan is not None else None,
        keymap=keymap,
        file=loaded.file,
        memory=Memory(memory_file()),
    )
    app.run(mouse=loaded.settings.cockpit.mouse)
    starting.erase()
    with contextlib.suppress(OSError):  # the terminal may be gone; unbuffered, or Python would try again at its end
        os.write(sys.stdout.fileno(), app.leaving.farewell.encode(errors="backslashreplace"))
    app.engines.reap()
    return app.return_code or EXIT_DONE


class Cockpit(FailsQuietly):
    """Five screens as modes; every live engine is reached through an `EngineSession`. Satisfies `CockpitApi`."""

    TITLE = "mongopg-tui"
    CSS_PATH = "cockpit.tcss"
    COMMANDS = {CommandProvider}  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_of(Place.APP),
        # The shell's, in every program: not among the commands, and in fields, too.
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
        plan: PlanFile | None = None,
        keymap: Keymap | None = None,
        file: Path | None = None,
        silent_s: float = SILENT_S,
        launching: Launching = launch,
        waits: Waits = WAITS,
        memory: Memory | None = None,
    ) -> None:
        forget_closed_widgets()
        let_late_timers_end()
        memory = memory or Memory()
        settings = with_remembered_theme(settings, provenance, memory.theme)
        super().__init__()
        self.keymap = keymap or Keymap()
        self.keymap.bind(self, Place.APP)
        self.set_keymap(self.keymap.of_dialogs)
        for theme in OURS:
            self.register_theme(theme)
        self.stylesheet.set_variables(self.get_css_variables())  # those of Textual's theme of the same name are in it
        self.changes = Changes(self)
        self.choices = Choices(settings, provenance, file, self.changes, memory)
        self.engines = Engines(process, launching, waits)
        self.engines.given = lambda: Loaded(self.choices.connected, dict(provenance), (), file)
        self.runs = Runs(self.engines)
        self.answers = Answers(self.engines, self.choices, lambda: self.situation)
        self.notes = Notes(self, self.engines, self.keymap)
        self.orders = Orders(
            self, self.engines, self.choices, self.notes, self.changes, self._started, self._tell_situation
        )
        self.palette = CommandsPalette()
        self.navigation = Navigation(self, self, self.runs, self.palette, silent_s)
        self.leaving = Leaving(self, self.engines, self.navigation.ask_how_to_stop)
        self.last_input_at = float("-inf")
        """When a key was pressed last, or the mouse moved."""
        self._read_theme = settings.cockpit.theme
        """The theme of the settings when it was looked at last."""
        self._taken_theme = ""
        """The one that is drawn with."""
        self._start = start
        self._attach_to = attach
        self._opens_plan = plan is not None
        if plan is not None:
            self.choices.offer_plan_file(plan)

    # --- life ---

    def get_driver_class(self) -> type[Driver]:
        """The driver for a terminal, made safe against its end; any other (the web's) as it is."""
        return driver_for(super().get_driver_class())

    async def on_mount(self) -> None:
        """Signals, colours, the first screen; the engine is connected to in the background."""
        self.leaving.watch_signals()
        self._take_theme()
        self.changes.settings.subscribe(self, self._follow_settings)
        self.theme_changed_signal.subscribe(self, self._theme_chosen)
        wants_run = self._start is not None or self._attach_to is not None
        if self._opens_plan:
            await self.navigation.show(Place.PLAN)
        else:
            await self.navigation.open(Place.RUN if wants_run else Place.SETUP)
        self._begin()

    async def on_unmount(self) -> None:
        """However it ends, no connection is left open."""
        await self.engines.close()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own, and ASCII when that is asked for."""
        filters = super().get_line_filters()
        return [*filters, AsciiFilter()] if self.choices.current.cockpit.ascii else filters

    @work(group="begin")
    async def _begin(self) -> None:
        try:
            if self._attach_to is not None:
                session = await EngineSession.attach(self._attach_to, self.engines.waits)
                session.given = self.engines.given
                self._adopt(session)
            elif self._start is not None:
                self._adopt(await self.engines.start(self.choices.current, self._start))
            else:
                self._prepare_idle()
        except MigrationError as error:
            await self.leaving.leave(code=error.exit_code, words=f"{safe(error.message, 1_000)}\n")

    async def _started(self, session: EngineSession) -> None:
        self._adopt(session)
        await self.navigation.open(Place.RUN)

    def _adopt(self, session: EngineSession) -> None:
        """Make this engine's run the one on the Run screen."""
        self.engines.run = session
        self.runs.replay = None
        self.notes.hand_over(session)
        self._follow(session)
        self.situation_changed()

    @work(group="follow")
    async def _follow(self, session: EngineSession) -> None:
        seen, was_live = (self.situation, session.sign), session.is_live
        async for message in session.messages():
            if session is not self.engines.run:
                return
            if isinstance(message, Snapshot):
                self.orders.snapshot_came()
            if was_live and not session.is_live:
                self._tell_end(session)
            was_live = session.is_live
            if (now := (self.situation, session.sign)) != seen or isinstance(message, RunFinished):
                seen = now
                self.situation_changed()
        if session is self.engines.run:
            if was_live:
                self._tell_end(session)
            self.situation_changed()

    def _tell_end(self, session: EngineSession) -> None:
        """A run that was followed has ended: the terminal is told, and of an own run the command that was asked for."""
        end = End.of(session.snapshot, session.exit_code, is_lost=session.is_lost)
        if self.choices.current.cockpit.notify:
            tell_terminal(self, sequences(end))
        if not (self.leaving.waits_for_run or self.leaving.has_begun):
            self.orders.run_ended()
        if session.is_owner:
            command = AtEnd(self.choices.current, end, quiet=True)
            self.run_worker(self._await_command(command), group="at end")

    async def _await_command(self, command: AtEnd) -> None:
        if problem := await command.ended():
            self.say_problem(problem)

    async def on_event(self, event: events.Event) -> None:
        """A key behind the one that leaves means nothing: it may not start a run, say."""
        if isinstance(event, events.InputEvent):
            self.last_input_at = time.monotonic()
        if isinstance(event, events.Key) and (screen := self.navigation.front) is not None and screen.ignores(event):
            return
        if not (self.leaving.has_begun and isinstance(event, events.InputEvent)):
            await super().on_event(event)

    # --- situation and settings ---

    @property
    def situation(self) -> Situation:
        """What decides which commands work."""
        if self.changes.held is not None:
            return self.changes.held
        has_source, has_target = self.choices.has_uri("source"), self.choices.has_uri("target")
        now = situation_of(self.runs.session, self.runs.shown, has_source=has_source, has_target=has_target)
        now = replace(now, doing=self.orders.doing, is_comparing=self.engines.comparing is not None)
        screen = self.navigation.current
        return now if screen is None else screen.adjusted(now)

    def _tell_situation(self) -> None:
        """Have the screens draw it, and nothing else."""
        self.changes.situation.publish(self.situation)

    def situation_changed(self) -> None:
        """Tell the screens; leave when that was waiting for the run's end; get an engine for Setup when it needs one."""
        now = self.situation
        self.changes.situation.publish(now)
        if self.leaving.waits_for_run and not now.is_live:
            self.run_worker(self.leaving.leave(), group="leave")
        elif self.current_mode == Place.SETUP and now.is_free and self.engines.needs_idle:
            self._prepare_idle()

    @work(group="idle")
    async def _prepare_idle(self) -> None:
        try:
            await self.engines.open_idle(self.choices.connected)
        except MigrationError as error:
            self.say_problem(error.message)
        else:
            self.changes.idle_engine.publish(None)

    def _follow_settings(self, _: Settings) -> None:
        self._take_theme()
        self.refresh()
        self.situation_changed()

    def _take_theme(self) -> None:
        name = self.choices.current.cockpit.theme
        if name != self._read_theme:  # it was chosen here
            self.choices.memory.keep_theme(name)
            self._read_theme = name
        self._taken_theme = fitting(name, self.console.color_system)
        self.theme = self._taken_theme

    def say_problem(self, message: str) -> None:
        """A refusal that no field is about. The log of the run has all of it, to be read again and copied."""
        self.notes.say(message)

    def get_key_display(self, binding: Binding) -> str:
        """Keys in the footer look as in the help; of several the first, in a field the first one that types nothing."""
        usable = self.keymap.usable(binding.id, in_field=self.is_typing) if binding.id in BY_ID else ""
        return usable or key_words(binding.key)

    @property
    def is_typing(self) -> bool:
        """A field of the screen, not of a dialog above it, has the cursor: letters are text."""
        screen = self.navigation.current
        return screen is not None and isinstance(screen.focused, Input)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A command is there only while it works."""
        command = BY_ACTION.get((Place.APP, action))
        return True if command is None else command.works(self.situation)

    # --- commands ---

    async def action_show_setup(self) -> None:
        """The Setup screen."""
        await self.navigation.show(Place.SETUP)

    async def action_show_plan(self) -> None:
        """The Plan screen."""
        await self.navigation.show(Place.PLAN)

    async def action_show_run(self) -> None:
        """The Run screen."""
        await self.navigation.show_run()

    async def action_show_verify(self) -> None:
        """The Verify screen."""
        await self.navigation.show(Place.VERIFY)

    async def action_show_history(self) -> None:
        """The History screen."""
        await self.navigation.show(Place.HISTORY)

    def action_help(self) -> None:
        """The help screen."""
        if (screen := self.navigation.front) is not None:
            session = self.runs.session or self.engines.idle
            files = [("settings", str(self.choices.file or "no file was read; --config FILE names one"))]
            of_run = f" (run {self.runs.session.snapshot.run_id})" if self.runs.session is not None else ""
            files += [("log", f"{session.log_path()}{of_run}")] if session else []
            files += [("source", self.choices.uri_words("source")), ("target", self.choices.uri_words("target"))]
            screen.help.tell(self.situation, files, self.keymap)
            screen.help.open(self)

    def action_copy(self) -> None:
        """Copy what is under the cursor."""
        screen = self.navigation.front
        text, what = ("", "") if screen is None else screen.to_copy()
        if text.strip():
            copy(self, text, what)
        else:
            self.notify("There is nothing to copy here.", markup=False)

    def action_command_palette(self) -> None:
        """All commands by name."""
        if isinstance(self.screen, Palette):
            return
        if CAN_BEGIN_ANEW:
            self.palette.open(self)
        else:
            self.push_screen(Palette())

    def search_themes(self) -> None:
        """Choose the colours."""
        self.push_screen(Palette([ThemeProvider], placeholder="Search for themes…"))

    def _theme_chosen(self, theme: Theme) -> None:
        """It is that of the settings, too, so that applying others does not take it back."""
        if theme.name != self._taken_theme:
            self.choices.apply(merged(self.choices.current, {"cockpit": {"theme": theme.name}}))

    def action_help_quit(self) -> None:
        """ctrl+c outside a field: never ends anything by itself."""
        if not self.navigation.interrupt():
            self.notify(f"Press {self.keymap.usable('app.quit', in_field=self.is_typing)} to quit.", markup=False)

    def action_screenshot(self, filename: str | None = None, path: str | None = None) -> None:
        """Save an SVG of the screen in the current folder."""
        super().action_screenshot(filename, path or ".")

    async def action_quit(self) -> None:
        """Leave; ask while a run is going on."""
        await self.leaving.ask()

    @on(Driver.SignalResume)
    def _draw_again(self) -> None:
        """After `fg`: the terminal's other screen is empty."""
        self.refresh(layout=True)

    # --- a lost terminal, and bugs ---

    def panic(self, *renderables: RenderableType) -> None:
        """Textual's reader of the terminal ends like this when the terminal is gone; SIGHUP may come later or never."""
        if any(map(tells_of_lost_terminal, renderables)):
            self.leaving.signalled(signal.SIGHUP)
        else:
            self.fail(renderables)

    def is_harmless(self, error: Exception) -> bool:
        """Parts of screens go, or do not come any more, while the app ends: nothing is wrong when they are missed."""
        cause = error.error if isinstance(error, WorkerFailed) else error
        return self.is_ending and isinstance(cause, NoMatches | ScreenStackError)

    def say_bug(self, error: BaseException | None) -> None:
        """A sentence for the terminal; the traceback, without what is secret in it, goes to a file."""
        current = self.choices.current
        uris = [side.uri.get_secret_value() for side in (current.source, current.target)]
        self.leaving.farewell = f"{crash_words(error, self.engines.log_folder(), uris)}\n"
