"""The demo as people watch it: with a throttle, so that there is time to steer it."""

from __future__ import annotations

from engine.config import Settings, merged

ROWS_PER_S = 20_000
"""A million rows take most of a minute."""


def watchable(settings: Settings) -> Settings:
    """The settings of a demo in the cockpit that has no throttle of its own."""
    return settings if settings.run.throttle else merged(settings, {"run": {"throttle": ROWS_PER_S}})
