"""What scripts read: the JSON objects of `--json` (docs/scripts.md describes each field)."""

from __future__ import annotations

from typing import Any

from engine.errors import Cancelled, MigrationError
from engine.protocol import RunState, Snapshot, WorkerView


def progress_record(snapshot: Snapshot) -> dict[str, Any]:
    """One progress line; `counting` only while a full census is going on."""
    counting = snapshot.counting
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
        **({"counting": {"seen": counting.seen, "total": counting.total}} if counting is not None else {}),
    }


def status_record(snapshot: Snapshot) -> dict[str, Any]:
    """The answer of `ctl`: a progress line and what else there is to know."""
    return progress_record(snapshot) | {
        "event": "status",
        "verification": snapshot.verification.value,
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
    }
