"""What a screen may ask of its cockpit, by subject. The application satisfies it; no screen knows the application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, TypeVar

from pydantic import BaseModel

from engine.config import Settings
from engine.knobs import Knob
from engine.protocol import Recording, RunInfo, Start
from tui.cockpit.changes import Changes
from tui.cockpit.choices import PlanEditor, SetupFields
from tui.cockpit.commands import Place, Situation
from tui.cockpit.keymap import Keymap
from tui.cockpit.planning import EditedPlan
from tui.cockpit.replay import ReplayedRun
from tui.cockpit.session import EngineSession
from tui.cockpit.shown import ShownRun

Reply = TypeVar("Reply", bound=BaseModel)


class ChoicesApi(Protocol):
    """The settings, and the plan that was edited."""

    setup: SetupFields | None
    plan_editor: PlanEditor | None

    @property
    def current(self) -> Settings:
        """As they were read or applied."""

    @property
    def provenance(self) -> Mapping[str, str]:
        """Where each came from."""

    @property
    def edited(self) -> Settings:
        """As they are on Setup; raises UsageError."""

    @property
    def planned(self) -> Settings:
        """Those of a copy, as they are on Setup; raises UsageError."""

    @property
    def edited_plan(self) -> EditedPlan | None:
        """The plan with the edits made on its screen; None without any."""

    def apply(self, settings: Settings) -> None:
        """Take other settings for what comes."""

    def choose_census(self, census: Literal["sample", "full"]) -> None:
        """What plans are made from, here and in the run that follows."""


class RunsApi(Protocol):
    """The run of the cockpit, and the one on the Run screen."""

    @property
    def session(self) -> EngineSession | None:
        """The run of the cockpit; None before the first one."""

    @property
    def shown(self) -> ShownRun | None:
        """What the Run screen shows: a replay, or the run."""

    @property
    def replay(self) -> ReplayedRun | None:
        """The recorded run that is shown; None without one."""


class AnswersApi(Protocol):
    """Questions to an engine. What cannot be answered raises MigrationError, whose message says why."""

    @property
    def idle_engine(self) -> EngineSession | None:
        """The engine that tests connections; None while there is none."""

    @property
    def lacks_idle_engine(self) -> bool:
        """There is none, or it has ended, and none is being started."""

    async def engine(self) -> EngineSession:
        """An engine that knows the servers."""

    async def engine_for(self, settings: Settings) -> EngineSession:
        """An engine with exactly these settings, to be closed after the question."""

    async def ask(self, reply: type[Reply], command: BaseModel) -> Reply:
        """Ask an engine that knows the servers."""

    def as_known(self, run: RunInfo) -> RunInfo:
        """A run of the ledger, with what the cockpit knows about its engine."""


class OrdersApi(Protocol):
    """What a run is told, in the background; a refusal is shown."""

    def start(self, settings: Settings, start: Start) -> None:
        """Start a run."""

    def resume(self) -> None:
        """Go on with the run that stopped, in a new engine."""

    def send(self, command: BaseModel) -> None:
        """Give the run's engine a command."""

    def turn(self, knob: Knob, value: int) -> None:
        """Turn a knob of the run; without one, set it for the next run."""


class LeavingApi(Protocol):
    """The end of the cockpit."""

    waits_for_run: bool
    """Leave as soon as the run is over."""
    would_cut_off: str
    """A sentence that names what leaving would cut off, beside a run; empty when there is nothing."""


class NavigationApi(Protocol):
    """The way to another screen."""

    async def show(self, place: Place) -> None:
        """Another screen."""

    async def show_verification(self, run_id: str) -> None:
        """A run of the ledger on the Verify screen."""

    async def play(self, recording: Recording) -> None:
        """A recorded run on the Run screen."""

    async def offer_start(self) -> None:
        """Ask, on Setup, whether to start what it says, or the plan that was edited."""


class CockpitApi(Protocol):
    """What a screen may ask of its cockpit."""

    @property
    def keymap(self) -> Keymap:
        """The keys of every command."""

    @property
    def changes(self) -> Changes:
        """What a screen can subscribe to."""

    @property
    def choices(self) -> ChoicesApi:
        """The settings, and the plan that was edited."""

    @property
    def runs(self) -> RunsApi:
        """The run of the cockpit, and the one on the Run screen."""

    @property
    def answers(self) -> AnswersApi:
        """Questions to an engine."""

    @property
    def orders(self) -> OrdersApi:
        """What a run is told."""

    @property
    def leaving(self) -> LeavingApi:
        """The end of the cockpit."""

    @property
    def navigation(self) -> NavigationApi:
        """The way to another screen."""

    @property
    def situation(self) -> Situation:
        """What decides which commands work now."""

    @property
    def last_input_at(self) -> float:
        """When a key was pressed last, or the mouse moved: seconds of `time.monotonic`."""

    def situation_changed(self) -> None:
        """Have everything follow what may be another situation now."""

    def say_problem(self, message: str) -> None:
        """A refusal that no field is about: shown for a few seconds, and kept in the log of the run."""
