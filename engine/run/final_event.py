"""The last word about a run: its event `finished`, whose facts are the last JSON line of `run --json` (docs/scripts.md)."""

from __future__ import annotations

from engine.cluster.meter import Meter
from engine.config import redact
from engine.errors import MigrationError
from engine.ledger.history import copying_rate
from engine.protocol import BuiltIndexes, ErrorInfo, FinishedTable, RunFinished, RunState
from engine.run.record import RunRecord, TableCounters


def outcome(
    record: RunRecord,
    state: RunState,
    error: MigrationError | None,
    exit_code: int,
    meter: Meter,
    *,
    seconds: float,
    written_before: int,
    seconds_before: float,
) -> RunFinished:
    """What became of the run, with its counts by table.

    Args:
        meter: of the copy.
        seconds: that count as the run's.
        written_before: rows that earlier engines of the run have committed.
        seconds_before: that they took.
    """
    driven_s = seconds + seconds_before
    overall = record.written / driven_s if driven_s > 0 else 0.0
    finished = RunFinished(
        run_id=record.run_id,
        state=state,
        verification=record.verification,
        verification_level=record.verification_level,
        consistency=record.consistency,
        read=record.read,
        written=record.written,
        rejected=record.rejected,
        seconds=round(seconds, 3),
        rows_per_s=round((record.written - written_before) / seconds) if seconds > 0 else 0,
        rows_per_s_overall=round(overall, 1),
        rows_per_s_copying=round(copying_rate(meter.mean, overall), 1) if record.tables else 0.0,
        copied=meter.moved_rows if record.tables else 0,
        copying_s=round(meter.moving_s, 3) if record.tables else 0.0,
        tables={table.table: _table(table) for table in record.tables.values()},
        altered=record.altered,
        seeded=record.seeded,
        exit_code=exit_code,
    )
    sometimes: dict[str, object] = {}
    if record.snapshot_unix:
        sometimes["snapshot_unix"] = record.snapshot_unix
    if record.followed is not None:
        sometimes["follow"] = record.followed
    if error is not None:
        sometimes["error"] = ErrorInfo(code=error.code, message=redact(error.message))
    return finished.model_copy(update=sometimes)


def _table(table: TableCounters) -> FinishedTable:
    counts = FinishedTable(
        namespace=table.namespace,
        source=table.source_count,
        read=table.read,
        written=table.written,
        rejected=table.rejected,
        altered=dict(table.altered),
        target=table.target_count,
        ok=table.ok,
    )
    if not table.indexes_built and not table.indexes_failed:
        return counts
    indexes = BuiltIndexes(built=table.indexes_built, failed=table.indexes_failed)
    return counts.model_copy(update={"indexes": indexes})
