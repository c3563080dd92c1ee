"""`ctl status --watch`: a line a second until the run ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

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

BEAT_S = 0.05


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "EVERY_S", 2 * BEAT_S)


def _meanwhile(engine: ScriptedEngine, end: Callable[[], object]) -> threading.Thread:
    """Show a run that goes on, then let it end."""

    def play() -> None:
        for step in range(20):
            engine.show(written=100_000 * step)
            threading.Event().wait(BEAT_S)
        end()

    thread = threading.Thread(target=play)
    thread.start()
    return thread


def test_watching_prints_lines_until_the_run_ends(engines: Engines, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = TARGET.model_copy(update={"blocked": [BLOCKED]})
    engine = engines.add(vitals=VitalsView(target=blocked))
    playing = _meanwhile(engine, lambda: engine.show(completed(run_id=engine.snapshot.run_id)))
    assert run_command_line(["ctl", "status", "--watch"]) == EXIT_DONE
    playing.join()
    lines = capsys.readouterr().out.splitlines()
    assert 4 <= len(lines) <= 15
    assert lines[0].startswith("[1m 15s] running  copying  ")
    assert "! session 4240 has waited 5.0 s for public.orders: session 4711" in lines[0]
    assert lines[-1] == f"[1m 15s] completed  run {engine.snapshot.run_id}"


def test_watching_as_json_prints_the_objects_of_status(engines: Engines, capsys: pytest.CaptureFixture[str]) -> None:
    engine = engines.add()
    playing = _meanwhile(engine, lambda: engine.show(completed(run_id=engine.snapshot.run_id)))
    assert run_command_line(["ctl", "status", "--watch", "--json"]) == EXIT_DONE
    playing.join()
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {record["event"] for record in records} == {"status"}
    assert records[-1]["state"] == "completed"


def test_an_engine_that_ends_before_its_run_is_no_success(engines: Engines, capsys: pytest.CaptureFixture[str]) -> None:
    engine = engines.add()
    playing = _meanwhile(engine, engine.die)
    assert run_command_line(["ctl", "status", "--watch"]) == EXIT_CONNECT
    playing.join()
    assert "ended before its run did" in capsys.readouterr().err


def test_only_status_is_watched(engines: Engines, capsys: pytest.CaptureFixture[str]) -> None:
    engines.add()
    assert run_command_line(["ctl", "pause", "--watch"]) == EXIT_USAGE
    assert "--watch goes with status only." in capsys.readouterr().err
