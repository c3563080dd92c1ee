"""What an engine is at: its run, and besides, one at a time, a full verification or a plan from a full census."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from engine.cluster.crew import CrewsOf
from engine.config import Settings, cluster_size_of
from engine.errors import KnobError, MigrationError, UsageError
from engine.knobs import CLUSTER_SIZE, Auto, Knob, knob_named
from engine.ledger.history import replaced_since
from engine.ledger.ledger import Ledger
from engine.plan.looks import KnownLooks
from engine.protocol import (
    EditablePlan,
    Event,
    KnobChanged,
    MakePlan,
    RetryRejects,
    RetryReport,
    Snapshot,
    Start,
    VerificationEnded,
    Verify,
    VerifyReport,
)
from engine.run.knobs import knobs_of
from engine.run.recount import recounted
from engine.run.run import Run
from engine.run.states import require
from engine.service.census_plan import CensusPlan
from engine.service.sockets import run_id_now
from engine.verify.full import FullVerification
from engine.verify.retry_rejects import as_event, retry
from engine.work.connections import SERVER_FAILURES, failure_of

log = logging.getLogger(__name__)
Report = TypeVar("Report", covariant=True)


class Activity(Protocol[Report]):
    """Work of the engine's that is no run, with a cluster of its own."""

    async def run(self) -> Report:
        """Do the work; returns its report."""
        ...

    def cancel(self) -> None:
        """Break the work off."""
        ...

    async def check_size(self, workers: int) -> None:
        """Raise KnobError where its cluster cannot be so large."""
        ...

    def turn(self, knob: str) -> None:
        """A knob has another value."""
        ...

    def drawn(self, snapshot: Snapshot) -> Snapshot:
        """The run's snapshot with how far this is instead."""
        ...


