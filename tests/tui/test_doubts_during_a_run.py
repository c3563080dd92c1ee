"""What made readers of the README doubt during a run: knobs, rejects that come meanwhile, comparisons under a throttle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Button

from engine.protocol import ComparingView
from tests.tui.driving import input_in, on_run, on_setup, screen_text, until, until_shown
from tests.tui.scripted_answers import rejects_report
from tests.tui.scripted_engine import ScriptedEngine, completed, running
from tests.tui.test_reader_doubts import LARGE, SIZES, at_comparison
from tui.cockpit.dialogs.knobs import KnobsDialog
from tui.cockpit.dialogs.tune import TuneDialog

# --- knobs ------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def at_knobs(engine: ScriptedEngine, when: str) -> AsyncIterator[Pilot[Any]]:
    """In the dialog of the knobs, before a run or during one."""
    app = on_setup(engine) if when == "before" else on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        if when == "before":
            await until_shown(pilot, "3 of 4 selected")
            await pilot.press("f9")
            await until_shown(pilot, "Start this run?")
        else:
            await until_shown(pilot, "● running")
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, KnobsDialog if when == "before" else TuneDialog))
        await until(pilot, lambda: input_in(app, "#knob-throttle").has_focus)
        yield pilot


async def to_button(pilot: Pilot[Any]) -> None:
    """The focus on Apply, and nothing on its way that follows from it."""
    button = pilot.app.screen.query_one("#apply", Button)
    await pilot.pause()
    button.focus()
    await until(pilot, lambda: button.has_focus)
    await pilot.pause()


@pytest.mark.parametrize("when", ["before", "during"])
@pytest.mark.parametrize("typed", ["2000", "off"])
async def test_what_is_typed_on_a_button_of_the_knobs_goes_to_their_field(
    engine: ScriptedEngine, when: str, typed: str
) -> None:
    async with at_knobs(engine, when) as pilot:
        input_in(pilot.app, "#knob-throttle").value = "500"
        await to_button(pilot)
        await pilot.press(*typed)
        throttle = input_in(pilot.app, "#knob-throttle")
        await until(pilot, lambda: throttle.value == typed)
        assert throttle.has_focus


@pytest.mark.parametrize("when", ["before", "during"])
async def test_of_what_is_typed_fast_nothing_is_lost(engine: ScriptedEngine, when: str) -> None:
    async with at_knobs(engine, when) as pilot:
        await to_button(pilot)
        for key in "1234567":
            pilot.app.simulate_key(key)
        await until(pilot, lambda: input_in(pilot.app, "#knob-throttle").value == "1234567")


@pytest.mark.parametrize("when", ["before", "during"])
async def test_what_is_typed_on_a_button_goes_to_the_field_that_was_left_for_it(
    engine: ScriptedEngine, when: str
) -> None:
    async with at_knobs(engine, when) as pilot:
        page_size = input_in(pilot.app, "#knob-page_size")
        page_size.focus()
        await until(pilot, lambda: page_size.has_focus)
        await to_button(pilot)
        await pilot.press(*"900")
        await until(pilot, lambda: page_size.value == "900")
        assert page_size.has_focus
        assert input_in(pilot.app, "#knob-throttle").value == "off"


# --- rejects that come meanwhile --------------------------------------------------------------------------------------


def reject(engine: ScriptedEngine, **counts: int) -> None:
    """So many rejects of each reason, the most frequent first; the run says how many there are in all."""
    groups = [group.model_copy(update={"count": counts[group.reason]}) for group in rejects_report("").groups]
    engine.rejects = sorted(groups, key=lambda group: -group.count)
    engine.show(rejected=sum(counts.values()))


@asynccontextmanager
async def at_rejects(engine: ScriptedEngine, size: tuple[int, int] = LARGE) -> AsyncIterator[Pilot[Any]]:
    """The rejects of a run that goes on, three of one reason and one of another."""
    app = on_run(engine, running(rejected=4))
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "R Rejects…" if size == LARGE else "● running")
        reject(engine, nul=3, utf8=1)
        await pilot.press("R")
        await until_shown(pilot, "4 rejected documents", "Documents 1–3 of 3", "_id 0")
        yield pilot


@pytest.mark.parametrize("size", SIZES)
async def test_rejects_that_come_during_a_run_appear_by_themselves(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    async with at_rejects(engine, size) as pilot:
        reject(engine, nul=5, utf8=1)
        await until_shown(pilot, "6 rejected documents", "Documents 1–5 of 5")
        engine.show(completed(rejected=7))
        reject(engine, nul=6, utf8=1)
        await until_shown(pilot, "7 rejected documents", "Documents 1–6 of 6")


async def test_the_cursor_stays_on_its_reason_and_on_its_document_when_more_come(engine: ScriptedEngine) -> None:
    async with at_rejects(engine) as pilot:
        await pilot.press("enter", "down")
        await until_shown(pilot, "_id 1")
        engine.first_reject = -2  # two that were read earlier
        reject(engine, nul=5, utf8=30)
        await until_shown(pilot, "35 rejected documents", "Documents 1–5 of 5", "_id 1", "nul in name")


async def test_no_more_documents_are_shown_than_are_counted(engine: ScriptedEngine) -> None:
    async with at_rejects(engine) as pilot:
        engine.held = {"rejected"}
        reject(engine, nul=4, utf8=1)
        await until(pilot, lambda: len(engine.received("rejected")) == 2)
        engine.held = {"rejects", "rejected"}
        reject(engine, nul=5, utf8=1)
        await until(pilot, lambda: len(engine.received("rejects")) == 3)
        engine.let_go("rejected")
        await until_shown(pilot, "5 rejected documents", "Documents 1–4 of 4")
        engine.let_go()
        await until_shown(pilot, "6 rejected documents", "Documents 1–5 of 5")


# --- comparisons ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_a_comparison_has_an_eta(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    facts = {"checked": 2_500_000, "total": 5_000_000, "rows_per_s": 41_220.0, "eta_s": 61.0}
    async with at_comparison(engine, size, throttle=0, **facts) as pilot:
        await until_shown(pilot, "2,500,000 / 5,000,000  41,220 rows/s  ETA 1m 01s", "throttle off · t: change it")
        assert "limited" not in screen_text(pilot.app)
        engine.show(
            comparing=ComparingView(run_id="x", checked=2_500_000, total=5_000_000, different=1_000, eta_s=61.0)
        )
        await until_shown(pilot, "50.0%", "ETA 1m 01s", "! 1,000 differ")


@pytest.mark.parametrize("size", SIZES)
async def test_a_comparison_says_that_the_throttle_of_the_run_limits_it(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    async with at_comparison(engine, size) as pilot:
        await until_shown(pilot, "limited by throttle 500 rows/s · t: change it, and workers · esc: cancel")
