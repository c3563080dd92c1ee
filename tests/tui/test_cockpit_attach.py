"""Coming later, or coming back: a run's history is there, once; an engine that does not answer holds nothing up."""

from __future__ import annotations

import pytest

from engine.protocol import Event, KnobChanged, PartitionParked, RunState, ServersStarted, StateEntered
from engine.service.client import Waits
from tests.tui.driving import click, on_run, screen_text, session_of, until, until_shown
from tests.tui.scripted_engine import ScriptedEngine, completed, running, table
from tui.cockpit.farewell import farewell
from tui.cockpit.widgets.event_log import EventLog

LARGE = (120, 40)
SERVERS = {"source": "mongodb://127.0.0.1:1/demo", "target": "postgresql://127.0.0.1:2/demo", "directory": "/tmp/x"}


def knob(at: float, value: int) -> Event:
    """The cluster was resized."""
    return KnobChanged(at=at, knob="cluster_size", old=1, value=value)


async def test_what_happened_while_the_cockpit_was_cut_off_is_there_once(engine: ScriptedEngine) -> None:
    engine.events = [knob(20.0, 2)]
    engine.samples = [(float(at), 40_000.0) for at in range(1, 70)]
    app = on_run(engine, running(elapsed=70.0))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running", "▲ workers 2")
        session = session_of(app)
        engine.tell("problem", 71.0, code="40P01", message="deadlock detected")
        await until(pilot, lambda: session.n_events == 2)
        engine.events += [knob(75.0, 4), knob(75.0, 4), PartitionParked(at=76.0, partition=7)]
        engine.samples = [(float(at), 40_000.0 if at < 72 else 10_000.0) for at in range(1, 90)]
        engine.snapshot = running(elapsed=90.0, rows_per_s=10_000.0)
        engine.drop_clients()
        await until(pilot, lambda: len(engine.received("attach")) == 2)
        await until(pilot, lambda: session.n_events == 5)
        assert [event.kind for event in session.events] == ["knob", "problem", "knob", "knob", "parked"]
        assert session.history.columns(90).rates[80:88] == [10_000.0] * 8
        assert session.history.n_marks == 3
        engine.drop_clients()
        await until(pilot, lambda: len(engine.received("attach")) == 3)
        await until_shown(pilot, "● running")
        assert session.n_events == 5


async def test_events_that_came_and_fell_off_meanwhile_are_not_taken_for_old_ones(engine: ScriptedEngine) -> None:
    engine.events = [knob(20.0, 2), PartitionParked(at=30.0, partition=1)]
    app = on_run(engine, running(elapsed=70.0))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        session = session_of(app)
        engine.events = [knob(20.0, 2), *(PartitionParked(at=80.0 + n, partition=n) for n in range(3))]
        engine.drop_clients()
        await until(pilot, lambda: session.n_events == 5)
        assert [event.at for event in session.events] == [20.0, 30.0, 80.0, 81.0, 82.0]


async def test_an_engine_that_does_not_answer_an_attach_is_left_with_a_sentence(
    engine: ScriptedEngine,
) -> None:
    engine.is_mute = True
    app = on_run(engine, running(), waits=Waits(attach_s=0.2))
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: app._exit)
    assert app.return_code == 3
    assert "does not answer" in app.leaving.farewell
    assert "hangs or is stopped" in app.leaving.farewell


async def test_leaving_an_engine_that_does_not_answer_is_given_up(
    engine: ScriptedEngine,
) -> None:
    app = on_run(engine, running(), waits=Waits(detach_s=1.5))
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await until_shown(pilot, "● running")
        engine.is_mute = True
        await pilot.press("q")
        await until_shown(pilot, "Leave it running")
        await click(pilot, "#leave")
        await until_shown(pilot, "Leaving: the engine takes its time to answer.")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 0
    assert engine.received("detach")
    assert "continues" in app.leaving.farewell


async def test_an_engine_that_is_silent_is_told_of_until_it_speaks(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(), silent_s=3.0)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        session = session_of(app)
        session.heard_at -= 12.0
        await until_shown(pilot, "! The engine has been silent for 1", " s; the run may go on without the picture.")
        await pilot.press("z")
        await until_shown(pilot, "Display frozen (run continues).", "! The engine has been silent for 1")
        await pilot.press("z")
        engine.show(written=3_000_000)
        await until(pilot, lambda: "silent" not in screen_text(app))
        engine.show(completed())
        await until_shown(pilot, "✓ counts match")
        session.heard_at -= 60.0
        await pilot.pause(0.5)
        assert "silent" not in screen_text(app)


async def test_a_guest_of_a_demo_is_not_told_to_resume_what_ends_with_it(engine: ScriptedEngine) -> None:
    engine.events = [ServersStarted(at=0.0, **SERVERS, keep=False)]
    app = on_run(engine, running(tables=[table("orders", 10)]))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        session = session_of(app)
        assert session.is_on_passing_servers
        await pilot.press("x")
        await until_shown(pilot, "Stop the run?", "the embedded servers end")
        await pilot.press("escape")
        engine.show(state=RunState.CANCELLED, phase="cancelled", workers=[], exit_code=130)
        await until_shown(pilot, "× stopped")
        assert "run --resume" not in screen_text(app)
        assert "run --resume" not in farewell(session, run_goes_on=False)


async def test_a_guest_of_servers_that_stay_is_told_how_to_go_on(engine: ScriptedEngine) -> None:
    engine.events = [ServersStarted(at=0.0, **SERVERS, keep=True)]
    app = on_run(engine, running(state=RunState.CANCELLED, tables=[table("orders", 10)], exit_code=130))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "× stopped")
        session = session_of(app)
        assert "run --resume" in farewell(session, run_goes_on=False)


@pytest.mark.parametrize("state", [RunState.SEEDING, RunState.PAUSING])
async def test_a_guest_has_the_seed_count_before_the_first_document_is_there(
    engine: ScriptedEngine, state: RunState
) -> None:
    engine.events = [StateEntered(at=1.0, state=RunState.SEEDING, phase="seeding")]
    app = on_run(engine, running(state=state, phase="seeding", seeded=0, seed_count=5_000))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "Seed count", "5,000")


async def test_what_the_cockpit_said_stays_in_the_log_to_be_read_and_copied(engine: ScriptedEngine) -> None:
    reason = "PostgreSQL has 3 connections free. " + "It says why at length. " * 14 + "The end."
    engine.refusals["set"] = ("knob", reason)
    app = on_run(engine, running(elapsed=20.0))
    app.notes.say("Before there was a run.")
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("plus")
        await until(
            pilot,
            lambda: any(each.message.endswith("… The log of the run has all of it: l.") for each in app._notifications),
        )
        engine.tell("parked", 21.0, partition=30, namespace="shop.orders")
        await pilot.press("l")
        await until_shown(pilot, "cockpit      Before there was a run.", "20s  cockpit      PostgreSQL", "partition 30")
        await pilot.press("up")
        await until(pilot, lambda: app.screen.query_one(EventLog).chosen.endswith("The end."))
        await pilot.press("y")
        assert reason in app.clipboard
        await pilot.press("enter")
        await until_shown(pilot, "The end.", "y copy · Esc close")
