"""The Verify screen: the counts of both sides of a run, table by table, and the differences down to the field."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from textual import on, work
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.errors import MigrationError
from engine.protocol import (
    Cancel,
    DifferenceView,
    Recording,
    Replay,
    RetryRejects,
    RetryReport,
    TableCounts,
    Verification,
    Verify,
    VerifyReport,
)
from tui.cockpit.api import CockpitApi
from tui.cockpit.commands import Place, Situation, bindings_of
from tui.cockpit.dialogs.exporting import offer_export
from tui.cockpit.dialogs.questions import confirm, error_dialog
from tui.cockpit.dialogs.sheet import Sheet
from tui.cockpit.export import report_of
from tui.cockpit.screens.base import CockpitScreen
from tui.cockpit.session import EngineSession
from tui.cockpit.signs import MUTED
from tui.cockpit.widgets.bars import bar
from tui.cockpit.widgets.listing import Cell, ListColumn, Listing
from tui.words.format import NO_NUMBER, duration, number, percent, share
from tui.words.rejects import retry_text
from tui.words.run_status import goes_on
from tui.words.safe import safe, safe_block

Level = Literal["counts", "full"]
Doing = Literal["", "counts", "full", "retry"]

TICK_S = 0.25
_COLUMNS = (
    ListColumn("table"),
    ListColumn("source", 12, is_right=True),
    ListColumn("read", 12, is_right=True, on_narrow=False),
    ListColumn("written", 12, is_right=True),
    ListColumn("rejected", 9, is_right=True, on_narrow=False),
    ListColumn("target", 12, is_right=True),
    ListColumn("result", 14),
)
_BAR = 30
_RESULTS = {Verification.VERIFIED: ("✓ verified", "$success"), Verification.MISMATCH: ("! mismatch", "$error")}


class VerifyScreen(CockpitScreen):
    """Shows what was counted at a run's end until it is verified again."""

    PLACE = Place.VERIFY
    BINDINGS = bindings_of(Place.VERIFY)
    AUTO_FOCUS = "Lines"

    def __init__(self, cockpit: CockpitApi) -> None:
        super().__init__(cockpit)
        self.run_id = ""
        """The run that is shown; empty is the newest."""
        self.report: VerifyReport | None = None
        self.is_recorded = False
        """The report is of the counts at the run's end; nothing was verified since."""
        self._goes_on = False
        """The run was not over when that report was made."""
        self._doing: Doing = ""
        """What the screen waits for; nothing else is begun meanwhile."""
        self._began_at = 0.0
        self._asked: EngineSession | None = None
        """The engine that verifies."""
        self._n_retried = 0
        """Rejected documents that are being written again."""

    def body(self) -> Iterable[Widget]:
        """What is verified, the tables, and what is wrong with the one under the cursor."""
        yield Static(id="verify-head", markup=False)
        yield Listing(_COLUMNS, id="counts")
        with VerticalScroll(id="differences"):
            yield Static(id="verify-detail", markup=False)

    def on_mount(self) -> None:
        """Titles, and the clock of the progress."""
        self.query_one("#counts").border_title = Content("Both sides")
        self.query_one("#differences").border_title = Content("Differences")
        self.set_interval(TICK_S, self._show_progress)

    def shown(self) -> None:
        """The newest run may be another now; what was verified here stays until then."""
        run = self.cockpit.runs.session
        is_newer = run is not None and self.report is not None and run.snapshot.run_id != self.report.run_id
        if not self.is_busy and (self.report is None or (not self.run_id and (self.is_recorded or is_newer))):
            self.choose(self.run_id)

    @property
    def is_busy(self) -> bool:
        """A verification is on, or rejected documents are being written again."""
        return bool(self._doing)

    def adjusted(self, now: Situation) -> Situation:
        """Whether there is a report, and something is on."""
        return replace(now, is_busy=self.is_busy, has_result=self.report is not None)

    def choose(self, run_id: str) -> None:
        """Show another run of the ledger, the newest when it is empty; not while documents are being written."""
        if self._doing == "retry":
            self.cockpit.say_problem("Rejected documents are being written again: another run can be shown after that.")
            return
        self.run_id = run_id
        if self._asked is not None:
            self._break_off(self._asked)
        self._recall()

    def action_newest(self) -> None:
        """The newest run; breaks a verification off first."""
        if self._asked is not None:
            self._break_off(self._asked)
        else:
            self.choose("")

    def action_counts(self) -> None:
        """Count both sides."""
        self._verify("counts")

    def action_full(self) -> None:
        """Compare every document."""
        self._verify("full")

    def action_export(self) -> None:
        """Ask for a file's name, and write the report."""
        if self.report is not None:
            offer_export(self.app, self.report)

    def to_copy(self) -> tuple[str, str]:
        """The verdict, and the differences of the table under the cursor."""
        parts = [str(self.query_one(name, Static).content) for name in ("#verify-head", "#verify-detail")]
        return "\n\n".join(filter(None, parts)), "the result"

    def action_retry(self) -> None:
        """Ask, then have the rejected documents written again."""
        report = self.report
        if report is None:
            return
        rejected = sum(table.rejected for table in report.tables)
        if not rejected:
            self.cockpit.say_problem("This run has no rejected documents.")
            return

        def answered(answer: str | None) -> None:
            if answer == "go" and not self.is_busy:
                self._begin("retry")
                self._n_retried = rejected
                self.cockpit.leaving.would_cut_off = (
                    "Rejected documents are being written again. Those written so far stay; the rest stay rejects."
                )
                self._retry(report.run_id)

        settings = self.cockpit.keymap.first("setup.settings")
        effects = [
            f"Run {safe(report.run_id, 40)} has {number(rejected)} rejected documents.",
            f"Each is converted again, with the run's columns and today's policies ({settings} on Setup), "
            "and written into the table as it is. Row and reject change places in one transaction.",
        ]
        self.app.push_screen(confirm("Write rejected documents again?", effects, go="Retry"), answered)

    @work(group="retry")
    async def _retry(self, run_id: str) -> None:
        """In an engine of its own: one that is there has the policies of when it was started."""
        now, own, report = self.cockpit.situation, None, None
        try:
            settings = self.cockpit.choices.edited
            if now.has_source and now.has_target:
                own = await self.cockpit.answers.engine_for(settings)
            session = own or await self.cockpit.answers.engine()
            report = await session.client.ask(RetryReport, RetryRejects(run=run_id))
        except MigrationError as error:
            self.app.push_screen(error_dialog("The documents were not written", error.message))
        finally:
            if own is not None:
                await own.close()
            self._doing = self.cockpit.leaving.would_cut_off = ""
        if report is not None:
            self.app.push_screen(
                Sheet(
                    "Rejected documents",
                    Content(safe_block(retry_text(report), 4_000)),
                    "the outcome",
                    self.copy_key,
                )
            )
            self._recall()
        elif self.report is not None:
            self._show(self.report, is_recorded=self.is_recorded)

    # --- asking ---

    def _begin(self, doing: Doing) -> None:
        """Say so at once: an engine may still have to be started for it."""
        self._doing, self._began_at = doing, time.monotonic()
        self.cockpit.situation_changed()
        self._show_progress()

    def _verify(self, level: Level) -> None:
        self._begin(level)
        self._ask(level)

    @work(group="verify", exclusive=True)
    async def _recall(self) -> None:
        """What the run's own end counted."""
        try:
            recording = await self.cockpit.answers.ask(Recording, Replay(run=self.run_id, max_frames=1))
        except MigrationError as error:
            self._say(error)
            return
        end = recording.frames[-1]
        self._goes_on = goes_on(self.cockpit.answers.as_known(recording.run))
        self._show(report_of(end, goes_on=self._goes_on), is_recorded=True)

    @work(group="verify", exclusive=True)
    async def _ask(self, level: Level) -> None:
        report, problem = self.report, None
        try:
            self._asked = await self.cockpit.answers.engine()
            report = await self._asked.client.ask(VerifyReport, Verify(run=self.run_id, level=level))
        except MigrationError as error:
            problem = error
        finally:
            self._asked, self._doing = None, ""
        if report is not None:
            self._show(report, is_recorded=self.is_recorded and report is self.report, problem=problem)
        elif problem is not None:
            self._say(problem)
        self.cockpit.situation_changed()

    @work(group="break off")
    async def _break_off(self, asked: EngineSession) -> None:
        try:
            await asked.client.call(Cancel())
        except MigrationError as error:
            self.cockpit.say_problem(error.message)

    # --- drawing ---

    def _say(self, error: MigrationError) -> None:
        self.query_one("#verify-head", Static).update(Content.styled(f"! {safe(error.message, 600)}", "$error"))

    def _show_progress(self) -> None:
        if not self._doing:
            return
        since = duration(time.monotonic() - self._began_at)
        comparing = self._asked.client.snapshot.comparing if self._asked is not None else None
        if comparing is None:
            doing = {
                "counts": "counting both sides",
                "full": "starting to compare",
                "retry": f"writing {number(self._n_retried)} rejected documents again",
            }[self._doing]
            words = Content(f"◐ {doing}… {since}")
        else:
            fraction = share(comparing.checked, comparing.total)
            found = comparing.different + comparing.missing
            words = Content("  ").join(
                [
                    Content(f"◐ comparing {since}"),
                    bar(fraction, _BAR, "$primary"),
                    Content(f"{percent(fraction)}  {number(comparing.checked)} / {number(comparing.total)}"),
                    Content(f"{number(comparing.rows_per_s)} rows/s"),
                    Content.styled(f"! {number(found)} differ", "$error") if found else Content("no difference so far"),
                ]
            )
        note = Content.styled("esc breaks it off" if self._doing == "full" else "", MUTED)
        self.query_one("#verify-head", Static).update(Content("\n").join([words, note]))

    def _show(self, report: VerifyReport, *, is_recorded: bool, problem: MigrationError | None = None) -> None:
        self.report, self.is_recorded = report, is_recorded
        words, colour = _RESULTS.get(report.result, ("· not verified", MUTED))
        how = f"level {safe(report.level, 20)}, now"
        if is_recorded:
            how = "the run goes on" if self._goes_on else "as counted at the run's end"
        lines = [
            Content.assemble((f"{words}  ", f"bold {colour}"), f"run {safe(report.run_id, 40)}", (f"  {how}", MUTED)),
            Content.styled(f"! {safe(problem.message, 600)}", "$error") if problem else _identity(report),
        ]
        self.query_one("#verify-head", Static).update(Content("\n").join(lines))
        self.query_one("#counts", Listing).fill([_row(table) for table in report.tables])
        self._show_detail()
        self.cockpit.situation_changed()

    @on(Listing.Moved)
    def _show_detail(self) -> None:
        index = self.query_one("#counts", Listing).index
        if self.report is None or index is None or index >= len(self.report.tables):
            self.query_one("#verify-detail", Static).update(Content.styled("no tables", MUTED))
            return
        table = self.report.tables[index]
        found = [each for each in self.report.differences if each.table == table.table]
        self.query_one("#verify-detail", Static).update(_detail(self.report, table, found))


