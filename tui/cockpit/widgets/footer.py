"""The line at the bottom: the keys that work now.

Textual's own footer is a widget for every key, made anew whenever a command comes or goes, a dialog opens or the focus moves:
tens of milliseconds of computing, in which no key is answered. This one is a single widget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.screen import Screen
from textual.style import Style
from textual.widget import Widget

_STAYING = frozenset(["help", "quit", "command_palette"])
"""Actions that are always there: help and palette have those that gave way."""


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A command's key."""

    action: str
    key: str
    """As Textual names it."""
    shown: str
    """As it is shown."""
    label: str
    help: str
    group: Binding.Group | None


class Footer(Widget):
    """One line; a click on a key is the key. Where there is little room, keys give way, the screen's last one first."""

    COMPONENT_CLASSES = {"footer--key", "footer--label"}  # noqa: RUF012
    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[ShownKey] = []

    def on_mount(self) -> None:
        """Follow the commands of the screen."""
        self.screen.bindings_updated_signal.subscribe(self, self._follow)
        self._follow(self.screen)

    def _follow(self, screen: Screen[object]) -> None:
        keys: dict[str, ShownKey] = {}
        for _, binding, is_enabled, help_text in screen.active_bindings.values():
            if binding.show and is_enabled and binding.action not in keys:
                shown = self.app.get_key_display(binding)
                keys[binding.action] = ShownKey(
                    binding.action, binding.key, shown, binding.description, help_text, binding.group
                )
        if self.keys != (now := list(keys.values())):
            self.keys = now
            self.refresh()

    def render(self) -> Content:
        """The keys with what they do; those of a group are together before its name."""
        parts: list[tuple[Content, bool]] = []
        label_style = self.get_visual_style("footer--label")
        for group, members in groupby(self.keys, lambda each: each.group):
            together = list(members)
            if group is not None and len(together) > 1:
                keys = Content.empty().join(self._clickable(each, each.shown, "") for each in together)
                parts.append((Content.assemble(" ", keys, (f" {group.description} ", label_style)), False))
            else:
                for each in together:
                    words = self._clickable(each, f" {each.shown} ", f"{each.label} ")
                    parts.append((words, each.action in _STAYING))
        return Content.empty().join(_fitting(parts, self.content_size.width))

    def _clickable(self, each: ShownKey, key: str, label: str) -> Content:
        words = Content.assemble(
            (key, self.get_visual_style("footer--key")), (label, self.get_visual_style("footer--label"))
        )
        return words.stylize(Style.from_meta({"key": each.key, "help": each.help or each.label}))

    async def on_click(self, event: events.Click) -> None:
        """As if the key had been pressed."""
        key = event.style.meta.get("key")
        if key is not None:
            self.app.simulate_key(key)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """The tooltip is that of the key under the pointer."""
        self.tooltip = event.style.meta.get("help")


def _fitting(parts: Sequence[tuple[Content, bool]], width: int) -> Iterator[Content]:
    """The parts that stay, and of the others as many of the first ones as there is room for."""
    room = width - sum(part.cell_length for part, stays in parts if stays)
    for part, stays in parts:
        if not stays:
            room -= part.cell_length
        if stays or room >= 0:
            yield part
