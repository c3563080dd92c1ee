"""One definition per command: what is generated from it, and when it works."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from engine.knobs import CLUSTER_SIZE, KnobValue
from engine.protocol import RunState
from tests.tui.driving import on_run, on_setup, screen_text, until, until_shown
from tests.tui.scripted_engine import ScriptedEngine, completed, running
from tui.cockpit.app import Cockpit
from tui.cockpit.commands import COMMANDS, SCREENS, Place, Situation, knob_wish
from tui.cockpit.dialogs.help import help_text
from tui.cockpit.dialogs.modal import Modal
from tui.cockpit.dialogs.tune import TuneDialog
from tui.cockpit.keymap import Keymap
from tui.cockpit.palette import Palette
from tui.cockpit.screens.history import HistoryScreen
from tui.cockpit.screens.plan import PlanScreen
from tui.cockpit.screens.rejects import RejectsScreen
from tui.cockpit.screens.run import RunScreen
from tui.cockpit.screens.setup import SetupScreen
from tui.cockpit.screens.verify import VerifyScreen
from tui.cockpit.widgets.footer import Footer
from tui.cockpit.widgets.header import Header

OWNERS = {
    Place.APP: Cockpit,
    Place.SETUP: SetupScreen,
    Place.PLAN: PlanScreen,
    Place.RUN: RunScreen,
    Place.VERIFY: VerifyScreen,
    Place.HISTORY: HistoryScreen,
    Place.REJECTS: RejectsScreen,
}
SITUATIONS = [
    Situation(
        state=state, is_lost=is_lost, can_resume=can_resume, has_problems=True, has_source=True, has_target=True,
        is_replay=is_replay, is_busy=is_busy, has_result=True, has_edits=True, has_undone=True,
        can_resume_chosen=True,
    )
    for state in [None, *RunState]
    for is_lost in (False, True)
    for can_resume in (False, True)
    for is_replay in (False, True)
    for is_busy in (False, True)
]  # fmt: skip


def test_each_command_has_an_id_of_its_own_and_a_method_that_does_it() -> None:
    assert len({command.id for command in COMMANDS}) == len(COMMANDS)
    for command in COMMANDS:
        assert hasattr(OWNERS[command.place], f"action_{command.action}"), command.id


def test_no_key_means_two_things_at_once_on_a_screen() -> None:
    for now in SITUATIONS:
        for place in SCREENS:
            meanings = defaultdict(list)
            for command in COMMANDS:
                if command.place in {place, Place.APP} and command.works(now):
                    for key in command.keys.split(","):
                        meanings[key].append(command.id)
            assert {key: ids for key, ids in meanings.items() if len(ids) > 1} == {}


def test_help_lists_every_command_of_the_screen_and_sets_apart_what_does_not_work_now() -> None:
    text = help_text(Place.RUN, Situation(state=RunState.PAUSED), [("log", "/var/log/x")], Keymap(), 100).plain
    now, later = ("".join(part.split()) for part in text.split("Not now"))  # lines end at hyphens, too
    for command in COMMANDS:
        if command.place in {Place.RUN, Place.APP}:
            works = command.works(Situation(state=RunState.PAUSED))
            told = "".join(command.help.split())
            assert (told in now) is works, command.id
            assert (told in later) is not works, command.id
    assert "/var/log/x" in text


@pytest.mark.parametrize("width", [51, 70, 112])
def test_a_sentence_of_the_help_goes_on_under_itself(width: int) -> None:
    commands = help_text(Place.RUN, Situation(state=RunState.PAUSED), [], Keymap(), width).plain.split("\n\n")[0]
    lines = commands.splitlines()
    assert max(map(len, lines)) <= width
    starts = [line for line in lines if line[0] != " "]
    assert len(starts) < len(lines)
    assert all(line.startswith(" " * 28) and line[28] != " " for line in lines if line not in starts)


@pytest.mark.parametrize(
    ("text", "knob", "value"),
    [
        ("workers 12", "cluster_size", 12),
        ("work 3", "cluster_size", 3),
        ("cluster_size=90", "cluster_size", 90),
        ("workers auto", "cluster_size", CLUSTER_SIZE.read("auto")),
        ("cluster size auto:4-16", "cluster_size", CLUSTER_SIZE.read("auto:4-16")),
        ("page size 5,000", "page_size", 5_000),
        ("throttle off", "throttle", 0),
        ("Seed Count 1000", "seed_count", 1_000),
    ],
)
def test_the_palette_takes_knobs_by_value(text: str, knob: str, value: KnobValue) -> None:
    wish = knob_wish(text)
    assert wish is not None
    assert (wish.knob.name, wish.value) == (knob, value)


def test_a_value_out_of_bounds_is_answered_with_the_bounds() -> None:
    wish = knob_wish("workers 5000")
    assert wish is not None
    assert wish.value is None
    assert "between 1 and 1,024" in wish.problem


@pytest.mark.parametrize("text", ["pause", "workers", "12", "", "workers twelve", "=", "zebras 3"])
def test_other_words_ask_for_no_knob(text: str) -> None:
    assert knob_wish(text) is None


def footer_of(app: Cockpit) -> set[str]:
    return {key.action for key in app.screen.query_one(Footer).keys}


async def test_the_footer_shows_only_what_works_now(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "pause" in footer_of(app))
        assert footer_of(app) >= {"pause", "stop", "tune", "workers_more", "help", "quit"}
        assert "resume" not in footer_of(app)
        engine.show(completed())
        await until(pilot, lambda: footer_of(app) == {"export", "workers", "quit", "help", "command_palette"})
        engine.show(rejected=14)
        await until(pilot, lambda: "rejects" in footer_of(app))


async def test_all_keys_of_the_footer_are_asked_for_in_one_situation(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each key would look at the fields and the run by itself: a quarter of what the cockpit computes."""
    looks: list[str] = []

    def has_uri(side: str) -> bool:
        looks.append(side)
        return True

    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        before = app.screen.active_bindings
        monkeypatch.setattr(app.choices, "has_uri", has_uri)
        assert app.screen.active_bindings == before
        assert looks == ["source", "target"]


