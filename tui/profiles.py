"""Profiles: named files of settings in the user's folder, beside `config.toml`. A password is never in one."""

from __future__ import annotations

import os
import re
from pathlib import Path

import tomlkit

from engine.config import Settings, reveal
from engine.errors import UsageError
from engine.knobs import CLUSTER_SIZE, PAGE_SIZE, THROTTLE, Knob, KnobValue
from engine.loading import load_settings, settings_folder
from tui.words.uri import without_secrets

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LEFT_OUT = frozenset(["source.password", "source.uri_file", "target.password", "target.uri_file", "demo.embedded"])
"""Secrets, and what only a command sets."""
_DEFAULT = "config"
"""The file that is read without a profile."""


def path_of(name: str) -> Path:
    """The file of a profile, whether it is there or not.

    Raises:
        UsageError: it cannot be called so.
    """
    if not _NAME.fullmatch(name) or name == _DEFAULT:
        raise UsageError(
            f"A profile is called by letters, digits, dots, dashes and underscores, and not {_DEFAULT}: not {name!r}."
        )
    return settings_folder() / f"{name}.toml"


def existing(name: str) -> Path:
    """The file of a profile that is there.

    Raises:
        UsageError: it is not; the sentence lists those that are.
    """
    path = path_of(name)
    if not path.is_file():
        known = ", ".join(names())
        raise UsageError(
            f"There is no profile {name!r}; {f'there are {known}' if known else 'ctrl+s on Setup saves one'}."
        )
    return path


def names() -> list[str]:
    """Every profile, by name."""
    found = sorted(path.stem for path in settings_folder().glob("*.toml"))
    return [name for name in found if name != _DEFAULT and _NAME.fullmatch(name)]


def knobs_of(name: str) -> dict[Knob, KnobValue]:
    """The values that a profile gives the knobs of a run that is going on.

    Raises:
        UsageError: it cannot be read.
    """
    run = load_settings(existing(name), {}).settings.run
    return {CLUSTER_SIZE: run.size, PAGE_SIZE: run.page_size, THROTTLE: run.throttle}


def save(name: str, settings: Settings) -> Path:
    """Write a profile, or write it anew; only the user may read it.

    Raises:
        UsageError: it cannot be called so, or cannot be written.
    """
    path = path_of(name)
    beside = path.with_suffix(".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside.touch(mode=0o600)
        beside.write_text(text_of(settings), encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise UsageError(f"The profile {path} cannot be written: {error.strerror}.") from error
    return path


def text_of(settings: Settings) -> str:
    """The settings that are not as by default, as TOML; connection strings without their secrets."""
    defaults, given = reveal(Settings()), reveal(settings)
    document = tomlkit.document()
    document.add(
        tomlkit.comment("Written by mongopg-tui. Passwords are not kept: use -W, the environment or ~/.pgpass.")
    )
    for section in given:
        values = {
            name: without_secrets(str(value)) if name == "uri" else value
            for name, value in given[section].items()
            if f"{section}.{name}" not in _LEFT_OUT and value != defaults[section].get(name)
        }
        if values:
            document.add(tomlkit.nl())
            document.add(section, tomlkit.item({name: _written(value) for name, value in values.items()}))
    return document.as_string()


def _written(value: object) -> object:
    """A value as a file has it, where `${` would name a variable."""
    if isinstance(value, list):
        return [_written(each) for each in value]
    return value.replace("${", "$${") if isinstance(value, str) else value
