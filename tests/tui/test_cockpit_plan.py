"""The Plan screen: what becomes of what, as the engine proposes it and as the operator edits it."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input, OptionList, Static

from engine.mapping import options
from engine.mapping.model import Column, ColumnType, Kind, Role
from engine.mapping.options import POLICIES, MappingOptions
from engine.plan.reading import read_plan
from engine.plan.writing import write_plan
from engine.protocol import ColumnView, CountingView, SavedPlan, SavedTable, TypeChoice, ValuesView
from tests.tui.driving import (
    NEVER_S,
    SOURCE_URI,
    TARGET_URI,
    click,
    input_in,
    on_run,
    on_setup,
    process_of,
    screen_text,
    settings_with_servers,
    until,
    until_shown,
)
from tests.tui.scripted_answers import TOML
from tests.tui.scripted_engine import ScriptedEngine, running
from tui.cockpit.app import Cockpit
from tui.cockpit.dialogs.column import type_line
from tui.cockpit.dialogs.settings import SettingsDialog
from tui.cockpit.plan_edits import PlanFile
from tui.cockpit.screens import plan as plan_screen
from tui.cockpit.screens.plan import PlanScreen
from tui.cockpit.screens.setup import SetupScreen
from tui.cockpit.widgets.fields import ChoiceField
from tui.words.census import kinds_words, values_words
from tui.words.format import about

LEAVE_TOTAL_OUT = {"kind": "leave_out", "schema_name": "public", "table": "orders", "column": "total"}


async def to_plan(pilot: Pilot[Any]) -> None:
    await until_shown(pilot, "3 of 4 selected")
    await pilot.press("2")
    await until_shown(pilot, "shop.orders → public.orders", "1 of 2 collections")


def screen_of(app: Cockpit) -> PlanScreen:
    assert isinstance(app.screen, PlanScreen)
    return app.screen


async def set_naming(pilot: Pilot[Any], naming: str) -> None:
    """From any screen, change how columns are called, and stay on Setup."""
    await pilot.press("1", "f4")
    await until_shown(pilot, "target.schema", "Apply")
    dialog = pilot.app.screen
    assert isinstance(dialog, SettingsDialog)
    dialog.query_one("#setting-mapping-naming", ChoiceField).selected = naming
    dialog.query_one("#setting-target-schema", Input).value = "crm"
    dialog.query_one("#apply", Button).press()
    await until(pilot, lambda: isinstance(pilot.app.screen, SetupScreen))


async def edit_once(pilot: Pilot[Any]) -> str:
    """Leave a field out; the plan as it is then."""
    await to_plan(pilot)
    await pilot.press("down", "i")
    await until_shown(pilot, "1 edit")
    assert isinstance(pilot.app, Cockpit)
    return screen_of(pilot.app).edited_text


async def change_column(pilot: Pilot[Any], field: str, what: str, value: str, *, is_refused: bool = False) -> None:
    """Change one thing of the column under the cursor, which is that of a field, in the column's dialog."""
    await pilot.press("e")
    await until_shown(pilot, f"Field {field}")
    pilot.app.screen.query_one(what, Input).value = value
    await pilot.press("enter")
    await until(pilot, lambda: is_refused or isinstance(pilot.app.screen, PlanScreen))


async def start_edited_plan(pilot: Pilot[Any]) -> None:
    """Ask for a run of the plan that is shown, and say yes."""
    await pilot.press("f9")
    await until_shown(pilot, "Start with", "plan edit", "target shop")
    await pilot.press("enter")


