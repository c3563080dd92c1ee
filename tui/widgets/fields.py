"""Form fields of one line each: a knob with its bounds, and a choice of a few words."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget
from textual.widgets import Input, Static

from engine.errors import KnobError
from engine.knobs import Knob
from tui.format import compact, number
from tui.knob_text import value_text
from tui.safe import safe


class KnobField(Vertical):
    """A number with its bounds beside it and, when it is out of them, the sentence that says so under it."""

    def __init__(self, knob: Knob, value: int) -> None:
        super().__init__(id=f"knob-{knob.name}")
        self.knob = knob
        self._initial = value

    def compose(self) -> ComposeResult:
        """Label, field, bounds; the error below."""
        off = ", off" if self.knob.zero_is_off else ""
        with Horizontal():
            yield Static(self.knob.label, classes="field-label", markup=False)
            yield Input(value_text(self.knob, self._initial), compact=True, select_on_focus=True)
            yield Static(f"{number(self.knob.low)}–{compact(self.knob.high)}{off}", classes="field-note", markup=False)
            yield Static(self.knob.unit, classes="field-unit", markup=False)
        yield Static(classes="field-error", markup=False)

    @property
    def value(self) -> int | None:
        """What is typed, or None when it is out of bounds; the error is shown then."""
        try:
            value = self.knob.parse(self.query_one(Input).value)
        except KnobError as error:
            self.say(error.message)
            return None
        self.say("")
        return value

    def fill(self, value: int) -> None:
        """Put a value into the field."""
        self.query_one(Input).value = value_text(self.knob, value)

    def say(self, problem: str) -> None:
        """Show a sentence under the field; an empty one hides it."""
        line = self.query_one(".field-error", Static)
        line.update(Content(safe(problem)))
        line.display = bool(problem)

    @on(Input.Changed)
    def _check(self, event: Input.Changed) -> None:
        event.stop()
        _ = self.value


class Choice(Widget, can_focus=True):
    """One of a few words, on one line: `(•) create  ( ) append`. Left and right, or a click, choose."""

    BINDINGS = [  # noqa: RUF012
        Binding("left,h", "step(-1)", "Previous", show=False),
        Binding("right,l,space", "step(1)", "Next", show=False),
    ]
    selected: reactive[str] = reactive("")

    class Changed(Message):
        """Another word was chosen."""

        def __init__(self, choice: Choice, word: str) -> None:
            super().__init__()
            self.choice = choice
            self.word = word

    def __init__(self, words: Sequence[str], selected: str, *, id: str) -> None:
        super().__init__(id=id)
        self.words = tuple(words)
        self.set_reactive(Choice.selected, selected)

    def render(self) -> Content:
        """The line."""
        return Content("  ").join(
            Content.styled(f"({'•' if word == self.selected else ' '}) {word}", "bold" if word == self.selected else "")
            .stylize(Style.from_meta({"@click": f"pick('{word}')"}))
            for word in self.words
        )  # fmt: skip

    def action_step(self, by: int) -> None:
        """Choose a neighbour."""
        self.selected = self.words[(self.words.index(self.selected) + by) % len(self.words)]

    def action_pick(self, word: str) -> None:
        """Choose a word."""
        self.selected = word

    def watch_selected(self, word: str) -> None:
        """Tell the screen."""
        self.post_message(self.Changed(self, word))
