"""The help screen, generated from the commands."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.cockpit.commands import Command, Place, Situation, commands_for
from tui.cockpit.dialogs.modal import KeptModal
from tui.cockpit.keymap import Keymap
from tui.cockpit.signs import MUTED
from tui.words.safe import safe

_WIDEST, _SHARE, _FRAME = 118, 0.96, 6
"""Cells of the dialog at most, its share of the screen, and cells of border, padding and scrollbar: as in cockpit.tcss."""
_LEAST = 20
"""Cells of a sentence: in less, each word would have a line."""
_KEYS_WIDTH = 10
_LABEL_WIDTH = 16

_HINTS = {
    Place.SETUP: "Tab moves between fields; Select and All work in the list. "
    "A password is shown as ***; leave *** to keep the password.",
    Place.PLAN: "Nothing is written before a run is started. Tab goes to the preview "
    "and the warnings. Values of several kinds in one field are marked in colour and named with their shares.",
    Place.VERIFY: "Read = written + rejected. The source is counted now: documents that came later differ. "
    "Differences down to the field come with a comparison of all documents.",
    Place.HISTORY: "Everything here is in the schema mongopg of the target. A replay shows committed rows: what each "
    "worker was doing between two commits was not recorded.",
    Place.REJECTS: "A retry converts the original again, under the policy chosen for its reason, and writes it into the table "
    "as it is. A document is a row or a reject at any time, never both.",
    Place.RUN: "Bars share one scale: the fastest worker of the last minute. Arrow keys, j and k scroll the workers, Tab goes "
    "from list to list. done/range, such as 4.2k/~3.8k: documents of its range that a worker has done, and how many that has; "
    "~ is an estimate, which may be too low. A page ends with its range: a larger page size changes nothing. "
    "The palette takes values too: workers 12, page size 5000, throttle off.",
}


class HelpScreen(KeptModal[None]):
    """The commands that work now, and where the files are."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1,q", "dismiss", "Close", id="dialog.close_help"),
    ]

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place
        self._write: Callable[[int], Content] = lambda _: Content.empty()
        self._told = Content.empty()

    @property
    def kept_as(self) -> str:
        """One for each screen."""
        return f"help-{self._place.value}"

    def compose(self) -> ComposeResult:
        """The text."""
        with Vertical(classes="dialog help") as dialog:
            dialog.border_title = Content(f"Help: {self._place.value.capitalize()}")
            dialog.border_subtitle = Content("Esc close")
            with VerticalScroll():
                yield Static(markup=False)

    def tell(self, situation: Situation, files: Sequence[tuple[str, str]], keymap: Keymap) -> None:
        """Have it tell this when it opens."""
        self._write = partial(help_text, self._place, situation, files, keymap)

    def on_screen_resume(self) -> None:
        """From the beginning."""
        self.query_one(VerticalScroll).scroll_home(animate=False)
        self.on_resize()

    def on_resize(self) -> None:
        """The lines follow the width; what is there already is not laid out again."""
        text = self._write(min(_WIDEST, int(self.app.size.width * _SHARE)) - _FRAME)
        if text != self._told:
            self._told = text
            self.query_one(Static).update(text)


def help_text(
    place: Place, situation: Situation, files: Sequence[tuple[str, str]], keymap: Keymap, width: int
) -> Content:
    """Commands that work now, hints and files; then the commands that do not work now, dimmed.

    Args:
        width: of a line, in cells.
    """
    commands = commands_for(place)
    now = [command for command in commands if command.works(situation)]
    later = [command for command in commands if command not in now]
    lines = [_line(command, keymap, width) for command in now]
    lines += [Content(""), Content(_HINTS[place]), Content("")]
    for name, path in [*files, *([("NO_COLOR", "is set")] if "NO_COLOR" in os.environ else [])]:
        lines.append(Content.assemble((f"{name:<{_KEYS_WIDTH}} ", MUTED), safe(path, 300)))
    if later:
        lines += [Content(""), Content.styled("Not now", MUTED)]
        lines += [_line(command, keymap, width).stylize(MUTED) for command in later]
    return Content("\n").join(lines)


def _line(command: Command, keymap: Keymap, width: int) -> Content:
    """Keys, label, sentence and id; what has no room goes on under the sentence."""
    left = Content.assemble(
        (f"{keymap.shown(command.id):<{_KEYS_WIDTH}} ", "bold"), f"{command.label:<{_LABEL_WIDTH}} "
    )
    words = textwrap.wrap(f"{command.help}  {command.id}", max(_LEAST, width - left.cell_length))
    indent = "\n" + " " * left.cell_length
    return left + Content(indent.join(words)).highlight_regex(rf"{re.escape(command.id)}$", style=MUTED)
