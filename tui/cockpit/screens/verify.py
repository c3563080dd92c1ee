"""The Verify screen: the counts of both sides of a run, table by table, and the differences down to the field."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Literal

from textual import on, work
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.errors import MigrationError
from engine.knobs import THROTTLE
from engine.protocol import (
    Cancel,
    ComparingTable,
    ComparingView,
    DifferenceView,
    MakeReport,
    Recording,
    ReplacedTables,
    Replay,
    RunReport,
    TableCounts,
    Verification,
    Verify,
    VerifyReport,
)
from tui.cockpit.api import CockpitApi
from tui.cockpit.commands import Place, Situation, bindings_of
from tui.cockpit.dialogs.exporting import offer_export
from tui.cockpit.dialogs.tune import TuneDialog
from tui.cockpit.export import report_of
from tui.cockpit.screens.base import CockpitScreen
from tui.cockpit.session import EngineSession
from tui.cockpit.signs import MUTED, Sign, verified_sign
from tui.cockpit.widgets.bars import bar
from tui.cockpit.widgets.listing import Cell, ListColumn, Listing
from tui.reports.writing import verification_of
from tui.words.comparisons import Comparison, of_events
from tui.words.format import NO_NUMBER, compact, counted, duration, number, percent, share, time_of_day
from tui.words.knobs import value_text
from tui.words.replaced import replaced_table_words, replaced_words
from tui.words.run_status import goes_on, result_word, verification_words
from tui.words.safe import safe

Level = Literal["counts", "full"]
Doing = Literal["", "counts", "full"]

TICK_S = 0.25
_COLUMNS = (
    ListColumn("collection"),
    ListColumn("table", on_narrow=False),
    ListColumn("source", 12, is_right=True, gives_room=True),
    ListColumn("read", 12, is_right=True, gives_room=True, on_narrow=False),
    ListColumn("written", 12, is_right=True, gives_room=True),
    ListColumn("rejected", 9, is_right=True, gives_room=True, on_narrow=False),
    ListColumn("target", 12, is_right=True, gives_room=True),
    ListColumn("result", 15),
)
_BAR, _LEAST_BAR = 30, 4
"""Cells of the bar, at most and at least."""
_GAP = 2
"""Cells between the parts of the line about a comparison."""


class VerifyScreen(CockpitScreen):
    """Shows what was counted at a run's end until it is verified again."""

    PLACE = Place.VERIFY
    BINDINGS = bindings_of(Place.VERIFY)
    AUTO_FOCUS = "Lines"

    def __init__(self, cockpit: CockpitApi) -> None:
        super().__init__(cockpit)
        self.run_id = ""
        """The run that is shown; empty is the newest."""
        self._beside = ""
        """The run that was on the Run screen when that was chosen."""
        self.report: VerifyReport | None = None
        self.is_recorded = False
        """The report is of the counts at the run's end; nothing was verified since."""
        self._goes_on = False
        """The run was not over when that report was made."""
        self._excluded: dict[str, list[str]] = {}
        """Fields of the run that are excluded, by table."""
        self._compared = Comparison(None)
        """What the ledger has of comparisons after the run."""
        self._doing: Doing = ""
        """What the screen waits for; nothing else is begun meanwhile."""
        self._began_at = 0.0
        self._asked: EngineSession | None = None
        """The engine that verifies."""
        self._tune = TuneDialog(cockpit.say_problem, "comparison")
        self._results: list[Content] = []
        """How far each table was with the comparison when it was drawn last."""

    def body(self) -> Iterable[Widget]:
        """What is verified, the tables, and what is wrong with the one under the cursor."""
        yield Static(id="verify-head", markup=False)
        yield Listing(_COLUMNS, id="counts", is_fitted=True)
        with VerticalScroll(id="differences"):
            yield Static(id="verify-detail", markup=False)

    def on_mount(self) -> None:
        """Titles, and the clock of the progress."""
        self.query_one("#counts").border_title = Content("Both sides")
        self.query_one("#differences").border_title = Content("Differences")
        self.set_interval(TICK_S, self._show_progress)

    def shown(self) -> None:
        """The newest run may be another now; what was verified here stays until then."""
        is_newer = self.report is not None and self._run_on not in ("", self.report.run_id)
        if self.is_busy:
            return
        if self._run_on != self._beside:
            self.run_id = ""  # another run has begun since it was chosen, and is what is looked for
        if self.report is None or self.is_recorded or (not self.run_id and is_newer):
            self.choose(self.run_id)
        else:
            self._look_again(self.report)

    @property
    def _run_on(self) -> str:
        """The id of the run on the Run screen; empty where there is none."""
        session = self.cockpit.runs.session
        return session.snapshot.run_id if session is not None else ""

    @property
    def is_busy(self) -> bool:
        """A verification is on."""
        return bool(self._doing)

    def adjusted(self, now: Situation) -> Situation:
        """Whether there is a report, and something is on."""
        has_rejects = self.report is not None and any(table.rejected for table in self.report.tables)
        return replace(
            now, is_busy=self.is_busy, is_comparing=self._doing == "full", has_result=self.report is not None,
            has_rejects=has_rejects,
        )  # fmt: skip

    def choose(self, run_id: str) -> None:
        """Show another run of the ledger, the newest when it is empty."""
        self.run_id, self._beside = run_id, self._run_on
        if self._asked is not None:
            self._break_off(self._asked)
        self._recall()

    def action_newest(self) -> None:
        """The newest run."""
        self.choose("")

    def action_cancel(self) -> None:
        """Cancel the comparison."""
        if self._asked is not None:
            self._break_off(self._asked)

    def action_tune(self) -> None:
        """Exact values of the comparison's knobs."""
        if self._asked is not None and self._asked.is_comparing:
            self._tune.session = self._asked
            self._tune.open(self.app)
        else:
            self.cockpit.say_problem("The comparison is only starting: its workers can be tuned in a moment.")

    def action_counts(self) -> None:
        """Count both sides."""
        self._verify("counts")

    def action_full(self) -> None:
        """Compare every document."""
        self._verify("full")

    def action_export(self) -> None:
        """Ask for a file's name, and write the report."""
        if self.report is not None:
            run_id = self.report.run_id
            offer_export(
                self.app,
                self.report,
                lambda: self.cockpit.answers.ask(RunReport, MakeReport(run=run_id)),
                is_recorded=self.is_recorded,
            )

    def to_copy(self) -> tuple[str, str]:
        """The verdict, and the differences of the table under the cursor."""
        parts = [str(self.query_one(name, Static).content) for name in ("#verify-head", "#verify-detail")]
        return "\n\n".join(filter(None, parts)), "the result"

    async def action_rejects(self) -> None:
        """The rejects of the run that is shown."""
        if self.report is not None:
            await self.cockpit.navigation.show_rejects(self.report.run_id)

    # --- asking ---

    def _begin(self, doing: Doing) -> None:
        """Say so at once: an engine may still have to be started for it."""
        self._doing, self._began_at = doing, time.monotonic()
        self.cockpit.situation_changed()
        self._show_progress()

    def _verify(self, level: Level) -> None:
        self._begin(level)
        self._ask(level)

    @work(group="recall", exclusive=True)
    async def _recall(self) -> None:
        """What the run's own end counted; a comparison that is begun meanwhile has the line above the tables."""
        try:
            recording, found = await self._recorded(self.run_id)
        except MigrationError as error:
            if not self._doing:
                self._say(error)
            return
        self._goes_on = goes_on(self.cockpit.answers.as_known(recording.run))
        self._compared, self._excluded = of_events(recording.events), recording.excluded
        self._show(found, is_recorded=True)

    async def _recorded(self, run_id: str) -> tuple[Recording, VerifyReport]:
        """A run, and what the ledger has of its counts or its last comparison."""
        recording = await self.cockpit.answers.ask(Recording, Replay(run=run_id, max_frames=1))
        found = report_of(recording.frames[-1], goes_on=goes_on(self.cockpit.answers.as_known(recording.run)))
        if found.level == "full":  # a run's end has no figures of it
            whole = await self.cockpit.answers.ask(RunReport, MakeReport(run=recording.run.run_id))
            found = verification_of(whole)
        return recording, found

    @work(group="verify", exclusive=True)
    async def _look_again(self, before: VerifyReport) -> None:
        """What was verified stays, unless rejects of the run were written since: then it is what the ledger has."""
        with suppress(MigrationError):
            recording, now = await self._recorded(before.run_id)
            if _may_change(now) != _may_change(before):
                self._compared = of_events(recording.events)
                self._show(now, is_recorded=True)

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
            self._tune.dismiss()
        if report is not None:
            if self.report is not None and report.run_id != self.report.run_id:
                self._excluded = {}  # the report of a comparison does not have them
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
            }[self._doing]
            words = Content(f"◐ {doing}… {since}")
        else:
            words = self._progress(comparing, since)
            self._show_tables(comparing)
        note = Content.empty()
        if self._doing == "full" and (limit := self._limit):
            note = Content.assemble(limit, (f" · {self._hint}", MUTED))
        self.query_one("#verify-head", Static).update(Content("\n").join([words, note]))

    def _progress(self, comparing: ComparingView, since: str) -> Content:
        """How far the comparison is, in a line; the bar has what is left of it, and without room counts give way."""
        fraction = share(comparing.checked, comparing.total)
        found = comparing.different + comparing.missing
        begin, rate = Content(f"◐ comparing {since}"), Content(f"{number(comparing.rows_per_s)} rows/s")
        eta = Content(_eta(comparing))
        counts = Content(f"{percent(fraction)}  {number(comparing.checked)} / {number(comparing.total)}")
        verdict = Content.styled(f"! {number(found)} differ", "$error") if found else Content("no difference so far")
        width = self.query_one("#verify-head", Static).content_size.width
        for parts, least in (
            ([begin, counts, rate, eta, verdict], _LEAST_BAR),
            ([begin, counts, rate, eta, *([verdict] if found else [])], _LEAST_BAR),
            ([begin, counts, rate, eta, *([verdict] if found else [])], 0),
            ([begin, Content(percent(fraction)), rate, eta, verdict], 0),
        ):
            parts = [part for part in parts if part]
            room = width - sum(_GAP + part.cell_length for part in parts)
            if room >= least:
                break
        if room >= _LEAST_BAR:
            parts.insert(1, bar(fraction, min(_BAR, room), "$primary"))
        return Content(" " * _GAP).join(parts).truncate(max(1, width), ellipsis=True)

    @property
    def _hint(self) -> str:
        """The keys that work while it is compared."""
        key, cancel = map(self.cockpit.keymap.first, ("verify.tune", "verify.cancel"))
        return f"{key}: change it, and workers · {cancel}: cancel"

    @property
    def _limit(self) -> Content:
        """The knob that slows it down, which it has from the run or from the settings; nothing where there is no engine yet."""
        if self._asked is None:
            return Content.empty()
        self._asked.look()
        throttle = self._asked.knob_value(THROTTLE)
        if not throttle:
            return Content.styled("throttle off", MUTED)
        return Content.styled(f"limited by throttle {value_text(THROTTLE, throttle)} rows/s", "$warning")

    def _show_tables(self, comparing: ComparingView) -> None:
        """How far each table is, in the place of its last result."""
        if self.report is None:
            return
        known = {each.table: each for each in comparing.tables}
        results = [_state(known.get(table.table)) for table in self.report.tables]
        if results != self._results:
            self._results = results
            rows = [[*_row(table)[:-1], result] for table, result in zip(self.report.tables, results, strict=True)]
            self.query_one("#counts", Listing).fill(rows)

    def _show(self, report: VerifyReport, *, is_recorded: bool, problem: MigrationError | None = None) -> None:
        self.report, self.is_recorded = report, is_recorded
        rejected = sum(table.rejected for table in report.tables)
        sign = verified_sign(report.result, report.verification_level, rejected, replaced=report.replaced_since)
        if report.result not in (Verification.VERIFIED, Verification.MISMATCH):
            sign = Sign("·", verification_words(report.result.value, ""), MUTED)
        how = _how(report, time.time())
        if is_recorded:
            how = "the run goes on" if self._goes_on else self._compared.words(time.time())
        lines = [
            Content.assemble(
                (f"{sign}  ", f"bold {sign.colour}"), f"run {safe(report.run_id, 40)}", (f"  {how}", MUTED)
            ),
            Content.styled(f"! {safe(problem.message, 600)}", "$error") if problem else _identity(report),
        ]
        if replaced := replaced_words(report.replaced_since):
            lines.append(Content.styled(f"! {replaced}", "$warning"))
        if is_recorded and (since := self._compared.since_words(time.time())):
            key = self.cockpit.keymap.first("verify.full")
            lines.append(Content.assemble((f"! {since}", "$warning"), (f" · {key} compares them", MUTED)))
        lines.append(Content.styled(self._next_steps(report, rejected), MUTED))
        if not self._doing:
            self.query_one("#verify-head", Static).update(Content("\n").join(lines))
        self._results = []
        self.query_one("#counts", Listing).fill([_row(table, report.replaced_since) for table in report.tables])
        self._show_detail()
        self.cockpit.situation_changed()

    def _next_steps(self, report: VerifyReport, rejected: int) -> str:
        """What comes next: rejects, a comparison where there was none, and the report."""
        key = self.cockpit.keymap.first
        steps = [f"{key('verify.rejects')}: rejected documents"] if rejected else []
        if report.verification_level != "full" and not self._goes_on and report.replaced_since is None:
            steps.append(f"{key('verify.full')}: compare every document with its row")
        return " · ".join([*steps, f"{key('verify.export')}: export the report"])

    @on(Listing.Moved)
    def _show_detail(self) -> None:
        index = self.query_one("#counts", Listing).index
        if self.report is None or index is None or index >= len(self.report.tables):
            self.query_one("#verify-detail", Static).update(Content.styled("no tables", MUTED))
            return
        table = self.report.tables[index]
        found = [each for each in self.report.differences if each.table == table.table]
        self.query_one("#verify-detail", Static).update(
            _detail(self.report, table, found, self._excluded.get(table.table, []), is_recorded=self.is_recorded)
        )


