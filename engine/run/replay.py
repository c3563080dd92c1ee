"""A recorded run, played again: the events that the ledger kept become the snapshots that a screen draws.

The events go through the same `RunRecord` and `Meter` as those of a live run, so both show the same run. What was not kept
(what each worker was doing, how far it was from the next commit) is not made up: a worker's rate is that of its commits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from engine.cluster.host_views import host_views
from engine.cluster.meter import RATE_WINDOW_S, Meter, Window
from engine.ledger import runs
from engine.ledger.history import find_run, info_of, replaced_since
from engine.ledger.ledger import Ledger
from engine.mapping.names import show_path
from engine.plan import kept_plan
from engine.plan.request import settings_of
from engine.protocol import (
    Event,
    Recording,
    RunFinished,
    RunInfo,
    RunRecounted,
    RunState,
    SliceCommitted,
    Snapshot,
    WorkerChanged,
    WorkerState,
    WorkerView,
    read_event,
)
from engine.run.record import RunRecord
from engine.run.recount import recounted

FINEST_S = 0.25
"""Seconds between two frames of a short run."""
MAX_FRAMES = 600
MAX_WORKER_VIEWS = 12_000
"""Workers in all frames together: a reply has to fit into a line of the protocol."""
MAX_EVENTS = 1_000
"""Events besides those that only move counters, the newest."""
KNOBS = ("cluster_size", "page_size", "seed_count", "throttle")


async def recording(ledger: Ledger, run: str, max_frames: int) -> Recording:
    """A run as its events tell it; raises UsageError when there is no such run."""
    record = await find_run(ledger, run)
    player = Player(info_of(record, await replaced_since(ledger, record.run_id)), max_frames)
    async with ledger.session() as connection:
        async for at, kind, facts, worker in runs.recorded_events(connection, record.run_id):
            player.take(at, kind, facts, worker)
    player.settle(await recounted(ledger, player.record))
    plan = kept_plan(record.plan, record.run_id)
    excluded = {
        table.target: [show_path(path) for path in table.mapping.ignored]
        for table in plan.tables
        if table.mapping.ignored
    }
    return player.recording(settings_of(plan.request)).model_copy(update={"plan": plan.saved, "excluded": excluded})


class Player:
    """Takes the events of a run in their order, however many, and keeps a bounded number of frames."""

    def __init__(self, info: RunInfo, max_frames: int = MAX_FRAMES) -> None:
        self._info = info
        self._max_frames = max(1, max_frames)
        self._record = RunRecord(info.run_id)
        self._meter = Meter()
        self._workers: dict[int, _Worker] = {}
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._frames: list[Snapshot] = []
        self._step = FINEST_S
        self._began = 0.0
        """When the run was taken up, by the clock that runs through all times that it was driven."""
        self._now = 0.0
        self._next_frame: float | None = None
        self._mean = 0.0
        """As the engine measured it: frames are too coarse for a short run."""

    def take(self, at: float, kind: str, facts: Mapping[str, Any], worker: int | None = None) -> None:
        """The next event.

        Args:
            at: seconds since the run was accepted, or since it was taken up again.
            worker: that committed the slice that the event is about.
        """
        if self._began + at < self._now:  # an event of a later engine: its clock began anew
            self._began = self._now
            self._workers.clear()
            self._record.error = self._record.exit_code = None
        time = self._began + at
        self._draw_until(time)
        self._now = time
        event = read_event({"kind": kind, "at": round(time, 3), "facts": facts})
        self._record.apply(event)
        match event:
            case RunFinished():
                self._mean = event.rows_per_s_copying or float(event.rows_per_s)
            case WorkerChanged():
                self._count_worker(event)
            case SliceCommitted() if worker is not None:
                self._workers.setdefault(worker, _Worker(worker)).commit(time, event)
            case RunRecounted():
                self._meter.restart()
        if not event.only_counts:
            self._events.append(event)

    @property
    def record(self) -> RunRecord:
        """What the events so far say of the run."""
        return self._record

    def settle(self, events: Iterable[Event]) -> None:
        """Let the run's end, not its course, say what these events do."""
        at = self._record.at
        for event in events:
            self._record.apply(event.model_copy(update={"at": at}))

    def recording(self, settings: dict[str, Any]) -> Recording:
        """Everything that was taken, with the run's end as its last frame."""
        self._record.state = _state_in(self._info, self._record.state)
        self._mean = self._info.rows_per_s_copying or self._mean
        told = {"tables": self._record.table_views(), "replaced_since": self._info.replaced_since}
        last = self._frame(self._now).model_copy(update=told)
        frames = [*self._frames, last][-self._max_frames :]
        return Recording(run=self._info, frames=frames, events=list(self._events), settings=settings)

    def _count_worker(self, event: WorkerChanged) -> None:
        if event.what == "started":
            self._workers[event.id] = _Worker(event.id, event.pid, event.host)
        else:
            self._workers.pop(event.id, None)

    def _draw_until(self, time: float) -> None:
        if self._next_frame is None:
            self._next_frame = time
        while self._next_frame < time:
            self._frames.append(self._frame(self._next_frame))
            workers = sum(len(frame.workers) for frame in self._frames)
            if len(self._frames) >= self._max_frames or workers > MAX_WORKER_VIEWS:
                self._frames = self._frames[::2]
                self._step *= 2
            self._next_frame = self._frames[-1].elapsed + self._step

    def _frame(self, now: float) -> Snapshot:
        record, meter, info = self._record, self._meter, self._info
        is_moving = record.state is RunState.RUNNING
        meter.tick(now, record.written, record.n_bytes, moving=is_moving)
        eta = meter.eta(record.written, record.total) if is_moving else None
        workers = [self._workers[number].view(now) for number in sorted(self._workers)]
        return Snapshot(
            run_id=info.run_id,
            state=record.state,
            phase=record.phase,
            verification=record.verification,
            verification_level=record.verification_level,
            verified_before_retry=record.verified_before_retry,
            error=record.error,
            source=info.source,
            target=info.target,
            mode=info.mode,
            stopped_by=record.stopped_by,
            has_rolled_back=record.has_rolled_back,
            consistency=record.consistency,
            snapshot_unix=record.snapshot_unix,
            elapsed=round(now, 3),
            started_unix=info.started_unix,
            read=record.read,
            written=record.written,
            total=record.total,
            rejected=record.rejected,
            retried=record.n_retried,
            rows_per_s=0.0 if record.state.is_over else meter.rows.rate(),
            rows_per_s_overall=info.rows_per_s_overall
            if record.state.is_over
            else record.written / now
            if now > 0
            else 0.0,
            rows_per_s_mean=self._mean if record.state.is_over else meter.mean,
            bytes_per_s=0.0 if record.state.is_over else meter.bytes.rate(),
            eta_s=eta,
            eta_reason="" if eta is not None or not is_moving else "measuring",
            tuning=record.tuning if not record.state.is_over else None,
            workers_alive=len(workers),
            workers=[] if record.state.is_over else workers,
            hosts=[] if record.state.is_over else host_views([], workers),
            problems=list(record.problems.values()),
            exit_code=record.exit_code,
            **{name: record.knobs.get(name, 0) for name in KNOBS},
        )


