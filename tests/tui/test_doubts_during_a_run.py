"""What made readers of the README doubt during a run: knobs, rejects that come meanwhile, comparisons under a throttle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Button

from tests.tui.driving import input_in, on_run, on_setup, until, until_shown
from tests.tui.scripted_engine import ScriptedEngine, running
from tui.cockpit.dialogs.knobs import KnobsDialog
from tui.cockpit.dialogs.tune import TuneDialog

LARGE, SMALL = (120, 40), (80, 24)
SIZES = [LARGE, SMALL]


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


@pytest.mark.parametrize("when", ["before", "during"])
@pytest.mark.parametrize("typed", ["2000", "off"])
async def test_what_is_typed_on_a_button_of_the_knobs_goes_to_their_field(
    engine: ScriptedEngine, when: str, typed: str
) -> None:
    async with at_knobs(engine, when) as pilot:
        input_in(pilot.app, "#knob-throttle").value = "500"
        pilot.app.screen.query_one("#apply", Button).focus()
        await pilot.press(*typed)
        throttle = input_in(pilot.app, "#knob-throttle")
        await until(pilot, lambda: throttle.value == typed)
        assert throttle.has_focus


@pytest.mark.parametrize("when", ["before", "during"])
async def test_what_is_typed_on_a_button_goes_to_the_field_that_was_left_for_it(
    engine: ScriptedEngine, when: str
) -> None:
    async with at_knobs(engine, when) as pilot:
        page_size = input_in(pilot.app, "#knob-page_size")
        page_size.focus()
        pilot.app.screen.query_one("#apply", Button).focus()
        await pilot.press(*"900")
        await until(pilot, lambda: page_size.value == "900")
        assert page_size.has_focus
        assert input_in(pilot.app, "#knob-throttle").value == "off"