def _eta(comparing: ComparingView) -> str:
    """When it is expected to be over; nothing once every document is compared, and other rows are looked for."""
    if comparing.eta_s is not None:
        return f"ETA {duration(comparing.eta_s)}"
    return "ETA: calculating…" if comparing.checked < comparing.total else ""


def _may_change(report: VerifyReport) -> tuple[list[int], ReplacedTables | None]:
    """What retries and later runs change of it."""
    return [table.rejected for table in report.tables], report.replaced_since


def _how(report: VerifyReport, now: float) -> str:
    """How thoroughly it was looked at, and when.

    Args:
        now: seconds since 1970; a time of another day is told with its day.
    """
    at = f" at {time_of_day(report.unix, since=now, seconds=True)}" if report.unix else ""
    if report.level != "full":
        return f"counted{at}"
    full = sum(table.level == "full" for table in report.tables)
    every = len(report.tables)
    return (
        f"compared in full{at}"
        if full == every
        else f"{full} of {counted(every, 'table')} compared in full{at}, the others counted"
    )


def _identity(report: VerifyReport) -> Content:
    read = sum(table.read for table in report.tables)
    written = sum(table.written for table in report.tables)
    rejected = sum(table.rejected for table in report.tables)
    sign = "=" if read == written + rejected else "≠"
    return Content(f"{number(read)} read {sign} {number(written)} written + {number(rejected)} rejected")


