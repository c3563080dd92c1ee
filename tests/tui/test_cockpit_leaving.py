"""However the cockpit or a part of it ends, it ends: nothing holds it up, nothing of it stays."""

from __future__ import annotations

import gc
import os
import sys
import time
import weakref

from textual.widget import Widget

from tests.tui.driving import on_run, until
from tests.tui.scripted_engine import ScriptedEngine, running
from tests.tui.terminal import Terminal
from tui.cockpit.dialogs.questions import Question

PROGRAM = [sys.executable, "-m", "tui"]
CTRL_S = b"\x13"
END_S = 60.0


async def test_a_closed_dialog_leaves_nothing_in_memory(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.query("KnobPanel") and app.situation.is_live)
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, Question) and app.screen.is_mounted)
        await pilot.pause()
        drawers = [weakref.ref(widget._styles_cache) for widget in app.screen.walk_children(Widget, with_self=True)]
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, Question))

        def is_gone() -> bool:
            gc.collect()
            return not any(drawer() for drawer in drawers)

        await until(pilot, is_gone)


def test_ctrl_s_while_it_leaves_does_not_hold_it_up(home: dict[str, str]) -> None:
    """In the shell's modes of the terminal that key stops all output, also that with which the cockpit ends."""
    with Terminal(PROGRAM, home, 80, 24) as terminal:
        terminal.wait_for("Source: MongoDB")
        terminal.press("\x11")  # ctrl+q: the cursor is in a field
        deadline = time.monotonic() + END_S
        while terminal.process.poll() is None:
            assert time.monotonic() < deadline, terminal.output[-3000:]
            os.write(terminal.master, CTRL_S)
            terminal.read()
        assert terminal.process.returncode == 0, terminal.output[-3000:]
