"""What Setup starts: a run as its fields say, a seed, the demo; one at a time, in an engine that does for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Button

from engine.config import Settings, merged
from engine.protocol import RunState, Snapshot, Start, TargetTable
from engine.service.launching import EngineProcess
from tests.tui.driving import (
    SOURCE_URI,
    TARGET_URI,
    click,
    confirm_start,
    edit,
    input_in,
    on_run,
    on_setup,
    process_of,
    screen_text,
    settings_with_servers,
    until,
    until_shown,
)
from tests.tui.scripted_answers import found_tables
from tests.tui.scripted_engine import ScriptedEngine, completed, running
from tui.cockpit.app import Cockpit
from tui.cockpit.engines import Launching
from tui.cockpit.screens.setup import SetupScreen

LARGE = (120, 40)
SMALL = (80, 24)
SIZES = [LARGE, SMALL]


async def test_start_says_what_will_happen_and_sends_what_the_fields_say(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        input_in(app, "#knob-cluster_size").value = "12"
        input_in(app, "#knob-throttle").value = "5,000"
        app.screen.query_one("#mode-choice").focus()
        await pilot.press("right")
        await until_shown(pilot, "(•) append", "rows are added")
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?", "12 workers · page size 8,000 · throttle 5,000 rows/s")
        await until_shown(pilot, "mode append: rows are added", "db1:27017/shop → pg1:5432/shop", "public.orders")
        await click(pilot, "#go")
        await until_shown(pilot, "● running")
        sent = engine.received("start")[0]
        assert (sent["seed"], sent["migrate"], sent["resume"]) == (False, True, None)
        assert sent["settings"]["run"]["cluster_size"] == 12
        assert sent["settings"]["run"]["throttle"] == 5_000
        assert sent["settings"]["run"]["mode"] == "append"
        assert sent["settings"]["source"]["uri"] == SOURCE_URI


async def test_digits_typed_on_a_button_of_the_knobs_go_to_the_throttle(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        input_in(app, "#knob-throttle").value = "5,000"
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?", "throttle 5,000 rows/s")
        await pilot.press("t")
        await until_shown(pilot, "Knobs of the run", "5,000")
        dialog = app.screen
        await pilot.press("tab", "tab")
        await until(pilot, lambda: isinstance(dialog.focused, Button))
        await pilot.press(*"4100", "enter")
        await until_shown(pilot, "Start this run?", "throttle 4,100 rows/s")


async def test_a_start_from_within_a_field_means_the_uri_that_stands_there(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        edit(app, "#target", "postgresql://mig:***@pg2:5432/shop")
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?", "pg2:5432/shop")
        await click(pilot, "#go")
        await until(pilot, lambda: engine.received("start"))
        assert engine.received("start")[0]["settings"]["target"]["uri"] == TARGET_URI.replace("pg1", "pg2")


async def test_another_source_is_started_from_once_its_collections_are_shown(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        n_lists = len(engine.received("collections"))
        edit(app, "#source", "mongodb://app:***@db2:27017/shop")
        engine.is_mute = True
        await pilot.press("f9")
        await until_shown(pilot, "Not yet", "The source is another one now")
        await pilot.press("escape", "ctrl+p", *"setup.seed")
        await until_shown(pilot, "Seed…")
        await pilot.press("enter")
        await until_shown(pilot, "Seed the source?", "db2:27017")
        await pilot.press("escape")
        engine.is_mute = False
        await pilot.press("f5")
        await until(pilot, lambda: len(engine.received("collections")) > n_lists)
        await until_shown(pilot, "3 of 4 selected", "connected  12 ms")
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?", "db2:27017/shop")


@pytest.mark.parametrize("is_chosen", [False, True], ids=["by its key", "as a button"])
async def test_a_run_is_started_to_follow_its_source(engine: ScriptedEngine, *, is_chosen: bool) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?", "Start and follow (f)")
        await until(pilot, lambda: app.focused is app.screen.query_one("#go"))
        if is_chosen:
            await pilot.press("right")
            await until(pilot, lambda: app.focused is app.screen.query_one("#follow"))
        await pilot.press("enter" if is_chosen else "f")
        await until(pilot, lambda: engine.received("start"))
        assert engine.received("start")[0]["follow"] is True


async def test_a_run_that_appends_cannot_follow(engine: ScriptedEngine) -> None:
    app = on_setup(engine, merged(settings_with_servers(), {"run": {"mode": "append"}}))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?")
        assert not app.screen.query("#follow")
        await pilot.press("f")
        await pilot.pause()
        assert not engine.received("start")


@pytest.mark.parametrize("keys", [["left", "enter"], ["escape"]])
async def test_the_safe_answer_starts_nothing(engine: ScriptedEngine, keys: list[str]) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?")
        await pilot.press(*keys)
        await until(pilot, lambda: isinstance(app.screen, SetupScreen))
        assert engine.received("start") == []


async def test_what_the_engine_refuses_is_said_and_setup_stays(engine: ScriptedEngine) -> None:
    engine.refusals["start"] = ("table_exists", "The table public.orders exists.")
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await confirm_start(pilot)
        await until_shown(pilot, "The run was not started", "The table public.orders exists.")
        await pilot.press("enter")
        assert isinstance(app.screen, SetupScreen)


async def test_a_second_start_is_refused_while_the_first_is_on_its_way_and_while_it_goes_on(
    engine: ScriptedEngine,
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        engine.is_slow = True
        await confirm_start(pilot)
        await until_shown(pilot, "◌ starting…")
        assert "f9" not in screen_text(app)
        app.orders.start(settings_with_servers(), Start())
        await until_shown(pilot, "The run was not started", "Another run is being started")
        await pilot.press("escape")
        engine.is_slow = False
        await until_shown(pilot, "● running")
        app.orders.start(settings_with_servers(), Start())
        await until_shown(pilot, "The run was not started", "A run is in progress")
        assert len(engine.received("start")) == 1


@pytest.fixture
def launched() -> list[Settings]:
    """What the cockpit launched engines with."""
    return []


@pytest.fixture
def second() -> Iterator[ScriptedEngine]:
    """The engine that the cockpit launches itself, where the first one does not do."""
    with ScriptedEngine() as scripted:
        yield scripted


@pytest.fixture
def launching(second: ScriptedEngine, launched: list[Settings]) -> Launching:
    """Launches the second engine; there is no third."""

    def launch(settings: Settings) -> EngineProcess:
        assert not launched, "a third engine is launched"
        launched.append(settings)
        process: EngineProcess = process_of(second)
        return process

    return launch


async def start_a_run(pilot: Pilot[Any]) -> None:
    """From Setup, once its collections are listed, until the run is shown."""
    await until_shown(pilot, "3 of 4 selected")
    await confirm_start(pilot)
    await until_shown(pilot, "● running")


async def test_without_servers_the_demo_is_offered_and_runs_on_embedded_ones(
    engine: ScriptedEngine, second: ScriptedEngine, launching: Launching, launched: list[Settings]
) -> None:
    app = on_setup(engine, Settings(), launching=launching)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "Demo servers…", "Enter both URIs, or start demo servers.")
        assert app.screen.query_one("#start", Button).disabled
        assert engine.received("inspect") == []
        await pilot.press("f7")
        await until_shown(pilot, "Run the demo?", "Start MongoDB and PostgreSQL on this machine")
        await click(pilot, "#go")
        await until_shown(pilot, "● running")
        sent = second.received("start")[0]
        assert (sent["seed"], sent["migrate"]) == (True, True)
        assert second.received("attach")[0]["on_disconnect"] == "cancel"
        assert launched[0].demo.embedded


async def test_seed_asks_and_seeds_only(engine: ScriptedEngine, second: ScriptedEngine, launching: Launching) -> None:
    app = on_setup(engine, launching=launching)
    second.on_start = lambda scripted: scripted.show(running(state=RunState.SEEDING, seeded=5, seed_count=10))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f8", "ctrl+p", *"setup.seed")
        await until_shown(pilot, "Seed…")
        await pilot.press("enter")
        await until_shown(pilot, "Seed the source?", "up to 1,000,000 synthetic users", "Nothing is deleted")
        await click(pilot, "#go")
        await until_shown(pilot, "● seeding")
        sent = second.received("start")[0]
        assert (sent["seed"], sent["migrate"]) == (True, False)


async def test_while_a_run_is_on_setup_starts_no_other_and_after_it_does(
    engine: ScriptedEngine, second: ScriptedEngine, launching: Launching
) -> None:
    app = on_setup(engine, launching=launching)
    async with app.run_test(size=LARGE) as pilot:
        await start_a_run(pilot)
        await pilot.press("1")
        await until_shown(pilot, "A run is in progress; key 3 shows it.")
        assert app.screen.query_one("#start", Button).disabled
        await pilot.press("f9")
        assert len(engine.received("start")) == 1
        engine.show(completed())
        await until(pilot, lambda: not app.screen.query_one("#start", Button).disabled)
        await until(pilot, lambda: second.received("inspect"))
        await pilot.press("3")
        await until_shown(pilot, "Report", "✓ counts match")


async def test_the_plan_is_checked_again_after_a_run_whose_tables_are_there_now(
    engine: ScriptedEngine, second: ScriptedEngine, launching: Launching
) -> None:
    app = on_setup(engine, launching=launching)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("2")
        await until_shown(pilot, "✓ target shop: 2 new tables")
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?", "2 new")
        await pilot.press("enter")
        await until_shown(pilot, "● running")
        there = {"state": "exists", "rows": 3, "fate": "stops", "status": "stop", "code": "table_exists"}
        tables = [TargetTable.model_validate(there | {"namespace": f"shop.{each}", "table": each}) for each in "ab"]
        engine.preflight = second.preflight = found_tables(*tables)
        engine.show(completed())
        await until_shown(pilot, "✓ counts match")
        await pilot.press("2")
        await until_shown(pilot, "× target shop: 2 tables would stop the run")


def before_a_run(engine: ScriptedEngine, launching: Launching) -> Cockpit:
    """A cockpit on Setup, whose engine runs what it is told to start."""
    engine.on_start = lambda scripted: scripted.show(running(tables=completed().tables))
    return on_setup(engine, launching=launching)


async def test_a_cancelled_run_is_resumed_in_a_new_engine(
    engine: ScriptedEngine, second: ScriptedEngine, launching: Launching
) -> None:
    app = before_a_run(engine, launching)
    async with app.run_test(size=LARGE) as pilot:
        await start_a_run(pilot)
        await pilot.press("x")
        await until_shown(pilot, "Stop the run?")
        await click(pilot, "#drain")
        await until_shown(pilot, "× stopped", "r: resume")
        await pilot.press("r")
        await until_shown(pilot, "● running")
        assert second.received("start")[0]["resume"] == engine.snapshot.run_id


async def test_resuming_is_seen_at_once(engine: ScriptedEngine, second: ScriptedEngine, launching: Launching) -> None:
    app = before_a_run(engine, launching)
    async with app.run_test(size=LARGE) as pilot:
        await start_a_run(pilot)
        engine.show(completed(state=RunState.CANCELLED, phase="cancelled", exit_code=130))
        await until_shown(pilot, "× stopped", "r Resume run")
        second.held = {"start"}
        await pilot.press("r")
        await until_shown(pilot, "◌ resuming…", "Resuming: an engine is on its way…")
        assert "r Resume run" not in screen_text(app), "a second press would be refused"
        second.let_go()
        await until_shown(pilot, "● running")
        assert "resuming" not in screen_text(app)


def stopping(**changes: Any) -> Snapshot:
    """Its workers have left, and its end is not written yet."""
    facts: dict[str, Any] = {
        "state": RunState.CANCELLING, "phase": "cancelling: workers end their pages", "eta_s": None,
        "eta_reason": "cancelling: workers end their pages", "workers": [], "workers_alive": 0, "tables": completed().tables,
    }  # fmt: skip
    return running(**(facts | changes))


@pytest.mark.parametrize("size", SIZES)
async def test_a_run_without_workers_that_is_being_stopped_says_what_it_still_does(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_run(engine, stopping(workers_alive=2))
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "× stopping", "stopping: workers end their pages", "ETA –")
        engine.show(stopping())
        await until_shown(pilot, "stopping: reading the last counts from the ledger", "ETA –")
        assert "cancelling" not in screen_text(app)


async def test_r_while_a_run_is_being_stopped_resumes_it_once_it_has_stopped(
    engine: ScriptedEngine, second: ScriptedEngine, launching: Launching
) -> None:
    app = before_a_run(engine, launching)
    async with app.run_test(size=LARGE) as pilot:
        await start_a_run(pilot)
        engine.show(stopping())
        await until_shown(pilot, "× stopping", "r Resume run")
        await pilot.press("r")
        await until_shown(pilot, "Resuming as soon as the run has stopped. x: leave it stopped")
        assert not second.received("start")
        engine.show(completed(state=RunState.CANCELLED, phase="cancelled", exit_code=130))
        await until_shown(pilot, "● running")
        assert second.received("start")[0]["resume"] == engine.snapshot.run_id
        assert "as soon as" not in screen_text(app)


@pytest.mark.parametrize("end", [RunState.CANCELLED, RunState.FAILED])
async def test_a_run_that_is_to_stay_stopped_or_has_failed_is_not_resumed_by_itself(
    engine: ScriptedEngine, second: ScriptedEngine, launching: Launching, end: RunState
) -> None:
    app = before_a_run(engine, launching)
    async with app.run_test(size=LARGE) as pilot:
        await start_a_run(pilot)
        engine.show(stopping())
        await until_shown(pilot, "r Resume run")
        await pilot.press("r")
        await until_shown(pilot, "Resuming as soon as the run has stopped.")
        if end is RunState.CANCELLED:
            await pilot.press("x")
            await until_shown(pilot, "Stop the run?")
            await pilot.press("escape")
            await until(pilot, lambda: "as soon as the run has stopped" not in screen_text(app))
        engine.show(completed(state=end, phase=end.value, exit_code=130))
        await until_shown(pilot, "× stopped" if end is RunState.CANCELLED else "! failed", "r: resume")
        assert not second.received("start")


async def test_a_run_whose_engine_dies_is_resumed_in_a_new_one(
    engine: ScriptedEngine, second: ScriptedEngine, launching: Launching
) -> None:
    app = before_a_run(engine, launching)
    async with app.run_test(size=SMALL) as pilot:
        await start_a_run(pilot)
        engine.die()
        await until_shown(pilot, "! engine lost", "r Resume run", "r: resume")
        await pilot.press("r")
        await until_shown(pilot, "● running")
        assert second.received("start")[0]["resume"] == engine.snapshot.run_id