def _identity(report: VerifyReport) -> Content:
    read = sum(table.read for table in report.tables)
    written = sum(table.written for table in report.tables)
    rejected = sum(table.rejected for table in report.tables)
    sign = "=" if read == written + rejected else "≠"
    return Content(f"{number(read)} read {sign} {number(written)} written + {number(rejected)} rejected")


def _row(table: TableCounts) -> list[Cell]:
    counts = [table.source, table.read, table.written, table.rejected, table.target]
    is_compared = table.source >= 0 and table.target >= 0
    result, colour = ("✓ agrees", "$success") if table.ok else ("! differs", "$error")
    if not is_compared:
        result, colour = "· not compared", MUTED
    name = Content(f"{safe(table.namespace, 80)} → {safe(table.table, 80)}")
    return [name, *(number(count) if count >= 0 else NO_NUMBER for count in counts), Content.styled(result, colour)]


def _detail(report: VerifyReport, table: TableCounts, differences: list[DifferenceView]) -> Content:
    lines = [Content.styled(safe(f"{table.namespace} → {table.table}", 200), "bold")]
    if table.message:
        lines.append(Content.styled(safe(table.message, 600), "" if table.ok else "$error"))
    if report.level == "full":
        lines.append(
            Content(
                f"{number(table.equal)} equal, {number(table.different)} different, {number(table.missing)} missing, "
                f"{number(table.extra)} extra, {number(table.kept)} kept as rejects"
            )
        )
        if table.source_changed:
            lines.append(Content(f"{number(table.source_changed)} of them where the source has changed since."))
    lines += [_difference(each) for each in differences]
    lines += [
        Content.styled(
            f"compared by value: {safe(each.field, 60)}, {number(each.count)} values: {safe(each.reason, 80)}", MUTED
        )
        for each in report.less_strict
        if each.table == table.table
    ]
    if len(lines) == 1:
        lines.append(Content.styled("Nothing differs.", MUTED))
    return Content("\n").join(lines)


def _difference(each: DifferenceView) -> Content:
    """`different  _id 64f1a9…  email  source "A@x.io"  target "a@x.io"`."""
    parts = [(f"! {safe(each.kind, 12):<10}", "$error"), (f" _id {safe(each.id, 60)}", "bold")]
    if each.field:
        parts.append((f"  {safe(each.field, 60)}", ""))
    if each.kind == "different":
        parts += [("  source ", MUTED), (_value(each.source), ""), ("  target ", MUTED), (_value(each.target), "")]
    if each.reason:
        parts.append((f"  {safe(each.reason, 80)}", MUTED))
    if each.source_changed:
        parts.append(("  the source changed since", MUTED))
    return Content.assemble(*parts)


def _value(value: str | None) -> str:
    return "NULL" if value is None else safe(value, 80)
