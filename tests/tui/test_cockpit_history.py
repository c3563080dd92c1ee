"""The History screen: runs of the ledger, and what can be done with one; a recorded run on the Run screen."""

from __future__ import annotations

import time
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.protocol import KnobChanged, RunPlanned, RunState
from tests.tui.driving import on_run, on_setup, screen_text, session_of, until, until_shown
from tests.tui.scripted_answers import RUNS, STARTED, discard_preview, recording, run_info
from tests.tui.scripted_engine import ScriptedEngine, running
from tui.cli.runs import deleted_words
from tui.cockpit.app import Cockpit
from tui.cockpit.dialogs.deleting import deletion_text
from tui.cockpit.replay import ReplayedRun
from tui.cockpit.screens.history import HistoryScreen
from tui.cockpit.screens.run import RunScreen
from tui.cockpit.signs import sign_of
from tui.cockpit.widgets.comparison import comparison_text
from tui.words.run_status import goes_on, outcome_words, overall_rate


async def to_history(pilot: Pilot[Any]) -> None:
    await until_shown(pilot, "3 of 4 selected")
    await pilot.press("5")
    await until_shown(pilot, "5,063,544", "run 20261123-1402-k3f9")


def row_of(app: Cockpit, text: str) -> str:
    return next((line for line in screen_text(app).split("\n") if text in line), "")


