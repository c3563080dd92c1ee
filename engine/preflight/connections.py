"""Whether the target has free connections for a cluster."""

from __future__ import annotations

from engine.errors import KnobError

ENGINE_SESSIONS = 2
"""The engine's own: the ledger's, and the one that holds the tables."""


def require_connections(workers: int, free: int) -> None:
    """Raise KnobError for a cluster larger than there are connections for: a worker has one.

    Args:
        free: that the target has beside those that are kept free for other sessions.
    """
    if free <= 0 < workers:
        raise KnobError("The target has no free connection for a worker: end other sessions, or raise its limit.")
    if workers > free:
        raise KnobError(
            f"cluster_size must be at most {free} now, not {workers}: the target has no more free connections."
        )
