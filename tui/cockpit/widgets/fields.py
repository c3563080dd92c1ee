"""Form fields of one line each: a knob with its bounds, and a choice of a few words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from textual import on
from textual.actions import SkipAction
from textual.binding import Binding
from textual.content import Content
from textual.events import DescendantBlur
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget
from textual.widgets import Input, Static

from engine.errors import KnobError
from engine.knobs import Auto, Knob, KnobValue
from tui.cockpit.signs import MUTED
from tui.words.format import number
from tui.words.knobs import problem_words, value_text
from tui.words.safe import safe


class TextField(Input):
    """A field that ctrl+c does not end in: it copies what is selected, and means what it means elsewhere."""

    def __init__(
        self,
        text: str = "",
        *,
        placeholder: str = "",
        select_on_focus: bool = False,
        classes: str | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(
            text, placeholder=placeholder, select_on_focus=select_on_focus, compact=True, classes=classes, id=id
        )

    def action_copy(self) -> None:
        """Copy the selection, if there is one."""
        super().action_copy()
        raise SkipAction


_AS_MANY_AS_WANTED = 1_000_000_000
"""A bound that is not worth its digits: the error names it."""


class KnobField(Widget):
    """A number with its bounds beside it and, when it is out of them, the sentence that says so under it.

    Label and bounds are drawn by the field itself: a widget for each of them would take longer to make than to read.
    """

    def __init__(self, knob: Knob, value: KnobValue) -> None:
        self._input = TextField(value_text(knob, value), select_on_focus=True)
        self._problem = Static(classes="field-error", markup=False)
        super().__init__(self._input, id=f"knob-{knob.name}")
        self.knob = knob
        self.is_on_one_host = False
        """The work that it is a knob of is on one host, whose bounds count."""

    def render(self) -> Content:
        """Label and bounds, with the unit where there is room for it."""
        off = "off, " if self.knob.zero_is_off else ""
        high = self.knob.usual_high or self.knob.high
        is_bounded = high < _AS_MANY_AS_WANTED
        low = number(self.knob.low)
        bounds = f" {off}" + (f"{low}–{number(high)}" if is_bounded else f"from {low}")
        start = self._input.virtual_region
        label = f"{self.knob.label[: start.x]:<{start.right}}"
        auto = ", auto" if self.knob.can_be_auto else ""
        has_room = len(label + bounds + self.knob.unit + auto) < self.content_size.width
        unit = f" {self.knob.unit}" if has_room else ""
        if not has_room and not is_bounded:  # the unit says more than that it begins with 1
            bounds, unit = f" {off}", self.knob.unit
        return Content.assemble(label, (f"{bounds}{unit}{auto}", MUTED))

    @property
    def value(self) -> KnobValue | None:
        """What is typed, or None when it is out of bounds; the error is shown then."""
        usual_high = self.knob.usual_high
        bounded = replace(self.knob, high=usual_high) if self.is_on_one_host and usual_high else self.knob
        try:
            value = bounded.read(self._input.value)
            if isinstance(value, Auto) and value.words == "auto":  # without bounds of its own
                value = self.knob.read(self._input.value)
        except KnobError as error:
            self.say(error.message)
            return None
        self.say("")
        return value

    def fill(self, value: KnobValue) -> None:
        """Put a value into the field."""
        self._input.value = value_text(self.knob, value)

    def say(self, problem: str) -> None:
        """Show a sentence under the field, which names the knob as its label does; an empty one hides it."""
        if problem and not self._problem.is_attached:
            self.mount(self._problem)
        self._problem.update(Content(safe(problem_words(self.knob, problem))))
        self._problem.display = bool(problem)

    @on(Input.Changed)
    def _check(self, event: Input.Changed) -> None:
        event.stop()
        _ = self.value

    @on(DescendantBlur)
    def _left(self) -> None:
        """A number is shown as it is everywhere."""
        if (value := self.value) is not None:
            self.fill(value)


class ChoiceField(Widget, can_focus=True):
    """One of a few words, on one line: `(•) create  ( ) append`. Left and right, or a click, choose.

    Space chooses nothing: who presses it to confirm a word would have another one, which may replace tables.
    """

    BINDINGS = [  # noqa: RUF012
        Binding("left,h", "step(-1)", "Previous", show=False),
        Binding("right,l", "step(1)", "Next", show=False),
        Binding("up,k", "step_line(-1)", "Previous", show=False),
        Binding("down,j", "step_line(1)", "Next", show=False),
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
        """The line, or a line for each word where there is room; where the height follows the words, as many as they need."""
        if self._is_column:
            lines: Sequence[Sequence[str]] = [[word] for word in self.words]
        else:
            lines = self._lines(self.content_size.width) if self.content_size.height > 1 else [self.words]
        return Content("\n").join(Content("  ").join(map(self._choice, line)) for line in lines)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Of the lines that the words need, where the height follows them."""
        return len(self._lines(width))

    def _choice(self, word: str) -> Content:
        is_selected = word == self.selected
        words = Content.styled(f"({'•' if is_selected else ' '}) {self.shown_as(word)}", "bold" if is_selected else "")
        return words.stylize(Style.from_meta({"@click": f"pick('{word}')"}))

    def _lines(self, width: int) -> list[list[str]]:
        """The words by the lines that have room for them."""
        lines: list[list[str]] = [[]]
        for word in self.words:
            if lines[-1] and Content("  ").join(map(self._choice, (*lines[-1], word))).cell_length > width:
                lines.append([])
            lines[-1].append(word)
        return lines

    def shown_as(self, word: str) -> str:
        """What stands for a word on the screen."""
        return word

    def action_step(self, by: int) -> None:
        """Choose a neighbour."""
        self.selected = self.words[(self.words.index(self.selected) + by) % len(self.words)]

    @property
    def _is_column(self) -> bool:
        return self.content_size.height >= len(self.words) > 1

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Up and down choose in a column; beside a line they lead on."""
        return self._is_column if action == "step_line" else super().check_action(action, parameters)

    def action_step_line(self, by: int) -> None:
        """Choose the one above or below."""
        self.action_step(by)

    def action_pick(self, word: str) -> None:
        """Choose a word."""
        self.selected = word

    def watch_selected(self, word: str) -> None:
        """Tell the screen."""
        self.post_message(self.Changed(self, word))
