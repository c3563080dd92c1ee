"""What feeds the tuner and does what it decides, with a run that only notes what is asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from engine.cluster.dispatcher import Dispatcher
from engine.errors import KnobError
from engine.knobs import CLUSTER_SIZE, Auto
from engine.protocol import Event, KnobChanged, KnobTuned, RunState, SliceCommitted, WorkerChanged, WorkerView
from engine.run.context import NoPhase
from engine.run.record import RunRecord
from engine.run.tuning import LOOK_S, Tuning
from engine.vitals.poller import Vitals

MB = 1_000_000
SLICE_S = 0.5


@dataclass
class Lease:
    task_id: int


@dataclass
class OneOfCluster:
    lease: Lease | None
    is_ready: bool = True
    is_retiring: bool = False


@dataclass
class Cluster:
    """Workers that are there at once."""

    size: int = 8
    task_id: int = 1
    n_draining: int = 0

    @property
    def workers(self) -> Sequence[OneOfCluster]:
        return [OneOfCluster(Lease(self.task_id)) for _ in range(self.size)]

    def views(self) -> list[WorkerView]:
        return []


class CopyPhase(NoPhase):
    """Has room for so many workers."""

    partitions_waiting = 1_000
    has_partitions = True
    room = 128

    async def knob_applies(self, knob: str, value: int) -> str:
        if value > self.room:
            raise KnobError(f"cluster_size must be at most {self.room} now, not {value}.")
        return "at once"


@dataclass
class Guards:
    is_acting: bool = False


@dataclass
class TunedRun:
    """A run whose rate depends on its cluster's size alone."""

    most: int = 16
    seconds: float = 0.0
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.record = RunRecord("r", state=RunState.RUNNING)
        self.record.knobs = {"cluster_size": 8, "throttle": 0, "page_size": 8_000, "seed_count": 0}
        self.workers = Cluster()
        self.cluster = cast("Dispatcher", self.workers)
        self.vitals = Vitals()
        self.guards = Guards()
        self.phase = CopyPhase()
        self.tuning = Tuning(self)

    def emit(self, event: Event) -> None:
        event = event.model_copy(update={"at": self.seconds})
        self.record.apply(event)
        self.tuning.note(event)
        if not event.only_counts:
            self.events.append(event)

    def knob_turned(self, name: str, value: int) -> None:
        self.workers.size = value

    async def go(self, seconds: float) -> list[Event]:
        """Let so much time pass; what was told in it."""
        before, end = len(self.events), self.seconds + seconds
        while self.seconds < end:
            self.seconds += LOOK_S
            if not self.seconds % SLICE_S:
                for _ in range(self.workers.size):
                    rate = 2 * min(self.workers.size, self.most) / self.workers.size
                    self.emit(SliceCommitted(task_id=1, read=1, written=1, bytes=round(rate * SLICE_S * MB)))
            await self.tuning._look(is_at_servers=False)
        return self.events[before:]


def auto(text: str = "auto") -> Auto:
    value = CLUSTER_SIZE.read(text)
    assert isinstance(value, Auto)
    return value


def sizes(events: list[Event]) -> list[int]:
    return [event.value for event in events if isinstance(event, KnobChanged)]


async def test_the_knob_is_turned_and_every_step_is_told() -> None:
    run = TunedRun()
    run.tuning.begin_with(auto())
    assert run.record.tuning is not None
    events = await run.go(7)
    changed, kept = (next(each for each in events if isinstance(each, kind)) for kind in (KnobChanged, KnobTuned))
    assert isinstance(changed, KnobChanged)
    assert isinstance(kept, KnobTuned)
    assert (changed.old, changed.value, changed.by, changed.reason) == (8, 16, "auto", "8 copied 16.0 MB/s")
    assert (kept.auto, kept.stable, kept.reason) == ("auto", 8, "begins with 8")
    tuning = run.record.tuning
    assert (tuning.stable, tuning.probing) == (8, 16)
    await run.go(60)
    assert run.record.stable == 16


