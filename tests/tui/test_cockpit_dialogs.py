"""Dialogs that are mounted once and opened again and again: each time they show what is, and nothing is mounted for it."""

from __future__ import annotations

from typing import Any

import pytest
from textual.color import Color
from textual.command import CommandInput, CommandList
from textual.pilot import Pilot
from textual.widgets import Button, Input

from engine.knobs import PAGE_SIZE, THROTTLE
from engine.protocol import ProblemView, RunState
from tests.tui.driving import on_run, screen_text, session_of, until, until_shown
from tests.tui.scripted_engine import ScriptedEngine, running
from tui.cockpit.app import Cockpit
from tui.cockpit.commands import Place
from tui.cockpit.dialogs.modal import Kept
from tui.cockpit.dialogs.tune import TuneDialog
from tui.cockpit.screens.run import RunScreen
from tui.cockpit.widgets.fields import KnobField
from tui.cockpit.widgets.header import Header

SIZE = (120, 40)


async def kept(pilot: Pilot[Any], app: Cockpit) -> None:
    """Wait until the Run screen has mounted its dialogs."""
    await until_shown(pilot, "● running")
    await until(pilot, lambda: app.palette.is_mounted and app.palette.query(CommandInput))


@pytest.mark.parametrize(
    ("key", "shown"),
    [("t", "Tune the run"), ("x", "Stop the run?"), ("enter", "last progress"), ("e", "Enter details"),
     ("question_mark", "Help: Run"), ("ctrl+p", "Search for commands")],
)  # fmt: skip
async def test_opening_a_dialog_of_the_run_mounts_nothing(engine: ScriptedEngine, key: str, shown: str) -> None:
    app = on_run(engine, running(problems=[ProblemView(code="nul", message="a NUL", count=1)]))
    async with app.run_test(size=SIZE) as pilot:
        await kept(pilot, app)
        widgets = []
        for _ in range(3):
            await pilot.press(key)
            await until_shown(pilot, shown)
            assert isinstance(app.screen, Kept)
            widgets.append(set(app.screen.walk_children()))
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, RunScreen))
        assert widgets[0] == widgets[1] == widgets[2]


async def test_a_dialog_can_be_opened_before_it_is_kept(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.situation.is_live and isinstance(app.screen, RunScreen))
        await pilot.press("t")
        await until_shown(pilot, "Tune the run", "8,000")
        await until(pilot, lambda: app.palette.is_mounted)
        await pilot.press("escape", "t")
        await until_shown(pilot, "Tune the run", "8,000")


async def test_a_dialog_that_is_open_is_not_opened_again(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=SIZE) as pilot:
        await kept(pilot, app)
        run = app.screen
        assert isinstance(run, RunScreen)
        run.action_tune()
        run.action_tune()
        await until_shown(pilot, "Tune the run")
        assert app.screen_stack == [run, app.screen]
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is run)


async def test_tune_begins_anew_with_the_values_in_force(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=SIZE) as pilot:
        await kept(pilot, app)
        await pilot.press("t")
        await until_shown(pilot, "Tune the run")
        await pilot.press("shift+tab", "shift+tab", *"5000", "tab", *"77")
        await until_shown(pilot, "must be between 1 and 128")  # its workers are on one host
        await pilot.press("escape")
        engine.show(running(cluster_size=6, throttle=20_000))
        await until_shown(pilot, "20,000")
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, TuneDialog))
        await until_shown(pilot, "Workers     6")
        fields = {
            field.knob.name: field.query_one(Input).value for field in app.screen.query(KnobField) if field.display
        }
        assert fields == {"cluster_size": "6", "page_size": "8,000", "throttle": "20,000"}
        assert "must be between" not in screen_text(app)
        await pilot.press("9", "enter")  # the throttle has the focus, and its old value gives way
        await until(pilot, lambda: engine.received("set"))
        assert engine.received("set") == [{"name": "set", "knob": "throttle", "value": 9}]


async def test_tune_has_the_seed_count_only_for_a_run_that_seeds(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(state=RunState.SEEDING, phase="seeding", seed_count=5_000))
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "seeding")
        await pilot.press("t")
        await until_shown(pilot, "Tune the run", "Seed count  5,000")


async def test_what_is_refused_after_tune_was_left_is_said_on_the_screen(engine: ScriptedEngine) -> None:
    engine.refusals["set"] = ("knob", "PostgreSQL has 3 connections free.")
    app = on_run(engine, running())
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await kept(pilot, app)
        session = session_of(app)
        await pilot.press("t")
        await until_shown(pilot, "Tune the run")
        field = next(field for field in app.screen.query(KnobField) if field.knob is PAGE_SIZE)
        field.fill(4_000)
        app.screen.query_one("#apply", Button).press()
        dialog = app.screen
        assert isinstance(dialog, TuneDialog)
        dialog.dismiss()
        await until_shown(pilot, "PostgreSQL has 3 connections free.")
        assert isinstance(app.screen, RunScreen)
        assert session.knob_value(PAGE_SIZE) == 8_000
        assert session.knob_value(THROTTLE) == 0


async def test_the_palette_begins_anew_with_what_works_now(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())

    def offered() -> str:
        commands = app.screen.query_one(CommandList)
        return " ".join(str(commands.get_option_at_index(n).prompt) for n in range(commands.option_count))

    async with app.run_test(size=SIZE) as pilot:
        await kept(pilot, app)
        await pilot.press("ctrl+p")
        await pilot.press(*"pause")
        await until(pilot, lambda: "End pages early" in offered() and "More workers" not in offered())
        await pilot.press("escape")
        engine.show(running(state=RunState.PAUSED))
        await until_shown(pilot, "‖ paused")
        await pilot.press("ctrl+p")
        await until(pilot, lambda: "Go on after a pause." in offered() and "End pages early" not in offered())
        assert app.screen.query_one(CommandInput).value == ""
        assert "More workers" in offered()


async def test_a_tab_is_lit_before_its_screen_is_there(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())

    def lit() -> list[str]:
        line = header.render()
        return [line.plain[span.start : span.end] for span in line.spans if "on $primary" in str(span.style)]

    async with app.run_test(size=SIZE) as pilot:
        await kept(pilot, app)
        run = app.screen
        header = run.query_one(Header)
        assert isinstance(run, RunScreen)
        assert lit() == [" 3 Run "]
        await run.lead_to(Place.PLAN)
        assert app.screen is run
        assert lit() == [" 2 Plan "]
        await pilot.press("2")
        await until_shown(pilot, "Preview")
        await pilot.press("3")
        await until(pilot, lambda: app.screen is run)
        assert lit() == [" 3 Run "]


async def test_a_dialog_that_was_mounted_before_has_the_colours_of_the_theme_that_is_chosen_now(
    engine: ScriptedEngine,
) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=SIZE) as pilot:
        await kept(pilot, app)
        app.theme = "textual-light"
        await pilot.pause()
        await pilot.press("t")
        await until_shown(pilot, "Tune the run")
        surface = Color.parse(app.get_css_variables()["surface"])
        assert app.screen.query_one(".dialog").styles.background.rgb == surface.rgb


async def test_a_dialog_that_was_mounted_before_fits_into_the_window_as_it_is_now(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=SIZE) as pilot:
        await kept(pilot, app)
        for width, height in ((70, 20), (120, 40)):
            await pilot.resize_terminal(width, height)
            await pilot.press("question_mark")
            await until_shown(pilot, "Help: Run", "One worker more, at once.")
            dialog = app.screen.query_one(".dialog").region
            assert dialog.x >= 0
            assert dialog.right <= width
            assert dialog.bottom <= height
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, RunScreen))
