"""The Plan screen: what becomes of each field, how rows will look, what to know before; looked at, edited, saved, started."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from textual import work
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.control.protocol import ColumnView, MakePlan, PlanView, TableView
from engine.errors import MigrationError, UsageError
from tui.commands import Place, Situation, bindings_of
from tui.export import write_new
from tui.format import bytes_size, duration, number, percent
from tui.plan_text import change_column, ignore_column
from tui.safe import safe, safe_block
from tui.screens.base import CockpitScreen
from tui.screens.column import ColumnDialog
from tui.screens.dialogs import error_dialog
from tui.screens.naming import FileDialog
from tui.widgets.listing import Cell, Column, Listing
from tui.widgets.words import MUTED

Edit = Callable[[str], str]
"""A change of a plan's TOML."""

TICK_S = 0.25
_COLUMNS = (
    Column("field", weight=2),
    Column("seen", 6, is_right=True),
    Column("BSON kinds", weight=3),
    Column("column", weight=2),
    Column("type", 16),
    Column("null", 4, on_narrow=False),
    Column("note", weight=2, on_narrow=False),
)
_NAME = 24
_VALUE = 60
"""Characters of a previewed value."""


class PlanScreen(CockpitScreen):
    """Looks at the source when it is shown for the first time, or with other collections than before."""

    PLACE = Place.PLAN
    BINDINGS = bindings_of(Place.PLAN)
    AUTO_FOCUS = "Lines"

    def __init__(self) -> None:
        super().__init__()
        self.plan: PlanView | None = None
        self.table_index = 0
        self._texts: list[str] = []
        """Edits of the plan, the newest last: what a start runs; none when nothing was edited."""
        self._request: object = None
        """What the plan was made from."""
        self._asked_at: float | None = None

    def body(self) -> Iterable[Widget]:
        """The table's heading, its fields or its SQL, preview and warnings."""
        yield Static(id="plan-head", markup=False)
        yield Listing(_COLUMNS, id="fields")
        with VerticalScroll(id="ddl"):
            yield Static(id="ddl-text", markup=False)
        with Horizontal(id="plan-bottom"):
            with VerticalScroll(id="preview"):
                yield Static(id="preview-text", markup=False)
            with VerticalScroll(id="warnings"):
                yield Static(id="warnings-text", markup=False)

    def on_mount(self) -> None:
        """Titles, and the clock of the census."""
        self.query_one("#fields").border_title = Content("Fields")
        self.query_one("#ddl").border_title = Content("SQL")
        self.query_one("#preview").border_title = Content("Preview")
        self.query_one("#warnings").border_title = Content("Warnings")
        self.set_interval(TICK_S, self._show_progress)

    def shown(self) -> None:
        """Plan when something else is asked for now."""
        try:
            request = self._requested()
        except UsageError as error:
            self._say(error)
            return
        if request != self._request and self._asked_at is None:
            self._texts.clear()
            self._plan_again(request)

    def _requested(self) -> tuple[str, str, tuple[str, ...]]:
        settings = self.cockpit.edited_settings
        return settings.source.connection, settings.target.schema_name, tuple(settings.run.collections)

    def adjusted(self, now: Situation) -> Situation:
        """Whether there is a plan, and whether one is being made."""
        return replace(
            now,
            is_busy=self._asked_at is not None,
            has_result=self.plan is not None and self._asked_at is None,
            has_edits=bool(self._texts),
        )

    @property
    def table(self) -> TableView | None:
        """The table that is shown."""
        tables = self.plan.tables if self.plan is not None else []
        return tables[min(self.table_index, len(tables) - 1)] if tables else None

    @property
    def edited_text(self) -> str:
        """The plan's TOML when it was edited here; empty otherwise."""
        return self._texts[-1] if self._texts else ""

    # --- making it ---

    def action_again(self) -> None:
        """Look at the source again; edits stay."""
        try:
            self._plan_again(self._requested())
        except UsageError as error:
            self._say(error)

    def _plan_again(self, request: tuple[str, str, tuple[str, ...]]) -> None:
        self._request = request
        self._remake(list(request[2]), self.edited_text)

    @work(group="plan", exclusive=True)
    async def _remake(self, collections: list[str], text: str) -> None:
        await self._make(collections, text)

    async def _make(self, collections: list[str], text: str) -> bool:
        """Ask for the plan; False when it was refused, which stands in the heading then."""
        self._asked_at = time.monotonic()
        self.cockpit.situation_changed()
        self._show_progress()
        problem = None
        try:
            command = MakePlan(collections=[] if text else collections, plan=text)
            self.plan = await self.cockpit.ask(PlanView, command)
        except MigrationError as error:
            problem = error
        finally:
            self._asked_at = None
        if problem is not None:
            self._say(problem)
        else:
            self._draw()
        self.cockpit.situation_changed()
        return problem is None

    def _say(self, error: MigrationError) -> None:
        self.query_one("#plan-head", Static).update(Content.styled(f"! {safe(error.message, 600)}", "$error"))

    def _show_progress(self) -> None:
        if self._asked_at is not None:
            since = duration(time.monotonic() - self._asked_at)
            words = f"◐ sampling documents and looking for indexes… {since}"
            self.query_one("#plan-head", Static).update(Content.styled(words, MUTED), layout=False)

    # --- commands ---

    async def action_start(self) -> None:
        """Ask, then copy."""
        await self.cockpit.offer_start(self.edited_text)

    def action_ddl(self) -> None:
        """SQL in the place of the fields, or the fields again."""
        self.toggle_class("-ddl")
        self.set_focus(self.query_one("#ddl") if self.has_class("-ddl") else self.query_one("#fields Lines"))

    def action_following(self) -> None:
        """The next collection."""
        self._turn(1)

    def action_previous(self) -> None:
        """The collection before."""
        self._turn(-1)

    def _turn(self, by: int) -> None:
        if self.plan is not None and self.plan.tables:
            self.table_index = (self.table_index + by) % len(self.plan.tables)
            self._draw()

    def action_edit(self) -> None:
        """Rename or retype the column under the cursor."""
        table, column = self.table, self._column()
        if table is None or column is None:
            return

        def answered(answer: tuple[str, str] | None) -> None:
            if answer is not None and answer != (column.column, column.type):
                name, kind = answer
                self._edit(lambda text: change_column(text, table.namespace, column.column, name=name, type=kind))

        self.app.push_screen(ColumnDialog(column), answered)

    def action_ignore(self) -> None:
        """Leave the field under the cursor out."""
        table, column = self.table, self._column()
        if table is not None and column is not None:
            self._edit(lambda text: ignore_column(text, table.namespace, column.column))

    def action_undo(self) -> None:
        """Take the last edit back."""
        if self._texts:
            self._texts.pop()
            self.action_again()

    def _column(self) -> ColumnView | None:
        index = self.query_one("#fields", Listing).index
        return self.table.columns[index] if self.table is not None and index is not None else None

    def _edit(self, change: Edit) -> None:
        if self.plan is None:
            return
        try:
            text = change(self.edited_text or self.plan.toml)
        except UsageError as error:
            self.app.push_screen(error_dialog("The plan stays as it was", error.message))
            return
        self._try(text)

    @work(group="plan", exclusive=True)
    async def _try(self, text: str) -> None:
        """An edit counts once the engine has planned with it."""
        self._texts.append(text)
        if not await self._make([], text):
            self._texts.pop()
            self.cockpit.situation_changed()

    def action_save(self) -> None:
        """Ask for a file's name, and write the plan."""
        if self.plan is None:
            return
        text = self.edited_text or self.plan.toml

        def write(name: str) -> Path:
            path = Path(name.strip()).expanduser()
            write_new(path, text)
            return path

        def written(path: Path | None) -> None:
            if path is not None:
                self.app.notify(f"Written: {safe(str(path), 300)}", markup=False)

        note = "To be edited, and run with `mongopg-tui run --plan FILE`."
        self.app.push_screen(FileDialog("Save the plan", note, "plan.toml", write), written)

    # --- drawing ---

    def on_resize(self) -> None:
        """The preview follows the width."""
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        table = self.table
        if self.plan is None or table is None:
            return
        self.query_one("#plan-head", Static).update(_heading(self.plan, table, self.table_index, len(self._texts)))
        self.query_one("#fields", Listing).fill([_row(column) for column in table.columns])
        indexes = "".join(f"{index.sql};\n" for index in table.indexes)
        self.query_one("#ddl-text", Static).update(Content(safe_block(table.ddl + indexes, 2_000)))
        self.query_one("#preview-text", Static).update(_preview(table))
        others = [warning for warning in self.plan.warnings if not warning.startswith(f"{table.namespace}: ")]
        self.query_one("#warnings-text", Static).update(_warnings(table.warnings, others))
        count = len(table.warnings)
        self.query_one("#warnings").border_title = Content(f"Warnings ({count})" if count else "Warnings")