async def save_into(pilot: Pilot[Any], file: Path) -> None:
    """Ask for the plan to be saved under this name."""
    await pilot.press("w")
    await until_shown(pilot, "Save the plan")
    pilot.app.screen.query_one(Input).value = str(file)
    await pilot.press("enter")


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_the_plan_shows_fields_kinds_preview_and_warnings(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_plan(pilot)
        await until_shown(pilot, "address.city", "99%", "double 98%, int 2%", "double precision", "! total: 2%")
        if size[0] > 100:
            await until_shown(pilot, "19.9", "! rejected: nul in name", "10,000 sampled", "about 2m 06s")


async def test_what_is_planned_is_what_is_chosen_on_setup(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("space", "2")
        await until_shown(pilot, "1 of 2 collections")
        await pilot.press("1", "2")
        await pilot.pause(0.1)
        assert [each["collections"] for each in engine.received("plan")] == [["shop.orders", "shop.products"]]


async def test_a_plan_is_made_with_the_settings_of_setup_and_again_when_those_change(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        sent = engine.received("plan")[0]["settings"]
        target = {name: sent["target"][name] for name in ("schema", "uri")}
        assert (sent["mapping"]["naming"], target, sent["source"]["uri"]) == (
            "snake_case", {"schema": "public", "uri": TARGET_URI}, SOURCE_URI,
        )  # fmt: skip
        await set_naming(pilot, "preserve")
        await pilot.press("2")
        await until(pilot, lambda: len(engine.received("plan")) == 2)
        sent = engine.received("plan")[1]["settings"]
        assert (sent["mapping"]["naming"], sent["target"]["schema"]) == ("preserve", "crm")


async def test_what_does_not_change_a_plan_does_not_make_it_anew(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        await pilot.press("1")
        input_in(app, "#knob-page_size").value = "5,000"
        await pilot.press("2")
        await pilot.pause(0.3)
        assert len(engine.received("plan")) == 1


async def test_a_guest_sees_the_plan_of_the_run_and_not_of_settings_of_its_own(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("2")
        await until(pilot, lambda: engine.received("plan"))
        assert engine.received("plan")[0]["settings"] == {}


async def test_with_no_collection_chosen_there_is_nothing_to_plan_until_one_is(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("a", "2")
        await until_shown(pilot, "! No collection is selected")
        assert engine.received("plan") == []
        await pilot.press("1", "space", "2")
        await until_shown(pilot, "1 of 2 collections")
        assert engine.received("plan")[0]["collections"] == ["shop.customers"]


async def test_edits_go_on_to_the_plan_of_what_setup_says_now(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await edit_once(pilot)
        await set_naming(pilot, "preserve")
        engine.plan_text = TOML.replace('column = "total", type = "double', 'column = "Total", type = "double')
        await pilot.press("2")
        await until(pilot, lambda: len(engine.received("plan")) == 4 and app.situation.has_result)
        proposal, edited = engine.received("plan")[2:]
        assert (proposal["plan"], proposal["edits"], proposal["recount"]) == ("", [], False)
        assert (edited["plan"], edited["settings"]["mapping"]["naming"]) == (engine.plan_text, "preserve")
        await until_shown(pilot, "1 edit", "(excluded)")
        assert "no place" not in screen_text(app)


async def test_a_mode_that_is_chosen_after_edits_is_that_of_the_run_and_they_stay(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await edit_once(pilot)
        await pilot.press("1")
        app.screen.query_one("#mode-choice", ChoiceField).selected = "append"
        engine.plan_text = TOML.replace('mode = "create"', 'mode = "append"')
        await pilot.press("escape", "f9")
        await until_shown(pilot, "Start with 1 plan edit?", "mode append", "1 plan edit: on top")
        await pilot.press("enter")
        await until(pilot, lambda: engine.received("start"))
        started = tomllib.loads(engine.received("start")[0]["plan"])
        assert (started["mode"], started["tables"][0]["exclude"]) == ("append", ["total"])


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_edits_without_a_place_in_the_new_plan_are_said_and_come_back(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await edit_once(pilot)
        await pilot.press("1")
        app.screen.query_one("#mode-choice", ChoiceField).selected = "append"
        engine.plan_text = TOML.replace("orders", "sales")
        await pilot.press("escape", "f9")
        await until_shown(pilot, "Start this run?", "! Without the edit of shop.orders, total: excluded")
        await pilot.press("escape")
        await until_shown(pilot, "! 1 edit has no place in this plan: shop.orders, total: excluded")
        await until_shown(pilot, "is not in the plan")
        await pilot.press("1")
        app.screen.query_one("#mode-choice", ChoiceField).selected = "create"
        engine.plan_text = TOML
        await pilot.press("2")
        await until_shown(pilot, "1 edit", "(excluded)")
        assert "no place" not in screen_text(app)


async def test_edits_that_a_new_plan_has_by_itself_are_said(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        await pilot.press("down")
        await change_column(pilot, "total", "#type", "numeric")
        await until_shown(pilot, "1 edit ")
        await pilot.press("i")
        await until_shown(pilot, "(excluded)")
        await pilot.press("u")
        await until(pilot, lambda: "(excluded)" not in screen_text(app))
        engine.plan_text = TOML.replace('type = "double precision"', 'type = "numeric"')
        await pilot.press("r")
        await until_shown(pilot, "This plan has 1 edit by itself now: shop.orders, total: type numeric")
        assert "1 edit " not in screen_text(app).replace("has 1 edit ", "")
        await pilot.press("down", "i")
        await until_shown(pilot, "   1 edit ")
        assert "by itself" not in screen_text(app)


async def test_edits_stay_without_a_question_when_setup_says_nothing_against_them(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        edited = await edit_once(pilot)
        await pilot.press("1")
        input_in(app, "#knob-cluster_size").value = "12"
        await pilot.press("2")
        await until(pilot, lambda: len(engine.received("plan")) == 3)
        assert screen_of(app).edited_text == edited
        assert engine.received("plan")[2]["edits"] == [LEAVE_TOTAL_OUT]
        assert engine.received("plan")[2]["settings"]["run"]["cluster_size"] == 12


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_a_start_from_setup_uses_the_edits_or_says_that_it_does_not(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        edited = await edit_once(pilot)
        await pilot.press("1", "f9")
        await until_shown(pilot, "Start with 1 plan edit?", "2 collections, about", "1 plan edit: on top")
        assert "Setup has changed" not in screen_text(app)
        await click(pilot, "#plain")
        await until_shown(pilot, "Start this run?", "3 collections, about")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, SetupScreen))
        await pilot.press("space", "f9")
        await until(pilot, lambda: len(engine.received("plan")) == 4)
        await until_shown(pilot, "Start with 1 plan edit?", "target shop")
        await click(pilot, "#go")
        await until(pilot, lambda: engine.received("start"))
        assert engine.received("start")[0]["plan"] == edited


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_a_column_gets_policies_of_its_own_and_loses_them(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_plan(pilot)
        await pilot.press("down", "e")
        await until_shown(
            pilot, "Field total", "overflow", "(•) inherit (reject)  ( ) keep in _extra  ( ) reject", "Apply"
        )
        app.screen.query_one("#type", Input).value = "text"
        await until_shown(pilot, "nul", "( ) strip", "utf8")
        app.screen.query_one("#nul", ChoiceField).selected = "strip"
        app.screen.query_one("#utf8", ChoiceField).selected = "replace"
        app.screen.query_one("#apply", Button).press()
        await until(pilot, lambda: isinstance(app.screen, PlanScreen))
        await until_shown(pilot, "1 edit · u undo")
        column = tomllib.loads(screen_of(app).edited_text)["tables"][0]["columns"][1]
        assert column == {
            "field": "total", "column": "total", "type": "text", "nul": "strip", "utf8": "replace",
        }  # fmt: skip
        await pilot.press("e")
        await until_shown(pilot, "(•) strip", "(•) replace")
        app.screen.query_one("#nul", ChoiceField).selected = "inherit (reject)"
        app.screen.query_one("#apply", Button).press()
        await until(pilot, lambda: isinstance(app.screen, PlanScreen))

        def edited() -> dict[str, object]:
            return dict(tomllib.loads(screen_of(app).edited_text)["tables"][0]["columns"][1])

        await until(pilot, lambda: "nul" not in edited())
        column = edited()
        assert "nul" not in column
        assert column["utf8"] == "replace"


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_the_dialog_says_what_is_set_for_all_columns(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    said = {policy: options.choices(policy)[0] for policy in POLICIES}
    section = "".join(f'{policy} = "{word}"\n' for policy, word in said.items())
    last = '  { role = "extra", column = "_extra", type = "jsonb" },\n]\n'
    with_extra = (TOML + "\n").replace("]\n\n", f"{last}\n")
    engine.plan_text = with_extra.replace('overflow = "reject"\n', section)
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_plan(pilot)
        await pilot.press("down", "e")
        await until_shown(pilot, "Plan defaults: nul → reject", "overflow → _extra", "Apply")


async def test_a_column_of_no_field_has_no_policies(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        await pilot.press("home", "e")
        await until_shown(pilot, "Field _id", "Apply")
        assert not app.screen.query(ChoiceField)


async def test_a_field_that_was_left_out_is_put_back_whatever_was_edited_after_it(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await edit_once(pilot)
        await pilot.press("down")
        await change_column(pilot, "address.city", "#column", "town")
        await until_shown(pilot, "2 edits")
        await pilot.press("b")
        await until_shown(pilot, "Excluded fields", "total")
        await pilot.press("enter")
        await until_shown(pilot, "1 edit ")
        table = tomllib.loads(screen_of(app).edited_text)["tables"][0]
        assert table["exclude"] == []
        assert [column["column"] for column in table["columns"]] == ["_id", "total", "town"]
        await pilot.press("b")
        await pilot.pause(0.1)
        assert isinstance(app.screen, PlanScreen)


async def test_i_excludes_a_field_and_includes_it_again_on_its_own_line(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await edit_once(pilot)
        await until_shown(pilot, "(excluded)", "1 excluded: total")
        lines = [line for line in screen_text(app).split("\n") if "(excluded)" in line or "address_city" in line]
        assert "(excluded)" in lines[0]  # where its column was, with the cursor on it
        await pilot.press("i")
        await until(pilot, lambda: "1 edit" not in screen_text(app))
        table = tomllib.loads(screen_of(app).edited_text)["tables"][0]
        assert [column["column"] for column in table["columns"]] == ["_id", "total", "address_city"]
        await pilot.press("n", "end", "i")
        await until_shown(pilot, "1 edit ")
        assert tomllib.loads(screen_of(app).edited_text)["tables"][1]["columns"][-1]["field"] == "old"


async def test_n_goes_to_the_next_collection_and_v_shows_the_sql(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        await pilot.press("n")
        await until_shown(pilot, "shop.customers → public.customers", "Other collections")
        await pilot.press("v")
        await until_shown(pilot, "CREATE TABLE public.customers (")
        await pilot.press("v", "N")
        await until_shown(pilot, "shop.orders → public.orders")


async def test_a_column_is_retyped_and_the_edited_plan_is_what_is_started(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        await pilot.press("down")
        await change_column(pilot, "total", "#type", "numeric")
        await until_shown(pilot, "1 edit")
        edited = screen_of(app).edited_text
        assert tomllib.loads(edited)["tables"][0]["columns"][1]["type"] == "numeric"
        await start_edited_plan(pilot)
        await until(pilot, lambda: engine.received("start"))
        assert engine.received("start")[0]["plan"] == edited


async def test_an_edit_that_the_engine_refuses_leaves_the_plan_as_it_was(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        engine.refusals["plan"] = ("usage", "tables[0]: _id cannot be left out.")
        await pilot.press("down", "i")
        await until_shown(pilot, "! tables[0]: _id cannot be left out.")
        assert screen_of(app).edited_text == ""
        del engine.refusals["plan"]
        await pilot.press("i")
        await until_shown(pilot, "1 edit")
        await pilot.press("u")
        await until(pilot, lambda: screen_of(app).edited_text == "" and "1 edit" not in screen_text(app))


async def test_while_the_census_runs_it_says_so_and_nothing_can_be_started(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        engine.is_mute = True
        await pilot.press("2")
        await until_shown(pilot, "sampling documents")
        assert not app.situation.has_result


async def test_a_full_census_shows_how_far_it_is_and_holds_for_the_run(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await to_plan(pilot)
        engine.is_mute = True
        await pilot.press("f")
        await until(pilot, lambda: len(engine.received("plan")) == 2)
        counting = CountingView(collections=["shop.orders"], seen=250_000, total=1_000_000, rows_per_s=400_000, eta_s=2)
        engine.show(counting=counting)
        await until_shown(pilot, "counting ", "25.0%", "250,000 / 1,000,000", "400k/s", "2s left")
        assert (engine.received("plan")[1]["census"], engine.received("plan")[1]["recount"]) == ("full", True)
        await pilot.press("escape")
        await until(pilot, lambda: engine.received("cancel"))


async def test_who_counted_all_edits_and_starts_with_that(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        await pilot.press("f")
        await until(pilot, lambda: len(engine.received("plan")) == 2 and app.situation.has_result)
        await pilot.press("down", "i")
        await until_shown(pilot, "1 edit")
        assert (engine.received("plan")[2]["census"], engine.received("plan")[2]["recount"]) == ("full", False)
        await start_edited_plan(pilot)
        await until(pilot, lambda: engine.received("start"))
        assert engine.received("start")[0]["settings"]["run"]["census"] == "full"


async def test_a_full_census_that_is_refused_leaves_the_sample(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        engine.refusals["plan"] = ("cancelled", "The census was cancelled.")
        await pilot.press("f")
        await until_shown(pilot, "! The census was cancelled.")
        del engine.refusals["plan"]
        await pilot.press("r")
        await until(pilot, lambda: len(engine.received("plan")) == 3)
        assert [each["census"] for each in engine.received("plan")] == ["sample", "full", "sample"]


async def test_s_plans_from_a_sample_again_after_a_full_census(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        await pilot.press("f")
        await until(pilot, lambda: len(engine.received("plan")) == 2 and app.situation.has_result)
        await pilot.press("s")
        await until(pilot, lambda: len(engine.received("plan")) == 3)
        assert engine.received("plan")[2]["census"] == "sample"
        await until(pilot, lambda: app.situation.has_result and not app.situation.is_counted)


async def test_the_plan_is_saved_and_a_file_overwritten_only_when_that_is_said(
    engine: ScriptedEngine, tmp_path: Path
) -> None:
    app = on_setup(engine)
    file = tmp_path / "plan.toml"
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        await save_into(pilot, file)
        await until(pilot, file.exists)
        assert file.read_text() == TOML
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        await until(pilot, lambda: isinstance(app.screen, PlanScreen))
        await save_into(pilot, file)
        await until_shown(pilot, "already exists. Enter again overwrites it.")
        assert file.read_text() == TOML
        file.write_text("another")
        await pilot.press("enter")
        await until(pilot, lambda: file.read_text() == TOML)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_edits_are_undone_and_done_again_one_by_one(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await edit_once(pilot)
        once = screen_of(app).edited_text
        assert not app.situation.has_undone
        await pilot.press("down")
        await change_column(pilot, "address.city", "#column", "town")
        await until_shown(pilot, "2 edits", "town")
        twice = screen_of(app).edited_text
        await pilot.press("u")
        await until(pilot, lambda: "1 edit" in screen_text(app) and screen_of(app).edited_text == once)
        await pilot.press("u")
        await until(pilot, lambda: "1 edit" not in screen_text(app) and "double precision" in screen_text(app))
        assert (engine.received("plan")[-1]["plan"], engine.received("plan")[-1]["edits"]) == ("", [])
        await pilot.press("u", "U")
        await until(pilot, lambda: screen_of(app).edited_text == once)
        await pilot.press("U")
        await until(pilot, lambda: screen_of(app).edited_text == twice)
        await pilot.press("U")
        assert not app.situation.has_undone
        await pilot.press("u")
        await until(pilot, lambda: app.situation.has_undone)
        await change_column(pilot, "address.city", "#column", "city")
        await until(pilot, lambda: app.situation.has_edits and not app.situation.has_undone)


async def test_an_edit_that_cannot_be_undone_now_stays(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        edited = await edit_once(pilot)
        engine.refusals["plan"] = ("connect", "MongoDB at db1 cannot be reached.")
        await pilot.press("u")
        await until_shown(pilot, "! MongoDB at db1 cannot be reached.")
        assert screen_of(app).edited_text == edited


async def test_a_type_that_there_is_not_is_refused_at_once(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        await pilot.press("down")
        await change_column(pilot, "total", "#type", "txt", is_refused=True)
        await until_shown(pilot, "There is no type txt for this field; did you mean text?", "Apply")
        assert app.screen.query_one("#type", Input).value == "txt"
        assert len(engine.received("plan")) == 1


async def test_what_only_the_engine_knows_is_refused_by_it(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        await pilot.press("down")
        await change_column(pilot, "total", "#column", "_id", is_refused=True)
        await until_shown(pilot, "2 columns are called _id; rename all but one.", "Apply")
        assert app.screen.query_one("#column", Input).value == "_id"
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, PlanScreen))
        assert screen_of(app).edited_text == ""


def hostile_plan() -> SavedPlan:
    """Names that would end a string, a line or a table of TOML, or be markup of the screen."""
    id_column = Column(name="_id", type=ColumnType.TEXT, role=Role.ID, path=("_id",), kinds=frozenset({Kind.STRING}))
    paths = [("a.b", "x\n[[tables]]"), ("a", "b"), ('"', "# }"), ("é – ✓\u200b",)]
    names = [' \'it"s" ', "[bold]b[/bold]", "c }, # d", "é – ✓"]
    fields = [
        Column(name=name, type=ColumnType.TEXT, path=path, kinds=frozenset({Kind.STRING}))
        for name, path in zip(names, paths, strict=True)
    ]
    tables = [
        SavedTable(
            database="shop", collection=collection, schema_name='s"] = ', table=table, columns=(id_column, *fields)
        )
        for collection, table in (('x\n[[tables]]"', "t.'1'\"]"), ("y\\u000a.z", "[t]"))
    ]
    return SavedPlan(options=MappingOptions(overflow="reject"), tables=tuple(tables))


@pytest.mark.parametrize("size", [(120, 40), pytest.param((80, 24), marks=pytest.mark.slow)])
async def test_names_that_mean_something_elsewhere_are_edited_like_any(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    plan = hostile_plan()
    engine.plan_text = write_plan(plan)
    assert read_plan(engine.plan_text) == plan
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_plan(pilot)
        for number in range(4):
            await pilot.press("home", *["down"] * (number + 1), "i")
            await until_shown(pilot, f"{number + 1} edit")
            await until(pilot, lambda: app.situation.has_result)
        (first, second) = read_plan(screen_of(app).edited_text).tables
        assert first.ignored == tuple(column.path for column in (plan.tables[0].columns or ())[1:])
        assert second == plan.tables[1]
        for number in range(4):
            await pilot.press("b")
            await until_shown(pilot, "include one")
            await pilot.press("enter")
            n_left = 3 - number
            await until_shown(pilot, f"   {n_left} edit" if n_left else "")
        await until(pilot, lambda: "1 edit" not in screen_text(app))
        assert read_plan(screen_of(app).edited_text) == plan
        await pilot.press("n", "home", "down", "e")
        await until_shown(pilot, "Apply")
        app.screen.query_one("#type", Input).value = "jsonb"
        app.screen.query_one("#apply", Button).press()
        await until(pilot, lambda: isinstance(app.screen, PlanScreen))
        await until_shown(pilot, "1 edit ")
        (first, second) = read_plan(screen_of(app).edited_text).tables
        assert first == plan.tables[0]
        changed = (second.columns or ())[1]
        assert (changed.name, changed.sql_type) == (' \'it"s" ', "jsonb")


async def test_a_plan_of_a_version_that_is_not_known_is_shown_and_not_edited(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = on_setup(engine)
    answer = engine._answer

    def newer(command: dict[str, Any]) -> dict[str, Any]:
        found = answer(command)
        if command["name"] == "plan":
            found["result"]["saved"]["options"]["colours"] = "many"
        return found

    monkeypatch.setattr(engine, "_answer", newer)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        for key in ("e", "i"):
            await pilot.press("down", key)
            await until_shown(pilot, "The engine is of another version, whose plans cannot be edited here")
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, PlanScreen))


# --- what a first user stumbled over -------------------------------------------------------------------------------


async def test_b7_the_sql_on_the_screen_is_that_of_the_command_line(engine: ScriptedEngine) -> None:
    answer = engine._answer

    def with_index(command: dict[str, Any]) -> dict[str, Any]:
        found = answer(command)
        if command["name"] == "plan":
            sql = 'CREATE UNIQUE INDEX "email_key" ON "public"."orders" ("email")'
            table = found["result"]["tables"][0]
            table["indexes"] = [{"name": "email_key", "source_name": "email_1", "unique": True, "sql": sql}]
            table["ddl"] += f"-- {sql};\n"
        return found

    engine._answer = with_index  # type: ignore[method-assign]
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        await pilot.press("v")
        await until_shown(pilot, "CREATE TABLE public.orders (", "-- CREATE UNIQUE INDEX")
        plan = screen_of(app).plan
        assert plan is not None
        shown = str(app.screen.query_one("#ddl-text", Static).content)
        assert shown.splitlines() == plan.tables[0].ddl.splitlines()


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_t4_q_asks_before_edits_are_lost(engine: ScriptedEngine, size: tuple[int, int], tmp_path: Path) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await edit_once(pilot)
        await pilot.press("q")
        await until_shown(pilot, "Leave now?", "The plan has 1 edit that is in no file and in no run")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, PlanScreen))
        await save_into(pilot, tmp_path / "plan.toml")
        await until_shown(pilot, "1 edit")
        assert app.leaving.would_lose == ""
        await pilot.press("u")
        await until(pilot, lambda: app.leaving.would_lose and not app.situation.has_edits)
        await pilot.press("U")
        await until_shown(pilot, "1 edit")
        await pilot.press("q")
        await until(pilot, lambda: app.leaving.has_begun)


async def test_t4_edits_that_were_started_are_not_lost(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await edit_once(pilot)
        assert app.leaving.would_lose
        await start_edited_plan(pilot)
        await until(pilot, lambda: engine.received("start") and not app.leaving.would_lose)


async def test_t4_opening_a_file_asks_before_edits_are_lost(engine: ScriptedEngine, tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(TOML.replace('column = "total"', 'column = "amount"'))
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await edit_once(pilot)
        await pilot.press("o")
        await until_shown(
            pilot, "Open another plan?", "1 edit that is in no file and in no run", "Save first…", "Lose 1 edit"
        )
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, PlanScreen))
        assert app.situation.has_edits
        await pilot.press("o")
        await until_shown(pilot, "Open another plan?")
        await click(pilot, "#go")
        await until_shown(pilot, "Open a plan")
        pilot.app.screen.query_one(Input).value = str(file)
        await pilot.press("enter")
        await until_shown(pilot, "amount", "plan.toml")
        assert not app.situation.has_edits


async def test_t10_keys_typed_while_the_plan_is_sampled_are_ignored_together(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_screen, "BURST_S", 60.0)  # a busy machine takes its time from key to key
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        engine.held = {"plan"}
        await pilot.press("r")
        await until(pilot, lambda: len(engine.received("plan")) == 2)
        for key in "ejson":
            await pilot.press(key)
        await until_shown(pilot, "keys are ignored until the plan is there")
        engine.let_go()
        for key in ("b", "n", "i", "enter"):
            await pilot.press(key)
        await until(pilot, lambda: app.situation.has_result)
        assert isinstance(app.screen, PlanScreen)
        assert (app.screen.table_index, app.situation.has_edits) == (0, False)
        monkeypatch.setattr(plan_screen, "BURST_S", 0.0)
        await pilot.press("down", "e")
        await until_shown(pilot, "Field total")


async def test_t10_edits_made_while_one_is_planned_with_are_all_made(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        engine.held = {"plan"}
        await pilot.press("down", "i")
        await until(pilot, lambda: len(engine.received("plan")) == 2)
        await pilot.press("down", "i")
        engine.let_go()
        await until_shown(pilot, "2 edits")
        table = tomllib.loads(screen_of(app).edited_text)["tables"][0]
        assert table["exclude"] == ["total", "address.city"]


async def test_f4_an_edit_asks_for_nothing_to_be_read_again(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await edit_once(pilot)
        await pilot.press("u")
        await until(pilot, lambda: len(engine.received("plan")) == 3)
        assert [each["recount"] for each in engine.received("plan")][1:] == [False, False]
        await until(pilot, lambda: not app.situation.has_edits)
        await pilot.press("r")
        await until(pilot, lambda: len(engine.received("plan")) == 4)
        assert engine.received("plan")[3]["recount"]


def test_a_type_for_whole_numbers_says_what_becomes_of_fractions() -> None:
    def words(*, takes: float = 100.0, **facts: bool) -> str:
        return type_line(TypeChoice("bigint", takes, **facts), 8, "go to _extra").plain

    assert words() == "bigint  takes all values seen"
    assert words(wants_whole=True) == "bigint  fractions (1.5) go to _extra"
    assert words(is_exceeded=True) == "bigint  too large numbers go to _extra"
    assert words(wants_whole=True, is_exceeded=True) == "bigint  fractions, too large go to _extra"
    assert words(takes=80.0, wants_whole=True) == "bigint  up to 80%; others go to _extra"
    assert words(takes=0.0) == "bigint  takes none of the values seen"


async def test_types_say_what_becomes_of_the_values_that_they_do_not_take(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await to_plan(pilot)
        await pilot.press("down", "e")
        await until_shown(pilot, "Field total", "up to 98%; others are rejected", "takes 98%; others are rejected")
        app.screen.query_one("#overflow", ChoiceField).selected = "_extra"
        await until_shown(pilot, "up to 98%; others go to _extra", "takes 98%; others go to _extra")


async def test_a_narrow_plan_names_the_keys_and_the_columns_that_have_no_room(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await to_plan(pilot)
        await until_shown(pilot, "Fields · enter details, null, values · n N collection · c list · v SQL")
        await pilot.press("down", "i")
        await until_shown(pilot, "1 edit · u undo", "v SQL")


async def test_a_mode_is_found_in_the_palette_and_the_plan_follows_it(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await edit_once(pilot)
        engine.plan_text = TOML.replace('mode = "create"', 'mode = "upsert"')
        await pilot.press("ctrl+p", *"upsert")
        await until_shown(pilot, "mode upsert", "rows with the same _id are replaced")
        await pilot.press("enter")
        await until(pilot, lambda: 'mode = "upsert"' in screen_of(app).edited_text)
        assert screen_of(app).n_unsaved == 1


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_f4_types_are_chosen_from_a_list_that_what_is_typed_narrows(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_plan(pilot)
        await pilot.press("down", "e")
        await until_shown(pilot, "Field total", "takes all values seen", "takes 98%; others are rejected", "Apply")
        assert app.screen.query_one("#column", Input).has_focus
        listed = app.screen.query_one("#types", OptionList)
        names = [str(option.prompt).split("  ")[0] for option in listed.options]
        assert names == ["text", "bigint", "numeric", "double precision", "jsonb", "json"]
        await pilot.press("tab", *"varchar")
        await until(pilot, lambda: [str(each.prompt).split("  ")[0] for each in listed.options] == ["text"])
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PlanScreen) and "1 edit" in screen_text(app))
        assert tomllib.loads(screen_of(app).edited_text)["tables"][0]["columns"][1]["type"] == "text"
        await pilot.press("e")
        await until_shown(pilot, "Field total", "Apply")
        await pilot.press("tab", "down", "enter")
        await until(pilot, lambda: isinstance(app.screen, PlanScreen))
        await until(
            pilot, lambda: tomllib.loads(screen_of(app).edited_text)["tables"][0]["columns"][1]["type"] == "bigint"
        )
        await until_shown(pilot, "1 edit")  # of one column, whatever it was in between


async def test_arrows_choose_another_type_from_the_name_of_the_column_too(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        await pilot.press("down", "e")
        await until_shown(pilot, "Field total", "Apply")
        assert app.screen.query_one("#column", Input).has_focus
        await pilot.press("up")
        assert app.screen.query_one("#type", Input).has_focus
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PlanScreen) and "1 edit" in screen_text(app))
        assert tomllib.loads(screen_of(app).edited_text)["tables"][0]["columns"][1]["type"] == "numeric"


async def test_enter_applies_from_the_row_of_a_policy(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await to_plan(pilot)
        await pilot.press("down", "e")
        await until_shown(pilot, "Field total", "Apply")
        app.screen.query_one("#overflow", ChoiceField).focus()
        await pilot.press("right", "right", "enter")
        await until(pilot, lambda: isinstance(app.screen, PlanScreen) and "1 edit" in screen_text(app))
        assert tomllib.loads(screen_of(app).edited_text)["tables"][0]["columns"][1]["overflow"] == "reject"


async def test_the_list_of_types_is_lit_in_its_place_and_enter_applies_from_it(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await to_plan(pilot)
        await pilot.press("down", "e")
        await until_shown(pilot, "Field total", "Apply")
        listed, field = app.screen.query_one("#types", OptionList), app.screen.query_one("#type", Input)
        assert not listed.styles.border_left[0]
        first = listed.content_region
        await pilot.press("tab", "tab")
        await until(pilot, lambda: listed.has_focus and bool(listed.styles.border_left[0]))
        assert listed.content_region == first  # what is lit moves nothing
        await pilot.press("home")
        await until(pilot, lambda: field.value == "text")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PlanScreen) and "1 edit" in screen_text(app))
        assert tomllib.loads(screen_of(app).edited_text)["tables"][0]["columns"][1]["type"] == "text"


async def test_f4_only_policies_that_can_apply_are_offered(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        await pilot.press("end", "e")
        await until_shown(pilot, "Field address.city", "nul", "utf8", "overflow", "Apply")
        assert "date_range" not in screen_text(app).partition("Seen:")[0]


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_f4_edited_lines_are_marked(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_plan(pilot)
        await pilot.press("down")
        await change_column(pilot, "total", "#column", "amount")
        await until_shown(pilot, "1 edit", "*  total")
        assert "*  _id" not in screen_text(app)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_f5_what_is_cut_off_is_one_enter_away(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_plan(pilot)
        await pilot.press("down", "enter")
        await until_shown(
            pilot, "Field total", "BSON types", "double               98%", "Policies", "inherit (reject)", "19.9"
        )
        assert not engine.received("start")


async def test_f5_kinds_are_in_descending_order_and_rare_ones_are_counted() -> None:
    column = ColumnView(
        field="price", column="price", type="jsonb", seen_percent=100.0, values=ValuesView(present=8_000, nul=80, longest=18),
        kinds={"int64": 0.5, "int32": 97.0, "string": 2.5},
    )  # fmt: skip
    assert kinds_words(column) == ["int32 97%", "string 2.5%", "int64 40 of 8,000"]
    assert values_words(column.values) == "80 with NUL, max 18 chars"


async def test_f5_rejected_examples_come_first(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await to_plan(pilot)
        await until_shown(pilot, "! rejected: nul in name", "Preview (1 rejected)")


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_f5_the_collections_are_a_list(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_plan(pilot)
        await pilot.press("c")
        if size[0] < 100:
            await until_shown(pilot, "Collections of the plan", "shop.customers")
        await pilot.press("down", "enter")
        await until_shown(pilot, "shop.customers → public.customers", "2 of 2 collections")
        await until(
            pilot, lambda: isinstance(app.screen, PlanScreen) and app.screen.query_one("#fields Lines").has_focus
        )


async def test_f5_a_short_time_is_under_a_second() -> None:
    assert [about(seconds) for seconds in (0.0, 0.9, 1.0, 126.0)] == [
        "under 1 s", "under 1 s", "about 1s", "about 2m 06s",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_f6_schema_table_and_filter_of_a_collection_are_edited(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_plan(pilot)
        await pilot.press("t")
        await until_shown(pilot, "Collection shop.orders", "Schema", "Filter", "Apply")
        app.screen.query_one("#filter", Input).value = "{"
        await pilot.press("enter")
        await until_shown(pilot, "it must be Extended JSON", "Apply")
        app.screen.query_one("#schema", Input).value = "crm"
        app.screen.query_one("#table", Input).value = "sales"
        app.screen.query_one("#filter", Input).value = '{"active": true}'
        await pilot.press("enter")
        await until_shown(pilot, "shop.orders → crm.sales", 'filter {"active": true}', "1 edit · u undo")
        await until(pilot, lambda: isinstance(app.screen, PlanScreen))
        table = tomllib.loads(screen_of(app).edited_text)["tables"][0]
        assert (table["schema"], table["table"], table["filter"]) == ("crm", "sales", '{"active": true}')
        await pilot.press("u")
        await until_shown(pilot, "shop.orders → public.orders")


async def test_f6_one_field_is_flattened(engine: ScriptedEngine) -> None:
    engine.plan_text = TOML.replace(
        '{ field = "address.city", column = "address_city", type = "text", kinds = ["string"] }',
        '{ field = "address", column = "address", type = "jsonb" }',
    )
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        await pilot.press("end", "x")
        await until_shown(pilot, "1 edit", "*  address.city", "*  address.street")
        columns = tomllib.loads(screen_of(app).edited_text)["tables"][0]["columns"]
        assert [column["column"] for column in columns] == ["_id", "total", "address_city", "address_street"]
        await pilot.press("home", "x")
        await until_shown(pilot, "Column _id cannot be flattened")


async def test_f6_a_saved_plan_is_opened_and_started_as_it_is(
    engine: ScriptedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # what is said of a long path would be cut into other lines
    file = tmp_path / "mine.toml"
    file.write_text(TOML.replace('column = "total"', 'column = "amount"'))
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        await pilot.press("o")
        await until_shown(pilot, "Open a plan")
        pilot.app.screen.query_one(Input).value = "none.toml"
        await pilot.press("enter")
        await until_shown(pilot, "none.toml cannot be read: No such file or directory.")
        pilot.app.screen.query_one(Input).value = file.name
        await pilot.press("enter")
        await until_shown(pilot, "mine.toml", "amount")
        assert engine.received("plan")[-1]["plan"] == file.read_text()
        await pilot.press("f9")
        await until_shown(pilot, "Start with mine.toml?", "target shop")
        await pilot.press("enter")
        await until(pilot, lambda: engine.received("start"))
        assert engine.received("start")[0]["plan"] == file.read_text()


async def test_f6_a_file_that_is_no_plan_leaves_the_plan_as_it_was(engine: ScriptedEngine, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("version = 7")
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await edit_once(pilot)
        screen_of(app).open_plan(PlanFile(str(file), file.read_text()))
        await until_shown(pilot, "! The plan, version: it must be 1", "1 edit")
        assert app.situation.has_edits
        await pilot.press("u")
        await until(pilot, lambda: not app.situation.has_edits)


async def test_f6_the_program_opens_a_plan_on_its_screen(engine: ScriptedEngine) -> None:
    text = TOML.replace('column = "total"', 'column = "amount"')
    app = Cockpit(
        settings_with_servers(), {}, process=process_of(engine), silent_s=NEVER_S, plan=PlanFile("given.toml", text)
    )
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "given.toml", "amount", "1 of 2 collections")
        assert [each["plan"] for each in engine.received("plan")] == [text]
        assert screen_of(app).edited_text == text
        await pilot.press("down", "i")
        await until_shown(pilot, "given.toml · 1 edit")
        await pilot.press("u")
        await until(pilot, lambda: screen_of(app).edited_text == text)


async def test_t4_q_asks_for_edits_and_then_for_the_run(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await edit_once(pilot)
        await start_edited_plan(pilot)
        await until(pilot, lambda: engine.received("start") and not app.leaving.would_lose)
        app.leaving.would_lose = "The plan has 1 edit that is in no file and in no run: w on Plan saves it."
        await pilot.press("q")
        await until_shown(pilot, "Leave now?", "1 edit that is in no file and in no run")
        await click(pilot, "#go")
        await until_shown(pilot, "Leave it running")


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_b17_a_long_value_of_the_preview_stays_behind_its_name(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    answer = engine._answer
    street = "19864 Tyler Fall Lane, apartment 12, North Manuelbury"

    def with_long_values(command: dict[str, Any]) -> dict[str, Any]:
        found = answer(command)
        if command["name"] == "plan":
            row = {"id": "1", "values": [street, street, street], "reject": ""}
            found["result"]["tables"][0]["preview"] = [row] * 5
        return found

    engine._answer = with_long_values  # type: ignore[method-assign]
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_plan(pilot)
        await until_shown(pilot, "19864")
        region = app.screen.query_one("#preview").content_region
        shown = [line[region.x : region.right] for line in screen_text(app).splitlines()[region.y : region.bottom]]
        assert all(line.startswith(("_id", "  ")) or not line.strip() for line in shown), shown
