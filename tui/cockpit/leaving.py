"""How the cockpit ends: by q, by a signal, with its terminal. A run outlives it, or is rolled back, by choice."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from functools import partial

from textual.app import App

from engine.errors import EXIT_CANCELLED, EXIT_DONE, EXIT_SIGHUP, EXIT_SIGTERM
from tui.cockpit.dialogs.questions import QuitQuestion, confirm
from tui.cockpit.engines import Engines
from tui.cockpit.farewell import farewell
from tui.cockpit.session import EngineSession
from tui.signals import add_handlers

SIGNAL_CANCEL_S = 3.0
"""How long an end by signal waits for the engine to roll back."""
SAID_AFTER_S = 0.3
"""Seconds of leaving after which the screen says what it waits for."""
_CODES = {signal.SIGTERM: EXIT_SIGTERM, signal.SIGHUP: EXIT_SIGHUP, signal.SIGINT: EXIT_CANCELLED}


class Leaving:
    """Ends a cockpit."""

    def __init__(self, app: App[None], engines: Engines, ask_how_to_stop: Callable[[], Awaitable[None]]) -> None:
        """Nothing ends yet.

        Args:
            app: the application to end.
            ask_how_to_stop: shows the run, and asks how it is to be stopped.
        """
        self.waits_for_run = False
        """Leave as soon as the run is over."""
        self.has_begun = False
        """Nothing but the end comes now."""
        self.would_cut_off = ""
        """A sentence that names what leaving would cut off, beside a run; empty when there is nothing."""
        self.would_lose = ""
        """A sentence that names what leaving would lose, because it is in no file; empty when there is nothing."""
        self.farewell = ""
        """What is printed once the terminal is the shell's again."""
        self._app = app
        self._engines = engines
        self._ask_how_to_stop = ask_how_to_stop
        self._is_ending = False

    def watch_signals(self) -> None:
        """Call in the event loop, before anything is shown."""
        add_handlers({number: partial(self.signalled, number) for number in _CODES})

    async def ask(self) -> None:
        """Leave; while a run is going on, ask what becomes of it."""
        session = self._engines.run
        if session is None or not session.is_live:
            self._leave_without_run()
            return
        if self.would_lose and not self._app.screen.is_modal:
            self._app.push_screen(confirm("Leave now?", [self.would_lose], go="Leave…"), self._ask_of_run)
        else:
            self._ask_of_run("go")

    def _ask_of_run(self, answer: str | None) -> None:
        """What becomes of the run, when the operator wants to leave."""
        session = self._engines.run
        if answer != "go" or session is None:
            return

        async def answered(answer: str | None) -> None:
            if answer == "leave" or (answer == "stop" and not session.is_live):
                self._leave_soon(run_goes_on=session.is_live)  # it may have ended while the question stood
            elif answer == "stop":
                self.waits_for_run = True
                await self._ask_how_to_stop()

        if not self._app.screen.is_modal:
            question = QuitQuestion(lambda: session.snapshot, lambda: session.is_live, self._lost_by_leaving(session))
            self._app.push_screen(question, answered)

    def _lost_by_leaving(self, session: EngineSession) -> list[str]:
        """What will not happen when the run goes on without this cockpit."""
        has_command = session.is_owner and session.settings is not None and session.settings.cockpit.on_finish
        return ["The command of --on-finish is not run then."] if has_command else []

    def _leave_without_run(self) -> None:
        """Leave, unless the operator wants to wait for what would be cut off."""

        def answered(answer: str | None) -> None:
            if answer == "go":
                self._leave_soon()

        reasons = [reason for reason in (self.would_cut_off, self.would_lose) if reason]
        if not reasons:
            self._leave_soon()
        elif not self._app.screen.is_modal:
            self._app.push_screen(confirm("Leave now?", reasons, go="Leave"), answered)

    def _leave_soon(self, *, run_goes_on: bool = False) -> None:
        """In the background: the screen can still be drawn, while no key means anything any more."""
        self.has_begun = True
        self._app.run_worker(self.leave(run_goes_on=run_goes_on), group="leave")

    async def leave(self, *, run_goes_on: bool = False, code: int | None = None, words: str = "") -> None:
        """Close the connections and end the application.

        Args:
            run_goes_on: detach from the run; otherwise its policy decides.
            code: the exit code; else the run's.
            words: the farewell; else one about the run.
        """
        self.has_begun = True
        session = self._engines.run
        if session is not None:
            code = code if code is not None else EXIT_DONE if run_goes_on else session.exit_code
            words = words or farewell(session, run_goes_on=run_goes_on)
        self.farewell = words
        self._app.set_timer(SAID_AFTER_S, self._say)
        await self._engines.close(run_goes_on=run_goes_on)
        self._app.exit(return_code=code or EXIT_DONE)

    def _say(self) -> None:
        self._app.notify("Leaving: the engine takes its time to answer.", markup=False)

    def signalled(self, number: signal.Signals) -> None:
        """End by a signal; only the first one counts."""
        if not self._is_ending:
            self._is_ending = self.has_begun = True
            self._app.run_worker(self._leave_by(number), group="signal")

    async def _leave_by(self, number: signal.Signals) -> None:
        """SIGHUP follows `on_disconnect`; SIGTERM and SIGINT cancel a run that this cockpit owns; a guest only leaves."""
        session = self._engines.run
        run_goes_on = False
        if session is not None and session.is_live:
            run_goes_on = not session.is_owner or (number is signal.SIGHUP and session.policy == "continue")
            if not run_goes_on:
                await session.cancel_and_wait(SIGNAL_CANCEL_S)
        await self.leave(run_goes_on=run_goes_on, code=_CODES[number])