async def test_it_begins_within_its_bounds_and_stays_there() -> None:
    run = TunedRun(most=100)
    run.tuning.begin_with(auto("auto:10-12"))
    events = await run.go(100)
    assert sizes(events)[0] == 10
    assert set(sizes(events)) <= {10, 11, 12}
    assert run.record.stable == 12


async def test_a_number_that_is_set_by_hand_ends_it_and_says_so() -> None:
    run = TunedRun()
    run.tuning.begin_with(auto())
    await run.go(12)
    run.emit(KnobChanged(knob="cluster_size", old=16, value=5, by="ctl of ann@db1"))
    run.tuning.leave_to("ctl of ann@db1", 5)
    run.knob_turned("cluster_size", 5)
    assert run.record.tuning is None
    (told,) = await run.go(100) or run.events[-1:]
    assert isinstance(told, KnobTuned)
    assert (told.auto, told.stable, told.reason) == ("", 5, "set to 5 by ctl of ann@db1")
    run.tuning.begin(auto("auto:4-16"), "ctl of ann@db1")
    assert await run.go(20)
    assert run.record.tuning is not None


async def test_without_a_free_connection_it_stays_as_it_is_and_says_so() -> None:
    run = TunedRun()
    run.phase.room = 10
    run.tuning.begin_with(auto())
    events = await run.go(100)
    assert "cluster_size must be at most 10 now, not 16." in [
        event.reason for event in events if isinstance(event, KnobTuned)
    ]
    assert max(sizes(events)) <= 10


async def test_a_cluster_that_had_to_shrink_is_not_enlarged_at_once() -> None:
    run = TunedRun(most=100)
    run.tuning.begin_with(auto())
    await run.go(4)
    run.emit(KnobChanged(knob="cluster_size", old=8, value=5))
    run.workers.size = 5
    tried = sizes(await run.go(200))
    assert tried, "it goes on with fewer"
    assert max(tried) <= 5


async def test_an_operator_who_is_quicker_wins() -> None:
    run = TunedRun()
    run.tuning.begin_with(auto())

    async def turned_meanwhile(knob: str, value: int) -> str:
        run.emit(KnobChanged(knob="cluster_size", old=8, value=3, by="ctl"))
        run.tuning.leave_to("ctl", 3)
        run.knob_turned("cluster_size", 3)
        return "at once"

    cast("Any", run.phase).knob_applies = turned_meanwhile
    await run.go(30)
    assert (run.record.knobs["cluster_size"], run.workers.size) == (3, 3)


@pytest.mark.parametrize("what", ["paused", "throttled", "guarded", "finishing"])
async def test_nothing_is_tried_while_something_else_decides_the_rate(what: str) -> None:
    run = TunedRun()
    run.tuning.begin_with(auto())
    await run.go(LOOK_S)
    if what == "throttled":
        run.record.knobs["throttle"] = 5_000
    elif what == "guarded":
        run.guards.is_acting = True
    else:
        run.record.state = RunState.PAUSED if what == "paused" else RunState.FINISHING
    assert sizes(await run.go(60)) == []


async def test_a_death_makes_the_window_void() -> None:
    run = TunedRun()
    run.tuning.begin_with(auto())
    await run.go(4)
    run.emit(WorkerChanged(id=1, pid=1, what="died", exit=-9))
    assert sizes(await run.go(4)) == []
    assert sizes(await run.go(3)) == [16]


async def test_a_resumed_run_takes_up_what_it_had_found() -> None:
    run = TunedRun()
    run.tuning.take_up(12)
    assert sizes(run.events) == [], "it is not asked to look for it"
    run.tuning.begin_with(auto("auto:4-10"))
    run.tuning.take_up(12)
    assert sizes(run.events) == [10]


async def test_an_error_of_its_own_leaves_the_cluster_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setattr("engine.run.tuning.LOOK_S", 0.0)
    run = TunedRun()
    run.tuning.begin_with(auto())
    cast("Any", run).phase = None
    keeping = asyncio.create_task(run.tuning.keep())
    while run.record.auto:
        await asyncio.sleep(0)
    keeping.cancel()
    assert run.workers.size == 8
