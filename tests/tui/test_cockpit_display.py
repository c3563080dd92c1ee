"""Looking closer at a run: workers, problems, events, order, filter, a frozen display."""

from __future__ import annotations

import time

import pytest

from engine.protocol import ProblemView, RangeView, WorkerState
from tests.tui.driving import on_run, screen_text, session_of, until, until_shown
from tests.tui.scripted_engine import RUN_ID, ScriptedEngine, completed, running, table, worker
from tui.cockpit.screens.run import RunScreen
from tui.cockpit.widgets import bar_list
from tui.cockpit.widgets.event_log import EventLog
from tui.cockpit.widgets.filter import FilterField
from tui.cockpit.widgets.progress import CollectionBars
from tui.cockpit.widgets.workers import WorkerBars, WorkersPanel, age_words

LARGE = (120, 40)
SMALL = (80, 24)
NUL = ProblemView(
    code="nul", message="a NUL character", count=14, collection="shop.orders", advice="Strip them.", last_at=62.0
)
DEADLOCK = ProblemView(code="40P01", message="deadlock detected", count=1, collection="shop.orders")


async def test_a_frozen_display_keeps_its_numbers_while_the_run_goes_on(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "2,952,110 /")
        await pilot.press("z")
        await until_shown(pilot, "Display frozen (run continues).")
        engine.show(written=3_000_000)
        session = session_of(app)
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
        engine.tell("slice", 20.5, task_id=1, read=5, written=5)
        await pilot.press("l")
        await until_shown(pilot, "20s  knob", "workers 2 → 4, by ctl", "1 ◆ converting", "8,000")
        engine.tell("worker", 21.0, id=3, pid=77, what="died", exit=-9)
        await until_shown(pilot, "3 (pid 77) died with exit code -9")
        assert "slice" not in screen_text(app)
        await pilot.press("l")
        await until(pilot, lambda: "died with" not in screen_text(app))


async def test_knob_changes_are_marked_in_the_chart(engine: ScriptedEngine) -> None:
    engine.samples = [(float(second), 40_000.0) for second in range(1, 60)]
    app = on_run(engine, running(elapsed=60.0))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "41.2k┤", "0┼")
        engine.tell("knob", 30.0, knob="cluster_size", old=2, value=4)
        await until_shown(pilot, "▲ workers 4")


async def test_the_newest_change_is_marked_at_the_end_of_the_axis_too(engine: ScriptedEngine) -> None:
    engine.samples = [(float(second), 40_000.0) for second in range(1, 100)]
    app = on_run(engine, running(elapsed=100.0))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "0┼", "1m 40s")
        engine.tell("knob", 20.0, knob="page_size", old=4_000, value=8_000)
        engine.tell("knob", 106.0, knob="cluster_size", old=2, value=4)
        await until_shown(pilot, "▲ page size 8,000", " workers 4 ▲")
        assert "1m 40s ─" not in screen_text(app)
        engine.tell("knob", 102.5, knob="cluster_size", old=4, value=5)
        await until(pilot, lambda: screen_text(app).count("▲") == 3)


async def test_128_workers_scroll_and_the_hidden_ones_are_summed(engine: ScriptedEngine) -> None:
    workers = [worker(number, rows_per_s=100.0, written=1_000) for number in range(1, 129)]
    app = on_run(engine, running(workers=workers, workers_alive=128, cluster_size=128))
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, " more: ")
        bars = app.screen.query_one(WorkerBars)

        def sums_the_hidden() -> bool:
            n_hidden = 128 - bars.scrollable_content_region.height
            return f"… {n_hidden} more: {n_hidden * 100:,} rows/s · {n_hidden * 1_000:,} rows" in screen_text(app)

        await until(pilot, sums_the_hidden)
        n_hidden = 128 - bars.scrollable_content_region.height
        await pilot.press("end")
        await until_shown(pilot, "128›↑ writing", f"… {n_hidden} more")
        assert "  1 ◆ converting" not in screen_text(app)


async def test_s_sorts_by_rate_then_rows(engine: ScriptedEngine) -> None:
    rates = [100.0, 300.0, 200.0]
    workers = [worker(number, rows_per_s=rate, written=1_000 * number) for number, rate in enumerate(rates, 1)]
    app = on_run(engine, running(workers=workers))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "sort: #")
        bars = app.screen.query_one(WorkerBars)
        for expected in ([2, 3, 1], [3, 2, 1]):
            await pilot.press("s")
            assert [row.id for row in bars.worker_rows] == expected


