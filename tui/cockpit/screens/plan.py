"""The Plan screen: what becomes of each field, how rows will look, what to know before; edited, saved, started."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from textual import events, on, work
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.errors import MigrationError, UsageError
from engine.protocol import Cancel, ColumnView, EditablePlan, OfferedColumns, PlanView, TableView, types_for
from tui.cockpit.api import CockpitApi
from tui.cockpit.commands import Place, Situation, bindings_of
from tui.cockpit.dialogs.choosing import ChoosingDialog
from tui.cockpit.dialogs.column import ColumnDialog
from tui.cockpit.dialogs.naming import FileDialog
from tui.cockpit.dialogs.questions import Answer, confirm, error_dialog, file_question
from tui.cockpit.dialogs.sheet import Sheet
from tui.cockpit.dialogs.table import TableDialog
from tui.cockpit.plan_edits import ColumnState, PlacedEdit, PlanEdits, PlanFile, Step, TableState, field_label
from tui.cockpit.planning import EditedPlan, PlanRequest, request_of
from tui.cockpit.screens.base import CockpitScreen
from tui.cockpit.session import EngineSession
from tui.cockpit.signs import MUTED
from tui.cockpit.widgets.listing import ListColumn, Listing
from tui.cockpit.widgets.planned import (
    column_details,
    column_row,
    counting_line,
    field_row,
    heading,
    preview_text,
    table_row,
    warnings_text,
)
from tui.cockpit.widgets.preflight import PreflightLine, preflight_text
from tui.files import read_text, typed_path, write_new, write_over
from tui.words.census import with_keys
from tui.words.format import counted, duration
from tui.words.safe import safe, safe_block

TICK_S = 0.25
BURST_S = 0.7
"""Keys that follow each other faster than this are ignored together, when the first of them was."""
SLOW_S = 0.4
"""An edit that takes the engine longer is said to be in progress."""
_FIELD_COLUMNS = (
    ListColumn("", 1),
    ListColumn("field", weight=2),
    ListColumn("seen", 6, is_right=True),
    ListColumn("BSON types", weight=3),
    ListColumn("column", weight=2),
    ListColumn("type", weight=2),
    ListColumn("null", 4, on_narrow=False),
    ListColumn("values", weight=3, on_narrow=False),
)
_TABLE_COLUMNS = (
    ListColumn("", 1),
    ListColumn("collection"),
    ListColumn("docs", 6, is_right=True, on_narrow=False),
    ListColumn("", 3, is_right=True),
)
_LETS_THROUGH = frozenset(
    {"escape", "up", "down", "left", "right", "home", "end", "pageup", "pagedown", "tab", "shift+tab"}
)
"""Keys that are never ignored: they move, or cancel."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the fields."""

    column: ColumnView | None = None
    """None for a field that has no column."""
    path: tuple[str, ...] = ()
    """Of the field; empty for a column without one."""
    is_excluded: bool = False


