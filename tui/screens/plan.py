"""The Plan screen: what becomes of each field, how rows will look, what to know before; looked at, edited, saved, started."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from textual import work
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.control.protocol import Cancel, ColumnView, MakePlan, PlanView, TableView
from engine.errors import MigrationError, UsageError
from tui.commands import Place, Situation, bindings_of
from tui.export import write_new
from tui.format import duration
from tui.plan_text import change_column, ignore_column
from tui.safe import safe, safe_block
from tui.screens.base import CockpitScreen
from tui.screens.column import ColumnDialog
from tui.screens.dialogs import error_dialog
from tui.screens.naming import FileDialog
from tui.session import EngineSession
from tui.widgets.listing import Column, Listing
from tui.widgets.planned import column_row, counting_line, heading, preview_text, warnings_text
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
    Column("values", weight=3, on_narrow=False),
)


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
        self._asked: EngineSession | None = None
        """Who makes the plan now."""

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
            is_counted=self._census == "full",
        )

    @property
    def table(self) -> TableView | None:
        """The table that is shown."""
        tables = self.plan.tables if self.plan is not None else []
        return tables[min(self.table_index, len(tables) - 1)] if tables else None

    @property
    def _census(self) -> Literal["sample", "full"]:
        """What plans are made from, here and in the run that follows."""
        return self.cockpit.settings.run.census

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

    def action_full(self) -> None:
        """Count every document; edits stay."""
        self._choose_census("full")

    def action_sample(self) -> None:
        """Plan from a sample; edits stay."""
        self._choose_census("sample")

    def _choose_census(self, census: Literal["sample", "full"]) -> None:
        try:
            request = self._requested()
        except UsageError as error:
            self._say(error)
            return
        before = self._census
        self.cockpit.settings.run.census = census
        self._request = request
        self._remake(list(request[2]), self.edited_text, otherwise=before)

    @work(group="break off")
    async def action_stop(self) -> None:
        """Break the counting off."""
        if self._asked is not None:
            try:
                await self._asked.client.call(Cancel())
            except MigrationError as error:
                self.cockpit.say_problem(error.message)

    def _plan_again(self, request: tuple[str, str, tuple[str, ...]], *, recount: bool = True) -> None:
        self._request = request
        self._remake(list(request[2]), self.edited_text, recount=recount)

    @work(group="plan", exclusive=True)
    async def _remake(
        self,
        collections: list[str],
        text: str,
        *,
        recount: bool = True,
        otherwise: Literal["sample", "full"] | None = None,
    ) -> None:
        if not await self._make(collections, text, recount=recount) and otherwise is not None:
            self.cockpit.settings.run.census = otherwise
            self.cockpit.situation_changed()

    async def _make(self, collections: list[str], text: str, *, recount: bool) -> bool:
        """Ask for the plan; False when it was refused, which stands in the heading then."""
        self._asked_at = time.monotonic()
        self.cockpit.situation_changed()
        self._show_progress()
        problem = None
        try:
            self._asked = await self.cockpit.engine_to_ask()
            command = MakePlan(collections=[] if text else collections, plan=text, census=self._census, recount=recount)
            self.plan = await self._asked.client.ask(PlanView, command)
        except MigrationError as error:
            problem = error
        finally:
            self._asked = self._asked_at = None
        if problem is not None:
            self._say(problem)
        else:
            self._draw()
        self.cockpit.situation_changed()
        return problem is None

    def _say(self, error: MigrationError) -> None:
        self.query_one("#plan-head", Static).update(Content.styled(f"! {safe(error.message, 600)}", "$error"))

    def _show_progress(self) -> None:
        if self._asked_at is None:
            return
        since = duration(time.monotonic() - self._asked_at)
        counting = self._asked.client.snapshot.counting if self._asked is not None else None
        if counting is not None and counting.total:
            words = counting_line(counting, since)
        else:
            doing = "counting documents" if self._census == "full" else "sampling documents and looking for indexes"
            words = Content.styled(f"◐ {doing}… {since}", MUTED)
        self.query_one("#plan-head", Static).update(words, layout=False)

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
            try:
                self._plan_again(self._requested(), recount=False)
            except UsageError as error:
                self._say(error)

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
        if not await self._make([], text, recount=False):
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

    def to_copy(self) -> tuple[str, str]:
        """The SQL where that is shown, otherwise the field under the cursor; why there is no plan, when there is none."""
        column = self._column()
        if self.table is None or column is None:
            return str(self.query_one("#plan-head", Static).content), "the message"
        if self.has_class("-ddl"):
            return str(self.query_one("#ddl-text", Static).content), "the SQL"
        return "  ".join(filter(None, map(str, column_row(column)))), "the field"

    # --- drawing ---

    def on_resize(self) -> None:
        """The preview follows the width."""
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        table = self.table
        if self.plan is None or table is None:
            return
        self.query_one("#plan-head", Static).update(heading(self.plan, table, self.table_index, len(self._texts)))
        self.query_one("#fields", Listing).fill([column_row(column) for column in table.columns])
        indexes = "".join(f"{index.sql};\n" for index in table.indexes)
        self.query_one("#ddl-text", Static).update(Content(safe_block(table.ddl + indexes, 2_000)))
        self.query_one("#preview-text", Static).update(preview_text(table))
        others = [warning for warning in self.plan.warnings if not warning.startswith(f"{table.namespace}: ")]
        self.query_one("#warnings-text", Static).update(warnings_text(table.warnings, others))
        count = len(table.warnings)
        self.query_one("#warnings").border_title = Content(f"Warnings ({count})" if count else "Warnings")
