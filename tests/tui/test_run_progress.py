"""Progress by collection on the Run screen: sorted by what needs attention, drilled into, switched to, readable with many."""

from __future__ import annotations

import pytest

from engine.protocol import ProblemView, RangeView, TableProgress, TableState, WorkerState
from tests.tui.driving import on_run, screen_text, until, until_shown
from tests.tui.scripted_engine import ScriptedEngine, completed, running, table, worker
from tui.cockpit.dialogs.worker import range_line
from tui.cockpit.widgets import bar_list
from tui.cockpit.widgets.bars import parts, sparkline
from tui.cockpit.widgets.chart import ThroughputChart
from tui.cockpit.widgets.progress import CollectionBars, rank
from tui.cockpit.widgets.report import tables
from tui.cockpit.widgets.total import eta_words, place_line, rates_line
from tui.cockpit.widgets.workers import WorkerBars, range_words

LARGE, SMALL = (120, 40), (80, 24)
NOON = 1_764_504_000.0
"""12:00 UTC."""


def progress(name: str, state: TableState, rows: int = 10_000, done: int = 5_000, **changes: object) -> TableProgress:
    """A table on its way."""
    facts: dict[str, object] = {
        "read": done, "written": done, "source_count": -1, "target_count": -1, "ok": None, "state": state.value,
    }  # fmt: skip
    return table(name, rows, **(facts | changes))


FEW = [
    progress("customers", TableState.DONE, done=10_000),
    progress("orders", TableState.COPYING, rows_per_s=2_500.0, eta_s=2.0, workers=2),
    progress("products", TableState.WAITING, done=0),
    progress("events", TableState.DONE, done=10_000, written=9_868, rejected=132),
    progress("legacy", TableState.PARKED),
    progress("users", TableState.BUILDING_KEY, done=10_000),
]


def lines_of(screen: str, *names: str) -> list[int]:
    """In which line of the screen each name is first."""
    lines = screen.splitlines()
    return [next(at for at, line in enumerate(lines) if name in line) for name in names]


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_what_needs_attention_is_on_top(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_run(engine, running(tables=FEW, rejected=132, workers=[]))
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "● running", "! parked", "132", "● copying", "◐ building key", "· waiting", "✓ done")
        places = lines_of(screen_text(app), "legacy", "events", "orders", "users", "products", "customers")
        assert places == sorted(places)
        line = screen_text(app).splitlines()[places[2]]
        assert "50.0%" in line
        assert "2s" in line


def test_rejects_put_a_collection_above_all_that_are_well() -> None:
    assert [rank(each) for each in FEW] == [6, 2, 4, 1, 0, 3]


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_enter_drills_into_the_workers_of_a_collection_and_esc_leads_back(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_run(
        engine, running(tables=[progress("orders", TableState.COPYING), progress("customers", TableState.COPYING)])
    )
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: isinstance(app.focused, CollectionBars))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.focused, WorkerBars))
        bars = app.screen.query_one(WorkerBars)
        await until(pilot, lambda: {each.collection for each in bars.worker_rows} == {"shop.orders"})
        await pilot.press("enter")
        await until_shown(pilot, "Worker 1", "pid 4001")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.focused, WorkerBars))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.focused, CollectionBars))
        assert {each.collection for each in bars.worker_rows} == {"shop.orders", "shop.customers"}


async def test_one_key_switches_between_collections_workers_and_chart_on_a_small_screen(engine: ScriptedEngine) -> None:
    engine.samples = [(float(second), 40_000.0) for second in range(1, 70)]
    more = [progress(f"c{number:02}", TableState.WAITING, done=0) for number in range(12)]
    workers = [worker(number) for number in range(1, 15)]
    app = on_run(engine, running(tables=[*FEW, *more], workers=workers))
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "● running", "legacy", "c: next view")
        assert "◆ converting" not in screen_text(app)
        await pilot.press("c")
        await until_shown(pilot, "◆ converting")
        assert "legacy" not in screen_text(app)
        await pilot.press("c")
        await until(pilot, lambda: app.screen.query_one(ThroughputChart).size.height > 10)
        assert "◆ converting" not in screen_text(app)
        await pilot.press("c")
        await until_shown(pilot, "legacy")


async def test_a_small_screen_shows_the_workers_below_few_collections_and_fills_its_lines(
    engine: ScriptedEngine,
) -> None:
    engine.samples = [(float(second), 40_000.0) for second in range(1, 70)]
    app = on_run(engine, running(tables=FEW[:2]))
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "● running", "orders", "customers", "◆ converting")
        await until(pilot, lambda: app.screen.query_one(ThroughputChart).size.height >= 4)
        engine.show(tables=[*FEW, *(progress(f"c{number:02}", TableState.WAITING, done=0) for number in range(12))])
        await until(pilot, lambda: "◆ converting" not in screen_text(app))
        await until(pilot, lambda: app.screen.query_one(ThroughputChart).size.height == 1)
        await pilot.press("c")
        await until_shown(pilot, "◆ converting", "legacy")


