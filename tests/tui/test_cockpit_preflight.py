"""What preflight found, in the question before a copy and on the Plan screen; the engine is a scripted one."""

from __future__ import annotations

from typing import Any

import pytest
from textual.binding import Binding
from textual.widgets import Button, Input

from engine.config import Settings, merged
from engine.protocol import CheckView, TargetTable
from tests.tui.driving import (
    input_in,
    on_setup,
    screen_text,
    settings_with_servers,
    until,
    until_shown,
)
from tests.tui.scripted_answers import found_tables
from tests.tui.scripted_engine import ScriptedEngine
from tui.cockpit.consequences import REPLACES
from tui.cockpit.dialogs import starting
from tui.cockpit.dialogs.starting import StartDialog
from tui.cockpit.screens.setup import SetupScreen

LARGE, SMALL = (120, 40), (80, 24)
NEW = ("shop.products", "public.products")


def there(name: str, rows: int, **facts: Any) -> TargetTable:
    """A table that is there."""
    return TargetTable(
        namespace=f"shop.{name}", table=f"public.{name}", state="exists", rows=rows,
        **({"fate": "replaced"} | facts),
    )  # fmt: skip


STOPPING = there("orders", 1_234, fate="stops", status="stop", code="table_exists", message="It exists already.")


def with_run(**run: Any) -> Settings:
    """Both servers, and these settings of the run."""
    return merged(settings_with_servers(), {"run": run})


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_f7_the_start_dialog_says_everything_and_f9_enter_starts(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_setup(engine, with_run(throttle=3_000, indexes=True))
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?", "db1:27017/shop → pg1:5432/shop")
        await until_shown(pilot, "shop.customers", "812,004", "public.customers", "new", "target shop: 3 new tables")
        await until_shown(pilot, "mode create: create new tables; stop if one exists")
        await until_shown(pilot, "4 workers · page size 8,000 · throttle 3,000 rows/s")
        await until_shown(
            pilot, "indexes are built after the load", "policies: reject nul", "date_range, utf8; _extra takes overflow"
        )
        await until_shown(pilot, "28m 08s or more, because of the throttle")  # 5,063,558 documents
        await pilot.press("enter")
        await until(pilot, lambda: engine.received("start"))


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_t2_tables_that_are_dropped_are_listed_and_the_word_is_typed(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    engine.preflight = found_tables(
        there("orders", 40_000), there("customers", 3_000_000, rows_are="about"), NEW, mode="replace"
    )
    app = on_setup(engine, with_run(mode="replace"))
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        engine.held = {"preflight"}
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?", "load into a new table, then DROP the old one and rename")
        await pilot.press("enter")  # nothing is known yet
        assert isinstance(app.screen, StartDialog)
        assert app.screen.query_one("#go", Button).disabled
        engine.let_go()
        await until_shown(pilot, "exists, 40,000 rows: will be DROPPED and replaced", "about 3,000,000 rows")
        await until_shown(pilot, "Type replace to DROP 2 tables with about 3,040,000 rows:")
        await pilot.press("enter")
        assert engine.received("start") == []
        await pilot.press(*"replace", "enter")
        await until(pilot, lambda: engine.received("start"))


async def test_b2_the_start_dialog_names_every_table_that_would_stop_the_run(engine: ScriptedEngine) -> None:
    other = STOPPING.model_copy(update={"namespace": "shop.customers", "table": "public.customers", "rows": 1})
    engine.preflight = found_tables(STOPPING, other, NEW)
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f9")
        await until_shown(pilot, "exists, 1,234 rows: would stop the run", "exists, 1 row: would stop the run")
        await until_shown(pilot, "to do: 2 tables exist already: give another table on the Plan")
        assert "--collection" not in screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SetupScreen))
        assert engine.received("start") == []


async def test_t6_the_start_dialog_and_the_plan_screen_name_schemas_that_are_created(engine: ScriptedEngine) -> None:
    engine.preflight = found_tables(("shop.orders", "nosuchschema.orders"), schemas=["nosuchschema"])
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f9")
        await until_shown(pilot, "schema nosuchschema will be created")
        await pilot.press("escape", "2")
        await until_shown(pilot, "shop.orders", "schema nosuchschema will be created")


