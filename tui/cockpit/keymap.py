"""Which keys give which command: those of `tui.cockpit.commands`, or those of section [keys] of the settings."""

from __future__ import annotations

import difflib
import string
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import combinations, product

from textual.dom import DOMNode
from textual.keys import KEY_NAME_REPLACEMENTS, Keys, key_to_character

from engine.errors import UsageError
from engine.protocol import RunState
from tui.cockpit.commands import BY_ID, COMMANDS, Command, Place, Situation
from tui.cockpit.textual_internals.bindings import rebind

_SIGNS = {
    KEY_NAME_REPLACEMENTS.get(name, name): sign
    for sign in string.punctuation
    for name in [unicodedata.name(sign).lower().replace("-", "_").replace(" ", "_")]
}
"""Textual's name of each sign on a keyboard."""
_SHOWN = {"escape": "esc", "delete": "del", "left": "←", "right": "→", "up": "↑",
          "down": "↓", **_SIGNS}  # fmt: skip
_LETTERS = frozenset(string.ascii_letters + string.digits)
_NEVER = frozenset(
    ["return", "shift+escape", "ctrl-at", "ctrl+h", "ctrl+i", "ctrl+j", "ctrl+m", "ctrl+z"]
    + [f"ctrl+{shift}{digit}" for shift in ("", "shift+") for digit in string.digits]
)
"""What terminals send as another key or not at all; and ctrl+z, which is the shell's."""
_NAMED = frozenset(key.value for key in Keys if not key.value.startswith("<")) - _NEVER | _SIGNS.keys()
_MOVING = frozenset(["tab", "shift+tab", "up", "down", "j", "k", "home", "end", "pageup", "pagedown", "backspace"])
"""Keys of the lists and the fields, which would take them first."""
_MOVING_ON = {Place.SETUP: frozenset(["space", "left", "right", "h", "l"])}


class Keymap:
    """The keys of every command."""

    def __init__(self, chosen: Mapping[str, str] | None = None, where: str = "[keys]") -> None:
        """Check what was chosen.

        Args:
            chosen: ids of commands to their keys, with commas between them.
            where: how errors call the place where that is written.

        Raises:
            UsageError: no such command, no such key, or one key for two commands that can be given at the same time.
        """
        self._keys = {command.id: tuple(command.keys.split(",")) for command in COMMANDS}
        for command_id, keys in (chosen or {}).items():
            if command_id not in BY_ID:
                raise UsageError(f'{where} has "{command_id}", but there is no such command; {_near(command_id)}')
            self._keys[command_id] = tuple(_keys_of(BY_ID[command_id], keys, where))
        self._is_own = bool(chosen)
        if chosen:
            self._refuse_clashes(chosen, where)

    @property
    def of_dialogs(self) -> dict[str, str]:
        """For `App.set_keymap`: what opened a dialog also closes it, or is its second press; copying is the same everywhere."""
        keys = {
            "dialog.stop_gently": self._keys["run.stop"] + self._keys["app.interrupt"],
            "dialog.close_help": ("escape", *self._keys["app.help"], *self._keys["app.quit"]),
            "dialog.quit": self._keys["app.quit"],
            "dialog.copy": self._keys["app.copy"],
        }
        return {name: ",".join(each) for name, each in keys.items()} if self._is_own else {}

    def bind(self, node: DOMNode, place: Place) -> None:
        """Give a screen, or the app, these keys in the place of those of its class."""
        if self._is_own:
            own = [command.binding(",".join(self._keys[command.id])) for command in COMMANDS if command.place is place]
            rebind(node, own, lambda binding: binding.id in BY_ID)

    def shown(self, command_id: str) -> str:
        """All keys of a command, for lists of commands: `space p`."""
        return " ".join(key_words(key) for key in self._keys[command_id])

    def first(self, command_id: str) -> str:
        """The first key of a command, for the footer and for sentences."""
        return key_words(self._keys[command_id][0])

    def usable(self, command_id: str, *, in_field: bool) -> str:
        """The first key of a command that gives it now: in a field, one that types nothing; empty where there is none."""
        keys = self._keys[command_id]
        return next((key_words(key) for key in keys if not (in_field and types(key))), "")

    def _refuse_clashes(self, chosen: Mapping[str, str], where: str) -> None:
        for one, other in combinations(COMMANDS, 2):
            if one.id not in chosen and other.id not in chosen:
                continue
            shared = [key for key in self._keys[one.id] if key in self._keys[other.id]]
            is_same_screen = one.place is other.place or Place.APP in (one.place, other.place)
            if shared and is_same_screen and any(one.works(now) and other.works(now) for now in every_situation()):
                raise UsageError(
                    f'{where} leaves "{one.id}" and "{other.id}" on the same key, {key_words(shared[0])}; '
                    "give one of them another."
                )


def every_situation() -> Iterator[Situation]:
    """Each combination of what decides which commands work, as far as it can tell two commands apart."""
    states = (None, *RunState)
    flags = ("is_lost", "can_resume", "is_replay", "is_busy", "is_comparing", "has_source", "has_target")
    for state, *values in product(states, *[(False, True)] * len(flags)):
        yield Situation(
            state=state, has_problems=True, follows=True, is_halted=True, has_rejects=True, has_result=True, has_edits=True,
            has_undone=True, is_chosen_free=True, can_resume_chosen=True, can_resume_later=True,
            **dict(zip(flags, values, strict=True)),
        )  # fmt: skip


def types(key: str) -> bool:
    """A field takes the key as a letter."""
    character = key_to_character(key)
    return character is not None and character.isprintable()


def key_words(key: str) -> str:
    """A key as it is written: `^p`, `f9`, `esc`."""
    if key in _SHOWN:
        return _SHOWN[key]
    modifier, plus, last = key.rpartition("+")
    if plus:
        return f"{modifier}+{_SHOWN.get(last, last)}".replace("ctrl+", "^")
    return key


def _keys_of(command: Command, keys: str, where: str) -> Iterator[str]:
    for typed in keys.split(","):
        key = _key(typed.strip())
        if key is None:
            raise UsageError(
                f'{where}: "{command.id}" is given {typed.strip()!r}, which is no key that every terminal sends; '
                "there are f1 to f12, ctrl+ and alt+ with a letter, letters, digits and signs."
            )
        is_its_own = key in command.keys.split(",")
        if key in _MOVING | _MOVING_ON.get(command.place, frozenset()) and not is_its_own:
            raise UsageError(f'{where}: "{command.id}" cannot be {key_words(key)}, which moves in lists and fields.')
        yield key


def _key(typed: str) -> str | None:
    """Textual's name of a key; None when there is none."""
    if len(typed) == 1:
        return next((name for name, sign in _SIGNS.items() if sign == typed), typed if typed in _LETTERS else None)
    *modifiers, last = typed.lower().split("+")
    if modifiers == ["shift"] and len(last) == 1 and last in _LETTERS:
        return last.upper()
    if modifiers == ["alt"] and len(last) == 1 and last in _LETTERS:
        return f"alt+{last}"
    key = "+".join([*modifiers, last])
    return key if key in _NAMED else None


def _near(command_id: str) -> str:
    near = difflib.get_close_matches(command_id, BY_ID, 1)
    if near:
        return f'did you mean "{near[0]}"?'
    place = command_id.partition(".")[0]
    siblings = [command.id for command in COMMANDS if command.place == place]
    return f"there are {', '.join(siblings)}." if siblings else f"ids begin with {', '.join(f'{p}.' for p in Place)}."
