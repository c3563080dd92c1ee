"""`ctl status --watch`: a line a second until the run ends."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from engine.errors import EXIT_CONNECT, EXIT_DONE, EXIT_USAGE
from engine.protocol import VitalsView
from tests.tui.scripted_engine import ScriptedEngine, completed
from tests.tui.test_ctl_choice import Engines
from tests.tui.test_ctl_choice import engines as engines
from tests.tui.test_ctl_choice import folder as folder
from tests.unit.test_vitals import BLOCKED, TARGET
from tui.cli import watching
from tui.cli.entry import run_command_line

WAIT_S = 60.0


class Watched:
    """What the command has written so far, and its clock, which stands still."""

    def __init__(self) -> None:
        self.n_lines = 0
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def counting(self, write: Callable[[Any], None]) -> Callable[[Any], None]:
        """The same function, whose calls are counted."""

        def counted(text: Any) -> None:
            write(text)
            self.n_lines += 1

        return counted


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    found = Watched()
    monkeypatch.setattr(watching, "time", found)
    for name in ("say", "say_json"):
        monkeypatch.setattr(watching, name, found.counting(getattr(watching, name)))
    return found


def _meanwhile(engine: ScriptedEngine, watched: Watched, end: Callable[[], object]) -> threading.Thread:
    """Show a run that goes on for two lines, then let it end."""

    def until(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not holds() and time.monotonic() < deadline:
            time.sleep(0.01)

    def play() -> None:
        until(lambda: bool(engine.received("attach")))  # the run was found before, and is watched now
        for line in (1, 2):
            for step in range(5):  # a second has one line, however much comes in it
                engine.show(written=100_000 * line + step)
            until(lambda line=line: watched.n_lines >= line)  # type: ignore[misc]
            if line == 1:
                watched.now += watching.EVERY_S
        end()

    thread = threading.Thread(target=play)
    thread.start()
    return thread


def test_watching_prints_lines_until_the_run_ends(
    engines: Engines, watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = TARGET.model_copy(update={"blocked": [BLOCKED]})
    engine = engines.add(vitals=VitalsView(target=blocked))
    playing = _meanwhile(engine, watched, lambda: engine.show(completed(run_id=engine.snapshot.run_id)))
    assert run_command_line(["ctl", "status", "--watch"]) == EXIT_DONE
    playing.join()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("[1m 15s] running  copying  ")
    assert "! session 4240 has waited 5.0 s for public.orders: session 4711" in lines[0]
    assert lines[-1] == f"[1m 15s] completed  run {engine.snapshot.run_id}"


def test_watching_as_json_prints_the_objects_of_status(
    engines: Engines, watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = engines.add()
    playing = _meanwhile(engine, watched, lambda: engine.show(completed(run_id=engine.snapshot.run_id)))
    assert run_command_line(["ctl", "status", "--watch", "--json"]) == EXIT_DONE
    playing.join()
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {record["event"] for record in records} == {"status"}
    assert [record["state"] for record in records] == ["running", "running", "completed"]


def test_an_engine_that_ends_before_its_run_is_no_success(
    engines: Engines, watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = engines.add()
    playing = _meanwhile(engine, watched, engine.die)
    assert run_command_line(["ctl", "status", "--watch"]) == EXIT_CONNECT
    playing.join()
    assert "ended before its run did" in capsys.readouterr().err


def test_only_status_is_watched(engines: Engines, capsys: pytest.CaptureFixture[str]) -> None:
    engines.add()
    assert run_command_line(["ctl", "pause", "--watch"]) == EXIT_USAGE
    assert "--watch goes with status only." in capsys.readouterr().err
