"""Stopping a run and leaving the cockpit: nothing ends by a single key."""

from __future__ import annotations

import asyncio
import errno
from contextlib import suppress
from typing import Any

import pytest
from rich.traceback import Traceback
from textual.app import ScreenStackError
from textual.css.query import NoMatches
from textual.pilot import Pilot

from engine.protocol import RunState, Start
from tests.tui.driving import (
    NEVER_S,
    click,
    on_run,
    process_of,
    screen_text,
    session_of,
    settings_with_servers,
    until,
    until_shown,
)
from tests.tui.scripted_engine import ScriptedEngine, completed, running
from tui.cockpit.app import Cockpit
from tui.cockpit.dialogs.questions import QuitQuestion, StopQuestion
from tui.cockpit.screens.run import RunScreen

LARGE = (120, 40)
SMALL = (80, 24)


@pytest.mark.parametrize(("button", "now"), [("drain", False), ("now", True)])
async def test_the_stop_dialog_stops_as_it_is_told(engine: ScriptedEngine, button: str, now: bool) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("x")
        await until_shown(pilot, "Stop the run?", "2,952,110 rows are committed")
        await click(pilot, f"#{button}")
        await until_shown(pilot, "× stopped")
        assert engine.received("cancel") == [{"name": "cancel", "now": now}]


