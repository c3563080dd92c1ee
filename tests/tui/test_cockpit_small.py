"""A terminal that is too small for a screen: one line says so, nothing is lost."""

from __future__ import annotations

import pytest

from tests.tui.driving import on_run, on_setup, screen_text, session_of, until, until_shown
from tests.tui.scripted_engine import ScriptedEngine, running
from tui.cockpit.widgets.collections import CollectionList
from tui.cockpit.widgets.workers import WorkerBars

LARGE = (120, 40)


@pytest.mark.parametrize("size", [(59, 30), (100, 13), (40, 6)])
@pytest.mark.parametrize(("key", "name"), [("1", "Setup"), ("2", "Plan"), ("4", "Verify"), ("5", "History")])
async def test_each_screen_says_in_one_line_that_it_needs_more_room(
    engine: ScriptedEngine, size: tuple[int, int], key: str, name: str
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press(key)
        await until(pilot, lambda: app.current_mode == name.lower())
        await pilot.pause()
        focused = app.focused
        assert focused is not None
        await pilot.resize_terminal(*size)
        await until_shown(pilot, f"{name} needs a larger terminal: 60x14.")
        body = screen_text(app).splitlines()[1:-1]
        assert [line.strip() for line in body if line.strip()] == [f"{name} needs a larger terminal: 60x14."]
        await pilot.resize_terminal(*LARGE)
        await until(pilot, lambda: "larger terminal" not in screen_text(app))
        await until(pilot, lambda: app.focused is focused)


async def test_that_a_run_goes_on_is_said_there_too(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=(59, 13)) as pilot:
        await until_shown(pilot, "58.3%")
        await pilot.press("1")
        await until_shown(pilot, "Setup needs a larger terminal: 60x14. The run goes on.")


async def test_a_frozen_display_stays_frozen_when_it_becomes_tiny(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "2,952,110 /")
        await pilot.press("z")
        await until_shown(pilot, "Display frozen")
        engine.show(written=4_000_000, rows_per_s=99.0)
        session = session_of(app)
        await until(pilot, lambda: session.snapshot.written == 4_000_000)
        await pilot.resize_terminal(50, 10)
        await until_shown(pilot, "58.3%  41,220 rows/s")
        assert "Connecting" not in screen_text(app)


async def test_the_cursor_is_among_the_workers_again_when_there_is_room(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "1›◆ converting")
        await pilot.resize_terminal(40, 10)
        await until_shown(pilot, "enlarge")
        await pilot.resize_terminal(*LARGE)
        await until_shown(pilot, "1›◆ converting")
        assert isinstance(app.focused, WorkerBars)


async def test_letters_are_still_commands_of_the_list_after_a_tiny_time(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.resize_terminal(30, 6)
        await until_shown(pilot, "Setup needs a larger terminal:")
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: isinstance(app.focused, CollectionList))
        await pilot.press("a")
        await until_shown(pilot, "0 of 4 selected")
