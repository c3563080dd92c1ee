"""The line that stands on a terminal while the cockpit comes."""

from __future__ import annotations

import sys

import pytest

from tests.tui.terminal import Terminal
from tui import starting
from tui.cli import output


@pytest.mark.parametrize(
    ("arguments", "opens"),
    [
        ([], True),
        (["attach"], True),
        (["demo", "--seed-count", "10"], True),
        (["run", "--collection", "a.b"], True),
        (["run", "--headless"], False),
        (["run", "-W"], False),
        (["--help"], False),
        (["demo", "--stop", "--dir", "x"], False),
        (["plan"], False),
        (["ctl", "status"], False),
    ],
)
def test_it_is_told_where_the_cockpit_comes(arguments: list[str], opens: bool) -> None:
    assert starting.opens_cockpit(arguments) is opens


def test_where_there_is_no_terminal_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    starting.tell()
    starting.erase()
    assert capsys.readouterr().out == ""


def test_what_is_said_next_takes_its_place(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    starting.tell()
    starting.tell()
    output.note("Error: no.")
    output.note("And more.")
    found = capsys.readouterr()
    assert found.out == starting.WORDS + starting.ERASE_LINE
    assert found.err == "Error: no.\nAnd more.\n"


def test_it_is_there_before_anything_is_loaded_and_goes_before_an_error() -> None:
    environment = {"MONGOPG_SOURCE_URI": "", "MONGOPG_TARGET_URI": ""}
    with Terminal([sys.executable, "-m", "tui", "run", "--config", "/nowhere.toml"], environment) as terminal:
        terminal.wait_for("Error:")
        assert terminal.wait_for_end() == 2
        assert terminal.output.startswith(f"{starting.WORDS}{starting.ERASE_LINE}Error: ")
