"""A run from acceptance to its end, and everything that is asked of it on the way.

It owns what all of its phases share (the record, the state, the cluster, the clock) and takes them one after the other: seeding
(`engine.run.seed`), copying (`engine.run.copy`). Whatever happens becomes an event; the record, the clients and the ledger all
follow the events.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from engine.cluster.crew import MakeCrew
from engine.cluster.dispatcher import Dispatcher
from engine.cluster.meter import Meter
from engine.config import Settings, merged, secrets_of
from engine.errors import EXIT_CANCELLED, EXIT_DONE, EXIT_INCOMPLETE, Cancelled, KnobError, MigrationError
from engine.knobs import Knob
from engine.ledger.history import as_it_was
from engine.plan.reading import read_plan
from engine.protocol import Event, KnobChanged, RunState, ServersStarted, Snapshot, Start, StateEntered, Verification
from engine.redaction import know
from engine.run.census import KnownCensuses
from engine.run.clock import RunClock
from engine.run.context import NoPhase, Phase
from engine.run.copy import Copying
from engine.run.final_event import outcome
from engine.run.knobs import knobs_of
from engine.run.record import RunRecord
from engine.run.seed import Seeding
from engine.run.states import Lifecycle, require
from engine.run.view import Drawn, draw
from engine.work.connections import SERVER_FAILURES, failure_of
from engine.work.context import WorkerStart

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

    def __init__(self, run_id: str, settings: Settings, publish: Callable[[Event], None], make_crew: MakeCrew) -> None:
        """Idle.

        Args:
            publish: hands an event on to clients.
            make_crew: where its workers come from.
        """
        self.settings = settings
        self.record = RunRecord(run_id)
        self.record.knobs.update(knobs_of(settings))
        self.meter = Meter()
        self.known = KnownCensuses()
        """Censuses of the source, for plans and the run."""
        self.cluster = Dispatcher(self, make_crew, page_size=settings.run.page_size, throttle=settings.run.throttle)
        self._phases: list[Phase] = [NoPhase()]
        """Those that were begun; the last one is going on."""
        self._lifecycle = Lifecycle(self._tell_state)
        self._clock = RunClock()
        self._started_unix = 0.0
        self._publish = publish
        self._live: asyncio.Task[None] | None = None
        self._stop_servers: list[Callable[[], None]] = []
        """Embedded ones, at the end."""
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._stops_now = False
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

    def start(self, command: Start) -> None:
        """Accept the run; everything that goes wrong from here on ends it as failed."""
        require("start", self.record.state)
        if command.settings:
            self.settings = merged(self.settings, command.settings)
            know(secrets_of(self.settings))
            self.record.knobs.update(knobs_of(self.settings))
        self._clock.start()
        self._started_unix = time.time()
        self.enter(RunState.STARTING, "starting")
        self._live = asyncio.create_task(self._run(command), name="run")

    def pause(self, reason: str = "paused by you") -> None:
        """Let pages end and be committed, then be paused, for a reason in a few words."""
        require("pause", self.record.state)
        self._lifecycle.pause(reason, "pausing: workers end their pages")
        self.cluster.hold()
        self.settled()

    def resume(self) -> None:
        """Go on after a pause."""
        require("resume", self.record.state)
        self._lifecycle.resume()
        self.cluster.release()
        self._changed.set()

    def cancel(self, *, now: bool) -> None:
        """Stop; slices in hand are committed, or with `now` rolled back. Nothing to do when it is not going on."""
        is_over = not self.is_active or self.record.state.is_over  # though its end may still be being written
        if is_over or (self._stopping.is_set() and (self._stops_now or not now)):
            return
        self._stops_now = now
        self._stopping.set()
        self._lifecycle.cancel(now=now)
        self.cluster.end(now=now)
        self._changed.set()

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
            self.cluster.tune(self.record.knobs["page_size"], self.record.knobs["throttle"])
        for phase in self._phases:
            phase.knob_turned(name, value)

    def snapshot(self) -> Snapshot:
        """Everything that a screen needs, now."""
        return draw(
            Drawn(
                self.settings, self.record, self._lifecycle, self._phases[-1], self.cluster, self.meter,
                self._clock.elapsed, self._clock.seconds, self._started_unix,
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
        event = event.model_copy(update={"at": round(self._clock.elapsed, 3)})
        self.record.apply(event)
        for phase in self._phases:
            phase.note(event)
        self._publish(event)

    def enter(self, state: RunState, phase: str) -> None:
        """The run's own progress to a state; a pause in force stays in force."""
        self._lifecycle.enter(state, phase)

    async def stand(self, reason: str, at_most_s: float | None = None) -> None:
        """Be paused until it is resumed (`RunContext.stand`)."""
        self._lifecycle.stand(reason)
        while True:
            try:
                async with asyncio.timeout(at_most_s):
                    await self.until(lambda: not self.is_paused)
            except TimeoutError:
                if self._lifecycle.pause_reason != reason:
                    continue
            return

    def go_on(self, reason: str) -> None:
        """What the run was paused for is over; a pause for another reason stays in force."""
        if self.record.state is RunState.PAUSED and self._lifecycle.pause_reason == reason:
            self.resume()

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
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait({task}, timeout=DROPPING_S)
        raise self._failure or Cancelled("The run was cancelled.")

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
                await self.interruptible(self._start_servers())
        ticking = asyncio.create_task(self._tick(), name="tick")
        try:
            self.cluster.tune(self.record.knobs["page_size"], self.record.knobs["throttle"])
            self.cluster.start_with(self._worker_start())
            seeding = None
            if command.seed:
                with self._clock.left_out():
                    seeding = Seeding(self)
                    self._phases.append(seeding)
                    await seeding.run()
            if command.migrate:
                await self._copy(command, seeding)
        finally:
            ticking.cancel()

    async def _copy(self, command: Start, seeding: Seeding | None) -> None:
        self.meter.restart()
        if command.resume and command.said is not None:
            self.settings, command = await self.interruptible(as_it_was(self.settings, command))
        saved = read_plan(command.plan) if command.plan else None
        if saved is not None:
            self.settings = saved.over(self.settings)
        copying = Copying(
            self, self.known, resume=command.resume, saved=saved, saved_text=command.plan, seeding=seeding,
            on_taken_up=self.meter.restart,
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
                self.record, state, error, code, seconds=self._clock.seconds,
                written_before=self._phases[-1].written_before,
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
            self.record.run_id, settings.source.connection, settings.target.connection, settings.run.converter
        )

    async def _start_servers(self) -> None:
        from engine.demo import start_servers  # of no use to other runs, and it takes time to import

        demo = self.settings.demo
        servers = await asyncio.to_thread(start_servers, demo.folder, keep=demo.keep)
        self._stop_servers.append(servers.stop)
        self.settings = merged(
            self.settings, {"source": {"uri": servers.source_uri}, "target": {"uri": servers.target_uri}}
        )
        self.emit(
            ServersStarted(
                source=servers.source_uri,
                target=servers.target_uri,
                directory=str(servers.directory),
                keep=demo.keep,
            )
        )

    async def _tick(self) -> None:
        while True:
            done, _ = self._phases[-1].amounts
            moving = self.record.state in (RunState.RUNNING, RunState.SEEDING)
            self.meter.tick(self._clock.elapsed, done, self.record.n_bytes, moving=moving)
            await asyncio.sleep(TICK_S)

    def _tell_state(self, state: RunState, phase: str, reason: str) -> None:
        self.emit(StateEntered(state=state, phase=phase, reason=reason))
