"""The dialog that renames or retypes a column of the plan, and says what becomes of values that it cannot hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static

from engine.loading import choices_of
from engine.protocol import POLICIES, ColumnView
from tui.cockpit.dialogs.modal import Modal
from tui.cockpit.plan_edits import ColumnState
from tui.cockpit.widgets.fields import ChoiceField
from tui.words.safe import safe

AS_SET = "as set"
"""A column without a policy of its own."""


class ColumnDialog(Modal[ColumnState]):
    """Returns the column as edited; the engine judges it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back", id="dialog.back")]

    def __init__(self, column: ColumnView, now: ColumnState, as_set: Mapping[str, str] | None) -> None:
        """Nothing is changed yet.

        Args:
            column: what was seen of it.
            now: the column as it is.
            as_set: the policies that are set for all columns; None for a column that takes none of its own.
        """
        super().__init__()
        self._column = column
        self._now = now
        self._as_set = as_set

    def compose(self) -> ComposeResult:
        """Two fields, and a choice for each policy."""
        kinds = ", ".join(f"{safe(kind, 20)} {share:.0f}%" for kind, share in self._column.kinds.items())
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(f"Field {safe(self._column.field, 50)}")
            for label, value in (("Column", self._now.name), ("Type", self._now.type)):
                with Horizontal(classes="named-field"):
                    yield Static(label, classes="field-label", markup=False)
                    yield Input(value, id=label.lower(), compact=True, select_on_focus=False)
            if self._as_set is not None:
                for policy in POLICIES:
                    words = (AS_SET, *choices_of(f"mapping.{policy}"))
                    with Horizontal(classes="named-field"):
                        yield Static(policy, classes="field-label", markup=False)
                        yield ChoiceField(words, self._now.policies.get(policy, AS_SET), id=policy)
            yield Static(f"Seen: {kinds or 'nothing'}", classes="note", markup=False)
            note = "A value that the type cannot hold goes to _extra, or its document is rejected, as overflow says."
            if self._as_set:
                said = ", ".join(f"{policy} {safe(word, 20)}" for policy, word in self._as_set.items())
                note += f" As set for this plan: {said}."
            yield Static(note, classes="note", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Apply", variant="primary", id="apply", compact=True)
                yield Button("Back", id="back", compact=True)

    def on_mount(self) -> None:
        """Start with the type: it is what is changed most."""
        self.set_focus(self.query_one("#type", Input))

    @on(Button.Pressed, "#back")
    def _back(self) -> None:
        self.dismiss()

    @on(Button.Pressed, "#apply")
    @on(Input.Submitted)
    def _apply(self) -> None:
        said = {choice.id or "": choice.selected for choice in self.query(ChoiceField)}
        policies = {policy: word for policy, word in said.items() if word != AS_SET}
        name, kind = self._typed("column", self._now.name), self._typed("type", self._now.type)
        self.dismiss(ColumnState(name, kind, policies))

    def _typed(self, field: str, before: str) -> str:
        """What a field holds, without spaces around it unless they were there."""
        typed = self.query_one(f"#{field}", Input).value
        return before if typed == before else typed.strip()
