"""What the servers are doing, on the Run screen: a line each, a page in full, and the bar after the last row."""

from __future__ import annotations

import pytest

from engine.protocol import GuardsView, GuardView, RunState, StepView, Unseen, VitalsView
from tests.tui.driving import on_run, screen_text, until, until_shown
from tests.tui.scripted_engine import ScriptedEngine, running
from tests.unit.test_vitals import BLOCKED, SOURCE, TARGET
from tui.cockpit.dialogs.vitals import NOT_LOOKED_AT, VitalsDialog, vitals_text

LARGE = (120, 40)
SMALL = (80, 24)
VITALS = VitalsView(target=TARGET, source=SOURCE)
IN_TROUBLE = VitalsView(target=TARGET.model_copy(update={"blocked": [BLOCKED]}), source=SOURCE)


async def test_both_servers_have_a_line_on_a_large_screen_and_a_key_on_any(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(vitals=VITALS))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(
            pilot, "PostgreSQL  ! 5 of 8 sessions wait for WAL to reach the disk", "MongoDB     read tickets 12/128"
        )
        await pilot.resize_terminal(*SMALL)
        await until(pilot, lambda: "read tickets" not in screen_text(app))
        await pilot.press("v")
        await until_shown(pilot, "WAL limits the run", "What the servers are doing")
        await pilot.press("escape")
        await until(pilot, lambda: "WAL limits the run" not in screen_text(app))


async def test_a_run_whose_servers_are_not_looked_at_has_no_lines_for_it(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "41,220 rows/s")
        assert "MongoDB " not in screen_text(app)
        engine.show(vitals=VITALS)
        await until_shown(pilot, "MongoDB     read tickets 12/128")
        engine.show(vitals=None)
        await until(pilot, lambda: "read tickets" not in screen_text(app))


async def test_a_blocked_session_is_named_with_the_one_that_blocks_it(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(vitals=IN_TROUBLE))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(
            pilot, "PostgreSQL  ! session 4240 has waited 5.0 s for public.orders: session 4711 (psql, user app)"
        )
        await pilot.press("v")
        await until_shown(pilot, "! blocked", "SELECT pg_terminate_backend(4711);")


async def test_the_page_follows_the_run(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(vitals=VITALS))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "read tickets 12/128")
        await pilot.press("v")
        await until_shown(pilot, "12 of 128 in use, none waits")
        engine.show(vitals=VitalsView(target=TARGET, source=SOURCE.model_copy(update={"reads_queued": 40})))
        await until_shown(pilot, "! read tickets", "12 of 128 in use, 40 wait")
        engine.show(vitals=None)
        await until_shown(pilot, NOT_LOOKED_AT[:60])
        assert isinstance(app.screen, VitalsDialog)


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_after_the_last_row_the_bar_is_that_of_the_key(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    step = StepView(what="key", table="public.orders", namespace="shop.orders", fraction=0.43)
    vitals = VitalsView(target=TARGET.model_copy(update={"steps": [step]}), source=SOURCE)
    whole = running(written=5_063_558, state=RunState.FINISHING, phase="building keys and counting", eta_s=None)
    app = on_run(engine, whole)
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "5,063,558 / 5,063,558 rows")
        engine.show(vitals=vitals)
        await until_shown(pilot, " 43.0%   building key of shop.orders 43%")
        assert "100.0%" not in screen_text(app)


@pytest.mark.parametrize("width", [40, 70, 106])
def test_no_line_of_the_page_is_wider_than_the_page(width: int) -> None:
    why = "The role mig may not see the state of the 2 that there are."
    unseen = [Unseen(what="replica lag", why=why, remedy="GRANT pg_monitor TO mig;")]
    view = VitalsView(target=TARGET.model_copy(update={"unseen": unseen, "blocked": [BLOCKED]}), source=SOURCE)
    text = vitals_text(view, width)
    assert max(line.cell_length for line in text.split("\n")) <= width
    assert "GRANT pg_monitor TO mig;" in " ".join(text.plain.split())


# --- guards -----------------------------------------------------------------------------------------------------------

BEHIND = GuardView(
    name="standby_lag",
    state="slows",
    words="standby standby1 replays 14 s behind (limit 10 s)",
    value=14,
    limit=10,
    hard=60,
)
ROOMY = GuardView(name="disk_free", state="fine", words="PostgreSQL's disk has 71.0 GB free", limit=2e9, hard=5e8)
BLIND = GuardView(name="tickets", state="unseen", words="The user app may not ask for serverStatus.", limit=10)
SLOWED = GuardsView(action="slowed", reason=BEHIND.words, share=0.25, rows_per_s=4_821, guards=[BEHIND, ROOMY, BLIND])


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_a_run_that_is_slowed_says_why_and_until_when(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_run(engine, running(vitals=VITALS, guards=SLOWED))
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "! slowed to 4,821 rows/s: standby standby1 replays 14 s behind (limit 10 s)")
        await pilot.press("v")
        await until_shown(
            pilot, "Guards", "! this run", "It comes back by itself.", "! standby_lag", "  disk_free", "slows at",
        )  # fmt: skip
        engine.show(guards=SLOWED.model_copy(update={"action": "", "rows_per_s": None, "guards": [ROOMY]}))
        await until(pilot, lambda: "! this run" not in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "! slowed" not in screen_text(app))


async def test_a_run_that_guards_hold_says_so_and_one_key_turns_them_off_and_on(engine: ScriptedEngine) -> None:
    reason = f"paused by guard standby_lag: {BEHIND.words}"
    held = SLOWED.model_copy(update={"action": "paused", "guards": [BEHIND.model_copy(update={"state": "pauses"})]})
    app = on_run(engine, running(vitals=VITALS, guards=held, state=RunState.PAUSED, eta_s=None, eta_reason=reason))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, reason)
        await pilot.press("ctrl+g")
        await until(
            pilot, lambda: engine.received("set_guard") == [{"name": "set_guard", "setting": "on", "value": "false"}]
        )
        engine.show(guards=GuardsView(on=False))
        await pilot.press("v")
        await until_shown(pilot, "! guards", "turned off")
        await pilot.press("escape", "ctrl+g")
        await until(pilot, lambda: len(engine.received("set_guard")) == 2)


@pytest.mark.parametrize("width", [40, 70, 106])
def test_the_guards_of_the_page_have_their_limits_and_what_they_cannot_see(width: int) -> None:
    text = vitals_text(VitalsView(), width, SLOWED)
    assert max(line.cell_length for line in text.split("\n")) <= width
    words = " ".join(text.plain.split())
    assert "PostgreSQL's disk has 71.0 GB free (slows at 2 GB, pauses at 0.5 GB)" in words
    assert "cannot see, does nothing: The user app may not ask for serverStatus." in words
