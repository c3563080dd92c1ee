"""Pictures of the screens, accepted by a person: `pytest --snapshot-update` makes them anew."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from engine.config import merged
from engine.protocol import ErrorInfo, KnobChanged, ProblemView, RunState, WorkerState
from tests.tui.driving import on_run, on_setup, settings_with_servers, until_shown
from tests.tui.scripted_engine import ScriptedEngine, completed, following, running, table, worker

SIZES = [(120, 40), (80, 24)]


def shown(*texts: str) -> Callable[[Pilot[Any]], Any]:
    """Wait for these before the picture is taken."""

    async def wait(pilot: Pilot[Any]) -> None:
        await until_shown(pilot, *texts)

    return wait


def on_screen(key: str, *texts: str) -> Callable[[Pilot[Any]], Any]:
    """From Setup to the screen of a key, and wait for these."""

    async def go(pilot: Pilot[Any]) -> None:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press(key)
        await until_shown(pilot, *texts)

    return go


def with_history(engine: ScriptedEngine) -> None:
    """A minute with a dip, two knobs turned."""
    engine.samples = [(float(at), 4e4 + 9e3 * math.sin(at / 6) - (36e3 if 38 < at < 48 else 0)) for at in range(1, 75)]
    engine.events = [
        KnobChanged(at=20.0, knob="cluster_size", old=2, value=4),
        KnobChanged(at=50.0, knob="page_size", old=4_000, value=8_000),
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
    assert snap_compare(app, terminal_size=size, run_before=shown("! stalled 12s", "page size 8,000"))


@pytest.mark.parametrize("size", [*SIZES, (200, 60)])
def test_picture_of_a_run_by_collection(snap_compare: Any, engine: ScriptedEngine, size: tuple[int, int]) -> None:
    with_history(engine)
    facts: dict[str, Any] = {"source_count": -1, "target_count": -1, "ok": None}
    tables = [
        table("customers", 812_004, state="done", **facts),
        table("orders", 4_210_334, read=2_140_106, written=2_140_092, rejected=14, state="copying", rows_per_s=41_220.0,
              eta_s=51.0, workers=4, **facts),
        table("products", 41_220, read=0, written=0, state="waiting", **facts),
        table("events", 90_000, state="building key", **facts),
    ]  # fmt: skip
    workers = [
        worker(number, collection="shop.orders", reading=0.1 * number, converting=0.15, writing=0.5)
        for number in range(1, 5)
    ]
    started = 1_764_504_000.0
    app = on_run(
        engine,
        running(
            workers=workers, tables=tables, rejected=14, started_unix=started, last_commit_unix=started + 74,
            rows_per_s_overall=38_100.0,
        ),
    )  # fmt: skip
    assert snap_compare(app, terminal_size=size, run_before=shown("● copying", "page size 8,000", "last commit"))


@pytest.mark.parametrize("size", SIZES)
def test_picture_of_a_run_that_follows(snap_compare: Any, engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_run(engine, following())
    assert snap_compare(app, terminal_size=size, run_before=shown("✓ ready to be cut over", "8,000"))


@pytest.mark.parametrize("size", SIZES)
def test_picture_of_the_question_before_a_cut_over(
    snap_compare: Any, engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    async def asked(pilot: Pilot[Any]) -> None:
        await until_shown(pilot, "ready to be cut over")
        await pilot.press("C")
        await until_shown(pilot, "Stop everything that writes to the source now.")

    app = on_run(engine, following(follow={"events_per_s": 0.0}))
    assert snap_compare(app, terminal_size=size, run_before=asked)


@pytest.mark.parametrize("theme", ["ansi-dark", "textual-light", "high-contrast"])
def test_picture_of_a_run_in_other_colours(snap_compare: Any, engine: ScriptedEngine, theme: str) -> None:
    with_history(engine)
    settings = settings_with_servers()
    settings = merged(settings, {"cockpit": {"theme": theme}})
    workers = [worker(1), worker(2, state=WorkerState.STALLED, idle_s=12.0, rows_per_s=0.0), worker(3), worker(4)]
    problems = [ProblemView(code="type", message="total: not a number", count=14, collection="shop.orders")]
    app = on_run(engine, running(workers=workers, problems=problems, rejected=14), settings)
    assert snap_compare(app, terminal_size=(120, 40), run_before=shown("! stalled 12s", "page size 8,000"))


@pytest.mark.parametrize("size", SIZES)
def test_picture_of_setup(snap_compare: Any, engine: ScriptedEngine, size: tuple[int, int]) -> None:
    assert snap_compare(on_setup(engine), terminal_size=size, run_before=shown("3 of 4 selected", "TLS, verified"))


@pytest.mark.parametrize("size", SIZES)
def test_picture_of_a_plan(snap_compare: Any, engine: ScriptedEngine, size: tuple[int, int]) -> None:
    ready = on_screen("2", "address.city", "! total: 2%", "f9 Start")
    assert snap_compare(on_setup(engine), terminal_size=size, run_before=ready)


@pytest.mark.parametrize("size", SIZES)
def test_picture_of_a_verification(snap_compare: Any, engine: ScriptedEngine, size: tuple[int, int]) -> None:
    async def ready(pilot: Pilot[Any]) -> None:
        await on_screen("4", "as counted at the run's end")(pilot)
        await pilot.press("f")
        await until_shown(pilot, "compared in full at ", "f Compare all")
        await pilot.press("down")
        await until_shown(pilot, "different")

    assert snap_compare(on_setup(engine), terminal_size=size, run_before=ready)


@pytest.mark.parametrize("size", SIZES)
def test_picture_of_rejects(snap_compare: Any, engine: ScriptedEngine, size: tuple[int, int]) -> None:
    async def ready(pilot: Pilot[Any]) -> None:
        await until_shown(pilot, "R Rejects…")
        await pilot.press("R")
        await until_shown(pilot, "15 rejected documents", "Documents 1–10 of 14", '"name"')
        await pilot.press("p", "enter")
        await until_shown(pilot, "nul reject → strip")

    assert snap_compare(on_run(engine, completed(rejected=15)), terminal_size=size, run_before=ready)


@pytest.mark.parametrize("size", SIZES)
def test_picture_of_a_history(snap_compare: Any, engine: ScriptedEngine, size: tuple[int, int]) -> None:
    ready = on_screen("5", "5,063,544", "run 20261123-1402-k3f9", "p Replay")
    assert snap_compare(on_setup(engine), terminal_size=size, run_before=ready)


@pytest.mark.parametrize("size", SIZES)
def test_picture_of_a_report(snap_compare: Any, engine: ScriptedEngine, size: tuple[int, int]) -> None:
    with_history(engine)
    assert snap_compare(on_run(engine, completed()), terminal_size=size, run_before=shown("✓ counts match", "q Quit"))


@pytest.mark.parametrize("size", SIZES)
def test_picture_of_a_failed_run(snap_compare: Any, engine: ScriptedEngine, size: tuple[int, int]) -> None:
    with_history(engine)
    engine.log = Path("/var/log/mongopg-tui/20261123-1402-k3f9.log")
    orders = table("orders", 4_210_334, read=2_952_110, written=2_892_110, rejected=60_000, source_count=-1,
                   target_count=-1, ok=None)  # fmt: skip
    failed = running(
        read=2_952_110, written=2_892_110, rejected=60_000, state=RunState.FAILED, phase="failed", exit_code=1,
        workers=[], workers_alive=0, rows_per_s=0.0, bytes_per_s=0.0, eta_s=None, tables=[orders],
        error=ErrorInfo(code="max_rejects", message="Stopped: 60,000 documents are rejects; nul in name."),
        problems=[ProblemView(code="nul", message="kept as rejects", count=60_000, collection="shop.orders")],
    )  # fmt: skip
    assert snap_compare(on_run(engine, failed), terminal_size=size, run_before=shown("! failed", "q Quit"))


def test_picture_of_a_paused_run_without_colour(
    snap_compare: Any, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    workers = [worker(number, state=WorkerState.PAUSED, rows_per_s=0.0) for number in range(1, 5)]
    paused = running(state=RunState.PAUSED, phase="paused", eta_s=None, eta_reason="paused by you", workers=workers)
    assert snap_compare(on_run(engine, paused), terminal_size=(80, 24), run_before=shown("‖ paused"))


def test_picture_of_a_paused_run(snap_compare: Any, engine: ScriptedEngine) -> None:
    with_history(engine)
    workers = [worker(number, state=WorkerState.PAUSED, rows_per_s=0.0) for number in range(1, 5)]
    paused = running(
        state=RunState.PAUSED, phase="paused", eta_s=None, eta_reason="paused by you", rows_per_s=0.0, workers=workers
    )
    assert snap_compare(on_run(engine, paused), terminal_size=(120, 40), run_before=shown("‖ paused", "space Resume"))