def _row(table: TableCounts, replaced: ReplacedTables | None = None) -> list[Cell]:
    counts = [table.source, table.read, table.written, table.rejected, table.target]
    is_compared = table.source >= 0 and table.target >= 0
    result, colour = (f"✓ {result_word(table)}", "$success") if table.ok else ("! mismatch", "$error")
    if not is_compared:
        result, colour = "· not compared", MUTED
    if words := replaced_table_words(replaced, table.table):
        result, colour = f"! {words.partition(' ')[0]}", "$warning"
    return [
        safe(table.namespace, 80),
        safe(table.table, 80),
        *(number(count) if count >= 0 else NO_NUMBER for count in counts),
        Content.styled(result, colour),
    ]


def _state(table: ComparingTable | None) -> Content:
    """How far the comparison is with a table."""
    if table is None:
        return Content.styled("· waiting", MUTED)
    if table.total < 0:
        return Content.styled("· counts only", MUTED)
    is_done = table.checked >= table.total
    words = "compared" if is_done else percent(share(table.checked, table.total)) if table.checked else "waiting"
    if table.differ:
        return Content.styled(f"! {compact(table.differ)} · {words}", "$error")
    colour = "$success" if is_done else "" if table.checked else MUTED
    return Content.styled(f"{'=' if is_done else '◐' if table.checked else '·'} {words}", colour)