class PlanScreen(CockpitScreen):
    """Looks at the source when it is shown for the first time, or with other collections than before.

    What is read of the source stays the same while the plan is edited; an edit is shown once the engine has planned with it.
    """

    PLACE = Place.PLAN
    BINDINGS = bindings_of(Place.PLAN)
    AUTO_FOCUS = "#fields Lines"

    def __init__(self, cockpit: CockpitApi) -> None:
        super().__init__(cockpit)
        self.plan: EditablePlan | None = None
        self.table_index = 0
        self._edits = PlanEdits()
        """Those that `plan` has, which is what a start runs then; none when nothing was edited."""
        self._wanted = self._edits
        """The same with those that the engine has not planned with yet."""
        self._settled = asyncio.Event()
        """The engine has planned with all edits that are wanted, or refused one."""
        self._settled.set()
        self._refusal = ""
        """Why it refused one."""
        self._n_attempts = 0
        """Dialogs that wait for its answer, and say what it refuses."""
        self._kept_steps: tuple[Step, ...] = ()
        """What is saved, or was started: other edits would be lost."""
        self._request: PlanRequest | None = None
        """What the plan was made from."""
        self._run_then: tuple[str, bool] | None = None
        """The cockpit's run when the plan was made: what it has made of the tables is not in that plan."""
        self._waits = False
        """Setup could not say yet what to plan."""
        self._has_failed = False
        """There is no plan of that."""
        self._is_asking = False
        self._is_start_asked = False
        """A start was asked for on Setup, which says something else than the plan: it is asked about once there is one."""
        self._asked_at: float | None = None
        """When the engine was asked to read the source."""
        self._edited_at: float | None = None
        """When it was asked to plan with an edit."""
        self._asked: EngineSession | None = None
        """The engine that makes the plan now."""
        self._ignored_at = float("-inf")
        """When a key was ignored."""
        self._rows: list[Row] = []
        self._note = ""
        """What the engine refused last."""
        self._by_itself: list[str] = []
        """Edits that the plan has without them since it was made anew, in words."""

    def body(self) -> Iterable[Widget]:
        """The table's heading; collections, fields or SQL; preview and warnings."""
        yield Static(id="plan-head", markup=False)
        yield PreflightLine(id="preflight", markup=False)
        yield Static(id="plan-note", markup=False)
        with Horizontal(id="plan-middle"):
            yield Listing(_TABLE_COLUMNS, id="tables", is_fitted=True)
            yield Listing(_FIELD_COLUMNS, id="fields", is_fitted=True)
            with VerticalScroll(id="ddl"):
                yield Static(id="ddl-text", markup=False)
        with Horizontal(id="plan-bottom"):
            with VerticalScroll(id="preview"):
                yield Static(id="preview-text", markup=False)
            with VerticalScroll(id="warnings"):
                yield Static(id="warnings-text", markup=False)

    def on_mount(self) -> None:
        """Titles, and the clock of the census."""
        for panel, title in (
            ("tables", "Collections"), ("fields", "Fields"), ("ddl", "SQL"), ("preview", "Preview"), ("warnings", "Warnings"),
        ):  # fmt: skip
            self.query_one(f"#{panel}").border_title = Content(title)
        self.cockpit.choices.plan_editor = self
        self.set_interval(TICK_S, self._show_progress)

    def shown(self) -> None:
        """Plan when Setup asks for something else now. What was edited goes only when the operator says so."""
        if (file := self.cockpit.choices.take_plan_file()) is not None:
            self._edits = self._wanted = PlanEdits(file=file)
        try:
            request = request_of(self.cockpit.choices.planned)
        except UsageError as error:
            self._waits = True
            self._say(error.message)
            return
        if self._waits:
            self._waits = False
            self._say("")
            self._draw()
        before = self._request
        is_known = request == before and not self._has_failed
        if is_known and self._has_run_since and not (self._asked_at is not None or self._is_asking):
            self._plan_again(request, recount=False)
            return
        if is_known or self._asked_at is not None or self._is_asking:
            if is_known:
                self._go_on_to_start()
            return
        if self._edits.file is not None and before is not None and request.decided != before.decided:
            self._ask_about_file(request)
        else:
            self._plan_again(request, recount=False)

    @property
    def _run_now(self) -> tuple[str, bool] | None:
        """The cockpit's run, and whether it is over."""
        session = self.cockpit.runs.session
        return (session.snapshot.run_id, session.snapshot.state.is_over) if session is not None else None

    @property
    def _has_run_since(self) -> bool:
        """A run has ended since the plan was made: tables may be there that were not."""
        return self.cockpit.situation.is_free and self._run_then != self._run_now

    def _ask_about_file(self, request: PlanRequest) -> None:
        """A file decides itself what Setup says otherwise now; edits of a proposal go on to the next one unasked."""
        self._is_asking = True

        def answered(answer: str | None) -> None:
            self._is_asking = False
            self._plan_again(request, recount=False, edits=PlanEdits() if answer == "anew" else None)

        assert self._edits.file is not None
        self.app.push_screen(file_question(self._edits.n_changes(), Path(self._edits.file.path).name), answered)

    def adjusted(self, now: Situation) -> Situation:
        """Whether there is a plan, and whether one is being made."""
        return replace(
            now,
            is_busy=self._asked_at is not None,
            has_result=self.plan is not None and self._asked_at is None,
            has_edits=bool(self._wanted.done),
            has_undone=bool(self._wanted.undone),
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
        """The plan's TOML when it was edited here or opened; empty otherwise."""
        return self.plan.toml if self.plan is not None and self._edits.is_own else ""

    @property
    def planned(self) -> PlanView | None:
        """The plan as it is, where it is what Setup asks for and was not edited; None otherwise."""
        try:
            is_asked = self._request == request_of(self.cockpit.choices.planned) and not self._has_failed
        except UsageError:
            is_asked = False
        return self.plan if is_asked and not self._edits.is_own else None

    @property
    def edited(self) -> EditedPlan | None:
        """The plan of the operator's own, with edits or from a file; None without."""
        if self.plan is None or not self._edits.is_own:
            return None
        try:
            request = request_of(self.cockpit.choices.planned)
            is_older = self._request is None or request.decided != self._request.decided
        except UsageError:
            is_older = True
        file = self._edits.file.path if self._edits.file is not None else ""
        return EditedPlan(self.edited_text, self.plan, tuple(self._edits.changes()), is_older, file)

    @property
    def edits_aside(self) -> tuple[str, ...]:
        """Edits that have no place in the plan, each with the reason."""
        return tuple(f"{each.words} ({each.why_not.rstrip('.')})" for each in self._edits.aside)

    def start_when_planned(self) -> None:
        """Ask about a start once the plan is that of Setup again; the screen has to be shown then."""
        self._is_start_asked = True

    def _go_on_to_start(self) -> None:
        if self._is_start_asked and self.is_current:
            self._is_start_asked = False
            self.run_worker(self.action_start(), group="start")

    @property
    def n_unsaved(self) -> int:
        """Edits that are neither in a file nor in a run."""
        return self._wanted.n_changes(self._kept_steps)

    def _tell_of_edits(self) -> None:
        """Leaving asks, when it would lose edits."""
        count, key = self.n_unsaved, self.cockpit.keymap.first("plan.save")
        are = "edit that is" if count == 1 else "edits that are"
        self.cockpit.leaving.would_lose = (
            f"The plan has {count} {are} in no file and in no run: {key} on Plan saves it." if count else ""
        )

    def follow_situation(self, situation: Situation | None = None) -> None:
        """Edits of a plan that was started are kept with its run."""
        session = self.cockpit.runs.session
        command = session.start_command if session is not None else None
        if command is not None and command.plan and self.n_unsaved and command.plan == self.edited_text:
            self._kept_steps = self._edits.done
            self._tell_of_edits()
        super().follow_situation(situation)

    # --- keys while the source is read ---

    def ignores(self, event: events.Key) -> bool:
        """Keys typed while the source is read are ignored together: the rest of a word must not become commands."""
        now = time.monotonic()
        is_burst = now - self._ignored_at < BURST_S
        is_typed = event.is_printable or event.key in ("enter", "backspace", "delete")
        if event.key in _LETS_THROUGH or not is_typed:
            return False
        is_command = event.character is not None and not event.character.isdigit() and event.character not in "q?"
        if not is_burst and (self._asked_at is None or not is_command):
            return False
        self._ignored_at = now
        self._show_progress()
        return True

    # --- making it ---

    def action_again(self) -> None:
        """Read the source again; edits stay."""
        try:
            self._plan_again(request_of(self.cockpit.choices.planned))
        except UsageError as error:
            self._say(error.message)

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
            self._say(error.message)
            return
        self._remake(self._request, moves=True, otherwise=(otherwise, before))

    @work(group="break off")
    async def action_stop(self) -> None:
        """Break the counting off."""
        if self._asked is not None:
            try:
                await self._asked.client.call(Cancel())
            except MigrationError as error:
                self.cockpit.say_problem(error.message)

    def _plan_again(self, request: PlanRequest, *, recount: bool = True, edits: PlanEdits | None = None) -> None:
        before, self._request = self._request, request
        is_other = before is not None and request.decided != before.decided
        self._remake(request, recount=recount, edits=edits, moves=edits is None and (recount or is_other))

    @work(group="plan", exclusive=True)
    async def _remake(
        self,
        request: PlanRequest,
        *,
        recount: bool = True,
        edits: PlanEdits | None = None,
        moves: bool = False,
        otherwise: tuple[Literal["sample", "full"], PlanRequest | None] | None = None,
    ) -> None:
        """Plan with the source read again, or with another request.

        Args:
            edits: instead of those that are there.
            moves: edits go from the proposal that they were made in to the one that there is then.
            otherwise: the census and the request that hold when this is refused.
        """
        self._settled.set()  # edits that were still to be planned with are, by this
        self._asked_at = time.monotonic()
        self._by_itself = []
        self._say("")
        self.cockpit.situation_changed()
        self._show_progress()
        wanted = self._wanted if edits is None else edits
        moves = moves and wanted.file is None and bool(wanted.done or wanted.aside)
        try:
            ask = self._ask_moved if moves else self._ask
            problem = await ask(request, wanted, recount=recount)
        finally:
            self._asked_at = None
        if moves and not problem:
            self._by_itself = self._edits.needless(wanted)
        self._wanted = self._edits
        if edits is not None and not problem:
            self._kept_steps = ()
        self._show_answer(problem)
        self._is_start_asked &= self.is_current and not problem
        if not problem and self.is_current:
            self.call_later(self.shown)  # Setup may have changed meanwhile
        if problem and otherwise is not None:
            census, self._request = otherwise
            self.cockpit.choices.choose_census(census)
            self.cockpit.situation_changed()
        elif edits is None or not problem:
            self._has_failed = bool(problem)

    async def _ask(self, request: PlanRequest, edits: PlanEdits, *, recount: bool) -> str:
        """Ask for the plan with these edits, and take it; returns why there is none, and the plan stays as it was."""
        try:
            self._asked = await self.cockpit.answers.engine()
            self.plan = await self._asked.client.ask(EditablePlan, request.command(self._asked, edits, recount=recount))
        except MigrationError as error:
            return error.message
        finally:
            self._asked = None
        self._run_then = self._run_now
        taken = edits if edits.done else edits.over(self.plan)
        if edits.file is not None and edits.base is None:
            taken = PlanEdits(self.plan, file=edits.file)
        if self._wanted is edits:
            self._wanted = taken
        self._edits = taken
        return ""

    async def _ask_moved(self, request: PlanRequest, edits: PlanEdits, *, recount: bool) -> str:
        """Ask for a new proposal, make these edits in it, and take that; returns as `_ask`."""
        try:
            self._asked = await self.cockpit.answers.engine()
            client = self._asked.client
            plan = await client.ask(EditablePlan, request.command(self._asked, PlanEdits(), recount=recount))
            moved = edits.moved_to(plan)
            if moved.done:
                try:
                    plan = await client.ask(EditablePlan, request.command(self._asked, moved, recount=False))
                except UsageError:  # some of them: each is asked about alone
                    steps, moved = moved.placed(), replace(moved, done=())
                    for step in steps:
                        plan, moved = await self._ask_one_more(request, plan, moved, step)
        except MigrationError as error:
            return error.message
        finally:
            self._asked = None
        self.plan, self._run_then = plan, self._run_now
        if moved.done[: len(self._kept_steps)] != self._kept_steps:
            self._kept_steps = ()
        if self._wanted is edits:
            self._wanted = moved
        self._edits = moved
        return ""

    async def _ask_one_more(
        self, request: PlanRequest, plan: EditablePlan, edits: PlanEdits, step: Sequence[PlacedEdit]
    ) -> tuple[EditablePlan, PlanEdits]:
        """The plan and its edits with one step more, or without it where it is refused."""
        assert self._asked is not None
        further = edits.taking(step)
        if further.done == edits.done:
            return plan, further
        command = request.command(self._asked, further, recount=False)
        try:
            return await self._asked.client.ask(EditablePlan, command), further
        except UsageError as error:
            return plan, further.refusing_last(error.message)

    def _show_answer(self, problem: str) -> None:
        self._say(problem)
        self._draw()
        self._tell_of_edits()
        self.cockpit.situation_changed()

    def _say(self, problem: str) -> None:
        """What was refused, in the line under the heading; nothing hides it."""
        self._note = problem
        words = [Content.styled(f"! {safe(problem, 600)}", "$error")] if problem else []
        if not problem and (aside := self.edits_aside):
            count = counted(len(aside), "edit has", "edits have")
            words.append(Content.styled(f"! {count} no place in this plan: {safe('; '.join(aside), 600)}", "$warning"))
        if not problem and self._by_itself:
            count = counted(len(self._by_itself), "edit")
            words.append(Content(f"This plan has {count} by itself now: {safe('; '.join(self._by_itself), 600)}"))
        self._draw_note(Content("\n").join(words))

    def _draw_note(self, words: Content) -> None:
        note = self.query_one("#plan-note", Static)
        note.set_class(bool(words.plain), "-there")
        note.update(words)

    def _show_progress(self) -> None:
        if self._waits and self.is_current:
            self.shown()
        now = time.monotonic()
        if self._asked_at is None:
            if self._edited_at is not None and now - self._edited_at >= SLOW_S:
                self._draw_note(Content.styled(f"◐ planning… {duration(now - self._edited_at)}", MUTED))
            return
        since = duration(now - self._asked_at)
        counting = self._asked.client.snapshot.counting if self._asked is not None else None
        if counting is not None and counting.total:
            words = counting_line(counting, since)
        else:
            doing = "counting documents" if self._census == "full" else "sampling documents and looking for indexes"
            words = Content.styled(f"◐ {doing}… {since}", MUTED)
        if self._is_start_asked:
            words += Content.styled("   then asks about a start", "bold $warning")
        elif self._ignored_at > self._asked_at:
            words += Content.styled("   keys are ignored until the plan is there", "bold $warning")
        self._draw_note(words)

    # --- edits ---

    def _do(self, make: Callable[[PlanEdits], Step]) -> None:
        """Take a step; edits are shown once the engine has planned with them, and more can be made meanwhile."""
        try:
            wanted = self._wanted.doing(make(self._wanted))
        except UsageError as error:
            self._refuse(error)
            return
        self._want(wanted)

    def _want(self, wanted: PlanEdits) -> None:
        self._wanted, self._by_itself = wanted, []
        self.cockpit.situation_changed()
        if self._settled.is_set():
            self._settled.clear()
            self._catch_up()

    @work(group="plan", exclusive=True)
    async def _catch_up(self) -> None:
        """Plan with the edits that are wanted, until there are no others."""
        self._edited_at = time.monotonic()
        self._refusal = ""
        problem = ""
        try:
            while not problem and self._request is not None and self._wanted.done != self._edits.done:
                problem = await self._ask(self._request, self._wanted, recount=False)
        finally:
            self._edited_at = None
            if self._wanted.done != self._edits.done:
                self._wanted = self._edits
            self._refusal = problem
            self._settled.set()
        self._show_answer("" if self._n_attempts else problem)

    async def _attempt(self, make: Callable[[PlanEdits], Step]) -> str:
        """The same for a dialog, which says why it cannot be."""
        try:
            wanted = self._wanted.doing(make(self._wanted))
        except UsageError as error:
            return error.message
        if not wanted.done[-1]:
            return ""
        self._n_attempts += 1
        try:
            self._want(wanted)
            await self._settled.wait()
        finally:
            self._n_attempts -= 1
        is_done = self._edits.done[: len(wanted.done)] == wanted.done
        return "" if is_done else self._refusal or "The plan was made anew meanwhile: apply it again."

    def _refuse(self, error: UsageError) -> None:
        self.app.push_screen(error_dialog("The plan stays as it was", error.message))

    # --- commands ---

    async def action_start(self) -> None:
        """Ask, then copy; while the source is read, once the plan is there."""
        if self._asked_at is not None:
            self.start_when_planned()
            self._show_progress()
        else:
            await self.cockpit.navigation.offer_start()

    def action_preflight(self) -> None:
        """What a run of the plan would meet at both ends, in full."""
        if self.plan is not None and self.plan.preflight is not None:
            text = preflight_text(self.plan.preflight)
            self.app.push_screen(Sheet("Preflight", text, "what was found", self.copy_key))

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
            self._show_table((self._place + by) % len(self.plan.tables))

    def _show_table(self, index: int) -> None:
        if index != self.table_index:
            self.table_index = index
            self._draw()
            self.query_one("#fields", Listing).go_to(0)

    def action_collections(self) -> None:
        """To the list of collections; where there is no room for it, a dialog with them."""
        if self.plan is None:
            return
        listing = self.query_one("#tables")
        if listing.region.width:
            self.set_focus(self.query_one("#tables Lines"))
            return
        names = [table.namespace for table in self.plan.tables]

        def chosen(name: str | None) -> None:
            if name is not None:
                self._show_table(names.index(name))

        notes = [f"{len(table.warnings)} warning{'s' * (len(table.warnings) != 1)}" for table in self.plan.tables]
        self.app.push_screen(ChoosingDialog("Collections of the plan", names, notes), chosen)

    @on(Listing.Moved, "#tables")
    def _table_chosen(self, event: Listing.Moved) -> None:
        event.stop()
        if event.listing.index is not None and self.query_one("#tables Lines").has_focus:
            self._show_table(event.listing.index)

    def action_details(self) -> None:
        """What is under the cursor in full; from the list of collections, its fields."""
        if self.query_one("#tables Lines").has_focus:
            self.set_focus(self.query_one("#fields Lines"))
            return
        title, text, what = self._details()
        if text.plain.strip():
            self.app.push_screen(Sheet(title, text, what, self.copy_key))

    def _details(self) -> tuple[str, Content, str]:
        for panel, title in (("preview", "Preview"), ("warnings", "Warnings"), ("ddl", "SQL")):
            if self.query_one(f"#{panel}").has_focus:
                text = self.query_one(f"#{panel}-text", Static).content
                return title, text if isinstance(text, Content) else Content(str(text)), "the text"
        row, table = self._row(), self.table
        if row is None or table is None:
            return "", Content.empty(), ""
        if row.column is None:
            why = "Excluded on purpose." if row.is_excluded else self._unmapped_words()
            key = self.cockpit.keymap.first("plan.ignore")
            kept = "\nA rejected document is kept whole, with this field, in the ledger." if row.is_excluded else ""
            return f"Field {safe(field_label(row.path), 60)}", Content(f"{why} {key} includes it.{kept}"), "the field"
        own, defaults = self._policies(row.column)
        shown = table.model_copy(update={"warnings": self._with_keys(table.warnings)})
        return f"Field {safe(row.column.field, 60)}", column_details(row.column, shown, own, defaults), "the field"

    def _unmapped_words(self) -> str:
        """What becomes of a field that the plan does not have."""
        saved = self.plan.saved if self.plan is not None else None
        is_kept = saved is None or saved.options.overflow == "overflow"
        return f"Not in the plan: {'its values go to _extra' if is_kept else 'documents that have it are rejected'}."

    def _policies(self, column: ColumnView) -> tuple[dict[str, str], dict[str, str]]:
        try:
            state, as_set = self._edits.column(self._place, column.column)
        except UsageError:
            return {}, {}
        return dict(state.policies), as_set or {}

    def action_edit(self) -> None:
        """Rename or retype the column under the cursor, or say what becomes of values that it cannot hold."""
        row, place, plan = self._row(), self._place, self.plan
        if row is None or plan is None:
            return
        if row.column is None:
            key = self.cockpit.keymap.first("plan.ignore")
            self.app.notify(f"The field has no column: {key} includes it.", markup=False)
            return
        view = row.column
        try:
            now, as_set = self._wanted.column(place, view.column)
            last = self._wanted.plans()[-1]
            types = types_for(last.tables[place].column(view.column), view, last.options)
        except UsageError as error:
            self.app.push_screen(error_dialog("The column cannot be edited", error.message))
            return

        async def attempt(then: ColumnState) -> str:
            return "" if then == now else await self._attempt(lambda edits: edits.change(place, now, then))

        self.app.push_screen(ColumnDialog(view, now, as_set, types, attempt))

    def action_table(self) -> None:
        """Another schema or table for the collection, or only some of its documents."""
        table, place = self.table, self._place
        if table is None:
            return
        try:
            now = self._wanted.table_state(place)
        except UsageError as error:
            self.app.push_screen(error_dialog("The table cannot be edited", error.message))
            return

        async def attempt(then: TableState) -> str:
            return "" if then == now else await self._attempt(lambda edits: edits.change_table(place, now, then))

        self.app.push_screen(TableDialog(table.namespace, now, attempt))

    def action_flatten(self) -> None:
        """Put columns of its fields in the place of a document's column."""
        row, place = self._row(), self._place
        if row is not None and row.column is not None:
            name, offered = row.column.column, self._offered
            self._do(lambda edits: edits.flatten(place, name, offered))

    def action_ignore(self) -> None:
        """Exclude the field under the cursor, or include it again."""
        row, place, offered = self._row(), self._place, self._offered
        if row is None:
            return
        if row.column is not None:
            name = row.column.column
            self._do(lambda edits: edits.leave_out(place, name))
        else:
            path = row.path
            self._do(lambda edits: edits.put_back(place, path, offered))

    def action_restore(self) -> None:
        """Include a field that was excluded."""
        if self.table is None:
            return
        place, offered = self._place, self._offered
        try:
            fields = {field_label(path): path for path in self._wanted.table(place).ignored}
        except UsageError as error:
            self._refuse(error)
            return

        def chosen(name: str | None) -> None:
            if name is not None:
                self._do(lambda edits: edits.put_back(place, fields[name], offered))

        if fields:
            self.app.push_screen(ChoosingDialog("Excluded fields: include one", [*fields]), chosen)
        else:
            self.app.notify("No field of this collection is excluded.", markup=False)

    def action_undo(self) -> None:
        """Take back what was applied last."""
        if self._wanted.done:
            self._want(self._wanted.undoing())

    def action_redo(self) -> None:
        """Apply again what was taken back last."""
        if self._wanted.undone:
            self._want(self._wanted.redoing())

    @property
    def _place(self) -> int:
        """The table that is shown, by its place in the plan."""
        return min(self.table_index, len(self.plan.tables) - 1) if self.plan is not None else 0

    @property
    def _offered(self) -> OfferedColumns:
        """Columns that the table could have."""
        offered = self.plan.offered if self.plan is not None else []
        return offered[self._place] if self._place < len(offered) else OfferedColumns()

    def _row(self) -> Row | None:
        index = self.query_one("#fields", Listing).index
        return self._rows[index] if index is not None and index < len(self._rows) else None

    # --- files ---

    def action_save(self) -> None:
        """Ask for a file's name, and write the plan."""
        if self.plan is None:
            return
        text, steps, exists = self.plan.toml, self._edits.done, ""

        def write(name: str) -> Path:
            nonlocal exists
            path = typed_path(name)
            if path.is_file() and exists != name:
                exists = name
                raise UsageError(f"{path} already exists. Enter again overwrites it.")
            if path.is_file():
                write_over(path, text)
            else:
                write_new(path, text)
            return path

        def written(path: Path | None) -> None:
            if path is not None:
                self._kept_steps = steps
                self._show_answer("")
                self.app.notify(f"Saved: {safe(str(path), 300)}", markup=False)

        name = self._edits.file.path if self._edits.file is not None else "plan.toml"
        note = "To be edited, opened here, or run with `mongopg-tui run --plan FILE`."
        self.app.push_screen(FileDialog("Save the plan", note, name, write), written)

    def action_open(self) -> None:
        """Ask for a file's name, and show the plan in it; edits that would be lost are asked about first."""
        count = self.n_unsaved
        if not count:
            self._ask_for_file()
            return

        def answered(answer: str | None) -> None:
            if answer == "save":
                self.action_save()
            elif answer == "go":
                self._ask_for_file()

        edits = f"{count} edit{'s' * (count != 1)}"
        are = "is" if count == 1 else "are"
        text = [f"The plan has {edits} that {are} in no file and in no run. Another plan takes its place."]
        self.app.push_screen(
            confirm("Open another plan?", text, go=f"Lose {edits}", others=[Answer("save", "Save first…")]), answered
        )

    def _ask_for_file(self) -> None:
        text = ""

        def read(name: str) -> Path:
            nonlocal text
            path = typed_path(name)
            text = read_text(path)
            return path

        def opened(path: Path | None) -> None:
            if path is not None:
                self.open_plan(PlanFile(str(path), text))

        name = self._edits.file.path if self._edits.file is not None else "plan.toml"
        note = "A plan that was saved here, or by `mongopg-tui plan --save FILE`."
        self.app.push_screen(FileDialog("Open a plan", note, name, read, go="Open"), opened)

    def open_plan(self, file: PlanFile) -> None:
        """Show the plan of a file, once the engine has taken it."""
        try:
            request = request_of(self.cockpit.choices.planned)
        except UsageError as error:
            self._say(error.message)
            return
        self._plan_again(request, recount=False, edits=PlanEdits(file=file))

    def to_copy(self) -> tuple[str, str]:
        """The SQL where that is shown, otherwise the field under the cursor; why there is no plan, when there is none."""
        row = self._row()
        if self.table is None or row is None:
            return self._note, "the message"
        if self.has_class("-ddl"):
            return str(self.query_one("#ddl-text", Static).content), "the SQL"
        if row.column is None:
            return field_label(row.path), "the field"
        return "  ".join(filter(None, map(str, column_row(row.column)))), "the field"

    # --- drawing ---

    def on_resize(self) -> None:
        """The preview follows the width."""
        super().on_resize()
        self.call_after_refresh(self._draw)

    def _own_words(self) -> list[str]:
        """What of the plan is the operator's."""
        words = [safe(Path(self._edits.file.path).name, 60)] if self._edits.file is not None else []
        if count := self._edits.n_changes():
            words.append(f"{count} edit{'s' * (count != 1)}")
        if self._wanted.done:
            words.append(f"{self.cockpit.keymap.first('plan.undo')} undo")
        return words

    def _draw(self) -> None:
        table = self.table
        if self.plan is None or table is None:
            return
        self.query_one("#plan-head", Static).update(heading(self.plan, table, self._place, self._own_words()))
        self.query_one(PreflightLine).show(self.plan.preflight, self.cockpit.keymap.first("plan.preflight"))
        self._draw_tables()
        self._draw_fields(table)
        self.query_one("#ddl-text", Static).update(Content(safe_block(table.ddl, 2_000)))
        self.query_one("#preview-text", Static).update(
            preview_text(table, self.query_one("#preview").scrollable_content_region.width)
        )
        own = {f"{table.namespace}: {warning}" for warning in table.warnings}
        others = [warning for warning in self.plan.warnings if warning not in own]
        shown = warnings_text(self._with_keys(table.warnings), self._with_keys(others))
        self.query_one("#warnings-text", Static).update(shown)
        count = len(table.warnings)
        self.query_one("#warnings").border_title = Content(f"Warnings ({count})" if count else "Warnings")
        n_rejected = sum(bool(row.reject) for row in table.preview)
        self.query_one("#preview").border_title = Content(
            f"Preview ({n_rejected} rejected)" if n_rejected else "Preview"
        )

    def _with_keys(self, warnings: Sequence[str]) -> list[str]:
        """With the keys of this screen in them."""
        edit, exclude = map(self.cockpit.keymap.first, ("plan.edit", "plan.ignore"))
        return [with_keys(each, edit=edit, exclude=exclude) for each in warnings]

    def _draw_tables(self) -> None:
        assert self.plan is not None
        listing = self.query_one("#tables", Listing)
        self.set_class(len(self.plan.tables) == 1, "-single")
        listing.fill(
            [
                table_row(each, is_edited=self._edits.is_edited_table(number))
                for number, each in enumerate(self.plan.tables)
            ]
        )
        listing.go_to(self._place)

    def _draw_fields(self, table: TableView) -> None:
        assert self.plan is not None
        edited, own = self._edits.edited_columns(self._place), self._edits.own_policies(self._place)
        before = self._row()
        self._rows = self._rows_of(table)
        listing = self.query_one("#fields", Listing)
        listing.fill(
            [
                column_row(row.column, is_edited=row.column.column in edited, own=own.get(row.column.column, ()))
                if row.column is not None
                else field_row(field_label(row.path), "excluded" if row.is_excluded else "not in the plan")
                for row in self._rows
            ]
        )
        if before is not None and before.path:  # a field that is excluded or included may have another place
            paths = [row.path for row in self._rows]
            listing.go_to(paths.index(before.path) if before.path in paths else listing.index or 0)
        listing.border_title = Content(" · ".join(["Fields", *self._fields_keys(listing)]))

    def _rows_of(self, table: TableView) -> list[Row]:
        """Its columns; fields that were excluded here among them, where they were; then the other fields without one."""
        assert self.plan is not None
        saved = self.plan.saved.tables[self._place] if self.plan.saved is not None else None
        excluded = saved.ignored if saved is not None else tuple((name,) for name in table.ignored)
        paths = [column.path for column in saved.columns or ()] if saved is not None else []
        if len(paths) != len(table.columns):
            paths = [()] * len(table.columns)
        rows = [Row(column, path) for column, path in zip(table.columns, paths, strict=True)]
        order = self._edits.first_places(self._place)
        for path in sorted(excluded, key=lambda path: order.get(path, len(order))):
            above = [place for place, row in enumerate(rows, 1) if order.get(row.path, len(order)) < order.get(path, 0)]
            at = max(above, default=0) if path in order else len(rows)
            rows.insert(at, Row(path=path, is_excluded=True))
        return rows + [Row(path=each.path) for each in self._offered.others if each.path not in excluded]

    def _fields_keys(self, listing: Listing) -> Iterator[str]:
        """Keys that the footer of a narrow screen has no room for, and which key has the columns that are left out."""
        assert self.plan is not None
        key = self.cockpit.keymap.first
        left_out = ", ".join(listing.left_out)
        is_narrow = self.has_class("-narrow")
        if is_narrow or left_out:
            yield f"{key('plan.details')} details{f', {left_out}' if left_out else ''}"
        if is_narrow and len(self.plan.tables) > 1:
            yield f"{key('plan.following')} {key('plan.previous')} collection"
            yield f"{key('plan.collections')} list"
        if is_narrow:
            yield f"{key('plan.ddl')} SQL"
