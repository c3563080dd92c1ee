"""What the trial of the Run screen found: resuming, who did what, dialogs that outlive their run, honest numbers."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import asyncpg
import pytest
from textual.pilot import Pilot

from engine.config import Settings
from engine.knobs import THROTTLE
from engine.protocol import (
    Cancel,
    EditablePlan,
    KnobChanged,
    MakePlan,
    Pause,
    RenameColumn,
    RunState,
    SetKnob,
    Snapshot,
    Start,
    StateEntered,
    Status,
    TuningView,
)
from engine.service.client import EngineClient, actor
from engine.service.launching import launch
from tests.conftest import Target
from tests.tui.driving import NEVER_S, click, on_run, screen_text, session_of, until, until_shown
from tests.tui.scripted_answers import RUNS
from tests.tui.scripted_engine import ScriptedEngine, completed, running
from tui.cockpit.app import Cockpit
from tui.cockpit.farewell import farewell
from tui.cockpit.widgets.event_log import event_lines
from tui.words.format import time_of_day

LARGE, SMALL = (120, 40), (80, 24)


@pytest.fixture
def slow_settings(slow_run: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a slow run, in surroundings of its own."""
    for name, value in slow_run.items():
        if name.startswith("XDG_"):
            monkeypatch.setenv(name, value)
    return Settings.model_validate(
        {
            "source": {"uri": slow_run["MONGOPG_SOURCE_URI"]},
            "target": {"uri": slow_run["MONGOPG_TARGET_URI"]},
            "run": {"throttle": 800, "page_size": 200, "cluster_size": 2},
        }
    )


async def _stop_gracefully(pilot: Pilot[None], app: Cockpit) -> None:
    """Stop a run that has committed something, and wait for its end."""
    await until(pilot, lambda: session_of(app).snapshot.written > 0)
    await pilot.press("x")
    await until_shown(pilot, "Stop the run?")
    await click(pilot, "#drain")
    await until_shown(pilot, "× stopped")


async def _let_it_end(pilot: Pilot[None], app: Cockpit) -> None:
    """Turn the throttle off, and wait until everything is copied."""
    app.orders.turn(THROTTLE, 0)
    await until(pilot, lambda: session_of(app).snapshot.state is RunState.COMPLETED)
    assert session_of(app).snapshot.written == 20_000


async def test_b1_r_resumes_the_run_on_the_screen(slow_settings: Settings, target: Target) -> None:
    app = Cockpit(slow_settings, {}, process=launch(slow_settings), silent_s=NEVER_S)
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: app.engines.idle is not None)
        assert app.engines.idle is not None
        proposed = await app.engines.idle.client.ask(EditablePlan, MakePlan())
        edit = RenameColumn(schema_name="public", table="orders", column="total", new_name="amount_due")
        edited = await app.engines.idle.client.ask(EditablePlan, MakePlan(plan=proposed.toml, edits=[edit]))
        app.orders.start(slow_settings, Start(plan=edited.toml))
        await until_shown(pilot, "● running")
        run_id = session_of(app).snapshot.run_id
        await _stop_gracefully(pilot, app)
        committed = session_of(app).snapshot.written
        assert 0 < committed < 20_000
        await until_shown(pilot, "r Resume run")
        await pilot.press("r")
        await until_shown(pilot, "● running")
        session = session_of(app)
        await until(pilot, lambda: session.snapshot.written > committed)
        assert session.snapshot.run_id == run_id
        assert session.snapshot.throttle == 800
        await _let_it_end(pilot, app)
    app.engines.reap()
    assert await asyncio.to_thread(target.value, "SELECT count(amount_due) FROM orders") == 20_000


async def test_b1_a_throttle_that_was_turned_stays_when_the_run_is_resumed(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(tables=completed().tables, throttle=3_000, cluster_size=2))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        session = session_of(app)
        assert session.knobs_last == {"cluster_size": 2, "page_size": 8_000, "throttle": 3_000}
        engine.show(tuning=TuningView(auto="auto:2-8", stable=2))
        await until(pilot, lambda: session.knobs_last["cluster_size"] == "auto:2-8")
        engine.show(state=RunState.CANCELLED, tuning=None)
        await until(pilot, lambda: session.snapshot.state.is_over)
        assert session.knobs_last["cluster_size"] == "auto:2-8", "as it was while the run went on"


@pytest.mark.slow
async def test_b5_an_attached_cockpit_resumes_the_run(slow_settings: Settings, target: Target) -> None:
    process = launch(slow_settings)
    owner = await EngineClient.connect(process.socket, owner=True)
    await owner.call(Start())
    # Nothing of the servers is known to the cockpit itself.
    app = Cockpit(Settings(), {}, attach=process.socket, silent_s=NEVER_S)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "● running")
        await _stop_gracefully(pilot, app)
        run_id, committed = session_of(app).snapshot.run_id, session_of(app).snapshot.written
        await until_shown(pilot, "r Resume run", "r: resume")
        await pilot.press("r")
        await until_shown(pilot, "● running")
        await until(pilot, lambda: session_of(app).snapshot.written > committed)
        assert session_of(app).snapshot.run_id == run_id
        assert session_of(app).is_owner
        await _let_it_end(pilot, app)
    await owner.close()
    app.engines.reap()
    assert process.wait(60) is not None


