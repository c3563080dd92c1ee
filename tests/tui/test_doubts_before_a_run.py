"""What made readers of the README doubt before a run: Setup, Plan and its dialogs, the question that starts one, the header."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.events import Key
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from engine.config import Settings, merged
from engine.mapping import cautions
from engine.protocol import EstimateView, ServerReport, TypeChoice
from tests.tui.driving import (
    SOURCE_URI,
    TARGET_URI,
    on_run,
    on_setup,
    screen_text,
    settings_with_servers,
    until,
    until_shown,
)
from tests.tui.scripted_answers import RUNS, TOML, found_tables, plan_view
from tests.tui.scripted_engine import ScriptedEngine, completed, running, table
from tui.cockpit.consequences import expected
from tui.cockpit.dialogs.column import type_line
from tui.cockpit.dialogs.starting import StartDialog, edits_words
from tui.cockpit.screens.plan import PlanScreen
from tui.cockpit.widgets.fields import ChoiceField
from tui.cockpit.widgets.filter import FilterField
from tui.cockpit.widgets.header import Header
from tui.cockpit.widgets.planned import heading
from tui.words.census import with_keys
from tui.words.format import about_copy, part

LARGE, SMALL = (120, 40), (80, 24)
SIZES = [LARGE, SMALL]


async def to_plan(pilot: Pilot[Any]) -> None:
    await until_shown(pilot, "3 of 4 selected")
    await pilot.press("2")
    await until_shown(pilot, "shop.orders → public.orders", "1 of 2 collections")


async def to_column(pilot: Pilot[Any]) -> OptionList:
    """In the dialog of the column `total`, the cursor in the list of types."""
    await to_plan(pilot)
    await pilot.press("down", "e")
    await until_shown(pilot, "Field total", "Apply")
    types = pilot.app.screen.query_one("#types", OptionList)
    await pilot.press("tab", "tab")
    await until(pilot, lambda: types.has_focus)
    return types


async def applied_type(pilot: Pilot[Any]) -> str:
    """Of the column `total`, once the plan has one edit."""
    app = pilot.app
    await until(pilot, lambda: isinstance(app.screen, PlanScreen) and "1 edit" in screen_text(app))
    assert isinstance(app.screen, PlanScreen)
    return str(tomllib.loads(app.screen.edited_text)["tables"][0]["columns"][1]["type"])


def refused(side: str) -> ServerReport:
    uri = SOURCE_URI if side == "source" else TARGET_URI
    return ServerReport.model_validate(
        {"side": side, "uri": uri, "ok": False, "message": f"The {side} is not reachable."}
    )


# --- Setup says what comes next ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({}, "Enter both URIs, or start demo servers."),
        ({"source": {"uri": SOURCE_URI}}, "Enter the target's URI, or start demo servers."),
        ({"target": {"uri": TARGET_URI}}, "Enter the source's URI, or start demo servers."),
    ],
)
async def test_setup_names_the_uri_that_is_missing(
    engine: ScriptedEngine, size: tuple[int, int], section: dict[str, Any], words: str
) -> None:
    app = on_setup(engine, Settings.model_validate(section))
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, words)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("sides", "words"),
    [
        (["source", "target"], "Next: correct both connections, see above; f5 tests them again."),
        (["source"], "Next: correct the source, see above; f5 tests it again."),
        (["target"], "Next: correct the target, see above; f5 tests it again."),
    ],
)
async def test_setup_says_which_connection_is_to_be_corrected_next(
    engine: ScriptedEngine, size: tuple[int, int], sides: list[str], words: str
) -> None:
    reports = dict(engine.reports)
    engine.reports |= {side: refused(side) for side in sides}
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, words)
        assert "shows the plan" not in screen_text(app)
        engine.reports = reports
        await pilot.press("f5")
        await until_shown(pilot, "Next: 2 shows the plan, f9 starts.")


async def test_setup_says_that_a_database_or_a_collection_is_chosen_next(engine: ScriptedEngine) -> None:
    app = on_setup(engine, merged(settings_with_servers(), {"source": {"uri": "mongodb://app:s3cret@db1:27017/"}}))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "Next: d chooses a database.")
        await pilot.press("d")
        await until_shown(pilot, "Databases of the server")
        await pilot.press("down", "enter")
        await until_shown(pilot, "Next: 2 shows the plan, f9 starts.")
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("a")
        await until_shown(pilot, "0 of 4 selected", "Next: space selects a collection, a all of them.")
        await pilot.press("space")
        await until_shown(pilot, "1 of 4 selected", "Next: 2 shows the plan, f9 starts.")


async def test_a_narrow_setup_names_the_keys_that_its_footer_has_no_room_for(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "Next: 2 shows the plan, f9 starts. f4: settings · f5: test")


@pytest.mark.parametrize("size", SIZES)
async def test_the_throttle_keeps_its_unit(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "off, from 1 rows/s" if size == LARGE else "off, rows/s")
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?")
        await pilot.press("t")
        await until_shown(pilot, "Knobs of the run", "off, from 1 rows/s")


# --- one mark, one meaning --------------------------------------------------------------------------------------------


async def test_a_copied_table_has_the_mark_of_what_waits_and_not_that_of_work(engine: ScriptedEngine) -> None:
    facts: dict[str, Any] = {"source_count": -1, "target_count": -1, "ok": None}
    tables = [
        table("orders", 100, read=50, written=50, state="copying", **facts),
        table("customers", 100, state="copied", **facts),
        table("events", 100, state="building key", **facts),
    ]
    app = on_run(engine, running(tables=tables))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● copying", "· copied", "◐ building key")


# --- the column's dialog ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_the_type_under_the_cursor_of_the_list_is_applied_by_enter(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        types = await to_column(pilot)
        field = app.screen.query_one("#type", Input)
        await pilot.press("home", "down")
        await until(pilot, lambda: field.value == "bigint" and types.highlighted == 1)
        await pilot.press("enter")
        assert await applied_type(pilot) == "bigint"


async def test_the_type_under_the_cursor_of_the_list_is_applied_from_the_button(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=SMALL) as pilot:
        types = await to_column(pilot)
        app.screen.query_one("#column", Input).focus()
        await until(pilot, lambda: not types.has_focus)
        # All at once, as keys that come fast are: no message is handled in between.
        app.screen.set_focus(types)
        types.action_first()
        assert not types.has_focus
        app.screen.set_focus(app.screen.query_one("#apply"))
        await pilot.press("enter")
        assert await applied_type(pilot) == "text"


async def test_a_list_of_types_that_was_narrowed_stays_so_under_its_own_cursor(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        types = await to_column(pilot)
        field = app.screen.query_one("#type", Input)
        field.value = "js"
        await until(pilot, lambda: types.option_count == 2)
        await pilot.press("end")
        await until(pilot, lambda: field.value == "json")
        await pilot.press("home")
        await until(pilot, lambda: field.value == "jsonb")
        assert types.option_count == 2
        await pilot.press("enter")
        assert await applied_type(pilot) == "jsonb"


@pytest.mark.parametrize("size", SIZES)
async def test_every_policy_for_dates_is_in_sight_in_the_dialog_of_a_column(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    engine.plan_text = TOML.replace('type = "double precision"', 'type = "timestamptz"')
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_column(pilot)
        choice = app.screen.query_one("#date_range", ChoiceField)
        await until_shown(pilot, *(f") {choice.shown_as(word)}" for word in choice.words), "( ) infinity", "Apply")
        assert len(choice.words) == 5


@pytest.mark.parametrize("size", SIZES)
async def test_a_key_beside_its_name_leads_to_each_policy_of_a_column_and_its_choice_is_in_the_list(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_plan(pilot)
        await pilot.press("end", "e")
        await until_shown(
            pilot, "Field address.city", "f2 nul", "f4 utf8", "f5 overflow", "( ) keep in _extra", "Apply"
        )
        assert app.screen.query_one("#column", Input).has_focus
        await pilot.press("f5")
        await until_shown(pilot, "overflow: what becomes of a value that does not fit its column")
        choice = app.screen.query_one("#nul", ChoiceField)
        first = choice.content_region
        await pilot.press("f2")
        await until(pilot, lambda: choice.has_focus and bool(choice.styles.border_left[0]))
        await until_shown(pilot, "nul: what becomes of a NUL character")
        assert choice.content_region == first  # what is lit moves nothing
        await pilot.press("right", "right")
        await until_shown(pilot, "(•) strip")
        await pilot.press("enter")
        await until_shown(pilot, "text, strip", "1 edit")


async def test_a_key_of_a_policy_that_the_type_does_not_have_leads_nowhere(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=SMALL) as pilot:
        await to_plan(pilot)
        await pilot.press("end", "e")
        await until_shown(pilot, "Field address.city", "Apply")
        await pilot.press("f3", "x")
        await until(pilot, lambda: app.screen.query_one("#column", Input).value.endswith("x"))


@pytest.mark.parametrize("size", SIZES)
async def test_what_was_applied_at_once_is_one_edit_and_undone_at_once(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_plan(pilot)
        await pilot.press("down", "e")
        await until_shown(pilot, "Field total", "Apply")
        app.screen.query_one("#column", Input).value = "amount"
        app.screen.query_one("#type", Input).value = "text"
        await pilot.press("enter")
        await until_shown(pilot, "1 edit · u undo")
        await pilot.press("f9")
        await until_shown(pilot, "Start with 1 plan edit?", "shop.orders, total: column name amount, type text")
        await pilot.press("escape", "u")
        await until(pilot, lambda: "1 edit" not in screen_text(app) and "u undo" not in screen_text(app))


async def test_the_key_of_the_sql_stays_in_the_footer_when_something_was_edited(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await to_plan(pilot)
        await pilot.press("down", "i")
        await until_shown(pilot, "1 edit · u undo", "enter Details  v DDL")


@pytest.mark.parametrize("size", SIZES)
async def test_an_excluded_field_says_that_a_rejected_document_keeps_it(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_plan(pilot)
        await pilot.press("down", "i")
        await until_shown(pilot, "(excluded)")
        await pilot.press("enter")
        await until_shown(pilot, "A rejected document is kept whole, with this field")


@pytest.mark.parametrize("size", SIZES)
async def test_a_start_that_is_asked_for_while_the_plan_is_being_made_is_asked_about_once_it_is_there(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    engine.held = {"plan"}
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("2")
        await until_shown(pilot, "sampling documents", "f9 Start…")
        await pilot.press("f9")
        await until_shown(pilot, "then asks about a start")
        engine.let_go()
        await until_shown(pilot, "Start this run?")


def press_at_once(pilot: Pilot[Any], *keys: str) -> None:
    """Press keys without a moment between them, as a terminal hands on what was typed ahead."""
    driver = pilot.app._driver
    assert driver is not None
    for key in keys:
        driver.send_message(Key(key, key if len(key) == 1 else None))


async def test_a_key_that_comes_while_its_screen_is_being_built_is_not_lost(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        press_at_once(pilot, "2", "f9")
        await until_shown(pilot, "Start this run?")
        assert isinstance(app.screen_stack[0], PlanScreen)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, PlanScreen))
        press_at_once(pilot, "4", "f")
        await until(pilot, lambda: engine.received("verify"))
        press_at_once(pilot, "5", "slash")
        await until(pilot, lambda: any(each.has_focus for each in app.screen.query(FilterField)))


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "a few seconds"), (4.9, "a few seconds"), (75.2, "about 1m 15s")])
def test_no_copy_is_said_to_take_less_than_its_start_and_its_end(seconds: float, words: str) -> None:
    assert about_copy(seconds) == words
    plan = plan_view()
    estimate = EstimateView(table_bytes=1, index_bytes=1, seconds=seconds, rows_per_s=1.0, basis="guess")
    tables = [plan.tables[0].model_copy(update={"estimate": estimate})]
    quick = plan.model_copy(update={"tables": tables, "estimated_seconds": seconds})
    assert f" · {words} and " in heading(quick, quick.tables[0], 0, ()).plain
    assert expected([], 0, quick) == words


# --- words of a plan --------------------------------------------------------------------------------------------------


def test_a_hint_of_the_plan_names_the_key_that_does_it() -> None:
    keys = {"edit": "e", "exclude": "i"}
    hint = 'Field a: type = "text" in a saved plan would take 97% of its values, and the rest would go to _extra.'
    assert (
        with_keys(hint, **keys)
        == "Field a: type text (e) would take 97% of its values, and the rest would go to _extra."
    )
    hint = "Field a: strings with a NUL character among those seen: 20; policy nul = reject."
    assert with_keys(hint, **keys).endswith("20; policy nul = reject (e changes it).")
    hint = 'Exclude fields in a saved plan, or set mapping.layout to "document".'
    assert with_keys(hint, **keys) == 'Exclude fields (i), or set mapping.layout to "document".'


async def test_plan_and_the_start_question_name_the_key_of_a_hint(engine: ScriptedEngine) -> None:
    engine.plan_warnings = ['Field total: type = "text" in a saved plan would take 97% of its values.']
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await to_plan(pilot)
        await until(pilot, lambda: "type text (e) would take" in " ".join(screen_text(app).replace("│", "").split()))
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?", "type text (e on Plan) would take 97%")


@pytest.mark.parametrize(
    ("percent", "words"),
    [(0.0, "0%"), (0.04, "<0.1%"), (0.5, "0.5%"), (50.0, "50%"), (97.25, "97.2%"), (99.95, ">99.9%"), (100.0, "100%")],
)
def test_a_share_is_written_in_one_way(percent: float, words: str) -> None:
    assert part(percent) == words
    assert cautions.percent(round(100 * percent), 10_000) == words, "as the engine writes it"
    line = type_line(TypeChoice("text", percent), 6, "go to _extra").plain
    assert words in line or percent in (0.0, 100.0)


@pytest.mark.parametrize("size", SIZES)
async def test_the_start_question_names_the_edits_of_the_plan(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_plan(pilot)
        await pilot.press("down", "i")
        await until_shown(pilot, "1 edit")
        await pilot.press("up", "e")
        await until_shown(pilot, "Field _id", "Apply")
        app.screen.query_one("#column", Input).value = "order_id"
        await pilot.press("enter")
        await until_shown(pilot, "2 edits")
        await pilot.press("f9")
        await until_shown(pilot, "Start with 2 plan edits?")
        shown = app.screen.query_one("#start-edits Static", Static)
        assert (
            str(shown.content) == "Edits: shop.orders, _id: column name order_id\n       shop.orders, total: excluded"
        )
        await until_shown(pilot, "Edits: shop.orders, _id: column name order_id", "       shop.orders, total: excluded")


MANY_EDITS = (*(f"shop.orders, field_{number}: type text" for number in range(5)), "options: overflow reject")


@pytest.mark.parametrize("size", SIZES)
async def test_no_edit_of_the_plan_is_hidden_in_the_start_question(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_plan(pilot)
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?")
        asked = app.screen
        assert isinstance(asked, StartDialog)
        await until(pilot, lambda: asked._report is not None)
        again = StartDialog("Start?", replace(asked._facts, edits=MANY_EDITS), copy_key="y")
        await pilot.press("escape")
        app.push_screen(again)
        await until(pilot, lambda: app.screen is again)
        again.found(found_tables(("shop.orders", "public.orders"), ("shop.customers", "public.customers")))
        await until_shown(pilot, f"Edits: {MANY_EDITS[0]}")
        seen = {edit for edit in MANY_EDITS if edit in screen_text(app)}
        if size == SMALL:
            assert len(seen) >= 3, "some without scrolling"
            for _ in MANY_EDITS:
                await pilot.press("down")
                seen |= {edit for edit in MANY_EDITS if edit in screen_text(app)}
                if MANY_EDITS[-1] in seen:
                    break
        assert seen == set(MANY_EDITS)
        assert "shop.orders" in screen_text(app)
        assert "Back" in screen_text(app), "the answers are never pushed out"


def test_edits_of_a_plan_have_a_line_each() -> None:
    assert edits_words(["a: x"]) == "Edit: a: x"
    assert (
        edits_words(["a: x", "b: y", "c: z", "d", "e"]) == "Edits: a: x\n       b: y\n       c: z\n       d\n       e"
    )


# --- the header -------------------------------------------------------------------------------------------------------


NAMES = " 1 Setup  2 Plan  3 Run  4 Verify  5 History "


async def test_a_narrow_header_has_the_names_of_the_screens_and_the_target(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "● running")
        await until(pilot, lambda: screen_text(app).startswith(NAMES))
        top = screen_text(app).split("\n")[0]
        assert "→ pg1" in top
        assert top.endswith(" ● running ")


async def test_where_the_state_takes_the_room_the_screens_have_their_keys(engine: ScriptedEngine) -> None:
    app = on_run(engine, completed(rejected=14_000_000, verification_level="counts", verified_before_retry=True))
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: screen_text(app).split("\n")[0].rstrip().endswith("retried since"))
        assert screen_text(app).startswith(" 1  2  3 Run  4  5 ")


@pytest.mark.parametrize("size", SIZES)
async def test_a_message_is_never_over_the_state(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_run(engine, completed(rejected=14, verification_level="counts"))
    async with app.run_test(size=size, notifications=True) as pilot:
        await until_shown(pilot, "✓ counts match, 14 rejected")
        app.notify("Written: " + "a-long-folder/" * 8, markup=False)
        await until_shown(pilot, "Written:")
        width = app.screen.query_one(Header).state_width
        state = Region(size[0] - width, 0, width, 1)
        assert not app.screen.query_one("Toast").region.overlaps(state)
        assert "✓ counts match, 14 rejected" in screen_text(app).split("\n")[0]


# --- exports ----------------------------------------------------------------------------------------------------------


async def test_a_report_has_one_name_on_every_screen_and_the_next_one_a_number(
    engine: ScriptedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"report-{RUNS[0].run_id}"
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("4")
        await until_shown(pilot, "as counted at the run's end")
        await pilot.press("E")
        await until_shown(pilot, "Export the report", f"{name}.html")
        await pilot.press("enter")
        await until(pilot, lambda: (tmp_path / f"{name}.html").exists())
        await pilot.press("5")
        await until_shown(pilot, "912,000")
        await pilot.press("E")
        await until_shown(pilot, "Export the report", f"{name}-2.html")
