"""The question before a copy: from where to where, which tables, how, and what preflight found of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, Static

from engine.protocol import PreflightReport, TargetTable
from tui.cockpit.clipboard import copy
from tui.cockpit.consequences import REPLACES, Moved, StartFacts
from tui.cockpit.dialogs.modal import Modal
from tui.cockpit.dialogs.questions import Answer
from tui.cockpit.dialogs.sheet import Sheet
from tui.cockpit.signs import MUTED
from tui.cockpit.widgets.preflight import SIGNS, preflight_line
from tui.words.format import counted, number
from tui.words.preflight import lines, mapping_words, reason, table_words
from tui.words.safe import safe

FOLLOW = "follow"
"""The answer that has the run follow its source."""
WARNINGS_SHOWN = 2
"""Of the plan's, before the key that shows all."""
KNOBS = "knobs"
"""The answer that has the knobs turned first."""
NEVER_FOLLOWED = "append"
"""A mode in which no run can."""
_GAP = "  "
_ARROW = "→ "
_SCROLLED = "#start-edits, #start-tables, #start-details"
"""What is scrolled where there is too little room, from the top."""
_LEAST_ROWS = 3
"""Of the list, and of what is said below it."""
_FRAME_ROWS = 5
"""Frame of the dialog, margins of the list, and what a screen leaves around a dialog."""


class WordField(Input):
    """A field for one word: keys that are none of its letters stay keys."""

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """A letter of the word."""
        return super().check_consume_key(key, character) and character is not None and character.lower() in REPLACES


