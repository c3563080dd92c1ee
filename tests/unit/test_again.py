"""F12: commands that are printed run as they are."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from engine.config import Loaded
from engine.loading import load_settings
from tui import again, profiles
from tui.cli.commands import COMMANDS, application

SOURCE = "mongodb://app:s3cretpw@db1:27017/shop?replicaSet=rs0"
TARGET = "postgresql://mig@pg1/shop"
RESUME = "run --resume 20261123-1402-k3f9"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without settings."""
    for name in ("MONGOPG_SOURCE_URI", "MONGOPG_TARGET_URI", "PGPASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mongopg-tui"


def printed(loaded: Loaded) -> str:
    return again.command(RESUME, loaded, {"source": SOURCE, "target": TARGET})


def test_f12_servers_of_the_environment_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGOPG_SOURCE_URI", SOURCE)
    monkeypatch.setenv("MONGOPG_TARGET_URI", TARGET)
    assert printed(load_settings(None, {})) == f"mongopg-tui {RESUME}"


def test_f12_servers_that_were_typed_are_repeated_without_their_passwords() -> None:
    command = printed(load_settings(None, {"source.uri": SOURCE, "target.uri": TARGET}))
    assert command == (
        f"mongopg-tui {RESUME} --source 'mongodb://app@db1:27017/shop?replicaSet=rs0' --target {TARGET} -W"
    )
    assert "s3cret" not in command


def test_f12_servers_that_were_typed_on_setup_are_repeated() -> None:
    loaded = Loaded(load_settings(None, {"target.uri": TARGET}).settings, {"target.uri": "default"})
    assert again.command("rejects 2026", loaded, {"target": TARGET}) == f"mongopg-tui rejects 2026 --target {TARGET}"


def test_f12_a_run_on_other_servers_than_the_configured_ones_is_printed_with_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MONGOPG_SOURCE_URI", SOURCE)
    monkeypatch.setenv("MONGOPG_TARGET_URI", "postgresql://mig@pg2/shop")
    redacted = "mongodb://app:***@db1:27017/shop?replicaSet=rs0"
    loaded = load_settings(None, {})
    command = again.command(RESUME, loaded, {"source": redacted, "target": TARGET})
    assert command == f"mongopg-tui {RESUME} --target {TARGET}"


@pytest.mark.parametrize("place", ["profile", "file", "own", "user"])
def test_f12_a_file_of_settings_is_named_where_it_is_not_found_by_itself(place: str, home: Path) -> None:
    home.mkdir()
    files = {
        "profile": home / "night.toml", "file": Path("mine.toml"), "own": Path("config.toml"), "user": home / "config.toml",
    }  # fmt: skip
    files[place].write_text(f'[source]\nuri = "{SOURCE}"\n[target]\nuri = "{TARGET}"\n')
    loaded = load_settings(profiles.existing("night") if place == "profile" else files[place], {})
    named = {"profile": " --profile night", "file": " --config mine.toml"}.get(place, "")
    assert printed(loaded) == f"mongopg-tui {RESUME}{named}"


def test_what_is_printed_is_taken_by_the_parser() -> None:
    words = shlex.split(printed(load_settings(None, {"source.uri": SOURCE, "target.uri": TARGET})))[1:]
    group: Any = typer.main.get_command(application(COMMANDS))
    with group.make_context("mongopg-tui", list(words)) as context:
        _, command, rest = group.resolve_command(context, words)
        command.make_context(command.name, rest, parent=context)
