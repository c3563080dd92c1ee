"""Mounting a screen before it is shown: `App._get_screen`. Textual mounts an installed screen when it is pushed for the first
time, and has no public name for that.
"""

from __future__ import annotations

from textual.app import App


async def mount_behind(app: App[None], name: str) -> None:
    """Mount a screen that is installed under `name`; where Textual cannot, it is mounted when it is shown."""
    get_screen = getattr(app, "_get_screen", None)
    if get_screen is not None:
        await get_screen(name)[1]
