"""The knobs of a run (docs/settings.md), as its settings have them when it begins."""

from __future__ import annotations

from engine.config import Settings


def knobs_of(settings: Settings) -> dict[str, int]:
    """The knobs as the settings have them."""
    run = settings.run
    return {
        "cluster_size": run.cluster_size,
        "page_size": run.page_size,
        "throttle": run.throttle,
        "seed_count": settings.seed.count,
    }
