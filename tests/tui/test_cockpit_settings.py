"""The Settings dialog, and profiles on Setup."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Button, Input

from engine.config import merged
from engine.loading import setting_names
from engine.protocol import CheckView
from tests.tui.driving import click, input_in, on_run, on_setup, until, until_shown
from tests.tui.scripted_answers import found_tables
from tests.tui.scripted_engine import ScriptedEngine, running
from tui import profiles
from tui.cockpit.dialogs.settings import SettingChoice, SettingsDialog, SettingText, editable_settings
from tui.cockpit.screens.setup import SetupScreen
from tui.cockpit.widgets.fields import ChoiceField

SIZES = [(120, 40), (80, 24)]
ELSEWHERE = {
    "source.uri", "target.uri", "run.collections", "run.mode", "run.cluster_size", "run.page_size", "run.throttle",
    "seed.count",
}  # fmt: skip
"""What has a field on Setup itself."""
NOT_HERE = {
    "source.uri_file", "source.uri_from", "source.password", "target.uri_file", "target.uri_from", "target.password",
    "demo.embedded",
}  # fmt: skip
"""What a person does not change here: where secrets are, and whether servers are embedded: a command starts those."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "mongopg-tui"


def test_every_setting_that_a_person_changes_has_a_field() -> None:
    assert {*editable_settings()} | ELSEWHERE | NOT_HERE == set(setting_names())


