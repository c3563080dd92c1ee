"""The real program with the real engine in a real terminal: what an operator sees, presses and is left with."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.bench.measure import cpu_s
from tests.conftest import Target
from tests.tui.left_alone import goes_on_to_its_end, rows_of
from tests.tui.terminal import Terminal

PROGRAM = [sys.executable, "-m", "tui"]
RESTORED = ("\x1b[?1049l", "\x1b[?25h", "\x1b[?1000l")
"""Main screen, cursor, no mouse."""
INKS, GROUNDS = {*range(30, 38), 39, *range(90, 98)}, {*range(40, 48), 49, *range(100, 108)}
"""Codes of the sixteen colours and of the terminal's own, for letters and for what is behind them."""
FIRST_PAINT_CPU_S = 6.0
"""Not seconds by the clock, which belong to whatever else the machine does; eight times what a core of its own takes."""


def assert_restored(terminal: Terminal) -> None:
    for sequence in RESTORED:
        assert sequence in terminal.output.rpartition("\x1b[?1049h")[2]
    assert terminal.modes_after == terminal.modes_before


def test_the_demo_is_seen_steered_and_left_with_exit_code_0(home: dict[str, str]) -> None:
    with Terminal([*PROGRAM, "demo", "--seed-count", "20000"], home, 120, 40) as terminal:
        terminal.wait_for("Throughput, rows/s")
        terminal.wait_for("seeding demo", "+ seeding", "copying", "running")
        terminal.press("+")
        terminal.press("l")
        terminal.wait_for("Events")
        terminal.wait_for("✓ counts match", "! failed")
        terminal.wait_for("20,000 read = 20,000 written + 0 rejected")
        terminal.press("?")
        terminal.wait_for("Help: Run")
        terminal.press("\x1b")
        terminal.wait_until_gone("Help: Run")  # what follows at once would be read as one key with Esc
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert_restored(terminal)
        assert re.search(r"completed in [\dms ]+: 20,000 read = 20,000 written \+ 0 rejected", terminal.output)


@pytest.mark.slow
def test_after_a_demo_the_other_screens_tell_of_it(home: dict[str, str]) -> None:
    with Terminal([*PROGRAM, "demo", "--seed-count", "20000"], home, 80, 24) as terminal:
        terminal.wait_for("20,000 read = 20,000 written")
        terminal.press("2")
        terminal.wait_for("registeredAt")
        terminal.press("4")
        terminal.wait_for("as counted at the run's end")
        terminal.press("f")
        terminal.wait_for("compared in full at ")
        terminal.wait_for("20,000 equal, 0 different")
        terminal.press("5")
        terminal.wait_for("mode create")
        terminal.press("p")
        terminal.wait_for("esc leave")
        terminal.press("\x1b")
        terminal.wait_until_gone("esc leave")
        terminal.wait_for("enter Report")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert_restored(terminal)


@pytest.mark.slow
def test_plain_lines_on_a_terminal_are_nothing_but_lines(slow_run: dict[str, str], target: Target) -> None:
    with Terminal([*PROGRAM, "run", "--plain"], {**slow_run, "MONGOPG_RUN_THROTTLE": "4000"}, 80, 24) as terminal:
        assert terminal.wait_for_end() == 0
    assert "\x1b" not in terminal.output
    assert re.search(r"^\[\ds\] copying .*rows/s", terminal.output, re.MULTILINE)
    assert "\n20,000 read = 20,000 written + 0 rejected  " in terminal.output
    assert rows_of(target) == 20_000


def test_sixteen_colours_are_enough_and_the_terminal_is_left_as_it_was(home: dict[str, str]) -> None:
    sixteen = {**home, "TERM": "xterm-16color", "COLORTERM": ""}
    with Terminal(PROGRAM, sixteen, 120, 40) as terminal:
        terminal.wait_for("Source: MongoDB")
        terminal.wait_for("Start demo servers")
        terminal.press("\x1bOP")  # F1: the cursor is in a field
        terminal.wait_for("Help: Setup")
        terminal.press("\x1b")
        terminal.wait_until_gone("Help: Setup")
        terminal.press("\x11")
        assert terminal.wait_for_end() == 0
        assert_restored(terminal)
    seen: dict[tuple[int, int], str] = {}
    ink, ground = 39, 49
    for codes, words in re.findall(r"\x1b\[([\d;]*)m([^\x1b]*)", terminal.output):
        for code in map(int, (codes or "0").split(";")):
            assert code not in {38, 48}, "a colour that is none of the sixteen"
            ink = 39 if code == 0 else code if code in INKS else ink
            ground = 49 if code == 0 else code if code in GROUNDS else ground
        seen[ink, ground] = seen.get((ink, ground), "") + words
    assert len(seen) > 3
    unseen = [words for (ink, ground), words in seen.items() if ink + 10 == ground and ink != 39]
    assert not re.search(r"\w", "".join(unseen)), f"words in the colour of their ground: {unseen}"


def test_sigterm_rolls_back_restores_the_terminal_and_leaves_with_143(slow_run: dict[str, str]) -> None:
    with Terminal([*PROGRAM, "run"], slow_run, 80, 24) as terminal:
        terminal.wait_for("● running")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.wait_for_end() == 143
        assert_restored(terminal)
        assert "run --resume" in terminal.output


