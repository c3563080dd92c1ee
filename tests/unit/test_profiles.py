"""Profiles: what is written, what never is, and that it is read back."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Settings, merged
from engine.errors import UsageError
from engine.loading import changed, load_settings
from tui import profiles
from tui.cockpit.themes import check_theme
from tui.words.uri import without_secrets

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mongopg-tui"


def edited(**changes: object) -> Settings:
    return changed(Settings(), {name.replace("__", "."): value for name, value in changes.items()})


def test_a_profile_reads_back_as_it_was_saved_without_its_passwords() -> None:
    settings = edited(
        source__uri="mongodb://app:s3cret@db1:27017/shop?authSource=admin", target__uri="postgresql://mig:hunter2@pg1/x",
        source__password="pa55", run__cluster_size=12, run__throttle="5,000", run__mode="append", mapping__naming="preserve",
        run__collections=["shop.a", 'shop.${odd} "b"'], cockpit__ascii=True, target__schema="crm",
    )  # fmt: skip
    settings = merged(settings, {"keys": {"run.pause": "f10"}})
    path = profiles.save("shop", settings)
    text = path.read_text()
    for secret in ("s3cret", "hunter2", "pa55"):
        assert secret not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = load_settings(profiles.existing("shop"), {}).settings
    assert read.source.uri.get_secret_value() == "mongodb://app@db1:27017/shop?authSource=admin"
    assert read.target.uri.get_secret_value() == "postgresql://mig@pg1/x"
    assert read.keys == {"run.pause": "f10"}
    for section in ("run", "mapping", "cockpit", "seed"):
        assert getattr(read, section) == getattr(settings, section)
    assert read.target.schema_name == "crm"


def test_a_profile_is_utf8_whatever_the_locale_is(home: Path) -> None:
    script = (
        "from engine.config import Settings, merged; from tui import profiles;"
        "settings = merged(Settings(), {'run': {'collections': ['shop.\\u00fc\\u4e16']}}); profiles.save('shop', settings)"
    )
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    ran = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | plain, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert load_settings(profiles.existing("shop"), {}).settings.run.collections == ["shop.\u00fc\u4e16"]


def test_where_embedded_servers_are_kept_is_kept_but_not_that_there_are_some() -> None:
    text = profiles.text_of(edited(demo__embedded=True, demo__dir="/srv/demo", demo__keep=True))
    assert '[demo]\ndir = "/srv/demo"\nkeep = true\n' in text


def test_what_is_as_by_default_is_not_written() -> None:
    assert profiles.text_of(Settings()).count("\n") == 1
    assert "page_size" not in profiles.text_of(edited(run__throttle=7))


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        ("mongodb://app:s3cret@db1/shop", "mongodb://app@db1/shop"),
        ("mongodb://app:p@ss:w@db1,db2/shop?tls=true", "mongodb://app@db1,db2/shop?tls=true"),
        ("postgresql://pg1/x?password=hunter2", "postgresql://pg1/x"),
        ("postgresql://pg1/x?password=hunter2&sslmode=require", "postgresql://pg1/x?sslmode=require"),
        ("postgresql://pg1/x?sslmode=require&sslpassword=hunter2", "postgresql://pg1/x?sslmode=require"),
        ("postgresql://:hunter2@pg1/x", "postgresql://pg1/x"),
        ("mongodb://db1/shop", "mongodb://db1/shop"),
        ("", ""),
    ],
)
def test_a_connection_string_keeps_everything_but_its_secrets(uri: str, kept: str) -> None:
    assert without_secrets(uri) == kept


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30))
def test_any_name_of_a_collection_is_read_back(name: str) -> None:
    settings = merged(Settings(), {"run": {"collections": [name]}})
    path = profiles.save("any", settings)
    assert load_settings(path, {}).settings.run.collections == [name]


@pytest.mark.parametrize("name", [r"shop.a\:b:crm.c\.d", "shop.${", "shop.$${x", "shop.$$${x}", "shop.\u007f"])
def test_names_with_what_a_file_gives_a_meaning_are_read_back(name: str) -> None:
    settings = merged(Settings(), {"run": {"collections": [name], "exclude": [name]}})
    run = load_settings(profiles.save("any", settings), {}).settings.run
    assert (run.collections, run.exclude) == ([name], [name])


@pytest.mark.parametrize("name", ["", "config", "../x", "a/b", ".hidden", "a b", "x" * 80])
def test_a_name_that_is_no_file_of_ours_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="A profile is called by letters"):
        profiles.path_of(name)


def test_one_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="saves one"):
        profiles.existing("shop")
    profiles.save("crm", Settings())
    with pytest.raises(UsageError, match="There is no profile 'shop'; there are crm"):
        profiles.existing("shop")


def test_one_that_cannot_be_written_is_one_sentence(home: Path) -> None:
    home.write_text("a file where the folder belongs")
    with pytest.raises(UsageError, match="cannot be written"):
        profiles.save("shop", Settings())


def test_a_theme_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    assert check_theme("high-contrast", "cockpit.theme") == "high-contrast"
    with pytest.raises(UsageError, match="did you mean high-contrast"):
        check_theme("highcontrast", "cockpit.theme")
    with pytest.raises(UsageError, match=r"there are high-contrast, .*textual-light"):
        check_theme("zzz", "cockpit.theme")
