"""What made the readers of the README doubt while they migrated: each as a kind."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from engine.config import Settings
from engine.protocol import RunState, ServerReport
from tests.tui.driving import click, edit, input_in, on_run, on_setup, screen_text, until, until_shown
from tests.tui.scripted_answers import RUNS
from tests.tui.scripted_engine import SOURCE, ScriptedEngine, completed, running
from tui.cockpit.dialogs.password import PasswordDialog
from tui.cockpit.dialogs.questions import StopQuestion
from tui.cockpit.dialogs.sheet import Sheet
from tui.cockpit.screens.history import HistoryScreen
from tui.cockpit.screens.run import RunScreen
from tui.cockpit.screens.setup import SetupScreen
from tui.cockpit.screens.verify import VerifyScreen
from tui.cockpit.throughput import ThroughputHistory
from tui.cockpit.widgets.chart import ThroughputChart
from tui.cockpit.widgets.total import TotalPanel

LARGE, SMALL = (120, 40), (80, 24)
WITHOUT_PASSWORD = Settings.model_validate(
    {"source": {"uri": "mongodb://app@db1:27017/shop"}, "target": {"uri": "postgresql://mig:x@pg1/shop"}}
)
WANTS = "MongoDB at db1 refused the user name or the password."


async def to_report(pilot: Pilot[Any]) -> None:
    """On History, the report of the newest run."""
    await until_shown(pilot, "3 of 4 selected")
    await pilot.press("5")
    await until_shown(pilot, "5,063,544")
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, Sheet))
    await until_shown(pilot, "Report", "✓ counts match", "v verify", "f compare in full", "Esc close")


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_the_report_of_history_is_wide_and_its_keys_lead_on(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_report(pilot)
        if size == LARGE:
            await until_shown(pilot, "source", "rejected", "target  result")
        heading = {LARGE: "source         read", SMALL: "source  written"}
        for other in (LARGE, SMALL, size):  # its lines follow the terminal
            await pilot.resize_terminal(*other)
            await until_shown(pilot, heading[other])
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, VerifyScreen))
        await until_shown(pilot, f"run {RUNS[0].run_id}")
        assert not engine.received("verify")
        await pilot.press("5", "enter")
        await until(pilot, lambda: isinstance(app.screen, Sheet))
        await pilot.press("f")
        await until(pilot, lambda: engine.received("verify"))
        (asked,) = engine.received("verify")
        assert (asked["run"], asked["level"]) == (RUNS[0].run_id, "full")


async def test_the_keys_of_screens_lead_out_of_what_is_read(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await to_report(pilot)
        await pilot.press("4")
        await until(pilot, lambda: isinstance(app.screen, VerifyScreen))
        await pilot.press("5", "enter")
        await until(pilot, lambda: isinstance(app.screen, Sheet))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, HistoryScreen))


async def test_rejects_are_offered_where_there_are_some(engine: ScriptedEngine) -> None:
    app = on_run(engine, completed())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "✓ counts match", "E Export…")
        assert "R Rejects…" not in screen_text(app)
        engine.show(rejected=14)
        await until_shown(pilot, "R Rejects…")


async def test_the_numbers_of_the_stop_question_are_those_that_are_drawn_below_it(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        run = app.screen
        assert isinstance(run, RunScreen)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, StopQuestion) and app.screen.is_seen)
        for written in range(2_952_111, 2_952_131):
            engine.show(written=written)
            await pilot.pause(0.01)
            drawn = run.query_one(TotalPanel).snapshot
            assert drawn is not None
            assert f"{drawn.written:,} rows are committed" in str(
                app.screen.query_one(".dialog-text Static", Static).content
            )


async def test_the_end_of_the_chart_is_labelled_with_the_time_of_the_run(engine: ScriptedEngine) -> None:
    engine.samples = [(float(second), 40_000.0) for second in range(1, 80)]
    app = on_run(engine, completed(elapsed=79.0))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "0┼", " 1m 19s")
        chart = app.screen.query_one(ThroughputChart)
        bars, axis = chart.render().plain.split("\n")[-2:]
        assert axis.index(" 1m 19s") == len(bars.rstrip()), "the label is where the bars end"
        assert "since resume" not in screen_text(app)
        engine.show(seconds_before=60.0)
        await until_shown(pilot, "Throughput, rows/s since resume")


def test_the_history_knows_where_it_ends() -> None:
    assert ThroughputHistory([(1.0, 5.0), (2.5, 5.0)]).columns(10).end_s == 2.5


async def test_a_knob_that_was_typed_is_shown_as_it_is_everywhere(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        edit(app, "#knob-throttle", "6000")
        await pilot.press("tab")
        await until(pilot, lambda: input_in(app, "#knob-throttle").value == "6,000")


async def test_ctrl_c_in_the_filter_of_run_means_what_it_means_elsewhere(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("slash", "o")
        await until(pilot, lambda: isinstance(app.screen.focused, Input))
        await until_shown(pilot, "^q Quit")
        await pilot.press("ctrl+c")
        await until_shown(pilot, "x: stop the run")
        await pilot.press("ctrl+c")
        await until(pilot, lambda: isinstance(app.screen, StopQuestion))


async def test_a_server_that_wants_a_password_is_given_it_in_the_cockpit(engine: ScriptedEngine) -> None:
    good = engine.reports["source"]
    engine.reports["source"] = ServerReport(side="source", uri=SOURCE, ok=False, message=WANTS, wants_password=True)
    app = on_setup(engine, WITHOUT_PASSWORD)
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: isinstance(app.screen, PasswordDialog))
        await until_shown(pilot, "Password for the source", "mongodb://app@db1:27017/shop", WANTS, "in memory only")
        assert "Knobs" in screen_text(app), "the screen is seen behind it"
        await pilot.press(*"mistyped", "enter")
        await until(pilot, lambda: engine.received("inspect")[-1]["uri"].startswith("mongodb://app:mistyped@"))
        await until(pilot, lambda: isinstance(app.screen, PasswordDialog))
        engine.reports["source"] = good
        await pilot.press(*"p@ss", "enter")
        await until_shown(pilot, "3 of 4 selected", "mongodb://app:***@db1:27017/shop")
        assert engine.received("inspect")[-1]["uri"] == "mongodb://app:p%40ss@db1:27017/shop"
        assert "p@ss" not in screen_text(app)


async def test_a_password_is_asked_for_once(engine: ScriptedEngine) -> None:
    engine.reports["source"] = ServerReport(side="source", uri=SOURCE, ok=False, message=WANTS, wants_password=True)
    app = on_setup(engine, WITHOUT_PASSWORD)
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: isinstance(app.screen, PasswordDialog))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, SetupScreen))
        n_tests = len(engine.received("inspect"))
        await pilot.press("f5")
        await until(pilot, lambda: len(engine.received("inspect")) >= n_tests + 2)
        await until_shown(pilot, WANTS)
        assert isinstance(app.screen, SetupScreen)


async def test_a_policy_that_keeps_values_is_called_by_where_they_go(engine: ScriptedEngine) -> None:
    engine.rejects = [
        each.model_copy(update={"reason": "overflow", "policy": "overflow", "takes": ["overflow"]})
        for each in engine.rejects[:1]
    ]
    app = on_run(engine, completed(rejected=14, state=RunState.COMPLETED))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "R Rejects…")
        await pilot.press("R")
        await until_shown(pilot, "overflow reject")
        await pilot.press("p")
        await until_shown(pilot, "_extra", "write the value to _extra, NULL to its own column")
        await pilot.press("enter")
        await until_shown(pilot, "overflow reject → _extra")
        await pilot.press("R")
        await until_shown(pilot, "Retry rejected documents?", "reject → _extra")
        await click(pilot, "#go")
        await until(pilot, lambda: engine.received("retry"))
        assert engine.received("retry")[0]["policies"] == {"overflow": "overflow"}


async def test_a_comparison_that_is_begun_at_once_has_the_counts_of_the_run_below_it(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        engine.held = {"verify", "replay"}
        await pilot.press("4")
        await until(pilot, lambda: engine.received("replay"))
        await pilot.press("f")
        await until(pilot, lambda: engine.received("verify"))
        engine.let_go("replay")
        await until_shown(pilot, "60,000  ✓ counts match")


async def test_of_a_long_connection_string_its_beginning_is_shown_once_the_field_is_left(
    engine: ScriptedEngine,
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        field = input_in(app, "#source")
        field.focus()
        field.value = "mongodb://app:***@db1:27017/shop?replicaSet=rs0&directConnection=true&readPreference=secondary"
        field.action_end()
        await pilot.press("tab")
        await until_shown(pilot, "mongodb://app:***@db1:27017/")


async def test_commands_for_a_shell_are_apart_from_the_keys(engine: ScriptedEngine) -> None:
    app = on_run(engine, completed(state=RunState.CANCELLED, phase="cancelled", rejected=14, exit_code=130))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "R: rejected documents, reason by reason", "Later, in a shell")
        shown = screen_text(app).split("Later, in a shell")[1]
        assert "run --resume" in shown
        assert "rejects 20261123-1402-k3f9 --documents" in shown


async def test_the_screen_is_seen_behind_the_question_that_starts_a_run(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?", "Source: MongoDB")
