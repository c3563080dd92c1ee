"""The settings of a cockpit: as they were read or applied, and as they are in the fields of Setup."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from engine.config import Mode, Settings, merged
from engine.knobs import SEED_COUNT, Auto, Knob, KnobValue
from engine.protocol import PlanView
from tui.cockpit.changes import Changes
from tui.cockpit.plan_edits import PlanFile
from tui.cockpit.planning import EditedPlan
from tui.memory import Memory
from tui.words.uri import shown

Side = Literal["source", "target"]


def with_knob(settings: Settings, knob: Knob, value: KnobValue) -> Settings:
    """`settings` with the value of a knob, for a run that is started with them."""
    if knob is SEED_COUNT:
        return merged(settings, {"seed": {"count": value}})
    return merged(settings, {"run": {knob.name: str(value) if isinstance(value, Auto) else value}})


class SetupFields(Protocol):
    """What the fields of Setup add to the settings."""

    def has_uri(self, side: Side) -> bool:
        """The URI of this side is set."""

    def with_connections(self, settings: Settings) -> Settings:
        """`settings` with the URIs of the fields."""

    def edited_settings(self) -> Settings:
        """The settings with what all fields say; raises UsageError for a field that is out of bounds."""

    def planned_settings(self) -> Settings:
        """The same for a copy; raises UsageError also while it is not known which collections are to be copied."""

    def fill_knob(self, knob: Knob, value: KnobValue) -> None:
        """Put a value into a knob's field."""

    def fill_mode(self, mode: Mode) -> None:
        """Choose what happens to existing tables."""


class PlanEditor(Protocol):
    """Where a plan is edited."""

    @property
    def edited(self) -> EditedPlan | None:
        """The plan with its edits; None without any."""

    @property
    def planned(self) -> PlanView | None:
        """The plan that was made of what is set now, without edits; None where there is none."""

    @property
    def edits_aside(self) -> tuple[str, ...]:
        """Edits that have no place in the plan, each with the reason."""

    def start_when_planned(self) -> None:
        """Ask about a start once the plan is that of Setup again; the screen has to be shown then."""


class Choices:
    """What the operator has chosen. Settings are replaced, never assigned to."""

    def __init__(
        self, settings: Settings, provenance: Mapping[str, str], file: Path | None, changes: Changes, memory: Memory
    ) -> None:
        self.current = settings
        self.provenance = provenance
        self.file = file
        """What was read at the start."""
        self.memory = memory
        self._read = settings
        self.setup: SetupFields | None = None
        """The Setup screen; None before it was shown."""
        self.plan_editor: PlanEditor | None = None
        """The Plan screen; None before it was shown."""
        self._plan_file: PlanFile | None = None
        self._changes = changes

    def has_uri(self, side: Side) -> bool:
        """The URI of this side is set."""
        if self.setup is not None:
            return self.setup.has_uri(side)
        section = self.current.source if side == "source" else self.current.target
        return bool(section.uri.get_secret_value())

    @property
    def connected(self) -> Settings:
        """The settings with the URIs as they are on Setup."""
        return self.current if self.setup is None else self.setup.with_connections(self.current)

    def uri_words(self, side: Side) -> str:
        """The connection string of this side without its secrets, and where it came from."""
        now, read = (each.source if side == "source" else each.target for each in (self.connected, self._read))
        uri, origin = now.uri.get_secret_value(), self.provenance.get(f"{side}.uri", "")
        if not uri:
            return "not set"
        return f"{shown(uri)} ({origin if origin and uri == read.uri.get_secret_value() else 'set on Setup'})"

    @property
    def edited(self) -> Settings:
        """The settings as they are on Setup.

        Raises:
            UsageError: a field is out of bounds.
        """
        return self.current if self.setup is None else self.setup.edited_settings()

    @property
    def planned(self) -> Settings:
        """The settings of a copy, as they are on Setup.

        Raises:
            UsageError: a field is out of bounds, or it is not known which collections are to be copied.
        """
        return self.current if self.setup is None else self.setup.planned_settings()

    @property
    def edited_plan(self) -> EditedPlan | None:
        """The plan with the edits made on its screen; None without any."""
        return None if self.plan_editor is None else self.plan_editor.edited

    @property
    def made_plan(self) -> PlanView | None:
        """The plan that was made of what is set now, without edits; None where there is none."""
        return None if self.plan_editor is None else self.plan_editor.planned

    def offer_plan_file(self, file: PlanFile) -> None:
        """Have the Plan screen open a saved plan when it is shown."""
        self._plan_file = file

    def take_plan_file(self) -> PlanFile | None:
        """The saved plan to open, once."""
        file, self._plan_file = self._plan_file, None
        return file

    def apply(self, settings: Settings) -> None:
        """Take other settings for what comes."""
        self.current = settings
        self._changes.settings.publish(settings)

    def choose_census(self, census: Literal["sample", "full"]) -> None:
        """What plans are made from, here and in the run that follows."""
        self.apply(merged(self.current, {"run": {"census": census}}))

    def choose_knob(self, knob: Knob, value: KnobValue) -> None:
        """A knob's value for the next run."""
        if self.setup is not None:
            self.setup.fill_knob(knob, value)
        else:
            self.apply(with_knob(self.current, knob, value))

    def choose_mode(self, mode: Mode) -> None:
        """What the next run does with existing tables."""
        if self.setup is not None:
            self.setup.fill_mode(mode)
        else:
            self.apply(merged(self.current, {"run": {"mode": mode}}))