class Activities:
    """The run of an engine, and what it does beside."""

    def __init__(self, run_id: str, settings: Settings, publish: Callable[[Event], None], crews_of: CrewsOf) -> None:
        """Idle.

        Args:
            publish: hands an event on to clients.
            crews_of: where workers come from.
        """
        self.run = Run(run_id, settings, publish, crews_of)
        self.looks = KnownLooks()
        """What was read of the source for plans, for the next edit of one."""
        self._crews_of = crews_of
        self._beside: dict[str, Activity[Any]] = {}
        """At most one, by what it is called in a sentence."""

    @property
    def is_busy(self) -> bool:
        """The engine is needed: for the run, or for what it does beside."""
        return self.run.is_active or bool(self._beside)

    def start(self, command: Start, by: str = "") -> None:
        """Begin the run (`Run.start`)."""
        require("start", self.run.record.state)
        for name in self._beside:
            raise UsageError(f"A {name} is in progress: let it end, or cancel it.", code="state")
        self.looks.forget()
        self.run.start(command, by)
        self.run.record.run_id = run_id_now(self.run.record.run_id)

    def cancel(self, *, now: bool, by: str = "") -> None:
        """Stop everything (`Run.cancel`)."""
        for activity in self._beside.values():
            activity.cancel()
        self.run.cancel(now=now, by=by)

    def require_cancellable(self) -> None:
        """Raise UsageError when there is nothing to cancel."""
        if not self._beside:
            require("cancel", self.run.record.state)

    async def verify(self, command: Verify) -> VerifyReport:
        """Compare both sides of a run document by document, by the whole cluster.

        Raises:
            UsageError: the engine is at work, or there is no such complete run.
            Cancelled: so asked. MigrationError: a server failed it.
        """
        await self.run.ended()
        self._require_idle("verify")
        run = self.run
        activity = FullVerification(command, run.settings, run.record.knobs, run.emit, self._crews_of(run.settings))
        report = await self._do("verification", activity, "Verify again when the cause is gone.")
        if report.run_id == run.record.run_id:
            run.emit(VerificationEnded(verification=report.result, level=report.verification_level))
        return report

    async def retry(self, command: RetryRejects) -> RetryReport:
        """Write rejects of a run again; of this engine's own run the record follows."""
        report = await retry(command, self.run.settings)
        if report.run_id == self.run.record.run_id:
            self.run.emit(as_event(report, command.policies))
            await self.recount()
        return report

    async def recount(self) -> None:
        """Let the record of the run, which is over, say what the ledger has now."""
        run = self.run
        await run.ended()
        if not run.record.state.is_over or not run.record.tables:
            return
        ledger = Ledger.for_question(run.settings)
        if not await ledger.is_there():  # it was dropped: to look at a run makes no other
            return
        async with ledger:
            run.record.replaced_since = await replaced_since(ledger, run.record.run_id)
            for event in await recounted(ledger, run.record):
                run.emit(event)

    async def plan(self, command: MakePlan, settings: Settings) -> EditablePlan:
        """A plan made from a full census, taken by the whole cluster.

        Args:
            settings: with the collections and the settings asked for.

        Raises:
            UsageError: the engine is at work, or what is asked for cannot be.
            Cancelled: so asked. MigrationError: a server failed it.
        """
        self._require_idle("plan")
        run = self.run
        if command.settings and not run.was_started:  # a run's knobs, of one that is over too, are its own
            run.record.knobs.update(knobs_of(settings))
        activity = CensusPlan(
            command, settings, run.record.knobs, run.emit, run.record.run_id, run.known, self.looks,
            self._crews_of(settings),
        )  # fmt: skip
        return await self._do("full census", activity, "Plan again when the cause is gone.")

    async def turn(self, name: str, value: int | str, by: str = "") -> dict[str, Any]:
        """Turn a knob; returns what it is now and when it applies. Raises KnobError outside its bounds.

        Args:
            value: a number, or as text, also "auto" where the run can turn it.
            by: who turns it.
        """
        run = self.run
        is_verifying = "verification" in self._beside
        if not is_verifying:
            require("set", run.record.state)
        knob = knob_named(name)
        wanted = knob.read(value) if isinstance(value, str) else knob.check(value)
        if knob is CLUSTER_SIZE:
            wanted = cluster_size_of(run.settings, wanted)
        if isinstance(wanted, Auto):
            return self._leave_to_run(knob, wanted, by)
        applies = "from the next page" if is_verifying and knob.name == "page_size" else "at once"
        if not self._beside:
            applies = await run.knob_applies(knob, wanted)
        for activity in self._beside.values():
            if knob.name == "cluster_size":
                await activity.check_size(wanted)
        turned = KnobChanged(knob=knob.name, old=run.record.knobs[knob.name], value=wanted)
        run.emit(turned.model_copy(update={"by": by}) if by else turned)
        if knob.name == "cluster_size":
            run.tuning.leave_to(by, wanted)
        if not self._beside:
            run.knob_turned(knob.name, wanted)
        for activity in self._beside.values():
            activity.turn(knob.name)
        return {"knob": knob.name, "value": wanted, "applies": applies}

    def _leave_to_run(self, knob: Knob, auto: Auto, by: str) -> dict[str, Any]:
        """Have the run turn a knob; raises KnobError where there is no run to do it."""
        for name in self._beside:
            raise KnobError(f"{knob.name} cannot be auto in a {name}: only a copy looks for the best number.")
        self.run.tuning.begin(auto, by)
        value = self.run.record.knobs[knob.name]
        applies = "while the run copies" if self.run.was_started else "when the run starts"
        return {"knob": knob.name, "value": value, "auto": str(auto), "applies": applies}

    def snapshot(self) -> Snapshot:
        """Everything that a screen needs, now."""
        snapshot = self.run.snapshot()
        for activity in self._beside.values():
            snapshot = activity.drawn(snapshot)
        return snapshot

    async def close(self) -> None:
        """End everything that is left."""
        await self.run.close()

    def _require_idle(self, word: str) -> None:
        if self.is_busy:
            raise UsageError(f"The engine is at work: let it end, or cancel it, then {word}.", code="state")

    async def _do(self, name: str, activity: Activity[Report], advice: str) -> Report:
        """Have it done; what a server fails ends in one sentence."""
        self._beside[name] = activity
        try:
            return await activity.run()
        except SERVER_FAILURES as failure:
            log.exception("a server failed the %s", name)
            found = failure_of(failure)
            raise MigrationError(f"{found.sentence} {advice}", code=found.code) from failure
        finally:
            del self._beside[name]
