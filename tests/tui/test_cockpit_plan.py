"""The Plan screen: what becomes of what, as the engine proposes it and as the operator edits it."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.control.protocol import CountingView
from engine.errors import UsageError
from tests.tui.driving import on_setup, screen_text, until, until_shown
from tests.tui.scripted_answers import TOML
from tests.tui.scripted_engine import ScriptedEngine
from tui.app import Cockpit
from tui.plan_text import change_column, ignore_column
from tui.screens.plan import PlanScreen


async def to_plan(pilot: Pilot[Any]) -> None:
    await until_shown(pilot, "4 of 4 chosen")
    await pilot.press("2")
    await until_shown(pilot, "shop.orders → public.orders", "1 of 2 collections")


def screen_of(app: Cockpit) -> PlanScreen:
    assert isinstance(app.screen, PlanScreen)
    return app.screen


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_the_plan_shows_fields_kinds_preview_and_warnings(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await to_plan(pilot)
        await until_shown(pilot, "address.city", "99.0%", "double 98% int 2%", "double precision", "! total: 2%")
        if size[0] > 100:
            await until_shown(pilot, "19.9", "! rejected: nul in name", "10,000 sampled", "about 02:06")


async def test_what_is_planned_is_what_is_chosen_on_setup(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "4 of 4 chosen")
        await pilot.press("space", "2")
        await until_shown(pilot, "1 of 2 collections")
        await pilot.press("1", "2")
        await pilot.pause(0.1)
        assert [each["collections"] for each in engine.received("plan")] == [
            ["shop.orders", "shop.products", "shop.recent"]
        ]


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
        await pilot.press("down", "e")
        await until_shown(pilot, "Field total")
        app.screen.query_one("#type", Input).value = "numeric"
        await pilot.press("enter")
        await until_shown(pilot, "1 edit")
        edited = engine.received("plan")[-1]["plan"]
        assert tomllib.loads(edited)["tables"][0]["columns"][1]["type"] == "numeric"
        await pilot.press("enter")
        await until_shown(pilot, "Start this run with the edited plan?")
        await pilot.press("right", "enter")
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
        await until_shown(pilot, "4 of 4 chosen")
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
        await until_shown(pilot, "counting 00:0", "25.0%", "250,000 / 1,000,000", "400k/s", "00:02 left")
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
        await pilot.press("enter")
        await until_shown(pilot, "Start this run with the edited plan?")
        await pilot.press("right", "enter")
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


async def test_the_plan_is_saved_into_a_new_file_only(engine: ScriptedEngine, tmp_path: Path) -> None:
    app = on_setup(engine)
    file = tmp_path / "plan.toml"
    async with app.run_test(size=(120, 40)) as pilot:
        await to_plan(pilot)
        await pilot.press("w")
        await until_shown(pilot, "Save the plan")
        app.screen.query_one(Input).value = str(file)
        await pilot.press("enter")
        await until(pilot, file.exists)
        assert file.read_text() == TOML
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        await until(pilot, lambda: isinstance(app.screen, PlanScreen))
        await pilot.press("w")
        await until_shown(pilot, "Save the plan")
        app.screen.query_one(Input).value = str(file)
        await pilot.press("enter")
        await until_shown(pilot, "exists already")


def test_a_changed_column_is_changed_in_its_own_table_only() -> None:
    edited = tomllib.loads(change_column(TOML, "shop.customers", "total", name='the "total"', type="text"))
    assert edited["tables"][1]["columns"][1] == {"field": "total", "column": 'the "total"', "type": "text"}
    assert edited["tables"][0] == tomllib.loads(TOML)["tables"][0]


def test_another_type_takes_every_kind_that_it_holds_and_another_name_keeps_them() -> None:
    renamed = tomllib.loads(change_column(TOML, "shop.orders", "address_city", name="city", type="text"))
    assert renamed["tables"][0]["columns"][2]["kinds"] == ["string"]
    retyped = tomllib.loads(change_column(TOML, "shop.orders", "address_city", name="city", type="jsonb"))
    assert "kinds" not in retyped["tables"][0]["columns"][2]


def test_a_field_that_is_left_out_is_named_and_its_column_gone() -> None:
    edited = tomllib.loads(ignore_column(TOML, "shop.customers", "total"))["tables"][1]
    assert edited["ignore"] == ["old", "total"]
    assert [column["column"] for column in edited["columns"]] == ["_id"]


def test_a_column_without_a_field_cannot_be_left_out() -> None:
    with pytest.raises(UsageError, match="_id is not made from a field"):
        ignore_column(TOML, "shop.orders", "_id")
    with pytest.raises(UsageError, match="no column weight"):
        ignore_column(TOML, "shop.orders", "weight")