def _heading(plan: PlanView, table: TableView, index: int, n_edits: int) -> Content:
    words = [f"{number(table.documents)} documents", bytes_size(table.size_bytes)]
    if table.sampled:
        words.append(f"{number(table.sampled)} sampled")
    if table.filter:
        words.append(f"only {safe(table.filter, 80)}")
    if table.ignored:
        words.append(f"{len(table.ignored)} left out: {safe(', '.join(table.ignored), 80)}")
    if table.estimate is not None:
        size = bytes_size(table.estimate.table_bytes + table.estimate.index_bytes)
        words.append(f"about {duration(table.estimate.seconds)} and {size} in PostgreSQL")
    title = Content.assemble(
        (safe(table.namespace, 120), "bold"), (" → ", MUTED), (safe(table.table, 120), "bold"),
        (f"   {index + 1} of {len(plan.tables)} collections", MUTED),
        (f"   {n_edits} edit{'' if n_edits == 1 else 's'}" if n_edits else "", "bold $warning"),
    )  # fmt: skip
    return title + Content("\n") + Content.styled(" · ".join(words), MUTED)


def _row(column: ColumnView) -> list[Cell]:
    kinds = " ".join(f"{safe(kind, 20)} {share:.0f}%" for kind, share in column.kinds.items())
    return [
        safe(column.field, 120),
        percent(column.seen_percent / 100) if column.kinds else "",
        Content.styled(kinds, "$warning" if len(column.kinds) > 1 else ""),
        safe(column.column, 120),
        safe(column.type, 60),
        "yes" if column.nullable else "no",
        Content.styled(safe(column.note, 200), MUTED),
    ]