async def test_the_line_of_knobs_on_a_small_screen_is_not_cut_off(engine: ScriptedEngine) -> None:
    ranges = [worker(number, range=RangeView(done=1, total=2_500, is_exact=False)) for number in (1, 2)]
    problems = [ProblemView(code="nul", message="documents rejected", count=2)]
    app = on_run(engine, running(tables=FEW[:2], workers=ranges, throttle=9_000, problems=problems))
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "page size 8,000", "throttle 9,000", "! problems 1 (e)", "c: next view")
        assert "but a range" not in screen_text(app)


async def test_f8_the_chart_has_six_to_eight_lines_beside_the_collections(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(tables=FEW))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running", "legacy", "converting")
        assert 6 <= app.screen.query_one(ThroughputChart).content_size.height <= 8


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_forty_collections_and_128_workers_stay_readable(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    tables = [progress(f"c{number:02}", TableState.WAITING, done=0) for number in range(38)]
    tables += [progress("late", TableState.COPYING, rows_per_s=900.0), progress("bad", TableState.PARKED)]
    workers = [worker(number, collection="shop.late") for number in range(1, 129)]
    app = on_run(engine, running(tables=tables, workers=workers, workers_alive=128, cluster_size=128))
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "● running", "bad", "late", "more: ", " waiting · 0 of ")
        lines = screen_text(app).splitlines()
        assert all(len(line) <= size[0] for line in lines)
        first = lines_of(screen_text(app), "bad")[0]
        assert "late" in lines[first + 1]
        await pilot.press("end")
        await until_shown(pilot, "c37")


async def test_b14_a_range_tells_documents_and_never_99_percent(engine: ScriptedEngine) -> None:
    ranges = [
        RangeView(done=13_700, total=18_750, is_exact=False),
        RangeView(done=20_100, total=18_750, is_exact=False),
        RangeView(done=10, total=20, is_exact=True),
    ]
    views = [worker(number, range=each) for number, each in enumerate(ranges, 1)]
    assert [range_words(view) for view in views] == ["13.7k/~18.8k", "20.1k/~18.8k", "10/20"]
    assert "20,100 of ~18,750 documents: more than estimated" in range_line(views[1]).plain
    app = on_run(engine, running(workers=views, partitions_done=7, partitions_total=23, partitions_first=16))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "20.1k/~18.8k", "partitions 7 of 23 (7 added)")
        assert "99%" not in screen_text(app)


async def test_where_and_when_stand_on_the_screen(engine: ScriptedEngine) -> None:
    snapshot = running(
        tables=[*FEW, progress("leads", TableState.WAITING, done=0, namespace="crm.leads")],
        started_unix=NOON, elapsed=75.0, last_commit_unix=NOON + 74.0, eta_s=51.0, rows_per_s_overall=38_100.0,
    )  # fmt: skip
    app = on_run(engine, snapshot)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "run 20261123-1402-k3f9", "db1:27017 crm, shop → pg1:5432/shop", "started 12:00")
        await until_shown(pilot, "last commit 12:01:14", "ETA 51s ≈ 12:02", "overall 38,100", "while copying 39,361")


def test_the_expected_end_on_another_day_names_the_day() -> None:
    late = running(started_unix=NOON, elapsed=10.0, eta_s=60_000.0)
    assert eta_words(late) == "ETA 16h 40m ≈ Mon 04:40"


def test_a_narrow_line_keeps_the_run_and_the_last_commit() -> None:
    snapshot = running(started_unix=NOON, last_commit_unix=NOON + 74.0)
    assert place_line(snapshot, 60).plain == "run 20261123-1402-k3f9 · last commit 12:01:14"
    assert "overall" in rates_line(running(rows_per_s_overall=38_100.0), 78).plain


def test_b17_what_hinders_an_eta_is_said_instead_of_one() -> None:
    assert eta_words(running(eta_s=None, eta_reason="no rows for 9 s")) == "ETA: no rows for 9 s"
    assert eta_words(running(eta_s=None, eta_reason="measuring")) == "ETA: calculating…"
    assert eta_words(running(eta_s=None, eta_reason="paused by ctl of ann@db1")) == "paused by ctl of ann@db1"


