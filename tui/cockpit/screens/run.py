"""The Run screen: the whole run, its collections, its workers, its throughput, knobs, problems; at its end, the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from textual import on, work
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.css.scalar import Scalar
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from engine.config import Settings
from engine.errors import KnobError, UsageError
from engine.knobs import CLUSTER_SIZE, PAGE_SIZE, Knob
from engine.protocol import (
    CallOff,
    Cancel,
    CutOver,
    HostView,
    ListRejects,
    MakeReport,
    Pause,
    ProblemView,
    RejectsReport,
    Resolve,
    Resume,
    RunReport,
    SetGuard,
    Snapshot,
)
from tui import profiles
from tui.cockpit.api import CockpitApi
from tui.cockpit.commands import Place, Situation, bindings_of
from tui.cockpit.dialogs.choosing import ChoosingDialog
from tui.cockpit.dialogs.cutting_over import CutOverDialog
from tui.cockpit.dialogs.exporting import offer_export
from tui.cockpit.dialogs.modal import Kept
from tui.cockpit.dialogs.problems import SAMPLES, ProblemsDialog
from tui.cockpit.dialogs.questions import SECOND_PRESS_S, StopQuestion, error_dialog
from tui.cockpit.dialogs.resolving import ResolveDialog
from tui.cockpit.dialogs.sheet import Sheet
from tui.cockpit.dialogs.tune import TuneDialog
from tui.cockpit.dialogs.vitals import VitalsDialog
from tui.cockpit.dialogs.worker import WorkerDialog, worker_text
from tui.cockpit.export import report_of
from tui.cockpit.replay import JUMP, ReplayedRun
from tui.cockpit.screens.base import LEAST_HEIGHT, LEAST_WIDTH, CockpitScreen
from tui.cockpit.session import EngineSession
from tui.cockpit.shown import ShownRun
from tui.cockpit.widgets.chart import ThroughputChart
from tui.cockpit.widgets.event_log import EventLog
from tui.cockpit.widgets.filter import FilterField
from tui.cockpit.widgets.follow import FollowPanel
from tui.cockpit.widgets.header import Header
from tui.cockpit.widgets.knobs import KnobPanel
from tui.cockpit.widgets.problems import ProblemPanel
from tui.cockpit.widgets.progress import CollectionBars, ProgressPanel, collection_words
from tui.cockpit.widgets.report import ReportPanel
from tui.cockpit.widgets.total import TotalPanel, one_line
from tui.cockpit.widgets.vitals import VitalsPanel
from tui.cockpit.widgets.workers import WorkerBars, WorkersPanel
from tui.words.follow import BEFORE
from tui.words.knobs import value_text
from tui.words.safe import safe
from tui.words.sentences import host_words

KEEPS_AFTER_S = 0.5
"""The screen has been drawn by then."""
ANSWER_S = 0.1
"""So long the drawing by the clock gives way to what a key has to show."""
SILENT_S = 3.0
"""An engine that has said nothing for so long is slow, stopped or cut off: it is said on the screen."""
LISTS: tuple[type[Widget], ...] = (CollectionBars, WorkerBars)
VIEWS: tuple[type[Widget], ...] = (*LISTS, ThroughputChart, FollowPanel)
"""What a screen with little room shows one of, in the order of the key that switches."""
FOLLOW_LINES = 8
"""Lines of the panel about following with its frame."""
CHART_LINES = (6, 10)
"""Lines of the chart with its frame, least and most, where it shares the room with the lists."""
LEAST_LINES = 3
"""Lines of a list with its heading on a short screen, at least; likewise of a chart with its axis."""
LOG_LINES = 6
"""The log is shown by itself where so many lines are left."""
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
        self._view: type[Widget] | None = None
        """Which of `VIEWS` has the room, where there is room for one; None: none was chosen yet."""
        self._has_tables = False
        """The collections of the run are known, and shown."""
        self._wants_log: bool | None = None
        """The log was shown or hidden by the operator; None: it is there where there is room."""
        self._tune = TuneDialog(cockpit.say_problem)
        self._stop = StopQuestion()
        self._worker = WorkerDialog(self.copy_key)
        self._problems = ProblemsDialog(self._problems_now, self._rejects_now, self.copy_key)
        self._vitals = VitalsDialog(self._snapshot_now, self.copy_key)
        self._cut_over = CutOverDialog(
            self._snapshot_now,
            lambda: cockpit.orders.send(CutOver()),
            lambda: cockpit.orders.send(CutOver(block_writes=True)),
            lambda: cockpit.orders.send(CallOff()),
            decide_key=cockpit.keymap.first("run.resolve"),
            stops_writers=self._is_demo,
        )
        self._resolve = ResolveDialog(
            self._snapshot_now,
            lambda halt, choice: cockpit.orders.send(
                Resolve.model_validate({"namespace": halt.namespace, "choice": choice})
            ),
        )
        self._kept: Sequence[Kept[None] | Kept[str]] = (
            self._tune, self._stop, self._worker, self.help, self._problems, self._vitals, self._cut_over, self._resolve,
            *kept,
        )  # fmt: skip

    def body(self) -> Iterable[Widget]:
        """The panels."""
        keymap = self.cockpit.keymap
        yield Static(id="banner", markup=False)
        with Vertical(id="run"):
            yield TotalPanel(keymap.first("run.rejects"))
            yield VitalsPanel()
            yield FollowPanel(keymap)
            yield ThroughputChart()
            yield ProgressPanel()
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

    def shown(self) -> None:
        """A later run may have replaced the tables of one that is over."""
        session = self.cockpit.runs.session
        if session is not None and session.snapshot.state.is_over and session.snapshot.tables:
            self._recount(session)

    @work(group="recount", exclusive=True)
    async def _recount(self, session: EngineSession) -> None:
        await session.recount()

    @work(group="keep")
    async def _keep_dialogs(self) -> None:
        for dialog in self._kept:
            await dialog.keep(self.app)

    def show_situation(self) -> None:
        """Show the report at the end, and draw."""
        super().show_situation()
        self.draw(force=True)

    def adjusted(self, now: Situation) -> Situation:
        """Whether there are lists, or the report."""
        return replace(now, is_at_end=self.has_class("-over"))

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
        if isinstance(session, ReplayedRun):  # no situation changes when it is held, or ends
            self.query_one(Header).refresh()
        snapshot = session.snapshot
        self._show_end(session)
        with self.app.batch_update():
            self.query_one(TotalPanel).show(snapshot)
            self.query_one(VitalsPanel).show(snapshot)
            self.query_one(FollowPanel).show(snapshot)
            self.query_one(ThroughputChart).show(session.history, is_part=bool(snapshot.seconds_before))
            self.query_one(KnobPanel).show(session)
            self.query_one(ProblemPanel).show(snapshot)
            if self.has_class("-over"):
                self.query_one(ReportPanel).show(session, self.cockpit.situation)
            else:
                self.query_one(ProgressPanel).show(snapshot)
                self.query_one(WorkersPanel).show(snapshot)
            self._arrange(snapshot)
            if (log := self.query_one(EventLog)).display:
                log.show(session)
            self._stop.follow()
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
            self._has_tables = False
            self.refresh_bindings()
            if not self.query_one(EventLog).has_focus:
                self.set_focus(self.query_one(ReportPanel) if is_over else self.query_one(WorkerBars))
        if is_over:  # there is nothing left to stop, or to tune
            self._stop.dismiss()
            self._tune.dismiss()

    def _arrange(self, snapshot: Snapshot) -> None:
        """Share the room out between chart, collections, workers and log; where there is little, one of them has it."""
        chart, log = self.query_one(ThroughputChart), self.query_one(EventLog)
        progress, workers = self.query_one(ProgressPanel), self.query_one(WorkersPanel)
        is_over, is_short = self.has_class("-over"), self.has_class("-short") or self.has_class("-flat")
        has_tables = bool(snapshot.tables)
        if has_tables and not self._has_tables and self.focused is self.query_one(WorkerBars):
            self.call_after_refresh(self.query_one(CollectionBars).focus)
        self._has_tables = has_tables
        view = self._view_of(snapshot)
        follow = self.query_one(FollowPanel)
        both = is_short and not is_over and has_tables and view in LISTS
        shown: dict[Widget, bool] = {
            follow: snapshot.follow is not None and not is_over and (not is_short or view is FollowPanel),
            chart: not (is_over and is_short),
            progress: has_tables and not is_over and (not is_short or view is CollectionBars),
            workers: not is_over and (not is_short or view is WorkerBars),
            log: bool(self._wants_log),
        }
        others = [
            panel for panel in self.query_one("#run").children if panel not in shown and panel.display and not is_over
        ]
        room = self.query_one("#run").size.height - sum(panel.outer_size.height for panel in others)
        room -= FOLLOW_LINES if shown[follow] else 0
        heights: dict[Widget, int | None] = {}
        if both and (split := self._split(room, progress, workers, view, is_logging=shown[log])) is not None:
            shown[progress] = shown[workers] = True
            heights = {chart: split[0], progress: split[1], workers: None}
        elif is_short:
            heights = {chart: None if view is ThroughputChart and not is_over else 1, progress: None, workers: None}
        elif is_over:
            heights = {chart: CHART_LINES[0], log: LOG_LINES + 2}
        else:
            heights = self._heights(room, progress if shown[progress] else None, workers, is_logging=shown[log])
            if self._wants_log is None and log in heights:
                shown[log] = True
        for panel, is_shown in shown.items():
            panel.display = is_shown
        for panel, height in heights.items():
            wanted = Scalar.parse("1fr") if height is None else Scalar.from_number(height)
            if panel.styles.height != wanted:  # even an equal value would make Textual lay out the screen anew
                panel.styles.height = wanted

    def _split(
        self, room: int, progress: ProgressPanel, workers: WorkersPanel, view: type[Widget], *, is_logging: bool
    ) -> tuple[int, int] | None:
        """Lines of chart and collections on a short screen that has room for the workers as well; None where it has not."""
        n_progress, n_workers = progress.wanted_height, workers.wanted_height
        left = room - 1 - (LOG_LINES if is_logging else 0)
        if view is CollectionBars and left - n_progress < LEAST_LINES:
            return None
        if view is not CollectionBars:
            n_progress = min(n_progress, left - n_workers)
            if n_progress < LEAST_LINES:
                return None
        spare = left - n_progress - n_workers
        return (min(CHART_LINES[0], 1 + spare) if spare >= LEAST_LINES else 1), n_progress

    def _view_of(self, snapshot: Snapshot) -> type[Widget]:
        """What has the room where there is room for one: what was chosen, else what moves."""
        view = self._view
        if view is None:
            applies = snapshot.follow is not None and snapshot.follow.phase not in BEFORE
            view = FollowPanel if applies else CollectionBars
        if view is FollowPanel and snapshot.follow is None:
            view = CollectionBars
        return view if view is not CollectionBars or snapshot.tables else WorkerBars

    def _heights(
        self, room: int, progress: ProgressPanel | None, workers: WorkersPanel, *, is_logging: bool
    ) -> dict[Widget, int | None]:
        """Lines of each panel on a tall screen; None takes what is left. With a log in it, there is room for one."""
        chart, log = self.query_one(ThroughputChart), self.query_one(EventLog)
        least, most = CHART_LINES
        n_log = LOG_LINES + 4 if is_logging else 0
        n_progress = progress.wanted_height if progress is not None else 0
        n_workers = workers.wanted_height
        n_chart = max(least, min(most, (room - n_log) // 3, max(8, room - n_log - n_progress - n_workers)))
        left = room - n_chart - n_log
        heights: dict[Widget, int | None] = {chart: n_chart, workers: None}
        if is_logging:
            heights[log] = n_log
        if progress is not None:
            heights[progress] = min(n_progress, max(left - n_workers, left // 2))
        spare = left - n_progress - n_workers
        if not is_logging and spare >= LOG_LINES:
            heights |= {workers: n_workers, log: None}
        return heights

    def _tick(self) -> None:
        """A key is answered first, where the processor is busy; once: with a key that is held down, the run is drawn, too."""
        if self.app.current_mode != self.PLACE:
            return
        self._gives_way = not self._gives_way and time.monotonic() - self.cockpit.last_input_at < ANSWER_S
        if not self._gives_way:
            self.draw()

    def _show_banner(self, session: ShownRun) -> None:
        words = ""
        if doing := self.cockpit.situation.doing:
            words = f"{doing.capitalize()}: an engine is on its way…"
        elif self._is_frozen:
            words = f"Display frozen (run continues). {self.cockpit.keymap.first('run.freeze')}: unfreeze"
        elif isinstance(session, ReplayedRun):
            words = session.words(self.cockpit.keymap)
        elif self.cockpit.leaving.waits_for_run:
            words = "Leaving when the run has stopped."
        elif self.cockpit.orders.resumes_when_over:
            words = (
                f"Resuming as soon as the run has stopped. {self.cockpit.keymap.first('run.stop')}: leave it stopped"
            )
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

    def action_guards(self) -> None:
        """Turn all guards off, or on again."""
        snapshot = self._snapshot_now()
        are_on = snapshot is None or snapshot.guards is None or snapshot.guards.on
        self.cockpit.orders.send(SetGuard(setting="on", value="false" if are_on else "true"))

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
                if session is not None and session.knob_setting(knob) != value:
                    self.cockpit.orders.turn(knob, value)

        self.app.push_screen(ChoosingDialog("Knobs as in a profile", names, list(map(_preset_words, names))), chosen)

    def action_stop(self) -> None:
        """Ask how to stop; it is not to be resumed then."""
        session = self.cockpit.runs.session
        if session is None or not session.is_live:
            return
        if self.cockpit.orders.resumes_when_over:
            self.cockpit.orders.resume_when_over(wanted=False)

        def stop(answer: str | None) -> None:
            if answer in {"drain", "now"}:
                self.cockpit.orders.send(Cancel(now=answer == "now"))
            elif answer is not None:
                self.cockpit.leaving.waits_for_run = False
                self.draw(force=True)

        resume = session.command(f"run --resume {session.snapshot.run_id}", "source", "target")

        def drawn() -> Snapshot:
            return session.snapshot if self._is_frozen else self.query_one(TotalPanel).snapshot or session.snapshot

        key = self.cockpit.keymap.first("run.continue") if session.is_resumable else ""
        can_resume = not session.is_on_passing_servers
        self._stop.ask_about(drawn, can_resume=can_resume, resume=resume, resume_key=key)
        self._stop.open(self.app, stop)

    def interrupt(self) -> None:
        """ctrl+c: a hint first, the stop dialog when it is pressed again within two seconds."""
        leave, stop, again = map(self.cockpit.keymap.first, ("app.quit", "run.stop", "app.interrupt"))
        session = self.cockpit.runs.session
        if session is None or not session.is_live:
            self.app.notify(f"Press {leave} to quit.", markup=False)
        elif time.monotonic() - self._interrupted_at <= SECOND_PRESS_S:
            self.action_stop()
        else:
            self._interrupted_at = time.monotonic()
            self.app.notify(f"{stop}: stop the run · {leave}: quit · {again} again: stop dialog", markup=False)

    def action_continue_run(self) -> None:
        """Resume the run that stopped, in a new engine; one that is being stopped, as soon as it has stopped."""
        if self.cockpit.situation.can_resume:
            self.cockpit.orders.resume()
        else:
            self.cockpit.orders.resume_when_over()

    async def action_rejects(self) -> None:
        """The rejects of the run that is shown."""
        session = self.cockpit.runs.shown
        if session is not None:
            await self.cockpit.navigation.show_rejects(session.snapshot.run_id)

    def action_export(self) -> None:
        """Write what the run's end says of both sides into a file, as Verify does."""
        session = self.cockpit.runs.session
        if session is None:
            return
        if session.snapshot.tables:
            run_id = session.snapshot.run_id
            offer_export(
                self.app,
                report_of(session.snapshot),
                lambda: self.cockpit.answers.ask(RunReport, MakeReport(run=run_id)),
            )
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
        """Go to the events, which are shown then, or hide them; the cursor goes back."""
        log = self.query_one(EventLog)
        self._wants_log = log.display = not log.has_focus  # a class of the screen would have all of it styled anew
        session = self.cockpit.runs.shown
        if log.display and session is not None:
            log.show(session)
        view = self._view_of(session.snapshot) if session is not None else WorkerBars
        lists = view if view in LISTS else WorkerBars
        self.set_focus(log if log.display else self.query_one(ReportPanel if self.has_class("-over") else lists))
        self.call_after_refresh(self.draw, force=True)

    def action_view(self) -> None:
        """The next of collections, workers and chart; where there is room for all, the cursor goes from list to list."""
        session = self.cockpit.runs.shown
        if session is None or self.has_class("-over"):
            return
        views: list[type[Widget]] = [view for view in VIEWS if view is not CollectionBars or self._has_tables]
        if session.snapshot.follow is None:
            views.remove(FollowPanel)
        if not self.has_class("-short"):
            views = [view for view in views if view in LISTS]
        now = self._view_of(session.snapshot)
        at = views.index(now) if now in views else -1
        if not self.has_class("-short"):
            at = next((place for place, view in enumerate(views) if self.query_one(view).has_focus), -1)
        self._show_view(views[(at + 1) % len(views)])

    def _show_view(self, view: type[Widget]) -> None:
        self._view = view
        self.draw(force=True)
        if view in LISTS:
            self.call_after_refresh(lambda: self.set_focus(self.query_one(view)))

    def _drill(self, namespace: str) -> None:
        """Only the workers of one collection."""
        field = self.query_one(FilterField)
        field.value = namespace
        field.display = True
        self._show_view(WorkerBars)

    @on(WorkerBars.Left)
    def _left_workers(self) -> None:
        """Back to the collections, and all workers again."""
        field = self.query_one(FilterField)
        field.value = ""
        field.display = False
        if self._has_tables:
            self._show_view(CollectionBars)

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
        if not self.query_one(WorkersPanel).display:  # another list has the room
            self._view = WorkerBars
            self.draw(force=True)
        self.query_one(FilterField).open()
        self.call_after_refresh(self.draw, force=True)

    @on(FilterField.Typed)
    def _filtered(self, event: FilterField.Typed) -> None:
        session = self.cockpit.runs.shown
        if session is not None:
            self.query_one(WorkerBars).seek(event.text, session.snapshot)
            self.draw(force=True)

    def action_workers(self) -> None:
        """The workers of the collection under the cursor; the worker in full; a host's, folded or not; in the log, the event;
        at the end, the report.
        """
        log = self.query_one(EventLog)
        if log.has_focus:
            self.app.push_screen(Sheet("Event", Content(log.chosen), "the event", self.copy_key))
        elif self.has_class("-over"):
            self.app.push_screen(Sheet("Report", Content(self.to_copy()[0]), "the report", self.copy_key))
        elif self.query_one(CollectionBars).has_focus:
            if (table := self.query_one(CollectionBars).chosen) is not None:
                self._drill(table.namespace)
        elif (session := self.cockpit.runs.shown) is not None:
            if self.query_one(WorkerBars).fold(session.snapshot):
                self.draw(force=True)
                return
            self._worker.bars = self.query_one(WorkerBars)
            self._worker.open(self.app)

    def action_cut_over(self) -> None:
        """What has to hold before it, and the cut-over."""
        self._cut_over.open(self.app)

    def action_resolve(self) -> None:
        """What became of the source, and the decision."""
        self._resolve.open(self.app)

    def action_problems(self) -> None:
        """All problems, and each of them in full."""
        self._problems.open(self.app)

    def action_vitals(self) -> None:
        """What the servers are doing, in full."""
        self._vitals.open(self.app)

    def _is_demo(self) -> bool:
        """The run is a demo, whose writers end with the cut-over."""
        session = self.cockpit.runs.session
        return session is not None and session.settings is not None and session.settings.demo.embedded

    def _snapshot_now(self) -> Snapshot | None:
        session = self.cockpit.runs.shown
        return session.snapshot if session is not None else None

    def _problems_now(self) -> Sequence[ProblemView]:
        session = self.cockpit.runs.shown
        return session.snapshot.problems if session is not None else ()

    async def _rejects_now(self) -> RejectsReport:
        session = self.cockpit.runs.shown
        run = session.snapshot.run_id if session is not None else ""
        return await self.cockpit.answers.ask(RejectsReport, ListRejects(run=run, samples=SAMPLES))

    def to_copy(self) -> tuple[str, str]:
        """The event, the collection or the worker under the cursor, or the report."""
        if self.query_one(EventLog).has_focus:
            return self.query_one(EventLog).chosen, "the event"
        if self.has_class("-over"):
            return str(self.query_one("#report", Static).content), "the report"
        if (progress := self.query_one(CollectionBars)).has_focus:
            return (collection_words(progress.chosen), "the collection") if progress.chosen else ("", "")
        bars = self.query_one(WorkerBars)
        if isinstance(bars.chosen, HostView):
            return f"{safe(bars.chosen.name, 80)}: {host_words(bars.chosen)}", "the host"
        return (worker_text(bars.chosen_worker, bars.scale).plain, "the worker") if bars.chosen_worker else ("", "")


def _preset_words(name: str) -> str:
    """`workers 12, page size 8,000, throttle off`."""
    try:
        return ", ".join(
            f"{knob.label.lower()} {value_text(knob, value)}" for knob, value in profiles.knobs_of(name).items()
        )
    except UsageError:
        return "cannot be read"
