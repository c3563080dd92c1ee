"""Form fields of one line each: a knob with its bounds, and a choice of a few words."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget
from textual.widgets import Input, Static

from engine.errors import KnobError
from engine.knobs import Knob
from tui.cockpit.signs import MUTED
from tui.words.format import compact, number
from tui.words.knobs import value_text
from tui.words.safe import safe


class KnobField(Widget):
    """A number with its bounds beside it and, when it is out of them, the sentence that says so under it.

    Label and bounds are drawn by the field itself: a widget for each of them would take longer to make than to read.
    """

    def __init__(self, knob: Knob, value: int) -> None:
        self._input = Input(value_text(knob, value), compact=True, select_on_focus=True)
        self._problem = Static(classes="field-error", markup=False)
        super().__init__(self._input, id=f"knob-{knob.name}")
        self.knob = knob

    def render(self) -> Content:
        """Label and bounds, with the unit where there is room for it."""
        off = ", off" if self.knob.zero_is_off else ""
        bounds = f" {number(self.knob.low)}–{compact(self.knob.high)}{off}"
        start = self._input.virtual_region
        label = f"{self.knob.label[: start.x]:<{start.right}}"
        unit = f" {self.knob.unit}" if len(label + bounds + self.knob.unit) < self.content_size.width else ""
        return Content.assemble(label, (f"{bounds}{unit}", MUTED))

    @property
    def value(self) -> int | None:
        """What is typed, or None when it is out of bounds; the error is shown then."""
        try:
            value = self.knob.parse(self._input.value)
        except KnobError as error:
            self.say(error.message)
            return None
        self.say("")
        return value

    def fill(self, value: int) -> None:
        """Put a value into the field."""
        self._input.value = value_text(self.knob, value)

    def say(self, problem: str) -> None:
        """Show a sentence under the field; an empty one hides it."""
        if problem and not self._problem.is_attached:
            self.mount(self._problem)
        self._problem.update(Content(safe(problem)))
        self._problem.display = bool(problem)

    @on(Input.Changed)
    def _check(self, event: Input.Changed) -> None:
        event.stop()
        _ = self.value


class ChoiceField(Widget, can_focus=True):
    """One of a few words, on one line: `(•) create  ( ) append`. Left and right, or a click, choose."""

    BINDINGS = [  # noqa: RUF012
        Binding("left,h", "step(-1)", "Previous", show=False),
        Binding("right,l,space", "step(1)", "Next", show=False),
    ]
    selected: reactive[str] = reactive("")

    class Changed(Message):
        """Another word was chosen."""

        def __init__(self, choice: ChoiceField, word: str) -> None:
            super().__init__()
            self.choice = choice
            self.word = word

    def __init__(self, words: Sequence[str], selected: str, *, id: str) -> None:
        super().__init__(id=id)
        self.words = tuple(words)
        self.set_reactive(ChoiceField.selected, selected)

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
