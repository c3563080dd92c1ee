"""The end of a run in a real terminal: a bell, notifications, and the command that was asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine.errors import EXIT_DONE
from tests.tui.terminal import Terminal

PROGRAM = [sys.executable, "-m", "tui"]


@pytest.mark.parametrize("front_end", [[], ["--headless"]])
def test_a_run_that_ends_rings_notifies_and_runs_the_command_that_was_asked_for(
    slow_run: dict[str, str], tmp_path: Path, front_end: list[str]
) -> None:
    told = tmp_path / "told"
    words = [
        "run",
        "--throttle",
        "off",
        *front_end,
        "--on-finish",
        f"sh -c 'echo $MONGOPG_STATE $MONGOPG_WRITTEN > {told}'",
    ]
    environment = {name: value for name, value in slow_run.items() if name != "MONGOPG_RUN_THROTTLE"}
    with Terminal([*PROGRAM, *words], environment, 100, 30) as terminal:
        if not front_end:
            terminal.wait_for("verified", "counts match")
            terminal.press("q")
        assert terminal.wait_for_end() == EXIT_DONE
        assert "\x1b]9;mongopg-tui: run " in terminal.output
        assert "\x1b]777;notify;mongopg-tui;run " in terminal.output
        assert " completed, 20,000 rows" in terminal.output
        assert "\a\x1b]9;" in terminal.output
    assert told.read_text() == "completed 20000\n"


def test_a_setting_keeps_the_terminal_quiet(slow_run: dict[str, str]) -> None:
    environment = {**slow_run, "MONGOPG_COCKPIT_NOTIFY": "false", "MONGOPG_RUN_THROTTLE": "0"}
    with Terminal([*PROGRAM, "run", "--headless"], environment, 100, 30) as terminal:
        assert terminal.wait_for_end() == EXIT_DONE
        assert "\x1b]9;" not in terminal.output
        assert "\a" not in terminal.output
