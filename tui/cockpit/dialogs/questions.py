"""Modal questions: a title, a few sentences, buttons; the safe answer has the focus, Esc gives it too."""

from __future__ import annotations

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
from tui.words.follow import has_counts_of_the_copy, since_copy_words
from tui.words.format import counted
from tui.words.run_status import state_words
from tui.words.safe import safe

SECOND_PRESS_S = 2.0
"""A second ctrl+c within this time opens the stop dialog."""
REDRAW_S = 0.25
"""How often a dialog about a run looks at it."""


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

    def __init__(
        self, title: str, text: Content, answers: Sequence[Answer], *, default: str, focus: str | None = None
    ) -> None:
        """It is not shown yet.

        Args:
            default: the answer of Esc, after which nothing changes.
            focus: the answer of Enter; None is the default one.
        """
        super().__init__()
        self._focus = focus or default
        self._title = title
        self._text = text
        self._answers = answers
        self._default = default

    def compose(self) -> ComposeResult:
        """The dialog."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(self._title)
            dialog.border_subtitle = Content(
                "←→ choose · Enter answer · Esc back" if len(self._answers) > 1 else "Enter or Esc close · y copy"
            )
            with VerticalScroll(classes="dialog-text", can_focus=False):
                yield Static(self._text, markup=False)
            with Horizontal(classes="buttons"):
                for answer in self._answers:
                    yield Button(Content(answer.label), variant=answer.variant, id=answer.id, compact=True)

    def on_mount(self) -> None:
        """The answer of Enter has the focus."""
        self.set_focus(self.query_one(f"#{self._focus}", Button))

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
    """How to stop: `drain`, `now` or `stay`. Enter, x and ctrl+c finish the pages; only X rolls them back."""

    KEPT_AS = "stop"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x,ctrl+c", "press_again", "Finish pages and stop", id="dialog.stop_gently"),
        Binding("X", "stop_now", "Stop now, roll back", id="dialog.stop_now"),
    ]

    def __init__(self) -> None:
        answers = [
            Answer("drain", "Finish pages and stop", "warning"),
            Answer("now", "Stop now, roll back", "error"),
            Answer("stay", "Keep running", "primary"),
        ]
        super().__init__("Stop the run?", Content.empty(), answers, default="stay")
        self._is_seen = False
        """It was painted: what is pressed before that cannot be its answer."""
        self._look: Callable[[], Snapshot] | None = None
        self._can_resume = True
        self._resume = ""
        self._resume_key = ""

    def ask_about(
        self, look: Callable[[], Snapshot], *, can_resume: bool = True, resume: str = "", resume_key: str = ""
    ) -> None:
        """Have it ask about this run when it opens.

        Args:
            look: tells how the run is now.
            can_resume: its servers stay.
            resume: the command that resumes it.
            resume_key: the key that resumes it from the Run screen; empty where none does.
        """
        self._resume_key = resume_key
        self._look = look
        self._resume = resume
        self._can_resume = can_resume
        self._is_seen = False

    def follow(self) -> None:
        """Draw the run anew, whenever the screen below is drawn: both have the same numbers."""
        if self.is_current and self.is_mounted:  # it may be the screen before it has anything to draw on
            self._draw()

    def on_screen_resume(self) -> None:
        """The run as it is now; the gentle answer has the focus."""
        self._draw()
        self.set_focus(self.query_one("#stay" if self._is_draining else "#drain", Button))
        self.call_after_refresh(self._painted)

    def _draw(self) -> None:
        if self._look is None:
            return
        self._text = _stop_text(self._look(), self._resume, self._resume_key, can_resume=self._can_resume)
        self.query_one(".dialog-text Static", Static).update(self._text)
        self.query_one("#drain").display = not self._is_draining
        self.query_one("#stay", Button).label = "Wait for them" if self._is_draining else "Keep running"

    @property
    def _is_draining(self) -> bool:
        return self._look is not None and self._look().state is RunState.CANCELLING

    def action_press_again(self) -> None:
        """Finish the pages, or wait for those that do, once the question was seen."""
        if self._is_seen:
            self.dismiss("stay" if self._is_draining else "drain")

    def action_stop_now(self) -> None:
        """Roll back, once the question was seen."""
        if self._is_seen:
            self.dismiss("now")

    @property
    def is_seen(self) -> bool:
        """It was painted since it was opened."""
        return self._is_seen

    def _painted(self) -> None:
        self._is_seen = True


def _stop_text(snapshot: Snapshot, resume: str, resume_key: str, *, can_resume: bool) -> Content:
    """What either way of stopping does."""
    rows = counted(snapshot.written, "row is", "rows are")
    stay = "stays" if snapshot.written == 1 else "stay"
    kept = f"{rows} committed and {stay}" if snapshot.written else "Nothing is committed yet"
    if snapshot.written and has_counts_of_the_copy(snapshot.follow):
        kept = f"{rows} {since_copy_words(snapshot.follow)}: all of it stays"
    command = resume or f"mongopg-tui run --resume {safe(snapshot.run_id, 40)}"
    how = f"resume it with {resume_key} here, or" if resume_key else "the run can be resumed with"
    later = f"; {how}\n  {command}"
    text = Content(
        f"{kept}{later if can_resume else '; the embedded servers end when you leave.'}\n\n"
        "Finish pages and stop (Enter, x): workers end their pages early and commit them; within a second or so.\n"
        "Stop now (X): roll back unfinished pages."
    )
    if snapshot.state is RunState.SEEDING:
        seeded = counted(snapshot.seeded, "document is", "documents are")
        text = Content(
            f"{seeded} in the source; what is there stays, and seeding again tops it up.\n\n"
            "Finish pages and stop (Enter, x): workers complete the ranges that they have begun.\n"
            "Stop now (X): they are dropped."
        )
    is_draining = snapshot.state is RunState.CANCELLING
    return Content("The workers are finishing their pages. ") + text if is_draining else text


class QuitQuestion(Question):
    """Leaving while a run is in progress: `leave`, `stop` or `stay`. Once the run is over, it says so, there is nothing left
    to stop, and the key that asked to quit quits.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,ctrl+q", "quit_after_end", "Quit", id="dialog.quit")]

    def __init__(self, look: Callable[[], Snapshot], is_live: Callable[[], bool], more: Sequence[str] = ()) -> None:
        """Ask about a run.

        Args:
            look: tells how the run is now.
            is_live: tells whether it is in progress.
            more: sentences about what leaving means.
        """
        answers = [
            Answer("leave", "Leave it running"),
            Answer("stop", "Stop it…", "warning"),
            Answer("stay", "Stay", "primary"),
        ]
        self._look, self._is_live, self._more = look, is_live, more
        self._is_over = False
        super().__init__("A run is in progress", self._words(), answers, default="stay")

    def _words(self) -> Content:
        snapshot = self._look()
        if self._is_over:
            return Content(f"The run is {state_words(snapshot.state.value)} meanwhile. The same key again quits.")
        run_id = safe(snapshot.run_id, 40)
        is_moving = snapshot.state is RunState.RUNNING
        what = "The run" if is_moving else f"The run is {state_words(snapshot.state.value)}. It"
        return Content("\n").join(
            [
                Content(
                    f"{what} goes on if you quit:\n\n"
                    f"Leave it running: come back with\n  mongopg-tui attach {run_id}\n"
                    "Stop it: asks how, and leaves when it has stopped."
                ),
                *map(Content, self._more),
            ]
        )

    def on_mount(self) -> None:
        """The safe answer has the focus; the run is followed."""
        super().on_mount()
        self.set_interval(REDRAW_S, self._follow)

    def _follow(self) -> None:
        if self._is_over or self._is_live():
            return
        self._is_over = True
        self._text = self._words()
        self.query_one(".dialog").border_title = Content("The run is over")
        # No button moves under the pointer: the text's place stays, and that of the button that goes.
        text, leave = self.query_one(".dialog-text", VerticalScroll), self.query_one("#leave", Button)
        text.styles.height = text.outer_size.height
        text.query_one(Static).update(self._text)
        self.query_one("#stop", Button).visible = False
        leave.styles.width = leave.outer_size.width
        leave.label = "Quit"
        self.set_focus(self.query_one("#stay", Button))

    def action_quit_after_end(self) -> None:
        """Leave a run that is over. One that goes on is left by a choice only."""
        if not self._is_live():
            self.dismiss("leave")