@pytest.mark.slow
def test_sigint_rolls_back_restores_the_terminal_and_leaves_with_130(slow_run: dict[str, str]) -> None:
    with Terminal([*PROGRAM, "run"], slow_run, 80, 24) as terminal:
        terminal.wait_for("● running")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait_for_end() == 130
        assert_restored(terminal)
        assert "run --resume" in terminal.output


def test_ctrl_c_hints_then_asks_then_stops(slow_run: dict[str, str], target: Target) -> None:
    with Terminal([*PROGRAM, "run"], slow_run, 120, 40) as terminal:
        terminal.wait_for("● running")
        terminal.press("\x03")
        terminal.wait_for("x: stop the run")
        terminal.press("\x03\x03")  # within two seconds of each other, however slow it was to show the hint
        terminal.wait_for("Stop now", "stopped")  # the second one of them may have been its answer
        while "Stop now" in terminal.screen():  # a press that came before the question knew it was painted is no answer
            terminal.press("\x03")
            while terminal.read():
                pass
        terminal.wait_for("× stopped")
        terminal.press("q")
        deadline = time.monotonic() + 60.0
        while (
            terminal.process.poll() is None and time.monotonic() < deadline
        ):  # it may ask when the last word of the run is still on its way
            if "The same key again quits." in terminal.screen():
                terminal.press("q")
            terminal.read()
        assert terminal.wait_for_end() == 130
        assert_restored(terminal)
    assert rows_of(target) < 20_000


@pytest.mark.slow
def test_a_window_of_any_size_may_become_any_other_while_the_run_goes_on(
    slow_run: dict[str, str], target: Target
) -> None:
    with Terminal([*PROGRAM, "run"], {**slow_run, "MONGOPG_RUN_THROTTLE": "4000"}, 120, 40) as terminal:
        terminal.wait_for("Throughput, rows/s")
        terminal.resize(80, 24)
        terminal.wait_for("page size 500")
        assert "Throughput, rows/s" not in terminal.screen()
        terminal.resize(40, 10)
        terminal.wait_for("enlarge")
        terminal.resize(200, 60)
        terminal.wait_for("Throughput, rows/s")
        terminal.wait_for("20,000 read = 20,000 written + 0 rejected")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert_restored(terminal)
    assert rows_of(target) == 20_000


def test_losing_the_terminal_leaves_the_run_alive(slow_run: dict[str, str], target: Target) -> None:
    with Terminal([*PROGRAM, "run"], slow_run, 80, 24) as terminal:
        terminal.wait_for("● running")
        terminal.hang_up()
        assert terminal.process.wait(60.0) == 129
        left_behind = rows_of(target)
    assert left_behind < 20_000
    goes_on_to_its_end(slow_run, target)


@pytest.mark.slow
def test_an_engine_that_is_stopped_is_told_of_and_does_not_hold_the_cockpit(
    slow_run: dict[str, str], target: Target
) -> None:
    with Terminal([*PROGRAM, "run"], slow_run, 120, 40) as terminal:
        terminal.wait_for("● running")
        (engine,) = (pid for pid in children_of(terminal.process.pid) if "-m engine" in command_of(pid))
        os.kill(engine, signal.SIGSTOP)
        try:
            terminal.wait_for("The engine has been silent for")
            terminal.press("q")
            terminal.wait_for("A run is in progress")
            terminal.press("\x1b[D\x1b[D\r")
            assert terminal.wait_for_end() == 0
            assert_restored(terminal)
        finally:
            os.kill(engine, signal.SIGCONT)
        assert "mongopg-tui attach" in terminal.output
    goes_on_to_its_end(slow_run, target)


def children_of(pid: int) -> list[int]:
    """Of a process, as long as they live."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_of(pid: int) -> str:
    """The command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def test_leaving_detaches_and_attach_comes_back(slow_run: dict[str, str], target: Target) -> None:
    with Terminal([*PROGRAM, "run"], slow_run, 80, 24) as terminal:
        terminal.wait_for("● running")
        terminal.press("q")
        terminal.wait_for("A run is in progress")
        terminal.press("\x1b[D\x1b[D\r")
        assert terminal.wait_for_end() == 0
        assert_restored(terminal)
        assert "mongopg-tui attach" in terminal.output
    with Terminal([*PROGRAM, "attach"], slow_run, 100, 30) as terminal:
        terminal.wait_for("● running")
        terminal.press("t")
        terminal.wait_for("Tune the run")
        for keys in ("off", "\r"):
            terminal.press(keys)
            time.sleep(0.2)
        terminal.wait_for("✓ counts match")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    assert rows_of(target) == 20_000


def test_the_first_paint_takes_little_computing(home: dict[str, str]) -> None:
    with Terminal(PROGRAM, home, 80, 24) as terminal:
        terminal.wait_for("Source: MongoDB")
        painted_cpu_s = cpu_s(terminal.process.pid, with_children=False)
        terminal.press("\x11")
        assert terminal.wait_for_end() == 0
        assert_restored(terminal)
    assert painted_cpu_s < FIRST_PAINT_CPU_S
