"""A run from acceptance to its end: seeding, planning, copying, finishing, and everything an operator asks of it on the way.

This is the conductor: it owns the record, the supervisor with its director (`Foreman`), and the two kinds of work (`Seeding`,
`Copying`). Whatever happens becomes an event; the record, the clients and the ledger all follow the events.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from engine.cluster.foreman import Foreman
from engine.cluster.meter import Meter
from engine.cluster.supervisor import Supervisor
from engine.config import Settings, merged, secrets_of
from engine.errors import EXIT_CANCELLED, EXIT_DONE, EXIT_INCOMPLETE, Cancelled, MigrationError, UsageError
from engine.protocol import (
    EditablePlan,
    Event,
    MakePlan,
    RunState,
    ServersStarted,
    Snapshot,
    Start,
    StateEntered,
    Verification,
    VerificationEnded,
    Verify,
    VerifyReport,
)
from engine.redaction import know
from engine.run import history, knobs
from engine.run.census import FullSurvey, KnownCensuses
from engine.run.census_leases import FullCensus
from engine.run.clock import RunClock
from engine.run.copy import Copying
from engine.run.final_event import outcome
from engine.run.seed import Seeding
from engine.run.view import draw
from engine.verify.full import FullVerification
from engine.work.connections import SERVER_FAILURES, explain
from engine.work.context import WorkerStart

TICK_S = 0.25
"""How often counters are taken for the rates."""
NOW_GRACE_S = 0.5
"""How long workers may take to roll back after `cancel --now` before they are killed."""

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class Migration:
    """The one run of this engine."""

    def __init__(self, run_id: str, settings: Settings, publish: Callable[[Event], None]) -> None:
        from engine.run.record import RunRecord

        self.run_id = run_id
        self.settings = settings
        self.record = RunRecord(run_id)
        self.meter = Meter()
        self.foreman = Foreman(self)
        self.seeding: Seeding | None = None
        self.copying: Copying | None = None
        self.supervisor: Supervisor | None = None
        self.verifying: FullVerification | None = None
        """A full verification, of this run after its end or of another; it has a cluster of its own."""
        self.census: FullCensus | None = None
        """A full census at the beginning of the run, taken by its own cluster."""
        self.surveying: FullSurvey | None = None
        """A plan that is made from a full census; it has a cluster of its own."""
        self.known = KnownCensuses()
        self.started_unix = 0.0
        self.weak_tls: list[str] = []
        """Of the connections of this run, for people: "source: TLS, not verified"."""
        self.pause_reason = ""
        """Why it stands, or stood last."""
        self.written_before = 0
        """Rows that a resumed run had committed earlier: rates are only about this time."""
        self.source_uri = settings.source.connection
        self.target_uri = settings.target.connection
        self._publish = publish
        self._clock = RunClock()
        self._main: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._stop_now = False
        self._failure: MigrationError | None = None
        self._before_pause = (RunState.RUNNING, "copying")
        self._servers: Any = None
        self.record.knobs.update(knobs.knobs_of(settings))

    # --- what is asked of it ------------------------------------------------------------------------------------------

    @property
    def is_active(self) -> bool:
        """Work is going on, or stands paused."""
        return self._main is not None and not self._main.done()

    @property
    def is_busy(self) -> bool:
        """The engine is needed: for the run, or for a verification."""
        return self.is_active or self.verifying is not None or self.surveying is not None

    @property
    def elapsed(self) -> float:
        """Seconds since the run was accepted, standing still after its end."""
        return self._clock.elapsed

    @property
    def seconds(self) -> float:
        """`elapsed` without seeding and without starting servers: plan, copy, keys, ANALYZE, counts."""
        return self._clock.seconds

    async def start(self, command: Start) -> None:
        """Accept the run; everything that goes wrong from here on ends it as failed."""
        self.record.require("start")
        if self.verifying is not None:
            raise UsageError("A verification is going on: let it end, or cancel it.", code="state")
        if self.surveying is not None:
            raise UsageError("A full census is going on: let it end, or cancel it.", code="state")
        if command.settings:
            self.settings = merged(self.settings, command.settings)
            know(secrets_of(self.settings))
            self.source_uri = self.settings.source.connection
            self.target_uri = self.settings.target.connection
            self.record.knobs.update(knobs.knobs_of(self.settings))
        self._clock.start()
        self.started_unix = time.time()
        self.enter(RunState.STARTING, "starting")
        self._main = asyncio.create_task(self._live(command), name="run")

    def pause(self, reason: str = "paused by you") -> None:
        """Let pages end, commit, stand still, for a reason in a few words."""
        self.record.require("pause")
        self._before_pause = (self.record.state, self.record.phase)
        self.pause_reason = reason
        self._state(RunState.PAUSING, "pausing: workers end their pages", reason)
        if self.supervisor is not None:
            self.supervisor.hold()
        self.settled()

    def resume(self) -> None:
        """Go on after a pause."""
        self.record.require("resume")
        self._state(*self._before_pause)
        if self.supervisor is not None:
            self.supervisor.release()
        self._changed.set()

    async def stand(self, reason: str, at_most_s: float | None = None) -> None:
        """Stand still until somebody resumes, for a reason in a few words; for work of the engine's own, in any state.

        Args:
            reason: why.
            at_most_s: come back after so long though nobody resumed, unless the run stands for another reason; it still
                counts as paused then, until `go_on`.

        Raises:
            Cancelled: so asked meanwhile.
        """
        if not self.is_paused:
            self._before_pause = (self.record.state, self.record.phase)
            self.pause_reason = reason
            self._state(RunState.PAUSED, "paused", reason)
        while True:
            try:
                async with asyncio.timeout(at_most_s):
                    await self.until(lambda: not self.is_paused)
            except TimeoutError:
                if self.pause_reason != reason:
                    continue
            return

    def go_on(self, reason: str) -> None:
        """What a run stood for is over, so it goes on by itself; a pause for another reason stays in force."""
        if self.record.state is RunState.PAUSED and self.pause_reason == reason:
            self.resume()

    def cancel(self, *, now: bool) -> None:
        """Stop; slices in hand are committed, or with `now` rolled back. Nothing to do when no run is going on."""
        if self.verifying is not None:
            self.verifying.cancel()
        if self.surveying is not None:
            self.surveying.cancel()
        if not self.is_active or (self._stopping.is_set() and (self._stop_now or not now)):
            return
        self._stop_now = now
        self._stopping.set()
        self._state(RunState.CANCELLING, "cancelling: rolling back" if now else "cancelling: workers end their pages")
        if self.supervisor is not None:
            if now:
                self.supervisor.abort()
            else:
                self.supervisor.hold()
        self._changed.set()

    async def verify(self, command: Verify) -> VerifyReport:
        """Compare both sides of a run document by document, by the whole cluster.

        Raises:
            UsageError: a run or another verification is going on here, or there is no such complete run.
            Cancelled: so asked. MigrationError: a server failed it.
        """
        if self._main is not None and self.record.state.is_over:
            await self._main  # its end is being written
        if self.is_busy:
            raise UsageError("The engine is at work: let it end, or cancel it, then verify.", code="state")
        self.verifying = FullVerification(command, self.settings, self.record.knobs, self.emit)
        try:
            report = await self.verifying.run()
        except SERVER_FAILURES as failure:
            log.exception("a server failed the verification")
            code, sentence, _ = explain(failure)
            raise MigrationError(f"{sentence} Verify again when the cause is gone.", code=code) from failure
        finally:
            self.verifying = None
        if report.run_id == self.run_id:
            self.emit(VerificationEnded(verification=report.result))
        return report

    async def survey(self, command: MakePlan, settings: Settings) -> EditablePlan:
        """A plan made from a full census, taken by the whole cluster.

        Args:
            settings: with the collections and the settings asked for.

        Raises:
            UsageError: the engine is at work, or what is asked for cannot be.
            Cancelled: so asked. MigrationError: a server failed it.
        """
        if self.is_busy:
            raise UsageError("The engine is at work: let it end, or cancel it, then plan.", code="state")
        if command.settings and self._main is None:  # a run's knobs, of one that is over too, are its own
            self.record.knobs.update(knobs.knobs_of(settings))
        self.surveying = FullSurvey(command, settings, self.record.knobs, self.emit, self.run_id, self.known)
        try:
            return await self.surveying.run()
        except SERVER_FAILURES as failure:
            log.exception("a server failed the census")
            code, sentence, _ = explain(failure)
            raise MigrationError(f"{sentence} Plan again when the cause is gone.", code=code) from failure
        finally:
            self.surveying = None

    @property
    def is_paused(self) -> bool:
        """The run stands, or is about to."""
        return self.record.state in (RunState.PAUSING, RunState.PAUSED)

    @property
    def is_stopping(self) -> bool:
        """The run is to end as it is: cancelled, or failed."""
        return self._stopping.is_set()

    def snapshot(self) -> Snapshot:
        """Everything a screen needs, now."""
        return draw(self)

    async def close(self) -> None:
        """End everything that is left: the run, and the embedded servers unless they are to stay."""
        if self._main is not None:
            self.cancel(now=True)
            await self._main
        if self._servers is not None and not self.settings.demo.keep:
            await asyncio.to_thread(self._servers.stop)

    # --- events -------------------------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """A fact, of now: it changes the record and goes to clients and ledger."""
        event = event.model_copy(update={"at": round(self.elapsed, 3)})
        self.record.apply(event)
        if self.copying is not None:
            self.copying.journal.note(event)
        self._publish(event)

    def enter(self, state: RunState, phase: str) -> None:
        """The run's own progress to a state; a pause in force stays in force."""
        if self.is_paused and state.is_active:
            self._before_pause = (state, phase)
            return
        if self.record.state is not RunState.CANCELLING:
            self._state(state, phase)

    def _state(self, state: RunState, phase: str, reason: str = "") -> None:
        if (state, phase) != (self.record.state, self.record.phase):
            self.emit(StateEntered(state=state, phase=phase, reason=reason))

    def fail(self, error: MigrationError) -> None:
        """Something that cannot be worked around: the run ends failed, slices in hand are rolled back."""
        if self._failure is None:
            self._failure = error
            self._stopping.set()
            if self.supervisor is not None:
                self.supervisor.abort()
            self._changed.set()

    # --- the run's life -----------------------------------------------------------------------------------------------

    async def _live(self, command: Start) -> None:
        state, error, code = RunState.COMPLETED, None, EXIT_DONE
        try:
            await self._work(command)
            if self.copying is not None:
                code = self._verdict()
        except Cancelled:
            state, code = RunState.CANCELLED, EXIT_CANCELLED
        except MigrationError as failure:
            state, error, code = RunState.FAILED, failure, failure.exit_code
        except SERVER_FAILURES as failure:
            log.exception("a server failed the run")
            code_word, sentence, _ = explain(failure)
            error = MigrationError(f"{sentence} Resume the run when the cause is gone.", code=code_word)
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
            self.supervisor = Supervisor(
                WorkerStart(self.run_id, self.source_uri, self.target_uri, self.settings.run.converter),
                self.foreman,
                page_size=self.record.knobs["page_size"],
                throttle=self.record.knobs["throttle"],
            )
            if self.is_paused:  # while the embedded servers were started, for example
                self.supervisor.hold()
            if command.seed:
                with self._clock.left_out():
                    self.seeding = Seeding(self)
                    await self.seeding.run()
            if command.migrate:
                self.meter.restart()
                if command.resume and command.said is not None:
                    self.settings, command = await self.interruptible(history.as_it_was(self.settings, command))
                self.copying = Copying(self, command.plan)
                await self.copying.run(command.resume)
        finally:
            ticking.cancel()

    async def _end(self, state: RunState, error: MigrationError | None, code: int) -> None:
        if self.supervisor is not None:
            await self.supervisor.stop(NOW_GRACE_S)
        if self.copying is not None:
            await self.copying.end_own_work()
            await self.copying.tally.last_count()
        self._clock.stop()
        self.emit(outcome(self, state, error, code))
        if self.copying is not None:
            await self.copying.close(state, error.message if error is not None else "")

    def _verdict(self) -> int:
        has_all_indexes = not any(table.indexes_failed for table in self.record.tables.values())
        if self.record.rejected or self.record.verification is Verification.MISMATCH or not has_all_indexes:
            return EXIT_INCOMPLETE
        return EXIT_DONE

    async def _start_servers(self) -> None:

        from engine.demo import start_servers

        demo = self.settings.demo
        self._servers = await asyncio.to_thread(start_servers, demo.folder, keep=demo.keep)
        self.source_uri = self._servers.source_uri
        self.target_uri = self._servers.target_uri
        self.settings = merged(self.settings, {"source": {"uri": self.source_uri}, "target": {"uri": self.target_uri}})
        self.emit(
            ServersStarted(
                source=self.source_uri,
                target=self.target_uri,
                directory=str(self._servers.directory),
                keep=demo.keep,
            )
        )

    async def _tick(self) -> None:
        last_check = 0.0
        while True:
            state = self.record.state
            done = self.record.written if self.copying is not None else self.record.seeded
            moving = state in (RunState.RUNNING, RunState.SEEDING)
            self.meter.tick(self.elapsed, done, self.record.n_bytes, moving=moving)
            if self.supervisor is not None and time.monotonic() - last_check >= 1.0:
                last_check = time.monotonic()
                await self.supervisor.check_heartbeats()
            await asyncio.sleep(TICK_S)

    # --- waiting ------------------------------------------------------------------------------------------------------

    async def until(self, is_done: Callable[[], bool]) -> None:
        """Wait for work that workers do. Raises Cancelled, or what made the run fail, when it is to stop."""
        while True:
            if self._failure is not None:
                raise self._failure
            if self._stopping.is_set():
                if self.supervisor is None or self._stop_now or self.supervisor.is_quiet:
                    raise Cancelled("The run was cancelled.")
            elif is_done():
                return
            self._changed.clear()
            await self._changed.wait()

    async def interruptible(self, work: Awaitable[Result]) -> Result:
        """Wait for work of our own, that a cancel or a failure may break off at once."""
        task = asyncio.ensure_future(work)
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait({task}, timeout=2.0)
        raise self._failure or Cancelled("The run was cancelled.")

    # --- the cluster --------------------------------------------------------------------------------------------------

    def settled(self) -> None:
        """Somebody became idle, or nobody is busy: a pause may be through, a drain, or all of it."""
        if self.record.state is RunState.PAUSING and (self.supervisor is None or self.supervisor.is_quiet):
            self._state(RunState.PAUSED, "paused", self.pause_reason)
        self._changed.set()

    def dispatch(self) -> None:
        """There is new work: hand it out."""
        if self.supervisor is not None:
            self.supervisor.dispatch()
