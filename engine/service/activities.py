"""What an engine is at: its run, and besides, one at a time, a full verification or a plan from a full census."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from engine.cluster.crew import MakeCrew
from engine.config import Settings
from engine.errors import MigrationError, UsageError
from engine.knobs import knob_named
from engine.protocol import (
    EditablePlan,
    Event,
    KnobChanged,
    MakePlan,
    Snapshot,
    Start,
    VerificationEnded,
    Verify,
    VerifyReport,
)
from engine.run.knobs import knobs_of
from engine.run.run import Run
from engine.run.states import require
from engine.service.census_plan import CensusPlan
from engine.verify.full import FullVerification
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

    def __init__(self, run_id: str, settings: Settings, publish: Callable[[Event], None], make_crew: MakeCrew) -> None:
        """Idle.

        Args:
            publish: hands an event on to clients.
            make_crew: where workers come from.
        """
        self.run = Run(run_id, settings, publish, make_crew)
        self._make_crew = make_crew
        self._beside: dict[str, Activity[Any]] = {}
        """At most one, by what it is called in a sentence."""

    @property
    def is_busy(self) -> bool:
        """The engine is needed: for the run, or for what it does beside."""
        return self.run.is_active or bool(self._beside)

    def start(self, command: Start) -> None:
        """Begin the run."""
        require("start", self.run.record.state)
        for name in self._beside:
            raise UsageError(f"A {name} is going on: let it end, or cancel it.", code="state")
        self.run.start(command)

    def cancel(self, *, now: bool) -> None:
        """Stop everything (`Run.cancel`)."""
        for activity in self._beside.values():
            activity.cancel()
        self.run.cancel(now=now)

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
        activity = FullVerification(command, run.settings, run.record.knobs, run.emit, self._make_crew)
        report = await self._do("verification", activity, "Verify again when the cause is gone.")
        if report.run_id == run.record.run_id:
            run.emit(VerificationEnded(verification=report.result))
        return report

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
            command, settings, run.record.knobs, run.emit, run.record.run_id, run.known, self._make_crew
        )
        return await self._do("full census", activity, "Plan again when the cause is gone.")

    async def turn(self, name: str, value: int) -> dict[str, Any]:
        """Turn a knob; returns what it is now and when it applies. Raises KnobError outside its bounds."""
        run = self.run
        is_verifying = "verification" in self._beside
        if not is_verifying:
            require("set", run.record.state)
        knob = knob_named(name)
        knob.check(value)
        applies = "from the next page" if is_verifying and knob.name == "page_size" else "at once"
        if not self._beside:
            applies = await run.knob_applies(knob, value)
        for activity in self._beside.values():
            if knob.name == "cluster_size":
                await activity.check_size(value)
        run.emit(KnobChanged(knob=knob.name, old=run.record.knobs[knob.name], value=value))
        if not self._beside:
            run.knob_turned(knob.name, value)
        for activity in self._beside.values():
            activity.turn(knob.name)
        return {"knob": knob.name, "value": value, "applies": applies}

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
