"""The five screens as modes of the application, and the ways between them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from textual.app import App

from engine.protocol import Recording
from tui.cockpit.api import CockpitApi
from tui.cockpit.commands import Place
from tui.cockpit.palette import CommandsPalette
from tui.cockpit.replay import ReplayedRun
from tui.cockpit.runs import Runs
from tui.cockpit.screens.base import CockpitScreen
from tui.cockpit.screens.history import HistoryScreen
from tui.cockpit.screens.plan import PlanScreen
from tui.cockpit.screens.rejects import RejectsScreen
from tui.cockpit.screens.run import RunScreen
from tui.cockpit.screens.setup import SetupScreen
from tui.cockpit.screens.verify import VerifyScreen


class Navigation:
    """Makes each screen when it is shown for the first time, and leads from one to another."""

    def __init__(
        self, app: App[None], cockpit: CockpitApi, runs: Runs, palette: CommandsPalette, silent_s: float
    ) -> None:
        """No screen is made yet.

        Args:
            silent_s: seconds without a word from the engine after which the Run screen says so.
        """
        self._app = app
        self._cockpit = cockpit
        self._runs = runs
        self._screens: dict[Place, CockpitScreen] = {}
        """Those that were shown."""
        makers: dict[Place, Callable[[], CockpitScreen]] = {
            Place.SETUP: partial(SetupScreen, cockpit),
            Place.PLAN: partial(PlanScreen, cockpit),
            Place.RUN: partial(RunScreen, cockpit, kept=(palette,), silent_s=silent_s),
            Place.VERIFY: partial(VerifyScreen, cockpit),
            Place.HISTORY: partial(HistoryScreen, cockpit),
            Place.REJECTS: partial(RejectsScreen, cockpit),
        }
        for place, make in makers.items():
            app.add_mode(place.value, partial(self._made, place, make))

    def _made(self, place: Place, make: Callable[[], CockpitScreen]) -> CockpitScreen:
        self._screens[place] = screen = make()
        return screen

    @property
    def current(self) -> CockpitScreen | None:
        """The screen of the mode that is shown, below its dialogs; None before the first one is mounted."""
        screen = next((each for place, each in self._screens.items() if place.value == self._app.current_mode), None)
        return screen if screen is not None and screen.is_mounted else None

    @property
    def front(self) -> CockpitScreen | None:
        """The screen that the keys go to; None while a dialog is in front."""
        screen = self._app.screen
        return screen if isinstance(screen, CockpitScreen) else None

    async def open(self, place: Place) -> None:
        """A screen, at once: the first one, or that of a run that was just started."""
        await self._app.switch_mode(place.value)

    async def show(self, place: Place) -> None:
        """Another screen; leaving a replay ends it."""
        if place is not Place.RUN:
            self._runs.replay = None
        if (before := self.front) is not None and before.PLACE is not place:
            await before.lead_to(place)
        await self.open(place)
        if (now := self.front) is not None:
            now.shown()
        self._cockpit.situation_changed()

    async def show_run(self) -> None:
        """The Run screen, when there is something to show on it."""
        if self._runs.shown is not None:
            await self.show(Place.RUN)

    async def show_verification(self, run_id: str, *, compares: bool = False) -> None:
        """A run of the ledger on the Verify screen.

        Args:
            compares: begin to compare every document at once.
        """
        await self.show(Place.VERIFY)
        screen = self._screens.get(Place.VERIFY)
        if isinstance(screen, VerifyScreen):
            screen.choose(run_id)
            if compares:
                screen.action_full()

    async def show_rejects(self, run_id: str) -> None:
        """The rejects of a run of the ledger; from there Escape leads back to the screen that is shown now."""
        front = self.front
        back = front.PLACE if front is not None else Place.VERIFY
        if back is Place.RUN and self._runs.replay is not None:  # which ends with this
            back = Place.HISTORY
        await self.show(Place.REJECTS)
        screen = self._screens.get(Place.REJECTS)
        if isinstance(screen, RejectsScreen):
            screen.choose(run_id, back)

    async def play(self, recording: Recording) -> None:
        """A recorded run on the Run screen."""
        self._runs.replay = ReplayedRun(recording)
        await self.open(Place.RUN)

    async def offer_start(self) -> None:
        """Ask, on Setup, whether to start what it says, or the plan that was edited."""
        if self._setup is None:
            await self.show(Place.SETUP)
        edited = self._cockpit.choices.edited_plan
        if self._setup is not None and edited is not None:
            self._setup.offer_edited(edited)
        elif self._setup is not None:
            self._setup.offer_start()

    @property
    def _setup(self) -> SetupScreen | None:
        screen = self._screens.get(Place.SETUP)
        return screen if isinstance(screen, SetupScreen) and screen.is_mounted else None

    async def ask_how_to_stop(self) -> None:
        """The run, not a replay, with the question how to stop it."""
        self._runs.replay = None
        await self.show_run()
        if isinstance(self.front, RunScreen):
            self.front.action_stop()

    def interrupt(self) -> bool:
        """ctrl+c outside a field; False where the Run screen is not in front."""
        front = self.front
        if isinstance(front, RunScreen):
            front.interrupt()
        return isinstance(front, RunScreen)
