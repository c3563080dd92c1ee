"""Stopping a run and leaving the cockpit: nothing ends by a single key."""

from __future__ import annotations

import asyncio
import errno
from contextlib import suppress

import pytest
from rich.traceback import Traceback
from textual.app import ScreenStackError
from textual.css.query import NoMatches

from engine.protocol import RunState, Start
from tests.tui.driving import NEVER_S, on_run, process_of, settings_with_servers, until, until_shown
from tests.tui.scripted_engine import ScriptedEngine, completed, running
from tui.cockpit.app import Cockpit
from tui.cockpit.dialogs.questions import StopQuestion
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
        await pilot.click(f"#{button}")
        await until_shown(pilot, "× cancelled")
        assert engine.received("cancel") == [{"name": "cancel", "now": now}]


@pytest.mark.parametrize("key", ["enter", "escape"])
async def test_the_safe_answer_to_stop_is_to_keep_running(engine: ScriptedEngine, key: str) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("x", key)
        await until(pilot, lambda: not isinstance(app.screen, StopQuestion))
        assert engine.received("cancel") == []


@pytest.mark.parametrize("key", ["x", "ctrl+c"])
async def test_a_second_press_means_now(engine: ScriptedEngine, key: str) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("x", key)
        await until(pilot, lambda: engine.received("cancel") == [{"name": "cancel", "now": True}])


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


async def test_a_late_second_press_is_no_answer(engine: ScriptedEngine) -> None:
    now = 100.0
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        question = StopQuestion(clock=lambda: now)
        question.ask_about(running())
        await app.push_screen(question)
        await until(pilot, lambda: question.is_seen)
        now += 2.5
        await pilot.press("x")
        assert isinstance(app.screen, StopQuestion)


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
        await until(pilot, lambda: engine.received("cancel") == [{"name": "cancel", "now": True}])


async def test_ctrl_c_hints_first_and_then_opens_the_stop_dialog(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("ctrl+c")
        await until_shown(pilot, "x stops the run, q leaves.")
        await pilot.press("ctrl+c")
        await until(pilot, lambda: isinstance(app.screen, StopQuestion))
        assert engine.received("cancel") == []


async def test_q_while_running_asks_and_leaving_detaches_with_exit_code_0(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("q")
        await until_shown(pilot, "A run is going on", "Leave it running", "mongopg-tui attach")
        await pilot.click("#leave")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 0
    assert engine.received("detach")
    assert "goes on" in app.leaving.farewell


async def test_a_run_that_ends_while_leaving_is_asked_about_leaves_with_its_exit_code(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("q")
        await until_shown(pilot, "A run is going on")
        engine.show(completed(exit_code=4))
        await until_shown(pilot, "✓ verified")
        await pilot.click("#leave")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 4


async def test_stop_on_quit_leaves_when_the_run_has_stopped(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("q")
        await until_shown(pilot, "A run is going on")
        await pilot.click("#stop")
        await until_shown(pilot, "Stop the run?")
        await pilot.click("#drain")
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