async def test_b2_the_plan_screen_shows_preflight_in_a_line_and_in_full(engine: ScriptedEngine) -> None:
    stop = CheckView(
        what="rights",
        status="stop",
        message="As an administrator, run: GRANT CREATE ON SCHEMA x TO mig;",
        code="rights",
    )
    engine.preflight = found_tables(STOPPING, NEW, checks=[stop], status="stop")
    app = on_setup(engine)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("2")
        await until_shown(pilot, "× target shop: 1 table would stop the run, 1 new, rights would stop the run")
        await pilot.press("p")
        await until_shown(
            pilot, "Preflight", "GRANT CREATE ON SCHEMA x TO mig;", "exists, 1,234 rows: would stop the run"
        )


async def test_what_cannot_be_checked_is_said_and_keeps_no_run_from_starting(engine: ScriptedEngine) -> None:
    engine.refusals["preflight"] = ("usage", "This is not one of the engine's commands.")
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f9")
        await until_shown(pilot, "Not checked: This is not one of the engine's commands.")
        await pilot.press("enter")
        await until(pilot, lambda: engine.received("start"))


async def test_a_replacing_run_that_cannot_be_checked_wants_the_word_too(engine: ScriptedEngine) -> None:
    engine.refusals["preflight"] = ("failed", "The server went away.")
    app = on_setup(engine, with_run(mode="replace"))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f9")
        await until_shown(pilot, "Type replace to DROP the tables that exist:")
        await pilot.press("enter")
        assert engine.received("start") == []


async def test_the_preflight_of_a_start_is_of_the_fields_as_they_stand(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        input_in(app, "#target").value = "postgresql://mig:***@pg2:5432/shop"
        input_in(app, "#knob-cluster_size").value = "12"
        await pilot.press("f9")
        await until(pilot, lambda: engine.received("preflight"))
        [asked] = engine.received("preflight")
        assert asked["settings"]["target"]["uri"] == "postgresql://mig:hunter2@pg2:5432/shop"
        assert asked["settings"]["run"]["cluster_size"] == 12


async def test_keys_of_the_question_are_no_letters_of_the_word_that_is_typed(engine: ScriptedEngine) -> None:
    engine.preflight = found_tables(there("orders", 40_000), NEW, mode="replace")
    app = on_setup(engine, with_run(mode="replace"))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f9")
        await until_shown(pilot, "Type replace to DROP 1 table with 40,000 rows:")
        field = app.screen.query_one(Input)
        await until(pilot, lambda: field.has_focus)
        await pilot.press("f", "w", "enter")  # nothing follows or starts before the word is typed
        assert (field.value, field.has_focus, app.screen.query_one("#go", Button).disabled) == ("", True, True)
        await pilot.press("t")
        await until_shown(pilot, "Knobs of the run")
        await pilot.press("escape")
        await until_shown(pilot, "Type replace to DROP")
        field = app.screen.query_one(Input)
        await until(pilot, lambda: field.has_focus)
        await pilot.press("left")
        assert not field.has_focus
        await pilot.press("right", *"replace", "f")
        await until(pilot, lambda: engine.received("start"))
        assert engine.received("start")[0]["follow"]


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_the_question_has_the_first_warnings_of_the_plan_and_a_key_for_all(
    engine: ScriptedEngine, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "WARNINGS_SHOWN", 1)
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("2")
        await until_shown(pilot, "1 of 2 collections")
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?", "! shop.orders: total: 2% of the values are ints", "w warnings")
        await until_shown(pilot, "! and 1 more warning of the plan: w shows all")
        await pilot.press("w")
        await until_shown(pilot, "Warnings of the plan", "! shop.orders: 3 documents are larger than 1 MiB")
        await pilot.press("1")  # leads nowhere: the question is still to be answered
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, StartDialog))
        await pilot.press("enter")
        await until(pilot, lambda: engine.received("start"))


def test_no_key_of_the_question_is_a_letter_of_the_word() -> None:
    keys = [key for binding in StartDialog.BINDINGS if isinstance(binding, Binding) for key in binding.key.split(",")]
    assert not set(keys) & set(REPLACES)


@pytest.mark.parametrize("size", [LARGE, SMALL, (60, 20)])
async def test_f7_forty_tables_scroll_and_the_buttons_stay_in_sight(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    engine.preflight = found_tables(*(there(f"table{number:02}", number) for number in range(40)), mode="replace")
    app = on_setup(engine, with_run(mode="replace"))
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f9")
        await until_shown(pilot, "shop.table00", "to DROP 40 tables with 780", " Back ", " Start ")
        await pilot.press(*["pagedown"] * 12)
        await until_shown(pilot, "shop.table39", " Back ", " Start ")
