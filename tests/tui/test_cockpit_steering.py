"""The knobs, pause and resume from the Run screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.geometry import Offset
from textual.pilot import Pilot
from textual.widgets import Input

from engine.knobs import CLUSTER_SIZE
from engine.protocol import HostView, ProblemView, RunState, TuningView
from tests.tui.driving import input_in, on_run, screen_text, session_of, settings_with_servers, until, until_shown
from tests.tui.scripted_engine import ScriptedEngine, running
from tui import profiles
from tui.cockpit.dialogs.tune import TuneDialog
from tui.cockpit.widgets.knobs import KnobPanel

LARGE = (120, 40)
SMALL = (80, 24)


async def test_space_and_p_pause_and_resume(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("space")
        await until_shown(pilot, "‖ paused", "paused by you")
        await pilot.press("p")
        await until_shown(pilot, "● running")
        assert [command["name"] for command in engine.commands] == ["attach", "origin", "pause", "resume"]


async def test_a_knob_shows_its_wish_before_the_engine_has_answered(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        engine.is_mute = True
        await pilot.press("plus")
        await until_shown(pilot, "4 → 5")


async def test_a_snapshot_of_the_last_wish_does_not_take_the_next_one(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        session = session_of(app)
        session.wish(CLUSTER_SIZE, 5)
        await session.grant(CLUSTER_SIZE)
        session.wish(CLUSTER_SIZE, 6)
        session.take(session.snapshot.model_copy(update={"cluster_size": 5}))
        await session.grant(CLUSTER_SIZE)
        assert [command["value"] for command in engine.received("set")] == [5, 6]


async def test_draining_workers_are_named_beside_the_knob(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(cluster_size=6, workers_alive=8, draining=2))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "8 → 6, 2 draining")


async def test_knob_keys_send_exact_values(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        for key, shown in (
            ("minus", "- +  4 → 3"),
            ("right_square_bracket", "16,000"),
            ("left_square_bracket", "8,000"),
        ):
            await pilot.press(key)
            await until_shown(pilot, shown)
        assert [(command["knob"], command["value"]) for command in engine.received("set")] == [
            ("cluster_size", 3), ("page_size", 16_000), ("page_size", 8_000),
        ]  # fmt: skip


async def test_the_keys_beside_the_knobs_can_be_clicked(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "Workers     - +  4")
        panel = app.screen.query_one(KnobPanel)
        origin = panel.content_region.offset - panel.region.offset
        minus, plus = (origin + Offset(column, 0) for column in (12, 14))
        await pilot.click(KnobPanel, offset=plus)
        await until_shown(pilot, "Workers     - +  4 → 5")
        await pilot.click(KnobPanel, offset=minus)
        await pilot.click(KnobPanel, offset=minus)
        await until(pilot, lambda: [command["value"] for command in engine.received("set")] == [5, 4, 3])
        await pilot.click(KnobPanel, offset=origin + Offset(14, 1))
        await until_shown(pilot, "16,000")
        await pilot.click(KnobPanel, offset=origin + Offset(14, 2))
        await until(pilot, lambda: isinstance(app.screen, TuneDialog))


async def test_the_one_line_of_knobs_opens_what_tunes_them_on_a_click(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(problems=[ProblemView(code="nul", message="a NUL", count=1)]))
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "workers 4", "! problems 1 (e)")
        await pilot.click(KnobPanel, offset=(2, 0))
        await until_shown(pilot, "Tune the run")
        await pilot.press("escape")
        line = next(line for line in screen_text(app).splitlines() if "! problems" in line)
        left = app.screen.query_one(KnobPanel).region.x
        await pilot.click(KnobPanel, offset=(line.index("problems") - left, 0))
        await until_shown(pilot, "Enter details")


async def test_a_click_on_a_key_that_does_not_work_now_does_nothing(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(state=RunState.FINISHING, phase="building keys"))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "Workers     - +  4")
        panel = app.screen.query_one(KnobPanel)
        await pilot.click(KnobPanel, offset=panel.content_region.offset - panel.region.offset + Offset(14, 0))
        await pilot.pause()
        assert engine.received("set") == []


async def test_of_a_burst_of_presses_the_engine_gets_the_last_value(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        for _ in range(8):
            app.simulate_key("plus")
        await until(pilot, lambda: engine.snapshot.cluster_size == 12)
        session = session_of(app)
        await until(pilot, lambda: session.knob_value(CLUSTER_SIZE) == 12)


async def test_a_knob_at_its_bound_says_so_and_sends_nothing(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(cluster_size=1_024, page_size=100_000))
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("plus")
        await until_shown(pilot, "between 1 and 1,024")
        await pilot.press("right_square_bracket")
        await until_shown(pilot, "between 100 and 100,000")
        assert engine.received("set") == []


async def test_a_refused_knob_returns_to_what_is_in_force(engine: ScriptedEngine) -> None:
    engine.refusals["set"] = ("knob", "PostgreSQL has 3 connections free.")
    app = on_run(engine, running())
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("plus")
        await until_shown(pilot, "PostgreSQL has 3 connections free.")
        await until(pilot, lambda: "4 → 5" not in screen_text(app))


async def test_tune_sends_what_was_changed_and_closes(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("t")
        await until_shown(pilot, "Tune the run", "1–128")
        input_in(app, "#knob-cluster_size").focus()
        await pilot.press(*"90", "enter")
        await until(pilot, lambda: not isinstance(app.screen, TuneDialog))
        assert engine.received("set") == [{"name": "set", "knob": "cluster_size", "value": 90}]


async def test_tune_takes_more_workers_where_there_are_several_hosts(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(hosts=[HostView(name="a", workers=4, slots=600)]))
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("t")
        await until_shown(pilot, "Tune the run")
        input_in(app, "#knob-cluster_size").focus()
        await pilot.press(*"500", "enter")
        await until(pilot, lambda: not isinstance(app.screen, TuneDialog))
        assert engine.received("set") == [{"name": "set", "knob": "cluster_size", "value": 500}]


async def test_tune_shows_bounds_and_refusals_under_the_field_and_stays(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("t")
        await until_shown(pilot, "Tune the run")
        input_in(app, "#knob-cluster_size").focus()
        await pilot.press(*"5000", "enter")
        await until_shown(pilot, "Workers must be between 1 and 128, not 5,000.")
        assert engine.received("set") == []
        engine.refusals["set"] = ("knob", "PostgreSQL has 3 connections free.")
        app.screen.query(Input).first().value = "9"
        await pilot.press("enter")
        await until_shown(pilot, "PostgreSQL has 3 connections free.")
        assert isinstance(app.screen, TuneDialog)


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_the_run_turns_its_cluster_size_until_an_operator_does(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_run(engine, running(workers_alive=4, cluster_size=4))
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("t")
        await until_shown(pilot, "Tune the run", "1–128 workers, auto")
        input_in(app, "#knob-cluster_size").focus()
        await pilot.press(*"auto:2-16", "enter")
        await until(pilot, lambda: not isinstance(app.screen, TuneDialog))
        assert engine.received("set") == [{"name": "set", "knob": "cluster_size", "value": "auto:2-16"}]
        await until_shown(pilot, "4 (auto 2-16)")
        probing = TuningView(auto="auto:2-16", stable=4, probing=8)
        engine.show(tuning=probing, cluster_size=8, workers_alive=6)
        await until_shown(pilot, "4 (auto 2-16, probing 8)")
        await pilot.press("t")
        await until_shown(pilot, "Tune the run")
        assert app.screen.query(Input).first().value == "auto:2-16"
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, TuneDialog))
        await pilot.press("+")
        await until(pilot, lambda: engine.received("set")[1:] == [{"name": "set", "knob": "cluster_size", "value": 9}])
        engine.show(workers_alive=9)
        await until(pilot, lambda: "auto" not in screen_text(app))


async def test_what_the_run_turned_itself_has_ticks_in_the_chart_and_a_reason_in_the_log(
    engine: ScriptedEngine,
) -> None:
    engine.samples = [(float(second), 40_000.0) for second in range(1, 60)]
    app = on_run(engine, running(elapsed=60.0))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "41.2k┤")
        engine.tell("knob", 30.0, knob="cluster_size", old=4, value=8, by="auto", reason="4 copied 41.2 MB/s")
        engine.tell(
            "tuned", 38.0, knob="cluster_size", auto="auto", old=4, stable=8, reason="+18 % (41.2 to 48.6 MB/s)"
        )
        await until_shown(pilot, "▲ auto 8")
        assert screen_text(app).count("▲") == 1, "what is kept is no change"
        await pilot.press("l")
        await until_shown(pilot, "workers auto, 4 → 8: +18 % (41.2 to 48.6 MB/s)", "by auto: 4 copied 41.2 MB/s")


async def test_the_knobs_of_a_profile_are_turned_while_the_run_goes_on(
    engine: ScriptedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    day = settings_with_servers()
    knobs = {"cluster_size": 16, "page_size": 8_000, "throttle": 50_000}
    night = day.model_copy(update={"run": day.run.model_copy(update=knobs)})
    app = on_run(engine, running())
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("ctrl+o")
        await until_shown(pilot, "No profile was saved yet")
        profiles.save("night", night)
        profiles.path_of("torn").write_text("[run")
        await pilot.press("ctrl+o")
        await until_shown(
            pilot, "Knobs as in a profile", "workers 16, page size 8,000, throttle 50,000", "cannot be read"
        )
        await pilot.press("enter")
        await until(pilot, lambda: len(engine.received("set")) == 2)
        assert {(each["knob"], each["value"]) for each in engine.received("set")} == {
            ("cluster_size", 16), ("throttle", 50_000),
        }  # fmt: skip
        await pilot.press("ctrl+o")
        await until_shown(pilot, "Knobs as in a profile")
        await pilot.press("down", "enter")
        await until_shown(pilot, "The profile cannot be taken")


async def test_an_engine_that_does_not_answer_leaves_every_key_working(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(problems=[ProblemView(code="nul", message="a NUL", count=1)]))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        engine.is_mute = True
        await pilot.press("space", "plus", "right_square_bracket", "e")
        await until_shown(pilot, "Enter details")
        await pilot.press("enter")
        await until_shown(pilot, "looking for its documents…")
        await pilot.press("escape", "escape", "t")
        await until_shown(pilot, "Tune the run", "5")
        await pilot.press("escape", "x")
        await until_shown(pilot, "Stop the run?")
        await pilot.press("escape", "q")
        await until_shown(pilot, "A run is in progress")
        await pilot.press("escape", "z")
        await until_shown(pilot, "Display frozen", "4 → 5")


async def test_two_cockpits_on_one_run_show_the_same(engine: ScriptedEngine) -> None:
    engine.samples = [(float(second), 40_000.0) for second in range(1, 60)]
    first, second = on_run(engine, running()), on_run(engine, running())
    async with first.run_test(size=LARGE) as one:
        await until_shown(one, "● running")
        async with second.run_test(size=LARGE) as two:
            await until_shown(two, "● running")
            await one.press("plus")
            engine.tell("knob", 30.0, knob="cluster_size", old=4, value=5)
            await one.press("space")
            for pilot in (one, two):
                await until_shown(pilot, "‖ paused", "paused by you", "▲ workers 5", "4 → 5", "space Resume")
            await two.press("space")
            for pilot in (one, two):
                await until_shown(pilot, "● running", "space Pause")
            assert panels(one) == panels(two)


def panels(pilot: Pilot[Any]) -> list[str]:
    """The screen without the knobs, where the one who turned one is told when that applies."""
    return [line for line in screen_text(pilot.app).splitlines() if not line.startswith("│ Workers ")]
