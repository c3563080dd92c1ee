"""The Run screen: what it draws, what its keys send, how it ends."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from engine.control.protocol import ErrorInfo, ProblemView, RunState, Start, Verification, WorkerState
from engine.knobs import CLUSTER_SIZE
from tests.tui.driving import on_run, process_of, screen_text, settings_with_servers, until, until_shown
from tests.tui.scripted_engine import ScriptedEngine, completed, running, table, worker
from tui.app import Cockpit
from tui.screens.dialogs import StopQuestion
from tui.screens.tune import TuneDialog
from tui.widgets.words import run_sign
from tui.widgets.workers import WorkerBars

LARGE = (120, 40)
SMALL = (80, 24)


@pytest.mark.parametrize("size", [(200, 60), LARGE, SMALL])
async def test_the_run_is_drawn_on_any_size(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_run(engine, running(rejected=14, workers=[worker(1), worker(2, state=WorkerState.STALLED, idle_s=12.0)]))
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "58.3%", "2,952,110 / 5,063,558", "41,220 rows/s", "ETA 00:51", "● running")
        await until_shown(
            pilot, "rejected 14", "waiting for PostgreSQL 61 %", "! stalled 00:12", "◆ converting", "381,250"
        )


async def test_counters_that_are_zero_are_not_shown(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "41,220 rows/s")
        assert "rejected" not in screen_text(app)
        assert "retried" not in screen_text(app)


async def test_the_reason_stands_in_the_place_of_the_eta(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(eta_s=None, eta_reason="measuring"))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "ETA – measuring")


async def test_seeding_counts_documents_towards_the_seed_count(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(state=RunState.SEEDING, phase="seeding", seeded=250_000, seed_count=1_000_000))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "25.0%", "250,000 / 1,000,000 documents", "● seeding", "Seed count")


async def test_space_and_p_pause_and_resume(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("space")
        await until_shown(pilot, "‖ paused", "ETA – paused by you")
        await pilot.press("p")
        await until_shown(pilot, "● running")
        assert [command["name"] for command in engine.commands] == ["attach", "pause", "resume"]


async def test_a_knob_shows_its_wish_before_the_engine_has_answered(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        engine.is_mute = True
        await pilot.press("plus")
        await pilot.pause(0.1)
        assert "4 → 5" in screen_text(app)


async def test_a_snapshot_of_the_last_wish_does_not_take_the_next_one(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        session = app.run_session
        assert session is not None
        session.wish(CLUSTER_SIZE, 5)
        await session.grant(CLUSTER_SIZE)
        session.wish(CLUSTER_SIZE, 6)
        session.take(session.snapshot.model_copy(update={"cluster_size": 5}))
        await session.grant(CLUSTER_SIZE)
        assert [command["value"] for command in engine.received("set")] == [5, 6]


async def test_draining_workers_are_named_beside_the_knob(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(cluster_size=6, workers_alive=8, draining=2))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "8 → 6, 2 draining")


async def test_knob_keys_send_exact_values(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        for key, shown in (
            ("minus", "- +  4 → 3"),
            ("right_square_bracket", "16,000"),
            ("left_square_bracket", "8,000"),
        ):
            await pilot.press(key)
            await until_shown(pilot, shown)
        assert [(command["knob"], command["value"]) for command in engine.received("set")] == [
            ("cluster_size", 3), ("page_size", 16_000), ("page_size", 8_000),
        ]  # fmt: skip


async def test_of_a_burst_of_presses_the_engine_gets_the_last_value(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        for _ in range(8):
            app.simulate_key("plus")
        await until(pilot, lambda: engine.snapshot.cluster_size == 12)
        session = app.run_session
        assert session is not None
        await until(pilot, lambda: session.knob_value(CLUSTER_SIZE) == 12)


async def test_a_knob_at_its_bound_says_so_and_sends_nothing(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(cluster_size=128, page_size=100_000))
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("plus")
        await until_shown(pilot, "between 1 and 128")
        await pilot.press("right_square_bracket")
        await until_shown(pilot, "between 100 and 100,000")
        assert engine.received("set") == []


async def test_a_refused_knob_returns_to_what_is_in_force(engine: ScriptedEngine) -> None:
    engine.refusals["set"] = ("knob", "PostgreSQL has 3 connections free.")
    app = on_run(engine, running())
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("plus")
        await until_shown(pilot, "PostgreSQL has 3 connections free.")
        await until(pilot, lambda: "4 → 5" not in screen_text(app))


async def test_tune_sends_what_was_changed_and_closes(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("t")
        await until_shown(pilot, "Tune the run", "1–128")
        await pilot.press(*"90", "enter")
        await until(pilot, lambda: not isinstance(app.screen, TuneDialog))
        assert engine.received("set") == [{"name": "set", "knob": "cluster_size", "value": 90}]


async def test_tune_shows_bounds_and_refusals_under_the_field_and_stays(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("t")
        await until_shown(pilot, "Tune the run")
        await pilot.press(*"500", "enter")
        await until_shown(pilot, "cluster_size must be between 1 and 128, not 500.")
        assert engine.received("set") == []
        engine.refusals["set"] = ("knob", "PostgreSQL has 3 connections free.")
        app.screen.query(Input).first().value = "9"
        await pilot.press("enter")
        await until_shown(pilot, "PostgreSQL has 3 connections free.")
        assert isinstance(app.screen, TuneDialog)


@pytest.mark.parametrize(("button", "now"), [("drain", False), ("now", True)])
async def test_the_stop_dialog_stops_as_it_is_told(engine: ScriptedEngine, button: str, now: bool) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("x")
        await until_shown(pilot, "Stop the run?", "2,952,110 rows are committed")
        await pilot.click(f"#{button}")
        await until_shown(pilot, "× cancelled")
        assert engine.received("cancel") == [{"name": "cancel", "now": now}]


@pytest.mark.parametrize("key", ["enter", "escape"])
async def test_the_safe_answer_to_stop_is_to_keep_running(engine: ScriptedEngine, key: str) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("x", key)
        await until(pilot, lambda: not isinstance(app.screen, StopQuestion))
        assert engine.received("cancel") == []


@pytest.mark.parametrize("key", ["x", "ctrl+c"])
async def test_a_second_press_means_now(engine: ScriptedEngine, key: str) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("x", key)
        await until(pilot, lambda: engine.received("cancel") == [{"name": "cancel", "now": True}])


async def test_the_stop_dialog_goes_when_there_is_nothing_left_to_stop(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("x")
        await until_shown(pilot, "Keep running")
        engine.show(completed(state=RunState.CANCELLED, exit_code=130))
        await until(pilot, lambda: not isinstance(app.screen, StopQuestion))
        await pilot.press("q")
    assert app.return_code == 130


async def test_a_late_second_press_is_no_answer(engine: ScriptedEngine) -> None:
    now = 100.0
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await app.push_screen(StopQuestion(running(), clock=lambda: now))
        now += 2.5
        await pilot.press("x")
        assert isinstance(app.screen, StopQuestion)


async def test_ctrl_c_hints_first_and_then_opens_the_stop_dialog(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("ctrl+c")
        await until_shown(pilot, "x stops the run, q leaves.")
        await pilot.press("ctrl+c")
        await until(pilot, lambda: isinstance(app.screen, StopQuestion))
        assert engine.received("cancel") == []


async def test_q_while_running_asks_and_leaving_detaches_with_exit_code_0(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("q")
        await until_shown(pilot, "A run is going on", "Leave it running", "mongopg-tui attach")
        await pilot.click("#leave")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 0
    assert engine.received("detach")
    assert "goes on" in app.leaving.farewell


async def test_a_run_that_ends_while_leaving_is_asked_about_leaves_with_its_exit_code(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("q")
        await until_shown(pilot, "A run is going on")
        engine.show(completed(exit_code=4))
        await until_shown(pilot, "✓ verified")
        await pilot.click("#leave")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 4


@pytest.mark.parametrize(
    ("state", "verification", "shown"),
    [
        (RunState.FINISHING, "running", "◐ verifying"),
        (RunState.FINISHING, "verified", "◐ finishing"),
        (RunState.COMPLETED, "verified", "✓ verified"),
        (RunState.COMPLETED, "none", "✓ completed"),
        (RunState.FAILED, "mismatch", "! failed"),
    ],
)
def test_a_run_is_called_verified_only_when_it_is_over(state: RunState, verification: str, shown: str) -> None:
    snapshot = running(state=state, verification=Verification(verification))
    assert str(run_sign(snapshot)) == shown


async def test_stop_on_quit_leaves_when_the_run_has_stopped(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("q")
        await until_shown(pilot, "A run is going on")
        await pilot.click("#stop")
        await until_shown(pilot, "Stop the run?")
        await pilot.click("#drain")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 130
    assert not engine.received("detach")


async def test_q_after_the_end_leaves_with_the_exit_code_of_the_run(engine: ScriptedEngine) -> None:
    app = on_run(engine, completed(exit_code=4, verification="mismatch"))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "! mismatch")
        await pilot.press("q")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 4
    assert "853,224 read = 853,224 written + 0 rejected" in app.leaving.farewell


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
            pilot, "✓ verified", "853,224 read = 853,224 written + 0 rejected", "public.customers", "812,004"
        )
        await until_shown(pilot, "✓ agrees", "! differs", "1 goes to Setup for another run, q leaves.")


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
        await pilot.press("plus", "space", "x")
        await pilot.press("q")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 1
    assert "mongopg-tui run --resume 20261123-1402-k3f9" in app.leaving.farewell


async def test_a_broken_connection_to_a_living_engine_is_made_again(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        engine.drop_clients()
        await until(pilot, lambda: len(engine.received("attach")) == 2)
        engine.show(written=3_000_000)
        await until_shown(pilot, "3,000,000 / 5,063,558", "● running")


async def test_a_frozen_display_keeps_its_numbers_while_the_run_goes_on(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "2,952,110 /")
        await pilot.press("z")
        await until_shown(pilot, "Display frozen, the run continues.")
        engine.show(written=3_000_000)
        session = app.run_session
        assert session is not None
        await until(pilot, lambda: session.snapshot.written == 3_000_000)
        await pilot.pause(0.5)
        assert "2,952,110 /" in screen_text(app)
        await pilot.press("z")
        await until_shown(pilot, "3,000,000 /")


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_the_log_pane_shows_the_events(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "● running")
        engine.tell("knob", 20.0, knob="cluster_size", old=2, value=4, by="ctl")
        engine.tell("slice", 20.5, task_id=1, read=5)
        await pilot.press("l")
        await until_shown(pilot, "00:20  knob", "workers 2 → 4, by ctl", "1 ◆ converting", "8,000")
        engine.tell("worker", 21.0, id=3, pid=77, what="died", exit=-9)
        await until_shown(pilot, "3 (pid 77) died, exit -9")
        assert "slice" not in screen_text(app)
        await pilot.press("l")
        await until(pilot, lambda: "died, exit" not in screen_text(app))


async def test_knob_changes_are_marked_in_the_chart(engine: ScriptedEngine) -> None:
    engine.samples = [(float(second), 40_000.0) for second in range(1, 60)]
    app = on_run(engine, running(elapsed=60.0))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "41.2k┤", "0┼")
        engine.tell("knob", 30.0, knob="cluster_size", old=2, value=4)
        await until_shown(pilot, "▲ workers 4")


async def test_128_workers_scroll_and_the_hidden_ones_are_summed(engine: ScriptedEngine) -> None:
    workers = [worker(number, rows_per_s=100.0, written=1_000) for number in range(1, 129)]
    app = on_run(engine, running(workers=workers, workers_alive=128, cluster_size=128))
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, " more: ")
        bars = app.screen.query_one(WorkerBars)
        n_hidden = 128 - bars.scrollable_content_region.height
        assert f"… {n_hidden} more: {n_hidden * 100:,} rows/s · {n_hidden * 1_000:,} rows" in screen_text(app)
        await pilot.press("end")
        await until_shown(pilot, "128 ↑ writing", f"… {n_hidden} more")
        assert "  1 ◆ converting" not in screen_text(app)


async def test_s_sorts_by_rate_then_rows(engine: ScriptedEngine) -> None:
    rates = [100.0, 300.0, 200.0]
    workers = [worker(number, rows_per_s=rate, written=1_000 * number) for number, rate in enumerate(rates, 1)]
    app = on_run(engine, running(workers=workers))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "sorted by number")
        bars = app.screen.query_one(WorkerBars)
        for expected in ([2, 3, 1], [3, 2, 1]):
            await pilot.press("s")
            assert [row.id for row in bars.rows] == expected


async def test_problems_are_counted_and_explained(engine: ScriptedEngine) -> None:
    problem = ProblemView(
        code="nul", message="a NUL character", count=14, collection="shop.orders", advice="Strip them."
    )
    app = on_run(engine, running(problems=[problem]))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "Problems (1)", "14  shop.orders  nul: a NUL character")
        await pilot.press("e")
        await until_shown(pilot, "Strip them.")


@pytest.mark.parametrize("size", [(59, 30), (100, 13)])
async def test_a_tiny_screen_shows_one_line(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "58.3%  41,220 rows/s  ETA 00:51", "enlarge")
        assert "Throughput" not in screen_text(app)
        await pilot.resize_terminal(*LARGE)
        await until_shown(pilot, "Throughput", "Workers 4")


async def test_a_run_that_is_refused_at_the_start_leaves_with_its_exit_code(engine: ScriptedEngine) -> None:
    engine.refusals["start"] = ("table_exists", "The table public.orders exists.")
    app = Cockpit(settings_with_servers(), {}, process=process_of(engine), start=Start())
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: app._exit)
    assert app.return_code == 2
    assert app.leaving.farewell == "The table public.orders exists.\n"


async def test_a_start_command_opens_the_run_screen_and_owns_the_engine(engine: ScriptedEngine) -> None:
    app = Cockpit(settings_with_servers(), {}, process=process_of(engine), start=Start(seed=True, migrate=False))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running", "Workers 4")
        assert engine.received("attach") == [{"name": "attach", "owner": True, "on_disconnect": "cancel"}]


async def test_enter_shows_each_worker_in_full(engine: ScriptedEngine) -> None:
    workers = [
        worker(1, reading=0.2, converting=0.1, writing=0.7, idle_s=0.0),
        worker(2, state=WorkerState.STALLED, idle_s=12.0, rows_per_s=0.0),
    ]
    app = on_run(engine, running(workers=workers))
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "! stalled 00:12")
        await pilot.press("enter")
        await until_shown(pilot, "Workers now", "pid 4001  shop.orders partition 101")
        await until_shown(pilot, "reading 20%, converting 10%, writing 70%", "last progress 00:12 ago")