@pytest.mark.slow
async def test_b5_history_of_an_attached_cockpit_resumes_a_run_or_says_why_not(slow_settings: Settings) -> None:
    process = launch(slow_settings)
    owner = await EngineClient.connect(process.socket, owner=True)
    await owner.call(Start())
    app = Cockpit(Settings(), {}, attach=process.socket, silent_s=NEVER_S)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await _stop_gracefully(pilot, app)
        run_id, committed = session_of(app).snapshot.run_id, session_of(app).snapshot.written
        await pilot.press("5")
        await until_shown(pilot, run_id, "r: resume", "r Resume…")
        await pilot.press("r")
        await until_shown(pilot, "Resume this run?")
        await click(pilot, "#go")
        await until_shown(pilot, "● running")
        await until(pilot, lambda: session_of(app).snapshot.written > committed)
        await _let_it_end(pilot, app)
    await owner.close()
    app.engines.reap()
    assert process.wait(60) is not None


async def test_b5_history_says_why_a_run_cannot_be_resumed_now(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(), Settings())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("5")
        await until_shown(pilot, RUNS[0].run_id, "5,063,544")
        await pilot.press("down")
        await until_shown(pilot, "It can be resumed when the run that is in progress is over.")
        engine.show(completed())
        await until_shown(pilot, "To resume it, enter both servers on Setup (1)")
        await pilot.press("r")
        assert "Resume this run?" not in screen_text(app)


async def test_b15_who_paused_and_who_turned_a_knob_is_told_with_the_time_of_day(slow_settings: Settings) -> None:
    process = launch(slow_settings)
    owner = await EngineClient.connect(process.socket, owner=True, by=actor("cockpit"))
    guest = await EngineClient.connect(process.socket, by="ctl of ann@db1")
    await owner.call(Start())
    began = time.time()
    app = Cockpit(Settings(), {}, attach=process.socket, silent_s=NEVER_S)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await guest.call(SetKnob(knob="page_size", value=700))
        await guest.call(Pause())
        await until_shown(pilot, "‖ paused", "paused by ctl of ann@db1")
        events = session_of(app).events
        (turned,) = [event for event in events if isinstance(event, KnobChanged)]
        assert turned.by == "ctl of ann@db1"
        assert abs(turned.clock - began) < 60
        pausing = [event for event in events if isinstance(event, StateEntered) and event.state is RunState.PAUSING]
        assert [event.by for event in pausing] == ["ctl of ann@db1"]
        told = [line for event in events for line in event_lines(event)]
        clock = time_of_day(turned.clock, seconds=True)
        assert any(line.startswith(clock) and "page size 200 → 700, by ctl of ann@db1" in line for line in told)
        await pilot.press("space")
        await until_shown(pilot, "● running")
        await pilot.press("space")
        await until_shown(pilot, "‖ paused", "paused by you")
        status = await guest.ask(Snapshot, Status())
        assert status.eta_reason == f"paused by {session_of(app).client.by}"
        await guest.call(Cancel())
        await until_shown(pilot, "× stopped")
        assert session_of(app).snapshot.stopped_by == "ctl of ann@db1"
        await until_shown(pilot, "Stopped by ctl of ann@db1:")
    await guest.close()
    await owner.close()
    assert process.wait(60) is not None
    recorded = await asyncio.to_thread(_recorded_events, slow_settings)
    assert [facts["by"] for kind, facts in recorded if kind == "knob"] == ["ctl of ann@db1"]
    assert all(facts["clock"] > began - 60 for kind, facts in recorded if kind in {"knob", "state"})


def _recorded_events(settings: Settings) -> list[tuple[str, dict[str, Any]]]:
    async def read() -> list[tuple[str, dict[str, Any]]]:
        connection = await asyncpg.connect(settings.target.connection)
        try:
            rows = await connection.fetch("SELECT kind, facts FROM mongopg.event ORDER BY seq")
        finally:
            await connection.close()
        return [(str(row["kind"]), json.loads(row["facts"])) for row in rows]

    return asyncio.run(read())


async def test_b17_a_run_that_was_deleted_is_not_offered_to_be_resumed(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(tables=completed().tables))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        engine.show(state=RunState.CANCELLED, phase="cancelled", exit_code=130, workers=[])
        await until_shown(pilot, "× stopped")
        session = session_of(app)
        assert "--resume" in farewell(session, run_goes_on=False)
        app.runs.deleted("another")
        assert "--resume" in farewell(session, run_goes_on=False)
        app.runs.deleted(session.snapshot.run_id)
        assert "--resume" not in farewell(session, run_goes_on=False)
        assert not session.is_resumable
