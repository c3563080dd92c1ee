"""The Run screen: the whole run, its throughput, one bar per worker, knobs, problems; at its end, the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from textual import on, work
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from engine.config import Settings
from engine.errors import KnobError, UsageError
from engine.knobs import CLUSTER_SIZE, PAGE_SIZE, Knob
from engine.protocol import Cancel, ListRejects, Pause, ProblemView, RejectsReport, Resume
from tui import profiles
from tui.cockpit.api import CockpitApi
from tui.cockpit.commands import Place, bindings_of
from tui.cockpit.dialogs.choosing import ChoosingDialog
from tui.cockpit.dialogs.exporting import offer_export
from tui.cockpit.dialogs.modal import Kept
from tui.cockpit.dialogs.problems import SAMPLES, ProblemsDialog
from tui.cockpit.dialogs.questions import SECOND_PRESS_S, StopQuestion, error_dialog
from tui.cockpit.dialogs.sheet import Sheet
from tui.cockpit.dialogs.tune import TuneDialog
from tui.cockpit.dialogs.worker import WorkerDialog, worker_text
from tui.cockpit.export import report_of
from tui.cockpit.replay import JUMP, ReplayedRun
from tui.cockpit.screens.base import LEAST_HEIGHT, LEAST_WIDTH, CockpitScreen
from tui.cockpit.shown import ShownRun
from tui.cockpit.widgets.chart import ThroughputChart
from tui.cockpit.widgets.event_log import EventLog
from tui.cockpit.widgets.filter import FilterField
from tui.cockpit.widgets.knobs import KnobPanel
from tui.cockpit.widgets.problems import ProblemPanel
from tui.cockpit.widgets.report import ReportPanel
from tui.cockpit.widgets.total import TotalPanel, one_line
from tui.cockpit.widgets.workers import WorkerBars, WorkersPanel
from tui.words.knobs import value_text

KEEPS_AFTER_S = 0.5
"""The screen has been drawn by then."""
ANSWER_S = 0.1
"""So long the drawing by the clock gives way to what a key has to show."""
SILENT_S = 3.0
"""An engine that has said nothing for so long is slow, stopped or cut off: it is said on the screen."""
SILENT = "The engine has been silent for {:.0f} s; the run may go on without the picture."


class RunScreen(CockpitScreen):
    """Draws the newest snapshot a few times a second, and at once after a key."""

    PLACE = Place.RUN
    BINDINGS = bindings_of(Place.RUN)
    AUTO_FOCUS = "WorkerBars"

    def __init__(self, cockpit: CockpitApi, kept: Sequence[Kept[None]] = (), silent_s: float = SILENT_S) -> None:
        """Nothing is drawn before there is a run.

        Args:
            kept: dialogs of others that are to be mounted, as the screen's own are, before they are asked for.
            silent_s: seconds without a word from the engine after which that is said.
        """
        super().__init__(cockpit)
        self._silent_s = silent_s
        self._drawn: tuple[ShownRun, int] | None = None
        self._clock: Timer | None = None
        self._is_frozen = False
        self._banner = ""
        self._gives_way = False
        self._interrupted_at = float("-inf")
        self._tune = TuneDialog(cockpit.say_problem)
        self._stop = StopQuestion()
        self._worker = WorkerDialog(self.copy_key)
        self._problems = ProblemsDialog(self._problems_now, self._rejects_now, self.copy_key)
        self._kept: Sequence[Kept[None] | Kept[str]] = (
            self._tune, self._stop, self._worker, self.help, self._problems, *kept,
        )  # fmt: skip

    def body(self) -> Iterable[Widget]:
        """The panels."""
        keymap = self.cockpit.keymap
        yield Static(id="banner", markup=False)
        with Vertical(id="run"):
            yield TotalPanel()
            yield ThroughputChart()
            yield WorkersPanel()
            yield ReportPanel(keymap)
            with Horizontal(id="run-bottom"):
                yield KnobPanel(keymap)
                yield ProblemPanel(keymap)
            yield EventLog()

    def on_mount(self) -> None:
        """Draw by the clock; mount the dialogs once the screen is drawn."""
        self._follow_settings(self.cockpit.choices.current)
        self.cockpit.changes.settings.subscribe(self, self._follow_settings)
        self.cockpit.changes.redraw.subscribe(self, lambda _: self.draw())
        self.set_timer(KEEPS_AFTER_S, self._keep_dialogs)

    def _follow_settings(self, settings: Settings) -> None:
        if self._clock is not None:
            self._clock.stop()
        self._clock = self.set_interval(1 / settings.cockpit.refresh_hz, self._tick)

    @work(group="keep")
    async def _keep_dialogs(self) -> None:
        for dialog in self._kept:
            await dialog.keep(self.app)

    def show_situation(self) -> None:
        """Show the report at the end, and draw."""
        super().show_situation()
        self.draw(force=True)

    def on_resize(self) -> None:
        """The report and the hidden workers depend on the size."""
        self.call_after_refresh(self.draw, force=True)

    def draw(self, *, force: bool = False) -> None:
        """Draw the newest state of the run; a frozen display keeps the old one."""
        session = self.cockpit.runs.shown
        if session is None or not self.is_mounted:
            return
        if isinstance(session, ReplayedRun):
            session.advance()
        self._show_banner(session)
        if not force and (self._is_frozen or self._drawn == (session, session.version)):
            return
        if self._is_frozen and self._drawn is not None and self._drawn[0] is session:
            return
        self._drawn = (session, session.version)
        snapshot = session.snapshot
        self._show_end(session)
        with self.app.batch_update():
            self.query_one(TotalPanel).show(snapshot)
            self.query_one(ThroughputChart).show(session.history)
            self.query_one(KnobPanel).show(session)
            self.query_one(ProblemPanel).show(snapshot)
            if self.has_class("-over"):
                self.query_one(ReportPanel).show(session, self.cockpit.situation)
            else:
                self.query_one(WorkersPanel).show(snapshot)
            if (log := self.query_one(EventLog)).display:
                log.show(session)
            self.show_tiny()

    def tiny_words(self) -> str:
        """The run in one line: as it was drawn last, also on a frozen display."""
        panels = self.query(TotalPanel).results(TotalPanel)
        drawn = next((panel.snapshot for panel in panels if panel.snapshot is not None), None)
        if drawn is None:
            return "Connecting to the engine…"
        return f"{one_line(drawn)}  – enlarge to {LEAST_WIDTH}x{LEAST_HEIGHT} for detail"

    def _show_end(self, session: ShownRun) -> None:
        """The report takes the workers' place once the run is over."""
        is_over = session.is_lost or session.snapshot.state.is_over
        if is_over != self.has_class("-over"):
            self.set_class(is_over, "-over")
            if not self.query_one(EventLog).has_focus:
                self.set_focus(self.query_one(ReportPanel) if is_over else self.query_one(WorkerBars))
        if is_over:
            self._stop.dismiss()  # there is nothing left to stop

    def _tick(self) -> None:
        """A key is answered first, where the processor is busy; once: with a key that is held down, the run is drawn, too."""
        if self.app.current_mode != self.PLACE:
            return
        self._gives_way = not self._gives_way and time.monotonic() - self.cockpit.last_input_at < ANSWER_S
        if not self._gives_way:
            self.draw()

    def _show_banner(self, session: ShownRun) -> None:
        words = ""
        if self._is_frozen:
            words = f"Display frozen, the run continues. {self.cockpit.keymap.first('run.freeze')} goes on."
        elif isinstance(session, ReplayedRun):
            words = session.words(self.cockpit.keymap)
        elif self.cockpit.leaving.waits_for_run:
            words = "Leaving when the run has stopped."
        elif session.is_lost:
            words = "! The engine has ended. What it had committed is in the target."
        if (silent_s := session.silent_s) >= self._silent_s:
            words = f"{words} ! {SILENT.format(silent_s)}".lstrip()
        if words != self._banner:
            self._banner = words
            banner = self.query_one("#banner", Static)
            banner.display = bool(words)
            banner.update(Content(words))

    # --- commands ---

    def action_pause(self) -> None:
        """Pause the engine."""
        self.cockpit.orders.send(Pause())

    def action_resume(self) -> None:
        """Go on."""
        self.cockpit.orders.send(Resume())

    def action_workers_more(self) -> None:
        """One worker more."""
        self._turn(CLUSTER_SIZE, lambda size: size + 1)

    def action_workers_fewer(self) -> None:
        """One worker fewer."""
        self._turn(CLUSTER_SIZE, lambda size: size - 1)

    def action_page_larger(self) -> None:
        """Twice the page size, as far as the bound."""
        self._turn(PAGE_SIZE, lambda size: min(size * 2, PAGE_SIZE.high) if size < PAGE_SIZE.high else size + 1)

    def action_page_smaller(self) -> None:
        """Half the page size, as far as the bound."""
        self._turn(PAGE_SIZE, lambda size: max(size // 2, PAGE_SIZE.low) if size > PAGE_SIZE.low else size - 1)

    def _turn(self, knob: Knob, step: Callable[[int], int]) -> None:
        session = self.cockpit.runs.session
        if session is None:
            return
        try:
            value = knob.check(step(session.knob_value(knob)))
        except KnobError as error:
            self.cockpit.say_problem(error.message)
            return
        self.cockpit.orders.turn(knob, value)

    def action_tune(self) -> None:
        """Exact values."""
        if self.cockpit.runs.session is not None:
            self._tune.session = self.cockpit.runs.session
            self._tune.open(self.app)

    def action_preset(self) -> None:
        """Choose a profile, and turn the knobs as it has them."""
        names = profiles.names()
        if not names:
            setup, save = self.cockpit.keymap.first("app.setup"), self.cockpit.keymap.first("setup.save_profile")
            self.cockpit.say_problem(f"No profile was saved yet: {save} on Setup ({setup}) saves one with its knobs.")
            return

        def chosen(name: str | None) -> None:
            try:
                wanted = profiles.knobs_of(name) if name is not None else {}
            except UsageError as error:
                self.app.push_screen(error_dialog("The profile cannot be taken", error.message))
                return
            session = self.cockpit.runs.session
            for knob, value in wanted.items():
                if session is not None and session.knob_value(knob) != value:
                    self.cockpit.orders.turn(knob, value)

        self.app.push_screen(ChoosingDialog("Knobs as in a profile", names, list(map(_preset_words, names))), chosen)

    def action_stop(self) -> None:
        """Ask how to stop."""
        session = self.cockpit.runs.session
        if session is None or not session.is_live:
            return

        def stop(answer: str | None) -> None:
            if answer in {"drain", "now"}:
                self.cockpit.orders.send(Cancel(now=answer == "now"))
            elif answer is not None:
                self.cockpit.leaving.waits_for_run = False
                self.draw(force=True)

        again = self.cockpit.keymap.first("run.stop")
        can_resume = not session.is_on_passing_servers
        self._stop.ask_about(session.snapshot, can_resume=can_resume, again=again)
        self._stop.open(self.app, stop)

    def interrupt(self) -> None:
        """ctrl+c: a hint first, the stop dialog when it is pressed again within two seconds."""
        leave, stop, again = map(self.cockpit.keymap.first, ("app.quit", "run.stop", "app.interrupt"))
        session = self.cockpit.runs.session
        if session is None or not session.is_live:
            self.app.notify(f"{leave} leaves.", markup=False)
        elif time.monotonic() - self._interrupted_at <= SECOND_PRESS_S:
            self.action_stop()
        else:
            self._interrupted_at = time.monotonic()
            self.app.notify(f"{stop} stops the run, {leave} leaves. {again} again opens the stop dialog.", markup=False)

    def action_continue_run(self) -> None:
        """Resume the run that stopped, in a new engine."""
        self.cockpit.orders.resume()

    def action_export(self) -> None:
        """Write what the run's end says of both sides into a file, as Verify does."""
        session = self.cockpit.runs.session
        if session is None:
            return
        if session.snapshot.tables:
            offer_export(self.app, report_of(session.snapshot))
        else:
            self.cockpit.say_problem("This run came to no tables: there is nothing to export.")

    # --- a replay ---

    def action_replay_hold(self) -> None:
        """Hold it, or let it go on."""
        self._steer_replay(ReplayedRun.hold)

    def action_replay_faster(self) -> None:
        """Twice as fast."""
        self._steer_replay(lambda replay: replay.change_speed(1))

    def action_replay_slower(self) -> None:
        """Half as fast."""
        self._steer_replay(lambda replay: replay.change_speed(-1))

    def action_replay_forward(self) -> None:
        """Onward."""
        self._steer_replay(lambda replay: replay.jump(JUMP))

    def action_replay_back(self) -> None:
        """Back."""
        self._steer_replay(lambda replay: replay.jump(-JUMP))

    def _steer_replay(self, steer: Callable[[ReplayedRun], None]) -> None:
        if (replay := self.cockpit.runs.replay) is not None:
            steer(replay)
            self.draw(force=True)

    async def action_replay_leave(self) -> None:
        """Back to the history."""
        await self.cockpit.navigation.show(Place.HISTORY)

    # --- the display ---

    def action_log(self) -> None:
        """Show or hide the events; the cursor goes there and back."""
        log = self.query_one(EventLog)
        log.display = not log.display  # a class of the screen would have all of it styled anew
        session = self.cockpit.runs.shown
        if log.display and session is not None:
            log.show(session)
        self.set_focus(log if log.display else self.query_one(ReportPanel if self.has_class("-over") else WorkerBars))
        self.call_after_refresh(self.draw, force=True)

    def action_freeze(self) -> None:
        """Keep the picture while the run goes on, or let it move again."""
        self._is_frozen = not self._is_frozen
        self.draw(force=True)

    def action_sort(self) -> None:
        """The next order of the workers."""
        session = self.cockpit.runs.shown
        if session is not None:
            bars = self.query_one(WorkerBars)
            bars.sort_by(bars.order.following(), session.snapshot)
            self.draw(force=True)

    def action_reverse(self) -> None:
        """The same order, turned round."""
        session = self.cockpit.runs.shown
        if session is not None:
            self.query_one(WorkerBars).reverse(session.snapshot)
            self.draw(force=True)

    def action_filter(self) -> None:
        """Only some of the workers."""
        self.query_one(FilterField).open()
        self.call_after_refresh(self.draw, force=True)

    @on(FilterField.Typed)
    def _filtered(self, event: FilterField.Typed) -> None:
        session = self.cockpit.runs.shown
        if session is not None:
            self.query_one(WorkerBars).seek(event.text, session.snapshot)
            self.draw(force=True)

    def action_workers(self) -> None:
        """The worker under the cursor in full; in the log, the event; at the end, the report."""
        log = self.query_one(EventLog)
        if log.has_focus:
            self.app.push_screen(Sheet("Event", Content(log.chosen), "the event", self.copy_key))
        elif self.has_class("-over"):
            self.app.push_screen(Sheet("Report", Content(self.to_copy()[0]), "the report", self.copy_key))
        elif self.cockpit.runs.shown is not None:
            self._worker.bars = self.query_one(WorkerBars)
            self._worker.open(self.app)

    def action_problems(self) -> None:
        """All problems, and each of them in full."""
        self._problems.open(self.app)

    def _problems_now(self) -> Sequence[ProblemView]:
        session = self.cockpit.runs.shown
        return session.snapshot.problems if session is not None else ()

    async def _rejects_now(self) -> RejectsReport:
        session = self.cockpit.runs.shown
        run = session.snapshot.run_id if session is not None else ""
        return await self.cockpit.answers.ask(RejectsReport, ListRejects(run=run, samples=SAMPLES))

    def to_copy(self) -> tuple[str, str]:
        """The event or the worker under the cursor, or the report."""
        if self.query_one(EventLog).has_focus:
            return self.query_one(EventLog).chosen, "the event"
        if self.has_class("-over"):
            return str(self.query_one("#report", Static).content), "the report"
        bars = self.query_one(WorkerBars)
        return (worker_text(bars.chosen, bars.scale).plain, "the worker") if bars.chosen else ("", "")


def _preset_words(name: str) -> str:
    """`workers 12, page size 8,000, throttle off`."""
    try:
        return ", ".join(
            f"{knob.label.lower()} {value_text(knob, value)}" for knob, value in profiles.knobs_of(name).items()
        )
    except UsageError:
        return "cannot be read"