async def test_enter_shows_the_worker_under_the_cursor_as_it_goes_on(engine: ScriptedEngine) -> None:
    busy = worker(1, reading=0.2, converting=0.1, writing=0.7, range=RangeView(done=410, total=1_000, is_exact=True))
    stalled = worker(2, state=WorkerState.STALLED, idle_s=12.0, rows_per_s=0.0, rejected=3)
    app = on_run(engine, running(workers=[busy, stalled]))
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "! stalled 12s", " 410/1k", "2k/~10k")
        await pilot.press("enter")
        await until_shown(pilot, "Worker 1", "pid 4001", "shop.orders", "410 of 1,000 documents")
        await until_shown(pilot, "20% of its time", "10% of its time", "70% of its time")
        engine.show(workers=[busy.model_copy(update={"writing": 0.6}), stalled])
        await until_shown(pilot, "60% of its time")
        await pilot.press("down")
        await until_shown(
            pilot,
            "Worker 2",
            "! stalled",
            "3 rejected",
            "12s ago",
            "makes no progress",
            "2,000 of ~10,000 documents",
        )
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        assert "2›! stalled" in screen_text(app)


@pytest.mark.parametrize("size", [LARGE, (160, 40)])
async def test_on_a_wide_screen_each_line_says_where_the_time_goes_and_how_old_the_progress_is(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    workers = [worker(number, reading=0.12, converting=0.3, writing=0.58, idle_s=3.4) for number in range(1, 41)]
    app = on_run(engine, running(workers=workers, workers_alive=40))
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "speed: read convert write", "trend", "age", "  3s", "r━", "c━", "w━")
        await pilot.resize_terminal(110, 40)
        await until(pilot, lambda: "  3s" not in screen_text(app))


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.0, "0s"), (59.9, "59s"), (60.0, "1m"), (3_599.0, "59m"), (7_200.0, "2h"), (3e5, "3d")]
)
def test_an_age_takes_three_cells(seconds: float, words: str) -> None:
    assert age_words(seconds) == words


async def test_the_dialog_stays_with_its_worker_while_the_order_changes(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bar_list, "STILL_S", 0.0)
    workers = [worker(number, rows_per_s=1_000.0 * number) for number in range(1, 4)]
    app = on_run(engine, running(workers=workers))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "1›◆ converting")
        await pilot.press("s", "home", "enter")
        await until_shown(pilot, "Worker 3", "pid 4003")
        slower = [*workers[:2], workers[2].model_copy(update={"rows_per_s": 10.0})]
        engine.show(workers=slower, elapsed=90.0)
        bars = app.screen_stack[0].query_one(WorkerBars)
        await until(pilot, lambda: [row.id for row in bars.worker_rows] == [2, 1, 3])
        await pilot.pause(0.5)
        assert "pid 4003" in screen_text(app)
        await pilot.press("up")
        await until_shown(pilot, "Worker 1", "pid 4001")
        engine.show(workers=workers[1:], workers_alive=2)
        await until_shown(pilot, "Worker 1 has ended.")
        await pilot.press("escape")
        await until_shown(pilot, "3›")


async def test_a_worker_that_ends_leaves_the_cursor_on_one_that_lives(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "1›◆ converting")
        await pilot.press("end")
        await until_shown(pilot, "4›◆ converting")
        engine.show(workers=[worker(1), worker(2)], workers_alive=2)
        await until_shown(pilot, "2›↑ writing")
        while "1›◆ converting" not in screen_text(app):  # the first click may meet the screen as it was
            await pilot.click(WorkerBars, offset=(20, 0))
            await pilot.pause(0.05)
        engine.show(workers=[], workers_alive=0)
        await until(pilot, lambda: not app.screen.query_one(WorkerBars).rows)
        await pilot.press("enter")
        await until_shown(pilot, "No worker is alive now.")


async def test_a_filter_leaves_the_workers_that_have_it_as_it_is_typed(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "Workers 4")
        await pilot.press("slash", *"ord")
        await until_shown(pilot, 'Workers 2/4 matching "ord"')
        bars = app.screen.query_one(WorkerBars)
        assert [row.id for row in bars.worker_rows] == [1, 3]
        await pilot.press("enter")
        assert app.focused is bars
        await pilot.press("slash", "home", "exclamation_mark")
        await until(pilot, lambda: [row.id for row in bars.worker_rows] == [2, 4])
        await pilot.press("escape")
        await until(pilot, lambda: [row.id for row in bars.worker_rows] == [1, 2, 3, 4])
        await until(pilot, lambda: "matching" not in screen_text(app))
        assert not app.screen.query_one(FilterField).display


async def test_a_filter_is_seen_also_where_another_list_had_the_room(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(tables=[table(f"orders_{number}", 1_000, state="copying") for number in range(30)]))
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: isinstance(app.focused, CollectionBars))
        assert not app.screen.query_one(WorkersPanel).display
        await pilot.press("slash")
        await until_shown(pilot, "type to filter")
        await pilot.press(*"ord")
        await until(pilot, lambda: [row.id for row in app.screen.query_one(WorkerBars).worker_rows] == [1, 3])
        await until_shown(pilot, "1 ◆ converting", "3 ↓ reading")