class _Worker:
    """One worker, as far as its commits tell."""

    def __init__(self, number: int, pid: int = 0, host: str = "") -> None:
        self._number = number
        self._pid, self._host = pid, host
        self._written = 0
        self._partition = -1
        self._last: float | None = None
        self._rows = Window(RATE_WINDOW_S)

    def commit(self, now: float, event: SliceCommitted) -> None:
        if self._last is None:
            self._rows.add(now, 0)
        self._written += event.written
        self._partition = event.partition
        self._last = now
        self._rows.add(now, self._written)

    def view(self, now: float) -> WorkerView:
        idle_s = 0.0 if self._last is None else now - self._last
        is_busy = self._last is not None and idle_s <= RATE_WINDOW_S
        return WorkerView(
            id=self._number,
            pid=self._pid,
            state=WorkerState.WRITING if is_busy else WorkerState.IDLE,
            partition=self._partition,
            written=self._written,
            rows_per_s=self._rows.rate() if is_busy else 0.0,
            idle_s=round(idle_s, 3),
            host=self._host,
        )


def _state_in(info: RunInfo, state: RunState) -> RunState:
    """An engine that was killed wrote no end: the ledger says what the run is now, unless it says that it goes on."""
    try:
        known = RunState(info.state)
    except ValueError:  # of a newer version
        return state
    return known if known.is_over else state
