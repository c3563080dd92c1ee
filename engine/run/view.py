"""A run, drawn: the snapshot that every front end shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.cluster.meter import bottleneck
from engine.config import redact
from engine.protocol import RangeView, RunState, Snapshot, Verification, WorkerView
from engine.work.messages import CopyLease, Lease, SeedLease

if TYPE_CHECKING:
    from engine.run.run import Migration


def draw(migration: Migration) -> Snapshot:
    """The snapshot of a run now, and of a verification that is going on."""
    snapshot = _draw_run(migration)
    verifying = migration.verifying
    if migration.surveying is not None:
        workers = migration.surveying.worker_views()
        update = {"phase": migration.surveying.phase, "counting": migration.surveying.view()}
        return snapshot.model_copy(update=update | {"workers": workers, "workers_alive": len(workers)})
    if verifying is None:
        return snapshot
    workers = verifying.worker_views()
    return snapshot.model_copy(
        update={
            "phase": verifying.phase,
            "verification": Verification.RUNNING,
            "comparing": verifying.view(),
            "workers": workers,
            "workers_alive": _n_alive(workers),
            "converter": verifying.converter,
        }
    )


def _n_alive(workers: Sequence[WorkerView]) -> int:
    """How many of them are processes already."""
    return sum(bool(worker.pid) for worker in workers)


def _draw_run(migration: Migration) -> Snapshot:
    """The snapshot of the run. Total, rates and ETA count committed rows, and while seeding, inserted documents."""
    record, meter, supervisor, census = migration.record, migration.meter, migration.supervisor, migration.census
    is_seeding = record.state is RunState.SEEDING or (migration.seeding is not None and migration.copying is None)
    is_paused = record.state in (RunState.PAUSED, RunState.PAUSING)
    workers: list[WorkerView] = []
    if supervisor is not None:
        workers = supervisor.views(
            lambda lease: _collection_of(migration, lease),
            is_paused=is_paused,
            range_of=lambda lease, uncommitted: _range_of(migration, lease, uncommitted),
        )
    copying = migration.copying
    leases = copying.leases if copying is not None else None
    if is_seeding and migration.seeding is not None:
        written, total = record.seeded, max(migration.seeding.leases.n_expected, record.knobs["seed_count"])
    else:
        written, total = record.written, record.total
    eta, reason = _eta(migration, written, total)
    busy = [worker for worker in workers if worker.reading + worker.converting + worker.writing + worker.throttled > 0]
    return Snapshot(
        run_id=migration.run_id,
        state=record.state,
        phase=record.phase,
        verification=record.verification,
        error=record.error,
        source=redact(migration.source_uri),
        target=redact(migration.target_uri),
        mode=migration.settings.run.mode,
        consistency=record.consistency,
        snapshot_unix=record.snapshot_unix,
        elapsed=round(migration.elapsed, 3),
        seconds=round(migration.seconds, 3),
        started_unix=migration.started_unix,
        weak_tls=migration.weak_tls,
        read=record.read,
        written=written,
        total=total,
        rejected=record.rejected,
        retried=record.n_retried,
        rows_per_s=meter.rows.rate() if not record.state.is_over else 0.0,
        rows_per_s_mean=meter.mean,
        bytes_per_s=meter.bytes.rate() if not record.state.is_over else 0.0,
        eta_s=eta,
        eta_reason=reason,
        cluster_size=record.knobs["cluster_size"],
        workers_alive=_n_alive(workers),
        draining=supervisor.n_draining if supervisor is not None else 0,
        page_size=record.knobs["page_size"],
        seed_count=record.knobs["seed_count"],
        seeded=record.seeded,
        throttle=record.knobs["throttle"],
        converter=supervisor.converter if supervisor is not None else "",
        bottleneck=bottleneck(
            *(
                sum(getattr(worker, share) for worker in busy) / max(1, len(busy))
                for share in ("reading", "converting", "writing", "throttled")
            )
        )
        if record.state is RunState.RUNNING
        else "",
        partitions_done=leases.n_done if leases is not None else 0,
        partitions_total=leases.n_total if leases is not None else 0,
        workers=workers,
        tables=record.table_views(),
        problems=list(record.problems.values()),
        counting=None if census is None or census.is_finished else census.view(),
        exit_code=record.exit_code,
    )


def _collection_of(migration: Migration, lease: Lease | None) -> str:
    if lease is None:
        return ""
    task = migration.foreman.task(lease.task_id)
    return f"{task.database}.{task.collection}"


def _range_of(migration: Migration, lease: Lease | None, uncommitted: int) -> RangeView | None:
    """How far a worker is with its lease: a seed range is counted, a partition is an estimate."""
    if isinstance(lease, SeedLease):
        total = lease.high - lease.low
        return RangeView(done=min(uncommitted, total), total=total, is_exact=True)
    if isinstance(lease, CopyLease) and migration.copying is not None:
        return migration.copying.range_of(lease, uncommitted)
    return None


def _eta(migration: Migration, written: int, total: int) -> tuple[float | None, str]:
    """Seconds to go, or the reason why nobody can say."""
    state = migration.record.state
    if state in (RunState.PAUSED, RunState.PAUSING):
        return None, migration.pause_reason
    if state not in (RunState.RUNNING, RunState.SEEDING):
        return None, "" if state.is_over else migration.record.phase
    if migration.supervisor is not None and not any(
        isinstance(worker.lease, CopyLease) or worker.lease is not None for worker in migration.supervisor.workers
    ):
        return None, "waiting: no worker has work yet"
    eta = migration.meter.eta(written, total)
    return (eta, "") if eta is not None else (None, "measuring")