async def test_capital_s_turns_the_order_round(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "sort: # ·")
        bars = app.screen.query_one(WorkerBars)
        await pilot.press("S")
        await until_shown(pilot, "sort: #, reversed")
        assert [row.id for row in bars.worker_rows] == [4, 3, 2, 1]
        await pilot.press("s")
        rates = [row.rows_per_s for row in bars.worker_rows]
        assert rates == sorted(rates)


async def test_a_problem_opens_with_its_documents_and_what_to_do(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(problems=[DEADLOCK, NUL]))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "Problems (2)")
        await pilot.press("e")
        await until_shown(pilot, "Enter details", "Strip them.", "40P01")
        await pilot.press("enter")
        await until_shown(pilot, "nul in shop.orders: 14 times, last at 1m 02s", "a NUL character", "Strip them.")
        await until_shown(pilot, "14 in field name", '_id {"$oid":"64f0c1"}', '_id "[b]two[/b]"', "… and 12 more")
        assert "utf8" not in screen_text(app)
        assert engine.received("rejects") == [{"name": "rejects", "run": RUN_ID, "samples": 10}]
        await pilot.press("y")
        assert app.clipboard.startswith("nul in shop.orders: 14 times")
        assert '"[b]two[/b]"' in app.clipboard
        await pilot.press("escape", "down", "y")
        assert app.clipboard.startswith("40P01 in shop.orders: once, last at 0s")
        await pilot.press("enter")
        await until_shown(pilot, "No documents were rejected.")


async def test_the_list_of_problems_grows_under_the_cursor(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(problems=[DEADLOCK]))
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "● running", "! problems 1 (e)")
        await pilot.press("e")
        await until_shown(pilot, "40P01")
        engine.show(problems=[DEADLOCK, NUL])
        await until_shown(pilot, "nul: a NUL character")
        await pilot.press("y")
        assert app.clipboard.startswith("40P01")


async def test_documents_that_cannot_be_named_leave_the_rest_of_a_problem(engine: ScriptedEngine) -> None:
    engine.refusals["rejects"] = ("connect", "PostgreSQL at pg1 went away.")
    app = on_run(engine, running(problems=[NUL]))
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("e")
        await until_shown(pilot, "Strip them.")
        await pilot.press("enter")
        await until_shown(pilot, "Its documents are not known: PostgreSQL at pg1 went away.", "Strip them.")


async def test_y_copies_what_is_under_the_cursor_and_says_so(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    long = "COPY orders, line 7: " + "x" * 900 + " the end"
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("down", "y")
        await until_shown(pilot, "Copied the worker: state")
        assert "pid 4002" in app.clipboard
        engine.tell("problem", 20.0, code="22021", message=long)
        await pilot.press("l")
        await until_shown(pilot, "22021: COPY orders")
        await pilot.press("y")
        await until_shown(pilot, "Copied the event: 20s")
        assert long in app.clipboard
        await pilot.press("enter")
        await until_shown(pilot, "the end", "y copy · Esc close")
        await pilot.press("escape")
        engine.show(completed())
        await until_shown(pilot, "✓ counts match")
        await pilot.press("l", "y")
        await until_shown(pilot, "Copied the report")
        assert "853,224 read = 853,224 written + 0 rejected" in app.clipboard


async def test_the_log_follows_what_comes_unless_the_cursor_is_elsewhere(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        for number in range(30):
            engine.tell("parked", float(number), partition=number, namespace="shop.orders")
        await pilot.press("l")
        await until_shown(pilot, "partition 29 of")
        engine.tell("parked", 30.0, partition=30, namespace="shop.orders")
        await until_shown(pilot, "partition 30 of")
        await pilot.press("home")
        await until_shown(pilot, "partition 0 of")
        engine.tell("parked", 31.0, partition=31, namespace="shop.orders")
        log = app.screen.query_one(EventLog)
        await until(pilot, lambda: len(log.lines) == 32)
        assert log.chosen.endswith("partition 0 of shop.orders is parked")


async def test_the_clock_gives_way_to_a_key_once_and_not_to_a_key_that_is_held_down(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "2,952,110 /")
        screen = app.screen
        assert isinstance(screen, RunScreen)
        drawn: list[bool] = []
        monkeypatch.setattr(screen, "draw", lambda *, force=False: drawn.append(force))
        app.last_input_at = float("-inf")
        screen._tick()
        assert len(drawn) == 1
        for expected in (1, 2, 2, 3):
            app.last_input_at = time.monotonic()
            screen._tick()
            assert len(drawn) == expected