@pytest.mark.parametrize("size", SIZES)
async def test_settings_are_edited_and_reach_the_run(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f4")
        await until_shown(pilot, "Values that do not fit", "date_range", "Apply")
        dialog = app.screen
        assert isinstance(dialog, SettingsDialog)
        dialog.query_one("#setting-run-limit", Input).value = "many"
        dialog.query_one("#apply", Button).press()
        await until_shown(pilot, "run.limit must be a whole number between 0 and 1,000,000,000")
        dialog.query_one("#setting-run-limit", Input).value = "1,000"
        dialog.query_one("#setting-target-schema", Input).value = "crm"
        dialog.query_one("#setting-mapping-uuid_legacy", ChoiceField).selected = "java"
        dialog.query_one("#setting-run-indexes", ChoiceField).selected = "yes"
        dialog.query_one("#setting-guard-file", Input).value = "/tmp/hold"
        dialog.query_one("#setting-cockpit-theme", ChoiceField).selected = "high-contrast"
        dialog.query_one("#apply", Button).press()
        await until(pilot, lambda: app.theme == "high-contrast")
        await until(pilot, lambda: isinstance(app.screen, SetupScreen))
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?")
        await click(pilot, "#go")
        await until(pilot, lambda: engine.received("start"))
        sent = engine.received("start")[0]["settings"]
        assert (sent["run"]["limit"], sent["run"]["indexes"], sent["mapping"]["uuid_legacy"]) == (1_000, True, "java")
        assert (sent["target"]["schema"], sent["guard"]["file"]) == ("crm", "/tmp/hold")
        of_run = {name.partition(".")[0] for name in editable_settings()} - {"cockpit", "demo"}
        assert of_run <= sent.keys(), "what is edited here and is about the run is not the engine's own"


async def test_a_dask_cluster_is_chosen_looked_at_before_the_start_and_used(engine: ScriptedEngine) -> None:
    few = "The Dask cluster has 2 workers with 8 slots, and 24 are wanted: more are used as they come."
    cluster = CheckView(what="cluster", status="warning", message=few)
    engine.preflight = found_tables(("shop.orders", "public.orders"), checks=[cluster], status="warning")
    app = on_setup(engine)
    async with app.run_test(size=SIZES[1]) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f4")
        await until_shown(pilot, "type to search")
        await pilot.press(*"cluster.kind", "down", "right")
        await until_shown(pilot, "Where workers run", "(•) dask")
        scheduler = app.screen.query_one("#setting-dask-scheduler", Input)
        scheduler.value = "tls://scheduler"
        await pilot.press("enter")
        await until_shown(pilot, "dask.scheduler must be tls://host:8786")
        scheduler.value = "local:2x4"
        app.screen.query_one("#apply", Button).press()
        await until(pilot, lambda: isinstance(app.screen, SetupScreen))
        await pilot.press("f9")
        await until_shown(pilot, "Start this run?", "The Dask cluster has 2 workers with 8 slots")
        asked = engine.received("preflight")[-1]["settings"]
        await pilot.press("enter")
        await until(pilot, lambda: engine.received("start"))
        for settings in (asked, engine.received("start")[0]["settings"]):
            assert (settings["cluster"]["kind"], settings["dask"]["scheduler"]) == ("dask", "local:2x4")


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_names_of_settings_are_not_cut(engine: ScriptedEngine, size: tuple[int, int]) -> None:
    app = on_setup(engine)
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f4")
        await until_shown(pilot, "type to search")
        texts = [line.setting.label for line in app.screen.query(SettingText)]
        choices = [line.setting.label for line in app.screen.query(SettingChoice)]
        for label in (max(texts, key=len), max(choices, key=len)):
            app.screen.query_one("#search", Input).value = label
            await until_shown(pilot, f"  {label}  ")


async def test_a_second_answer_does_not_take_the_screen_below_away(engine: ScriptedEngine) -> None:
    app = on_setup(engine)
    async with app.run_test(size=SIZES[0]) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("f4")
        await until_shown(pilot, "Values that do not fit", "overflow", "(•) _extra  ( ) reject")
        dialog = app.screen
        assert isinstance(dialog, SettingsDialog)
        dialog.dismiss(None)
        dialog.dismiss(None)
        await pilot.pause()
        assert isinstance(app.screen, SetupScreen)


async def test_all_collections_are_kept_as_all_that_there_will_be(engine: ScriptedEngine, home: Path) -> None:
    engine.collections = [info for info in engine.collections if info.kind != "view"]
    app = on_setup(engine)
    async with app.run_test(size=SIZES[0]) as pilot:
        await until_shown(pilot, "3 of 3 selected")
        for name in ("all", "some"):
            await pilot.press("ctrl+s")
            await until_shown(pilot, "Save a profile")
            await pilot.press(*name, "enter")
            await until(pilot, lambda: isinstance(app.screen, SetupScreen))
            await pilot.press("space")
        assert "collections" not in (home / "all.toml").read_text()
        assert 'collections = ["shop.orders", "shop.products"]' in (home / "some.toml").read_text()
        await pilot.press("a", "ctrl+s")
        await until_shown(pilot, "Not yet", "No collection is selected")


async def test_all_collections_with_views_are_kept_by_name(engine: ScriptedEngine, home: Path) -> None:
    app = on_setup(engine)
    async with app.run_test(size=SIZES[0]) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        await pilot.press("end", "space")
        await until_shown(pilot, "4 of 4 selected")
        await pilot.press("ctrl+s")
        await until_shown(pilot, "Save a profile")
        await pilot.press(*"all", "enter")
        await until(pilot, lambda: isinstance(app.screen, SetupScreen))
        assert "shop.recent" in (home / "all.toml").read_text()


async def test_a_profile_is_saved_and_opened(engine: ScriptedEngine, home: Path) -> None:
    app = on_setup(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "3 of 4 selected")
        app.choices.memory.servers = ()
        await pilot.press("ctrl+o")
        await until_shown(pilot, "No profile was saved yet; ^s saves what is set here.")
        await pilot.press("escape")
        input_in(app, "#knob-throttle").value = "5,000"
        await pilot.press("ctrl+s")
        await until_shown(pilot, "Save a profile", "Passwords are not saved.")
        await pilot.press(*"a/b", "enter")
        await until_shown(pilot, "A profile is called by letters")
        app.screen.query_one(Input).value = "night"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SetupScreen))
        assert profiles.names() == ["night"]
        text = (home / "night.toml").read_text()
        assert "throttle = 5000" in text
        assert "s3cret" not in text
        input_in(app, "#knob-throttle").value = "off"
        await pilot.press("ctrl+o")
        await until_shown(pilot, "Open a profile", "night", "profile")
        await pilot.press("enter")
        await until_shown(pilot, "mongodb://app@db1:27017/shop", "5,000")
        screen = app.screen
        assert isinstance(screen, SetupScreen)
        assert screen.edited_settings().run.throttle == 5_000


async def test_the_run_is_drawn_as_often_as_the_settings_say_now(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = on_run(engine, running())
    async with app.run_test(size=SIZES[0]) as pilot:
        await until_shown(pilot, "● running")
        clocks: list[float] = []
        monkeypatch.setattr(app.screen, "set_interval", lambda every_s, _: clocks.append(every_s))
        app.choices.apply(merged(app.choices.current, {"cockpit": {"refresh_hz": 10}}))
        await until(pilot, lambda: clocks == [0.1])
