"""The dialog that says where a collection of the plan goes to, and which of its documents."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Static

from tui.cockpit.dialogs.plan_form import Attempt, PlanForm
from tui.cockpit.plan_edits import TableState
from tui.words.safe import safe


class TableDialog(PlanForm[TableState]):
    """Returns the table as edited, once the engine has taken it."""

    def __init__(self, namespace: str, now: TableState, attempt: Attempt[TableState]) -> None:
        """Nothing is changed yet.

        Args:
            namespace: of the collection.
            now: its table as it is.
            attempt: makes the change; returns why it cannot be.
        """
        super().__init__(f"Collection {safe(namespace, 50)}", attempt)
        self._now = now

    def fields(self) -> ComposeResult:
        """Schema, name and filter."""
        for label, value in (("Schema", self._now.schema), ("Table", self._now.table), ("Filter", self._now.filter)):
            with Horizontal(classes="named-field"):
                yield Static(label, classes="field-label", markup=False)
                hint = '{"active": true}' if label == "Filter" else ""
                yield Input(value, placeholder=hint, id=label.lower(), compact=True, select_on_focus=False)
        yield Static(
            "Filter: Extended JSON, as MongoDB takes it. Only documents that match are copied; they are sampled anew.",
            classes="note",
            markup=False,
        )

    def on_mount(self) -> None:
        """Start with the table's name."""
        name = self.query_one("#table", Input)
        self.set_focus(name)
        name.action_end()

    def answer(self) -> TableState:
        """As typed; without spaces around it, unless they were there."""
        schema, table, filter_ = (self.query_one(f"#{field}", Input).value for field in ("schema", "table", "filter"))
        return TableState(
            schema if schema == self._now.schema else schema.strip(),
            table if table == self._now.table else table.strip(),
            filter_.strip(),
        )
