"""The Run screen: what it draws on any size, and how it opens."""

from __future__ import annotations

import pytest

from engine.protocol import RunState, Start, WorkerState
from tests.tui.driving import NEVER_S, on_run, process_of, screen_text, settings_with_servers, until_shown
from tests.tui.scripted_engine import ScriptedEngine, running, worker
from tui.cockpit.app import Cockpit

LARGE = (120, 40)
SMALL = (80, 24)


@pytest.mark.parametrize("size", [(200, 60), LARGE, SMALL])
async def test_the_run_is_drawn_on_any_size(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_run(engine, running(rejected=14, workers=[worker(1), worker(2, state=WorkerState.STALLED, idle_s=12.0)]))
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "58.3%", "2,952,110 / 5,063,558", "41,220 rows/s", "ETA 51s", "● running")
        await until_shown(pilot, "rejected 14", "waiting for PostgreSQL 61%", "! stalled 12s", "◆ converting", "381")


async def test_counters_that_are_zero_are_not_shown(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "41,220 rows/s")
        assert "rejected" not in screen_text(app)
        assert "retried" not in screen_text(app)


async def test_the_reason_stands_in_the_place_of_the_eta(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(eta_s=None, eta_reason="measuring"))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "ETA: calculating…")


async def test_after_seeding_the_time_of_the_copy_stands_beside_the_whole(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(elapsed=81.0, seconds=75.0))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "copy 1m 15s   total 1m 21s")
        engine.show(elapsed=75.3, seconds=75.0)
        await until_shown(pilot, "MiB/s   1m 15s   ETA")
        engine.show(elapsed=81.0, rejected=1_000_000, retried=1_000)
        await pilot.resize_terminal(*SMALL)
        await until_shown(pilot, "  1m 15s  ", "rejected 1,000,000")  # that of the rate beside it


async def test_seeding_counts_documents_towards_the_seed_count(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(state=RunState.SEEDING, phase="seeding", seeded=250_000, seed_count=1_000_000))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "25.0%", "250,000 / 1,000,000 documents", "● seeding", "Seed count")


@pytest.mark.parametrize("size", [(59, 30), (100, 13)])
async def test_a_tiny_screen_shows_one_line(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "58.3%  41,220 rows/s  ETA 51s", "enlarge")
        assert "Throughput" not in screen_text(app)
        await pilot.resize_terminal(*LARGE)
        await until_shown(pilot, "Throughput", "Workers 4")


async def test_a_start_command_opens_the_run_screen_and_owns_the_engine(engine: ScriptedEngine) -> None:
    app = Cockpit(
        settings_with_servers(), {}, process=process_of(engine), start=Start(seed=True, migrate=False), silent_s=NEVER_S
    )
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running", "Workers 4")
        assert engine.received("attach") == [{"name": "attach", "owner": True, "on_disconnect": "cancel"}]
