"""Making a cockpit for a test, waiting for what it shows, reading its screen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input

from engine.config import Settings
from engine.protocol import Snapshot
from engine.service.client import WAITS, Waits
from engine.service.launching import launch
from tests.tui.scripted_engine import RUN_ID, ScriptedEngine
from tui.cockpit.app import Cockpit
from tui.cockpit.session import EngineSession
from tui.memory import Memory

WAIT_S = 60.0
NEVER_S = float("inf")
"""A scripted engine speaks when it is told to: that it is silent is no news."""
SOURCE_URI = "mongodb://app:s3cret@db1:27017/shop"
TARGET_URI = "postgresql://mig:hunter2@pg1:5432/shop"


@dataclass
class ScriptedProcess:
    """What `launch` would have returned for a scripted engine: there is no process behind it."""

    run_id: str
    socket: Path
    log: Path

    def wait(self, timeout_s: float) -> int | None:
        """It has ended."""
        return 0

    def end(self) -> None:
        """There is nothing to end: a cockpit that leaves while its engine starts asks for it."""


def process_of(engine: ScriptedEngine) -> Any:
    """The process to hand to a cockpit."""
    return ScriptedProcess(RUN_ID, engine.socket, engine.log)


def settings_with_servers() -> Settings:
    """Both URIs set, with passwords; four workers, however many cores there are."""
    return Settings.model_validate(
        {"source": {"uri": SOURCE_URI}, "target": {"uri": TARGET_URI}, "run": {"cluster_size": 4}}
    )


def on_setup(
    engine: ScriptedEngine,
    settings: Settings | None = None,
    *,
    launching: Callable[[Settings], Any] = launch,
    memory: Memory | None = None,
) -> Cockpit:
    """A cockpit that opens on Setup and owns the engine; others are started by `launching`."""
    return Cockpit(
        settings or settings_with_servers(),
        {"source.uri": "file ./config.toml"},
        process=process_of(engine),
        silent_s=NEVER_S,
        launching=launching,
        memory=memory,
    )


def on_run(
    engine: ScriptedEngine,
    snapshot: Snapshot,
    settings: Settings | None = None,
    *,
    silent_s: float = NEVER_S,
    waits: Waits = WAITS,
) -> Cockpit:
    """A cockpit attached to a run as a guest."""
    engine.snapshot = snapshot
    return Cockpit(settings or settings_with_servers(), {}, attach=engine.socket, silent_s=silent_s, waits=waits)


def session_of(app: Cockpit) -> EngineSession:
    """The cockpit's run, which must be there."""
    assert app.runs.session is not None
    return app.runs.session


async def until(pilot: Pilot[Any], condition: Callable[[], object]) -> None:
    """Wait until `condition` is true; the test fails when that takes too long."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain; the screen:\n{screen_text(pilot.app)}"
        await pilot.pause(0.02)


async def until_shown(pilot: Pilot[Any], *texts: str) -> None:
    """Wait until the screen shows each of `texts`."""
    await until(pilot, lambda: all(text in screen_text(pilot.app) for text in texts))


async def click(pilot: Pilot[Any], selector: str) -> None:
    """Click a widget once it has come to rest: a dialog that is just being laid out would be clicked beside it."""
    region = None
    while (now := pilot.app.screen.query_one(selector).region) != region or not now:
        region = now
        await pilot.pause(0.05)
    await pilot.click(selector)


async def confirm_start(pilot: Pilot[Any]) -> None:
    """On Setup, where collections are chosen: ask for a run, and say yes."""
    await pilot.press("f9")
    await until_shown(pilot, "Start this run?")
    await click(pilot, "#go")


def input_in(app: App[Any], field: str) -> Input:
    """Where one types in a field of Setup: "#source" and "#target" are the URIs, "#knob-throttle" is a knob."""
    return app.screen.query_one(field).query_one(Input)


def edit(app: App[Any], field: str, value: str) -> Input:
    """Put the cursor into a field of Setup and replace what stands there; nothing has left the field yet."""
    found = input_in(app, field)
    found.focus()
    found.value = value
    return found


def screen_text(app: App[Any]) -> str:
    """The screen as lines of text."""
    strips = app.screen._compositor.render_strips(app.size)
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)
