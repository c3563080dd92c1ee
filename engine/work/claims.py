"""Slices that were committed without a word: the answer to their COMMIT was lost, or their worker died behind it."""

from __future__ import annotations

from engine.ledger.slices import Claim
from engine.work.messages import Committed


def as_committed(task_id: int, partition_id: int, claim: Claim) -> Committed:
    """The message that should have come; the ledger does not keep why rows were rejected."""
    return Committed(
        task_id=task_id,
        partition_id=partition_id,
        slice_no=claim.slice_no,
        n_read=claim.n_read,
        n_written=claim.n_written,
        n_rejected=claim.n_rejected,
        n_bytes=claim.n_bytes,
        final=claim.final,
        policy_hits=tuple(claim.altered.items()),
    )
