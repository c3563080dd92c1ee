"""What the servers are doing, in full, with what to do about it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from textual.content import Content

from engine.protocol import GuardsView, Snapshot, VitalsView
from tui.cockpit.dialogs.modal import KeptModal
from tui.cockpit.dialogs.sheet import Sheet
from tui.cockpit.signs import MUTED
from tui.words.guards import guard_vitals
from tui.words.vitals import Vital, source_vitals, target_vitals

REDRAW_S = 0.5
_LABEL = 16
_NARROWEST = 40
NOT_LOOKED_AT = (
    "The servers are looked at once a second from the beginning of the copy to its end, by the engine, in sessions of its own. "
    "The engine does not look at them now."
)


class VitalsDialog(Sheet, KeptModal[None]):
    """Follows the run."""

    KEPT_AS = "vitals"
    HINT: ClassVar[str] = "{copy} copy · Esc close"

    def __init__(self, seen: Callable[[], Snapshot | None], copy_key: str) -> None:
        """Nothing is shown yet.

        Args:
            seen: the run now, with what its servers do.
            copy_key: the key that copies, for the hint.
        """
        super().__init__("What the servers are doing", Content.empty(), "what the servers are doing", copy_key)
        self._seen = seen
        self._drawn: tuple[object, int] | None = None

    def on_mount(self) -> None:
        """Draw by the clock."""
        self.redraws(REDRAW_S, self._draw)

    def on_screen_resume(self) -> None:
        """Those of now."""
        self._drawn = None
        self._draw()

    def _draw(self) -> None:
        snapshot, width = self._seen(), max(_NARROWEST, self.query_one("#sheet-text").size.width)
        view, guards = (snapshot.vitals, snapshot.guards) if snapshot is not None else (None, None)
        if self._drawn != ((view, guards), width):
            self._drawn = ((view, guards), width)
            self.write(vitals_text(view, width, guards))


def vitals_text(view: VitalsView | None, width: int, guards: GuardsView | None = None) -> Content:
    """A paragraph for the guards and for each server, a line or two for each of the things that they see and do."""
    if view is None:
        return Content("\n".join(textwrap.wrap(NOT_LOOKED_AT, width)))
    lines = list(_server("Guards", seen, width)) if (seen := guard_vitals(guards)) else []
    if view.target is not None:
        lines += [*([Content.empty()] if lines else []), *_server("PostgreSQL", target_vitals(view.target), width)]
    if view.source is not None:
        lines += [*([Content.empty()] if lines else []), *_server("MongoDB", source_vitals(view.source), width)]
    return Content("\n").join(lines)


def _server(name: str, vitals: Sequence[Vital], width: int) -> Iterator[Content]:
    yield Content.styled(name, "bold")
    for vital in vitals:
        yield from _vital(vital, width)


def _vital(vital: Vital, width: int) -> Iterator[Content]:
    """`! checkpoints   3 of 4 …`, and below it what to do."""
    label = f"{'!' if vital.is_bad else ' '} {vital.label:<{_LABEL}}"
    room = width - len(label)
    for number, part in enumerate(textwrap.wrap(vital.words, room) or [""]):
        style = "$warning" if vital.is_bad else ""
        yield Content.styled(label if not number else " " * len(label), style or MUTED) + Content.styled(part, style)
    for number, part in enumerate(textwrap.wrap(vital.advice, room - 2)):
        yield Content(" " * len(label)) + Content.styled("→ " if not number else "  ", MUTED) + Content(part)
