"""What is written can be read: letters differ enough from what is behind them, also under the cursor."""

from __future__ import annotations

import re

import pytest
from textual.color import Color

from engine.config import merged
from engine.protocol import ProblemView, WorkerState
from tests.tui.drawing import frame_of
from tests.tui.driving import click, on_setup, settings_with_servers, until_shown
from tests.tui.scripted_engine import ScriptedEngine, running, worker
from tui.cockpit.app import Cockpit

EXEMPT = {"3 Run", "Start…"}
"""A screen that cannot be opened yet, dimmed on purpose; a button, whose colours are Textual's."""


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it: from 1, the same colour, to 21, black on white."""
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = (part / 255 for part in Color.parse(colour).rgb)
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def too_faint(app: Cockpit, least: float) -> set[tuple[str, str, str]]:
    """Words on the screen, and their two colours, that are nearer to each other than `least`."""
    return {
        (run.text.strip(), run.colour, run.background)
        for run in frame_of(app).runs
        if re.search(r"\w", run.text)
        and run.text.strip() not in EXEMPT
        and contrast(run.colour, run.background) < least
    }


@pytest.mark.parametrize(("theme", "least"), [("textual-dark", 4.5), ("textual-light", 4.5), ("high-contrast", 7.0)])
async def test_every_word_stands_out_from_its_ground(engine: ScriptedEngine, theme: str, least: float) -> None:
    settings = settings_with_servers()
    settings = merged(settings, {"cockpit": {"theme": theme}})
    workers = [
        worker(1),
        worker(2, state=WorkerState.STALLED, idle_s=12.0, rows_per_s=0.0),
        worker(3, state=WorkerState.RETRYING),
    ]
    problems = [ProblemView(code="type", message="total: not a number", count=14, collection="shop.orders")]
    engine.on_start = lambda scripted: scripted.show(
        running(workers=workers, problems=problems, rejected=14, retried=1)
    )
    app = on_setup(engine, settings)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "3 of 4 selected", "TLS, verified", "f9 Start")
        assert too_faint(app, least) == set()
        for key, shown in (("2", "address.city"), ("4", "as counted at the run's end"), ("5", "p Replay")):
            await pilot.press(key)
            await until_shown(pilot, shown)
            await pilot.pause()
            assert too_faint(app, least) == set()
        await pilot.press("4", "f")
        await until_shown(pilot, "compared in full at ")
        await pilot.press("down")
        await until_shown(pilot, "different")
        assert too_faint(app, least) == set()
        await pilot.press("1", "f9")
        await until_shown(pilot, "Start this run?")
        await click(pilot, "#go")
        await until_shown(pilot, "● running", "! stalled 12s", "x Stop")
        assert too_faint(app, least) == set()


async def test_in_the_terminals_own_colours_the_cursor_underlines(engine: ScriptedEngine) -> None:
    """It is not known which colours those are: words in one of them may not be seen on another."""
    settings = settings_with_servers()
    settings = merged(settings, {"cockpit": {"theme": "ansi-dark"}})
    app = on_setup(engine, settings)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        (line,) = (strip for strip in app.screen._compositor.render_strips(app.size) if "customers" in strip.text)
        words = [segment for segment in line if "customers" in segment.text or "MiB" in segment.text]
        assert len(words) == 2
        assert {each.style.bgcolor.is_default for each in words if each.style and each.style.bgcolor} == {True}
        assert all(each.style is not None and each.style.underline for each in words)
