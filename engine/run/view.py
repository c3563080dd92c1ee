"""A run, drawn: the snapshot that every front end shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from engine.cluster.dispatcher import Dispatcher
from engine.cluster.host_views import host_views
from engine.cluster.meter import SILENT_S, Meter, bottleneck
from engine.config import Settings, redact
from engine.ledger.history import copying_rate
from engine.protocol import GuardsView, RunState, Snapshot, TableProgress, VitalsView
from engine.run.context import Phase
from engine.run.record import RunRecord
from engine.run.states import Lifecycle
from engine.run.table_views import TableViews

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
    started_by: str
    vitals: VitalsView | None
    tables: TableViews
    """As they were drawn last."""
    guards: GuardsView | None


def draw(run: Drawn) -> Snapshot:
    """The snapshot of the run. Total, rates and ETA count committed rows, and while seeding, inserted documents."""
    record, meter, cluster = run.record, run.meter, run.cluster
    workers = cluster.views(is_paused=run.lifecycle.is_paused)
    done, total = run.phase.amounts
    eta, reason = _eta(run, done, total)
    busy = [worker for worker in workers if worker.reading + worker.converting + worker.writing + worker.throttled > 0]
    shares = (sum(getattr(worker, share) for worker in busy) / max(1, len(busy)) for share in _SHARES)
    overall = _overall(run, done)
    partitions_done, partitions_total = run.phase.partitions
    return Snapshot(
        run_id=record.run_id,
        state=record.state,
        phase=record.phase,
        verification=record.verification,
        verification_level=record.verification_level,
        verified_before_retry=record.verified_before_retry,
        replaced_since=record.replaced_since,
        error=record.error,
        source=redact(run.settings.source.connection),
        target=redact(run.settings.target.connection),
        mode=run.settings.run.mode,
        consistency=record.consistency,
        snapshot_unix=record.snapshot_unix,
        elapsed=round(run.elapsed, 3),
        seconds=round(run.seconds, 3),
        started_unix=run.started_unix,
        first_started_unix=run.phase.first_started_unix,
        started_by=run.started_by,
        weak_tls=list(run.phase.weak_tls),
        read=record.read,
        written=done,
        total=total,
        rejected=record.rejected,
        retried=record.n_retried,
        rows_per_s=meter.rows.rate() if not record.state.is_over else 0.0,
        rows_per_s_mean=copying_rate(meter.mean, overall),
        rows_per_s_overall=overall,
        seconds_before=run.phase.seconds_before,
        written_before=run.phase.written_before,
        last_commit_unix=run.started_unix + record.last_commit_at if record.last_commit_at else 0.0,
        stopped_by=record.stopped_by,
        has_rolled_back=record.has_rolled_back,
        bytes_per_s=meter.bytes.rate() if not record.state.is_over else 0.0,
        eta_s=eta,
        eta_reason=reason,
        cluster_size=record.knobs["cluster_size"],
        tuning=record.tuning if not record.state.is_over else None,
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
        partitions_first=run.phase.partitions_first,
        workers=workers,
        hosts=host_views(cluster.hosts, workers),
        hosts_wanted=cluster.hosts_wanted,
        tables=_tables(run),
        problems=list(record.problems.values()),
        counting=run.phase.counting,
        exit_code=record.exit_code,
        follow=run.phase.follow,
        vitals=run.vitals,
        guards=run.guards,
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
    if (silent_s := run.meter.silent_s(run.elapsed)) >= SILENT_S:
        return None, f"no rows for {silent_s:.0f} s"
    # A document that is rejected is done with, too.
    eta = run.meter.eta(done + run.record.rejected, total)
    return (eta, "") if eta is not None else (None, "measuring")


def _overall(run: Drawn, done: int) -> float:
    """Rows per second over all the time that engines worked on it; while it seeds, documents.

    That of a run that is over stays: the time of a retry of rejects, which writes more rows, is not in it.
    """
    if run.record.state.is_over and run.record.rows_per_s_overall:
        return run.record.rows_per_s_overall
    seconds = run.phase.seconds_before + (run.seconds if run.record.state is not RunState.SEEDING else run.elapsed)
    return done / seconds if seconds > 0 else 0.0


def _tables(run: Drawn) -> list[TableProgress]:
    """The tables, each with its state, workers, rate and ETA."""
    at_it = Counter(part.task_id for worker in run.cluster.workers for part in worker.parts)
    return run.tables.draw(
        run.record,
        run.meter,
        at_it=at_it,
        unfinished=run.phase.unfinished,
        is_paused=run.lifecycle.is_paused,
    )
