"""The help screen, generated from the commands."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.commands import Command, Place, Situation, commands_for
from tui.keymap import Keymap
from tui.safe import safe
from tui.screens.modal import KeptModal
from tui.widgets.words import MUTED

_KEYS_WIDTH = 10
_LABEL_WIDTH = 16

_HINTS = {
    Place.SETUP: "Tab walks through the fields; Choose and All work in the list. "
    "A password is shown as ***; leave the *** in place to keep it.",
    Place.PLAN: "Nothing is written before a run is started. Tab goes to the preview "
    "and the warnings. Values of several kinds in one field are marked in colour and named with their shares.",
    Place.VERIFY: "Read must be written and rejected together. The source is counted now: documents that came later differ. "
    "Differences down to the field come with a comparison of all documents.",
    Place.HISTORY: "Everything here is in the schema mongopg of the target. A replay shows committed rows: what each "
    "worker was doing between two commits was not recorded.",
    Place.RUN: "Bars share one scale: the fastest worker of the last minute. Arrow keys, j and k scroll the workers. "
    "The palette takes values too: workers 12, page size 5000, throttle off.",
}


class HelpScreen(KeptModal[None]):
    """The commands that work now, and where the files are."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1,q", "dismiss", "Close", id="dialog.close_help"),
    ]

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.KEPT_AS = f"help-{place.value}"
        self._place = place
        self._text = self._told = Content.empty()

    def compose(self) -> ComposeResult:
        """The text."""
        with Vertical(classes="dialog help") as dialog:
            dialog.border_title = Content(f"Help: {self._place.value.capitalize()}")
            dialog.border_subtitle = Content("esc closes")
            with VerticalScroll():
                yield Static(self._text, markup=False)

    def tell(self, situation: Situation, files: Sequence[tuple[str, str]], keymap: Keymap) -> None:
        """Have it tell this when it opens."""
        self._text = help_text(self._place, situation, files, keymap)

    def on_screen_resume(self) -> None:
        """From the beginning."""
        self.query_one(VerticalScroll).scroll_home(animate=False)
        if self._text != self._told:
            self._told = self._text
            self.query_one(Static).update(self._text)


def help_text(
    place: Place, situation: Situation, files: Sequence[tuple[str, str]], keymap: Keymap | None = None
) -> Content:
    """Commands that work now, hints and files; then the commands that do not work now, dimmed."""
    keymap = keymap or Keymap()
    commands = commands_for(place)
    now = [command for command in commands if command.works(situation)]
    later = [command for command in commands if command not in now]
    lines = [_line(command, keymap) for command in now]
    lines += [Content(""), Content(_HINTS[place]), Content("")]
    for name, path in [*files, *([("NO_COLOR", "is set")] if "NO_COLOR" in os.environ else [])]:
        lines.append(Content.assemble((f"{name:<{_KEYS_WIDTH}} ", MUTED), safe(path, 300)))
    if later:
        lines += [Content(""), Content.styled("Not now", MUTED)]
        lines += [_line(command, keymap).stylize(MUTED) for command in later]
    return Content("\n").join(lines)


def _line(command: Command, keymap: Keymap) -> Content:
    return Content.assemble(
        (f"{keymap.shown(command.id):<{_KEYS_WIDTH}} ", "bold"),
        f"{command.label:<{_LABEL_WIDTH}} {command.help}",
        (f"  {command.id}", MUTED),
    )