async def test_a_click_on_a_key_in_the_footer_is_the_key(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=(120, 40), tooltips=True) as pilot:
        await until(pilot, lambda: "tune" in footer_of(app))
        column = screen_text(app).splitlines()[-1].index("Tune…")
        await pilot.hover(Footer, offset=(column, 0))
        await until_shown(pilot, "Exact values of all knobs")
        await pilot.click(Footer, offset=(column, 0))
        await until(pilot, lambda: isinstance(app.screen, TuneDialog))


async def test_a_dimmed_screen_says_why_it_cannot_be_gone_to(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40), tooltips=True) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.hover(Header, offset=(screen_text(app).splitlines()[0].index("3 Run"), 0))
        await until_shown(pilot, "There is no run yet")
        await pilot.hover("#middle")
        await pilot.hover(Header, offset=(screen_text(app).splitlines()[0].index("2 Plan"), 0))
        await until_shown(pilot, "The Plan screen.")


async def test_help_opens_on_question_mark_and_f1_and_closes_on_escape(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "customers")
        for key in ("question_mark", "f1"):
            await pilot.press(key)
            await until_shown(
                pilot, "Help: Setup", "Copy the selected collections", str(engine.log), "no file was read"
            )
            await pilot.press("escape")
            await until(pilot, lambda: "Help: Setup" not in screen_text(app))


async def test_help_names_the_settings_file(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    app.choices.file = Path("/etc/mongopg/night.toml")
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("question_mark")
        await until_shown(pilot, "settings   /etc/mongopg/night.toml")


async def test_a_knob_is_set_from_the_palette(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "41,220 rows/s")
        await pilot.press("ctrl+p")
        await pilot.press(*"workers", "space", *"12")
        await until_shown(pilot, "Set workers to 12")
        await pilot.press("enter")
        await until(pilot, lambda: engine.received("set"))
        assert engine.received("set") == [{"name": "set", "knob": "cluster_size", "value": 12}]


async def test_the_palette_runs_a_command_of_the_screen_it_was_opened_from(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "41,220 rows/s")
        await pilot.press("ctrl+p")
        await pilot.press(*"pause")
        await until_shown(pilot, "End pages early")
        await pilot.press("enter")
        await until(pilot, lambda: engine.received("pause"))


async def test_keys_are_overridden_by_the_command_ids(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    app.set_keymap({"run.pause": "f10"})
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "41,220 rows/s")
        await pilot.press("space")
        await pilot.press("f10")
        await until(pilot, lambda: engine.received("pause"))
        assert len(engine.received("pause")) == 1


async def test_f12_saves_a_picture_of_the_screen_in_the_current_folder(
    engine: ScriptedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = on_run(engine, running())
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "41,220 rows/s")
        await pilot.press("f12")
        await until(
            pilot, lambda: [file for file in tmp_path.glob("*.svg") if file.read_text().rstrip()[-6:] == "</svg>"]
        )
    (picture,) = tmp_path.iterdir()
    assert "41,220" in picture.read_text()


async def test_f6_offers_the_themes_and_takes_one(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "41,220 rows/s")
        await pilot.press("f6")
        await until_shown(pilot, "Search for themes…")
        await pilot.press(*"high-con")
        await until_shown(pilot, "high-contrast")
        await pilot.press("enter")
        await until(pilot, lambda: app.theme == "high-contrast")


async def test_a_list_without_room_is_not_paged_through(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("home")
        await pilot.resize_terminal(30, 6)
        await pilot.press("pagedown", "pageup")
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, Palette))
        await pilot.press("pagedown", "pageup", "escape")
        await until(pilot, lambda: not isinstance(app.screen, Palette))


async def test_a_dialog_is_left_once_however_often_it_is_answered(engine: ScriptedEngine) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "● running")
        for key in ("x", "t", "question_mark", "ctrl+p", "f6"):
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, Modal | Palette))
            dialog: Any = app.screen
            dialog.dismiss(None)
            dialog.dismiss(None)
            await pilot.pause()
            assert isinstance(app.screen, RunScreen)


async def test_a_screen_that_is_being_removed_is_not_drawn(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await app.screen.query_one(Header).remove()
        app.situation_changed()
        await pilot.pause()
