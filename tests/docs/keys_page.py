"""Keys for the reference, from the definitions of the commands and the bindings of widgets and dialogs."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator

from textual.binding import Binding
from textual.dom import DOMNode

import tui.cockpit.dialogs
import tui.cockpit.screens
import tui.cockpit.widgets
from tests.docs.markdown import table
from tui.cockpit.commands import COMMANDS, Command, Place
from tui.cockpit.keymap import Keymap, key_words

_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")
KEYS = Keymap()
"""Those of no configuration."""
HEADINGS = ["key", "name", "what it does", "id"]


def keys_section(place: Place) -> Callable[[], str]:
    """The maker of a table of one screen's keys."""

    def section() -> str:
        return table(HEADINGS, [row(command) for command in COMMANDS if command.place is place])

    return section


KEY_SECTIONS = {f"keys-{place.value}": keys_section(place) for place in Place}


def row(command: Command) -> list[str]:
    keys = " ".join(f"`{key}`" for key in KEYS.shown(command.id).split())
    return [keys, command.label, command.help, f"`{command.id}`"]


def widgets_section() -> str:
    """Keys of lists, fields and dialogs, which work while those have the focus."""
    return table(["where", "keys"], widget_rows())


def widget_rows() -> Iterator[list[str]]:
    ids = {command.id for command in COMMANDS}
    for package in (tui.cockpit.widgets, tui.cockpit.screens, tui.cockpit.dialogs):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for _, each in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                if each.__module__ != module.name or not issubclass(each, DOMNode):
                    continue
                bindings = [
                    binding
                    for binding in each.__dict__.get("BINDINGS", [])
                    if isinstance(binding, Binding) and binding.id not in ids and not binding.system
                ]
                if bindings:
                    yield [_WORD.sub(" ", each.__name__).lower(), ", ".join(map(words, bindings))]


def words(binding: Binding) -> str:
    keys = " ".join(f"`{key_words(key.strip())}`" for key in binding.key.split(","))
    return f"{keys} {binding.description.lower()}"
