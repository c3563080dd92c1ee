"""A run, drawn: the snapshot that every front end shows."""

from __future__ import annotations

from dataclasses import dataclass

from engine.cluster.dispatcher import Dispatcher
from engine.cluster.meter import Meter, bottleneck
from engine.config import Settings, redact
from engine.protocol import RunState, Snapshot
from engine.run.context import Phase
from engine.run.record import RunRecord
from engine.run.states import Lifecycle

_SHARES = ("reading", "converting", "writing", "throttled")


@dataclass(frozen=True, slots=True)
class Drawn:
    """What of a run is drawn."""

    settings: Settings
    record: RunRecord
    lifecycle: Lifecycle
    phase: Phase
    cluster: Dispatcher
    meter: Meter
    elapsed: float
    """Seconds since the run was accepted; likewise the next one, without what does not count."""
    seconds: float
    started_unix: float


def draw(run: Drawn) -> Snapshot:
    """The snapshot of the run. Total, rates and ETA count committed rows, and while seeding, inserted documents."""
    record, meter, cluster = run.record, run.meter, run.cluster
    workers = cluster.views(is_paused=run.lifecycle.is_paused)
    done, total = run.phase.amounts
    eta, reason = _eta(run, done, total)
    busy = [worker for worker in workers if worker.reading + worker.converting + worker.writing + worker.throttled > 0]
    shares = (sum(getattr(worker, share) for worker in busy) / max(1, len(busy)) for share in _SHARES)
    partitions_done, partitions_total = run.phase.partitions
    return Snapshot(
        run_id=record.run_id,
        state=record.state,
        phase=record.phase,
        verification=record.verification,
        error=record.error,
        source=redact(run.settings.source.connection),
        target=redact(run.settings.target.connection),
        mode=run.settings.run.mode,
        consistency=record.consistency,
        snapshot_unix=record.snapshot_unix,
        elapsed=round(run.elapsed, 3),
        seconds=round(run.seconds, 3),
        started_unix=run.started_unix,
        weak_tls=list(run.phase.weak_tls),
        read=record.read,
        written=done,
        total=total,
        rejected=record.rejected,
        retried=record.n_retried,
        rows_per_s=meter.rows.rate() if not record.state.is_over else 0.0,
        rows_per_s_mean=meter.mean,
        bytes_per_s=meter.bytes.rate() if not record.state.is_over else 0.0,
        eta_s=eta,
        eta_reason=reason,
        cluster_size=record.knobs["cluster_size"],
        workers_alive=sum(bool(worker.pid) for worker in workers),
        draining=cluster.n_draining,
        page_size=record.knobs["page_size"],
        seed_count=record.knobs["seed_count"],
        seeded=record.seeded,
        throttle=record.knobs["throttle"],
        converter=cluster.converter,
        bottleneck=bottleneck(*shares) if record.state is RunState.RUNNING else "",
        partitions_done=partitions_done,
        partitions_total=partitions_total,
        workers=workers,
        tables=record.table_views(),
        problems=list(record.problems.values()),
        counting=run.phase.counting,
        exit_code=record.exit_code,
    )


def _eta(run: Drawn, done: int, total: int) -> tuple[float | None, str]:
    """Seconds to go, or the reason why there is no telling."""
    state = run.record.state
    if run.lifecycle.is_paused:
        return None, run.lifecycle.pause_reason
    if state not in (RunState.RUNNING, RunState.SEEDING):
        return None, "" if state.is_over else run.record.phase
    if all(worker.lease is None for worker in run.cluster.workers):
        return None, "waiting: no worker has work yet"
    eta = run.meter.eta(done, total)
    return (eta, "") if eta is not None else (None, "measuring")
