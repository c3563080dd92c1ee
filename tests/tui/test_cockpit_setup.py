"""The Setup screen: connections, collections and fields; what it starts is in test_cockpit_starting.py."""

from __future__ import annotations

import pytest
from textual.widgets import Button, Input

from engine.config import merged
from engine.notation import NamedCollection, parsed
from engine.protocol import CollectionInfo
from tests.tui.driving import (
    SOURCE_URI,
    click,
    edit,
    input_in,
    on_run,
    on_setup,
    screen_text,
    settings_with_servers,
    until,
    until_shown,
)
from tests.tui.scripted_engine import ELSEWHERE, ScriptedEngine, completed, running
from tui.cockpit.app import Cockpit
from tui.cockpit.screens.setup import SetupScreen
from tui.cockpit.widgets.collections import CollectionList, CollectionsPanel
from tui.cockpit.widgets.footer import Footer

LARGE = (120, 40)
SMALL = (80, 24)


def setup_of(app: Cockpit) -> SetupScreen:
    """The screen that is shown, which must be Setup."""
    assert isinstance(app.screen, SetupScreen)
    return app.screen


@pytest.mark.parametrize("size", [LARGE, SMALL])
async def test_both_connections_are_tested_and_the_collections_listed_on_opening(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "connected  12 ms · 7.0.12 · replica set rs0", "connected  3 ms · 16.4")
        await until_shown(pilot, "[x] customers", "812,004", "1.9 GiB", "3 of 4 selected · 5.1M docs · 2.1 GiB")
        await until_shown(pilot, "Workers", "Page size", "8,000", "Seed count", "Throttle", "(•) create", "Start…")


async def test_passwords_are_not_shown(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "mongodb://app:***@db1:27017/shop", "postgresql://mig:***@pg1:5432/shop")
        assert "s3cret" not in screen_text(app)


async def test_a_failed_connection_is_explained_under_its_field_and_keeps_the_run_from_starting(
    engine: ScriptedEngine,
) -> None:
    refused = "PostgreSQL refuses the password of mig: check target.uri."
    engine.reports["target"] = engine.reports["target"].model_copy(update={"ok": False, "message": refused})
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, f"! {refused[:40]}")
        await pilot.press("f9")
        await until_shown(pilot, "Not yet", "The target is not connected.")
        assert engine.received("start") == []


async def test_leaving_an_edited_field_tests_it_with_the_password_kept(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "customers")
        n_tests = len(engine.received("inspect"))
        edit(app, "#source", "mongodb://app:***@db2:27017/shop")
        await pilot.press("tab")
        await until(pilot, lambda: len(engine.received("inspect")) > n_tests)
        assert engine.received("inspect")[-1] == {
            "name": "inspect", "side": "source", "uri": SOURCE_URI.replace("db1", "db2"), "keep": True,
        }  # fmt: skip


async def test_what_is_typed_into_an_empty_field_counts_before_it_is_left(engine: ScriptedEngine) -> None:
    settings = settings_with_servers()
    settings = merged(settings, {"target": {"uri": ""}})
    app = on_setup(engine, settings)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected", "not set")
        assert app.screen.query_one("#start", Button).disabled
        input_in(app, "#target").focus()
        await pilot.press(*"postgresql://pg1/x")
        await until(pilot, lambda: not app.screen.query_one("#start", Button).disabled)
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?", "pg1/x")