def confirm(
    title: str, effects: Sequence[str], *, go: str, others: Sequence[Answer] = (), is_harmless: bool = False
) -> Question:
    """Before something is started: says what will happen; returns "go" or "back", or the id of another answer.

    Args:
        is_harmless: nothing can be lost by it, so that Enter starts it.
    """
    text = Content("\n").join(Content(effect) for effect in effects)
    if is_harmless:
        answers = [Answer("back", "Back"), *others, Answer("go", go, "primary")]
    else:
        answers = [Answer("back", "Back", "primary"), *others, Answer("go", go, "warning")]
    return Question(title, text, answers, default="back", focus="go" if is_harmless else None)


def file_question(n_edits: int, file: str) -> Question:
    """Setup has changed under a plan that was opened from a file: `keep` it or plan `anew`."""
    edits = f" with {n_edits} edit{'' if n_edits == 1 else 's'}" if n_edits else ""
    lost = f" and its {edits.removeprefix(' with ')} {'is' if n_edits == 1 else 'are'} lost" if n_edits else ""
    text = Content(
        f"Setup says something else now than when {safe(file, 60)} was opened.\n\n"
        f"Keep it{edits}: what the file says counts, its collections, tables, mode and columns.\n"
        f"Plan anew: the plan follows Setup{lost}. The file stays as it is."
    )
    kept = [Answer("keep", "Keep the file's plan", "primary"), Answer("anew", "Plan anew", "warning")]
    return Question("Setup has changed", text, kept, default="keep")


def error_dialog(title: str, message: str) -> Question:
    """Something was refused; says why."""
    return Question(title, Content(safe(message, 2_000)), [Answer("back", "Close", "primary")], default="back")
