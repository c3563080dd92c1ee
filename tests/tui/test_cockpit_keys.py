"""Other keys for commands: what can be chosen, what is refused, and that footer, help and hints show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.loading import load_settings
from tests.tui.driving import NEVER_S, process_of, screen_text, settings_with_servers, until, until_shown
from tests.tui.scripted_engine import ScriptedEngine, running
from tui.cockpit.app import Cockpit
from tui.cockpit.commands import COMMANDS
from tui.cockpit.keymap import Keymap


def test_without_choices_each_command_has_the_keys_of_its_definition_and_none_is_refused() -> None:
    defined = {command.id: command.keys for command in COMMANDS}
    keymap = Keymap(defined)
    assert [keymap.shown(name) for name in defined] == [Keymap().shown(name) for name in defined]


@pytest.mark.parametrize(
    ("typed", "shown"),
    [("f10", "f10"), ("ctrl+T", "^t"), ("P", "P"), (">", ">"), ("alt+x", "alt+x"), ("Shift+G", "G"),
     ("full_stop", "."), ("ctrl+up,f11", "^↑ f11")],
)  # fmt: skip
def test_keys_are_written_as_people_write_them(typed: str, shown: str) -> None:
    assert Keymap({"run.log": typed}).shown("run.log") == shown


@pytest.mark.parametrize(
    ("command", "keys", "sentence"),
    [
        ("run.pauze", "f10", '[keys] has "run.pauze", but there is no such command; did you mean "run.pause"?'),
        ("nothing.x", "f10", "ids begin with app., setup., plan., run., verify., history."),
        ("run.log", "ctrl+i", "\"run.log\" is given 'ctrl+i', which is no key that every terminal sends"),
        ("run.log", "hyper+x", "which is no key that every terminal sends"),
        ("run.log", "", "is given '', which is no key"),
        ("run.log", "f10,,", "is given '', which is no key"),
        ("run.log", "j", '"run.log" cannot be j, which moves in lists and fields'),
        ("setup.test", "space", "which moves in lists and fields"),
        ("setup.test", "a", 'leaves "setup.choose_all" and "setup.test" on the same key, a; give one of them another'),
        ("setup.choose", "right", "which moves in lists and fields"),
        ("run.log", "t", 'leaves "run.tune" and "run.log" on the same key, t; give one of them another'),
        ("app.theme", "space", "on the same key, space"),
    ],
)
def test_a_choice_that_cannot_be_is_one_sentence(command: str, keys: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        Keymap({command: keys})
    assert sentence in refused.value.message
    assert "\n" not in refused.value.message


def test_commands_that_never_work_together_may_share_a_key_and_two_may_swap() -> None:
    Keymap({"run.pause": "f10", "run.resume": "f10"})
    Keymap({"plan.edit": "f2", "run.log": "f2"})
    swapped = Keymap({"run.tune": "l", "run.log": "t"})
    assert (swapped.first("run.tune"), swapped.first("run.log")) == ("l", "t")


@pytest.mark.parametrize("written", ['[keys]\n"run.pause" = "f10"\n', '[keys]\nrun.pause = "f10"\n'])
def test_keys_come_from_the_file(tmp_path: Path, written: str) -> None:
    (tmp_path / "keys.toml").write_text(written)
    assert load_settings(tmp_path / "keys.toml", {}).settings.keys == {"run.pause": "f10"}


@pytest.mark.parametrize("written", ['[keys]\n"run.pause" = 3\n', 'keys = "f10"\n'])
def test_keys_that_are_no_text_are_refused(tmp_path: Path, written: str) -> None:
    (tmp_path / "keys.toml").write_text(written)
    with pytest.raises(UsageError, match=r"must be"):
        load_settings(tmp_path / "keys.toml", {})


def test_keys_in_the_environment_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGOPG_KEYS", '{"run.pause": "f10"}')
    with pytest.raises(UsageError, match="keys are set in the file only"):
        load_settings(None, {})


async def test_a_chosen_key_works_the_old_one_does_not_and_every_place_shows_it(engine: ScriptedEngine) -> None:
    engine.snapshot = running()
    chosen = {"run.pause": "f10", "run.freeze": "f3", "run.stop": "f4", "app.history": "f11", "run.workers_more": ">"}
    app = Cockpit(settings_with_servers(), {}, attach=engine.socket, keymap=Keymap(chosen), silent_s=NEVER_S)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "41,220 rows/s", "f11 History", "- >")
        await until_shown(
            pilot, " f10 Pause  >- Workers  ][ Page  f4 Stop…  t Tune…  enter Details", "? Help  q Quit  ^p Palette"
        )
        await pilot.press("space", "plus", "f10")
        await until(pilot, lambda: engine.received("pause"))
        assert len(engine.received("pause")) == 1
        assert engine.received("set") == []
        await until_shown(pilot, "‖ paused")
        await pilot.press("space")
        await until(pilot, lambda: engine.received("resume"))
        await pilot.press("greater_than_sign")
        await until(pilot, lambda: engine.received("set"))
        await pilot.press("f3")
        await until_shown(pilot, "Display frozen (run continues). f3: unfreeze")
        await pilot.press("question_mark")
        await until_shown(pilot, "Help: Run", "f10", "run.pause")
        await pilot.press("escape")
        await until(pilot, lambda: "Help: Run" not in screen_text(app))
        await pilot.press("f4", "f4")
        await until(pilot, lambda: engine.received("cancel"))
        assert engine.received("cancel")[0]["now"] is False


async def test_choosing_and_copying_take_other_keys_in_the_list_and_in_dialogs(engine: ScriptedEngine) -> None:
    chosen = {"setup.choose": "f10", "setup.choose_all": "ctrl+a", "app.copy": "ctrl+y"}
    app = Cockpit(settings_with_servers(), {}, process=process_of(engine), keymap=Keymap(chosen), silent_s=NEVER_S)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "3 of 4 selected", "f10 Select", "^a All")
        await pilot.press("space", "a")
        await pilot.press("f10")
        await until_shown(pilot, "2 of 4 selected")
        await pilot.press("ctrl+a", "ctrl+a", "f9")
        await until_shown(pilot, "No collection is selected: f10 selects the one under the cursor, ^a", "selects all.")
        await pilot.press("y")
        assert app.clipboard == ""
        await pilot.press("ctrl+y")
        assert app.clipboard.startswith("No collection is selected")


async def test_the_hint_of_a_dialog_names_the_chosen_key(engine: ScriptedEngine) -> None:
    engine.snapshot = running()
    app = Cockpit(
        settings_with_servers(), {}, attach=engine.socket, keymap=Keymap({"app.copy": "ctrl+y"}), silent_s=NEVER_S
    )
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("enter")
        await until_shown(pilot, "Worker 1", "^y copy · Esc close")


async def test_what_shares_a_key_keeps_it_when_the_other_is_given_another(engine: ScriptedEngine) -> None:
    app = Cockpit(
        settings_with_servers(), {}, process=process_of(engine), keymap=Keymap({"setup.start": "f10"}), silent_s=NEVER_S
    )
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("enter", "f9")
        await pilot.press("f10")
        await until_shown(pilot, "Start this run?")
