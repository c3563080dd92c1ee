"""The History screen: the runs of the target's ledger; report, replay, verification, resume and end of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ValidationError
from rich.cells import cell_len
from textual import on, work
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.config import merged
from engine.errors import MigrationError, UsageError
from engine.protocol import (
    DiscardPreview,
    DiscardRun,
    ListRuns,
    MakeReport,
    Recording,
    Replay,
    RunInfo,
    RunReport,
)
from tui.cockpit.api import CockpitApi
from tui.cockpit.commands import Place, Situation, bindings_of
from tui.cockpit.dialogs.deleting import DeleteDialog
from tui.cockpit.dialogs.exporting import offer_export
from tui.cockpit.dialogs.questions import confirm, error_dialog
from tui.cockpit.dialogs.sheet import Sheet
from tui.cockpit.export import report_of
from tui.cockpit.logs import logs_of
from tui.cockpit.screens.base import CockpitScreen
from tui.cockpit.signs import MUTED, Sign, sign_of
from tui.cockpit.widgets.comparison import comparison_text
from tui.cockpit.widgets.filter import FilterField, has
from tui.cockpit.widgets.listing import Lines, ListColumn, Listing
from tui.cockpit.widgets.report import headline, tables
from tui.words.follow import LEFT_BLOCKED
from tui.words.format import NO_NUMBER, compact, counted, duration, number
from tui.words.knobs import size_words
from tui.words.replaced import replaced_mark, replaced_words
from tui.words.run_status import (
    RETRIED_SINCE,
    collections_words,
    goes_on,
    is_interrupted,
    overall_rate,
    rates_words,
    times_words,
)
from tui.words.safe import safe

_REPORT_WIDTH = 112
"""Cells of a report's tables, at most."""
_LISTED = 8
"""Collections that are named below the list; the report has all."""
_AROUND = 14
"""Cells that a dialog leaves beside its text."""
_OUTCOME = 30
"""Cells of an outcome in the list."""
_COLUMNS = (
    ListColumn("when", 11),
    ListColumn("run", 18, on_narrow=False),
    ListColumn("collections"),
    ListColumn("mode", 7, on_narrow=False),
    ListColumn("rows", 12, is_right=True, gives_room=True),
    ListColumn("time", 7, is_right=True, gives_room=True, on_narrow=False),
    ListColumn("rows/s", 6, is_right=True),
    ListColumn("outcome", _OUTCOME, gives_room=True),
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
        yield Listing(_COLUMNS, id="runs", is_fitted=True)
        yield Static(id="run-detail", markup=False)

    def on_mount(self) -> None:
        """The title."""
        self.query_one("#runs").border_title = Content("Runs")

    def shown(self) -> None:
        """Read the ledger."""
        self.action_again()

    def show_situation(self) -> None:
        """Whether the run under the cursor can be resumed depends on it."""
        super().show_situation()
        if self.runs and not self._is_busy:
            self._say(self._detail())

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
            now, has_result=run is not None, is_chosen_free=is_free, can_resume_chosen=can_resume, is_busy=self._is_busy,
            has_rejects=run is not None and run.rejected > 0,
        )  # fmt: skip

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
        further = self._resume_words(run) or self._compare_words(run)
        sign = sign_of(run)
        return Content("\n").join(
            [
                Content.assemble(
                    ("run ", MUTED),
                    safe(run.run_id, 40),
                    (f"   mode {safe(run.mode, 20)}   ", MUTED),
                    (str(sign), sign.colour),
                ),
                Content(f"{safe(run.source, 100)} → {safe(run.target, 100)}"),
                Content(safe(collections_words(run.collections, _LISTED), 400) + self._rest_words(run)),
                Content(
                    f"{number(run.read)} read = {number(run.written)} written + {number(run.rejected)} rejected"
                    f"{' in the copy' if run.has_counts_of_the_copy else ''}"
                ),
                Content(f"{times_words(run)} · {rates_words(overall_rate(run), run.rows_per_s_copying)}"),
                *[Content.styled(f"! {words}", "$warning") for words in [replaced_words(run.replaced_since)] if words],
                Content.styled(further, MUTED),
                *[
                    Content.styled(f"! {LEFT_BLOCKED}", "$warning")
                    for _ in range(run.writes_blocked and not goes_on(run))
                ],
            ]
        )

    def _rest_words(self, run: RunInfo) -> str:
        """The key that shows collections which have no room here."""
        is_all = len(run.collections) <= _LISTED
        return "" if is_all else f" · {self.cockpit.keymap.first('history.open')}: all of them"

    def _compare_words(self, run: RunInfo) -> str:
        """Why a run that was verified has only counts that match, and the keys that compare it again."""
        verify, full = self.cockpit.keymap.first("history.verify"), self.cockpit.keymap.first("verify.full")
        return f"{RETRIED_SINCE} {verify}, {full}: compare again" if run.verified_before_retry else ""

    def _resume_words(self, run: RunInfo) -> str:
        """How to resume the run under the cursor, or why it cannot be done here; empty when there is nothing left to do."""
        now, keymap = self.cockpit.situation, self.cockpit.keymap
        if not now.can_resume_chosen:
            return ""
        if not now.is_free:
            return "It can be resumed when the run that is in progress is over."
        if not now.knows_servers:
            setup, run_id = keymap.first("app.setup"), safe(run.run_id, 40)
            return f"To resume it, enter both servers on Setup ({setup}), or use `mongopg-tui run --resume {run_id}`."
        return f"{keymap.first('history.resume')}: resume"

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
            names = Content(
                f"{counted(len(run.collections), 'collection')}: {safe(', '.join(run.collections), 20_000)}"
            )
            named = [] if len(run.collections) <= len(end.tables) else [names]  # it failed before they had tables
            head = [headline(end, sign_of(run), run=run, events=recording.events), *named]
            logs = await asyncio.to_thread(logs_of, run.run_id, self._log_folder)
            tail = (
                [Content("\n").join(Content.styled(f"Log: {safe(str(log), 300)}", MUTED) for log in logs)]
                if logs
                else []
            )

            def text(width: int) -> Content:
                return Content("\n\n").join([*head, *tables(end, min(_REPORT_WIDTH, width - _AROUND)), *tail])

            verify, full, export = map(self.cockpit.keymap.first, ("history.verify", "verify.full", "history.export"))
            ways = {verify: ("verify", "counts"), full: ("compare in full", "full"), export: ("export", "export")}
            self.app.push_screen(Sheet("Report", text, "the report", self.copy_key, ways), led)

        def led(answer: str | None) -> None:
            if answer == "export":
                self._export(run)
            elif answer is not None:
                self.app.run_worker(
                    self.cockpit.navigation.show_verification(run.run_id, compares=answer == "full"), group="lead"
                )

        self._ask("reading the report…", show)

    @property
    def _log_folder(self) -> Path | None:
        """Where the engines of this machine keep their logs, as far as one of them is known."""
        session = self.cockpit.runs.session or self.cockpit.answers.idle_engine
        return session.log_path().parent if session is not None else None

    def action_export(self) -> None:
        """Ask for a file's name, and write the run's report."""
        if self.chosen is not None:
            self._export(self.chosen)

    def _export(self, run: RunInfo) -> None:
        async def offer() -> None:
            recording = await self.cockpit.answers.ask(Recording, Replay(run=run.run_id, max_frames=1))
            end = recording.frames[-1]
            if not end.tables:
                raise UsageError("This run came to no tables: there is nothing to export.")
            offer_export(
                self.app,
                report_of(end, goes_on=goes_on(run)),
                lambda: self.cockpit.answers.ask(RunReport, MakeReport(run=run.run_id)),
            )

        self._ask("reading the run…", offer)

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

    async def action_rejects(self) -> None:
        """Show its rejects."""
        if self.chosen is not None:
            await self.cockpit.navigation.show_rejects(self.chosen.run_id)

    def action_resume(self) -> None:
        """Ask, then go on with it."""
        run = self.chosen
        if run is None:
            return

        async def offer() -> None:
            recording = await self.cockpit.answers.ask(Recording, Replay(run=run.run_id, max_frames=1))
            try:
                settings = merged(self.cockpit.orders.servers, recording.settings)
            except ValidationError as error:
                raise UsageError("This run was made by another version with settings that are unknown here.") from error

            takes_over = is_interrupted(run)
            done = "copied" if run.has_counts_of_the_copy else "committed"
            stay = "stays" if run.written == 1 else "stay"

            def answered(answer: str | None) -> None:
                if answer == "go":
                    self.cockpit.orders.resume_run(recording.frames[-1], settings, takes_over=takes_over)

            effects = [
                f"Resume run {safe(run.run_id, 40)}, as it was planned then:",
                f"from  {safe(run.source, 80)}",
                f"to    {safe(run.target, 80)}",
                f"with  {size_words(settings.run.size)}, {counted(settings.run.page_size, 'document')} a page",
                "",
                f"{counted(run.written, 'row is', 'rows are')} {done} and {stay}; nothing of that is read again.",
            ]
            if takes_over:
                host = f" on {safe(run.engine_host, 80)}" if run.engine_host else ""
                effects.append(
                    f"Its engine{host} wrote no end. What is left of it is ended; when it comes back, it ends."
                )
            self.app.push_screen(confirm("Resume this run?", effects, go="Resume"), answered)

        self._ask("reading the run…", offer)

    def action_delete(self) -> None:
        """Ask, with what would go, then delete the run."""
        run = self.chosen
        if run is None:
            return

        def answered(answer: str | None) -> None:
            if answer in {"delete", "drop"}:
                self._ask("deleting…", lambda: self._delete(run, drop_tables=answer == "drop"))

        async def offer() -> None:
            preview = await self.cockpit.answers.ask(DiscardPreview, DiscardRun(run=run.run_id, preview=True))
            self.app.push_screen(DeleteDialog(preview, sign_of(run)), answered)

        self._ask("looking what goes with the run…", offer)

    async def _delete(self, run: RunInfo, *, drop_tables: bool) -> None:
        command = DiscardRun(run=run.run_id, drop_tables=drop_tables, force=True)
        try:
            done = await self.cockpit.answers.ask(Discarded, command)
        except MigrationError as error:
            self.app.push_screen(error_dialog("The run was not deleted", error.message))
        else:
            self.cockpit.runs.deleted(done.run_id)
            dropped = f" Dropped: {', '.join(done.dropped)}." if done.dropped else ""
            self.app.notify(safe(f"Run {done.run_id} is deleted.{dropped}", 600), markup=False)
        await self._read()