class StartDialog(Modal[str]):
    """Returns "go" or "back", `FOLLOW`, `KNOBS`, or the id of another answer.

    Where nothing is dropped, Start has the focus. Tables that would be dropped are listed with their rows, and the mode's
    name is typed before Start can be pressed; so it is when they are not known.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss('back')", "Back", id="dialog.back"),
        # Keys with priority come before the field that a word is typed into, unless they are letters of that word.
        Binding("left", "app.focus_previous", "Previous", show=False, priority=True),
        Binding("right", "app.focus_next", "Next", show=False, priority=True),
        Binding("up", "scroll(-1)", "Up", show=False),
        Binding("down", "scroll(1)", "Down", show=False),
        Binding("pageup", "scroll(-8)", "Page up", show=False),
        Binding("pagedown", "scroll(8)", "Page down", show=False),
        Binding("y", "copy", "Copy the text", id="dialog.copy", priority=True),
        Binding("f", "follow", "Start and follow the source", id="dialog.follow", priority=True),
        Binding("t", f"dismiss('{KNOBS}')", "Workers, page size and throttle", id="dialog.knobs", priority=True),
        Binding("w", "warnings", "All warnings of the plan", id="dialog.warnings", priority=True),
    ]
    DEFAULT_CSS = """
    StartDialog #start-tables { height: auto; margin: 1 0; scrollbar-size-vertical: 1; }
    StartDialog #start-tables Static, StartDialog #start-head { text-wrap: nowrap; text-overflow: ellipsis; }
    StartDialog #start-edits, StartDialog #start-details { height: auto; scrollbar-size-vertical: 1; }
    StartDialog #start-confirm { height: auto; display: none; margin: 1 0 0 0; }
    StartDialog #start-confirm Static { width: auto; max-width: 80%; }
    StartDialog Input { width: 12; margin: 0 0 0 1; background: $panel; }
    """

    def __init__(self, title: str, facts: StartFacts, others: Sequence[Answer] = (), *, copy_key: str) -> None:
        """Nothing was found yet.

        Args:
            others: answers besides yes and no.
            copy_key: the key that copies, for the hint of the warnings.
        """
        super().__init__()
        self._title = title
        self._facts = facts
        self._others = others
        self._copy_key = copy_key
        self._report: PreflightReport | None = None
        self._problem = ""
        """Why there is no report."""

    def compose(self) -> ComposeResult:
        """The dialog."""
        with Vertical(classes="dialog wide") as dialog:
            dialog.border_title = Content(self._title)
            warnings = " · w warnings" if self._facts.plan_warnings else ""
            dialog.border_subtitle = Content(f"←→ choose · Enter answer · t knobs{warnings} · ↑↓ scroll · Esc back")
            yield Static(id="start-head", markup=False)
            if self._facts.edits:
                with VerticalScroll(id="start-edits", can_focus=False):
                    yield Static(edits_words(self._facts.edits), markup=False)
            with VerticalScroll(id="start-tables", can_focus=False):
                yield Static(markup=False)
            with VerticalScroll(id="start-details", can_focus=False):
                yield Static(markup=False)
            with Horizontal(id="start-confirm"):
                yield Static(markup=False)
                yield WordField(compact=True, select_on_focus=False)
            with Horizontal(classes="buttons"):
                yield Button("Back", id="back", compact=True)
                for answer in self._others:
                    yield Button(Content(answer.label), variant=answer.variant, id=answer.id, compact=True)
                yield Button("Start", variant="primary", id="go", compact=True)
                if self._facts.mode != NEVER_FOLLOWED:
                    yield Button("Start and follow (f)", id=FOLLOW, compact=True)

    def on_mount(self) -> None:
        """Start has the focus, unless what it drops has to be looked at first."""
        if not self._facts.replaces:
            self.set_focus(self.query_one("#go", Button))
        if not self._waits:
            self._answered()
        self._draw()

    def on_resize(self) -> None:
        """Lines and list follow the size."""
        self.call_after_refresh(self._draw)

    def _fit(self) -> None:
        """The list gets what the rest leaves of the screen; edits have what the others do not need, or their share."""
        if not self._is_there:
            return
        rows = self.app.size.height
        tables, details = self.query_one("#start-tables"), self.query_one("#start-details")
        parts = self.query(_SCROLLED)
        rest = [each for each in self.query_one(".dialog").children if each not in parts and each.display]
        room = rows - _FRAME_ROWS - sum(each.outer_size.height + each.styles.margin.height for each in rest)
        wanted = self.query_one("#start-details Static").outer_size.height
        listed = self.query_one("#start-tables Static").outer_size.height
        for edits in self.query("#start-edits"):
            most = max(_LEAST_ROWS, room // 3, room - listed - wanted)
            edits.styles.max_height = most
            room -= min(most, edits.query_one(Static).outer_size.height)
        below = max(_LEAST_ROWS, room - max(_LEAST_ROWS, min(listed, room // 2)))
        details.styles.max_height = below
        tables.styles.max_height = max(_LEAST_ROWS, room - min(wanted, below))

    # --- what is found ------------------------------------------------------------------------------------------------

    def found(self, report: PreflightReport) -> None:
        """Preflight has looked."""
        self._report = report
        self._answered()

    def not_found(self, problem: str) -> None:
        """Preflight could not look."""
        self._problem = problem
        self._answered()

    @property
    def _is_there(self) -> bool:
        """It is composed, and was not left."""
        return self.is_active and bool(self.query("#go"))

    def _answered(self) -> None:
        if not self._is_there:
            return
        if self._has_to_type:
            confirm = self.query_one("#start-confirm")
            confirm.display = True
            confirm.query_one(Static).update(self._confirm_text())
            self.query_one("#go", Button).variant = "error"
            self.set_focus(self.query_one(Input))
        elif self._stops:
            self.query_one("#go", Button).variant = "warning"
            self.set_focus(self.query_one("#back", Button))
        elif self.focused is None:
            self.set_focus(self.query_one("#go", Button))
        self._draw()

    @property
    def _dropped(self) -> list[TargetTable]:
        return self._report.dropped if self._report is not None else []

    @property
    def _has_to_type(self) -> bool:
        """Tables are dropped, or may be."""
        if not self._facts.replaces or self._waits:
            return False
        return bool(self._dropped) or self._report is None or self._report.target != "checked"

    @property
    def _waits(self) -> bool:
        return self._report is None and not self._problem

    @property
    def _stops(self) -> bool:
        return self._report is not None and self._report.status == "stop"

    @property
    def _may_start(self) -> bool:
        if self._waits:
            return not self._facts.replaces
        return not self._has_to_type or self.query_one(Input).value.strip().lower() == REPLACES

    def _confirm_text(self) -> Content:
        dropped = self._dropped
        if not dropped:
            return Content(f"Type {REPLACES} to DROP the tables that exist:")
        rows = sum(table.rows or 0 for table in dropped)
        is_exact = all(table.rows is not None and table.rows_are == "exact" for table in dropped)
        count = counted(len(dropped), "table")
        about = "" if is_exact else "about "
        return Content(f"Type {REPLACES} to DROP {count} with {about}{counted(rows, 'row')}:")

    # --- drawing ------------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        if not self._is_there:
            return
        self.query_one("#start-head", Static).update(self._head())
        self.query_one("#start-tables Static", Static).update(Content("\n").join(self._table_lines()))
        details = [*self._found_lines(), *map(Content, self._facts.lines)]
        self.query_one("#start-details Static", Static).update(Content("\n").join(details))
        self._enable()
        self.call_after_refresh(self._fit)

    def _enable(self) -> None:
        for button in self.query(f"#go, #{FOLLOW}").results(Button):
            button.disabled = not self._may_start

    def _head(self) -> Content:
        facts = self._facts
        target = facts.target
        if self._report is not None and self._report.database and "/" not in target.rstrip("/"):
            target = f"{target.rstrip('/')}/{safe(self._report.database, 63)}"
        return Content.assemble(
            (facts.source, "bold"), (f" {_ARROW}", MUTED), (target, "bold"), "\n", (facts.total, MUTED)
        )  # fmt: skip

    def _table_lines(self) -> list[Content]:
        """A line for each collection, or two where one is too narrow."""
        report = self._report
        moved = self._facts.tables_of(report)
        tables = report.tables if report is not None and report.tables else [None] * len(moved)
        words = [self._words(each) for each in tables]
        names = max((len(safe(each.namespace, 60)) for each in moved), default=0)
        targets = max((len(safe(each.table, 60)) for each in moved), default=0)
        counts = max((len(_documents(each)) for each in moved), default=0)
        lengths = max((word.cell_length for word in words), default=0)
        width = self.query_one("#start-tables").scrollable_content_region.width or 100
        is_wide = names + counts + targets + lengths + 3 * len(_GAP) + len(_ARROW) <= width
        found = []
        for each, word in zip(moved, words, strict=True):
            name, table, documents = safe(each.namespace, 60), safe(each.table, 60), _documents(each)
            arrow = Content.styled(_ARROW, MUTED) if table else Content("  ")
            if is_wide:
                found.append(
                    Content.assemble(
                        f"{name:<{names}}{_GAP}{documents:>{counts}}{_GAP}", arrow, f"{table:<{targets}}{_GAP}", word
                    )
                )
            else:
                found.append(Content.assemble(f"{name}{_GAP}{documents}{_GAP}", arrow, table))
                found.append(Content("   ") + word)
        return found

    def _words(self, table: TargetTable | None) -> Content:
        if table is None:
            return Content.styled("checking…" if self._waits else "not checked", MUTED)
        style = "$error" if table.fate in ("stops", "replaced") and table.state == "exists" else ""
        style = "$error" if table.status == "stop" else style
        return Content.styled(table_words(table), style or MUTED)

    def _plan_lines(self) -> list[Content]:
        """The first warnings of the plan, and how many more there are."""
        found = self._facts.plan_warnings
        if not found:
            return []
        lines = [Content.assemble(("! ", "$warning"), safe(each, 300)) for each in found[:WARNINGS_SHOWN]]
        count = len(found) - WARNINGS_SHOWN
        if count > 0:
            more = f"and {counted(count, 'more warning')} of the plan: w shows all"
            lines.append(Content.assemble(("! ", "$warning"), more))
        return lines

    def _found_lines(self) -> list[Content]:
        """What is wrong, or to be known, a line each."""
        warnings = [Content.assemble(("! ", "$warning"), safe(each, 300)) for each in self._facts.warnings]
        if self._problem:
            return [
                *warnings,
                Content.assemble(("! ", "$warning"), f"Not checked: {safe(self._problem, 600)}"),
                *self._plan_lines(),
            ]
        if self._report is None:
            return [*warnings, Content.styled("◐ checking both ends…", MUTED), *self._plan_lines()]
        head = preflight_line(self._report)
        listed = {f"{table.namespace} → {table.table}" for table in self._report.tables if not reason(table)}
        told = []
        for line in lines(self._report, "cockpit"):
            if line.status == "ok" or line.what in listed or line.what == "schema":
                continue  # the list, or the line above, says it
            sign = SIGNS[line.status]
            told.append(Content.assemble((f"{sign.symbol} ", sign.colour), f"{line.what}: {line.text}"))
        return [*warnings, head, *map(Content, mapping_words(self._report)), *told, *self._plan_lines()]

    # --- answers ------------------------------------------------------------------------------------------------------

    def action_scroll(self, by: int) -> None:
        """Move the edits; at their end the list, and then what is said below it."""
        parts = list(self.query(_SCROLLED))[:: 1 if by > 0 else -1]
        moves = (part for part in parts if (part.scroll_y < part.max_scroll_y if by > 0 else part.scroll_y > 0))
        if (moved := next(moves, None)) is not None:
            moved.scroll_relative(y=by, animate=False)

    def action_copy(self) -> None:
        """Its text, to be sent to support, say."""
        facts = self._facts
        edits = [Content(edits_words(facts.edits))] if facts.edits else []
        parts = [self._head(), *edits, *self._table_lines(), *self._found_lines(), Content("\n".join(facts.lines))]
        copy(self.app, "\n".join(part.plain for part in parts), "the text")

    def action_follow(self) -> None:
        """Start, and follow the source behind the copy."""
        if self._facts.mode == NEVER_FOLLOWED:
            return
        if self._may_start:
            self.dismiss(FOLLOW)
        else:
            self._ask_for_word()

    def action_warnings(self) -> None:
        """All warnings of the plan."""
        if found := self._facts.plan_warnings:
            text = Content("\n").join(Content.assemble(("! ", "$warning"), safe(each, 1_000)) for each in found)
            self.app.push_screen(Sheet("Warnings of the plan", text, "the warnings", self._copy_key))

    def _ask_for_word(self) -> None:
        """The tables that are dropped are to be looked at first."""
        if self._has_to_type:
            self.query_one("#start-confirm Static", Static).update(self._confirm_text().stylize("bold $error"))
            self.set_focus(self.query_one(Input))

    @on(Input.Changed)
    def _typed(self) -> None:
        self._enable()

    @on(Input.Submitted)
    def _submitted(self) -> None:
        if self._may_start:
            self.dismiss("go")
        else:
            self._ask_for_word()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id or "back")


def edits_words(edits: Sequence[str]) -> str:
    """The edits of a plan, a line each, the first one behind `Edits: `."""
    head = f"Edit{'s' * (len(edits) != 1)}: "
    return f"\n{' ' * len(head)}".join([head + safe(edits[0], 300), *(safe(each, 300) for each in edits[1:])])


def _documents(moved: Moved) -> str:
    return number(moved.documents) if moved.documents >= 0 else "–"
