"""The end of a run on its screen: the report, a failure, an engine that is gone."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from textual.widgets import Input

from engine.protocol import ErrorInfo, RunState, Verification
from tests.tui.driving import on_run, until, until_shown
from tests.tui.scripted_engine import ScriptedEngine, completed, running, table
from tui.cockpit.screens.run import RunScreen
from tui.cockpit.signs import run_sign

LARGE = (120, 40)
SMALL = (80, 24)


@pytest.mark.parametrize(
    ("state", "verification", "shown"),
    [
        (RunState.FINISHING, "running", "◐ verifying"),
        (RunState.FINISHING, "verified", "◐ finishing"),
        (RunState.COMPLETED, "verified", "✓ counts match"),
        (RunState.COMPLETED, "none", "✓ completed"),
        (RunState.FAILED, "mismatch", "! failed"),
    ],
)
def test_a_run_is_called_verified_only_when_it_is_over(state: RunState, verification: str, shown: str) -> None:
    snapshot = running(state=state, verification=Verification(verification))
    assert str(run_sign(snapshot)) == shown


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_the_report_names_the_state_the_counts_and_what_to_do_next(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "● running")
        engine.show(
            completed(tables=[table("customers", 812_004), table("products", 41_220, ok=False, target_count=7)])
        )
        await until_shown(
            pilot, "✓ counts match", "853,224 read = 853,224 written + 0 rejected", "public.customers", "812,004"
        )
        await until_shown(pilot, "✓ counts match", "! mismatch", "1: new run · q: quit")


async def test_a_failed_run_says_why_and_how_to_go_on(engine: ScriptedEngine) -> None:
    error = ErrorInfo(code="connect", message="PostgreSQL at pg1:5432 went away.")
    app = on_run(engine, running(state=RunState.FAILED, error=error, tables=[table("orders", 10)], exit_code=1))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "! failed", "PostgreSQL at pg1:5432 went away.", "run --resume 20261123-1402-k3f9")
        await until_shown(pilot, str(engine.log)[:40])


async def test_an_engine_that_dies_is_named_with_its_log_and_how_to_resume(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(tables=[table("orders", 10)]))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        engine.die()
        await until_shown(pilot, "! engine lost", "The engine has ended", "run --resume 20261123-1402-k3f9")
        await until_shown(pilot, str(engine.log)[:40])
        await until_shown(pilot, "      0 rows/s", "ETA: the engine has ended")
        await pilot.press("plus", "space", "x")
        await pilot.press("q")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 1
    assert "mongopg-tui run --resume 20261123-1402-k3f9" in app.leaving.farewell


async def test_the_report_is_exported_at_the_end_and_not_before(engine: ScriptedEngine, tmp_path: Path) -> None:
    engine.refusals["report"] = ("connect", "The target does not answer.")  # then the run's end is all there is
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("E")
        assert isinstance(app.screen, RunScreen)
        engine.show(completed())
        await until_shown(pilot, "✓ counts match", "E Export…")
        await pilot.press("E")
        await until_shown(pilot, "Export the report", "report-20261123-1402-k3f9.html")
        app.screen.query_one(Input).value = str(tmp_path / "report.csv")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
    rows = list(csv.reader(io.StringIO((tmp_path / "report.csv").read_text())))
    assert [row[2] for row in rows[:3]] == ["table", "public.customers", "public.products"]
    assert rows[1][:5] == ["20261123-1402-k3f9", "shop.customers", "public.customers", "812004", "812004"]


async def test_a_run_that_came_to_no_tables_has_nothing_to_export(engine: ScriptedEngine) -> None:
    error = ErrorInfo(code="connect", message="PostgreSQL at pg1:5432 went away.")
    app = on_run(engine, running(state=RunState.FAILED, error=error, exit_code=1))
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await until_shown(pilot, "! failed")
        await pilot.press("E")
        await until_shown(pilot, "there is nothing to export")


async def test_a_broken_connection_to_a_living_engine_is_made_again(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        engine.drop_clients()
        await until(pilot, lambda: len(engine.received("attach")) == 2)
        engine.show(written=3_000_000)
        await until_shown(pilot, "3,000,000 / 5,063,558", "● running")
