"""The dialog with every setting of the file that Setup itself has no field for, made from the schema.

Each is a line, in groups; a sentence at the bottom tells what the one under the cursor does, and what it takes. Arrow keys move
and choose, a search leaves the lines that have some letters in them, Enter applies from wherever the cursor is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import DescendantFocus
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from engine.config import Settings, reveal
from engine.errors import UsageError
from engine.loading import changed, choices_of, requirement_of, sentence_of, setting_names
from engine.notation import joined_list, split_list
from tui.cockpit.dialogs.modal import Modal
from tui.cockpit.signs import MUTED
from tui.cockpit.themes import NAMES, check_theme
from tui.cockpit.widgets.fields import ChoiceField, TextField
from tui.cockpit.widgets.filter import has
from tui.words.rejects import policy_value
from tui.words.safe import safe

_ON_SETUP = frozenset(
    ["run.collections", "run.mode", "run.cluster_size", "run.page_size", "run.throttle", "seed.count", "demo.embedded"]
)
"""What has a field on the screen itself, or a command: embedded servers are started by one."""
_POLICIES = ("mapping.nul", "mapping.date_range", "mapping.utf8", "mapping.overflow")
_SECTIONS = {
    "Mapping": "mapping",
    "Run": "run",
    "Where workers run": "cluster",
    "Dask cluster": "dask",
    "Guards": "guard",
    "Seeding": "seed",
    "Demo servers": "demo",
    "Screens": "cockpit",
}
"""Headings of groups, and the section of the file that each shows."""
_NOTHING = "none"
"""How an empty choice is shown."""
_SWITCH = {False: "no", True: "yes"}
_LABEL = 20
"""Cells of a setting's name."""


def groups() -> dict[str, list[str]]:
    """The settings of the dialog, `section.name`, by the heading that they stand under."""
    found = {"Values that do not fit": list(_POLICIES)}
    for heading, section in _SECTIONS.items():
        found[heading] = [
            name
            for name in setting_names()
            if name.partition(".")[0] == section and name not in _ON_SETUP and name not in _POLICIES
        ]
    found["Run"] = ["source.sample_bytes", "target.schema", *found["Run"]]
    return found


def editable_settings() -> list[str]:
    """The settings of the dialog, `section.name`."""
    return [name for names in groups().values() for name in names]


@dataclass(frozen=True, slots=True)
class _Shown:
    """A setting as its line shows it at first."""

    name: str
    """As `section.name`."""
    said: str
    words: tuple[str, ...]
    """Those to choose from; none for a text."""
    is_list: bool

    @property
    def label(self) -> str:
        """Its name without the section, which the heading tells; of another section with it."""
        section, _, name = self.name.partition(".")
        return self.name if section in ("source", "target") else name

    @property
    def id(self) -> str:
        """That of its line's field."""
        return "setting-" + self.name.replace(".", "-")


NOT_FOUND = (
    "No setting has this in its name. Workers, page size, seed count and throttle are knobs: fields of Setup, "
    "and t on Run."
)
"""Said in the place of a setting's sentence."""


class SettingChoice(ChoiceField):
    """`nul  (•) reject  ( ) strip`; where the words have no room, one of them: `‹ textual-dark ›  2 of 21`."""

    BINDINGS = [  # noqa: RUF012
        Binding("left,h", "step(-1)", "Previous", show=False),
        Binding("right,l,space", "step(1)", "Next", show=False),
    ]

    def __init__(self, setting: _Shown) -> None:
        super().__init__(setting.words, setting.said, id=setting.id)
        self.setting = setting

    def shown_as(self, word: str) -> str:
        """A policy is called as everywhere: `_extra` is where `overflow` puts a value."""
        return policy_value(word) if self.setting.name in _POLICIES else word

    def render(self) -> Content:
        """The line."""
        label = Content(f"{self.setting.label:<{_LABEL}}  ")
        words = super().render()
        if label.cell_length + words.cell_length > self.content_size.width:
            number = self.words.index(self.selected) + 1
            words = Content.assemble(
                "‹ ", (self.shown_as(self.selected), "bold"), " ›", (f"  {number} of {len(self.words)}", MUTED)
            )  # fmt: skip
        return label + words


class SettingText(Widget):
    """A name and a field. The name is drawn by the line itself: a widget for each takes longer to make than to read."""

    def __init__(self, setting: _Shown) -> None:
        super().__init__(TextField(setting.said, id=setting.id, placeholder="empty", select_on_focus=True))
        self.setting = setting

    def render(self) -> Content:
        """The name."""
        return Content(self.setting.label)


Line = SettingChoice | SettingText


class _Scrolled(VerticalScroll, inherit_bindings=False):
    """Follows the cursor; arrow keys are the dialog's."""


