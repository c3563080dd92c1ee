"""What became of the source of a run that follows: what happened, what the choices do, and the decision."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from textual import on
from textual.content import Content
from textual.widgets import Button, Static

from engine.protocol import Snapshot, SourceHalt
from tui.cockpit.dialogs.modal import KeptModal
from tui.cockpit.dialogs.questions import REDRAW_S, Answer, Question
from tui.cockpit.signs import MUTED
from tui.words.follow import choice_words
from tui.words.safe import safe

LABELS = {
    "ignore": Answer("ignore", "Keep rows", "warning"),
    "empty": Answer("empty", "Match the source", "error"),
    "stop": Answer("stop", "Stop following it", "warning"),
    "resync": Answer("resync", "Compare all", "warning"),
}
"""By the word of `ctl resolve`."""
DELETES = frozenset({"empty", "resync"})
"""Choices that may delete rows: they are asked for twice."""


class ResolveDialog(Question, KeptModal[str]):
    """Asks about the first thing that is to be decided, then about the next one."""

    KEPT_AS = "resolve"

    def __init__(self, look: Callable[[], Snapshot | None], decide: Callable[[SourceHalt, str], None]) -> None:
        """Nothing is shown yet.

        Args:
            look: tells how the run is now.
            decide: asks the engine for a choice.
        """
        answers = [Answer("back", "Close", "primary"), *LABELS.values()]
        super().__init__("Decide about the source", Content.empty(), answers, default="back")
        self._look = look
        self._decide = decide
        self._armed = ""
        """The choice that is asked for once more."""
        self._shown: SourceHalt | None = None
        self._drawn: object = None

    def on_mount(self) -> None:
        """Draw by the clock."""
        self.redraws(REDRAW_S, self._draw)

    def on_screen_resume(self) -> None:
        """What is to be decided now; the answer that changes nothing has the focus."""
        self._armed, self._drawn = "", None
        self._draw()
        self.set_focus(self.query_one("#back", Button))

    def _draw(self) -> None:
        snapshot = self._look()
        follow = snapshot.follow if snapshot is not None else None
        halts = follow.halted_by if follow is not None else []
        if self._drawn == (halts, self._armed):
            return
        first = halts[0] if halts else None
        if first != self._shown:
            self._shown, self._armed = first, ""
        self._drawn = (halts, self._armed)
        self._text = Content("\n").join(self._lines(halts))
        self.query_one(".dialog-text Static", Static).update(self._text)
        for choice in LABELS:
            self.query_one(f"#{choice}", Button).display = first is not None and choice in first.choices
        if self.focused is None or not self.focused.display:
            self.set_focus(self.query_one("#back", Button))

    def _lines(self, halts: list[SourceHalt]) -> Iterator[Content]:
        if not halts:
            yield Content("Nothing is left to decide: the run goes on.")
            return
        first = halts[0]
        yield Content.styled(f"! {safe(first.message, 600)}", "bold $error")
        yield Content("Nothing is applied until you decide. Changes are still collected.")
        yield Content.empty()
        for choice in first.choices:
            label = LABELS[choice].label if choice in LABELS else safe(choice, 30)
            yield Content.assemble((f"{label}: ", "bold"), choice_words(choice))
        # One line in either case: buttons that move are missed.
        yield Content.empty()
        if self._armed:
            yield Content.styled("! Rows without a document are deleted. Press again to do it.", "$warning")
        elif DELETES.intersection(first.choices):
            yield Content.styled("What may delete rows is asked for twice.", MUTED)
        if len(halts) > 1:
            yield Content.empty()
            yield Content.styled(
                f"Then: {', '.join(safe(each.namespace) or 'the source' for each in halts[1:])}", MUTED
            )

    @on(Button.Pressed)
    def _answered(self, event: Button.Pressed) -> None:
        """A decision leaves it open: it shows what is to be decided next."""
        event.prevent_default()
        choice = event.button.id or ""
        if choice not in LABELS or self._shown is None:
            self.action_safe_answer()
        elif choice in DELETES and self._armed != choice:
            self._armed = choice
            self._draw()
        else:
            self._armed = ""
            self._decide(self._shown, choice)
            self.set_focus(self.query_one("#back", Button))
