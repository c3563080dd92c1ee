"""What a plan is made from: the fields of Setup when the plan is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.config import Settings, reveal
from engine.protocol import MakePlan, PlanView
from tui.cockpit.plan_edits import PlanEdits
from tui.cockpit.session import EngineSession

_OF_RUN = ("census", "sample_size", "limit", "converter", "indexes", "cluster_size")
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
            edits: to plan with; when there are none, this asks for a proposal.
        """
        run = self.settings.run
        return MakePlan(
            collections=[] if edits.done else run.collections,
            plan=edits.text,
            edits=edits.edits,
            census=run.census,
            recount=recount,
            settings=_sections(self.settings, session),
        )


@dataclass(frozen=True, slots=True)
class EditedPlan:
    """A plan with the operator's edits."""

    text: str
    """Its TOML."""
    plan: PlanView
    n_edits: int
    is_older: bool
    """Setup has changed since, and says something else."""


def request_of(settings: Settings) -> PlanRequest:
    """What these settings ask for."""
    run = settings.run
    return PlanRequest(
        decided=(settings.target.schema_name, tuple(run.collections), run.mode, settings.mapping),
        around=(settings.source.connection, settings.source.sample_bytes, *(getattr(run, name) for name in _OF_RUN)),
        settings=settings,
    )


def _sections(settings: Settings, session: EngineSession) -> dict[str, Any]:
    """The settings that an engine is to plan with instead of its own: those that a start would send.

    A guest's engine is asked about its own run, and embedded servers are known to their engine alone.
    """
    if session.is_live and not session.is_owner:
        return {}
    said = reveal(settings)
    sections = {"target": {"schema": said["target"]["schema"]}, "run": said["run"], "mapping": said["mapping"]}
    if said["source"]["uri"] and not (session.is_live and session.servers):
        sections["source"] = said["source"]
    return sections
