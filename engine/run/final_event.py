"""The last word about a run: the facts of its `finished` event, which are the last JSON line of `run --json` (DESIGN.md 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config import redact
from engine.errors import MigrationError
from engine.protocol import RunState
from engine.run.record import TableCounters

if TYPE_CHECKING:
    from engine.run.run import Migration


def outcome(migration: Migration, state: RunState, error: MigrationError | None, exit_code: int) -> dict[str, Any]:
    """What became of the run, with its counts by table."""
    record, seconds = migration.record, migration.seconds
    facts: dict[str, Any] = {
        "run_id": migration.run_id,
        "state": state.value,
        "verification": record.verification.value,
        "consistency": record.consistency,
        "read": record.read,
        "written": record.written,
        "rejected": record.rejected,
        "seconds": round(seconds, 3),
        "rows_per_s": round((record.written - migration.written_before) / seconds) if seconds > 0 else 0,
        "tables": {
            table.table: {
                "namespace": table.namespace,
                "source": table.source_count,
                "read": table.read,
                "written": table.written,
                "rejected": table.rejected,
                "altered": dict(table.altered),
                "target": table.target_count,
                "ok": table.ok,
            }
            | _indexes(table)
            for table in record.tables.values()
        },
        "altered": record.altered,
        "seeded": record.seeded,
        "exit_code": exit_code,
    }
    if record.snapshot_unix:
        facts["snapshot_unix"] = record.snapshot_unix
    if error is not None:
        facts["error"] = {"code": error.code, "message": redact(error.message)}
    return facts


def _indexes(table: TableCounters) -> dict[str, Any]:
    """Secondary indexes, where any were asked for."""
    if not table.indexes_built and not table.indexes_failed:
        return {}
    return {"indexes": {"built": table.indexes_built, "failed": table.indexes_failed}}
