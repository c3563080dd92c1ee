"""What scripts read: the JSON objects of `--json` (docs/scripts.md describes each field)."""

from __future__ import annotations

from typing import Any

from engine.errors import Cancelled, MigrationError
from engine.protocol import FollowView, RunState, Snapshot, TableProgress, WorkerView


def progress_record(snapshot: Snapshot) -> dict[str, Any]:
    """One progress line.

    `tuning` is in it while the run turns the cluster size itself, `vitals` and `guards` while the servers are looked at,
    `counting` while a full census is going on.
    """
    counting, vitals, tuning = snapshot.counting, snapshot.vitals, snapshot.tuning
    return {
        "event": "progress",
        "run_id": snapshot.run_id,
        "state": snapshot.state.value,
        "phase": snapshot.phase,
        "written": snapshot.written,
        "total": snapshot.total,
        "rows_per_s": round(snapshot.rows_per_s, 1),
        "cluster_size": snapshot.cluster_size,
        "page_size": snapshot.page_size,
        "converter": snapshot.converter,
        "workers": [_worker(worker) for worker in snapshot.workers if worker.pid],  # no process is there yet
        **({"hosts": [host.model_dump(mode="json") for host in snapshot.hosts]} if snapshot.hosts else {}),
        **({"hosts_wanted": snapshot.hosts_wanted} if snapshot.hosts_wanted else {}),
        **({"tuning": tuning.model_dump(mode="json")} if tuning is not None else {}),
        **({"vitals": vitals.model_dump(mode="json")} if vitals is not None else {}),
        **({"guards": snapshot.guards.model_dump(mode="json")} if snapshot.guards is not None else {}),
        **({"follow": _follow(snapshot.follow), "ready": snapshot.follow.ready} if snapshot.follow is not None else {}),
        **({"counting": {"seen": counting.seen, "total": counting.total}} if counting is not None else {}),
    }


def status_record(snapshot: Snapshot) -> dict[str, Any]:
    """The answer of `ctl`: a progress line and what else there is to know."""
    return progress_record(snapshot) | {
        "event": "status",
        "verification": snapshot.verification.value,
        "verification_level": snapshot.verification_level,
        "source": snapshot.source,
        "target": snapshot.target,
        "mode": snapshot.mode,
        "consistency": snapshot.consistency,
        "snapshot_unix": snapshot.snapshot_unix,
        "read": snapshot.read,
        "rejected": snapshot.rejected,
        "retried": snapshot.retried,
        "elapsed": round(snapshot.elapsed, 3),
        "eta_s": snapshot.eta_s,
        "eta_reason": snapshot.eta_reason,
        "workers_alive": snapshot.workers_alive,
        "draining": snapshot.draining,
        "seed_count": snapshot.seed_count,
        "seeded": snapshot.seeded,
        "throttle": snapshot.throttle,
        "bottleneck": snapshot.bottleneck,
        "weak_tls": snapshot.weak_tls,
        "rows_per_s_mean": round(snapshot.rows_per_s_mean, 1),
        "rows_per_s_overall": round(snapshot.rows_per_s_overall, 1),
        "started_unix": snapshot.started_unix,
        "started_by": snapshot.started_by,
        "last_commit_unix": snapshot.last_commit_unix,
        "stopped_by": snapshot.stopped_by,
        "tables": [_table(table) for table in snapshot.tables],
    }


def finished_record(facts: dict[str, Any], error: MigrationError | None = None) -> dict[str, Any]:
    """The last line: the engine's facts, or with none of them that of a run that `error` kept from starting."""
    record: dict[str, Any] = {
        "event": "finished",
        "run_id": None,
        "state": "failed",
        "verification": "none",
        "read": 0,
        "written": 0,
        "rejected": 0,
        "seconds": 0.0,
        "rows_per_s": 0,
        "tables": {},
        "altered": {},
    }
    record |= facts
    if isinstance(error, Cancelled):
        record["state"] = RunState.CANCELLED.value
    if error is not None:
        record |= {"error": {"code": error.code, "message": error.message}, "exit_code": error.exit_code}
    return record


def _follow(follow: FollowView) -> dict[str, Any]:
    return follow.model_dump(mode="json")


def _table(table: TableProgress) -> dict[str, Any]:
    return {
        "namespace": table.namespace,
        "table": table.table,
        "state": table.state,
        "total": table.total,
        "read": table.read,
        "written": table.written,
        "rejected": table.rejected,
        "rows_per_s": round(table.rows_per_s, 1),
        "eta_s": table.eta_s,
    }


def _worker(worker: WorkerView) -> dict[str, Any]:
    return {
        "id": worker.id,
        "pid": worker.pid,
        "state": worker.state.value,
        "collection": worker.collection,
        "written": worker.written,
        "sent": worker.sent,
        "rows_per_s": round(worker.rows_per_s, 1),
        "reading": round(worker.reading, 3),
        "converting": round(worker.converting, 3),
        "writing": round(worker.writing, 3),
        **({"host": worker.host} if worker.host else {}),
    }
