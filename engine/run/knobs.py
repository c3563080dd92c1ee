"""The knobs of a run (DESIGN.md 3), turned while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config import Settings
from engine.errors import KnobError
from engine.knobs import knob_named
from engine.protocol import KnobChanged

if TYPE_CHECKING:
    from engine.run.run import Migration


def knobs_of(settings: Settings) -> dict[str, int]:
    """The knobs as the settings have them."""
    run = settings.run
    return {
        "cluster_size": run.cluster_size,
        "page_size": run.page_size,
        "throttle": run.throttle,
        "seed_count": settings.seed.count,
    }


async def turn(migration: Migration, name: str, value: int) -> dict[str, Any]:
    """Turn a knob; returns what it is now and when it applies. Raises KnobError outside its bounds."""
    if migration.verifying is None:
        migration.record.require("set")
    knob = knob_named(name)
    knob.check(value)
    applies = "when the run starts"
    if migration.verifying is not None:
        applies = "from the next page" if knob.name == "page_size" else "at once"
        if knob.name == "cluster_size":
            await migration.verifying.check_size(value)
    elif migration.surveying is not None:
        applies = "at once"
    elif migration.is_active:
        if knob.name == "cluster_size":
            applies = "at once"
            if migration.copying is not None:
                await migration.copying.check_free_connections(value)
        elif knob.name == "seed_count":
            if migration.seeding is None:
                raise KnobError("seed_count can be changed only in a run that began with seeding.")
            applies = await migration.seeding.set_count(value)
        else:
            applies = "from the next page" if knob.name == "page_size" else "at once"
    old = migration.record.knobs[knob.name]
    migration.emit(KnobChanged(knob=knob.name, old=old, value=value))
    if migration.verifying is not None:
        migration.verifying.turn(knob.name)
    elif migration.surveying is not None:
        migration.surveying.turn(knob.name)
    else:
        _apply(migration, knob.name, value)
    return {"knob": knob.name, "value": value, "applies": applies}


def _apply(migration: Migration, name: str, value: int) -> None:
    if migration.supervisor is None:
        return
    if name == "cluster_size":
        migration.supervisor.resize(value)
        if migration.copying is not None:
            migration.copying.cutting.begin(value)
    elif name == "seed_count":
        migration.supervisor.dispatch()
    else:
        migration.supervisor.tune(migration.record.knobs["page_size"], migration.record.knobs["throttle"])
