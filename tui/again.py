"""Commands that are printed for later: with the options without which they would not reach the same servers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from engine.config import Loaded
from engine.loading import settings_folder
from tui import profiles
from tui.words.uri import shown, without_secrets

_LASTING = ("environment ", "file ")
"""Where a later command of the same shell finds a setting again."""


def command(words: str, loaded: Loaded, servers: Mapping[str, str]) -> str:
    """`mongopg-tui WORDS`, with what it needs to reach the servers of a run.

    What was typed, on a command line or on Setup, has to be typed again. A password is never written: `-W` asks for it.

    Args:
        loaded: the settings that are in force.
        servers: "source" and "target" as far as the command takes them -> the connection string, with its password or without.
    """
    options = [*_file_of(loaded.file)]
    asks = False
    for side, uri in servers.items():
        if uri and not _is_found(side, uri, loaded):
            options += [f"--{side}", without_secrets(uri)]
            asks = asks or shown(uri) != without_secrets(uri) or loaded.provenance.get(f"{side}.password") == "terminal"
    return " ".join(["mongopg-tui", words, *map(shlex.quote, options), *(["-W"] if asks else [])])


def _is_found(side: str, uri: str, loaded: Loaded) -> bool:
    """The connection string is there without being typed."""
    section = loaded.settings.source if side == "source" else loaded.settings.target
    is_lasting = loaded.provenance.get(f"{side}.uri", "").startswith(_LASTING)
    return is_lasting and without_secrets(section.uri.get_secret_value()) == without_secrets(uri)


def _file_of(file: Path | None) -> list[str]:
    """How to name the file of settings, where it is not one that is found by itself."""
    if file is None or file in (Path("config.toml"), settings_folder() / "config.toml"):
        return []
    if file.parent == settings_folder() and file.stem in profiles.names():
        return ["--profile", file.stem]
    return ["--config", str(file)]
