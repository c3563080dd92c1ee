"""The Plan screen: what becomes of each field, how rows will look, what to know before; edited, saved, started."""

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

from engine.errors import MigrationError, UsageError
from engine.protocol import Cancel, ColumnView, EditablePlan, TableView
from tui.cockpit.api import CockpitApi
from tui.cockpit.commands import Place, Situation, bindings_of
from tui.cockpit.dialogs.choosing import ChoosingDialog
from tui.cockpit.dialogs.column import ColumnDialog
from tui.cockpit.dialogs.naming import FileDialog
from tui.cockpit.dialogs.questions import edits_question, error_dialog
from tui.cockpit.plan_edits import ColumnState, PlanEdits, Step, field_label
from tui.cockpit.planning import EditedPlan, PlanRequest, request_of
from tui.cockpit.screens.base import CockpitScreen
from tui.cockpit.session import EngineSession
from tui.cockpit.signs import MUTED
from tui.cockpit.widgets.listing import ListColumn, Listing
from tui.cockpit.widgets.planned import column_row, counting_line, heading, preview_text, warnings_text
from tui.files import typed_path, write_new
from tui.words.format import duration
from tui.words.safe import safe, safe_block

TICK_S = 0.25
_COLUMNS = (
    ListColumn("field", weight=2),
    ListColumn("seen", 6, is_right=True),
    ListColumn("BSON kinds", weight=3),
    ListColumn("column", weight=2),
    ListColumn("type", 16),
    ListColumn("null", 4, on_narrow=False),
    ListColumn("values", weight=3, on_narrow=False),
)