def _detail(
    report: VerifyReport,
    table: TableCounts,
    differences: list[DifferenceView],
    excluded: Sequence[str],
    *,
    is_recorded: bool,
) -> Content:
    lines = [Content.styled(safe(f"{table.namespace} → {table.table}", 200), "bold")]
    if replaced := replaced_table_words(report.replaced_since, table.table):
        counted_as = "the counts are those of this run's rows" if is_recorded else "rows are counted as they are now"
        lines.append(Content.styled(f"! The table was {replaced}: {counted_as}.", "$warning"))
    if table.message:
        lines.append(Content.styled(safe(table.message, 600), "" if table.ok else "$error"))
    if table.level == "full":
        lines.append(
            Content(
                f"{number(table.equal)} equal, {number(table.different)} different, {number(table.missing)} missing, "
                f"{number(table.extra)} extra, {number(table.kept)} rejected"
            )
        )
        if table.source_changed:
            lines.append(Content(f"{number(table.source_changed)} of them where the source has changed since."))
    lines += [_difference(each) for each in differences]
    lines += [
        Content.styled(
            f"compared by value: {safe(each.field, 60)}, {counted(each.count, 'value')}: {safe(each.reason, 80)}", MUTED
        )
        for each in report.less_strict
        if each.table == table.table
    ]
    if table.rejected:
        rejected = counted(table.rejected, "document is", "documents are")
        lines.append(Content.styled(f"{rejected} rejected, and not in the table.", "$warning"))
    elif len(lines) == 1 and table.ok:
        lines.append(Content.styled(f"{'Rows' if table.level == 'full' else 'Counts'} match.", MUTED))
    if excluded:
        fields = safe(", ".join(excluded), 2_000)
        lines.append(Content.styled(f"Excluded on purpose, neither copied nor compared: {fields}", MUTED))
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
