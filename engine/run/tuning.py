"""The cluster size turned by the run itself: `engine.tuning` fed with what is committed, and what it decides done."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Protocol

from engine.cluster.dispatcher import Dispatcher
from engine.errors import KnobError
from engine.knobs import CLUSTER_SIZE, Auto
from engine.protocol import Event, KnobChanged, KnobTuned, RunState, SliceCommitted, WorkerChanged
from engine.run.context import Phase
from engine.run.record import RunRecord
from engine.tuning.obstacles import Obstacles
from engine.tuning.prober import Prober, Sight, Step
from engine.vitals.poller import Vitals

BY = "auto"
"""What changes the knob, in events."""
LOOK_S = 0.25
LOOKS_AT_SERVERS = 4
"""One look in so many is at what servers and workers do."""

log = logging.getLogger(__name__)


class Slowing(Protocol):
    """What may slow a run down for another reason."""

    @property
    def is_acting(self) -> bool:
        """It does."""
        ...


class Tuned(Protocol):
    """A run, for its tuner."""

    record: RunRecord
    cluster: Dispatcher
    vitals: Vitals

    @property
    def guards(self) -> Slowing:
        """Its guards."""
        ...

    @property
    def phase(self) -> Phase:
        """What goes on."""
        ...

    @property
    def seconds(self) -> float:
        """The time of events."""
        ...

    def emit(self, event: Event) -> None:
        """A fact."""
        ...

    def knob_turned(self, name: str, value: int) -> None:
        """A knob has another value: let the cluster follow."""
        ...


class Tuning:
    """Finds the number of workers that a copy is fastest with, while it is asked to."""

    def __init__(self, run: Tuned) -> None:
        """Nothing is asked for."""
        self._run = run
        self._auto: Auto | None = None
        self._prober: Prober | None = None
        """While a copy goes on."""
        self._obstacles = Obstacles(len(os.sched_getaffinity(0)))
        self._void = ""
        """Something happened since the last look that makes a window void."""
        self._at_work: frozenset[int] = frozenset()
        """Tasks that workers are at."""

    # --- what is asked of it ------------------------------------------------------------------------------------------

    def begin_with(self, auto: Auto | None) -> None:
        """The run begins; None leaves the knob to operators."""
        self._auto, self._prober = auto, None
        self._run.record.auto = "" if auto is None else str(auto)

    def begin(self, auto: Auto, by: str = "") -> None:
        """Turn the knob from now on, within these bounds."""
        self._auto, self._prober = auto, None
        size = self._run.record.knobs[CLUSTER_SIZE.name]
        words = "the best number is looked for"
        self._tell(size, f"{words}, as {by} asks" if by else words)

    def leave_to(self, by: str, value: int) -> None:
        """The knob is turned by hand, and no longer here."""
        if self._auto is not None:
            self._auto = self._prober = None
            self._tell(value, f"set to {value}" + (f" by {by}" if by else ""))

    def take_up(self, stable: int) -> None:
        """A run is resumed that had found this size; there is room for it."""
        size = self._run.record.knobs[CLUSTER_SIZE.name]
        if self._auto is None or (wanted := max(self._auto.low, min(self._auto.high, stable))) == size:
            return
        self._change(size, wanted, "what the run had found before it was resumed")

    # --- what happens -------------------------------------------------------------------------------------------------

    def note(self, event: Event) -> None:
        """A fact about the run."""
        prober = self._prober
        if prober is None:
            return
        match event:
            case SliceCommitted():
                prober.committed(event.at, event.bytes)
            case WorkerChanged(what="died"):
                self._void = "a worker died"
            case KnobChanged(knob=CLUSTER_SIZE.name) if event.by != BY:
                prober.forced(event.value)

    async def keep(self) -> None:
        """Look at the run until this is cancelled. What goes wrong here leaves the cluster as it is."""
        number = 0
        while True:
            await asyncio.sleep(LOOK_S)
            number += 1
            try:
                await self._look(is_at_servers=number % LOOKS_AT_SERVERS == 0)
            except Exception:
                log.exception("the cluster size is not looked for any more")
                self.leave_to("an error of the tuner", self._run.record.knobs[CLUSTER_SIZE.name])

    async def _look(self, *, is_at_servers: bool) -> None:
        run, auto = self._run, self._auto
        if auto is None or run.record.state is not RunState.RUNNING or not run.phase.has_partitions:
            self._void = "it does not copy"
            return
        if self._prober is None:
            self._begin_probing(auto)
            return
        if is_at_servers:
            self._obstacles.look(run.vitals.view, run.cluster.views())
        for step in self._prober.look(self._sight()):
            if not await self._take(self._prober, step):
                return

    def _begin_probing(self, auto: Auto) -> None:
        """A copy goes on: begin within the bounds."""
        record = self._run.record
        size = record.knobs[CLUSTER_SIZE.name]
        wanted = max(auto.low, min(auto.high, size))
        if wanted != size:
            self._change(size, wanted, f"the bounds are {auto.low} to {auto.high}")
        self._prober = Prober(wanted, auto.low, auto.high)
        if record.stable != wanted:
            self._tell(wanted, f"begins with {wanted}")

    def _sight(self) -> Sight:
        """The run now."""
        run, cluster = self._run, self._run.cluster
        at_work = frozenset(worker.lease.task_id for worker in cluster.workers if worker.lease is not None)
        if at_work and at_work != self._at_work:
            self._at_work = at_work
            if self._prober is not None:
                self._prober.other_work()
        void, self._void = self._void or _disturbance(run), ""
        target = view.target if (view := run.vitals.view) is not None else None
        n_staying = sum(worker.is_ready and not worker.is_retiring for worker in cluster.workers)
        return Sight(
            now=run.seconds,
            workers=n_staying if not cluster.n_draining else -1,
            waiting=run.phase.partitions_waiting,
            void=void,
            checkpoints=(target.checkpoints or 0) if target is not None else 0,
            obstacle=self._obstacles.words,
        )

    # --- what is decided ----------------------------------------------------------------------------------------------

    async def _take(self, prober: Prober, step: Step) -> bool:
        """Do what was decided; False when there is no room for it, or an operator was quicker."""
        record = self._run.record
        size = record.knobs[CLUSTER_SIZE.name]
        if step.size > size:
            try:
                await self._run.phase.knob_applies(CLUSTER_SIZE.name, step.size)
            except KnobError as refusal:
                if self._prober is prober:
                    prober.no_room_for(step.size)
                    self._tell(record.stable, refusal.message)
                return False
        if self._prober is not prober or record.knobs[CLUSTER_SIZE.name] != size:
            return False
        if step.stable != record.stable or step.size == size:
            self._tell(step.stable, step.reason)
        if step.size != size:
            self._change(size, step.size, step.reason)
        return True

    def _change(self, old: int, value: int, reason: str) -> None:
        self._run.emit(KnobChanged(knob=CLUSTER_SIZE.name, old=old, value=value, by=BY, reason=reason))
        self._run.knob_turned(CLUSTER_SIZE.name, value)

    def _tell(self, stable: int, reason: str) -> None:
        """What is kept, and why."""
        auto, old = "" if self._auto is None else str(self._auto), self._run.record.stable
        self._run.emit(KnobTuned(knob=CLUSTER_SIZE.name, auto=auto, old=old or stable, stable=stable, reason=reason))


def _disturbance(run: Tuned) -> str:
    """Why a rate of now would tell nothing of the cluster's size; empty for nothing."""
    if run.record.knobs["throttle"]:
        return "it is throttled"
    return "a guard slows it" if run.guards.is_acting else ""