class PlanScreen(CockpitScreen):
    """Looks at the source when it is shown for the first time, or with other collections than before."""

    PLACE = Place.PLAN
    BINDINGS = bindings_of(Place.PLAN)
    AUTO_FOCUS = "Lines"

    def __init__(self, cockpit: CockpitApi) -> None:
        super().__init__(cockpit)
        self.plan: EditablePlan | None = None
        self.table_index = 0
        self._edits = PlanEdits()
        """Those that `plan` has, which is what a start runs then; none when nothing was edited."""
        self._request: PlanRequest | None = None
        """What the plan was made from."""
        self._waits = False
        """Setup could not say yet what to plan."""
        self._has_failed = False
        """There is no plan of that."""
        self._is_asking = False
        self._asked_at: float | None = None
        self._asked: EngineSession | None = None
        """The engine that makes the plan now."""

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
        self.cockpit.choices.plan_editor = self
        self.set_interval(TICK_S, self._show_progress)

    def shown(self) -> None:
        """Plan when Setup asks for something else now. What was edited goes only when the operator says so."""
        try:
            request = request_of(self.cockpit.choices.planned)
        except UsageError as error:
            self._waits = True
            self._say(error)
            return
        if self._waits:
            self._waits = False
            self._draw()
        before = self._request
        is_known = request == before and not self._has_failed
        if is_known or self._asked_at is not None or self._is_asking:
            return
        if self._edits.done and before is not None and request.decided != before.decided:
            self._ask_about_edits(request)
        else:
            self._plan_again(request, recount=False)

    def _ask_about_edits(self, request: PlanRequest) -> None:
        self._is_asking = True

        def answered(answer: str | None) -> None:
            self._is_asking = False
            if answer == "anew":
                self._edits = PlanEdits()
            self._plan_again(request, recount=False)

        self.app.push_screen(edits_question(len(self._edits.done)), answered)

    def adjusted(self, now: Situation) -> Situation:
        """Whether there is a plan, and whether one is being made."""
        return replace(
            now,
            is_busy=self._asked_at is not None,
            has_result=self.plan is not None and self._asked_at is None,
            has_edits=bool(self._edits.done),
            has_undone=bool(self._edits.undone),
            is_counted=self._census == "full",
        )

    @property
    def table(self) -> TableView | None:
        """The table that is shown."""
        tables = self.plan.tables if self.plan is not None else []
        return tables[self._place] if tables else None

    @property
    def _census(self) -> Literal["sample", "full"]:
        """What plans are made from, here and in the run that follows."""
        return self.cockpit.choices.current.run.census

    @property
    def edited_text(self) -> str:
        """The plan's TOML when it was edited here; empty otherwise."""
        return self.plan.toml if self.plan is not None and self._edits.done else ""

    @property
    def edited(self) -> EditedPlan | None:
        """The plan with its edits; None without any."""
        if self.plan is None or not self._edits.done:
            return None
        try:
            request = request_of(self.cockpit.choices.planned)
            is_older = self._request is None or request.decided != self._request.decided
        except UsageError:
            is_older = True
        return EditedPlan(self.edited_text, self.plan, len(self._edits.done), is_older)

    # --- making it ---

    def action_again(self) -> None:
        """Read the source again; edits stay."""
        self._replan()

    def _replan(self, *, recount: bool = True) -> None:
        try:
            self._plan_again(request_of(self.cockpit.choices.planned), recount=recount)
        except UsageError as error:
            self._say(error)

    def action_full(self) -> None:
        """Count every document; edits stay."""
        self._choose_census("full")

    def action_sample(self) -> None:
        """Plan from a sample; edits stay."""
        self._choose_census("sample")

    def _choose_census(self, census: Literal["sample", "full"]) -> None:
        before, otherwise = self._request, self._census
        self.cockpit.choices.choose_census(census)
        try:
            self._request = request_of(self.cockpit.choices.planned)
        except UsageError as error:
            self.cockpit.choices.choose_census(otherwise)
            self._say(error)
            return
        self._remake(self._request, otherwise=(otherwise, before))

    @work(group="break off")
    async def action_stop(self) -> None:
        """Break the counting off."""
        if self._asked is not None:
            try:
                await self._asked.client.call(Cancel())
            except MigrationError as error:
                self.cockpit.say_problem(error.message)

    def _plan_again(self, request: PlanRequest, *, recount: bool = True) -> None:
        self._request = request
        self._remake(request, recount=recount)

    @work(group="plan", exclusive=True)
    async def _remake(
        self,
        request: PlanRequest,
        *,
        recount: bool = True,
        otherwise: tuple[Literal["sample", "full"], PlanRequest | None] | None = None,
    ) -> None:
        is_made = await self._make(request, self._edits, recount=recount)
        if is_made and self.is_current:
            self.call_later(self.shown)  # Setup may have changed meanwhile
        if not is_made and otherwise is not None:
            census, self._request = otherwise
            self.cockpit.choices.choose_census(census)
            self.cockpit.situation_changed()
        else:
            self._has_failed = not is_made

    async def _make(self, request: PlanRequest, edits: PlanEdits, *, recount: bool) -> bool:
        """Ask for the plan with these edits; False when it was refused: the heading says why, and the plan stays."""
        self._asked_at = time.monotonic()
        self.cockpit.situation_changed()
        self._show_progress()
        problem = None
        try:
            self._asked = await self.cockpit.answers.engine()
            command = request.command(self._asked, edits, recount=recount)
            self.plan = await self._asked.client.ask(EditablePlan, command)
            self._edits = edits if edits.done else edits.over(self.plan)
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
        if self._waits and self.is_current:
            self.shown()
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
        await self.cockpit.navigation.offer_start()

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
        """Rename or retype the column under the cursor, or say what becomes of values that it cannot hold."""
        column = self._column()
        if column is None:
            return
        place = self._place
        try:
            now, as_set = self._edits.column(place, column.column)
        except UsageError as error:
            self.app.push_screen(error_dialog("The column cannot be edited", error.message))
            return

        def answered(then: ColumnState | None) -> None:
            if then is not None and then != now:
                self._do(lambda edits: edits.change(place, now, then))

        self.app.push_screen(ColumnDialog(column, now, as_set), answered)

    def action_ignore(self) -> None:
        """Leave the field under the cursor out."""
        column = self._column()
        if column is not None:
            self._do(lambda edits: edits.leave_out(self._place, column.column))

    def action_restore(self) -> None:
        """Give a field that was left out its column back."""
        if self.table is None:
            return
        place = self._place
        try:
            fields = {field_label(path): path for path in self._edits.table(place).ignored}
        except UsageError as error:
            self._refuse(error)
            return

        def chosen(name: str | None) -> None:
            if name is not None:
                self._do(lambda edits: edits.put_back(place, fields[name]))

        if fields:
            self.app.push_screen(ChoosingDialog("Fields left out: put one back", [*fields]), chosen)
        else:
            self.app.notify("No field of this collection is left out.", markup=False)

    def action_undo(self) -> None:
        """Take the last edit back."""
        if self._edits.done:
            self._try(self._edits.undoing())

    def action_redo(self) -> None:
        """Make the edit again that was taken back last."""
        if self._edits.undone:
            self._try(self._edits.redoing())

    @property
    def _place(self) -> int:
        """The table that is shown, by its place in the plan."""
        return min(self.table_index, len(self.plan.tables) - 1) if self.plan is not None else 0

    def _column(self) -> ColumnView | None:
        index = self.query_one("#fields", Listing).index
        return self.table.columns[index] if self.table is not None and index is not None else None

    def _do(self, step: Callable[[PlanEdits], Step]) -> None:
        try:
            edits = self._edits.doing(step(self._edits))
        except UsageError as error:
            self._refuse(error)
            return
        self._try(edits)

    def _refuse(self, error: UsageError) -> None:
        self.app.push_screen(error_dialog("The plan stays as it was", error.message))

    @work(group="plan", exclusive=True)
    async def _try(self, edits: PlanEdits) -> None:
        """Edits count once the engine has planned with them."""
        if self._request is not None:
            await self._make(self._request, edits, recount=False)

    def action_save(self) -> None:
        """Ask for a file's name, and write the plan."""
        if self.plan is None:
            return
        text = self.plan.toml

        def write(name: str) -> Path:
            path = typed_path(name)
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
        self.query_one("#plan-head", Static).update(heading(self.plan, table, self.table_index, len(self._edits.done)))
        self.query_one("#fields", Listing).fill([column_row(column) for column in table.columns])
        indexes = "".join(f"{index.sql};\n" for index in table.indexes)
        self.query_one("#ddl-text", Static).update(Content(safe_block(table.ddl + indexes, 2_000)))
        self.query_one("#preview-text", Static).update(
            preview_text(table, self.query_one("#preview").scrollable_content_region.width)
        )
        own = {f"{table.namespace}: {warning}" for warning in table.warnings}
        others = [warning for warning in self.plan.warnings if warning not in own]
        self.query_one("#warnings-text", Static).update(warnings_text(table.warnings, others))
        count = len(table.warnings)
        self.query_one("#warnings").border_title = Content(f"Warnings ({count})" if count else "Warnings")
