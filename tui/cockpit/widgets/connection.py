"""One side's connection: its URI as a field, and under it what a test of it found."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import DescendantBlur
from textual.message import Message
from textual.widgets import Input, Static

from engine.protocol import ServerReport
from tui.cockpit.choices import Side
from tui.cockpit.signs import MUTED
from tui.cockpit.widgets.fields import TextField
from tui.words.safe import safe
from tui.words.uri import merged, shown

_TITLES = {"source": "Source: MongoDB", "target": "Target: PostgreSQL"}
_EXAMPLES = {"source": "mongodb://user@host:27017/database", "target": "postgresql://user@host:5432/database"}


class ConnectionPanel(Vertical):
    """A URI that shows no password, and the outcome of its last test."""

    class Edited(Message):
        """The field was left, or a command taken it as it stood, with another URI in it."""

        def __init__(self, side: Side) -> None:
            super().__init__()
            self.side = side

    class Filled(Message):
        """The field that was empty has something in it, or has nothing any more."""

    def __init__(self, side: Side, uri: str, origin: str) -> None:
        super().__init__(id=side)
        self.side: Side = side
        self.uri = uri
        """The connection string with its secrets, as it was when the field was left; the field shows it without."""
        self.report: ServerReport | None = None
        """The last test's outcome; None before, and while one is on."""
        self._origin = origin
        self._is_filled = bool(uri)
        self._status = Static(id=f"{side}-status", classes="status", markup=False)

    def compose(self) -> ComposeResult:
        """The field and the line under it."""
        self.border_title = Content(_TITLES[self.side])
        yield TextField(shown(self.uri), placeholder=_EXAMPLES[self.side])
        yield self._status

    def on_mount(self) -> None:
        """Say where the URI came from."""
        self.border_subtitle = Content(safe(self._origin, 60)) if self.uri and self._origin else None
        if not self.uri:
            self.say(Content.styled("◌ not set", MUTED))

    @property
    def is_reached(self) -> bool:
        """The last test of what the field says found a server."""
        return self.report is not None and self.report.ok

    @property
    def typed(self) -> str:
        """The connection string that the field says now, left or not."""
        fields = self.query(Input)
        return merged(fields.first().value.strip(), self.uri) if fields else self.uri

    @property
    def is_pending(self) -> bool:
        """The cursor is in the field, and what is typed there was not taken yet."""
        return self.has_focus_within and self.typed != self.uri

    def commit(self) -> None:
        """Take what the field says, as leaving it does: a command may be given from within it."""
        uri = self.typed
        if uri == self.uri:
            return
        self.uri, self.report = uri, None
        self.border_subtitle = None
        self.query_one(Input).value = shown(uri)
        self._show_beginning()
        self.say(Content.styled("◌ not tested yet" if uri else "◌ not set", MUTED))
        self.post_message(self.Edited(self.side))

    def fill(self, uri: str) -> None:
        """Put another connection string into the field."""
        self.uri, self.report = uri, None
        self.border_subtitle = None
        self.query_one(Input).value = shown(uri)
        self._show_beginning()
        if not uri:
            self.say(Content.styled("◌ not set", MUTED))

    def _show_beginning(self) -> None:
        """Of a long connection string: the host, not the options."""
        field = self.query_one(Input)
        if not field.has_focus:
            field.cursor_position = 0

    def say(self, words: Content) -> None:
        """Show a line under the field."""
        self._status.update(words)

    def testing(self) -> None:
        """A test is on."""
        self.report = None
        self.say(Content.styled("◌ testing…", MUTED))

    def show(self, report: ServerReport, note: str = "") -> None:
        """Show what the test found.

        Args:
            note: what is to be done next, shown first.
        """
        self.report = report
        lines = [Content.styled(f"▲ {note}", "bold $warning")] if note else []
        lines += [report_line(report)]
        lines += [Content.styled(f"! {safe(warning)}", "$warning") for warning in report.warnings]
        self.say(Content("\n").join(lines))

    @on(DescendantBlur)
    @on(Input.Submitted)
    def _left(self) -> None:
        self.commit()

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        if bool(event.value.strip()) != self._is_filled:
            self._is_filled = not self._is_filled
            self.post_message(self.Filled())


def report_line(report: ServerReport) -> Content:
    """`✓ connected  12 ms · 7.0.12 · replica set rs0 · no TLS`, or the sentence that says what to do."""
    if not report.ok:
        return Content.styled(f"! {safe(report.message)}", "$error")
    facts = [f"{report.latency_ms:.0f} ms", report.version, report.detail, "" if report.tls_is_weak else report.tls]
    return Content.assemble(
        ("✓ connected  ", "$success"),
        (f"! {safe(report.tls, 80)}  " if report.tls_is_weak else "", "$warning"),
        (" · ".join(safe(fact, 80) for fact in facts if fact), MUTED),
    )
