"""The dialog with every setting of the file that Setup itself has no field for, made from the schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, Static

from engine.config import Settings, reveal
from engine.errors import UsageError
from engine.loading import changed, choices_of, requirement_of, setting_names
from engine.notation import joined_list, split_list
from tui.cockpit.dialogs.modal import Modal
from tui.cockpit.themes import check_theme
from tui.cockpit.widgets.fields import ChoiceField
from tui.words.safe import safe

_ON_SETUP = frozenset(
    ["run.collections", "run.mode", "run.cluster_size", "run.page_size", "run.throttle", "seed.count", "demo.embedded"]
)
"""What has a field on the screen itself, or a command: embedded servers are started by one."""
_SECTIONS = ("run", "mapping", "seed", "demo", "cockpit")
_NOTHING = "none"
"""How an empty choice is shown."""
_SWITCH = {False: "no", True: "yes"}


def editable_settings() -> list[str]:
    """The settings of the dialog, `section.name`."""
    names = [name for name in setting_names() if name.partition(".")[0] in _SECTIONS and name not in _ON_SETUP]
    return ["source.sample_bytes", "target.schema", *names]


class SettingsDialog(Modal[Settings]):
    """Returns the settings as edited."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back", id="dialog.back")]

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._shown: dict[str, str] = {}
        """What each field said at first."""
        self._lists: set[str] = set()
        """Settings whose field holds entries with commas between them."""

    def compose(self) -> ComposeResult:
        """A line a setting."""
        values = reveal(self._settings)
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content("Settings")
            dialog.border_subtitle = Content("tab goes on, esc leaves it as it was")
            with VerticalScroll(classes="dialog-text", can_focus=False):
                for setting in editable_settings():
                    section, _, name = setting.partition(".")
                    yield from self._field(setting, values[section][name])
            yield Static(classes="field-error", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Apply", variant="primary", id="apply", compact=True)
                yield Button("Back", id="back", compact=True)

    def _field(self, setting: str, value: object) -> Iterator[Horizontal]:
        words = [word or _NOTHING for word in choices_of(setting)] or (
            list(_SWITCH.values()) if isinstance(value, bool) else []
        )
        said = _SWITCH[value] if isinstance(value, bool) else str(value) or (_NOTHING if words else "")
        if isinstance(value, list):
            said = joined_list(value)
            self._lists.add(setting)
        self._shown[setting] = said
        line = Horizontal(classes="named-field")
        line.compose_add_child(Static(setting, classes="field-label", markup=False))
        if words:
            line.compose_add_child(ChoiceField(words, said, id=_id(setting)))
        else:
            line.compose_add_child(Input(said, id=_id(setting), compact=True, select_on_focus=False))
            line.compose_add_child(Static(requirement_of(setting) or "", classes="field-note", markup=False))
        yield line

    @on(Button.Pressed, "#back")
    def _back(self) -> None:
        self.dismiss()

    @on(Button.Pressed, "#apply")
    @on(Input.Submitted)
    def _apply(self) -> None:
        said = {setting: self._said(setting) for setting in self._shown}
        edits: dict[str, object] = {
            setting: ""
            if text == _NOTHING and choices_of(setting)
            else split_list(text)
            if setting in self._lists
            else text
            for setting, text in said.items()
            if text != self._shown[setting]
        }
        try:
            if "cockpit.theme" in edits:
                check_theme(said["cockpit.theme"], "cockpit.theme")
            settings = changed(self._settings, edits)
        except UsageError as error:
            line = self.query_one(".field-error", Static)
            line.update(Content(safe(error.message, 400)))
            line.display = True
        else:
            self.dismiss(settings)

    def _said(self, setting: str) -> str:
        field = self.query_one(f"#{_id(setting)}")
        return (
            field.selected
            if isinstance(field, ChoiceField)
            else field.value.strip()
            if isinstance(field, Input)
            else ""
        )


def _id(setting: str) -> str:
    return "setting-" + setting.replace(".", "-")
