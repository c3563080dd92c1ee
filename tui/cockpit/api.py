"""What a screen may ask of its cockpit, by subject. The application satisfies it; no screen knows the application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, TypeVar

from pydantic import BaseModel

from engine.config import Mode, Settings
from engine.knobs import Knob, KnobValue
from engine.protocol import PlanView, Recording, RunInfo, Snapshot, Start
from tui.cockpit.changes import Changes
from tui.cockpit.choices import PlanEditor, SetupFields
from tui.cockpit.commands import Place, Situation
from tui.cockpit.keymap import Keymap
from tui.cockpit.plan_edits import PlanFile
from tui.cockpit.planning import EditedPlan
from tui.cockpit.replay import ReplayedRun
from tui.cockpit.session import EngineSession
from tui.cockpit.shown import ShownRun
from tui.memory import Memory

Reply = TypeVar("Reply", bound=BaseModel)


class ChoicesApi(Protocol):
    """The settings, and the plan that was edited."""

    setup: SetupFields | None
    plan_editor: PlanEditor | None

    @property
    def current(self) -> Settings:
        """As they were read or applied."""

    @property
    def memory(self) -> Memory:
        """What is remembered from one start to the next."""

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

    @property
    def made_plan(self) -> PlanView | None:
        """The plan that was made of what is set now, without edits; None where there is none."""

    def take_plan_file(self) -> PlanFile | None:
        """A saved plan that the Plan screen is to open, once; None without one."""

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

    def deleted(self, run_id: str) -> None:
        """A run is in the ledger no more."""

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

    resumes_when_over: bool
    """The run that is being stopped is to be resumed as soon as it has stopped."""

    def start(self, settings: Settings, start: Start) -> None:
        """Start a run."""

    def resume(self) -> None:
        """Resume the run that stopped, in a new engine, with its knobs as they were last."""

    def resume_when_over(self, *, wanted: bool = True) -> None:
        """Resume the run that is being stopped as soon as it has stopped; or leave it stopped after all."""

    def resume_run(self, was: Snapshot, settings: Settings, *, takes_over: bool = False) -> None:
        """Resume this run of the ledger, as it was planned; `settings` name its servers, and the knobs."""

    @property
    def servers(self) -> Settings:
        """Settings that name the servers of the run, or of Setup where both are set there; raises UsageError."""

    def send(self, command: BaseModel) -> None:
        """Give the run's engine a command."""

    def choose_mode(self, mode: Mode) -> None:
        """What the next run does with existing tables."""

    def turn(self, knob: Knob, value: KnobValue) -> None:
        """Turn a knob of the run, or of the comparison; without either, set it for the next run."""


class LeavingApi(Protocol):
    """The end of the cockpit."""

    waits_for_run: bool
    """Leave as soon as the run is over."""
    would_lose: str
    """A sentence that names what leaving would lose, because it is in no file; empty when there is nothing."""
    would_cut_off: str
    """A sentence that names what leaving would cut off, beside a run; empty when there is nothing."""


class NavigationApi(Protocol):
    """The way to another screen."""

    async def show(self, place: Place) -> None:
        """Another screen."""

    async def show_verification(self, run_id: str, *, compares: bool = False) -> None:
        """A run of the ledger on the Verify screen."""

    async def show_rejects(self, run_id: str) -> None:
        """The rejects of a run of the ledger; from there Escape leads back to the screen that is shown now."""

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
