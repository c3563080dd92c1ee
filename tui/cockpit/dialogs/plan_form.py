"""What the dialogs that edit a plan share: they stay open until the engine has taken the edit, and say what it refuses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar, Generic, TypeVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static

from tui.cockpit.dialogs.modal import Modal
from tui.words.safe import safe

State = TypeVar("State")
Attempt = Callable[[State], Awaitable[str]]
"""Makes a change; returns why it cannot be made, or nothing."""


class PlanForm(Modal[State], Generic[State]):
    """Fields, a line for what is wrong, Apply and Back. Enter in any field applies."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back", id="dialog.back")]
    HINT: ClassVar[str] = "Enter apply · Tab next field · Esc back"
    """The keys, on the frame."""

    def __init__(self, title: str, attempt: Attempt[State]) -> None:
        """Nothing is changed yet.

        Args:
            title: already harmless.
            attempt: makes the change.
        """
        super().__init__()
        self._title = title
        self._attempt = attempt
        self._is_waiting = False

    def fields(self) -> ComposeResult:
        """The form's own widgets."""
        raise NotImplementedError

    def answer(self) -> State | None:
        """What the fields say; None when that cannot be, which is said."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        """The dialog."""
        with Vertical(classes="dialog plan-form") as dialog:
            dialog.border_title = Content(self._title)
            dialog.border_subtitle = Content(self.HINT)
            yield from self.fields()
            yield Static(classes="field-error", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Apply", variant="primary", id="apply", compact=True)
                yield Button("Back", id="back", compact=True)

    def say(self, problem: str) -> None:
        """A sentence above the buttons; an empty one hides it."""
        line = self.query_one(".field-error", Static)
        line.update(Content(safe(problem, 400)))
        line.display = bool(problem)

    @on(Button.Pressed, "#back")
    def _back(self) -> None:
        self.dismiss()

    @on(Button.Pressed, "#apply")
    @on(Input.Submitted)
    def _apply(self) -> None:
        if not self._is_waiting and (answer := self.answer()) is not None:
            self._try(answer)

    @work(group="apply")
    async def _try(self, answer: State) -> None:
        self._is_waiting = True
        try:
            problem = await self._attempt(answer)
        finally:
            self._is_waiting = False
        if problem:
            self.say(problem)
        else:
            self.dismiss(answer)
