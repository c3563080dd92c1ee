"""The events of a run as lines of text."""

from __future__ import annotations

from itertools import islice

from textual.content import Content
from textual.widgets.option_list import Option

from engine.protocol import Event
from tui.cockpit.session import EVENTS_KEPT, NOTE
from tui.cockpit.shown import ShownRun
from tui.cockpit.widgets.listing import Lines
from tui.words.format import duration, number
from tui.words.knobs import label_of, value_in
from tui.words.safe import safe

MAX_WORDS = 2_000
"""Characters of one fact: a server's whole error, not a document."""
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
        lines = [line for event in fresh if (line := event_line(event))]
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

    @property
    def chosen(self) -> str:
        """The line under the cursor; empty without one."""
        return self.lines[self.highlighted] if self.highlighted is not None else ""


def event_line(event: Event) -> str:
    """`00:12  knob      workers 8 → 12`; empty for a kind that this version does not know."""
    words = event_words(event)
    return f"{duration(event.at)}  {event.kind:<12} {words}" if words else ""


def event_words(event: Event) -> str:
    """What happened, in a few words, harmless to print."""
    facts = {name: safe(str(value), MAX_WORDS) for name, value in event.facts.items()}
    match event.kind:
        case "state":
            state = facts.get("state", "")
            reason = (facts.get("reason") or facts.get("phase", "")).removeprefix(f"{state}: ")
            return f"{state}: {reason}" if reason and reason != state else state
        case "knob":
            change = f"{label_of(event.facts)} {value_in(event.facts, 'old')} → {value_in(event.facts, 'value')}"
            return change + (f", by {facts['by']}" if facts.get("by") else "")
        case "worker":
            exit_code = f", exit {facts['exit']}" if event.facts.get("exit") else ""
            return f"{facts.get('id', '')} (pid {facts.get('pid', '')}) {facts.get('what', '')}{exit_code}"
        case "problem":
            return f"{facts.get('code', '')}: {facts.get('message', '')}"
        case "parked":
            return f"partition {facts.get('partition', '')} of {facts.get('namespace', '')}"
        case "planned":
            tables = event.facts.get("tables", ())
            return f"{len(tables)} table{'' if len(tables) == 1 else 's'}"
        case kind if kind == NOTE:
            return facts.get("message", "")
        case "table":
            return f"{facts.get('table', '')} {facts.get('what', '')}"
        case "counted":
            return f"source {facts.get('source', '')}, target {facts.get('target', '')}"
        case "verification":
            return facts.get("verification", "")
        case "servers":
            return f"{facts.get('source', '')} and {facts.get('target', '')}"
        case "finished":
            written = event.facts.get("written")
            rows = f", {number(written)} rows" if isinstance(written, int) else ""
            return facts.get("state", "") + rows
        case _:
            return ""
