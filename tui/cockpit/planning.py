"""What a plan is made from: the fields of Setup when the plan is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from engine.config import Settings, reveal
from engine.protocol import MakePlan, PlanView, Preflight, Start
from tui.cockpit.plan_edits import PlanEdits
from tui.cockpit.session import EngineSession
from tui.words.safe import safe

_OF_RUN = ("census", "sample_size", "limit", "converter", "indexes", "cluster_size", "throttle")
"""Settings of a run that a plan rests on, or its estimates do."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """Two of them are equal when they lead to the same plan."""

    decided: tuple[object, ...]
    """What a plan's own text decides: a plan that was edited keeps it, whatever Setup says."""
    around: tuple[object, ...]
    """What it does not."""
    settings: Settings = field(compare=False)

    def command(self, session: EngineSession, edits: PlanEdits, *, recount: bool) -> MakePlan:
        """The question to put to an engine.

        Args:
            edits: to plan with; a proposal is asked for when there are none, and no file.
        """
        run = self.settings.run
        return MakePlan(
            collections=[] if edits.is_own else run.collections,
            plan=edits.text,
            edits=edits.edits,
            census=run.census,
            recount=recount,
            settings=_sections(self.settings, session),
        )


@dataclass(frozen=True, slots=True)
class EditedPlan:
    """A plan of the operator's: with edits, or opened from a file."""

    text: str
    """Its TOML."""
    plan: PlanView
    edits: tuple[str, ...]
    """Each in words."""
    is_older: bool
    """Setup has changed since, and says something else."""
    file: str = ""
    """The file that it was opened from; empty for a proposal."""

    @property
    def words(self) -> str:
        """What makes it the operator's: "3 plan edits", or "plan.toml with 1 edit"."""
        count = len(self.edits)
        edits = f"edit{'' if count == 1 else 's'}"
        if not self.file:
            return f"{count} plan {edits}" if count else "the plan as it was edited"
        name = safe(PurePath(self.file).name, 60)
        return f"{name} with {count} {edits}" if count else name


def request_of(settings: Settings) -> PlanRequest:
    """What these settings ask for."""
    run = settings.run
    return PlanRequest(
        decided=(settings.target.schema_name, tuple(run.collections), run.mode, settings.mapping),
        around=(
            settings.source.connection,
            settings.target.connection,
            settings.source.sample_bytes,
            settings.cluster,
            settings.dask,
            *(getattr(run, name) for name in _OF_RUN),
        ),
        settings=settings,
    )


def preflight_command(settings: Settings, start: Start, session: EngineSession) -> Preflight:
    """The question what a start with these settings would meet."""
    return Preflight(plan=start.plan, settings=_sections(settings, session))


def _sections(settings: Settings, session: EngineSession) -> dict[str, Any]:
    """The settings that an engine is to plan with instead of its own: those that a start would send.

    A guest's engine is asked about its own run, and embedded servers are known to their engine alone.
    """
    if session.is_live and not session.is_owner:
        return {}
    said = reveal(settings)
    sections = {"target": {"schema": said["target"]["schema"]}}
    sections |= {name: said[name] for name in ("run", "mapping", "cluster", "dask", "guard")}
    if not (session.is_live and session.servers):
        sections |= {side: said[side] for side in ("source", "target") if said[side]["uri"]}
    return sections
