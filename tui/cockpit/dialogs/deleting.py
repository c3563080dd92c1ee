"""Before a run is deleted: what goes with it, table by table; its id is typed where data would be lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, Static

from engine.protocol import DiscardedTable, DiscardPreview
from tui.cockpit.clipboard import copy
from tui.cockpit.dialogs.modal import Modal
from tui.cockpit.signs import MUTED, Sign
from tui.words.follow import BLOCKED_FOR_EVER
from tui.words.format import counted, number
from tui.words.safe import safe

TABLES_SHOWN = 200


class DeleteDialog(Modal[str]):
    """Returns `delete`, `drop` (the tables, too) or nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Back", id="dialog.back"),
        Binding("left", "app.focus_previous", "Previous", show=False),
        Binding("right", "app.focus_next", "Next", show=False),
        Binding("y", "copy", "Copy the text", id="dialog.copy"),
    ]

    def __init__(self, preview: DiscardPreview, sign: Sign) -> None:
        super().__init__()
        self._preview = preview
        self._text = deletion_text(preview, sign)
        self._can_drop = any(table.is_own and table.rows >= 0 for table in preview.tables)

    def compose(self) -> ComposeResult:
        """The dialog."""
        run_id = safe(self._preview.run_id, 40)
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content("Delete this run?")
            with VerticalScroll(classes="dialog-text", can_focus=False):
                yield Static(self._text, markup=False)
            if self._needs_id("drop") and (self._can_drop or self._needs_id("delete")):
                what = "delete it" if self._needs_id("delete") else "drop its tables"
                yield Static(Content.styled(f"Type {run_id} to {what}:", MUTED), markup=False)
                yield Input(compact=True)
                yield Static(classes="field-error", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Delete run", variant="warning", id="delete", compact=True)
                if self._can_drop:
                    yield Button("Delete run and drop tables", variant="error", id="drop", compact=True)
                yield Button("Back", variant="primary", id="back", compact=True)

    def on_mount(self) -> None:
        """The safe answer has the focus."""
        self.set_focus(self.query_one("#back", Button))

    def action_copy(self) -> None:
        """What would go."""
        copy(self.app, self._text.plain, "the text")

    def _needs_id(self, answer: str) -> bool:
        """Data would be lost: rows, or the only copy of rejected documents."""
        return answer == "drop" or self._preview.rejected > 0

    @on(Input.Submitted)
    def _typed(self) -> None:
        """The cursor goes on to the buttons: Enter in the field deletes nothing."""
        self.set_focus(self.query_one("#delete", Button))

    @on(Button.Pressed)
    def _answered(self, event: Button.Pressed) -> None:
        answer = event.button.id or "back"
        if answer == "back":
            self.dismiss()
        elif self._needs_id(answer) and self.query_one(Input).value.strip() != self._preview.run_id:
            line = self.query_one(".field-error", Static)
            line.update(Content(f"Type the run's id first: {safe(self._preview.run_id, 40)}"))
            line.display = True
            self.set_focus(self.query_one(Input))
        else:
            self.dismiss(answer)


def deletion_text(preview: DiscardPreview, sign: Sign) -> Content:
    """What goes with the run, and what stays."""
    lines = [
        Content.assemble(f"Run {safe(preview.run_id, 40)}  ", (str(sign), sign.colour)),
        Content(""),
        Content(
            f"Deletes its history and {counted(preview.events, 'event')}: "
            "it can no longer be resumed, verified or replayed."
        ),
    ]
    if preview.rejected:
        lines.append(
            Content.styled(
                f"Deletes {counted(preview.rejected, 'rejected document')}, the only copy of what was read.",
                "$error",
            )
        )
    if preview.writes_blocked:
        lines.append(Content.styled(f"! {BLOCKED_FOR_EVER}", "$warning"))
    own = [table for table in preview.tables if table.is_own]
    others = [table for table in preview.tables if not table.is_own]
    if own:
        lines += [
            Content(""),
            Content.styled("Tables that it made: they stay, or are dropped with all their rows", "bold"),
        ]
        lines += _tables(own)
    if others:
        lines += [Content(""), Content.styled("Tables that were there before: they stay", "bold"), *_tables(others)]
    return Content("\n").join(lines)


def _tables(tables: list[DiscardedTable]) -> Iterator[Content]:
    shown = tables[:TABLES_SHOWN]
    width = max(len(safe(table.table, 60)) for table in shown)
    for table in shown:
        about = "" if table.is_exact or table.rows < 0 else "about "
        rows = f"{about}{counted(table.rows, 'row')}" if table.rows >= 0 else "not there any more"
        yield Content(f"  {safe(table.table, 60):<{width}}  {rows:>20}")
    if len(tables) > TABLES_SHOWN:
        yield Content.styled(f"  … and {number(len(tables) - TABLES_SHOWN)} more", MUTED)
