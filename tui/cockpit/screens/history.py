"""The History screen: the runs of the target's ledger; report, replay, verification, resume and end of each."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from pydantic import BaseModel, ValidationError
from textual import on, work
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.config import merged
from engine.errors import MigrationError, UsageError
from engine.protocol import DiscardRun, ListRuns, Recording, Replay, RunInfo, Start
from tui.cockpit.api import CockpitApi
from tui.cockpit.commands import Place, Situation, bindings_of
from tui.cockpit.dialogs.questions import Answer, Question, confirm, error_dialog
from tui.cockpit.dialogs.sheet import Sheet
from tui.cockpit.screens.base import CockpitScreen
from tui.cockpit.signs import MUTED, sign_of
from tui.cockpit.widgets.comparison import comparison_text
from tui.cockpit.widgets.filter import FilterField, has
from tui.cockpit.widgets.listing import Lines, ListColumn, Listing
from tui.cockpit.widgets.report import headline, tables
from tui.words.format import NO_NUMBER, compact, duration, number
from tui.words.run_status import goes_on, rows_per_s, run_seconds
from tui.words.safe import safe
from tui.words.uri import place

_REPORT_WIDTH = 68
_COLUMNS = (
    ListColumn("when", 16),
    ListColumn("source → target", on_narrow=False),
    ListColumn("rows", 13, is_right=True),
    ListColumn("time", 8, is_right=True),
    ListColumn("rows/s", 8, is_right=True),
    ListColumn("rejects", 9, is_right=True),
    ListColumn("outcome", 13),
)


class ListedRuns(BaseModel):
    """The reply to `ListRuns`."""

    runs: list[RunInfo]


class HistoryScreen(CockpitScreen):
    """Reads the ledger each time that it is shown."""

    PLACE = Place.HISTORY
    BINDINGS = bindings_of(Place.HISTORY)
    AUTO_FOCUS = "Lines"

    def __init__(self, cockpit: CockpitApi) -> None:
        super().__init__(cockpit)
        self.runs: list[RunInfo] = []
        self._sought = ""
        self._marked: RunInfo | None = None
        """To be compared with another."""
        self._is_busy = False

    def body(self) -> Iterable[Widget]:
        """The runs, their filter, and a few lines about the one under the cursor."""
        yield FilterField(Lines)
        yield Listing(_COLUMNS, id="runs")
        yield Static(id="run-detail", markup=False)

    def on_mount(self) -> None:
        """The title."""
        self.query_one("#runs").border_title = Content("Runs")

    def shown(self) -> None:
        """Read the ledger."""
        self.action_again()

    @property
    def chosen(self) -> RunInfo | None:
        """The run under the cursor."""
        index = self.query_one("#runs", Listing).index
        shown = self._shown
        return shown[index] if index is not None and index < len(shown) else None

    @property
    def _shown(self) -> list[RunInfo]:
        """The runs that the filter leaves."""
        return [run for run in self.runs if has(_words_of(run), self._sought)]

    def adjusted(self, now: Situation) -> Situation:
        """What can be done with the run under the cursor."""
        run = self.chosen
        is_free = run is not None and not goes_on(run)
        can_resume = run is not None and run.resumable and is_free
        return replace(
            now, has_result=run is not None, is_chosen_free=is_free, can_resume_chosen=can_resume, is_busy=self._is_busy
        )

    # --- the ledger ---

    def action_again(self) -> None:
        """Read the ledger."""
        self._ask("reading the ledger…", self._read)

    async def _read(self) -> None:
        self.runs = list(
            map(self.cockpit.answers.as_known, (await self.cockpit.answers.ask(ListedRuns, ListRuns())).runs)
        )
        self._fill()

    def _fill(self) -> None:
        self.query_one("#runs", Listing).fill([_row(run) for run in self._shown])

    def action_filter(self) -> None:
        """Only some of the runs."""
        self.query_one(FilterField).open()

    @on(FilterField.Typed)
    def _filtered(self, event: FilterField.Typed) -> None:
        self._sought = event.text
        self._fill()
        self._moved()

    @work(group="ledger", exclusive=True)
    async def _ask(self, words: str, do: Callable[[], Awaitable[None]]) -> None:
        """Do something that asks an engine; a refusal is said under the list."""
        problem = Content.empty()
        self._is_busy = True
        self._say(Content.styled(f"◌ {words}", MUTED))
        try:
            await do()
        except MigrationError as error:
            problem = Content.styled(f"! {safe(error.message, 600)}", "$error")
        finally:
            self._is_busy = False
        self._say(problem or self._detail())
        self.cockpit.situation_changed()

    def _say(self, words: Content) -> None:
        self.query_one("#run-detail", Static).update(words)

    def _detail(self) -> Content:
        run = self.chosen
        if run is None:
            nothing = (
                f"No run has {self._sought!r} in it." if self.runs else "The ledger of the target has no runs yet."
            )
            return Content.styled(safe(nothing, 200), MUTED)
        collections = ", ".join(run.collections[:8]) + (" …" if len(run.collections) > 8 else "")
        resume = self.cockpit.keymap.first("history.resume")
        further = f"{resume} goes on from what is committed." if self.cockpit.situation.can_resume_chosen else ""
        return Content("\n").join(
            [
                Content.assemble(("run ", MUTED), safe(run.run_id, 40), (f"   mode {safe(run.mode, 20)}", MUTED)),
                Content(f"{safe(run.source, 100)} → {safe(run.target, 100)}"),
                Content(safe(collections, 400)),
                Content(f"{number(run.read)} read = {number(run.written)} written + {number(run.rejected)} rejected"),
                Content.styled(further, MUTED),
            ]
        )

    def to_copy(self) -> tuple[str, str]:
        """What is said of the run under the cursor."""
        return str(self.query_one("#run-detail", Static).content), "the run"

    @on(Listing.Moved)
    def _moved(self) -> None:
        if not self._is_busy:
            self._say(self._detail())
        self.refresh_bindings()

    # --- the run under the cursor ---

    def action_open(self) -> None:
        """Show its report."""
        run = self.chosen
        if run is None:
            return

        async def show() -> None:
            recording = await self.cockpit.answers.ask(Recording, Replay(run=run.run_id, max_frames=1))
            end = recording.frames[-1]
            blocks = [headline(end, sign_of(run)), *tables(end, _REPORT_WIDTH)]
            self.app.push_screen(
                Question("Report", Content("\n\n").join(blocks), [Answer("back", "Close", "primary")], default="back")
            )

        self._ask("reading the report…", show)

    def action_compare(self) -> None:
        """Remember the run; of another one, show both side by side."""
        run, marked = self.chosen, self._marked
        if run is None:
            return
        if marked is None or marked.run_id == run.run_id:
            self._marked = run
            again = self.cockpit.keymap.first("history.compare")
            self.app.notify(f"{again} on another run compares it with {safe(run.run_id, 40)}.", markup=False)
            return
        self._marked = None

        async def compare() -> None:
            one, other = [
                await self.cockpit.answers.ask(Recording, Replay(run=each.run_id, max_frames=1))
                for each in (marked, run)
            ]
            self.app.push_screen(Sheet("Two runs", comparison_text(one, other), "the comparison", self.copy_key))

        self._ask("reading both runs…", compare)

    def action_replay(self) -> None:
        """Play it again on the Run screen."""
        run = self.chosen
        if run is None:
            return

        async def play() -> None:
            await self.cockpit.navigation.play(await self.cockpit.answers.ask(Recording, Replay(run=run.run_id)))

        self._ask("reading the recorded events…", play)

    async def action_verify(self) -> None:
        """Show it on the Verify screen."""
        if self.chosen is not None:
            await self.cockpit.navigation.show_verification(self.chosen.run_id)

    def action_resume(self) -> None:
        """Ask, then go on with it."""
        run = self.chosen
        if run is None:
            return

        async def offer() -> None:
            recording = await self.cockpit.answers.ask(Recording, Replay(run=run.run_id, max_frames=1))
            try:
                settings = merged(self.cockpit.choices.edited, recording.settings)
            except ValidationError as error:
                raise UsageError("This run was made by another version with settings that are unknown here.") from error

            def answered(answer: str | None) -> None:
                if answer == "go":
                    self.cockpit.orders.start(settings, Start(resume=run.run_id, plan=recording.plan))

            effects = [
                f"Go on with run {safe(run.run_id, 40)}, as it was planned then:",
                f"from  {safe(run.source, 80)}",
                f"to    {safe(run.target, 80)}",
                f"with  {settings.run.cluster_size} workers, {number(settings.run.page_size)} documents a page",
                "",
                f"{number(run.written)} rows are committed and stay; they are not read again.",
            ]
            self.app.push_screen(confirm("Resume this run?", effects, go="Resume"), answered)

        self._ask("reading the run…", offer)

    def action_forget(self) -> None:
        """Ask how, then drop it from the ledger."""
        run = self.chosen
        if run is None:
            return

        def answered(answer: str | None) -> None:
            if answer in {"forget", "drop"}:
                self._ask("forgetting…", lambda: self._forget(run, drop_tables=answer == "drop"))

        self.app.push_screen(_forget_question(run), answered)

    async def _forget(self, run: RunInfo, *, drop_tables: bool) -> None:
        try:
            await self.cockpit.answers.ask(Discarded, DiscardRun(run=run.run_id, drop_tables=drop_tables))
        except MigrationError as error:
            self.app.push_screen(error_dialog("The run was not forgotten", error.message))
        await self._read()


class Discarded(BaseModel):
    """The reply to `DiscardRun`."""

    run_id: str
    dropped: list[str]


def _forget_question(run: RunInfo) -> Question:
    text = Content(
        f"Run {safe(run.run_id, 40)}: {number(run.written)} rows, {safe(sign_of(run).word)}.\n\n"
        "Forget: its rows in the ledger go, with its rejects and its events; it cannot be resumed, "
        "verified or replayed then. Tables that it filled stay as they are.\n"
        "Forget and drop: also the tables that it made itself are dropped, with their rows."
    )
    answers = [
        Answer("forget", "Forget", "warning"),
        Answer("drop", "Forget and drop tables", "error"),
        Answer("back", "Back", "primary"),
    ]
    return Question("Forget this run?", text, answers, default="back")


def _words_of(run: RunInfo) -> str:
    """What a filter looks in: what the screen shows of a run."""
    return " ".join([run.run_id, run.source, run.target, run.mode, sign_of(run).word, *run.collections])


def _row(run: RunInfo) -> list[str | Content]:
    sign = sign_of(run)
    return [
        time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started_unix)),
        Content.styled(f"{safe(run.source, 80)} → {safe(place(run.target), 80)}", MUTED),
        number(run.written),
        duration(run_seconds(run)),
        compact(speed) if (speed := rows_per_s(run)) is not None else NO_NUMBER,
        Content.styled(number(run.rejected), "$warning") if run.rejected else "0",
        Content.styled(str(sign), sign.colour),
    ]
