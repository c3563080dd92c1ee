"""A run that is over, as the ledger has it now: rejects may have been written since, and another engine may have done it."""

from __future__ import annotations

from engine.ledger import runs
from engine.ledger.history import find_run
from engine.ledger.ledger import Ledger
from engine.protocol import Event, TableCounted, Verification, VerificationEnded
from engine.run.record import RunRecord


async def recounted(ledger: Ledger, record: RunRecord) -> list[Event]:
    """What brings the record of a run to what is committed, as events.

    Args:
        ledger: connected for a question.
        record: everything that the events of the run say.
    """
    found = await find_run(ledger, record.run_id)
    ledger.run_id = found.run_id
    events: list[Event] = [await ledger.totals()]
    async with ledger.session() as connection:
        counted = await runs.kept_counts(connection, found.run_id)
    for task_id, (source, target) in counted.items():
        table = record.tables.get(task_id)
        if table is not None and table.ok is not None:
            events.append(TableCounted(task_id=task_id, source=source, target=target, ok=table.ok))
    if found.verification_level:
        now = (Verification(found.verification), found.verification_level, found.verified_before_retry)
        if now != (record.verification, record.verification_level, record.verified_before_retry):
            verification, level, before_retry = now
            events.append(VerificationEnded(verification=verification, level=level, before_retry=before_retry))
    return events
