"""The events of a run as lines of text."""

from __future__ import annotations

import re
from itertools import islice

from textual.content import Content
from textual.widgets.option_list import Option

from engine.protocol import Event, ProblemReported
from tui.cockpit.session import EVENTS_KEPT
from tui.cockpit.shown import ShownRun
from tui.cockpit.widgets.listing import Lines
from tui.words.events import Note, told
from tui.words.format import duration, time_of_day
from tui.words.safe import safe

_KIND_LIMIT = 60
"""Characters of a kind that this version does not know."""
_SPARE = 200
"""Lines above `EVENTS_KEPT` before the oldest are dropped, all at once: it costs the list as much as a redraw."""


class EventLog(Lines):
    """A pane that follows the session's events, unless the cursor was moved up. Long lines are wrapped, none is cut."""

    BORDER_TITLE = "Events"

    def __init__(self) -> None:
        super().__init__(markup=False, compact=True)
        self._session: ShownRun | None = None
        self._n_shown = 0
        self.lines: list[str] = []

    def show(self, session: ShownRun) -> None:
        """Append what is new."""
        if session is not self._session or session.n_events < self._n_shown:  # a replay was wound back
            self.clear_options()
            self.lines.clear()
            self._session, self._n_shown = session, 0
        n_new = min(session.n_events - self._n_shown, len(session.events))
        self._n_shown = session.n_events
        fresh = islice(session.events, len(session.events) - n_new, None)
        lines = [line for event in fresh for line in event_lines(event)]
        if not lines:
            return
        is_following = self.highlighted is None or self.highlighted == len(self.lines) - 1
        self.lines += lines
        if len(self.lines) > EVENTS_KEPT + _SPARE:
            del self.lines[:-EVENTS_KEPT]
            self.set_options(Option(Content(line)) for line in self.lines)
        else:
            self.add_options(Option(Content(line)) for line in lines)
        if is_following:
            self.highlighted = len(self.lines) - 1

    def on_resize(self) -> None:
        """The line under the cursor stays in sight."""
        self.call_after_refresh(self.scroll_to_highlight)

    @property
    def chosen(self) -> str:
        """The line under the cursor; empty without one."""
        return self.lines[self.highlighted] if self.highlighted is not None else ""


def event_lines(event: Event) -> list[str]:
    """`14:02:31      12s  knob         workers 8 → 12`: when, the kind, and its words, which need not begin with it again.

    A problem's code, by which the list of problems groups them, stands before its sentence.
    """
    since = duration(event.at)
    clock = f"{time_of_day(event.clock, seconds=True)}  {since:>7}" if event.clock else since
    head = f"{clock}  {safe(event.kind, _KIND_LIMIT):<12} "
    code = f"{safe(event.code)}: " if isinstance(event, ProblemReported) and event.code else ""
    return [head + code + _without_kind(event, line) for line in told(event)]


def _without_kind(event: Event, line: str) -> str:
    if isinstance(event, Note):  # not written with its kind in mind
        return line
    return re.sub(rf"^{re.escape(event.kind)}:? ", "", line)
