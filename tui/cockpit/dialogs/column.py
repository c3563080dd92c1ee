"""The dialog that renames or retypes a column of the plan, and says what becomes of values that it cannot hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static

from engine.loading import choices_of
from engine.protocol import ColumnView
from tui.cockpit.dialogs.modal import Modal
from tui.cockpit.plan_text import POLICIES, column_entry, policies_of
from tui.cockpit.widgets.fields import Choice
from tui.words.safe import safe

AS_SET = "as set"
"""A column without a policy of its own."""


@dataclass(frozen=True, slots=True)
class ColumnEdit:
    """What a column is, or is to be."""

    name: str
    type: str
    policies: Mapping[str, str] = field(default_factory=dict)
    """The column's own; those that are missing are as set for all."""


class ColumnDialog(Modal[ColumnEdit]):
    """Returns the column as edited; the engine judges it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back", id="dialog.back")]

    def __init__(self, column: ColumnView, plan: str, namespace: str, table: str) -> None:
        """Nothing is changed yet.

        Args:
            plan: its TOML.
            namespace: of the column's collection.
            table: that the collection goes to, `schema.table`.

        Raises:
            UsageError: the plan has no such column.
        """
        super().__init__()
        entry = column_entry(plan, namespace, column.column, table)
        own = {policy: entry[policy] for policy in POLICIES if policy in entry}
        self._column = column
        self.now = ColumnEdit(column.column, column.type, own)
        """The column as it is."""
        # An altered _id could become another's, and a column without a field takes what others leave.
        has_policies = "role" not in entry and entry.get("field") != "_id"
        self._options = policies_of(plan) if has_policies else None

    def compose(self) -> ComposeResult:
        """Two fields, and a choice for each policy."""
        kinds = ", ".join(f"{safe(kind, 20)} {share:.0f}%" for kind, share in self._column.kinds.items())
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(f"Field {safe(self._column.field, 50)}")
            for label, value in (("Column", self.now.name), ("Type", self.now.type)):
                with Horizontal(classes="named-field"):
                    yield Static(label, classes="field-label", markup=False)
                    yield Input(value, id=label.lower(), compact=True, select_on_focus=False)
            if self._options is not None:
                for policy in POLICIES:
                    words = (AS_SET, *choices_of(f"mapping.{policy}"))
                    with Horizontal(classes="named-field"):
                        yield Static(policy, classes="field-label", markup=False)
                        yield Choice(words, self.now.policies.get(policy, AS_SET), id=policy)
            yield Static(f"Seen: {kinds or 'nothing'}", classes="note", markup=False)
            note = "A value that the type cannot hold goes to _extra, or its document is rejected, as overflow says."
            if self._options:
                said = ", ".join(f"{policy} {safe(word, 20)}" for policy, word in self._options.items())
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
        said = {choice.id or "": choice.selected for choice in self.query(Choice)}
        policies = {policy: word for policy, word in said.items() if word != AS_SET}
        name, kind = (self.query_one(f"#{field}", Input).value.strip() for field in ("column", "type"))
        self.dismiss(ColumnEdit(name, kind, policies))