class Discarded(BaseModel):
    """The reply to `DiscardRun`."""

    run_id: str
    dropped: list[str]


def _words_of(run: RunInfo) -> str:
    """What a filter looks in: what the screen shows of a run."""
    return " ".join([run.run_id, run.source, run.target, run.mode, sign_of(run).word, run.state, *run.collections])


def _row(run: RunInfo) -> list[str | Content]:
    sign = sign_of(run)
    return [
        time.strftime("%m-%d %H:%M", time.localtime(run.started_unix)),
        safe(run.run_id, 40),
        safe(collections_words(run.collections), 400),
        safe(run.mode, 20),
        number(run.written) + (" copied" if run.has_counts_of_the_copy else ""),
        duration(run.seconds),
        compact(speed) if (speed := overall_rate(run)) is not None else NO_NUMBER,
        Content.styled(_outcome(run, sign), sign.colour),
    ]


def _outcome(run: RunInfo, sign: Sign) -> str:
    """The sign with the count of rejects, which stays where there is no room for all that became of a run."""
    rejected = f", {number(run.rejected)} rejected" if run.rejected else ""
    if rejected not in sign.word:
        return f"{sign}{rejected}"
    mark = replaced_mark(run.replaced_since)
    if rejected and mark and cell_len(str(sign)) > _OUTCOME:  # how it was verified stands below the list
        return f"{sign.symbol} {mark.removesuffix(' since')}{rejected}"
    return str(sign)
