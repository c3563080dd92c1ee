"""What made two more readers of the README doubt in the cockpit: the throttle, exports, hints, and words that say why."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widgets import Input, Static

from engine.config import Settings, merged
from engine.convert.rejection import DETAILS
from engine.knobs import PAGE_SIZE
from engine.protocol import (
    ComparingTable,
    ComparingView,
    RangeView,
    RejectedDocument,
    RunCutOver,
    RunState,
    Snapshot,
    Start,
    TargetTable,
)
from engine.verify.retry_rejects import KEY_TAKEN, KEY_TAKEN_DETAIL
from tests.tui.driving import (
    click,
    input_in,
    on_run,
    on_setup,
    screen_text,
    session_of,
    settings_with_servers,
    until,
    until_shown,
)
from tests.tui.scripted_answers import RUNS, found_tables, run_info
from tests.tui.scripted_engine import ScriptedEngine, completed, idle, running, table, worker
from tui.cockpit.app import Cockpit
from tui.cockpit.commands import Place, Situation
from tui.cockpit.dialogs.help import help_text
from tui.cockpit.dialogs.knobs import KnobsDialog
from tui.cockpit.dialogs.naming import FileDialog
from tui.cockpit.dialogs.sheet import Sheet
from tui.cockpit.dialogs.starting import StartDialog
from tui.cockpit.dialogs.tune import TuneDialog
from tui.cockpit.keymap import Keymap
from tui.cockpit.screens.history import HistoryScreen
from tui.cockpit.widgets.fields import ChoiceField
from tui.cockpit.widgets.knobs import KnobPanel
from tui.cockpit.widgets.report import tables
from tui.cockpit.widgets.total import place_line, progress_line
from tui.words.knobs import problem_words
from tui.words.rejects import detail_words, meaning_words

LARGE, SMALL = (120, 40), (80, 24)
SIZES = [LARGE, SMALL]


@asynccontextmanager
async def opened(app: Cockpit, *shown: str, size: tuple[int, int] = LARGE) -> AsyncIterator[Pilot[Any]]:
    """The cockpit, once it shows these texts."""
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, *shown)
        yield pilot


def at_setup(
    engine: ScriptedEngine, size: tuple[int, int] = LARGE, settings: Settings | None = None
) -> AbstractAsyncContextManager[Pilot[Any]]:
    """Setup, with the collections listed."""
    return opened(on_setup(engine, settings), "3 of 4 selected", size=size)


def at_run(
    engine: ScriptedEngine, size: tuple[int, int] = LARGE, **changes: Any
) -> AbstractAsyncContextManager[Pilot[Any]]:
    """A run in the middle of its copy."""
    return opened(on_run(engine, running(**changes)), "● running", size=size)


def at_end(
    engine: ScriptedEngine, *shown: str, size: tuple[int, int] = LARGE, **changes: Any
) -> AbstractAsyncContextManager[Pilot[Any]]:
    """The report of a run that ended well."""
    return opened(on_run(engine, completed(**changes)), *shown, size=size)


@asynccontextmanager
async def at_history(engine: ScriptedEngine, size: tuple[int, int] = LARGE) -> AsyncIterator[Pilot[Any]]:
    """History, with its runs."""
    async with at_setup(engine, size) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "912,000")
        yield pilot


@asynccontextmanager
async def at_rejects(engine: ScriptedEngine, snapshot: Snapshot) -> AsyncIterator[Pilot[Any]]:
    """The rejects of a run."""
    async with opened(on_run(engine, snapshot), "R Rejects…") as pilot:
        await pilot.press("R")
        yield pilot


@asynccontextmanager
async def at_comparison(
    engine: ScriptedEngine, size: tuple[int, int] = LARGE, throttle: int = 500, **changes: Any
) -> AsyncIterator[Pilot[Any]]:
    """On Verify, a comparison that is half done, under a throttle unless that is 0."""
    async with at_setup(engine, size) as pilot:
        await pilot.press("4")
        await until_shown(pilot, "as counted at the run's end")
        engine.held = {"verify"}
        await pilot.press("f")
        await until(pilot, lambda: engine.received("verify"))
        facts: dict[str, Any] = {"run_id": "x", "checked": 30_000, "total": 60_000, "rows_per_s": 500.0}
        engine.show(idle(), throttle=throttle, comparing=ComparingView(**(facts | changes)))
        shown = f"throttle {throttle} rows/s" if throttle else "throttle off"
        await until_shown(pilot, "50.0%", f"{shown} · t: change it, and workers · esc: cancel")
        yield pilot


# --- a comparison and its knobs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_the_knobs_of_a_comparison_are_turned_while_it_goes_on(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    async with at_comparison(engine, size) as pilot:
        await until_shown(pilot, "t Tune…", "esc Cancel")
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, TuneDialog))
        await until_shown(pilot, "Tune the comparison", "The comparison goes on while this is open.")
        assert "Seed count" not in screen_text(pilot.app)
        field = input_in(pilot.app, "#knob-throttle")
        assert field.value == "500"
        field.value = "off"
        field.focus()
        await pilot.press("enter")
        await until(pilot, lambda: engine.received("set"))
        assert engine.received("set") == [{"name": "set", "knob": "throttle", "value": 0}]
        await until_shown(pilot, "throttle off · t: change it")


async def test_the_palette_turns_a_knob_of_the_comparison(engine: ScriptedEngine) -> None:
    async with at_comparison(engine) as pilot:
        await pilot.press("ctrl+p")
        await until(pilot, lambda: type(pilot.app.screen).__name__ == "CommandsPalette")
        await pilot.press(*"throttle 2000")
        await until_shown(pilot, "Set throttle to 2,000 in the comparison")
        await pilot.press("enter")
        await until(pilot, lambda: engine.received("set"))
        assert engine.received("set") == [{"name": "set", "knob": "throttle", "value": 2_000}]
        await until_shown(pilot, "throttle 2,000 rows/s")


async def test_the_dialog_of_a_comparison_goes_with_it(engine: ScriptedEngine) -> None:
    async with at_comparison(engine) as pilot:
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, TuneDialog))
        engine.show(comparing=None)
        engine.let_go()
        await until(pilot, lambda: not isinstance(pilot.app.screen, TuneDialog))
        await until_shown(pilot, "compared in full at ")
        await until(pilot, lambda: "t Tune…" not in screen_text(pilot.app))


async def test_escape_cancels_a_comparison_and_says_so_before(engine: ScriptedEngine) -> None:
    async with at_comparison(engine) as pilot:
        await pilot.press("question_mark")
        await until_shown(pilot, "Cancel the comparison that is in progress", "verify.cancel")
        assert screen_text(pilot.app).index("verify.cancel") < screen_text(pilot.app).index("Not now")
        await pilot.press("escape")
        await pilot.press("escape")
        await until(pilot, lambda: engine.received("cancel"))


@pytest.mark.parametrize("size", SIZES)
async def test_each_table_says_how_far_its_comparison_is(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    engine.recorded_end = {"tables": [table(name, 60_000) for name in ("orders", "customers", "products", "recent")]}
    states = [
        ("orders", 60_000, 60_000, 0),
        ("customers", 30_000, 60_000, 2),
        ("products", 0, 60_000, 0),
        ("recent", 0, -1, 0),
    ]
    tables = [
        ComparingTable(table=f"public.{name}", checked=checked, total=total, differ=differ)
        for name, checked, total, differ in states
    ]
    async with at_comparison(engine, size, tables=tables) as pilot:
        await until_shown(pilot, "= compared", "! 2 · 50.0%", "· waiting", "· counts only")
        assert "counts match" not in screen_text(pilot.app)
        engine.show(comparing=None)
        engine.let_go()
        await until_shown(pilot, "! mismatch")


async def test_the_line_about_a_comparison_is_one_line(engine: ScriptedEngine) -> None:
    async with at_comparison(engine, SMALL, checked=2_500_000, total=5_000_000, rows_per_s=41_220.0) as pilot:
        lines = screen_text(pilot.app).split("\n")
        (progress,) = [line for line in lines if "◐ comparing" in line]
        assert "rows/s" in progress
        assert "throttle 500" in lines[lines.index(progress) + 1]


# --- exports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_a_run_of_history_is_exported_from_the_list_and_from_its_report(
    engine: ScriptedEngine, size: tuple[int, int], tmp_path: Path
) -> None:
    async with at_history(engine, size) as pilot:
        if size == LARGE:
            await until_shown(pilot, "E Export…")
        await pilot.press("E")
        await until_shown(pilot, "Export the report", f"report-{RUNS[0].run_id}.html")
        pilot.app.screen.query_one(Input).value = str(tmp_path / "one.json")
        await pilot.press("enter")
        await until(pilot, lambda: (tmp_path / "one.json").exists())
        await until(pilot, lambda: isinstance(pilot.app.screen, HistoryScreen))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, Sheet))
        await until_shown(pilot, "E export")
        await pilot.press("E")
        await until_shown(pilot, "Export the report", f"report-{RUNS[0].run_id}.html")


async def test_an_export_says_which_folder_it_goes_to(
    engine: ScriptedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    monkeypatch.chdir(folder)
    async with at_history(engine, (200, 40)) as pilot:
        await pilot.press("E")
        await until(pilot, lambda: isinstance(pilot.app.screen, FileDialog))
        place = pilot.app.screen.query_one(".note", Static)
        assert str(place.content) == f"File: {folder}/report-{RUNS[0].run_id}.html"
        pilot.app.screen.query_one(Input).value = "x.md"
        await until(pilot, lambda: str(place.content) == f"File: {folder}/x.md")


# --- knobs before a run -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_the_throttle_is_set_from_the_question_that_starts_a_run(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    async with at_setup(engine, size) as pilot:
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?", "throttle off", "t knobs")
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, KnobsDialog))
        await pilot.press(*"2000", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, StartDialog))
        await until_shown(pilot, "throttle 2,000 rows/s")
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, KnobsDialog))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, StartDialog))
        await click(pilot, "#go")
        await until(pilot, lambda: engine.received("start"))
        assert engine.received("start")[0]["settings"]["run"]["throttle"] == 2_000


async def test_a_knob_out_of_its_bounds_keeps_the_dialog_open(engine: ScriptedEngine) -> None:
    async with at_setup(engine) as pilot:
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?")
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, KnobsDialog))
        await pilot.press(*"fast", "enter")
        await until_shown(pilot, "Throttle must be a whole number")
        assert isinstance(pilot.app.screen, KnobsDialog)


@pytest.mark.parametrize("size", SIZES)
async def test_setup_says_how_its_knobs_are_reached(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    async with at_setup(engine, size) as pilot:
        await until_shown(pilot, "Knobs · Tab, or ^p throttle 2000")


async def test_questions_have_their_keys_on_their_frame(engine: ScriptedEngine) -> None:
    async with at_run(engine) as pilot:
        await pilot.press("x")
        await until_shown(pilot, "Stop the run?", "←→ choose · Enter answer · Esc back")


# --- Run --------------------------------------------------------------------------------------------------------------


async def test_the_stop_question_says_which_key_resumes_the_run_and_which_command(engine: ScriptedEngine) -> None:
    app = on_run(engine, running(tables=[table("orders", 100)]))
    async with opened(app, "● running") as pilot:
        await pilot.press("x")
        await until_shown(pilot, "the run can be resumed with", "run --resume")
        assert "r here" not in screen_text(pilot.app), "this cockpit does not know the run's servers"
        await pilot.press("escape")
        session = session_of(app)
        session.settings = app.choices.current
        session.start_command = Start()
        await pilot.press("x")
        await until_shown(pilot, "stay; resume it with r here, or", "run --resume")


async def test_a_run_that_was_resumed_says_when_it_was_started_and_when_resumed(engine: ScriptedEngine) -> None:
    async with at_run(engine, (160, 40), started_unix=1_792_000_000.0, first_started_unix=1_791_990_000.0) as pilot:
        await until_shown(pilot, "started 15:00, resumed 17:46")


def test_on_a_wide_screen_the_times_count_more_than_the_servers_which_the_header_has() -> None:
    times = {
        "started_unix": 1_792_000_000.0,
        "first_started_unix": 1_791_990_000.0,
        "last_commit_unix": 1_792_000_074.0,
    }
    snapshot = running(**times)
    assert "→" in place_line(snapshot, 140).plain
    wide = place_line(snapshot, 100).plain
    assert "started 15:00, resumed 17:46 · last commit 17:47:54" in wide
    assert "→" not in wide
    assert "started" not in place_line(snapshot, 90).plain


def test_before_the_ledger_was_read_no_share_is_told() -> None:
    snapshot = running(state=RunState.STARTING, phase="connecting", written=0, total=0)
    line = progress_line(snapshot, 80).plain
    assert line.endswith("–   connecting")
    assert "0.0%" not in line
    assert "  0.0%" in progress_line(snapshot.model_copy(update={"total": 100}), 80).plain


async def test_a_page_size_beyond_the_ranges_says_that_it_has_no_effect(engine: ScriptedEngine) -> None:
    ranges = [worker(number, range=RangeView(done=1, total=3_800, is_exact=False)) for number in (1, 2)]
    async with at_run(engine, workers=ranges, page_size=8_000) as pilot:
        await until_shown(pilot, "8,000, ranges hold 3.8k")
        engine.show(page_size=2_000)
        await until(pilot, lambda: "ranges hold" not in screen_text(pilot.app))


async def test_the_keys_of_a_replay_are_in_sight_on_a_small_screen(engine: ScriptedEngine) -> None:
    async with at_history(engine, SMALL) as pilot:
        await pilot.press("p")
        await until_shown(pilot, "· esc leave · space hold · ] faster · [ slower")
        await pilot.press("space")
        await until_shown(pilot, "▷ replay held", "space go on")


async def test_a_replay_offers_no_knobs(engine: ScriptedEngine) -> None:
    async with at_history(engine) as pilot:
        await pilot.press("p")
        await until_shown(pilot, "▷ replay")
        shown = pilot.app.screen.query_one(KnobPanel).render()
        assert "Page size" in shown.plain
        assert not any(key in shown.plain for key in ("+", "-", "[", "]", "t:")), shown.plain
        assert "@click" not in str([span.style for span in shown.spans])


@pytest.mark.parametrize("size", SIZES)
async def test_the_line_at_the_bottom_of_run_has_details_and_the_way_to_the_next_list(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    async with at_run(engine, size, tables=[table("orders", 100)]) as pilot:
        await until_shown(pilot, *(["enter Details", "c Next list"] if size == LARGE else ["x Stop…"]))


async def test_what_a_workers_range_is_stands_in_the_heading_and_in_the_help(engine: ScriptedEngine) -> None:
    async with at_run(engine) as pilot:
        await until_shown(pilot, "done/range")
    assert "such as 4.2k/~3.8k: documents of its range" in help_text(Place.RUN, Situation(), [], Keymap(), 200).plain


async def test_a_short_message_leaves_the_names_of_the_screens_in_sight(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await until_shown(pilot, "● running")
        names = screen_text(app).split("\n")[0][:58]
        app.notify("Press q to quit.", markup=False)
        await until_shown(pilot, "Press q to quit.")
        assert screen_text(app).split("\n")[0].startswith(names)
        assert "● running" in screen_text(app).split("\n")[0]
        assert not app.screen.query_one("Toast").region.overlaps(Region(0, 0, len(names), 1))


# --- why counts match only --------------------------------------------------------------------------------------------


async def test_run_says_why_a_run_that_was_verified_has_only_counts(engine: ScriptedEngine) -> None:
    changes: dict[str, Any] = {"verification_level": "counts", "verified_before_retry": True}
    async with at_end(engine, "✓ counts match, retried since", **changes) as pilot:
        await until_shown(
            pilot, "a retry of rejects has written rows since", "compare every document with its row again"
        )


@pytest.mark.parametrize("size", SIZES)
async def test_history_says_why_a_run_that_was_verified_has_only_counts(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    engine.runs = [run_info("20261123-1402-k3f9", verification_level="counts", verified_before_retry=True), *RUNS[1:]]
    engine.recorded_end = {"verification_level": "counts", "verified_before_retry": True}
    async with at_history(engine, size) as pilot:
        await until_shown(pilot, "Compared in full once")
        await until(pilot, lambda: "v, f: compare again" in " ".join(screen_text(pilot.app).split()))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, Sheet))
        await until_shown(pilot, "retried since", "Compared in full once")


async def test_more_collections_than_the_line_holds_are_in_the_report(engine: ScriptedEngine) -> None:
    names = [f"shop.c{number:02}" for number in range(12)]
    engine.runs = [run_info("20261123-1402-k3f9", collections=names, state="failed", resumable=True)]
    engine.recorded_end = {"state": RunState.FAILED, "tables": []}
    async with at_setup(engine) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "… (4 more) · enter: all of them")
        await pilot.press("enter")
        await until_shown(pilot, "12 collections: shop.c00", "shop.c11")


# --- rejects ----------------------------------------------------------------------------------------------------------


async def test_after_a_policy_was_chosen_the_hint_is_to_retry_with_it(engine: ScriptedEngine) -> None:
    async with at_rejects(engine, completed(rejected=14)) as pilot:
        await until_shown(pilot, "p: choose the policy · R: retry this reason")
        await pilot.press("p")
        await until_shown(pilot, "Policy nul for these documents")
        await pilot.press("enter")
        await until_shown(pilot, "R: retry these with strip · p: another policy")
        await pilot.press("down")
        await until_shown(pilot, "p: choose the policy · R: retry this reason")


def test_what_a_reason_says_is_not_said_again() -> None:
    details = {**DETAILS, KEY_TAKEN: KEY_TAKEN_DETAIL}
    for reason, detail in details.items():
        document = RejectedDocument(
            id="1", namespace="a.b", reason=reason, field="", sqlstate="", detail=detail, size=1
        )
        assert detail_words(document) == "", reason
        more = document.model_copy(update={"detail": "a NUL character at byte 3"})
        assert detail_words(more) == "a NUL character at byte 3"
    misfit = RejectedDocument(
        id="1", namespace="a.b", reason="overflow", field="c", detail="string does not fit the column", size=1
    )
    assert (meaning_words(misfit), detail_words(misfit)) == ("string does not fit the column", "")


# --- what the next reader stumbled over -------------------------------------------------------------------------------


async def test_the_throttle_has_the_cursor_wherever_t_opens_the_knobs(engine: ScriptedEngine) -> None:
    async with at_run(engine) as pilot:
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, TuneDialog))
        await pilot.press(*"2000", "enter")
        await until(pilot, lambda: engine.received("set"))
        assert engine.received("set") == [{"name": "set", "knob": "throttle", "value": 2_000}]


def test_an_error_beside_a_field_names_the_knob_by_its_label() -> None:
    assert problem_words(PAGE_SIZE, "page_size must be at most 9.") == "Page size must be at most 9."
    assert problem_words(PAGE_SIZE, "PostgreSQL has 3 connections free.") == "PostgreSQL has 3 connections free."


async def test_a_uri_that_is_being_typed_is_connected_by_enter_and_not_shown_as_a_plan(
    engine: ScriptedEngine, home: Path
) -> None:
    app = on_setup(engine, Settings())
    async with opened(app, "Enter both URIs") as pilot:
        await pilot.press(*"mongodb://db1/shop")
        await until_shown(pilot, "Enter connects.")
        await pilot.press("enter")
        await until(pilot, lambda: "Enter connects." not in screen_text(app))
        await pilot.press(*"postgresql://pg1/app")
        await until_shown(pilot, "Enter connects.", "not set")
        assert "Next:" not in screen_text(app)
        await pilot.press("enter")
        await until_shown(pilot, "Next: 2 shows the plan, f9 starts.")


async def test_during_a_run_the_rejects_do_not_offer_a_retry(engine: ScriptedEngine) -> None:
    async with at_rejects(engine, running(rejected=14)) as pilot:
        await until_shown(pilot, "p: choose the policy · they can be retried when the run is over")
        assert "R: retry" not in screen_text(pilot.app)
        engine.show(completed(rejected=14))
        await until_shown(pilot, "p: choose the policy · R: retry this reason")


async def test_the_documents_of_a_reason_are_asked_for_again_when_it_has_more(engine: ScriptedEngine) -> None:
    async with at_rejects(engine, completed(rejected=14)) as pilot:
        await until_shown(pilot, "15 rejected documents", "Documents 1–10 of 14")
        nul, utf8 = engine.rejects
        engine.rejects = [nul.model_copy(update={"count": 23}), utf8]
        await pilot.press("f5")
        await until_shown(pilot, "24 rejected documents", "of 23")


async def test_what_is_typed_in_a_setting_takes_the_place_of_its_value(engine: ScriptedEngine) -> None:
    async with at_setup(engine) as pilot:
        await pilot.press("f4")
        await until_shown(pilot, "Values that do not fit")
        await pilot.press(*"target.schema", "down", *"crm")
        assert pilot.app.screen.query_one("#setting-target-schema", Input).value == "crm"


async def test_space_chooses_nothing_among_existing_tables(engine: ScriptedEngine) -> None:
    async with at_setup(engine) as pilot:
        choice = pilot.app.screen.query_one("#mode-choice", ChoiceField)
        choice.focus()
        await pilot.press("down")
        assert choice.selected == "append"
        await pilot.press("space")
        await until_shown(pilot, "(•) append", "3 of 4 selected")
        assert choice.selected == "append"


@pytest.mark.parametrize("size", SIZES)
async def test_the_start_question_says_whose_mapping_is_kept(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    grown = TargetTable(
        namespace="shop.orders", table="public.orders", state="exists", rows=7, fate="upserted",
        mapped_by="20261123-1402-k3f9",
    )  # fmt: skip
    engine.preflight = found_tables(grown, mode="upsert")
    async with at_setup(engine, size, merged(settings_with_servers(), {"run": {"mode": "upsert"}})) as pilot:
        await pilot.press("f9")
        await until_shown(pilot, "mapping as in run 20261123-1402-k3f9: public.orders")


# --- the end of a run -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_next_names_the_key_that_exports_the_report(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    async with at_end(engine, "✓ verified", size=size, verification_level="full") as pilot:
        await until_shown(pilot, "E: export the report · 1: new run · q: quit")


@pytest.mark.parametrize("size", SIZES)
async def test_a_comparison_is_told_with_its_time_of_day_and_the_key_that_exports(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    async with at_setup(engine, size) as pilot:
        await pilot.press("4")
        await until_shown(pilot, "f: compare every document with its row · E: export the report")
        await pilot.press("c")
        await until_shown(pilot, "counted at ", "17:56:40")
        await pilot.press("f")
        await until_shown(pilot, "compared in full at ", "17:56:40", "R: rejected documents · E: export the report")
        assert "just now" not in screen_text(pilot.app)


def test_where_there_is_little_room_the_table_at_the_end_keeps_rows_rejected_and_result() -> None:
    rejecting = table("orders", 4_210_334, rejected=1_204, written=4_209_130, target_count=4_209_130)
    snapshot = completed(tables=[rejecting, table("a_name_of_thirty_characters_in_all", 7)])
    for width in (60, 74, 92, 116):
        (drawn,) = tables(snapshot, width)
        heading, first, _ = drawn.plain.split("\n")
        assert all(len(line) <= width for line in drawn.plain.split("\n")), width
        assert {"written", "rejected", "result"} <= set(heading.split()), width
        assert "4,209,130" in first
        assert "1,204" in first
        assert "✓ counts match" in first
        assert "public." in first
    short = completed(tables=[rejecting])
    assert {"source", "written", "rejected", "target"} <= set(tables(short, 74)[0].plain.split("\n")[0].split())


@pytest.mark.parametrize("size", SIZES)
async def test_the_report_says_what_was_followed_until_the_cut_over(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    words = "Followed until the cut-over: 210 inserted, 950 updated, 40 deleted; the writers stood still for 2.3 s."
    facts: dict[str, Any] = {"inserted": 210, "updated": 950, "deleted": 40, "write_stop_s": 2.31}
    engine.events = [RunCutOver(at=70.0, **facts)]
    async with at_end(engine, "✓ counts match", size=size) as pilot:
        await until(pilot, lambda: words in " ".join(screen_text(pilot.app).replace("│", " ").split()))
    engine.recorded = [RunCutOver(at=70.0, **facts)]
    engine.show(idle())
    async with at_history(engine, size) as pilot:
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, Sheet))
        await until_shown(pilot, "Followed until the cut-over: 210 inserted")


async def test_history_tells_the_start_as_the_report_does(engine: ScriptedEngine) -> None:
    async with at_history(engine) as pilot:
        await until_shown(pilot, "2026-10-14 17:46:40 +0000 – 17:48:46")


# --- a replay ---------------------------------------------------------------------------------------------------------


async def test_the_line_at_the_bottom_of_a_replay_has_the_keys_that_work_there(engine: ScriptedEngine) -> None:
    async with at_history(engine, (160, 40)) as pilot:
        await pilot.press("p")
        await until_shown(pilot, "space Hold/play", "Speed", "esc Leave the replay", "c Next list")
        await until_shown(pilot, "] faster · [ slower · ← → jump")
        await pilot.press(*["right"] * 20)
        await until_shown(pilot, "space play again")
        await until(pilot, lambda: "c Next list" not in screen_text(pilot.app))
        await until(pilot, lambda: screen_text(pilot.app).count("▷ replay ended") == 3)
        await pilot.press("left")
        await until_shown(pilot, "c Next list")


async def test_from_the_rejects_of_a_replayed_run_escape_leads_to_history(engine: ScriptedEngine) -> None:
    engine.recorded_end = {"rejected": 14}
    async with at_history(engine) as pilot:
        await pilot.press("p")
        await until_shown(pilot, "▷ replay")
        await pilot.press(*["right"] * 20)
        await until_shown(pilot, "space play again")
        await pilot.press("R")
        await until_shown(pilot, "15 rejected documents")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, HistoryScreen))


# --- one of a kind ----------------------------------------------------------------------------------------------------


async def test_one_rejected_document_is_told_as_one(engine: ScriptedEngine) -> None:
    engine.rejects = engine.rejects[1:]
    async with at_rejects(engine, completed(rejected=1)) as pilot:
        await until_shown(pilot, "1 rejected document  run")