async def test_f9_history_lists_collections_mode_id_and_outcome_instead_of_the_servers(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_history(pilot)
        first = row_of(app, "5,063,544")
        assert all(
            text in first
            for text in ("shop: orders", "20261123-1402-k3f9", "create", "2m 06s", "40.2k", "14", "✓ counts match")
        )
        assert "× stopped" in row_of(app, "912,000")
        assert "! interrupted" in screen_text(app)


async def test_a_narrow_screen_keeps_the_outcome(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await to_history(pilot)
        assert "✓ counts match" in row_of(app, "5,063,544")


async def test_enter_opens_the_report_of_the_run_under_the_cursor(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_history(pilot)
        await pilot.press("down", "enter")
        await until_shown(pilot, "Report", "60,000 read = 60,000 written + 0 rejected", "public.orders")
        assert engine.received("replay")[-1] == {"name": "replay", "run": RUNS[1].run_id, "max_frames": 1}


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_the_report_of_a_run_names_the_logs_that_are_about_it(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    other = engine.log.with_name("20261123-1300-aaaa.log")
    engine.log.write_text(f'{{"message": "run {RUNS[1].run_id} begins: mongopg-tui 0.1.0"}}\n')
    other.write_text(f'{{"message": "run {RUNS[0].run_id} begins: mongopg-tui 0.1.0"}}\n')
    again = engine.log.with_name("20261123-1400-aaaa.log")
    again.write_text(
        f'{{"message": "run 20261123-1400-aaaa begins: mongopg-tui 0.1.0, resuming {RUNS[1].run_id}, by x"}}\n'
    )
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_history(pilot)
        await pilot.press("down", "enter")
        await until_shown(pilot, "Report", "Log", engine.log.name, again.name)
        assert other.name not in screen_text(app)


async def test_only_a_run_with_something_left_can_be_resumed_and_it_keeps_its_own_settings(
    engine: ScriptedEngine,
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_history(pilot)
        await pilot.press("r")
        await pilot.press("down")
        await until_shown(pilot, "r: resume")
        await pilot.press("r")
        await until_shown(pilot, "Resume this run?", RUNS[1].run_id, "912,000 rows are committed and stay")
        await pilot.press("left", "left", "tab", "enter")
        await until(pilot, lambda: engine.received("start"))
        (start,) = engine.received("start")
        assert start["resume"] == RUNS[1].run_id
        assert start["settings"]["run"]["collections"] == ["shop.orders:public.orders"]
        assert start["settings"]["run"]["mode"] == "append"


async def test_a_run_whose_engine_is_gone_is_taken_over_from_it(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_history(pilot)
        screen = app.screen
        assert isinstance(screen, HistoryScreen)
        lost = RUNS[1].model_copy(
            update={"state": "running", "heartbeat_unix": time.time() - 95, "engine_host": "node-a"}
        )
        screen.runs = [lost]
        screen._fill()
        await pilot.press("home")
        await until(pilot, lambda: screen.chosen == lost)
        await until_shown(pilot, "r: resume")
        await pilot.press("r")
        await until_shown(pilot, "Resume this run?", "Its engine on node-a wrote no end.")
        await pilot.press("left", "left", "tab", "enter")
        await until(pilot, lambda: engine.received("start"))
        (start,) = engine.received("start")
        assert (start["resume"], start["take_over"]) == (lost.run_id, True)


async def test_t1_deleting_lists_the_tables_with_their_rows_and_wants_the_run_id_typed(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await to_history(pilot)
        await pilot.press("delete")
        await until_shown(
            pilot, "Delete this run?", "public.orders", "4,210,320 rows", "about 812,004 rows", "14 rejected"
        )
        await pilot.press("enter")
        await until(pilot, lambda: "Delete this run?" not in screen_text(app))
        await pilot.press("delete")
        await until_shown(pilot, "Delete this run?")
        await pilot.press("left", "enter")
        await until_shown(pilot, "Type the run's id first")
        await pilot.press(*"20261123-1402")
        await pilot.press("enter", "right", "enter")
        await until_shown(pilot, "Delete this run?", "Type the run's id first")
        assert not [each for each in engine.received("discard") if not each["preview"]]
        app.screen.query_one(Input).value = RUNS[0].run_id
        await pilot.press("enter", "right", "enter")
        await until(pilot, lambda: "5,063,544" not in screen_text(app))
        await until_shown(pilot, f"Run {RUNS[0].run_id} is deleted.")
        (sent,) = [each for each in engine.received("discard") if not each["preview"]]
        assert (sent["run"], sent["drop_tables"], sent["force"]) == (RUNS[0].run_id, True, True)


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
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("5")
        await until_shown(pilot, "! The target does not answer: check target.uri.")


async def test_a_replay_plays_on_the_run_screen_and_takes_keys_of_its_own(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_history(pilot)
        await pilot.press("p")
        await until_shown(pilot, "replay ×2", "esc leave · space hold · ] faster", "run 20261123-1402-k3f9")
        await pilot.press("space")
        await until_shown(pilot, "replay held", "space go on")
        await pilot.press("right_square_bracket")
        replay = app.runs.replay
        assert replay is not None
        assert replay.speed == 4
        await pilot.press("left_square_bracket")
        assert replay.speed == 2
        await pilot.press(*["right"] * 20)
        await until_shown(pilot, "60,000 read = 60,000 written", "space play again")
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


def test_a_run_that_has_left_the_source_blocked_says_so_and_what_lifts_it() -> None:
    run = run_info("x", state="failed", verification="none", resumable=True, writes_blocked=True)
    assert outcome_words(run) == "failed, resumable, source blocked"
    preview = discard_preview("x").model_copy(update={"writes_blocked": True})
    for words in (deletion_text(preview, sign_of(run)).plain, deleted_words(preview, [])):
        assert "no resume lifts any more: db.adminCommand({setUserWriteBlockMode: 1, global: false})" in words


async def test_what_lifts_a_write_block_that_a_run_has_left_is_shown_with_it(engine: ScriptedEngine) -> None:
    engine.runs[0] = RUNS[0].model_copy(update={"state": "failed", "resumable": True, "writes_blocked": True})
    async with on_setup(engine).run_test(size=(80, 24)) as pilot:
        await to_history(pilot)
        await until_shown(pilot, "! For its cut-over MongoDB was made to refuse all writes: resuming the run")


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
            pilot, "Two runs", "≠ outcome         counts match, 14 rejected   stopped", "  mode            create"
        )
        await until_shown(pilot, "≠ time            2m 06s                      31s")
        await pilot.press("y")
        assert "20261123-1402-k3f9" in app.clipboard
        assert "20261123-1320-b7aa" in app.clipboard


def test_a_run_without_a_time_has_no_rate() -> None:
    assert overall_rate(run_info("x", written=500, seconds=0.0)) is None
    assert overall_rate(run_info("x", written=500, seconds=4.0)) == 125.0
    assert overall_rate(run_info("x", written=500, seconds=4.0, rows_per_s_overall=120.0)) == 120.0


async def test_a_run_that_goes_on_is_not_offered_to_be_deleted(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_history(pilot)
        assert "Delete run…" in screen_text(app)
        screen = app.screen
        assert isinstance(screen, HistoryScreen)
        going = run_info("20261123-1500-zzzz", state="running", verification="none", heartbeat_unix=time.time() + 600.0)
        screen.runs = [going, *screen.runs]
        screen._fill()
        await pilot.press("home")
        await until(pilot, lambda: screen.chosen == going)
        await until(pilot, lambda: "Delete run…" not in screen_text(app))
        await pilot.press("down")
        await until_shown(pilot, "Delete run…")


async def test_a_run_whose_engine_was_seen_to_die_does_not_go_on_whatever_its_last_heartbeat(
    engine: ScriptedEngine,
) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "● running")
        session = session_of(app)
        mine = run_info(
            session.snapshot.run_id, state="running", verification="none", heartbeat_unix=time.time() + 600.0
        )
        assert sign_of(app.answers.as_known(mine)).word == "running"
        engine.die()
        await until_shown(pilot, "! engine lost")
        assert sign_of(app.answers.as_known(mine)).word == "interrupted"
        other = mine.model_copy(update={"run_id": "another"})
        assert sign_of(app.answers.as_known(other)).word == "running"


def test_b4_a_comparison_has_both_rates_and_every_value_of_a_knob() -> None:
    one, other = (recording(run) for run in RUNS[:2])
    events = [
        RunPlanned(tables=[], knobs={"throttle": 6_000, "cluster_size": 4}),
        KnobChanged(at=9.0, knob="throttle", old=6_000, value=3_000),
    ]
    fast = one.run.model_copy(update={"rows_per_s_overall": 4_000.0, "rows_per_s_copying": 5_200.0})
    slow = other.run.model_copy(update={"rows_per_s_overall": 2_000.0})
    text = comparison_text(
        one.model_copy(update={"run": fast, "events": events}), other.model_copy(update={"run": slow})
    ).plain
    rows = {line[2:16].strip(): line[18:] for line in text.split("\n")}
    assert rows["rows/s overall"].split() == ["4,000", "2,000"]
    assert rows["while copying"].split() == ["5,200", "–"]
    assert rows["throttle"].startswith("6,000 → 3,000")
    assert "Overall, the first wrote 2.00 times as many rows per second as the second." in text
