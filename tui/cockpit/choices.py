"""The settings of a cockpit: as they were read or applied, and as they are in the fields of Setup."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from engine.config import Settings, merged
from engine.knobs import SEED_COUNT, Knob
from tui.cockpit.changes import Changes
from tui.cockpit.planning import EditedPlan

Side = Literal["source", "target"]


def with_knob(settings: Settings, knob: Knob, value: int) -> Settings:
    """`settings` with the value of a knob, for a run that is started with them."""
    if knob is SEED_COUNT:
        return merged(settings, {"seed": {"count": value}})
    return merged(settings, {"run": {knob.name: value}})


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

    def fill_knob(self, knob: Knob, value: int) -> None:
        """Put a value into a knob's field."""


class PlanEditor(Protocol):
    """Where a plan is edited."""

    @property
    def edited(self) -> EditedPlan | None:
        """The plan with its edits; None without any."""


class Choices:
    """What the operator has chosen. Settings are replaced, never assigned to."""

    def __init__(self, settings: Settings, provenance: Mapping[str, str], file: Path | None, changes: Changes) -> None:
        self.current = settings
        self.provenance = provenance
        self.file = file
        """What was read at the start."""
        self.setup: SetupFields | None = None
        """The Setup screen; None before it was shown."""
        self.plan_editor: PlanEditor | None = None
        """The Plan screen; None before it was shown."""
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

    def apply(self, settings: Settings) -> None:
        """Take other settings for what comes."""
        self.current = settings
        self._changes.settings.publish(settings)

    def choose_census(self, census: Literal["sample", "full"]) -> None:
        """What plans are made from, here and in the run that follows."""
        self.apply(merged(self.current, {"run": {"census": census}}))

    def choose_knob(self, knob: Knob, value: int) -> None:
        """A knob's value for the next run."""
        if self.setup is not None:
            self.setup.fill_knob(knob, value)
        else:
            self.apply(with_knob(self.current, knob, value))