async def test_esc_keeps_the_run_running(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("x", "escape")
        await until(pilot, lambda: not isinstance(app.screen, StopQuestion))
        assert engine.received("cancel") == []


@pytest.mark.parametrize("key", ["enter", "x", "ctrl+c"])
async def test_t9_enter_and_a_second_press_finish_the_pages(engine: ScriptedEngine, key: str) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("x")
        await until_stop_is_asked(pilot)
        await pilot.press(key)
        await until(pilot, lambda: engine.received("cancel") == [{"name": "cancel", "now": False}])


async def test_t9_only_a_capital_x_in_the_dialog_rolls_pages_back(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("X")
        assert engine.received("cancel") == []
        await pilot.press("x")
        await until_stop_is_asked(pilot)
        await until_shown(pilot, "Stop now (X): roll back unfinished pages.")
        await pilot.press("X")
        await until(pilot, lambda: engine.received("cancel") == [{"name": "cancel", "now": True}])


async def until_stop_is_asked(pilot: Pilot[Any]) -> None:
    """Wait until the question how to stop was seen."""
    await until(pilot, lambda: isinstance(pilot.app.screen, StopQuestion) and pilot.app.screen.is_seen)


async def test_t9_once_pages_are_being_finished_enter_waits_for_them(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(state=RunState.CANCELLING, phase="cancelling: workers end their pages"))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "× stopping")
        await pilot.press("x")
        await until_stop_is_asked(pilot)
        await until_shown(pilot, "Wait for them", "The workers are finishing their pages.")
        await pilot.press("x")
        await until(pilot, lambda: not isinstance(app.screen, StopQuestion))
        assert engine.received("cancel") == []


async def test_the_stop_dialog_goes_when_there_is_nothing_left_to_stop(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("x")
        await until_shown(pilot, "Keep running")
        engine.show(completed(state=RunState.CANCELLED, exit_code=130))
        await until(pilot, lambda: not isinstance(app.screen, StopQuestion))
        await pilot.press("q")
    assert app.return_code == 130


async def test_a_press_before_the_question_was_painted_is_no_answer(engine: ScriptedEngine) -> None:
    """On a busy machine two more Ctrl-C can be waiting when the dialog opens: it was not read yet."""
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        assert isinstance(app.screen, RunScreen)
        app.screen.action_stop()
        question = app.screen
        assert isinstance(question, StopQuestion)
        question.action_press_again()
        await until(pilot, lambda: question.is_seen)
        assert app.screen is question
        assert engine.received("cancel") == []
        await pilot.press("x")
        await until(pilot, lambda: engine.received("cancel") == [{"name": "cancel", "now": False}])


async def test_ctrl_c_hints_first_and_then_opens_the_stop_dialog(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("ctrl+c")
        await until_shown(pilot, "x: stop the run · q: quit")
        await pilot.press("ctrl+c")
        await until(pilot, lambda: isinstance(app.screen, StopQuestion))
        assert engine.received("cancel") == []


async def test_q_while_running_asks_and_leaving_detaches_with_exit_code_0(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("q")
        await until_shown(pilot, "A run is in progress", "Leave it running", "mongopg-tui attach")
        await click(pilot, "#leave")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 0
    assert engine.received("detach")
    assert "continues" in app.leaving.farewell


async def test_a_run_that_ends_while_leaving_is_asked_about_leaves_with_its_exit_code(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("q")
        await until_shown(pilot, "A run is in progress")
        engine.show(completed(exit_code=4))
        await until_shown(pilot, "✓ counts match", "The run is over")
        await click(pilot, "#leave")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 4


async def test_b6_a_question_about_quitting_says_that_the_run_is_over_meanwhile(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("q")
        await until_shown(pilot, "A run is in progress", "goes on if you quit:", "Stop it…")
        engine.show(completed(state=RunState.CANCELLED, phase="cancelled", exit_code=130))
        await until_shown(pilot, "The run is over", "The run is stopped meanwhile.", "Quit")
        assert not app.screen.query_one("#stop").visible
        await click(pilot, "#leave")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 130


@pytest.mark.parametrize("key", ["q", "ctrl+q"])
async def test_the_key_that_asked_to_quit_quits_once_the_run_is_over(engine: ScriptedEngine, key: str) -> None:
    app = on_run(engine, running(state=RunState.CANCELLING, phase="cancelling: workers end their pages"))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "× stopping")
        await pilot.press(key)
        await until_shown(pilot, "A run is in progress")
        await pilot.press(key)
        await pilot.pause()
        assert isinstance(app.screen, QuitQuestion)
        engine.show(completed(state=RunState.CANCELLED, phase="cancelled", exit_code=130))
        await until_shown(pilot, "The run is over", "The same key again quits.")
        await until(pilot, lambda: "Stop it…" not in screen_text(app))
        await pilot.press(key)
        await until(pilot, lambda: app._exit)
    assert app.return_code == 130


async def test_b6_stop_it_answered_after_the_end_leaves(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("q")
        await until_shown(pilot, "Stop it…")
        question = app.screen
        assert isinstance(question, QuitQuestion)
        engine.show(completed(state=RunState.CANCELLED, phase="cancelled", exit_code=130))
        await until(pilot, lambda: not session_of(app).is_live)
        question.dismiss("stop")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 130


async def test_b6_the_numbers_of_the_stop_dialog_are_those_of_now(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("x")
        await until_shown(pilot, "2,952,110 rows are committed")
        engine.show(written=3_000_000)
        await until_shown(pilot, "3,000,000 rows are committed")


async def test_b6_the_tune_dialog_goes_with_its_run(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("t")
        await until_shown(pilot, "Tune the run")
        engine.show(completed())
        await until(pilot, lambda: "Tune the run" not in screen_text(app))
        await until_shown(pilot, "Report")


async def test_stop_on_quit_leaves_when_the_run_has_stopped(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("q")
        await until_shown(pilot, "A run is in progress")
        await click(pilot, "#stop")
        await until_shown(pilot, "Stop the run?")
        await click(pilot, "#drain")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 130
    assert not engine.received("detach")


async def test_q_after_the_end_leaves_with_the_exit_code_of_the_run(engine: ScriptedEngine) -> None:
    app = on_run(engine, completed(exit_code=4, verification="mismatch"))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "! mismatch")
        await pilot.press("q")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 4
    assert "853,224 read = 853,224 written + 0 rejected" in app.leaving.farewell


async def test_a_run_that_is_refused_at_the_start_leaves_with_its_exit_code(engine: ScriptedEngine) -> None:
    engine.refusals["start"] = ("table_exists", "The table public.orders exists.")
    app = Cockpit(settings_with_servers(), {}, process=process_of(engine), start=Start(), silent_s=NEVER_S)
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: app._exit)
    assert app.return_code == 2
    assert app.leaving.farewell == "The table public.orders exists.\n"


def traceback_of(error: BaseException) -> Traceback:
    """As Textual's reader of the terminal hands it on."""
    try:
        raise error
    except BaseException:
        return Traceback()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.EIO, "Input/output error"), 129),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 129),
        (OSError(errno.ENOSPC, "No space left on device"), 1),
        (ValueError("[Errno 5"), 1),
    ],
)
async def test_only_a_terminal_that_is_gone_counts_as_hanging_up(
    engine: ScriptedEngine, error: BaseException, code: int
) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        app.panic(traceback_of(error))
        await until(pilot, lambda: not app.is_running or app._exit or app.return_code is not None)
    assert app.return_code == code
    assert bool(engine.received("detach")) is (code == 129)


async def test_an_answer_that_comes_while_the_cockpit_ends_is_no_crash(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())

    async def answer() -> None:
        while app.is_running:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
        app.screen.query_one("#gone")

    async with app.run_test() as pilot:
        await until_shown(pilot, "running")
        worker = app.run_worker(answer())
        await pilot.pause()
    assert isinstance(worker.error, NoMatches | ScreenStackError)
    assert not app._exception
