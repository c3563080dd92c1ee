"""What the end of a run says of both sides, as a report."""

from __future__ import annotations

from engine.protocol import RunState, Snapshot, TableCounts, Verification, VerifyReport


def report_of(end: Snapshot, *, goes_on: bool = False) -> VerifyReport:
    """What the end of a run says as a report; tables that were not compared say so.

    Args:
        goes_on: it is not the end: an engine is at the run.
    """
    if end.state is RunState.COMPLETED and not goes_on:
        why_not = "not known: the ledger does not say how its counts compared at the end"
    else:
        why_not = f"not compared: the run {'goes on' if goes_on else 'has not finished'}"
    tables = [
        TableCounts(
            namespace=table.namespace, table=table.table, source=table.source_count, read=table.read,
            written=table.written, rejected=table.rejected, target=table.target_count, ok=table.ok is True,
            message="" if table.ok is not None else why_not, level=end.verification_level or "counts",
        )
        for table in end.tables
    ]  # fmt: skip
    result = end.verification if end.state is RunState.COMPLETED else Verification.NONE
    level = end.verification_level or "counts"
    return VerifyReport(
        run_id=end.run_id, level=level, verification_level=level, result=result, tables=tables,
        replaced_since=end.replaced_since,
    )  # fmt: skip
