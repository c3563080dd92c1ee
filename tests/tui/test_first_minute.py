"""The first minute of a cockpit: what Setup offers, what it chooses by itself, and what its words point at."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input, OptionList

from engine.config import Loaded, Settings, merged
from engine.knobs import Auto
from tests.tui.driving import edit, input_in, on_run, on_setup, screen_text, settings_with_servers, until, until_shown
from tests.tui.scripted_engine import ScriptedEngine, running
from tui import profiles
from tui.cockpit.app import Cockpit
from tui.cockpit.ascii_filter import to_ascii
from tui.cockpit.commands import knob_offers
from tui.cockpit.dialogs.settings import SettingsDialog
from tui.cockpit.screens.setup import SetupScreen
from tui.cockpit.widgets.collections import CollectionList
from tui.cockpit.widgets.footer import Footer
from tui.demo import ROWS_PER_S
from tui.memory import Memory, Servers
from tui.words.charset import draws_ascii

LARGE, SMALL = (120, 40), (80, 24)
SIZES = [LARGE, SMALL]
LOCAL = "mongodb://127.0.0.1:22842/shop"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def with_source(uri: str) -> Settings:
    """Both servers, this source."""
    return merged(settings_with_servers(), {"source": {"uri": uri}})


def footer(app: Cockpit) -> str:
    """Its line."""
    return screen_text(app).splitlines()[-1]


def lists_are_there(app: Cockpit) -> bool:
    """The collections are listed."""
    return bool(app.screen.query_one(CollectionList).collections)


# --- F1: an empty start ---


@pytest.mark.parametrize("size", SIZES)
async def test_f1_the_cursor_is_in_the_source_and_the_empty_list_says_the_steps(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_setup(engine, Settings())
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "1 Paste the MongoDB URI above", "2 Then the PostgreSQL URI", "f7", "demo")
        await pilot.press(*"mongodb://db1/shop")
        assert input_in(app, "#source").value == "mongodb://db1/shop"
        await pilot.press("enter")
        await pilot.press(*"postgresql://pg1/shop", "enter")
        await until_shown(pilot, "✓ connected  3 ms", "3 of 4 selected")
        assert isinstance(app.focused, CollectionList)
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?")


async def test_f1_with_both_servers_set_the_cursor_is_in_the_list(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        assert isinstance(app.focused, CollectionList)


@pytest.mark.parametrize("size", SIZES)
async def test_f1_a_missing_database_is_said_beside_the_uri_and_d_is_in_the_footer(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_setup(engine, with_source("mongodb://db1:27017"))
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "No database in the URI. Press d to choose one", "d Database…")
        lines = screen_text(app).splitlines()
        assert any("No database in the URI" in line for line in lines[:6])
        await pilot.press("d")
        await until_shown(pilot, "Databases of the server")
        await pilot.press("j", "enter")
        await until_shown(pilot, "Collections of shop", "d Database…", "/ Filter")


# --- F10: what is remembered ---


async def test_f10_the_last_servers_are_offered_and_taken_with_one_key_and_no_password_is_kept(
    engine: ScriptedEngine, tmp_path: Path
) -> None:
    file = tmp_path / "state" / "mongopg-tui" / "cockpit.json"
    app = on_setup(engine, memory=Memory(file))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected", "TLS, verified")
        await until(pilot, file.exists)
    text = file.read_text()
    assert "s3cret" not in text
    assert "hunter2" not in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(text)["servers"] == [
        {"source": "mongodb://app@db1:27017/shop", "target": "postgresql://mig@pg1:5432/shop", "database": ""}
    ]
    app = on_setup(engine, Settings(), memory=Memory(file))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "f3 the last servers: db1:27017/shop → pg1:5432/shop", "f3 Last servers")
        await pilot.press("f3")
        await until_shown(pilot, "3 of 4 selected", "mongodb://app@db1:27017/shop")
        assert isinstance(app.focused, CollectionList)
        assert "Last servers" not in footer(app)


async def test_f10_the_database_that_was_chosen_is_remembered_with_the_servers(engine: ScriptedEngine) -> None:
    memory = Memory()
    memory.keep_servers("mongodb://db1:27017", "postgresql://pg1/shop", "crm")
    app = on_setup(engine, Settings(), memory=memory)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "f3 the last servers")
        await pilot.press("f3")
        await until_shown(pilot, "Collections of crm", "1 of 1 selected")


async def test_f10_profiles_are_offered_at_the_start_and_in_the_footer(engine: ScriptedEngine) -> None:
    profiles.save("night", settings_with_servers())
    memory = Memory()
    memory.keep_servers("mongodb://db9/shop", "postgresql://pg9/shop")
    app = on_setup(engine, Settings(), memory=memory)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "^o open a profile: night", "^o Profiles…")
        await pilot.press("ctrl+o")
        await until_shown(pilot, "night", "profile", "db9/shop → pg9/shop", "last servers")
        await pilot.press("j", "k", "enter")
        await until_shown(pilot, "mongodb://app@db1:27017/shop", "3 of 4 selected")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"servers": [1, {"source": 3}], "theme": 7}', "\x00"])
def test_f10_a_damaged_memory_is_no_memory(tmp_path: Path, content: str) -> None:
    file = tmp_path / "cockpit.json"
    file.write_text(content)
    memory = Memory(file)
    assert (memory.servers, memory.theme) == ((), "")
    memory.keep_servers("mongodb://u:p@h/d", "host=pg password=x dbname=d")
    assert Memory(file).servers == (Servers("mongodb://u@h/d", "host=pg dbname=d"),)


def test_f10_what_cannot_be_written_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file" / "cockpit.json")
    memory.keep_theme("nord")
    assert memory.theme == "nord"


# --- T5, T7, T8, T12 ---


async def test_t5_in_a_field_the_footer_shows_the_keys_that_work_there(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await until(pilot, lambda: " q Quit " in footer(app))
        input_in(app, "#knob-cluster_size").focus()
        await until(pilot, lambda: "^q Quit" in footer(app))
        assert "f1 Help" in footer(app)
        assert "esc Leave field" in footer(app)
        assert " q Quit" not in footer(app)
        assert "? Help" not in footer(app)
        await pilot.press("escape")
        await until(pilot, lambda: " q Quit " in footer(app) and "Leave field" not in footer(app))


async def test_t5_ctrl_c_in_a_field_says_how_to_quit_as_elsewhere(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        input_in(app, "#knob-cluster_size").focus()
        await pilot.press("ctrl+c")
        await until_shown(pilot, "Press ^q to quit.")
        await pilot.press("escape")
        app.clear_notifications()
        await pilot.press("ctrl+c")
        await until_shown(pilot, "Press q to quit.")


async def test_t7_j_and_k_move_in_the_list_of_databases(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("d")
        await until_shown(pilot, "Databases of the server")
        await pilot.press("j")
        assert app.screen.query_one(OptionList).highlighted == 1
        await pilot.press("k")
        assert app.screen.query_one(OptionList).highlighted == 0
        await pilot.press("j", "enter")
        await until_shown(pilot, "Collections of shop")


async def test_t8_a_source_elsewhere_is_seeded_from_the_palette_only(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected", "TLS, verified")
        assert "Seed…" not in screen_text(app)
        await pilot.press("f8")
        await pilot.pause(0.1)
        assert isinstance(app.screen, SetupScreen)
        await pilot.press("ctrl+p", *"setup.seed")
        await until_shown(pilot, "Write synthetic users into the source")
        await pilot.press("enter")
        await until_shown(pilot, "Seed the source?")


async def test_t8_an_empty_source_on_this_machine_has_the_key_and_the_button(engine: ScriptedEngine) -> None:
    engine.collections = []
    app = on_setup(engine, with_source(LOCAL))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "Seed…")
        assert app.screen.query_one("#seed", Button).display
        edit(app, "#source", "mongodb://db1:27017/shop")
        await pilot.press("tab")
        await until(pilot, lambda: "Seed…" not in screen_text(app))
        assert not app.screen.query_one("#seed", Button).display


async def test_no_seed_is_beside_start_where_there_is_something_to_copy(engine: ScriptedEngine) -> None:
    app = on_setup(engine, with_source(LOCAL))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected", "Start…")
        await until(pilot, lambda: "Seed…" not in screen_text(app))
        await pilot.press("f8")
        await pilot.pause(0.1)
        assert isinstance(app.screen, SetupScreen)


async def test_b17_the_seed_question_names_the_one_database_that_is_written_to(engine: ScriptedEngine) -> None:
    engine.collections = []
    app = on_setup(engine, with_source(LOCAL))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "Seed…")
        await pilot.press("f8")
        await until_shown(pilot, "server      127.0.0.1:22842 ", "database    demo", "collection  users")
        await until_shown(pilot, "Database shop, which the URI names, is not written to.")
        assert "127.0.0.1:22842/shop" not in screen_text(app).split("Seed the source?")[1].splitlines()[3]


async def test_t12_a_view_is_selected_only_by_the_operator(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "[x] customers", "[ ] recent (view)", "3 of 4 selected")
        await pilot.press("a", "a")
        await until_shown(pilot, "3 of 4 selected", "[ ] recent (view)")
        await pilot.press("end", "space")
        await until_shown(pilot, "4 of 4 selected", "[x] recent (view)")
        assert "chosen" not in screen_text(app)


# --- F3: settings ---


@pytest.mark.parametrize("size", [LARGE, pytest.param(SMALL, marks=pytest.mark.slow)])
async def test_f3_two_policies_take_less_than_ten_keys(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f4")
        await until_shown(pilot, "Values that do not fit")
        await pilot.press(*"nul", "down", "right")
        await until_shown(pilot, "mapping.nul", "A NUL character in a string", "(•) strip", "1 changed")
        await pilot.press("slash", *"overflow", "down", "right")
        await until_shown(pilot, "2 changed")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SetupScreen))
        mapping = app.choices.current.mapping
        assert (mapping.nul, mapping.overflow) == ("strip", "reject")


async def test_f3_arrow_keys_move_between_settings_and_each_has_its_sentence_and_bounds(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f4")
        await until_shown(pilot, "Values that do not fit")
        seen: list[str] = []
        for _ in range(60):
            await pilot.press("down")
            about = str(app.screen.query_one("#about").render())
            name, _, sentence = about.partition("  ")
            assert len(sentence.split("\n")[0]) > 8, about
            if seen[-1:] == [name]:
                break
            seen.append(name)
        dialog = app.screen
        assert isinstance(dialog, SettingsDialog)
        assert seen[0] == "mapping.nul"
        assert len(seen) == len(set(seen)) > 30
        dialog.query_one("#setting-run-limit", Input).focus()
        await until_shown(pilot, "a whole number between 0 and 1,000,000,000", "default 0")
        dialog.query_one("#setting-mapping-nul").focus()
        await pilot.press("up")
        assert dialog.focused is dialog.query_one("#search")


async def test_a_search_for_a_knob_in_the_settings_says_where_knobs_are(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f4")
        await until_shown(pilot, "Values that do not fit")
        await pilot.press(*"throttle")
        await until_shown(pilot, "No setting has this in its name.", "t on Run")
        await pilot.press("backspace", *("backspace",) * 7)
        await until(pilot, lambda: "No setting" not in screen_text(app))


async def test_f3_enter_applies_on_a_choice_and_in_a_field_and_says_what_is_wrong(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f4")
        await until_shown(pilot, "Values that do not fit")
        await pilot.press(*"run.limit", "enter")
        await pilot.press("end", *"x", "enter")
        await until_shown(pilot, "run.limit must be a whole number")
        await pilot.press("backspace", "1", "enter")
        await until(pilot, lambda: isinstance(app.screen, SetupScreen))
        assert app.choices.current.run.limit == 1


async def test_f3_setup_shows_the_policies_in_force(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "NUL reject · dates reject", "overflow → _extra", "f4 changes them")
        app.choices.apply(merged(app.choices.current, {"mapping": {"nul": "strip"}}))
        await until_shown(pilot, "NUL strip · dates reject")


# --- F14: the palette ---


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("throt", [0, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000]),
        ("throttle 5", [5_000, 50_000]),
        ("throttle o", [0]),
        ("work", [1, 2, 4, 8, 16, 32, Auto(1, 1_024)]),
        ("page size 2,0", [2_000, 20_000]),
        ("th", []),
        ("export", []),
    ],
)
def test_f14_values_are_offered_while_a_knob_is_typed(typed: str, values: list[int | Auto]) -> None:
    assert [offer.value for offer in knob_offers(typed)] == values


async def test_f14_a_value_is_taken_from_the_palette(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "41,220 rows/s")
        await pilot.press("ctrl+p", *"throt")
        await until_shown(pilot, "throttle off", "throttle 1,000")
        await pilot.press("down", "enter")
        await until(pilot, lambda: engine.received("set"))
        assert engine.received("set")[0]["value"] == 1_000


# --- F15: the demo ---


async def test_f15_a_demo_has_a_throttle_that_can_be_lifted_and_says_how(engine: ScriptedEngine) -> None:
    app = on_setup(engine, Settings())
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "f7")
        await pilot.press("f7")
        await until_shown(pilot, f"Throttle {ROWS_PER_S:,} rows/s: there is time to steer it.", "turns it off")
    app = on_run(engine, running(throttle=ROWS_PER_S))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "20,000  t: change, or off")


# --- F16: colours and characters ---


async def test_f16_a_theme_that_was_chosen_is_there_after_a_restart(engine: ScriptedEngine, tmp_path: Path) -> None:
    file = tmp_path / "cockpit.json"
    app = on_setup(engine, memory=Memory(file))
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f6", *"high-con")
        await until_shown(pilot, "high-contrast")
        await pilot.press("enter")
        await until(pilot, lambda: app.theme == "high-contrast")
        app.choices.apply(merged(app.choices.current, {"run": {"limit": 5}}))
        await pilot.pause(0.1)
        assert app.theme == "high-contrast"
    app = on_setup(engine, memory=Memory(file))
    async with app.run_test(size=LARGE):
        assert app.theme == "high-contrast"
    app = Cockpit(settings_with_servers(), {"cockpit.theme": "file x"}, attach=engine.socket, memory=Memory(file))
    assert app.choices.current.cockpit.theme == "textual-dark"


@pytest.mark.parametrize(
    ("environment", "is_ascii"),
    [
        ({"LANG": "C"}, True),
        ({"LC_ALL": "POSIX", "LANG": "en_GB.UTF-8"}, True),
        ({"LANG": "de_DE.ISO-8859-1"}, True),
        ({"LANG": "de_DE.UTF-8"}, False),
        ({"LC_ALL": "C.utf8"}, False),
        ({"LANG": "en_US"}, False),
        ({}, False),
    ],
)
def test_f16_a_locale_without_unicode_gets_ascii(environment: dict[str, str], is_ascii: bool) -> None:
    assert draws_ascii(Loaded(Settings()), environment) is is_ascii
    assert not draws_ascii(Loaded(Settings(), {"cockpit.ascii": "file x"}), environment)


def test_f16_ascii_reads_as_words() -> None:
    assert to_ascii(" Start…   ✓ connected") == " Start... + connected"
    assert to_ascii("f9 Start… f5") == "f9 Start. f5"
    assert len(to_ascii("╭─ ✓ … ─╮")) == len("╭─ ✓ … ─╮")


# --- B17: small ones ---


async def test_b17_help_shows_the_connection_strings_as_they_are_now(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        edit(app, "#target", "postgresql://mig:n3w@pg2:5432/shop")
        await pilot.press("f1")
        await until(pilot, lambda: "Help: Setup" in screen_text(app))
        told = " ".join(
            word for line in app.screen.walk_children() for word in str(getattr(line, "content", "")).split()
        )
        assert "source mongodb://app:***@db1:27017/shop (file ./config.toml)" in told
        assert "target postgresql://mig:***@pg2:5432/shop (set on Setup)" in told
        assert "n3w" not in told


async def message_lines(pilot: Pilot[Any], message: str) -> list[int]:
    """The lines of the screen that a message covers."""
    pilot.app.notify(message, severity="warning", markup=False)
    await until_shown(pilot, message[:20])
    words = set(message.split())
    return [number for number, line in enumerate(screen_text(pilot.app).splitlines()) if words & set(line.split())]


@pytest.mark.parametrize("size", SIZES)
async def test_b17_messages_cover_the_names_of_the_screens_and_not_what_matters(
    engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=size, notifications=True) as pilot:
        await until_shown(pilot, "41,220 rows/s")
        assert await message_lines(pilot, "Zebra crossing refused.") == [0]
        assert "● running" in screen_text(app).splitlines()[0]
    app = on_setup(engine)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        lines = await message_lines(pilot, " ".join(f"zebra{number}" for number in range(60)))
        assert lines == [0, 1]


async def test_b17_what_is_wrong_with_a_uri_stays_under_its_field(engine: ScriptedEngine) -> None:
    warning = "redPreference is no option of MongoDB: it is left out."
    engine.reports["source"] = engine.reports["source"].model_copy(update={"warnings": [warning]})
    app = on_setup(engine)
    async with app.run_test(size=LARGE, notifications=True) as pilot:
        await until_shown(pilot, "! redPreference is no option")
        assert warning[:20] in "\n".join(screen_text(app).splitlines()[2:7])


@pytest.mark.parametrize("size", SIZES)
async def test_b17_the_buttons_are_above_the_footer(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_setup(engine, Settings())
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "f7")
        foot = app.screen.query_one(Footer).region
        for button in app.screen.query("#actions Button").results(Button):
            assert button.region.bottom <= foot.y
        assert app.screen.query_one("#actions").region.bottom == foot.y == size[1] - 1
        assert app.screen.query_one("#middle").region.bottom <= app.screen.query_one("#actions").region.y