class SettingsDialog(Modal[Settings]):
    """Returns the settings as edited."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Cancel", id="dialog.back"),
        Binding("enter", "apply", "Apply", show=False),
        Binding("up,k", "move(-1)", "Previous setting", show=False),
        Binding("down,j", "move(1)", "Next setting", show=False),
        Binding("pageup", "move(-10)", "Page up", show=False),
        Binding("pagedown", "move(10)", "Page down", show=False),
        Binding("slash,f3", "search", "Search", show=False),
    ]

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._defaults = reveal(Settings())
        values = reveal(settings)
        self._groups: dict[str, list[Line]] = {
            heading: [_line(_shown(name, values[name.partition(".")[0]][name.partition(".")[2]])) for name in names]
            for heading, names in groups().items()
        }
        self._all = [line for lines in self._groups.values() for line in lines]

    def compose(self) -> ComposeResult:
        """A search, a line a setting, what the one under the cursor is."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content("Settings")
            dialog.border_subtitle = Content("↑↓ setting · ←→ value · / search · Enter apply · Esc cancel")
            yield TextField(id="search", placeholder="type to search, ↓ to go on")
            with _Scrolled(classes="dialog-text", can_focus=False):
                for heading, lines in self._groups.items():
                    yield Vertical(Static(Content(heading), classes="heading", markup=False), *lines, classes="group")
            yield Static(id="about", markup=False)
            yield Static(classes="field-error", markup=False)
            with Horizontal(classes="buttons"):
                yield Static(id="changes", markup=False)
                yield Button("Apply", variant="primary", id="apply", compact=True)
                yield Button("Cancel", id="back", compact=True)

    def on_mount(self) -> None:
        """Start in the search."""
        self.set_focus(self.query_one("#search", Input))

    # --- moving ---

    @property
    def _lines(self) -> Sequence[Line]:
        """Those that the search leaves."""
        return [line for line in self._all if line.display]

    @property
    def _at(self) -> int | None:
        """The number of the line with the cursor."""
        return next((number for number, line in enumerate(self._lines) if line.has_focus_within), None)

    def action_move(self, by: int) -> None:
        """Another line; above the first one is the search."""
        lines, at = self._lines, self._at
        if not lines or (at == 0 and by < 0):
            self.action_search()
            return
        start = -1 if at is None else at
        to = lines[min(max(start + by, 0), len(lines) - 1)]
        self.set_focus(to if isinstance(to, SettingChoice) else to.query_one(Input))

    def action_search(self) -> None:
        """Type what to look for; what was looked for before is overwritten."""
        search = self.query_one("#search", Input)
        self.set_focus(search)
        search.action_select_all()

    @on(Input.Changed, "#search")
    def _searched(self, event: Input.Changed) -> None:
        event.stop()
        sought = event.value.strip()
        for group, lines in zip(self.query(".group"), self._groups.values(), strict=True):
            for line in lines:
                line.display = has(f"{line.setting.name} {sentence_of(line.setting.name)}", sought)
            group.display = any(line.display for line in lines)
        self.query_one("#about", Static).update(Content() if self._lines else Content(NOT_FOUND), layout=False)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        """In the search: to the first line that was found. Everywhere else, and without a search, it applies."""
        event.stop()
        if event.input.id == "search" and event.value.strip() and self._lines:
            self.action_move(1)
        else:
            self.action_apply()

    @on(DescendantFocus)
    def _moved(self, _: DescendantFocus) -> None:
        at = self._at
        about = Content.empty() if at is None else self._about(self._lines[at].setting.name)
        self.query_one("#about", Static).update(about, layout=False)

    def _about(self, setting: str) -> Content:
        section, _, name = setting.partition(".")
        default = _as_said(self._defaults[section][name], bool(_words_of(setting))) or "empty"
        default = policy_value(default) if setting in _POLICIES else default
        takes = "" if _words_of(setting) else f"{requirement_of(setting) or 'text'} · "
        return Content.assemble(
            (f"{setting}  ", "bold"), sentence_of(setting), "\n", (f"{takes}default {default}", MUTED)
        )  # fmt: skip

    # --- edits ---

    def _edits(self) -> dict[str, object]:
        """What is to be another value than at first."""
        said = {line.setting: _said(line) for line in self._all}
        return {setting.name: _meant(setting, text) for setting, text in said.items() if text != setting.said}

    @on(ChoiceField.Changed)
    @on(Input.Changed)
    def _count(self) -> None:
        n_edits = len(self._edits())
        words = f"{n_edits} changed" if n_edits else ""
        self.query_one("#changes", Static).update(Content.styled(words, "$warning"), layout=False)
        for line in self._all:
            line.set_class(_said(line) != line.setting.said, "-changed")

    @on(Button.Pressed, "#back")
    def action_back(self) -> None:
        """Everything stays as it was."""
        self.dismiss()

    @on(Button.Pressed, "#apply")
    def action_apply(self) -> None:
        """Take the settings, or say which one is wrong."""
        edits = self._edits()
        try:
            if "cockpit.theme" in edits:
                check_theme(str(edits["cockpit.theme"]), "cockpit.theme")
            settings = changed(self._settings, edits)
        except UsageError as error:
            line = self.query_one(".field-error", Static)
            line.update(Content(safe(error.message, 400)))
            line.display = True
        else:
            self.dismiss(settings)


def _words_of(setting: str) -> tuple[str, ...]:
    """The words that a setting takes; none for a text."""
    if setting == "cockpit.theme":
        return NAMES
    words = tuple(word or _NOTHING for word in choices_of(setting))
    return words or (tuple(_SWITCH.values()) if requirement_of(setting) == "true or false" else ())


def _line(setting: _Shown) -> Line:
    return SettingChoice(setting) if setting.words else SettingText(setting)


def _shown(name: str, value: object) -> _Shown:
    words = _words_of(name)
    return _Shown(name, _as_said(value, bool(words)), words, isinstance(value, list))


def _as_said(value: object, is_choice: bool) -> str:
    if isinstance(value, bool):
        return _SWITCH[value]
    if isinstance(value, list):
        return joined_list(value)
    return str(value) or (_NOTHING if is_choice else "")


def _said(line: Line) -> str:
    return line.selected if isinstance(line, SettingChoice) else line.query_one(Input).value.strip()


def _meant(setting: _Shown, text: str) -> object:
    """A value, from what its line says."""
    if text == _NOTHING and setting.words:
        return ""
    return split_list(text) if setting.is_list else text
