"""The engines of a cockpit: one is launched when it is needed, and none is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.config import Settings
from engine.errors import ConnectError
from tests.tui.driving import confirm_start, on_setup, process_of, settings_with_servers, until, until_shown
from tests.tui.scripted_engine import ScriptedEngine, completed
from tui.cockpit.engines import Engines


class SlowLauncher:
    """Stands for `launch`: takes until `go` is set, and counts."""

    def __init__(self, engine: ScriptedEngine | None) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.launched: list[Any] = []
        self._engine = engine

    def __call__(self, settings: Settings) -> Any:
        self.begun.set()
        assert self.go.wait(30.0)
        process = Ended(Path("/nowhere.sock")) if self._engine is None else process_of(self._engine)
        self.launched.append(process)
        return process


class Ended:
    """A process behind which nothing listens; says whether it was ended."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.is_ended = False

    def end(self) -> None:
        """End it."""
        self.is_ended = True

    def wait(self, timeout_s: float) -> int | None:
        """It goes on until it is ended."""
        return 0 if self.is_ended else None


@pytest.fixture
def silent() -> Iterator[SlowLauncher]:
    """Launches processes that never listen."""
    launcher = SlowLauncher(None)
    yield launcher
    launcher.go.set()


async def test_an_engine_that_is_not_waited_for_any_more_is_ended_as_soon_as_it_is_there(silent: SlowLauncher) -> None:
    engines = Engines(None, silent)
    opening = asyncio.create_task(engines.open_idle(Settings()))
    await asyncio.to_thread(silent.begun.wait)
    opening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await opening
    silent.go.set()
    async with asyncio.timeout(30.0):
        while not (silent.launched and silent.launched[0].is_ended):
            await asyncio.sleep(0.01)


async def test_an_engine_that_does_not_answer_is_ended(silent: SlowLauncher) -> None:
    silent.go.set()
    engines = Engines(None, silent)
    with pytest.raises(ConnectError):
        await engines.open_idle(Settings())
    assert silent.launched[0].is_ended


def test_an_engine_that_was_never_connected_to_is_ended_on_leaving() -> None:
    process: Any = Ended(Path("/nowhere.sock"))
    Engines(process).reap()
    assert process.is_ended


async def test_setup_after_a_run_launches_one_engine_however_often_it_is_asked_for(
    engine: ScriptedEngine,
) -> None:
    with ScriptedEngine() as second:
        launcher = SlowLauncher(second)
        app = on_setup(engine, settings_with_servers(), launching=launcher)
        try:
            async with app.run_test(size=(120, 40)) as pilot:
                await until_shown(pilot, "3 of 4 selected")
                engine.on_start = lambda scripted: scripted.show(completed())
                await confirm_start(pilot)
                await until_shown(pilot, "✓ counts match")
                await pilot.press("1")
                await until(pilot, launcher.begun.is_set)
                for key in ("3", "1", "f5", "3", "1"):
                    await pilot.press(key)
                await pilot.pause()
                launcher.go.set()
                await until(pilot, lambda: second.received("inspect"))
                await until(pilot, lambda: not app.engines.needs_idle)
                await until_shown(pilot, "connected  12 ms")
            assert len(launcher.launched) == 1
            assert len(second.received("attach")) == 1
        finally:
            launcher.go.set()