def _preview(table: TableView) -> Content:
    """The sampled documents as rows, a line for each column that has a value."""
    if not table.preview:
        return Content.styled("no rows to show", MUTED)
    blocks = []
    for row in table.preview:
        lines = [Content.styled(f"_id {safe(row.id, 80)}", "bold")]
        if row.reject:
            lines.append(Content.styled(f"! rejected: {safe(row.reject, 200)}", "$warning"))
        for column, value in zip(table.columns, row.values, strict=False):
            if value is not None:
                name = Content(safe(column.column, 60)).truncate(_NAME, ellipsis=True)
                blank = " " * (_NAME + 2 - name.cell_length)
                lines.append(Content.assemble("  ", name.stylize(MUTED), blank, safe(value, _VALUE)))
        blocks.append(Content("\n").join(lines))
    return Content("\n\n").join(blocks)


def _warnings(own: list[str], others: list[str]) -> Content:
    """The weightiest first, as the engine sorts them; those of other collections after."""
    lines = [Content.assemble(("! ", "$warning"), safe(warning, 400)) for warning in own]
    if not own:
        lines.append(Content.styled("none for this collection", MUTED))
    if others:
        lines += [Content(""), Content.styled("Other collections", MUTED)]
        lines += [Content.assemble(("! ", "$warning"), safe(warning, 400)) for warning in others]
    return Content("\n").join(lines)