async def test_what_is_typed_counts_behind_a_dialog_too(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        field = edit(app, "#target", "postgresql://mig:n3w@pg2:5432/shop")
        await pilot.press("ctrl+p")
        await until(pilot, lambda: [each for each in engine.received("inspect") if "n3w@pg2" in each["uri"]])
        assert field.value == "postgresql://mig:***@pg2:5432/shop"


async def test_a_field_that_was_not_changed_is_not_tested_again(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "customers")
        n_tests = len(engine.received("inspect"))
        app.screen.query(Input).first().focus()
        await pilot.press("tab", "tab")
        await pilot.pause(0.2)
        assert len(engine.received("inspect")) == n_tests


async def test_space_and_a_choose_collections_and_only_those_are_copied(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("a")
        await until_shown(pilot, "0 of 4 selected", "[ ] customers")
        await pilot.press("j", "space")
        await until_shown(pilot, "1 of 4 selected", "[x] orders")
        await pilot.press("enter")
        await until_shown(pilot, "Start this run?", "1 collection, about 4,210,334 documents")
        await click(pilot, "#go")
        await until_shown(pilot, "● running")
        assert engine.received("start")[0]["settings"]["run"]["collections"] == ["shop.orders"]


def names_of(app: Cockpit) -> set[str]:
    return {key.label for key in app.screen.query_one(Footer).keys}


async def test_choosing_is_offered_while_the_cursor_is_in_the_list_and_by_the_palette(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await until(pilot, lambda: {"Select", "All"} <= names_of(app))
        input_in(app, "#knob-throttle").focus()
        await until(pilot, lambda: not {"Select", "All"} & names_of(app))
        await pilot.press("escape")
        await until(pilot, lambda: {"Select", "All"} <= names_of(app))
        await pilot.press("ctrl+p")
        await pilot.press(*"setup.choose_all")
        await until_shown(pilot, "Select all collections shown")
        await pilot.press("enter")
        await until_shown(pilot, "0 of 4 selected")
        await pilot.press("question_mark")
        await until_shown(pilot, "Help: Setup", "Select or deselect the collection", "setup.choose")


async def test_escape_leaves_a_field_for_the_list(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        input_in(app, "#knob-throttle").focus()
        await pilot.press("escape")
        assert isinstance(app.focused, CollectionList)


async def test_f5_tests_both_sides_and_lists_the_collections_again(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected", "connected  3 ms")
        engine.collections = engine.collections[1:]
        engine.reports["target"] = engine.reports["target"].model_copy(update={"latency_ms": 44.0})
        await pilot.press("f5")
        await until_shown(pilot, "2 of 3 selected", "connected  44 ms")
        assert [each["side"] for each in engine.received("inspect")].count("source") == 2


async def test_configured_collections_are_the_ones_chosen_and_keep_their_tables(engine: ScriptedEngine) -> None:
    settings = settings_with_servers()
    settings = merged(settings, {"run": {"collections": ["shop.orders:sales.orders"]}})
    app = on_setup(engine, settings)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "1 of 4 selected", "[ ] customers", "[x] orders")
        screen = setup_of(app)
        assert screen.edited_settings().run.collections == ["shop.orders:sales.orders"]


async def test_configured_collections_that_do_not_exist_do_not_choose_all_others(engine: ScriptedEngine) -> None:
    settings = settings_with_servers()
    settings = merged(settings, {"run": {"collections": ["shop.gone"]}})
    app = on_setup(engine, settings)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "0 of 4 selected")
        await pilot.press("f9")
        await until_shown(pilot, "No collection is selected")


async def test_a_filter_shows_some_collections_as_it_is_typed_and_what_was_chosen_stays(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "3 of 4 selected", "Collections of shop")
        await pilot.press("slash", *"ord")
        await until_shown(pilot, "1 shown, 3 of 4 selected", "[x] orders")
        assert "customers" not in screen_text(app)
        await pilot.press("enter", "a")
        await until_shown(pilot, "1 shown, 2 of 4 selected", "[ ] orders")
        await pilot.press("escape")
        await until_shown(pilot, "[x] customers", "[ ] orders")
        assert "shown" not in screen_text(app)
        await pilot.press("slash", "exclamation_mark", *"C")
        await until_shown(pilot, "1 shown, 2 of 4 selected", "[ ] orders")
        await pilot.press("escape")
        await until_shown(pilot, "[x] customers")
        assert isinstance(app.focused, CollectionList)


async def test_another_database_of_the_server_is_chosen_with_its_collections(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("d")
        await until_shown(pilot, "Databases of the server", "Enter select", "crm", "72.0 KiB", "shop", "1.1 GiB")
        await pilot.press("enter")
        await until_shown(pilot, "Collections of crm", "[x] leads", "1 of 1 selected · 12 docs")
        await pilot.press("f9")
        await until_shown(pilot, "1 collection, about 12 documents")
        await click(pilot, "#go")
        await until_shown(pilot, "● running")
        assert engine.received("start")[0]["settings"]["run"]["collections"] == ["crm.leads"]


async def test_a_uri_without_a_database_asks_for_one(engine: ScriptedEngine) -> None:
    settings = settings_with_servers()
    settings = merged(settings, {"source": {"uri": "mongodb://app:s3cret@db1:27017"}})
    app = on_setup(engine, settings)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "No database in the URI. Press d to choose one.", "✓ connected  12 ms")
        assert engine.received("collections") == []
        await pilot.press("d")
        await until_shown(pilot, "Databases of the server")
        await pilot.press("down", "enter")
        await until_shown(pilot, "Collections of shop", "3 of 4 selected")


async def test_collections_configured_in_other_databases_are_named_and_copied_too(engine: ScriptedEngine) -> None:
    settings = settings_with_servers()
    collections = ["shop.orders:sales.orders", "crm.leads:sales.leads"]
    settings = merged(settings, {"run": {"collections": collections}})
    app = on_setup(engine, settings)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "1 of 4 selected", "and 1 of other databases")
        screen = setup_of(app)
        assert screen.edited_settings().run.collections == ["shop.orders:sales.orders", "crm.leads:sales.leads"]
        await pilot.press("d")
        await until_shown(pilot, "Databases of the server")
        await pilot.press("enter")
        await until_shown(pilot, "1 of 1 selected")
        assert screen.edited_settings().run.collections == ["crm.leads:sales.leads"]


async def test_databases_that_cannot_be_listed_are_explained(engine: ScriptedEngine) -> None:
    engine.refusals["databases"] = ("connect", "MongoDB at db1:27017 does not answer.")
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("d")
        await until_shown(pilot, "The databases cannot be listed", "MongoDB at db1:27017 does not answer.")
        await pilot.press("y")
        assert app.clipboard == "MongoDB at db1:27017 does not answer."


async def test_a_knob_out_of_bounds_is_explained_under_its_field_and_starts_nothing(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        input_in(app, "#knob-page_size").value = "50"
        await until_shown(pilot, "Page size must be between 100 and 100,000")
        await pilot.press("f9")
        await until_shown(pilot, "Not yet")
        assert engine.received("start") == []


async def test_an_edit_does_not_leak_into_the_settings_that_others_hold(engine: ScriptedEngine) -> None:
    settings = settings_with_servers()
    app = on_setup(engine, settings)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        screen = setup_of(app)
        input_in(app, "#knob-cluster_size").value = "12"
        assert screen.edited_settings().run.cluster_size == 12
        assert settings.run.cluster_size != 12


async def test_the_palette_sets_a_field_while_no_run_is_on(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("ctrl+p")
        await pilot.press(*"workers", "space", *"12")
        await until_shown(pilot, "Set workers to 12, for the next run")
        await pilot.press("enter")
        screen = setup_of(app)
        await until(pilot, lambda: screen.edited_settings().run.cluster_size == 12)
        await until_shown(pilot, "Workers 12: for the next run.")
        assert engine.received("set") == []


async def test_the_palette_sets_the_next_run_where_setup_was_never_shown(engine: ScriptedEngine) -> None:
    app = on_run(engine, completed())
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await until_shown(pilot, "✓ counts match")
        await pilot.press("ctrl+p")
        await pilot.press(*"throttle", "space", *"5000")
        await until_shown(pilot, "Set throttle to 5,000, for the next run")
        await pilot.press("enter")
        await until_shown(pilot, "Throttle 5,000: for the next run.")
        assert app.choices.current.run.throttle == 5_000


async def test_q_leaves_at_once_when_there_is_no_run(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        app.screen.query_one(CollectionList).focus()
        await pilot.press("q")
        await until(pilot, lambda: app._exit)
    assert app.return_code == 0
    assert app.leaving.farewell == ""


async def test_setup_says_why_it_lists_nothing_while_a_run_goes_on(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("1")
        await until_shown(pilot, "Not listed while a run is in progress.")


async def test_testing_again_keeps_what_was_chosen_and_takes_what_is_new(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("down", "space")
        await until_shown(pilot, "[ ] orders", "2 of 4 selected")
        engine.collections = [*engine.collections, ELSEWHERE.model_copy(update={"namespace": "shop.returns"})]
        await pilot.press("f5")
        await until_shown(pilot, "[x] returns", "[ ] orders", "3 of 5 selected")


# --- names that are no notation ---------------------------------------------------------------------------------------


def odd_collections(*names: str) -> list[CollectionInfo]:
    return [CollectionInfo(namespace=f"shop.{name}", kind="collection", documents=5, size_bytes=5) for name in names]


@pytest.mark.parametrize("name", ["events:archive", "[red]b[/red]", "back\\:slash", "end\\", "$x, y"])
async def test_a_tick_means_the_collection_whatever_it_is_called(engine: ScriptedEngine, name: str) -> None:
    engine.collections = odd_collections("aaa", name)
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "2 of 2 selected", f"[x] {name}")
        screen = setup_of(app)
        screen.query_one(CollectionList).choose_only({f"shop.{name}"})
        await until_shown(pilot, "1 of 2 selected", f"[x] {name}")
        (entry,) = screen.edited_settings().run.collections
        assert parsed(entry) == NamedCollection("shop", name)
        # A profile, or a settings file, that says so ticks the same one.
        settings = settings_with_servers()
        settings = merged(settings, {"run": {"collections": [entry, f"{entry}:crm.t"]}})
        app.choices.current = settings
        screen.fill(settings)
        await until_shown(pilot, "1 of 2 selected", f"[x] {name}")
        await until(pilot, lambda: screen.edited_settings().run.collections == [entry, f"{entry}:crm.t"])


async def test_excluded_collections_are_not_ticked_until_the_operator_does(engine: ScriptedEngine) -> None:
    engine.collections = odd_collections("orders", "tmp_1", "tmp_2")
    settings = settings_with_servers()
    settings = merged(settings, {"run": {"exclude": ["tmp_*"]}})
    app = on_setup(engine, settings)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "1 of 3 selected", "[x] orders", "[ ] tmp_1")
        screen = setup_of(app)
        assert screen.query_one(CollectionsPanel).is_everything
        screen.query_one(CollectionList).choose_only({"shop.tmp_1"})
        await until_shown(pilot, "[x] tmp_1", "[ ] orders")
        run = screen.edited_settings().run
        assert (run.collections, run.exclude) == (["shop.tmp_1"], [])
        screen.query_one(CollectionsPanel).leave_out(["orders"])
        await until_shown(pilot, "[x] tmp_1", "[x] tmp_2", "[ ] orders")
