"""How far a run is with following its source: lag, what comes and is applied, the oplog, and whether it can be cut over."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

from engine.protocol import FollowView, Snapshot, SourceHalt
from tui.cockpit.keymap import Keymap
from tui.cockpit.signs import MUTED
from tui.words.follow import (
    BEFORE,
    Check,
    approach_words,
    checklist,
    kinds_words,
    oplog_words,
    position_words,
    verified_words,
)
from tui.words.format import counted, number, time_of_day
from tui.words.safe import safe

_GAP = Content("   ")
SIGNS = {True: ("✓", "$success"), False: ("×", "$warning")}
"""Of what holds, and of what does not."""


class FollowPanel(Widget):
    """A few lines while a run follows; drawn again when a word of them is another."""

    BORDER_TITLE = "Following the source"
    lines: tuple[tuple[Content, ...], ...] = ()
    """Each of one part or of several, which have lines of their own where one is too short for them and there are others."""

    def __init__(self, keymap: Keymap) -> None:
        """Nothing is drawn yet."""
        super().__init__()
        self._keymap = keymap

    def show(self, snapshot: Snapshot) -> None:
        """Draw this snapshot's."""
        follow = snapshot.follow
        lines = tuple(self._drawn(follow)) if follow is not None else ()
        if lines != self.lines:
            self.lines = lines
            self.refresh()

    def render(self) -> Content:
        """The lines, as wide as there is room."""
        width, height = self.content_size
        spare = height - len(self.lines)
        shown = list[Content]()
        for parts in self.lines:
            line = _GAP.join(parts)
            if line.cell_length > width and len(parts) - 1 <= spare:
                spare -= len(parts) - 1
                shown += parts
            else:
                shown.append(line)
        return Content("\n").join(line.truncate(width, ellipsis=True) for line in shown)

    def _drawn(self, follow: FollowView) -> list[tuple[Content, ...]]:
        oldest = f"the oldest for {follow.oldest_s:.0f} s" if follow.oldest_s and follow.phase not in BEFORE else ""
        approach = approach_words(follow)
        oplog = oplog_words(follow)
        kinds, verified = kinds_words(follow), verified_words(follow)
        speeds = f"{number(follow.events_per_s)} changes/s read   {number(follow.applied_per_s)} keys/s applied"
        speeds += f"   {number(follow.applied)} since the copy" if follow.applied else ""
        if follow.halted_by:
            return [
                (Content.styled("   ".join(position_words(follow)), "bold"),),
                *((line,) for line in halted_lines(follow.halted_by, self._keymap.first("run.resolve"))),
                (Content(speeds),),
                (_warned(oplog) if oplog else Content.empty(),),
            ]
        lines = [
            (Content.styled("   ".join(filter(None, [*position_words(follow), oldest])), "bold"),),
            (Content(speeds),),
            (Content.styled(kinds or "no change was read yet", MUTED), *([_warned(verified)] if verified else [])),
            (_warned(oplog) if oplog else Content.styled("how far the oplog reaches back is not visible", MUTED),),
            self._ready(follow),
        ]
        if approach:
            return [*lines, (_warned(approach),)]
        return lines if follow.phase in ("draining", "done") else [*lines, checks(checklist(follow))]

    def _ready(self, follow: FollowView) -> tuple[Content, ...]:
        """Whether it can be cut over, and by which key."""
        key = self._keymap.first("run.cut_over")
        if follow.phase == "draining":
            words = (f"◐ cutting over: {draining_words(follow)}", f"{key}: watch, or call off")
            return tuple(Content.styled(each, "bold") for each in words)
        if follow.phase == "done":
            return (Content.styled("✓ cut over", "bold $success"),)
        if follow.ready:
            return (Content.styled(f"✓ ready to be cut over   {key}: cut over…", "bold $success"),)
        return (Content.assemble(("× not ready to be cut over", "$warning"), (f"   {key}: what is missing", MUTED)),)


def halted_lines(halts: Sequence[SourceHalt], key: str) -> list[Content]:
    """The first thing that became of the source, by which key it is decided, and how many more there are."""
    first = halts[0]
    more = f"   and {len(halts) - 1} more" if len(halts) > 1 else ""
    return [
        Content.styled(f"! halted: {safe(first.message, 300)}{more}", "bold $error"),
        Content(f"  nothing is applied until you decide   {key}: decide…"),
    ]


def draining_words(follow: FollowView) -> str:
    """`mark 14:40:03, 3,120 keys to go`."""
    mark = f"mark {time_of_day(follow.mark >> 32, seconds=True)}" if follow.mark is not None else "looking for the mark"
    return f"{mark}, {counted(follow.keys_to_go or 0, 'key')} to go"


def checks(listed: Sequence[Check]) -> tuple[Content, ...]:
    """`✓ copied`, `✓ not paused`, `× close behind`, `✓ source read`."""
    signs = [(SIGNS[check.holds], check.name) for check in listed]
    return tuple(Content.assemble((f"{sign} ", colour), name) for (sign, colour), name in signs)


def _warned(words: str) -> Content:
    return Content.styled(words, "$warning") if words.startswith("! ") else Content(words)
