"""Pictures of the screens, accepted by a person: `pytest --snapshot-update` makes them anew."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from engine.control.protocol import Event, ProblemView, RunState, WorkerState
from tests.tui.driving import on_run, on_setup, until_shown
from tests.tui.scripted_engine import ScriptedEngine, completed, running, worker

SIZES = [(120, 40), (80, 24)]


def shown(*texts: str) -> Callable[[Pilot[Any]], Any]:
    """Wait for these before the picture is taken."""

    async def wait(pilot: Pilot[Any]) -> None:
        await until_shown(pilot, *texts)

    return wait


def with_history(engine: ScriptedEngine) -> None:
    """A minute with a dip, two knobs turned."""
    engine.samples = [(float(at), 4e4 + 9e3 * math.sin(at / 6) - (36e3 if 38 < at < 48 else 0)) for at in range(1, 75)]
    engine.events = [
        Event(kind="knob", at=20.0, facts={"knob": "cluster_size", "old": 2, "value": 4}),
        Event(kind="knob", at=50.0, facts={"knob": "page_size", "old": 4_000, "value": 8_000}),
    ]


@pytest.mark.parametrize("size", SIZES)
def test_picture_of_a_run(snap_compare: Any, engine: ScriptedEngine, size: tuple[int, int]) -> None:
    with_history(engine)
    workers = [
        worker(1),
        worker(2, state=WorkerState.STALLED, idle_s=12.0, rows_per_s=0.0),
        worker(3, state=WorkerState.RETRYING, rows_per_s=900.0),
        worker(4),
    ]
    problems = [
        ProblemView(code="type", message="total: not a number", count=14, collection="shop.orders"),
        ProblemView(code="40P01", message="deadlock detected", count=1, collection="shop.orders"),
    ]
    app = on_run(
        engine, running(workers=workers, problems=problems, rejected=14, retried=1, draining=1, cluster_size=3)
    )
    assert snap_compare(app, terminal_size=size, run_before=shown("! stalled 00:12", "page size 8,000"))


@pytest.mark.parametrize("size", SIZES)
def test_picture_of_setup(snap_compare: Any, engine: ScriptedEngine, size: tuple[int, int]) -> None:
    assert snap_compare(on_setup(engine), terminal_size=size, run_before=shown("4 of 4 chosen", "TLS, verified"))


def test_picture_of_a_report(snap_compare: Any, engine: ScriptedEngine) -> None:
    with_history(engine)
    assert snap_compare(on_run(engine, completed()), terminal_size=(120, 40), run_before=shown("✓ agrees"))


def test_picture_of_a_paused_run_without_colour(
    snap_compare: Any, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    workers = [worker(number, state=WorkerState.PAUSED, rows_per_s=0.0) for number in range(1, 5)]
    paused = running(state=RunState.PAUSED, phase="paused", eta_s=None, eta_reason="paused by you", workers=workers)
    assert snap_compare(on_run(engine, paused), terminal_size=(80, 24), run_before=shown("‖ paused"))
