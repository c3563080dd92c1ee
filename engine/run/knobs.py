"""The knobs of a run (docs/settings.md), as its settings have them when it begins; settings of guards that it gets later."""

from __future__ import annotations

from engine.config import GuardSettings, Settings
from engine.errors import UsageError
from engine.loading import changed
from engine.notation import joined_list, split_list
from engine.validation import meant


def knobs_of(settings: Settings) -> dict[str, int]:
    """The knobs as the settings have them."""
    run = settings.run
    return {
        "cluster_size": run.workers,
        "page_size": run.page_size,
        "throttle": run.throttle,
        "seed_count": settings.seed.count,
    }


def changed_guard(settings: Settings, name: str, value: str) -> Settings:
    """The settings with another value of one in section `[guard]`, as it is typed.

    Raises:
        UsageError: there is no such setting, or it cannot have this value.
    """
    field = GuardSettings.model_fields.get(name)
    if field is None:
        raise UsageError(f"There is no setting guard.{name}; {meant(name, GuardSettings.model_fields)}.")
    given = split_list(value) if field.annotation == list[str] else value
    return changed(settings, {f"guard.{name}": given})


def as_typed(value: object) -> str:
    """A setting's value as an operator would type it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return joined_list(value)
    return f"{value:.15g}" if isinstance(value, float) else str(value)
