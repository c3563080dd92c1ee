"""Modal questions: a title, a few sentences, buttons; the safe answer has the focus, Esc gives it too."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from engine.protocol import RunState, Snapshot
from tui.cockpit.clipboard import copy
from tui.cockpit.dialogs.modal import KeptModal, Modal
from tui.words.format import number
from tui.words.safe import safe

SECOND_PRESS_S = 2.0
"""A second x or ctrl+c within this time means "stop now"."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A button."""

    id: str
    label: str
    variant: Literal["default", "primary", "warning", "error"] = "default"


class Question(Modal[str]):
    """Asks, and returns the id of the answer."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "safe_answer", "Back", id="dialog.back"),
        Binding("left", "app.focus_previous", "Previous", show=False),
        Binding("right", "app.focus_next", "Next", show=False),
        Binding("y", "copy", "Copy the text", id="dialog.copy"),
    ]

    def __init__(self, title: str, text: Content, answers: Sequence[Answer], *, default: str) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._answers = answers
        self._default = default

    def compose(self) -> ComposeResult:
        """The dialog."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(self._title)
            with VerticalScroll(classes="dialog-text", can_focus=False):
                yield Static(self._text, markup=False)
            with Horizontal(classes="buttons"):
                for answer in self._answers:
                    yield Button(Content(answer.label), variant=answer.variant, id=answer.id, compact=True)

    def on_mount(self) -> None:
        """The safe answer has the focus."""
        self.set_focus(self.query_one(f"#{self._default}", Button))

    def action_copy(self) -> None:
        """Its text, to be sent to support, say."""
        copy(self.app, self._text.plain, "the text")

    def action_safe_answer(self) -> None:
        """Nothing changes."""
        self.dismiss(self._default)

    @on(Button.Pressed)
    def _answered(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id or self._default)


class StopQuestion(Question, KeptModal[str]):
    """How to stop: `drain`, `now` or `stay`. A second x or ctrl+c within two seconds of seeing it means now."""

    KEPT_AS = "stop"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x,ctrl+c", "press_again", "Stop now", id="dialog.stop_now"),
    ]

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        answers = [
            Answer("drain", "Finish pages and stop", "warning"),
            Answer("now", "Stop now, roll back", "error"),
            Answer("stay", "Keep running", "primary"),
        ]
        super().__init__("Stop the run?", Content.empty(), answers, default="stay")
        self._clock = clock
        self._seen_at: float | None = None
        """When it was painted; None before: what is pressed then cannot be its answer."""
        self._is_draining = False

    def ask_about(self, snapshot: Snapshot, *, can_resume: bool = True, again: str = "x") -> None:
        """Have it ask about this run when it opens.

        Args:
            again: the key that means now when it is pressed again.
        """
        self._text = _stop_text(snapshot, can_resume=can_resume, again=again)
        self._is_draining = snapshot.state is RunState.CANCELLING
        self._seen_at = None

    def on_screen_resume(self) -> None:
        """The run as it is now; the safe answer has the focus."""
        self.query_one(".dialog-text Static", Static).update(self._text)
        self.query_one("#drain").display = not self._is_draining
        stay = self.query_one("#stay", Button)
        stay.label = "Wait for them" if self._is_draining else "Keep running"
        self.set_focus(stay)
        self.call_after_refresh(self._painted)

    def action_press_again(self) -> None:
        """Stop now when the question was seen and that is not long ago; a late press is no answer."""
        if self._seen_at is not None and self._clock() - self._seen_at <= SECOND_PRESS_S:
            self.dismiss("now")

    @property
    def is_seen(self) -> bool:
        """It was painted since it was opened."""
        return self._seen_at is not None

    def _painted(self) -> None:
        if self._seen_at is None:
            self._seen_at = self._clock()


def _stop_text(snapshot: Snapshot, *, can_resume: bool, again: str) -> Content:
    """What either way of stopping does."""
    rows = number(snapshot.written)
    kept = f"{rows} rows are committed and stay" if snapshot.written else "Nothing is committed yet"
    later = f"; the run can be resumed with\n  mongopg-tui run --resume {safe(snapshot.run_id, 40)}"
    text = Content(
        f"{kept}{later if can_resume else '; the embedded servers end when you leave.'}\n\n"
        "Finish pages: workers end their pages early and commit them; within a second or so.\n"
        f"Stop now: pages in flight are rolled back.   ({again} again within two seconds does it)"
    )
    if snapshot.state is RunState.SEEDING:
        text = Content(
            f"{number(snapshot.seeded)} documents are in the source and stay; seeding again tops them up.\n\n"
            "Finish pages: workers complete the ranges that they have begun.\n"
            f"Stop now: they are dropped.   ({again} again within two seconds does it)"
        )
    is_draining = snapshot.state is RunState.CANCELLING
    return Content("The workers are finishing their pages. ") + text if is_draining else text


def quit_question(snapshot: Snapshot) -> Question:
    """Leaving while a run is going on: `leave`, `stop` or `stay`."""
    run_id = safe(snapshot.run_id, 40)
    text = Content(
        f"The run is {snapshot.state.value}. It does not need this screen:\n\n"
        f"Leave it running: the run goes on; come back with\n  mongopg-tui attach {run_id}\n"
        f"Stop it: asks how, and leaves when it has stopped."
    )
    answers = [
        Answer("leave", "Leave it running"),
        Answer("stop", "Stop it…", "warning"),
        Answer("stay", "Stay", "primary"),
    ]
    return Question("A run is going on", text, answers, default="stay")


def confirm(title: str, effects: Sequence[str], *, go: str, others: Sequence[Answer] = ()) -> Question:
    """Before something is started: says what will happen; returns "go" or "back", or the id of another answer."""
    text = Content("\n").join(Content(effect) for effect in effects)
    answers = [Answer("back", "Back", "primary"), *others, Answer("go", go, "warning")]
    return Question(title, text, answers, default="back")


def edits_question(n_edits: int) -> Question:
    """Setup has changed under a plan that was edited: `keep` the edits or plan `anew`."""
    edits = f"{n_edits} edit{'' if n_edits == 1 else 's'}"
    text = Content(
        f"Setup says something else now than when the plan was made, and the plan has {edits}.\n\n"
        "Keep them: what the plan says counts, its collections, tables, mode and columns.\n"
        f"Plan anew: the plan follows Setup, and the {edits} {'is' if n_edits == 1 else 'are'} lost."
    )
    answers = [Answer("keep", "Keep the edits", "primary"), Answer("anew", "Plan anew", "warning")]
    return Question("Setup has changed", text, answers, default="keep")


def error_dialog(title: str, message: str) -> Question:
    """Something was refused; says why."""
    return Question(title, Content(safe(message, 2_000)), [Answer("back", "Close", "primary")], default="back")
