"""A run from acceptance to its end, and everything that is asked of it on the way.

It owns what all of its phases share (the record, the state, the cluster, the clock) and takes them one after the other: seeding
(`engine.run.seed`), copying (`engine.run.copy`). Whatever happens becomes an event; the record, the clients and the ledger all
follow the events.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from engine.cluster.crew import CrewsOf
from engine.cluster.dispatcher import Dispatcher
from engine.cluster.meter import Meter
from engine.config import Settings, cluster_size_of, merged, reveal, secrets_of
from engine.errors import EXIT_CANCELLED, EXIT_DONE, EXIT_INCOMPLETE, Cancelled, KnobError, MigrationError, UsageError
from engine.knobs import Auto, Knob
from engine.ledger.history import as_it_was
from engine.notation import parsed_source
from engine.plan.reading import read_plan
from engine.protocol import (
    CALLED_OFF,
    Event,
    GuardSet,
    KnobChanged,
    ProblemReported,
    RunOrigin,
    RunState,
    ServersStarted,
    Snapshot,
    Start,
    StateEntered,
    Verification,
)
from engine.redaction import know
from engine.run.census import KnownCensuses
from engine.run.clock import RunClock
from engine.run.context import NoPhase, Phase
from engine.run.copy import Copying
from engine.run.final_event import outcome
from engine.run.guarding import Guarding
from engine.run.knobs import as_typed, changed_guard, knobs_of
from engine.run.record import RunRecord
from engine.run.seed import Seeding
from engine.run.states import MAY, Lifecycle, require
from engine.run.table_views import TableViews
from engine.run.tuning import Tuning
from engine.run.view import Drawn, draw
from engine.vitals.poller import Vitals
from engine.work.connections import SERVER_FAILURES, failure_of
from engine.work.context import WorkerStart

if TYPE_CHECKING:
    from engine.demo.writers import DemoWriters

TICK_S = 0.25
"""How often counters are taken for the rates."""
NOW_GRACE_S = 0.5
"""How long workers may take to roll back after `cancel --now` before they are killed."""
DROPPING_S = 2.0
"""How long work of the engine's own may take to end when a cancel breaks it off."""

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class Run:
    """The one run of this engine; for its phases a `RunContext`, for its cluster the `Owner`."""

    def __init__(self, run_id: str, settings: Settings, publish: Callable[[Event], None], crews_of: CrewsOf) -> None:
        """Idle.

        Args:
            publish: hands an event on to clients.
            crews_of: where its workers come from.
        """
        self.settings = settings
        self.record = RunRecord(run_id)
        self.record.knobs.update(knobs_of(settings))
        self.meter = Meter()
        self.known = KnownCensuses()
        """Censuses of the source, for plans and the run."""
        self.cluster = Dispatcher(
            self,
            lambda events: crews_of(self.settings)(events),  # those that it is started with
            page_size=settings.run.page_size,
            throttle=settings.run.throttle,
        )
        self.vitals = Vitals()
        """What the servers are doing."""
        self.guards = Guarding(self)
        """What keeps the run from doing harm to them."""
        self.tuning = Tuning(self)
        """What turns the cluster size where that is asked for."""
        self._phases: list[Phase] = [NoPhase()]
        """Those that were begun; the last one is going on."""
        self._table_views = TableViews()
        self._lifecycle = Lifecycle(self._tell_state)
        self._clock = RunClock()
        self._started_unix = 0.0
        self._started_by = ""
        self._command: Start | None = None
        """What it was started with."""
        self._asked_by = ""
        """Who gives the command that is carried out just now."""
        self._publish = publish
        self._live: asyncio.Task[None] | None = None
        self._stop_servers: list[Callable[[], None]] = []
        """Embedded ones, at the end."""
        self._writers: DemoWriters | None = None
        """Of a demo that follows its source."""
        self.tuning.begin_with(_auto_of(settings))
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._stops_now = False
        self.waits_for_servers = False
        self._failure: MigrationError | None = None

    # --- what is asked of it ------------------------------------------------------------------------------------------

    @property
    def is_active(self) -> bool:
        """Work is going on, or is paused."""
        return self._live is not None and not self._live.done()

    @property
    def was_started(self) -> bool:
        """It was accepted, whatever became of it."""
        return self._live is not None

    @property
    def is_paused(self) -> bool:
        """Paused, or about to be."""
        return self._lifecycle.is_paused

    @property
    def phase(self) -> Phase:
        """What goes on."""
        return self._phases[-1]

    @property
    def seconds(self) -> float:
        """Since it was accepted; events have them as `at`."""
        return self._clock.elapsed

    @property
    def taken_unix(self) -> float:
        """When this engine took it (`RunContext.taken_unix`)."""
        return self._started_unix

    def start(self, command: Start, by: str = "") -> None:
        """Accept the run; everything that goes wrong from here on ends it as failed.

        Args:
            by: the front end that asks for it.
        """
        require("start", self.record.state)
        if command.settings:
            wanted = merged(self.settings, command.settings)
            cluster_size_of(wanted)
            self.settings = wanted
            know(secrets_of(self.settings))
            self.record.knobs.update(knobs_of(self.settings))
            self.tuning.begin_with(_auto_of(self.settings))
        self._command = command.model_copy(update={"settings": {}})  # `origin` has all of them
        self._clock.start()
        self._started_unix = time.time()
        self._started_by = by
        self.enter(RunState.STARTING, "starting")
        self._live = asyncio.create_task(self._run(command), name="run")

    def origin(self) -> RunOrigin:
        """What it was started with, so that another engine can resume it."""
        return RunOrigin(settings=reveal(self.settings), start=self._command)

    def pause(self, reason: str = "", by: str = "") -> None:
        """Let pages end and be committed, then be paused.

        Args:
            reason: why, in a few words, where no front end asks for it.
            by: the front end that asks for it.
        """
        if self._is_held_back:  # and then it stays paused when its guards let it go
            with self._asking(by):
                self._lifecycle.pause_for(reason or f"paused by {by or 'you'}")
            return
        require("pause", self.record.state)
        with self._asking(by):
            self._lifecycle.pause(reason or f"paused by {by or 'you'}", "pausing: workers end their pages")
        self.cluster.hold()
        self.settled()

    def resume(self, by: str = "") -> None:
        """Go on after a pause.

        Args:
            by: the front end that asks for it.

        Raises:
            UsageError: it is not paused, or guards hold it.
        """
        require("resume", self.record.state)
        if self._is_held_back:
            reason = self._lifecycle.pause_reason
            advice = "It goes on by itself when that is over; `ctl set guard.on=false` lets it go on now."
            raise UsageError(f"The run is {reason}. {advice}", code="guard")
        if self.guards.pause_reason:  # its guards hold it, though it was paused for something else
            with self._asking(by):
                self._lifecycle.pause_for(self.guards.hold())
            return
        with self._asking(by):
            self._go_on()

    def _go_on(self) -> None:
        self._lifecycle.resume()
        self.cluster.release()
        self._changed.set()

    @property
    def _is_held_back(self) -> bool:
        """It is paused by its guards, and by nothing else."""
        return self.is_paused and self._lifecycle.pause_reason == self.guards.hold_reason != ""

    @contextmanager
    def _asking(self, by: str) -> Iterator[None]:
        """States that are entered meanwhile are so by this front end's will."""
        self._asked_by = by
        try:
            yield
        finally:
            self._asked_by = ""

    def cancel(self, *, now: bool, by: str = "") -> None:
        """Stop; slices in hand are committed, or with `now` rolled back. Nothing to do when it is not going on.

        Args:
            now: roll back.
            by: what asks for it: a front end, a signal.
        """
        is_over = not self.is_active or self.record.state.is_over  # though its end may still be being written
        if is_over or (self._stopping.is_set() and (self._stops_now or not now)):
            return
        self._stops_now = now
        self._stopping.set()
        with self._asking(by):
            self._lifecycle.cancel(now=now)
        self.cluster.end(now=now)
        self._changed.set()

    def cut_over(self, timeout_s: float, *, blocks_writes: bool = False, compares_all: bool = False) -> None:
        """Complete a run that follows its source, whose writers are stopped.

        Raises:
            UsageError: it does not follow, or is not ready.
        """
        require("cutover", self.record.state)
        self._phases[-1].cut_over(timeout_s, blocks_writes=blocks_writes, compares_all=compares_all)
        if self._writers is not None:  # it would have to be called off for what the demo itself writes
            self._writers.stop()

    def call_off(self, by: str = "") -> None:
        """Break a cut-over off.

        Raises:
            UsageError: there is none, or it is too late.
        """
        require("calloff", self.record.state)
        self._phases[-1].call_off(by)

    async def resolve(self, namespace: str, choice: str, by: str = "") -> None:
        """Decide what is done about something that became of the source.

        Args:
            namespace: the collection; empty for the whole source.
            by: who decides.

        Raises:
            UsageError: there is nothing to be decided, or not so.
        """
        require("resolve", self.record.state)
        await self._phases[-1].resolve(namespace, choice, by)

    async def knob_applies(self, knob: Knob, value: int) -> str:
        """When a knob's new value would apply, as text.

        Raises:
            UsageError, KnobError: it cannot be turned now, or not to this.
        """
        require("set", self.record.state)
        if not self.is_active:
            return "when the run starts"
        for phase in self._phases:
            if applies := await phase.knob_applies(knob.name, value):
                return applies
        if knob.name == "seed_count":
            raise KnobError("seed_count can be changed only in a run that began with seeding.")
        return "from the next page" if knob.name == "page_size" else "at once"

    def knob_turned(self, name: str, value: int) -> None:
        """A knob has another value: let the cluster follow."""
        if not self.is_active:
            return
        if name == "cluster_size":
            self.cluster.resize(value)
        elif name == "seed_count":
            self.cluster.dispatch()
        else:
            self.tune()
        for phase in self._phases:
            phase.knob_turned(name, value)

    def set_guard(self, name: str, value: str, by: str = "") -> dict[str, Any]:
        """Give a setting of section `[guard]` another value, for this run; returns what it is now and when it applies.

        Args:
            by: who gives it.

        Raises:
            UsageError: there is no such setting, it cannot have this value, or the run is over.
        """
        if self.record.state.is_over:
            require("set", self.record.state)
        settings = changed_guard(self.settings, name, value)
        old, new = (as_typed(getattr(each.guard, name)) for each in (self.settings, settings))
        self.settings = settings
        self.vitals.own.take(settings.guard)
        event = GuardSet(setting=name, old=old, value=new)
        self.emit(event.model_copy(update={"by": by}) if by else event)
        return {"setting": name, "value": getattr(settings.guard, name), "applies": "at once"}

    def snapshot(self) -> Snapshot:
        """Everything that a screen needs, now."""
        vitals = self.vitals.view
        return draw(
            Drawn(
                self.settings, self.record, self._lifecycle, self._phases[-1], self.cluster, self.meter,
                self._clock.elapsed, self._clock.seconds, self._started_unix, self._started_by,
                vitals, self._table_views, self.guards.view(vitals),
            )
        )  # fmt: skip

    async def ended(self) -> None:
        """Returns when its end is written."""
        if self._live is not None and self.record.state.is_over:
            await self._live

    async def close(self) -> None:
        """End everything that is left: the run, and the embedded servers unless they are to stay."""
        if self._live is not None:
            self.cancel(now=True)
            await self._live
        if not self.settings.demo.keep:
            for stop in self._stop_servers:
                await asyncio.to_thread(stop)

    # --- for its phases (RunContext) ----------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """A fact, of now: it changes the record and goes to clients and ledger."""
        now = {"at": round(self._clock.elapsed, 3)}
        if not event.only_counts:
            now["clock"] = round(time.time(), 3)
        event = event.model_copy(update=now)
        self.record.apply(event)
        for phase in self._phases:
            phase.note(event)
        self.tuning.note(event)
        if self._writers is not None and isinstance(event, ProblemReported) and event.code == CALLED_OFF:
            self._writers.start()
        self._publish(event)

    def enter(self, state: RunState, phase: str) -> None:
        """The run's own progress to a state; a pause in force stays in force."""
        self._lifecycle.enter(state, phase)

    async def stand(self, reason: str, at_most_s: float | None = None) -> None:
        """Be paused until it is resumed (`RunContext.stand`)."""
        if not self._stopping.is_set():  # else it waits no longer
            self._lifecycle.stand(reason)
        while True:
            try:
                async with asyncio.timeout(at_most_s):
                    await self.until(lambda: not self.is_paused)
            except TimeoutError:
                if self._lifecycle.pause_reason != reason:
                    continue
            return

    async def until_clear(self) -> None:
        """Be paused while a guard has passed the limit that pauses (`RunContext.until_clear`)."""
        while reason := self.guards.hold_builds():
            await self.stand(reason)

    def go_on(self, reason: str) -> None:
        """What the run was paused for is over; a pause for another reason stays in force."""
        if self.is_paused and self._lifecycle.pause_reason == reason:
            self._go_on()

    def fail(self, error: MigrationError) -> None:
        """It cannot be completed: it ends failed, slices in hand are rolled back."""
        if self._failure is None:
            self._failure = error
            self._stopping.set()
            self.cluster.end(now=True)
            self._changed.set()

    async def until(self, is_done: Callable[[], bool]) -> None:
        """Wait for work that workers do (`RunContext.until`)."""
        while True:
            if self._failure is not None:
                raise self._failure
            if self._stopping.is_set():
                if self._stops_now or self.cluster.is_quiet:
                    raise Cancelled("The run was cancelled.")
            elif is_done():
                return
            self._changed.clear()
            await self._changed.wait()

    async def interruptible(self, work: Awaitable[Result]) -> Result:
        """Wait for work of the engine's own (`RunContext.interruptible`)."""
        task = asyncio.ensure_future(work)
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()  # nothing would wait for it
            raise
        finally:
            stop.cancel()
        if task.done():
            return task.result()
        task.cancel()
        task.add_done_callback(_pass_by)
        await asyncio.wait({task}, timeout=DROPPING_S)
        raise self._failure or Cancelled("The run was cancelled.")

    # --- for its guards (Guarded) -------------------------------------------------------------------------------------

    def tune(self) -> None:
        """Let workers know the page size and the rate of now."""
        knobs = self.record.knobs
        self.cluster.tune(knobs["page_size"], self.guards.throttled(knobs["throttle"]))

    def hold_back(self, reason: str) -> None:
        """Pause for the servers' sake, where a run can be paused."""
        if self.record.state in MAY["pause"]:
            self.pause(reason)

    # --- for its cluster (Owner) --------------------------------------------------------------------------------------

    def resized(self, size: int) -> None:
        """The cluster had to shrink."""
        old = self.record.knobs["cluster_size"]
        if size != old:
            self.emit(KnobChanged(knob="cluster_size", old=old, value=size))

    def settled(self) -> None:
        """Another worker is idle, or all are: a pause may be through, a drain, or all of it."""
        if self.cluster.is_quiet:
            self._lifecycle.paused()
        self._changed.set()

    # --- its life -----------------------------------------------------------------------------------------------------

    async def _run(self, command: Start) -> None:
        state, error, code = RunState.COMPLETED, None, EXIT_DONE
        try:
            await self._work(command)
            code = self._verdict() if command.migrate else EXIT_DONE
        except Cancelled:
            state, code = RunState.CANCELLED, EXIT_CANCELLED
        except MigrationError as failure:
            state, error, code = RunState.FAILED, failure, failure.exit_code
        except SERVER_FAILURES as failure:
            log.exception("a server failed the run")
            found = failure_of(failure)
            error = MigrationError(f"{found.sentence} Resume the run when the cause is gone.", code=found.code)
            state, code = RunState.FAILED, error.exit_code
        except Exception as failure:
            log.exception("the run failed")
            error = MigrationError(
                f"The engine failed with {type(failure).__name__}; its log says more.", code="internal"
            )
            state, code = RunState.FAILED, error.exit_code
        try:
            await self._end(state, error, code)
        except Exception:
            log.exception("the run's end failed")

    async def _work(self, command: Start) -> None:
        if self.settings.demo.embedded:
            with self._clock.left_out():
                self.enter(RunState.STARTING, "starting the embedded servers")
                await self.interruptible(self._start_servers(is_followed=command.follow))
        ticking = asyncio.create_task(self._tick(), name="tick")
        tuning = asyncio.create_task(self.tuning.keep(), name="tuning")
        try:
            self.tune()
            self.cluster.start_with(self._worker_start())
            seeding = None
            if command.seed:
                with self._clock.left_out():
                    seeding = Seeding(self)
                    self._phases.append(seeding)
                    await seeding.run()
            if self._writers is not None:
                self._writers.start()
            if command.migrate:
                await self._copy(command, seeding)
        finally:
            if self._writers is not None:
                await asyncio.to_thread(self._writers.stop)
            ticking.cancel()
            tuning.cancel()
            await self.vitals.stop()

    async def _copy(self, command: Start, seeding: Seeding | None) -> None:
        self.meter.restart()
        if command.resume and command.said is not None:
            self.settings, command = await self.interruptible(as_it_was(self.settings, command))
            self._command = command.model_copy(update={"settings": {}})
        saved = read_plan(command.plan) if command.plan else None
        if saved is not None:
            self.settings = saved.over(self.settings)
        self.vitals.own.take(self.settings.guard)
        copying = Copying(
            self, self.known, resume=command.resume, saved=saved, saved_text=command.plan, seeding=seeding,
            on_taken_up=self.meter.take_up, vitals=self.vitals, tuning=self.tuning,
            follows=command.follow, is_anew=command.resync, takes_over=command.take_over,
        )  # fmt: skip
        self._phases.append(copying)
        await copying.run()

    async def _end(self, state: RunState, error: MigrationError | None, code: int) -> None:
        await self.cluster.stop(NOW_GRACE_S)
        for phase in self._phases:
            await phase.last_count()
        self._clock.stop()
        self._lifecycle.end(state)
        self.emit(
            outcome(
                self.record, state, error, code, self.meter, seconds=self._clock.seconds,
                written_before=self._phases[-1].written_before, seconds_before=self._phases[-1].seconds_before,
            )
        )  # fmt: skip
        for phase in self._phases:
            await phase.close(state, self._clock.seconds, error.message if error is not None else "")

    def _verdict(self) -> int:
        has_all_indexes = not any(table.indexes_failed for table in self.record.tables.values())
        if self.record.rejected or self.record.verification is Verification.MISMATCH or not has_all_indexes:
            return EXIT_INCOMPLETE
        return EXIT_DONE

    def _worker_start(self) -> WorkerStart:
        """What workers have to know that are started before the target was reached."""
        settings = self.settings
        return WorkerStart(
            self.record.run_id, settings.source.connection, settings.target.connection, settings.run.converter,
            settings.source.uri_from, settings.target.uri_from,
        )  # fmt: skip

    async def _start_servers(self, *, is_followed: bool) -> None:
        # Of no use to other runs, and it takes time to import.
        from engine.demo import start_servers
        from engine.demo.writers import DemoWriters

        demo = self.settings.demo
        servers = await asyncio.to_thread(start_servers, demo.folder, keep=demo.keep)
        self._stop_servers.append(servers.stop)
        self.settings = merged(
            self.settings, {"source": {"uri": servers.source_uri}, "target": {"uri": servers.target_uri}}
        )
        if is_followed and demo.writes:
            seeded = parsed_source(self.settings.seed.collection, "seed.collection")
            self._writers = DemoWriters(servers.source_uri, seeded.database, seeded.collection, demo.writes)
        self.emit(
            ServersStarted(
                source=servers.source_uri,
                target=servers.target_uri,
                directory=str(servers.directory),
                keep=demo.keep,
                writes_per_s=demo.writes if self._writers is not None else 0,
            )
        )

    async def _tick(self) -> None:
        while True:
            self._take_counters()
            self.guards.look(self.vitals.view, self.meter.rows.rate())
            await asyncio.sleep(TICK_S)

    def _take_counters(self) -> None:
        """For the rates."""
        done, _ = self._phases[-1].amounts
        moving = self.record.state in (RunState.RUNNING, RunState.SEEDING)
        now = self._clock.elapsed
        self.meter.tick(now, done, self.record.n_bytes, moving=moving)
        parts = (part for worker in self.cluster.workers for part in worker.parts)
        at_it = {part.task_id for part in parts} & self.record.tables.keys()
        self.meter.tick_tables(now, {task_id: self.record.tables[task_id].read for task_id in at_it}, moving=moving)

    def _tell_state(self, state: RunState, phase: str, reason: str) -> None:
        if self.record.state is not state:
            self._take_counters()  # what was moved until now counts as moved
        entered = StateEntered(state=state, phase=phase, reason=reason)
        self.emit(entered.model_copy(update={"by": self._asked_by}) if self._asked_by else entered)


def _pass_by(task: asyncio.Future[Any]) -> None:
    """What it ends with when it is broken off is of no matter, and nothing else would ask for it."""
    if not task.cancelled():
        task.exception()


def _auto_of(settings: Settings) -> Auto | None:
    """The bounds of the cluster size where the run looks for it."""
    size = cluster_size_of(settings)
    return size if isinstance(size, Auto) else None
