"""The History screen: runs of the ledger, and what can be done with one; a recorded run on the Run screen."""

from __future__ import annotations

import time
from typing import Any

from textual.pilot import Pilot

from engine.protocol import RunState
from tests.tui.driving import on_run, on_setup, screen_text, session_of, until, until_shown
from tests.tui.scripted_answers import RUNS, STARTED, recording, run_info
from tests.tui.scripted_engine import ScriptedEngine, running
from tui.cockpit.app import Cockpit
from tui.cockpit.replay import ReplayedRun
from tui.cockpit.screens.history import HistoryScreen
from tui.cockpit.screens.run import RunScreen
from tui.cockpit.signs import sign_of
from tui.words.run_status import goes_on, outcome_words, rows_per_s, run_seconds


async def to_history(pilot: Pilot[Any]) -> None:
    await until_shown(pilot, "4 of 4 chosen")
    await pilot.press("5")
    await until_shown(pilot, "5,063,544", "run 20261123-1402-k3f9")


def row_of(app: Cockpit, text: str) -> str:
    return next((line for line in screen_text(app).split("\n") if text in line), "")


async def test_history_lists_the_runs_with_an_outcome_in_word_and_symbol(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_history(pilot)
        first = row_of(app, "5,063,544")
        assert all(text in first for text in ("db1/shop → pg1/shop", "02:06", "40.2k", "14", "✓ verified"))
        assert "× cancelled" in row_of(app, "912,000")
        assert "! interrupted" in screen_text(app)


async def test_a_narrow_screen_keeps_the_outcome(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await to_history(pilot)
        assert "✓ verified" in row_of(app, "5,063,544")


async def test_enter_opens_the_report_of_the_run_under_the_cursor(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_history(pilot)
        await pilot.press("down", "enter")
        await until_shown(pilot, "Report", "60,000 read = 60,000 written + 0 rejected", "public.orders")
        assert engine.received("replay")[-1] == {"name": "replay", "run": RUNS[1].run_id, "max_frames": 1}


async def test_only_a_run_with_something_left_can_be_resumed_and_it_keeps_its_own_settings(
    engine: ScriptedEngine,
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_history(pilot)
        await pilot.press("r")
        await pilot.press("down")
        await until_shown(pilot, "r goes on from what is committed")
        await pilot.press("r")
        await until_shown(pilot, "Resume this run?", RUNS[1].run_id, "912,000 rows are committed and stay")
        await pilot.press("left", "left", "tab", "enter")
        await until(pilot, lambda: engine.received("start"))
        (start,) = engine.received("start")
        assert start["resume"] == RUNS[1].run_id
        assert start["settings"]["run"]["collections"] == ["shop.orders:public.orders"]
        assert start["settings"]["run"]["mode"] == "append"


async def test_forgetting_asks_first_and_the_safe_answer_is_the_default(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_history(pilot)
        await pilot.press("delete")
        await until_shown(pilot, "Forget this run?")
        await pilot.press("enter")
        await until(pilot, lambda: "Forget this run?" not in screen_text(app))
        assert not engine.received("discard")
        await pilot.press("delete")
        await until_shown(pilot, "Forget this run?")
        await pilot.press("left", "enter")
        await until(pilot, lambda: "5,063,544" not in screen_text(app))
        assert engine.received("discard") == [{"name": "discard", "run": RUNS[0].run_id, "drop_tables": True}]


async def test_f5_reads_the_ledger_again(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_history(pilot)
        engine.runs = [run_info("20261124-0700-new1", written=77_777), *RUNS]
        await pilot.press("f5")
        await until_shown(pilot, "77,777", "5,063,544")


async def test_what_the_engine_refuses_stands_on_the_screen(engine: ScriptedEngine) -> None:
    engine.refusals["runs"] = ("connect", "The target does not answer: check target.uri.")
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "4 of 4 chosen")
        await pilot.press("5")
        await until_shown(pilot, "! The target does not answer: check target.uri.")


async def test_a_replay_plays_on_the_run_screen_and_takes_keys_of_its_own(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_history(pilot)
        await pilot.press("p")
        await until_shown(pilot, "replay ×2", "run 20261123-1402-k3f9", "space holds")
        await pilot.press("space")
        await until_shown(pilot, "replay held", "space goes on")
        await pilot.press("right_square_bracket")
        replay = app.runs.replay
        assert replay is not None
        assert replay.speed == 4
        await pilot.press("left_square_bracket")
        assert replay.speed == 2
        await pilot.press(*["right"] * 20)
        await until_shown(pilot, "60,000 read = 60,000 written", "space plays it again")
        await pilot.press("left")
        await until_shown(pilot, "57,000 / 60,000 rows")
        await pilot.press("plus")
        assert not engine.received("set"), "a key of the live run reached the engine"
        await pilot.press("escape")
        await until(pilot, lambda: app.current_mode == "history")
        assert app.runs.replay is None


async def test_leaving_a_replay_shows_the_live_run_again(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "41,220 rows/s")
        await pilot.press("5")
        await until_shown(pilot, "5,063,544")
        await pilot.press("p")
        await until_shown(pilot, "replay ×2")
        await pilot.press("space", "x")
        assert not engine.received("pause")
        await pilot.press("4")
        await pilot.press("3")
        await until_shown(pilot, "41,220 rows/s", "● running")
        assert isinstance(app.screen, RunScreen)


def test_a_replay_goes_by_the_clock_and_is_wound_back_and_forth() -> None:
    now = [100.0]
    replay = ReplayedRun(recording(RUNS[0]), clock=lambda: now[0])
    assert replay.speed == 2
    now[0] += 0.5
    replay.advance()
    assert (replay.position, replay.snapshot.written) == (1.0, 1_000)
    now[0] += 3_600.0
    replay.advance()
    assert replay.position == 3.0, "time away from the screen is not time of the replay"
    replay.jump(0.5)
    assert replay.snapshot.page_size == 16_000
    assert [event.kind for event in replay.events] == ["state", "knob"]
    replay.jump(-0.5)
    assert (replay.snapshot.page_size, replay.n_events) == (8_000, 1)
    assert replay.history.end == 3.0
    replay.jump(1.0)
    assert (replay.snapshot.state, replay.n_events) == (RunState.COMPLETED, 3)
    replay.hold()
    assert (replay.position, replay.is_held) == (0.0, False)


def test_speeds_have_ends() -> None:
    replay = ReplayedRun(recording(RUNS[0]), clock=lambda: 0.0)
    replay.change_speed(-100)
    assert replay.speed == 0.25
    replay.change_speed(100)
    assert replay.speed == 4_096


def test_a_run_that_no_engine_drives_is_interrupted_and_one_with_a_heartbeat_goes_on() -> None:
    run = run_info("x", state="running", verification="none", heartbeat_unix=STARTED, resumable=True)
    assert sign_of(run, lambda: STARTED + 5).word == "running"
    assert goes_on(run, lambda: STARTED + 5)
    assert outcome_words(run, lambda: STARTED + 5) == "running"
    assert sign_of(run, lambda: STARTED + 60).word == "interrupted"
    assert outcome_words(run, lambda: STARTED + 60) == "interrupted, resumable"
    assert sign_of(run_info("x", state="teleported")).word == "teleported"


async def test_a_filter_shows_some_runs_as_it_is_typed(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await to_history(pilot)
        await pilot.press("slash", *"CANC")
        await until_shown(pilot, "run 20261123-1320-b7aa", "912,000")
        assert "5,063,544" not in screen_text(app)
        await pilot.press("enter", "v")
        await until(pilot, lambda: engine.received("replay"))
        assert engine.received("replay")[-1]["run"] == RUNS[1].run_id
        await pilot.press("5")
        await until_shown(pilot, "run 20261123-1320-b7aa")
        await pilot.press("slash", *"xyz")
        await until_shown(pilot, "No run has 'CANCxyz' in it.")
        await pilot.press("escape")
        await until_shown(pilot, "5,063,544", "912,000")


async def test_two_runs_are_compared_side_by_side(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await to_history(pilot)
        await pilot.press("c")
        await until_shown(pilot, "c on another run compares it with")
        await pilot.press("c", "down", "c")
        await until_shown(
            pilot, "Two runs", "≠ outcome         verified                    cancelled", "  mode            create"
        )
        await until_shown(pilot, "≠ time            02:06                       00:31")
        await pilot.press("y")
        assert "20261123-1402-k3f9" in app.clipboard
        assert "20261123-1320-b7aa" in app.clipboard


def test_a_run_that_is_driven_has_taken_the_time_until_now() -> None:
    going = run_info("x", state="running", verification="none", written=500, seconds=0.0, heartbeat_unix=STARTED + 9)
    now = STARTED + 10
    assert (run_seconds(going, lambda: now), rows_per_s(going, lambda: now)) == (10.0, 50.0)
    # Of one that was taken up again only its engine knows, and tells at the end.
    again = going.model_copy(update={"seconds": 4.0})
    assert (run_seconds(again, lambda: now), rows_per_s(again, lambda: now)) == (None, None)
    # No engine is at it any more.
    assert (run_seconds(again, lambda: now + 60), rows_per_s(again, lambda: now + 60)) == (4.0, 125.0)


async def test_a_run_that_goes_on_is_not_offered_to_be_forgotten(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_history(pilot)
        assert "Forget…" in screen_text(app)
        screen = app.screen
        assert isinstance(screen, HistoryScreen)
        going = run_info("20261123-1500-zzzz", state="running", verification="none", heartbeat_unix=time.time())
        screen.runs = [going, *screen.runs]
        screen._fill()
        await pilot.press("home")
        await until(pilot, lambda: screen.chosen == going)
        await until(pilot, lambda: "Forget…" not in screen_text(app))
        await pilot.press("down")
        await until_shown(pilot, "Forget…")


async def test_a_run_whose_engine_was_seen_to_die_does_not_go_on_whatever_its_last_heartbeat(
    engine: ScriptedEngine,
) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "● running")
        session = session_of(app)
        mine = run_info(session.snapshot.run_id, state="running", verification="none", heartbeat_unix=time.time())
        assert sign_of(app.answers.as_known(mine)).word == "running"
        engine.die()
        await until_shown(pilot, "! engine lost")
        assert sign_of(app.answers.as_known(mine)).word == "interrupted"
        other = mine.model_copy(update={"run_id": "another"})
        assert sign_of(app.answers.as_known(other)).word == "running"