def test_a_bar_is_cut_by_what_the_time_goes_into_with_a_letter_for_each_part() -> None:
    assert parts([("r", 0.2), ("c", 0.1), ("w", 0.7)], 20) == [("r", "r━━━"), ("c", "c━"), ("w", "w" + "━" * 13)]
    assert parts([("r", 0.0), ("c", 0.0), ("w", 0.5)], 4) == [("w", "w━━━")]
    assert parts([("r", 0.0), ("c", 0.0), ("w", 0.0)], 4) == []
    for width in range(1, 40):
        cut = parts([("r", 0.33), ("c", 0.33), ("w", 0.34)], width)
        assert sum(len(text) for _, text in cut) == width


def test_a_trend_is_as_wide_as_its_column_and_its_newest_value_is_on_the_right() -> None:
    assert sparkline([1.0, 4.0, 8.0], 5, 8.0) == "  ▂▅█"
    assert sparkline([8.0] * 20, 5, 8.0) == "█████"
    assert sparkline([0.0, 0.0], 3, 0.0) == "   "


async def test_workers_show_the_split_of_their_time_and_a_trend(engine: ScriptedEngine) -> None:
    busy = [worker(1, reading=0.2, converting=0.1, writing=0.7), worker(2, state=WorkerState.THROTTLED, throttled=0.9)]
    app = on_run(engine, running(workers=busy))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "speed: read convert write", "r━━━━c━━w━━━", "trend")
        # Under a throttle there is nothing to tell of its time.
        assert "r━" not in next(line for line in screen_text(app).splitlines() if "throttled" in line)
        engine.show(elapsed=76.5)
        await until_shown(pilot, "██")


async def test_lines_keep_their_order_after_the_cursor_was_moved(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bar_list, "STILL_S", float("inf"))
    names = [f"c{number:02}" for number in range(30)]
    app = on_run(
        engine, running(tables=[progress(name, TableState.WAITING) for name in names], workers=[], elapsed=10.0)
    )
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: isinstance(app.focused, CollectionBars))
        bars = app.screen.query_one(CollectionBars)
        await until(pilot, lambda: len(bars.rows) == 30)
        await pilot.press("down", "down")
        now = [progress(name, TableState.PARKED if name == "c05" else TableState.WAITING) for name in names]
        engine.show(tables=now, elapsed=20.0)
        await until_shown(pilot, "! parked")
        assert [row.namespace for row in bars.rows] == [f"shop.{name}" for name in names]
        assert bars.chosen_key == "public.c02"


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_the_cursor_stays_on_its_collection_and_in_sight_when_the_order_changes(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(bar_list, "STILL_S", 0.0)
    names = [f"c{number:02}" for number in range(30)]
    app = on_run(
        engine, running(tables=[progress(name, TableState.COPYING) for name in names], workers=[], elapsed=10.0)
    )
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: isinstance(app.focused, CollectionBars))
        bars = app.screen.query_one(CollectionBars)
        await until(pilot, lambda: len(bars.rows) == 30)
        await pilot.press("down")
        await until(pilot, lambda: bars.chosen_key == "public.c01")
        now = [progress(name, TableState.DONE if name == "c01" else TableState.COPYING) for name in names]
        engine.show(tables=now, elapsed=20.0)
        await until(pilot, lambda: bars.cursor == 29)
        assert bars.chosen_key == "public.c01"
        await until_shown(pilot, "›shop.c01" if size == LARGE else "›c01")


async def test_a_list_in_which_the_cursor_was_not_moved_stays_at_its_top(engine: ScriptedEngine) -> None:
    names = [f"c{number:02}" for number in range(30)]
    app = on_run(
        engine, running(tables=[progress(name, TableState.COPYING) for name in names], workers=[], elapsed=10.0)
    )
    async with app.run_test(size=SMALL) as pilot:
        bars = app.screen.query_one(CollectionBars)
        await until(pilot, lambda: len(bars.rows) == 30)
        engine.show(
            tables=[progress(name, TableState.DONE if name == "c00" else TableState.COPYING) for name in names],
            elapsed=20.0,
        )
        await until(pilot, lambda: bars.cursor == 29)
        assert bars.scroll_y == 0


@pytest.mark.parametrize(("width", "shown"), [(70, "public.customers_of_2026 "), (110, "public.customers_of_2026 ")])
def test_names_in_the_report_have_the_room_that_numbers_leave(width: int, shown: str) -> None:
    (text,) = tables(completed(tables=[table("customers_of_2026", 40_000)]), width)
    lines = text.plain.split("\n")
    assert lines[1].startswith(shown)
    assert max(map(len, lines)) <= width


def test_long_names_in_the_report_are_cut_off_where_they_have_no_room() -> None:
    (text,) = tables(completed(tables=[table("a" * 60, 5_000_000)]), 76)
    assert "…" in text.plain
    assert max(map(len, text.plain.split("\n"))) <= 76
